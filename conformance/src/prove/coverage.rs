//! Is everything that the vendor tells accounted for: each list and event by a rule, each leaf read, ignored or carried?

use super::facts::Facts;
use super::{Answers, Clause, Kit, Proof, lists};
use crate::folder::Folder;

pub(super) async fn prove(kit: &Kit, folder: &Folder, proof: &mut Proof) {
    // It was read before: the kit is made of it.
    let Ok(rules) = folder.rules(None) else { return };
    for fixture in folder.payloads() {
        let Ok(body) = std::fs::read(&fixture.path) else { continue };
        let report = fixture.map(&rules, &body);
        if report.unknown && fixture.names_only(&rules, &body) {
            continue;
        }
        let mut answers = Answers::default();
        let unread = report.coverage.unread;
        answers.ask((unread > 0).then(|| format!("{unread} leaves are not read, not ignored and not carried")));
        answers.ask((report.dead_letters > 0).then(|| "it becomes a dead letter".to_owned()));
        answers.ask(report.unknown.then(|| "no rule makes anything of it".to_owned()));
        proof.take(Clause::Coverage, &fixture.name, answers);
    }
    for stream in lists(&kit.manifest) {
        let mut answers = Answers::default();
        let known = kit.plan.streams().any(|name| name == stream.name);
        let thin = kit.manifest.api.as_ref().is_some_and(|api| api.is_parent(&stream.name));
        answers.ask((!known && !thin).then(|| "no rule makes anything of its rows".to_owned()));
        proof.take(Clause::Coverage, &stream.name, answers);
    }
    let of_manifest = || kit.manifest.events();
    for event in kit.rules.events().filter(|_| of_manifest().next().is_some()) {
        let mut answers = Answers::default();
        let keyed = of_manifest().any(|events| events.subjects.contains_key(&event.name));
        let way = if kit.receives() { "webhook" } else { "queue" };
        answers.ask((!keyed).then(|| format!("`{way}.subjects` does not name the event: it is kept as nobody's")));
        let known = kit.is_thin(&event.name) || kit.plan.events().any(|name| name == event.name);
        answers.ask((!known).then(|| "no rule makes anything of the event, and nothing is fetched for it".to_owned()));
        proof.take(Clause::Coverage, &event.key, answers);
    }
    let mut answers = Answers::default();
    answers.ask(rows_are_taken(kit).await.unwrap_or_else(Some));
    proof.take(Clause::Coverage, "lists", answers);
}

/// Rows as ingest keeps them, with what it tells of their requests, can be processed.
async fn rows_are_taken(kit: &Kit) -> Result<Option<String>, String> {
    let mut facts = Facts::new(kit, None).await?;
    facts.poll_all().await?;
    let letters = facts.normalize.dead_letters();
    Ok((!letters.is_empty()).then(|| format!("rows cannot be processed: {}", letters.join(", "))))
}
