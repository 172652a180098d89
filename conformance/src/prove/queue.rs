//! Is each event of the vendor's queue kept, whatever happens between its being handed out and its being committed?

use std::collections::BTreeSet;

use hirewire_ingest::{Letterbox, Moment, Round};
use hirewire_sim::vendor::{Fault, Planned, Vendor, When, message};

use super::scene::HOURS_BEFORE;
use super::{Answers, Clause, Kit, Proof};

/// Events that wait, for each that the rules name: more than one batch.
const EACH: usize = 3;
/// More commits than any read has here.
const MOST_COMMITS: usize = 60;
const AT: &str = "queue";

pub(super) async fn prove(kit: &Kit, proof: &mut Proof) {
    if !kit.rules.has_queue() {
        return proof.leave_out(Clause::Queue, "the vendor keeps no queue of events (api.yaml)");
    }
    let mut answers = Answers::default();
    if kit.manifest.queue.is_none() {
        answers.ask(Some("the vendor keeps a queue of events, and nobody reads it: `queue`".to_owned()));
        return proof.take(Clause::Queue, AT, answers);
    }
    let plain = after(kit, None).await;
    let readable = matches!(plain, Ok(None));
    answers.ask(plain.unwrap_or_else(Some));
    if readable {
        answers.ask(when_empty(kit).await.unwrap_or_else(Some));
        for fault in [
            Fault::TokenEnded,
            Fault::Status(kit.rules.rate.status),
            Fault::RetryAfter(kit.rules.rate.status, 0),
            Fault::Status(500),
            Fault::Half,
            Fault::BrokenOff,
        ] {
            answers.ask(after(kit, Some(fault)).await.unwrap_or_else(Some));
        }
        for moment in [Moment::BeforeCommit, Moment::AfterCommit] {
            answers.ask(killed(kit, moment).await.unwrap_or_else(Some));
        }
    }
    proof.take(Clause::Queue, AT, answers);
}

/// A vendor with a queue that somebody reads, and the texts of what waits in it.
struct Counter {
    vendor: Vendor,
    letterbox: Letterbox,
    waiting: BTreeSet<String>,
    kept: BTreeSet<String>,
}

impl Counter {
    async fn open(kit: &Kit) -> Result<Self, String> {
        let (vendor, connection) = kit.vendor(HOURS_BEFORE).await?;
        let letterbox = kit.http.as_ref().and_then(|http| Letterbox::new(http, &connection));
        let mut letterbox = letterbox.ok_or("nobody reads the queue")?;
        letterbox.read().await;
        Ok(Self { vendor, letterbox, waiting: BTreeSet::new(), kept: BTreeSet::new() })
    }

    /// So many events of each kind wait from now on.
    fn fill(&mut self, kit: &Kit) {
        for _ in 0..EACH {
            for event in kit.rules.events() {
                let Some((_, row)) = self.vendor.with(|account| account.row(&event.of, 0)) else { continue };
                let base = kit.bodies.get(&event.name);
                let body = message(&kit.rules, event, base, &row, &self.vendor.origin).body;
                self.waiting
                    .insert(self.vendor.with(|account| account.tell(body)).unwrap_or_else(|| event.key.clone()));
            }
        }
    }

    async fn read(&mut self) -> Round {
        let ended = self.letterbox.read().await;
        let events = self.letterbox.take().events.into_iter().filter_map(|event| event.value);
        self.kept.extend(events.map(|body| String::from_utf8_lossy(&body).into_owned()));
        ended
    }

    /// What is wrong once all was read that waited.
    fn judge(&self, after: &str) -> Option<String> {
        let lost = self.waiting.difference(&self.kept).count();
        let failing = self.letterbox.failing();
        match (lost, failing) {
            (0, None) => None,
            (0, Some(code)) => Some(format!("{after}: the queue fails with {code}")),
            _ => Some(format!("{after}: {lost} of {} events were not kept", self.waiting.len())),
        }
    }
}

/// What waits is read; the first answer to who reads it is a fault.
async fn after(kit: &Kit, fault: Option<Fault>) -> Result<Option<String>, String> {
    let mut counter = Counter::open(kit).await?;
    counter.fill(kit);
    let told =
        fault.as_ref().map_or_else(|| "a read".to_owned(), |fault| format!("a read whose first answer was {fault:?}"));
    if let Some(fault) = fault {
        counter.vendor.with(|account| account.plan(Planned { fault, when: When::FirstPage, times: 1 }));
    }
    counter.read().await;
    counter.read().await;
    Ok(counter.judge(&told))
}

/// Whatever an empty queue answers, it is none, and what comes after it is read.
async fn when_empty(kit: &Kit) -> Result<Option<String>, String> {
    let mut counter = Counter::open(kit).await?;
    for _ in 0..4 {
        counter.read().await;
        if let Some(code) = counter.letterbox.failing() {
            return Ok(Some(format!("a read of the empty queue: it fails with {code}")));
        }
    }
    counter.fill(kit);
    counter.read().await;
    Ok(counter.judge("a read after the queue was empty"))
}

/// Killed at each commit, the next one makes up for it.
async fn killed(kit: &Kit, moment: Moment) -> Result<Option<String>, String> {
    for commits in 0..MOST_COMMITS {
        let mut counter = Counter::open(kit).await?;
        counter.fill(kit);
        counter.letterbox.kill_after(commits, moment);
        let ended = counter.read().await;
        counter.read().await;
        if let Some(wrong) = counter.judge(&format!("a kill at commit {}, {moment:?}", commits + 1)) {
            return Ok(Some(wrong));
        }
        if ended == Round::Over {
            break;
        }
    }
    Ok(None)
}
