//! The client side against our own registry: ids, decoding, an absent registry, and the converter crate as a judge.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::LazyLock;
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::types::Value;
use hirewire_registry::{Access, Codec, CodecError, DecodeError, Standing, Subject, frame, unframe};
use schema_registry_converter::async_impl::avro::{AvroDecoder, AvroEncoder};
use schema_registry_converter::async_impl::schema_registry::SrSettings;
use schema_registry_converter::schema_registry_common::{SchemaType, SubjectNameStrategy, SuppliedSchema};
use serde::{Deserialize, Serialize};
use support::Server;

const V1: &str = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}"#;
const V2: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "b", "type": ["null", "string"], "default": null}, {"name": "a", "type": "int"}]}"#;
static V2_PARSED: LazyLock<Schema> = LazyLock::new(|| Schema::parse_str(V2).unwrap());

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct R {
    a: i32,
    b: Option<String>,
}

fn subject(schema: &str) -> Subject {
    Subject { name: "t/1-value".into(), schema: schema.into(), compatibility: Some("FULL_TRANSITIVE".into()) }
}

fn framed(id: u32, avro: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(id, &mut bytes);
    bytes.extend_from_slice(avro);
    bytes
}

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_record_is_read_as_written_and_as_the_reader_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir).await;
    let codec = Codec::new(&Access::plain(&server.url)).unwrap();
    let ids = codec.register(&[subject(V1), subject(V2)], PATIENCE).await.unwrap();
    assert_eq!(ids, [1, 2]);
    assert_eq!(codec.cached_id("t/1-value", V2), Some(2));
    assert_eq!(server.ok("GET", "/config/t%2F1-value", None).await["compatibilityLevel"], "FULL_TRANSITIVE");

    let old = framed(1, &[14]);
    assert_eq!(unframe(&old).unwrap(), (1, &[14][..]));
    assert_eq!(codec.decode(&old).await.unwrap(), Value::Record(vec![("a".into(), Value::Int(7))]));
    let read: R = codec.decode_into(&old, &V2_PARSED).await.unwrap();
    assert_eq!(read, R { a: 7, b: None });

    server.stop().await;
    let read: R = codec.decode_into(&old, &V2_PARSED).await.unwrap();
    assert_eq!(read.a, 7, "a known id works while the registry is away");
    assert_eq!(codec.id_for("t/1-value", V1).await.unwrap(), 1);
}

#[tokio::test]
async fn what_would_become_of_a_schema_is_told_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir).await;
    let codec = Codec::new(&Access::plain(&server.url)).unwrap();
    assert_eq!(codec.look("t/1-value", V1).await.unwrap(), Standing::Absent);
    codec.register(&[subject(V1)], PATIENCE).await.unwrap();
    assert_eq!(codec.look("t/1-value", V1).await.unwrap(), Standing::Registered);
    assert_eq!(codec.look("t/1-value", V2).await.unwrap(), Standing::Compatible);
    let other = V1.replace("\"int\"", "\"string\"");
    assert_eq!(codec.look("t/1-value", &other).await.unwrap(), Standing::Incompatible);
    assert_eq!(server.ok("GET", "/subjects/t%2F1-value/versions", None).await, serde_json::json!([1]));
    let date = codec.date().await.unwrap().unwrap();
    assert!(date.ends_with(" GMT"), "{date}");
    server.stop().await;
    assert!(codec.date().await.is_err());
}

