//! Is what an event only names read at once, whatever is answered first? Is what is gone by then no obstacle?

use hirewire_ingest::{Errands, Kept};
use hirewire_sim::Event;
use hirewire_sim::vendor::{Change, Fault, Planned, Vendor, When};

use super::carrier::Carrier;
use super::desk::{Desk, now_ms};
use super::scene::HOURS_BEFORE;
use super::{Answers, Clause, Kit, Proof};

const NO_EVENTS: &str = "no events are received";
/// Rounds within which what waits is read.
const ROUNDS: usize = 4;

/// In the order of `api.yaml`.
pub(super) async fn prove(kit: &Kit, proof: &mut Proof) {
    if !kit.receives() && !kit.queues() {
        return proof.leave_out(Clause::Thin, NO_EVENTS);
    }
    let thin = |event: &&Event| event.thin || (kit.is_thin(&event.name) && !event.deletes);
    let events: Vec<&Event> = kit.rules.events().filter(thin).collect();
    if events.is_empty() {
        return proof.leave_out(Clause::Thin, "its events hold what happened, and nothing is fetched for them");
    }
    let desk = match kit.receives() {
        true => Desk::open(kit).await.map(Some),
        false => Ok(None),
    };
    let desk = match desk {
        Ok(desk) => desk,
        Err(why) => {
            let mut answers = Answers::default();
            answers.ask(Some(why));
            return proof.take(Clause::Thin, "deliveries", answers);
        }
    };
    for event in events {
        let mut answers = Answers::default();
        if kit.is_thin(&event.name) {
            Errand { kit, desk: desk.as_ref(), event }.all(&mut answers).await;
        } else {
            let what = "it only names what happened, and nothing is read for it: `fetch`";
            answers.ask(Some(what.to_owned()));
        }
        proof.take(Clause::Thin, &event.key, answers);
    }
}

/// One event, and who brings it.
struct Errand<'a> {
    kit: &'a Kit,
    desk: Option<&'a Desk>,
    event: &'a Event,
}

impl Errand<'_> {
    async fn all(&self, answers: &mut Answers) {
        let right = self.after(None).await;
        let readable = matches!(right, Ok(None));
        answers.ask(right.unwrap_or_else(Some));
        if !readable {
            // Whatever else is asked has the same answer.
            return;
        }
        // An error under 200 is a refusal as far as ingest can tell: what it was of is left to the lists.
        let faults = [
            Fault::TokenEnded,
            Fault::Status(self.kit.rules.rate.status),
            Fault::RetryAfter(self.kit.rules.rate.status, 0),
            Fault::Status(500),
            Fault::Half,
            Fault::BrokenOff,
        ];
        for fault in faults {
            answers.ask(self.after(Some(fault)).await.unwrap_or_else(Some));
        }
        answers.ask(self.when_it_is_gone().await.unwrap_or_else(Some));
    }

    /// What is wrong when a row changed, and the first answer to who reads it is a fault.
    async fn after(&self, fault: Option<Fault>) -> Result<Option<String>, String> {
        let mut at = self.open().await?;
        at.vendor.with(|account| account.change(&self.event.of, 0, Change::default()));
        let told = fault.as_ref().map_or_else(String::new, |fault| format!(", and was answered {fault:?} first"));
        let id = self.bring(&mut at).await?;
        if let Some(fault) = fault {
            at.vendor.with(|account| account.plan(Planned { fault, when: When::FirstPage, times: 1 }));
        }
        let rows = read(&mut at.errands).await;
        let wrong = judge(&at, &id, &rows);
        Ok(wrong.map(|wrong| format!("what the event names was asked for{told}: {wrong}")))
    }

    /// A row that is gone when it is asked for is left alone, and what is asked for after it is read.
    async fn when_it_is_gone(&self) -> Result<Option<String>, String> {
        let mut at = self.open().await?;
        let id = self.bring(&mut at).await?;
        at.vendor.with(|account| account.remove(&id));
        let rows = read(&mut at.errands).await;
        if !rows.is_empty() {
            return Ok(Some("something is kept of what is gone by the time it is asked for".to_owned()));
        }
        let id = self.bring(&mut at).await?;
        let rows = read(&mut at.errands).await;
        let wrong = judge(&at, &id, &rows);
        Ok(wrong.map(|wrong| format!("after something that was gone when it was asked for: {wrong}")))
    }

    /// A vendor of its own, and who reads from it what events name.
    async fn open(&self) -> Result<Place<'_>, String> {
        let (vendor, connection) = self.kit.vendor(HOURS_BEFORE).await?;
        let errands = self.kit.http.as_ref().and_then(|http| Errands::new(http, &connection));
        let errands = errands.ok_or("nothing is polled, so nothing can be read")?;
        let carrier = Carrier::of(self.kit, self.desk, &connection).await.ok_or("no event reaches anybody")?;
        Ok(Place { vendor, errands, carrier })
    }

    /// The event of the oldest row is brought, and what it names waits. Gives the row's id.
    async fn bring(&self, at: &mut Place<'_>) -> Result<String, String> {
        let of = &self.event.of;
        let (id, row) = at.vendor.with(|account| account.row(of, 0)).ok_or_else(|| format!("no row of {of}"))?;
        let taken = at.carrier.bring(self.kit, &at.vendor, self.event, &row, now_ms()).await?;
        if taken.wanted.is_empty() {
            return Err("what the event names is not found in it, and is not asked for".to_owned());
        }
        at.errands.ask(taken.wanted);
        Ok(id)
    }
}

/// A vendor, who brings its events, and who reads what they name.
struct Place<'a> {
    vendor: Vendor,
    errands: Errands,
    carrier: Carrier<'a>,
}

async fn read(errands: &mut Errands) -> Vec<Kept> {
    let mut rows = Vec::new();
    for _ in 0..ROUNDS {
        rows.extend(errands.read().await);
        if errands.are_done() {
            break;
        }
    }
    rows
}

/// What was read must be what is known by the id, or its own, as it is now.
fn judge(at: &Place<'_>, id: &str, rows: &[Kept]) -> Option<String> {
    let known = at.vendor.with(|account| account.known_by(id));
    if !at.errands.are_done() {
        return Some("it is not read, and waits for ever".to_owned());
    }
    if rows.is_empty() {
        return Some("nothing was read".to_owned());
    }
    let other = rows.iter().any(|row| !known.iter().any(|body| row.body == *body.as_bytes()));
    other.then(|| "what was read is something else, or is not as it is now".to_owned())
}
