//! Is a deletion that the vendor tells, by an event or by a list, one of the record?

use hirewire_schemas::records::Operation;

use super::desk::Desk;
use super::facts::Facts;
use super::{Answers, Clause, Kit, Proof};

/// What tells it.
enum By<'r> {
    Event(&'r hirewire_sim::Event),
    /// A list, and the list whose rows it names.
    List(&'r str, &'r str),
}

/// Events first, then lists, in the order of `api.yaml`.
pub(super) async fn prove(kit: &Kit, desk: Option<&Desk>, proof: &mut Proof) {
    let reaches = desk.is_some() || kit.queues();
    let events = kit.rules.events().filter(|event| reaches && event.deletes);
    let told = events.map(|event| (event.key.as_str(), By::Event(event)));
    let lists = kit.rules.streams.iter().filter_map(|stream| Some((stream.name.as_str(), stream.deletes.as_deref()?)));
    let ways: Vec<(&str, By<'_>)> = told.chain(lists.map(|(name, of)| (name, By::List(name, of)))).collect();
    if ways.is_empty() {
        return proof.leave_out(Clause::Deletes, "no event and no list of the vendor tells of a deletion (api.yaml)");
    }
    for (name, by) in ways {
        let mut answers = Answers::default();
        answers.ask(deleted(kit, desk, by).await.unwrap_or_else(Some));
        proof.take(Clause::Deletes, name, answers);
    }
}

/// Whether a record's id is a row's: alone, or behind what tells several lists of one kind of record apart (`note/7`).
fn names(remote_id: &str, id: &str) -> bool {
    remote_id.strip_suffix(id).is_some_and(|front| front.is_empty() || front.ends_with('/'))
}

/// What is wrong once the first row of a list is gone.
async fn deleted(kit: &Kit, desk: Option<&Desk>, by: By<'_>) -> Result<Option<String>, String> {
    let mut facts = Facts::new(kit, desk).await?;
    let of = match by {
        By::Event(event) => event.of.as_str(),
        By::List(_, of) => of,
    };
    let (id, row) = facts.vendor.with(|account| account.row(of, 0)).ok_or_else(|| format!("no row of {of}"))?;
    facts.poll(of).await?;
    let is_its = |operation| {
        move |state: &hirewire_normalize::Published, id: &str| {
            state.meta.op == operation && names(&state.meta.remote_id, id)
        }
    };
    if !facts.normalize.states().iter().any(|state| is_its(Operation::Upsert)(state, &id)) {
        return Ok(Some(format!("a row of {of} makes no record with its id")));
    }
    match by {
        By::Event(event) => {
            facts.vendor.with(|account| account.remove(&id));
            let now = facts.vendor.with(|account| account.now());
            facts.deliver(event, &row, now).await?;
        }
        By::List(list, of) => {
            facts.vendor.with(|account| account.delete(of, list));
            facts.settle();
            facts.poll(list).await?;
        }
    }
    let letters = facts.normalize.dead_letters();
    if !letters.is_empty() {
        return Ok(Some(format!("what tells it cannot be processed: {}", letters.join(", "))));
    }
    let gone = facts.normalize.states().iter().any(|state| is_its(Operation::Delete)(state, &id));
    Ok((!gone).then(|| format!("a row of {of} is gone, and no record is deleted for it")))
}
