//! Confluent's REST API, route by route: what is answered, and with which code it is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use support::Server;
use tempfile::TempDir;

fn record(fields: &str) -> Value {
    json!({"schema": format!(r#"{{"type": "record", "name": "R", "namespace": "n", "fields": [{fields}]}}"#)})
}

const A: &str = r#"{"name": "a", "type": "int"}"#;
const A_B: &str = r#"{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "string"], "default": null}"#;

async fn server() -> (TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir).await;
    (dir, server)
}

#[tokio::test]
async fn a_schema_has_one_id_in_all_subjects_and_after_a_restart() {
    let (dir, server) = server().await;
    let id = server.ok("POST", "/subjects/s-value/versions", Some(record(A))).await["id"].clone();
    assert_eq!(id, 1);
    assert_eq!(server.ok("POST", "/subjects/s-value/versions", Some(record(A))).await["id"], id);
    assert_eq!(server.ok("POST", "/subjects/a%2Fb%20c/versions", Some(record(A))).await["id"], id);
    let other_text = json!({"schemaType": "AVRO", "references": [],
        "schema": r#"{"fields":[{"type":{"type":"int"},"name":"a"}],"namespace":"n","name":"R","type":"record"}"#});
    assert_eq!(server.ok("POST", "/subjects/s-value/versions", Some(other_text)).await["id"], id);
    assert_eq!(server.ok("POST", "/subjects/s-value/versions", Some(record(A_B))).await["id"], 2);
    server.stop().await;

    let server = Server::start(&dir).await;
    assert_eq!(server.ok("GET", "/schemas/ids/1", None).await, record(A));
    assert_eq!(server.ok("GET", "/subjects", None).await, json!(["a/b c", "s-value"]));
    assert_eq!(server.ok("GET", "/subjects/s-value/versions", None).await, json!([1, 2]));
    assert_eq!(server.ok("POST", "/subjects/new/versions", Some(record(A_B))).await["id"], 2);
    let third = record(&format!(r#"{A_B}, {{"name": "c", "type": "int", "default": 0}}"#));
    assert_eq!(server.ok("POST", "/subjects/s-value/versions", Some(third)).await["id"], 3);
}

#[tokio::test]
async fn with_normalize_names_may_be_written_in_full_or_short() {
    let (_dir, server) = server().await;
    let short =
        record(r#"{"name": "a", "type": {"type": "enum", "name": "E", "symbols": ["X"]}}, {"name": "b", "type": "E"}"#);
    let full = json!({"schema": r#"{"type": "record", "name": "n.R", "fields": [
        {"name": "a", "type": {"type": "enum", "name": "n.E", "symbols": ["X"]}}, {"name": "b", "type": "n.E"}]}"#});
    server.ok("POST", "/subjects/s/versions", Some(short)).await;
    server.refused("POST", "/subjects/s", Some(full.clone()), 404, 40403).await;
    assert_eq!(server.ok("POST", "/subjects/s?normalize=true", Some(full.clone())).await["version"], 1);
    assert_eq!(server.ok("POST", "/subjects/s/versions?normalize=true", Some(full.clone())).await["id"], 1);
    assert_eq!(server.ok("GET", "/subjects/s/versions", None).await, json!([1]));
    // Another namespace is another schema, and without the parameter so is another way of writing it.
    let other = json!({"schema": full["schema"].as_str().unwrap().replace("n.R", "m.R")});
    server.refused("POST", "/subjects/s?normalize=true", Some(other), 404, 40403).await;
    assert_eq!(server.ok("POST", "/subjects/s/versions", Some(full)).await["id"], 2);
}

#[tokio::test]
async fn versions_are_read_by_number_and_latest() {
    let (_dir, server) = server().await;
    server.ok("POST", "/subjects/s/versions", Some(record(A))).await;
    server.ok("POST", "/subjects/s/versions", Some(record(A_B))).await;
    let second = json!({"subject": "s", "version": 2, "id": 2, "schema": record(A_B)["schema"]});
    assert_eq!(server.ok("GET", "/subjects/s/versions/2", None).await, second);
    assert_eq!(server.ok("GET", "/subjects/s/versions/latest", None).await, second);
    assert_eq!(server.ok("GET", "/subjects/s/versions/-1", None).await, second);
    assert_eq!(server.ok("POST", "/subjects/s", Some(record(A_B))).await, second);
    assert_eq!(server.ok("GET", "/schemas/ids/2/subjects", None).await, json!(["s"]));
    assert_eq!(server.ok("GET", "/schemas/ids/2/versions", None).await, json!([{"subject": "s", "version": 2}]));
    assert_eq!(
        server.ok("GET", "/subjects/s/versions/2/schema", None).await,
        serde_json::from_str::<Value>(record(A_B)["schema"].as_str().unwrap()).unwrap()
    );
    server.refused("GET", "/subjects/t/versions/1", None, 404, 40401).await;
    server.refused("GET", "/subjects/t/versions", None, 404, 40401).await;
    server.refused("GET", "/subjects/s/versions/9", None, 404, 40402).await;
    server.refused("GET", "/subjects/s/versions/0", None, 422, 42202).await;
    server.refused("GET", "/subjects/s/versions/first", None, 422, 42202).await;
    server.refused("GET", "/schemas/ids/9", None, 404, 40403).await;
    server.refused("POST", "/subjects/t", Some(record(A)), 404, 40401).await;
    server.refused("POST", "/subjects/s", Some(record("")), 404, 40403).await;
}

#[tokio::test]
async fn what_is_no_avro_schema_is_refused() {
    let (_dir, server) = server().await;
    let path = "/subjects/s/versions";
    server.refused("POST", path, Some(json!({"schema": "{"})), 422, 42201).await;
    server.refused("POST", path, Some(json!({"schema": ""})), 422, 42201).await;
    server.refused("POST", path, Some(json!({"schema": r#"{"type": "record", "name": "R"}"#})), 422, 42201).await;
    server.refused("POST", path, Some(json!({"schema": r#""n.Missing""#})), 422, 42201).await;
    for kind in ["JSON", "PROTOBUF", "XML"] {
        let message = server.refused("POST", path, Some(json!({"schema": "{}", "schemaType": kind})), 422, 42201).await;
        assert!(message.contains(kind) && message.contains("AVRO only"), "{message}");
    }
    server.refused("POST", path, Some(json!([])), 400, 400).await;
    assert_eq!(server.ok("GET", "/subjects", None).await, json!([]));
    assert_eq!(server.ok("GET", "/schemas/types", None).await, json!(["AVRO"]));
    assert_eq!(server.ok("GET", "/", None).await, json!({}));
    server.refused("GET", "/associations/subjects/s", None, 404, 404).await;
    server.refused("PATCH", "/subjects", None, 405, 405).await;
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_and_named() {
    let (_dir, server) = server().await;
    server.ok("POST", "/subjects/s/versions", Some(record(A))).await;
    let text = record(r#"{"name": "a", "type": "string"}"#);
    let message = server.refused("POST", "/subjects/s/versions", Some(text.clone()), 409, 409).await;
    assert!(message.contains("field a") && message.contains("version 1"), "{message}");
    let verdict = server.ok("POST", "/compatibility/subjects/s/versions/latest", Some(text.clone())).await;
    assert_eq!(verdict, json!({"is_compatible": false}));
    let verdict = server.ok("POST", "/compatibility/subjects/s/versions?verbose=true", Some(text.clone())).await;
    assert_eq!(verdict["messages"].as_array().unwrap().len(), 1);
    let verdict = server.ok("POST", "/compatibility/subjects/none/versions", Some(text.clone())).await;
    assert_eq!(verdict["is_compatible"], true);
    let verdict = server.ok("POST", "/compatibility/subjects/none/versions/latest", Some(text.clone())).await;
    assert_eq!(verdict["is_compatible"], true);
    server.refused("POST", "/compatibility/subjects/none/versions/1", Some(text.clone()), 404, 40402).await;
    server.refused("POST", "/compatibility/subjects/s/versions/7", Some(text.clone()), 404, 40402).await;
    server.ok("PUT", "/config/s", Some(json!({"compatibility": "NONE"}))).await;
    server.ok("POST", "/subjects/s/versions", Some(text)).await;
}

#[tokio::test]
async fn levels_are_global_or_of_a_subject() {
    let (_dir, server) = server().await;
    assert_eq!(server.ok("GET", "/config", None).await, json!({"compatibilityLevel": "BACKWARD"}));
    server.refused("GET", "/config/s", None, 404, 40408).await;
    let level = server.ok("GET", "/config/s?defaultToGlobal=true", None).await;
    assert_eq!(level, json!({"compatibilityLevel": "BACKWARD"}));
    let set = server.ok("PUT", "/config/s", Some(json!({"compatibility": "full_transitive"}))).await;
    assert_eq!(set, json!({"compatibility": "FULL_TRANSITIVE"}));
    assert_eq!(server.ok("GET", "/config/s", None).await, json!({"compatibilityLevel": "FULL_TRANSITIVE"}));
    server.refused("PUT", "/config/s", Some(json!({"compatibility": "SOME"})), 422, 42203).await;
    server.refused("PUT", "/config", Some(json!({})), 422, 42203).await;
    server.ok("DELETE", "/config/s", None).await;
    server.refused("GET", "/config/s", None, 404, 40408).await;
    server.ok("PUT", "/config", Some(json!({"compatibility": "FORWARD"}))).await;
    server.ok("POST", "/subjects/s/versions", Some(record(A_B))).await;
    server.ok("POST", "/subjects/s/versions", Some(record(A))).await;
}

#[tokio::test]
async fn a_deletion_is_soft_first_and_final_second() {
    let (_dir, server) = server().await;
    server.ok("PUT", "/config", Some(json!({"compatibility": "NONE"}))).await;
    for fields in [A, A_B, ""] {
        server.ok("POST", "/subjects/s/versions", Some(record(fields))).await;
    }
    server.refused("DELETE", "/subjects/s/versions/2?permanent=true", None, 404, 40407).await;
    assert_eq!(server.ok("DELETE", "/subjects/s/versions/2", None).await, 2);
    server.refused("DELETE", "/subjects/s/versions/2", None, 404, 40406).await;
    server.refused("GET", "/subjects/s/versions/2", None, 404, 40402).await;
    assert_eq!(server.ok("GET", "/subjects/s/versions/2?deleted=true", None).await["version"], 2);
    assert_eq!(server.ok("GET", "/schemas/ids/2", None).await, record(A_B));
    assert_eq!(server.ok("GET", "/subjects/s/versions", None).await, json!([1, 3]));
    assert_eq!(server.ok("GET", "/subjects/s/versions?deleted=true", None).await, json!([1, 2, 3]));
    server.refused("POST", "/subjects/s", Some(record(A_B)), 404, 40403).await;
    assert_eq!(server.ok("POST", "/subjects/s?deleted=true", Some(record(A_B))).await["version"], 2);
    assert_eq!(server.ok("DELETE", "/subjects/s/versions/2?permanent=true", None).await, 2);
    server.refused("GET", "/schemas/ids/2", None, 404, 40403).await;

    server.refused("DELETE", "/subjects/s?permanent=true", None, 404, 40405).await;
    assert_eq!(server.ok("DELETE", "/subjects/s", None).await, json!([1, 3]));
    server.refused("DELETE", "/subjects/s", None, 404, 40404).await;
    assert_eq!(server.ok("GET", "/subjects", None).await, json!([]));
    assert_eq!(server.ok("GET", "/subjects?deleted=true", None).await, json!(["s"]));
    assert_eq!(server.ok("POST", "/subjects/s/versions", Some(record(A_B))).await["id"], 2, "an id stays its schema's");
    assert_eq!(server.ok("GET", "/subjects/s/versions", None).await, json!([4]));
    server.ok("DELETE", "/subjects/s", None).await;
    assert_eq!(server.ok("DELETE", "/subjects/s?permanent=true", None).await, json!([1, 3, 4]));
    server.refused("DELETE", "/subjects/s", None, 404, 40401).await;
}

#[tokio::test]
async fn a_schema_may_name_types_of_other_subjects() {
    let (_dir, server) = server().await;
    let inner = json!({"schema": r#"{"type": "enum", "name": "E", "namespace": "n", "symbols": ["X"]}"#});
    server.ok("POST", "/subjects/e/versions", Some(inner)).await;
    let outer = json!({
        "schema": r#"{"type": "record", "name": "O", "namespace": "n", "fields": [{"name": "e", "type": "n.E"}]}"#,
        "references": [{"name": "n.E", "subject": "e", "version": 1}],
    });
    assert_eq!(server.ok("POST", "/subjects/o/versions", Some(outer.clone())).await["id"], 2);
    assert_eq!(server.ok("POST", "/subjects/o/versions", Some(outer.clone())).await["id"], 2);
    assert_eq!(server.ok("GET", "/schemas/ids/2", None).await, outer);
    assert_eq!(server.ok("GET", "/subjects/e/versions/1/referencedby", None).await, json!([2]));
    server.refused("DELETE", "/subjects/e", None, 422, 42206).await;
    let mut missing = outer;
    missing["references"][0]["version"] = json!(9);
    server.refused("POST", "/subjects/o/versions", Some(missing), 422, 42201).await;
}

#[tokio::test]
async fn a_mode_keeps_a_subject_from_being_written() {
    let (_dir, server) = server().await;
    assert_eq!(server.ok("GET", "/mode", None).await, json!({"mode": "READWRITE"}));
    server.refused("GET", "/mode/s", None, 404, 40409).await;
    server.refused("PUT", "/mode", Some(json!({"mode": "ASLEEP"})), 422, 42204).await;
    server.ok("POST", "/subjects/s/versions", Some(record(A))).await;
    server.ok("PUT", "/mode/s", Some(json!({"mode": "READONLY"}))).await;
    server.refused("POST", "/subjects/s/versions", Some(record(A_B)), 422, 42205).await;
    server.refused("DELETE", "/subjects/s", None, 422, 42205).await;
    assert_eq!(server.ok("POST", "/subjects/s/versions", Some(record(A))).await["id"], 1, "what is there is found");
    server.ok("DELETE", "/mode/s", None).await;
    server.ok("POST", "/subjects/s/versions", Some(record(A_B))).await;

    server.refused("PUT", "/mode/s", Some(json!({"mode": "IMPORT"})), 422, 42205).await;
    server.ok("PUT", "/mode/i", Some(json!({"mode": "IMPORT"}))).await;
    let mut imported = record("");
    (imported["id"], imported["version"]) = (json!(77), json!(5));
    server.refused("POST", "/subjects/s/versions", Some(imported.clone()), 422, 42205).await;
    assert_eq!(server.ok("POST", "/subjects/i/versions", Some(imported)).await["id"], 77);
    assert_eq!(server.ok("GET", "/subjects/i/versions", None).await, json!([5]));
}

#[tokio::test]
async fn one_process_holds_the_folder() {
    let (dir, _server) = server().await;
    let second = hirewire_registry::Registry::open(dir.path()).err().unwrap().to_string();
    assert!(second.contains("another process holds"), "{second}");
}

#[tokio::test]
async fn what_was_answered_is_in_the_files_at_once() {
    let (dir, server) = server().await;
    server.ok("POST", "/subjects/s/versions", Some(record(A))).await;
    // As a process that is killed now leaves them.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let restarted = Server::start(&copy).await;
    assert_eq!(restarted.ok("GET", "/subjects/s/versions/1", None).await["id"], 1);
}
