//! A request that waits for what another sink has created of the same change.

use std::sync::Arc;
use std::time::Duration;

use hirewire_schemas::Entity;
use serde_json::{Value, json};

use super::ground::{Ground, JOB, application_id, now};
use super::support::{Answer, Context, Options, Receiver, Running, arrival, change, context, run, until};
use crate::context::store::Seen;
use crate::created::CreatedKey;
use crate::system::{System, Systems};

const LINKS: &str = r#"
system: links
summary: Makes links.
requests:
  link: {entity: stage-change, path: /links, creates: {id: body.url}, body: {fields: {application_id: change.application_id}}}
  other: {entity: application, path: /links, creates: {id: body.url}, body: {fields: {x: {const: y}}}}
  plain: {entity: stage-change, when: {change_type: UNHIRE}, path: /links, body: {fields: {x: {const: y}}}}
"#;

const NOTES: &str = r#"
system: notes
summary: Tells people of links.
settings: {links: the sink that makes them}
requests:
  note:
    entity: stage-change
    after: {sink: settings.links, request: link}
    path: /notes
    body: {fields: {application_id: change.application_id, link: after.id}}
"#;

fn folder(from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert!(NOTES.contains(from), "{from}");
    for (name, text) in [("links", LINKS.to_owned()), ("notes", NOTES.replacen(from, to, 1))] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("sink.yaml"), text).unwrap();
    }
    folder
}

fn notes() -> Arc<System> {
    Systems::of_folder(folder("", "").path()).unwrap().get("notes").unwrap()
}

/// What the sink of links has told of an event of the application `a`.
fn told(context: &Context, event: &str, id: &str) {
    let key = CreatedKey { sink: "calendar", request: "link", application_id: "a" };
    let tree = json!({"id": id, "event_id": event});
    let seen = Seen {
        entity: None,
        id: key.to_string(),
        tree: Some(tree),
        topic: "created".to_owned(),
        partition: 0,
        next_offset: 0,
    };
    context.store.put(&[seen]).unwrap();
}

fn running(receiver: &Receiver, context: &Context, requires_within: Duration) -> Running {
    context.put_application("a");
    let options = Options { told: json!({"links": "calendar"}), requires_within, ..Options::default() };
    let running = run(&notes(), receiver, context, options);
    running.assign(&[0]);
    running
}

#[tokio::test]
async fn it_waits_for_the_other_sink_s_id_of_the_same_change_and_of_no_earlier_one() {
    let (receiver, context) = (Receiver::start(|_| Answer::Status(200)).await, context());
    let running = running(&receiver, &context, Duration::from_secs(30));
    told(&context, "a/1", "the-link-of-another-change");
    running.record(arrival(0, 0, "a", &change("a", 2, "STAGE")));
    until("it to wait", || running.metric("hirewire_route_context_waits") == 1).await;
    assert!(receiver.all().is_empty());
    told(&context, "a/2", "https://x.example/d/abc");
    until("the note", || running.commits.head(0) == 1).await;
    let bodies: Vec<Value> = receiver.all().into_iter().map(|one| one.body).collect();
    assert_eq!(bodies, [json!({"application_id": "a", "link": "https://x.example/d/abc"})]);
    running.end().await;
}

#[tokio::test]
async fn what_the_other_sink_never_creates_is_a_dead_letter_in_its_time() {
    let (receiver, context) = (Receiver::start(|_| Answer::Status(200)).await, context());
    let running = running(&receiver, &context, Duration::from_millis(300));
    running.record(arrival(0, 0, "a", &change("a", 2, "STAGE")));
    until("the dead letter", || running.commits.head(0) == 1).await;
    let letters = format!("{:?}", running.letters.put.lock().unwrap());
    assert!(letters.contains("ROUTE_CONTEXT_MISSING"), "{letters}");
    assert!(letters.contains("after.id (of the other sink's link)"), "{letters}");
    assert!(receiver.all().is_empty());
    running.end().await;
}

fn config(folder: &tempfile::TempDir, links: &Receiver, notes: &Receiver) -> String {
    let http = |receiver: &Receiver| {
        format!("http: {{url: 'http://{}/in', allow: {{networks: ['127.0.0.0/8']}}}}", receiver.address)
    };
    format!(
        "route: {{sinks_dir: {}}}\nsinks:\n  calendar: {{system: links, {}, retry: {{first: 50ms}}}}\n  \
         notes: {{{}, settings: {{links: calendar}}}}\nroutes: {{links: {{sink: calendar}}, notes: {{sink: notes}}}}\n",
        folder.path().display(),
        http(links),
        http(notes)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_sink_creates_another_one_tells_though_the_first_is_away_at_first() {
    let ground = Ground::lay().await;
    let folder = folder("", "");
    let (links, socket) = Receiver::refusing();
    links.answer(|_| Answer::Says(201, r#"{"url": "https://x.example/d/abc"}"#));
    let notes = Receiver::start(|_| Answer::Status(200)).await;
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let service = ground.start(&config(&folder, &links, &notes), &ground.folder.path().join("data")).await;
    let application = application_id(0);
    ground.put_context(&application).await;
    ground.put_change(&application, 1, "STAGE", now(), "WEBHOOK").await;
    until("the note to wait", || service.counter("hirewire_route_context_waits", "notes") == 1).await;
    assert!(notes.all().is_empty());
    links.listen(socket.listen(64).unwrap());
    until("the note", || !notes.all().is_empty()).await;
    let body = notes.all()[0].body.clone();
    assert_eq!(body, json!({"application_id": application, "link": "https://x.example/d/abc"}));
    service.stop().await;
    let links = links.taken().iter().filter(|one| one.body["application_id"] == *application).count();
    assert_eq!((links, notes.all().len()), (1, 1));
}

#[test]
fn mistakes_are_refused_with_their_lines() {
    for (from, to, told) in [
        ("sink: settings.links", "sink: links", "\"links\" is none of the system's `settings`"),
        (", request: link", "", "`request` is missing"),
        (
            "    after: {sink: settings.links, request: link}\n",
            "",
            "\"after.id\" is known to a request that comes after",
        ),
    ] {
        let refused = Systems::of_folder(folder(from, to).path()).unwrap_err().to_string();
        assert!(refused.contains(told) && refused.contains("/notes/sink.yaml:"), "{refused}");
    }
    let http = "http: {url: 'https://x.example'}";
    for (request, links, told) in [
        ("link", "nobody", "there is no sink \"nobody\", for which it waits"),
        ("link", "notes", "the sink \"notes\" creates no \"link\" of a stage-change"),
        ("plain", "calendar", "the sink \"calendar\" creates no \"plain\" of a stage-change"),
        ("other", "calendar", "the sink \"calendar\" creates no \"other\" of a stage-change"),
    ] {
        let folder = folder("request: link", &format!("request: {request}"));
        let text = format!(
            "route: {{sinks_dir: {}}}\nsinks:\n  calendar: {{system: links, {http}}}\n  notes: {{{http}, settings: {{links: {links}}}}}\n",
            folder.path().display()
        );
        let refused = Ground::read(&text).err().unwrap();
        assert!(refused.contains(told) && refused.contains("hirewire.yaml:4:"), "{refused}");
    }
}
