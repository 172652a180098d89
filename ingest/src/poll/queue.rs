//! A vendor's queue of events: read batch by batch, and none passed that was not kept.
//!
//! To hand a batch out takes it from the queue. So the number of the last batch is committed with its events and with the
//! requests to fetch what they name. Whenever it is not sure that the last batch that was handed out was kept (at the
//! start, after any failure), the vendor is asked for its number, and what is missing is asked for once more, in order,
//! before the next one: each event is kept at least once.

use std::time::Instant;

use hirewire_schemas::records::Cursor;
use jiff::Timestamp;

use super::failure::{Failure, Remedy};
use super::journal::Journal;
use super::lane::Lane;
use super::page::Page;
use super::poller::Poller;
use super::question::Question;
use super::retry::Tries;
use super::rules::Rules;
use crate::envelope::Origin;
use crate::fetch::FetchRequests;
use crate::json;
use crate::manifest::{Api, Batches, Events, Queue};
use crate::metrics::{Answer, Rows};
use crate::webhook::identify_queued;

/// The name of the cursor among those of the lists. No list can have it.
pub(super) const LANE: &str = "@queue";

/// How far the queue of one connection was read.
pub(super) struct Position {
    /// The last batch that was kept; `None`: none ever.
    kept: Option<u64>,
    /// Nothing was handed out since that is not kept.
    sure: bool,
    /// When it is read next.
    due: Instant,
    requests: FetchRequests,
    /// For what is told of failures.
    lane: Lane,
}

/// What a batch needs to be read.
#[derive(Clone, Copy)]
struct At<'a> {
    api: &'a Api,
    rules: &'a Rules,
    batches: &'a Batches,
    events: &'a Events,
}

impl Position {
    /// From the cursor that was stored.
    pub(super) fn new(cursor: Option<&Cursor>, requests: FetchRequests) -> Self {
        let kept = cursor.and_then(|cursor| cursor.next_page.as_ref()?.parse().ok());
        Self { kept, sure: false, due: Instant::now(), requests, lane: Lane::named(LANE) }
    }

    /// The code of what failed last, if it fails.
    pub(super) fn failing(&self) -> Option<&'static str> {
        self.lane.failing
    }

    /// It is read the next time that anybody looks.
    pub(super) fn hurry(&mut self) {
        self.due = Instant::now();
    }
}

impl<J: Journal> Poller<J> {
    /// Reads what waits in the queue, for the length of a turn, once in each interval. A failure leaves it for the next one.
    ///
    /// # Errors
    /// When the connection cannot go on in this round, or for ever.
    pub(super) async fn read_queue(&mut self, rules: &Rules) -> Result<(), Failure> {
        let manifest = self.connection.manifest.clone();
        let (Some(api), Some(queue)) = (&manifest.api, &manifest.queue) else { return Ok(()) };
        let Some(mut position) = self.queue.take_if(|position| position.due <= Instant::now()) else { return Ok(()) };
        position.due = Instant::now() + rules.poll.interval;
        let Queue { batches, events } = queue;
        let ended = self.read_batches(At { api, rules, batches, events }, &mut position).await;
        match &ended {
            Ok(()) => self.works(&mut position.lane),
            Err(failure) => self.fails(&mut position.lane, failure),
        }
        self.queue = Some(position);
        match ended {
            Err(failure) if matches!(failure.remedy(), Remedy::Stop | Remedy::NextRound) => Err(failure),
            _ => Ok(()),
        }
    }

    async fn read_batches(&mut self, at: At<'_>, position: &mut Position) -> Result<(), Failure> {
        let (mut tries, turn) = (Tries::default(), Instant::now() + self.turn);
        loop {
            self.wait(self.client.limit_wait()).await;
            let stepped = match position.sure {
                true => self.next_batch(at, position).await,
                false => self.catch_up(at, position).await.map(|()| true),
            };
            match stepped {
                Ok(more) if more && Instant::now() < turn => tries.went_on(),
                Ok(_) => return Ok(()),
                Err(failure) => {
                    self.metrics.request(failure.answer());
                    match tries.pause(&failure, &at.rules.poll) {
                        Some(pause) => self.wait(pause).await,
                        None => return Err(failure),
                    }
                }
            }
        }
    }