#[tokio::test]
async fn an_absent_registry_is_waited_for_and_bad_bytes_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir).await;
    let url = server.url.clone();
    server.ok("POST", "/subjects/s/versions", Some(serde_json::json!({"schema": V1}))).await;
    server.stop().await;

    let codec = Codec::new(&Access::plain(&url)).unwrap();
    let away = codec.decode(&framed(1, &[14])).await.unwrap_err();
    assert!(away.is_retryable(), "{away}");
    assert!(codec.id_for("s", V1).await.unwrap_err().is_retryable());
    let error = codec.register(&[subject(V1)], Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, CodecError::GaveUp { .. }), "{error}");

    let waiting = tokio::spawn({
        let codec = codec.clone();
        async move { codec.register(&[subject(V1)], PATIENCE).await }
    });
    let server = Server::start_at(&dir, url.trim_start_matches("http://")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), [1]);

    for (bytes, what) in [(vec![], "empty"), (vec![1, 0, 0, 0, 1, 14], "no magic byte"), (framed(1, &[]), "cut off")] {
        assert!(!codec.decode(&bytes).await.unwrap_err().is_retryable(), "{what}");
    }
    assert!(matches!(codec.decode(&framed(99, &[14])).await, Err(DecodeError::UnknownSchema(99))));
    drop(server);
}

#[tokio::test]
async fn an_incompatible_schema_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir).await;
    let codec = Codec::new(&Access::plain(&server.url)).unwrap();
    codec.register(&[subject(V1)], PATIENCE).await.unwrap();
    let other = V1.replace("int", "string");
    let error = codec.register(&[subject(&other)], PATIENCE).await.unwrap_err();
    assert!(matches!(&error, CodecError::Incompatible { message, .. } if message.contains("field a")), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn only_subjects_with_the_prefix_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir).await;
    for subject in ["demo-1-x", "demo-1-y%2Fz", "demo-2-x"] {
        let path = format!("/subjects/{subject}/versions");
        server.ok("POST", &path, Some(serde_json::json!({"schema": V1}))).await;
    }
    server.ok("DELETE", "/subjects/demo-1-x", None).await;
    let codec = Codec::new(&Access::plain(&server.url)).unwrap();
    assert!(codec.delete_subjects("").await.is_err());
    assert_eq!(codec.delete_subjects("demo-1-").await.unwrap(), ["demo-1-x", "demo-1-y/z"]);
    assert_eq!(server.ok("GET", "/subjects?deleted=true", None).await, serde_json::json!(["demo-2-x"]));
}

#[test]
fn threads_outside_of_the_runtime_use_the_same_codec() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = runtime.block_on(Server::start(&dir));
    let codec = Codec::new(&Access::plain(&server.url)).unwrap().blocking(runtime.handle().clone());
    let read = std::thread::spawn(move || {
        assert_eq!(codec.register(&[subject(V1)], PATIENCE).unwrap(), [1]);
        codec.decode_into::<R>(&framed(1, &[14]), &V2_PARSED).unwrap()
    });
    assert_eq!(read.join().unwrap(), R { a: 7, b: None });
}

#[tokio::test]
async fn the_converter_crate_and_the_codec_read_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir).await;
    // Or another registry with the same API.
    let url = std::env::var("HIREWIRE_TEST_REGISTRY").unwrap_or_else(|_| server.url.clone());
    let settings = SrSettings::new(url.clone());
    let supplied = SuppliedSchema::new(Some("R".into()), SchemaType::Avro, V2.to_owned());
    let strategy = SubjectNameStrategy::TopicNameStrategyWithSchema("t".into(), false, supplied);
    let record = R { a: 3, b: Some("ü".into()) };
    let bytes = AvroEncoder::new(settings.clone()).encode_struct(&record, &strategy).await.unwrap();

    let codec = Codec::new(&Access::plain(&url)).unwrap();
    assert_eq!(codec.decode_into::<R>(&bytes, &V2_PARSED).await.unwrap(), record);
    let id = codec.id_for("t-value", V2).await.unwrap();
    assert_eq!(unframe(&bytes).unwrap().0, id);

    let decoded = AvroDecoder::new(settings).decode(Some(&framed(id, &[0, 14]))).await.unwrap();
    assert_eq!(apache_avro::from_value::<R>(&decoded.value).unwrap(), R { a: 7, b: None });
}
