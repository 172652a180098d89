//! Does a move that is told by a webhook, a list and a history make one event of the ledger, whichever comes first?

use hirewire_schemas::records::{OccurredAtPrecision, Revision, StageChange, StageRef};
use hirewire_sim::Stream;
use hirewire_sim::vendor::Change;

use super::desk::Desk;
use super::facts::Facts;
use super::{Answers, Clause, Kit, Proof, lists};

/// Who tells of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Teller {
    Webhook,
    Queue,
    Poll,
    History,
}

impl Teller {
    fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Queue => "queue",
            Self::Poll => "poll",
            Self::History => "history",
        }
    }
}

/// For each list of applications of which `api.yaml` says how they move.
pub(super) async fn prove(kit: &Kit, desk: Option<&Desk>, proof: &mut Proof) {
    let polled = |name: &str| lists(&kit.manifest).any(|stream| stream.name == name);
    let applications: Vec<&Stream> = kit.rules.streams.iter().filter(|stream| !stream.moves.is_empty()).collect();
    if applications.is_empty() {
        return proof.leave_out(Clause::OneFact, "api.yaml says of no list how its rows move (`moves`)");
    }
    let ways = applications.iter().flat_map(|stream| stream.moves.iter().enumerate().map(move |way| (*stream, way)));
    for (stream, (way, moves)) in ways {
        let tellers = [
            (Teller::Webhook, desk.is_some() && moves.event.is_some()),
            (Teller::Queue, kit.queues() && moves.event.is_some()),
            (Teller::Poll, polled(&stream.name)),
            (Teller::History, moves.history.as_ref().is_some_and(|history| polled(&history.stream))),
        ];
        let tellers: Vec<Teller> = tellers.into_iter().filter(|(_, there)| *there).map(|(teller, _)| teller).collect();
        let mut answers = Answers::default();
        for order in orders(&tellers) {
            answers.ask(told(kit, desk, (stream, way), &order).await.unwrap_or_else(Some));
        }
        proof.take(Clause::OneFact, &stream.name, answers);
    }
}

/// An exact time is the true one, as far as seconds go.
fn tells_another_time(change: &StageChange, moved_at_ms: i64) -> bool {
    let told = change.occurred_at.filter(|_| change.occurred_at_precision == OccurredAtPrecision::Exact);
    told.is_some_and(|micros| (micros / 1000 - moved_at_ms).abs() >= 1000)
}

/// Told live, each kind once; what a history corrects of it, for it knows the time better, takes its place.
fn is_one(changes: &[StageChange], wanted: &[&str]) -> bool {
    let stands = |change: &&StageChange| !changes.iter().any(|by| by.supersedes.contains(&change.meta.event_id));
    let are = |told: &mut dyn Iterator<Item = &StageChange>| {
        let mut kinds: Vec<&str> = told.map(|change| change.change_type.symbol()).collect();
        kinds.sort_unstable();
        kinds == wanted
    };
    let live = are(&mut changes.iter().filter(|change| change.revision == Revision::Live));
    live && are(&mut changes.iter().filter(stands))
}

/// `application: LIVE STAGE, Applied to Interview`.
fn shown(change: &StageChange) -> String {
    let name = |stage: &Option<StageRef>| {
        let stage = stage.as_ref().and_then(|stage| stage.name.as_ref().or(stage.id.as_ref()));
        stage.map_or("none", String::as_str).to_owned()
    };
    let (from, to) = (name(&change.from_stage), name(&change.to_stage));
    let (revision, kind) = (change.revision.symbol(), change.change_type.symbol());
    format!("{}: {revision} {kind}, {from} to {to}", change.meta.remote_id)
}

/// All orders of some of these, for each of them may be lost, or of all.
fn orders(tellers: &[Teller]) -> Vec<Vec<Teller>> {
    let first = |teller: &Teller| {
        let others: Vec<Teller> = tellers.iter().copied().filter(|other| other != teller).collect();
        let (own, behind) = (*teller, orders(&others));
        std::iter::once(Vec::new()).chain(behind).map(move |order| [vec![own], order].concat())
    };
    tellers.iter().flat_map(first).collect()
}

/// What is wrong when the first row moves, and all tell it in this order, twice.
async fn told(
    kit: &Kit,
    desk: Option<&Desk>,
    (stream, way): (&Stream, usize),
    order: &[Teller],
) -> Result<Option<String>, String> {
    let Some(moves) = stream.moves.get(way) else { return Ok(None) };
    let mut facts = Facts::new(kit, desk).await?;
    let list = stream.name.as_str();
    facts.vendor.with(|account| account.begin(list, way));
    facts.poll_all().await?;
    let letters = facts.normalize.dead_letters();
    if !letters.is_empty() {
        return Ok(Some(format!("rows cannot be processed: {}", letters.join(", "))));
    }
    if facts.normalize.changes().is_empty() {
        return Ok(Some("no application begins by what the lists tell".to_owned()));
    }
    let moved_at = facts.vendor.with(|account| account.now());
    let change = Change { moves: Some(way), at: Some(moved_at), ..Change::default() };
    facts.vendor.with(|account| account.change(list, 0, change));
    let row = facts.vendor.with(|account| account.row(list, 0)).map(|(_, row)| row).unwrap_or_default();
    for teller in order.iter().chain(order) {
        match teller {
            Teller::Webhook | Teller::Queue => {
                let event = moves.event.as_ref().and_then(|name| kit.rules.event_named(name));
                if let Some(event) = event {
                    facts.deliver(event, &row, moved_at).await?;
                }
            }
            Teller::Poll => {
                facts.settle();
                facts.poll(list).await?;
            }
            Teller::History => {
                facts.settle();
                facts.poll(moves.history.as_ref().map_or(list, |history| &history.stream)).await?;
            }
        }
    }
    let changes = facts.normalize.changes();
    // A history of stages tells no more than stages, unless its rows say what the application was.
    let no_status = kit.plan.absent_fields("StageVisit").iter().any(|field| field == "status");
    let told_by = |change: &&&str| **change == "STAGE" || *order != [Teller::History] || !no_status;
    let mut wanted: Vec<&str> = moves.changes.iter().filter(told_by).copied().collect();
    wanted.sort_unstable();
    if is_one(&changes, &wanted) {
        let wrong = changes.iter().find(|change| tells_another_time(change, moved_at));
        return Ok(wrong.map(|change| format!("it moved at another time than the ledger says: {}", shown(change))));
    }
    let shown = changes.iter().map(shown);
    let order = order.iter().map(|teller| teller.as_str()).collect::<Vec<_>>().join(", then ");
    let shown = shown.collect::<Vec<_>>().join(", ");
    Ok(Some(format!(
        "one move, told by {order}, is {} events of the ledger, and should be one {}: [{shown}]",
        changes.len(),
        wanted.join(" and one ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_is_tried_once() {
        let all = orders(&[Teller::Webhook, Teller::Poll, Teller::History]);
        let long = |length| all.iter().filter(|order| order.len() == length).count();
        assert_eq!([long(1), long(2), long(3)], [3, 6, 6]);
        assert_eq!(orders(&[Teller::Poll]), [vec![Teller::Poll]]);
    }
}