    /// Keeps all that was handed out and is not kept. Makes the queue, if there is none.
    async fn catch_up(&mut self, at: At<'_>, position: &mut Position) -> Result<(), Failure> {
        let last = match self.ask(at, &at.batches.last.path, &[], None, false).await {
            Ok(page) => number(&page, &at.batches.last.number)?,
            Err(Failure::Refused(status @ (400 | 404 | 410))) => {
                let make = &at.batches.make;
                let page = self.ask(at, &at.batches.path, &make.params, None, true).await?;
                tracing::info!(
                    connection = self.connection.name,
                    status,
                    "the vendor had no queue of this name: it is made"
                );
                number(&page, &make.number)?
            }
            Err(failure) => return Err(failure),
        };
        let kept = match position.kept {
            Some(kept) if kept <= last => kept,
            Some(_) => {
                self.gap("the vendor's queue counts anew: somebody removed it");
                last
            }
            None => last,
        };
        if position.kept != Some(kept) {
            self.keep_position(position, kept).await?;
        }
        for missing in kept + 1..=last {
            self.wait(self.client.limit_wait()).await;
            let again = missing.to_string();
            match self.ask(at, &at.batches.path, &at.batches.params, Some(&again), false).await {
                Ok(page) => self.keep_batch(at, position, &page, missing).await?,
                Err(Failure::Refused(status)) => {
                    self.gap(&format!("the vendor does not give batch {missing} again ({status})"));
                    self.keep_position(position, missing).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
        position.sure = true;
        Ok(())
    }

    /// Reads the next batch. Whether another may wait.
    async fn next_batch(&mut self, at: At<'_>, position: &mut Position) -> Result<bool, Failure> {
        // From here on, until it is kept, nobody knows what was handed out.
        position.sure = false;
        let page = self.ask(at, &at.batches.path, &at.batches.params, None, false).await?;
        let waits = json::elements(&page.body, &at.batches.events).is_ok_and(|events| !events.is_empty());
        if !waits {
            if !page.body.is_empty() && json::object(&page.body, &json::Path::default()).is_err() {
                return Err(Failure::Broken("the body is cut off or not JSON"));
            }
            // An empty batch may have a number too.
            let Some(number) = numbered(&page, &at.batches.number) else {
                position.sure = true;
                return Ok(false);
            };
            if position.kept == Some(number) {
                position.sure = true;
            } else if position.kept.is_some_and(|kept| kept + 1 == number) {
                self.keep_position(position, number).await?;
                position.sure = true;
            }
            return Ok(!position.sure);
        }
        let number = number(&page, &at.batches.number)?;
        if position.kept.is_none_or(|kept| number > kept + 1) {
            // One between was handed out and not kept: all that is missing is asked for again, in order.
            return Ok(true);
        }
        self.keep_batch(at, position, &page, number).await?;
        position.sure = true;
        Ok(true)
    }

    async fn ask(
        &mut self,
        at: At<'_>,
        path: &str,
        params: &[(String, String)],
        batch: Option<&str>,
        make: bool,
    ) -> Result<Page, Failure> {
        let number = batch.map(|number| (at.batches.param.as_str(), number));
        let question = Question::queue(path, &at.rules.poll.queue, params, number);
        let question = if make { question.put() } else { question };
        let page = self.client.page(at.api, &at.rules.poll, &question).await?;
        self.metrics.request(Answer::Ok);
        Ok(page)
    }

    /// Commits the events of a batch, what they ask for, and its number.
    async fn keep_batch(&self, at: At<'_>, position: &mut Position, page: &Page, number: u64) -> Result<(), Failure> {
        let ranges = match json::elements(&page.body, &at.batches.events) {
            Ok(ranges) => ranges,
            Err(_) if page.body.is_empty() || json::object(&page.body, &json::Path::default()).is_ok() => Vec::new(),
            Err(_) => return Err(Failure::Broken("the body is cut off or not JSON")),
        };
        let mut counts = Rows { kept: ranges.len(), ..Rows::default() };
        let (mut records, mut requests) = (Vec::new(), Vec::new());
        for range in ranges {
            let event =
                identify_queued(&self.connection, &page.body.slice(range), page.received_at, at.events, &self.topics);
            counts.unidentified += usize::from(!event.is_identified());
            for wanted in event.wanted() {
                let request = position.requests.record(&self.connection, wanted, page.received_at);
                requests.push(request.ok_or(Failure::Broken("the registry does not know how a request is written"))?);
            }
            records.push(event.into_record());
        }
        records.append(&mut requests);
        records.push(self.cursors.encode(&cursor(&self.connection.name, number), self.partition));
        self.commit(records).await?;
        position.kept = Some(number);
        self.metrics.rows(LANE, Origin::Webhook, counts);
        Ok(())
    }

    fn gap(&self, what: &str) {
        self.metrics.failed(LANE, "poll-queue-gap");
        tracing::error!(
            code = "poll-queue-gap",
            connection = self.connection.name,
            "events were lost, and what they were about is left to the lists: {what}"
        );
    }

    async fn keep_position(&self, position: &mut Position, number: u64) -> Result<(), Failure> {
        self.commit(vec![self.cursors.encode(&cursor(&self.connection.name, number), self.partition)]).await?;
        position.kept = Some(number);
        Ok(())
    }
}

fn cursor(connection: &str, number: u64) -> Cursor {
    let now = Timestamp::now().as_microsecond();
    Cursor {
        connection_id: connection.to_owned(),
        stream: LANE.to_owned(),
        phase: "INTERVAL".to_owned(),
        window_from: None,
        window_to: now,
        next_page: Some(number.to_string()),
        complete: true,
        rows: 0,
        written_at: now,
        sync_token: None,
    }
}

fn numbered(page: &Page, at: &json::Path) -> Option<u64> {
    json::scalar(&page.body, at)?.parse().ok()
}

fn number(page: &Page, at: &json::Path) -> Result<u64, Failure> {
    numbered(page, at).ok_or(Failure::Broken("an answer about the queue does not say which batch"))
}
