//! What is changed at a source is told before it is done, and what comes of it starts nothing.

use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use hirewire_kafka::partition_for;
use hirewire_schemas::{Entity, ids};
use serde_json::{Value, json};

use super::ground::{Ground, PARTITIONS, application_id};
use super::process::Process;
use super::support::{Answer, Options, Receiver, arrival, change, context, run, slot, until};
use crate::source::SourceEvent;
use crate::system::{System, Systems};
use crate::write_back;

/// The fields of an intent that are texts.
fn texts(value: &[u8]) -> Vec<(String, String)> {
    let schema = &hirewire_schemas::schema("WriteBack").unwrap().avro;
    let reader = GenericDatumReader::builder(schema).build().unwrap();
    let Avro::Record(fields) = reader.read_value(&mut &value[5..]).unwrap() else { panic!("no record") };
    let text = |value| match value {
        Avro::String(text) => Some(text),
        Avro::Union(_, inner) => match *inner {
            Avro::String(text) => Some(text),
            _ => None,
        },
        _ => None,
    };
    fields.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_at_the_source_is_told_before_it_is_done_though_the_process_is_killed_in_between() {
    let ground = Ground::lay().await;
    let (receiver, socket) = Receiver::refusing();
    receiver.answer(|_| Answer::Status(200));
    let config = format!(
        "sinks: {{passed: {{system: greenhouse-moves, settings: {{stage: \"71417\"}}, retry: {{first: 10ms}}, \
         http: {{url: 'http://{}', allow: {{networks: ['127.0.0.0/8']}}}}}}}}\nroutes: {{passed: {{sink: passed}}}}\n",
        receiver.address
    );
    let application = application_id(0);
    ground.put_context(&application).await;
    let mut first = Process::start(&ground, &config).await;
    let completed = json!({"value": "COMPLETED", "raw": null, "rule": null});
    let result = json!({"application_id": application, "provider": "hackerrank", "status": completed});
    ground.put(Entity::AssessmentResult, "r-1", &application, result).await;
    let topic = ground.names.internal(write_back::TOPIC);
    until("the intent to be told", || ground.read_all(&topic).len() == 1).await;
    first.kill();
    assert!(receiver.all().is_empty(), "nothing was done yet");

    receiver.listen(socket.listen(64).unwrap());
    let second = ground.start(&config, &ground.folder.path().join("second")).await;
    until("the move", || !receiver.all().is_empty()).await;
    second.stop().await;
    let moves = receiver.all();
    assert_eq!(moves.len(), 1);
    assert_eq!(moves[0].line, "POST /v3/applications/1/move");
    assert_eq!(moves[0].body, json!({"to_stage_id": "71417"}));

    let intents = ground.read_all(&topic);
    assert_eq!(intents.len(), 2, "who begins anew tells it again");
    for intent in &intents {
        assert_eq!(intent.key.as_deref(), Some(application.as_bytes()));
        assert_eq!(intent.partition, partition_for(application.as_bytes(), PARTITIONS), "where the application is");
        let texts = texts(intent.value.as_deref().unwrap());
        let of = |name: &str| texts.iter().find(|(known, _)| known == name).unwrap().1.clone();
        assert_eq!(of("idempotency_key"), moves[0].headers["idempotency-key"], "it is the same delivery");
        let stage = ids::canonical_id("acme", "acme-greenhouse", "Stage", "71417").to_string();
        assert_eq!(
            [of("action"), of("to_stage_id"), of("application_id")],
            ["move".to_owned(), stage, application.clone()]
        );
    }
}

const MOVER: &str = "
system: mover
summary: Moves whatever moves.
requests:
  move:
    entity: stage-change
    when: {change_type: STAGE}
    requires: [application]
    writes_back: {action: move, to_stage: change.from_stage.id}
    creates: {id: body.id}
    body: {fields: {back_to: change.from_stage.id}}
";

fn mover(from: &str, to: &str) -> Result<Arc<System>, String> {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("mover");
    std::fs::create_dir(&own).unwrap();
    assert!(MOVER.contains(from), "{from}");
    std::fs::write(own.join("sink.yaml"), MOVER.replacen(from, to, 1)).unwrap();
    Ok(Systems::of_folder(folder.path()).map_err(|problems| problems.to_string())?.get("mover").unwrap())
}

/// A sink that answers each move with another one would never end.
#[tokio::test]
async fn what_came_of_our_own_change_goes_to_no_sink_that_changes_the_source() {
    let (receiver, context) = (Receiver::start(|_| Answer::Status(200)).await, context());
    context.put_common();
    context.put_application("a");
    let running = run(&mover("", "").unwrap(), &receiver, &context, Options::default());
    running.events.send(SourceEvent::Assigned(vec![slot(0)])).unwrap();
    let mut own = change("a", 1, "STAGE");
    own["cause"] = json!("WRITE_BACK");
    running.record(arrival(0, 1, "a", &own));
    until("it to be settled", || running.commits.head(0) == 2).await;
    assert_eq!(running.metric("hirewire_route_skipped_total"), 1);
    assert_eq!((receiver.all().len(), running.letters.put.lock().unwrap().len()), (0, 0));
    // A person's move goes, and nothing is done whose intent cannot be told.
    running.record(arrival(0, 2, "a", &change("a", 2, "STAGE")));
    until("it to be settled", || running.commits.head(0) == 3).await;
    assert_eq!((receiver.all().len(), running.letters.put.lock().unwrap().len()), (0, 1));
    running.end().await;
}

const LETTER: &str = "
system: letters
summary: A letter for each offer.
requests:
  letter:
    entity: application
    when: {status: HIRED}
    once: true
    creates: {id: body.id}
    body: {fields: {application_id: change.meta.id}}
";

fn hired(number: i64) -> Value {
    json!({"meta": {"id": "a", "event_id": format!("a-{number}"), "observed_at": "2026-02-01T10:00:00Z",
        "provenance": "WEBHOOK"}, "candidate_id": "c", "job_id": "j", "status": {"value": "HIRED", "raw": null, "rule": "r"}})
}

#[tokio::test]
async fn what_is_made_once_is_not_made_again_whatever_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("letters")).unwrap();
    std::fs::write(folder.path().join("letters/sink.yaml"), LETTER).unwrap();
    let system = Systems::of_folder(folder.path()).unwrap().get("letters").unwrap();
    let (receiver, context) = (Receiver::start(|_| Answer::Says(201, r#"{"id": 7}"#)).await, context());
    let running = run(&system, &receiver, &context, Options::default());
    let slot = crate::source::Slot { topic: "ats.application.v1".into(), partition: 0 };
    running.events.send(SourceEvent::Assigned(vec![slot.clone()])).unwrap();
    for number in 1..=3 {
        let record = crate::source::Arrival { slot: slot.clone(), ..arrival(0, number, "a", &hired(number)) };
        running.record(record);
    }
    until("the later ones to be left out", || running.metric("hirewire_route_skipped_total") == 2).await;
    assert_eq!(receiver.all().len(), 1, "the application changed twice more");
    running.end().await;
}

#[test]
fn mistakes_are_refused_with_their_lines() {
    for (from, to, told) in [
        ("action: move, ", "", "`action` is missing"),
        ("to_stage:", "to_stge:", "unknown key \"to_stge\" (did you mean \"to_stage\"?)"),
        ("to_stage: change.from_stage.id", "to_stage: settings.stage", "is none of the system's `settings`"),
        ("    creates: {id: body.id}\n", "    once: true\n", "is made once, and it is not kept that it was"),
    ] {
        let refused = mover(from, to).unwrap_err();
        assert!(refused.contains(told) && refused.contains("/mover/sink.yaml:"), "{refused}");
    }
}
