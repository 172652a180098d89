//! Is a deletion that the vendor tells, by an event or by a list, one of the record?

use hirewire_ingest::manifest::Stream;
use hirewire_schemas::records::Operation;
use hirewire_sim::vendor::{Fault, Planned, When};

use super::desk::Desk;
use super::facts::Facts;
use super::scene::HOURS_BEFORE;
use super::{Answers, Clause, Kit, Proof, sweeps};

/// What tells it.
enum By<'r> {
    Event(&'r hirewire_sim::Event),
    /// A list, and the list whose rows it names.
    List(&'r str, &'r str),
    /// Nobody: it is found by a sweep of the list that comes second.
    Sweep(&'r Stream, &'r str),
}

/// Events first, then lists, in the order of `api.yaml`.
pub(super) async fn prove(kit: &Kit, desk: Option<&Desk>, proof: &mut Proof) {
    let reaches = desk.is_some() || kit.queues();
    let events = kit.rules.events().filter(|event| reaches && event.deletes);
    let told = events.map(|event| (event.key.as_str(), By::Event(event)));
    let lists = kit.rules.streams.iter().filter_map(|stream| Some((stream.name.as_str(), stream.deletes.as_deref()?)));
    let swept = sweeps(&kit.manifest).map(|(list, of)| (list.name.as_str(), By::Sweep(list, &of.name)));
    let ways: Vec<(&str, By<'_>)> =
        told.chain(lists.map(|(name, of)| (name, By::List(name, of)))).chain(swept).collect();
    if ways.is_empty() {
        return proof.leave_out(
            Clause::Deletes,
            "no event and no list of the vendor tells of a deletion (api.yaml), and none is swept",
        );
    }
    for (name, by) in ways {
        let mut answers = Answers::default();
        if let By::Sweep(list, of) = by {
            answers.ask(deleted_by_mistake(kit, list, of).await.unwrap_or_else(Some));
        }
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
    let mut facts = match by {
        By::Sweep(..) => Facts::begun(kit, desk, HOURS_BEFORE).await?,
        By::Event(_) | By::List(..) => Facts::new(kit, desk).await?,
    };
    let of = match by {
        By::Event(event) => event.of.as_str(),
        By::List(_, of) | By::Sweep(_, of) => of,
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
        By::Sweep(list, _) => {
            facts.look(list, 1).await?;
            facts.vendor.with(|account| account.remove(&id));
            facts.look(list, 2).await?;
        }
    }
    let letters = facts.normalize.dead_letters();
    if !letters.is_empty() {
        return Ok(Some(format!("what tells it cannot be processed: {}", letters.join(", "))));
    }
    let states = facts.normalize.states();
    let deleted = |state: &&hirewire_normalize::Published| state.meta.op == Operation::Delete;
    if matches!(by, By::Sweep(..))
        && let Some(other) = states.iter().filter(deleted).find(|state| !names(&state.meta.remote_id, &id))
    {
        return Ok(Some(format!("a row of {of} is gone, and {} {} is deleted", other.record, other.meta.remote_id)));
    }
    let gone = states.iter().any(|state| is_its(Operation::Delete)(state, &id));
    Ok((!gone).then(|| format!("a row of {of} is gone, and no record is deleted for it")))
}

/// What is wrong when nothing is gone, and answers to those who look are bad ones.
async fn deleted_by_mistake(kit: &Kit, list: &Stream, of: &str) -> Result<Option<String>, String> {
    let mut facts = Facts::begun(kit, None, HOURS_BEFORE).await?;
    facts.poll(of).await?;
    facts.look(list, 1).await?;
    for fault in [
        Fault::Half,
        Fault::BrokenOff,
        Fault::Status(500),
        Fault::Status(403),
        Fault::Circle,
        Fault::Code("Client.error"),
    ] {
        for when in [When::FirstPage, When::LaterPage] {
            let told = format!("{fault:?} at {when:?}");
            facts.vendor.with(|account| account.plan(Planned { fault: fault.clone(), when, times: u32::MAX }));
            facts.look(list, 2).await?;
            facts.vendor.with(|account| account.take_plan());
            facts.look(list, 2).await?;
            if facts.normalize.states().iter().any(|state| state.meta.op == Operation::Delete) {
                return Ok(Some(format!("after {told}: a record is deleted, and no row of {of} is gone")));
            }
        }
    }
    Ok(None)
}
