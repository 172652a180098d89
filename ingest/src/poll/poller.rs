//! Polls one connection: round after round, list after list, page after page, until it is told to stop.
//!
//! A page's rows and the cursor behind them are committed together before the next page is asked for; the cursor never
//! passes a page that was not kept. A list that fails is left until the next round, and the others go on.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hirewire_kafka::Record;
use hirewire_schemas::records::Cursor;
use hirewire_service::{Component, Shutdown};
use jiff::Timestamp;

use super::client::Client;
use super::failure::{Failure, Remedy};
use super::fetch::Fetches;
use super::journal::{CursorCodec, Journal};
use super::lane::Lane;
use super::page::Page;
use super::question::Question;
use super::queue;
use super::repeats::{Mark, Seen};
use super::retry::Tries;
use super::rows;
use super::rules::Rules;
use super::sweep::Known;
use super::window::{self, Window};
use crate::connection::Connection;
use crate::envelope::Origin;
use crate::manifest::Stream;
use crate::metrics::{Answer, Polled, Rows};
use crate::topics::Topics;

/// A cursor that moved over nothing is written at least this often.
const WRITE_EMPTY_EVERY: Duration = Duration::from_secs(60);
/// The first run tells how far it is this often.
const TELL_PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// A poller that asks for nothing this long, beyond its interval, is stuck.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(20 * 60);
/// A list per parent gives way to the connection's other lists after this long, and goes on in the next round.
pub(super) const TURN: Duration = Duration::from_secs(15);
/// A circle that lasts this many rounds is entered from its first page once more.
const CIRCLES_BEFORE_RESTART: u32 = 10;

/// The poller of one connection.
pub(super) struct Poller<J> {
    pub(super) connection: Arc<Connection>,
    pub(super) lanes: Vec<Lane>,
    /// Ids of the lists that are swept, by the position of the list of what is gone.
    pub(super) known: HashMap<usize, Known>,
    pub(super) client: Client<J>,
    pub(super) journal: Arc<J>,
    pub(super) cursors: CursorCodec,
    /// Of the lease: cursors are written there.
    pub(super) partition: i32,
    pub(super) topics: Topics,
    pub(super) metrics: Polled,
    pub(super) health: Component,
    pub(super) stop: Shutdown,
    /// `None`: no event of this vendor needs a fetch.
    pub(super) fetches: Option<Fetches>,
    /// `None`: the vendor has no queue of events.
    pub(super) queue: Option<queue::Position>,
    /// How long a list per parent is read in one round.
    pub(super) turn: Duration,
}

/// What follows a page.
#[derive(Debug)]
pub(super) enum Next {
    /// The vendor's cursor of the next one.
    Page(String),
    /// The window was read to its end.
    End,
    /// The page was not read to its end, for others wait.
    TurnOver,
}

impl<J: Journal> Poller<J> {
    /// Polls until stopped or taken over by another poller.
    pub(super) async fn run(mut self) {
        let Some(rules) = Rules::of(&self.connection) else { return };
        let mut round: u64 = 0;
        loop {
            let started = Instant::now();
            self.health.progress(STUCK_AFTER + rules.poll.interval);
            let stop = self.stop.clone();
            let ended = tokio::select! {
                ended = self.round(&rules) => ended,
                () = stop.requested() => ControlFlow::Break(()),
            };
            if ended.is_break() {
                break;
            }
            round += 1;
            if round == 1 {
                tracing::info!(
                    connection = self.connection.name,
                    "polled once; goes on every {:?}",
                    rules.poll.interval
                );
            }
            if self.pause(&rules, started + rules.poll.interval).await.is_break() {
                break;
            }
        }
        // Polled no more by this process: it cannot be stuck.
        self.health.progress(Duration::MAX);
    }

    /// Reads each list once. Whether it would go on.
    pub(super) async fn one_round(&mut self) -> bool {
        let Some(rules) = Rules::of(&self.connection) else { return false };
        self.round(&rules).await.is_continue()
    }

    /// Reads what events named, as a round does in front of each list.
    pub(super) async fn one_fetch(&mut self) {
        if let Some(rules) = Rules::of(&self.connection)
            && let Err(failure) = self.fetch(&rules).await
        {
            tracing::debug!(%failure, "what events named is read in the next round");
        }
    }

    /// Reads what waits in the vendor's queue, as a round does in front of each list.
    pub(super) async fn one_queue(&mut self) {
        if let Some(position) = &mut self.queue {
            position.hurry();
        }
        if let Some(rules) = Rules::of(&self.connection)
            && let Err(failure) = self.read_queue(&rules).await
        {
            tracing::debug!(%failure, "the queue is read in the next round");
        }
    }

    async fn round(&mut self, rules: &Rules) -> ControlFlow<()> {
        let mut lanes = std::mem::take(&mut self.lanes);
        let mut ended = ControlFlow::Continue(());
        for index in 0..lanes.len() {
            let asked = match self.read_queue(rules).await {
                Ok(()) => self.fetch(rules).await,
                failed => failed,
            };
            if let Err(failure) = asked {
                if failure.remedy() == Remedy::Stop {
                    ended = ControlFlow::Break(());
                }
                break;
            }
            self.doubt(rules, &mut lanes);
            let Some(lane) = lanes.get_mut(index) else { break };
            match self.read(rules, lane).await {
                Ok(()) => self.works(lane),
                Err(failure) => {
                    self.fails(lane, &failure);
                    match failure.remedy() {
                        Remedy::Stop => ended = ControlFlow::Break(()),
                        Remedy::NextRound => {}
                        Remedy::Again | Remedy::AgainLater | Remedy::Restart | Remedy::NextList => continue,
                    }
                    break;
                }
            }
        }
        self.lanes = lanes;
        ended
    }

    /// Something newer was read than what lists said of it last. Where their rows have no clock it may become true again
    /// without a trace: what they say next is kept, also if it is what they said.
    fn doubt(&mut self, rules: &Rules, lanes: &mut [Lane]) {
        let Some(fetches) = self.fetches.as_mut().filter(|fetches| !fetches.read.is_empty()) else { return };
        let read = std::mem::take(&mut fetches.read);
        for lane in lanes.iter_mut().filter(|lane| !rules.narrowed_by(lane).is_some_and(Stream::tells_changes)) {
            let of_lane = read.iter().filter(|wanted| wanted.stream == lane.stream_name());
            let doubted: Vec<Mark> = of_lane.map(|wanted| Mark::of(&wanted.id)).collect();
            doubted.into_iter().for_each(|row| lane.seen.forget(row));
        }
    }

    /// Reads the lane's next window to its last page.
    async fn read(&mut self, rules: &Rules, lane: &mut Lane) -> Result<(), Failure> {
        let stream = rules.api().and_then(|api| api.streams.get(lane.stream));
        if let Some(sweep) = stream.and_then(|stream| stream.sweep.as_ref()) {
            return self.sweep(rules, lane, sweep).await;
        }
        let poll = &rules.poll;
        let now = self.client.vendor_now();
        let sync = rules.narrowed_by(lane).is_some_and(|stream| stream.sync.is_some());
        let next = match sync {
            true => Some(window::next_sync(lane.cursor.as_ref(), now)),
            false => window::next(lane.cursor.as_ref(), now, poll.lag, poll.overlap),
        };
        let Some(mut window) = next else { return Ok(()) };
        if window.page.is_none() {
            lane.pages.clear();
        }
        let (mut tries, mut restarted) = (Tries::default(), false);
        let per = stream.is_some_and(|stream| stream.per.is_some());
        let (turn, mut parents) = (Instant::now() + self.turn, lane.parents);
        loop {
            self.health.progress(STUCK_AFTER + poll.interval);
            self.wait(self.client.limit_wait()).await;
            let stepped = match per {
                false => self.step(rules, lane, &mut window).await,
                true => self.step_over_parents(rules, lane, &mut window, turn).await,
            };
            let failure = match stepped {
                Ok(Next::End) => {
                    lane.pages.clear();
                    lane.circles = 0;
                    return Ok(());
                }
                Ok(Next::TurnOver) => return Ok(()),
                Ok(Next::Page(_)) if per && Instant::now() > turn => return Ok(()),
                Ok(Next::Page(next)) => {
                    tries.went_on();
                    window.page = Some(next);
                    continue;
                }
                Err(failure) => failure,
            };
            // What was read of a page of parents is not read again: it went on since the last failure.
            if std::mem::replace(&mut parents, lane.parents) != lane.parents {
                tries.went_on();
            }
            self.metrics.request(failure.answer());
            if let Some(pause) = tries.pause(&failure, poll) {
                self.wait(pause).await;
                continue;
            }
            if failure.remedy() == Remedy::Restart && !restarted {
                restarted = true;
                if failure == Failure::SyncGone {
                    tracing::warn!(
                        code = failure.label(),
                        connection = self.connection.name,
                        stream = lane.name,
                        "{failure}"
                    );
                    window.sync = None;
                }
                window.page = None;
                window.rows = 0;
                lane.restart();
                continue;
            }
            if failure == Failure::Circle {
                lane.circles += 1;
                if lane.circles.is_multiple_of(CIRCLES_BEFORE_RESTART) {
                    lane.restart();
                }
            }
            return Err(failure);
        }
    }

    /// Asks for one page and keeps it. Says which page follows.
    async fn step(&mut self, rules: &Rules, lane: &mut Lane, window: &mut Window) -> Result<Next, Failure> {
        let Some(api) = rules.api() else { return Err(Failure::Refused(0)) };
        let Some(stream) = api.streams.get(lane.stream) else { return Err(Failure::Refused(0)) };
        let question = Question::list(api, stream, &lane.params, window);
        let params: Vec<_> = lane.params.iter().cloned().chain(question.told_as_of()).collect();
        let page = self.client.page(api, &rules.poll, &question).await?;
        let asked = window.clone();
        self.end_by_vendor_clock(rules, lane, window);
        let overlap_starts = rules.overlap_starts(window);
        let source = rows::Source {
            connection: &self.connection,
            topics: &self.topics,
            stream,
            rows: api.rows_of(stream),
            params: &params,
            overlap_starts,
        };
        let rows = rows::read(&source, &page, &asked, &lane.seen)?;
        no_circle(lane, window, &page)?;
        self.metrics.request(Answer::Ok);
        let (repeats, outside, unidentified) = (rows.repeats, rows.outside, rows.unidentified);
        let counts = Rows { kept: rows.records.len(), repeats, outside, unidentified };
        let fresh = self.fresh_ids(api, lane, &page)?;
        let mut records = rows.records;
        records.extend(fresh.as_ref().map(|fresh| fresh.record.clone()));
        let read = Read { records, marks: rows.marks, total: rows.total, newest: rows.newest, counts };
        let next = self.keep(rules, lane, window, read, page).await?;
        if let Some(fresh) = fresh {
            self.learnt(fresh);
        }
        Ok(next)
    }

    /// The vendor tells its clock with its first answer, which a window was asked for by ours: what the vendor's clock
    /// has not reached yet was not read.
    pub(super) fn end_by_vendor_clock(&self, rules: &Rules, lane: &Lane, window: &mut Window) {
        let first = window.page.is_none() && rules.narrowed_by(lane).is_none_or(|stream| stream.sync.is_none());
        if first {
            window.to = window::end(self.client.vendor_now(), rules.poll.lag, lane.cursor.as_ref()).min(window.to);
        }
    }

    /// Commits what was read of a page, and the cursor behind it.
    pub(super) async fn keep(
        &self,
        rules: &Rules,
        lane: &mut Lane,
        window: &mut Window,
        read: Read,
        page: Page,
    ) -> Result<Next, Failure> {
        let after = Window { rows: window.rows + i64::try_from(read.total).unwrap_or(i64::MAX), ..window.clone() };
        let cursor =
            window::cursor(&self.connection.name, &lane.name, &after, page.next.as_deref(), page.sync.as_deref());
        if !read.records.is_empty() || must_write(lane.stored.as_ref(), &cursor) {
            let mut records = read.records;
            records.push(self.cursors.encode(&cursor, self.partition));
            self.commit(records).await?;
            lane.stored = Some(cursor.clone());
        }
        // Committed: from here on it counts.
        lane.cursor = Some(cursor);
        lane.seen.add(read.marks);
        lane.pages.extend(window.page.clone());
        *window = after;
        lane.newest = lane.newest.max(read.newest);
        self.metrics.page(&lane.name, lane.stream_name(), lane.newest, page.sunset);
        self.tell(lane, window, read.counts);
        let Some(next) = page.next else {
            if rules.narrowed_by(lane).is_some_and(|stream| stream.sync.is_some()) {
                // What the next token shows did change, also if it is what it was before.
                lane.seen = Seen::default();
            } else {
                lane.seen.window_ended(window.to, rules.overlap_starts(window));
            }
            self.ended(lane, window);
            return Ok(Next::End);
        };
        Ok(Next::Page(next))
    }

    pub(super) async fn commit(&self, records: Vec<Record>) -> Result<(), Failure> {
        self.journal.commit(records).await.map_err(Failure::from)
    }

    fn tell(&self, lane: &mut Lane, window: &Window, rows: Rows) {
        self.metrics.rows(lane.stream_name(), window.origin, rows);
        if rows.outside > 0 && !std::mem::replace(&mut lane.outside_was_told, true) {
            tracing::warn!(
                code = "poll-outside-window",
                connection = self.connection.name,
                stream = lane.name,
                "the list gives rows outside the window asked for; they are kept. Its filter may not work as its \
                 manifest says"
            );
        }
        let due = lane.progress_was_told.is_none_or(|last| last.elapsed() > TELL_PROGRESS_EVERY);
        if window.origin == Origin::Backfill && due {
            lane.progress_was_told = Some(Instant::now());
            tracing::info!(
                connection = self.connection.name,
                stream = lane.name,
                rows = window.rows,
                "first read goes on"
            );
        }
    }

    fn ended(&self, lane: &Lane, window: &Window) {
        self.metrics.settled(&lane.name, window.to);
        if window.origin == Origin::Backfill {
            tracing::info!(
                connection = self.connection.name,
                stream = lane.name,
                rows = window.rows,
                "first read is complete"
            );
        }
    }

    pub(super) fn works(&self, lane: &mut Lane) {
        if lane.failing.take().is_some() {
            self.metrics.works(&lane.name);
            tracing::info!(connection = self.connection.name, stream = lane.name, "the list can be read again");
        }
    }

    /// Logged when it begins or changes; counted each time.
    pub(super) fn fails(&self, lane: &mut Lane, failure: &Failure) {
        self.metrics.failed(&lane.name, failure.label());
        if lane.failing.replace(failure.label()) == Some(failure.label()) {
            return;
        }
        if *failure == Failure::TakenOver {
            tracing::info!(connection = self.connection.name, "polling ends here: {failure}");
        } else {
            tracing::error!(
                code = failure.label(),
                connection = self.connection.name,
                stream = lane.name,
                "the list is left until the next round: {failure}"
            );
        }
    }

    /// Waits, visibly. The caller is dropped when a stop is requested.
    pub(super) async fn wait(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        self.metrics.waits(true);
        tokio::time::sleep(pause).await;
        self.metrics.waits(false);
    }

    /// Waits for the next round. What events ask for is read meanwhile.
    async fn pause(&mut self, rules: &Rules, until: Instant) -> ControlFlow<()> {
        let stop = self.stop.clone();
        loop {
            let queue = self.fetches.as_ref().map(|fetches| fetches.queue.clone());
            let filled = async {
                match &queue {
                    Some(queue) => queue.filled().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => return ControlFlow::Continue(()),
                () = stop.requested() => return ControlFlow::Break(()),
                () = filled => {}
            }
            let fetched = tokio::select! {
                fetched = self.fetch(rules) => fetched,
                () = stop.requested() => return ControlFlow::Break(()),
            };
            if fetched.is_err_and(|failure| failure.remedy() == Remedy::Stop) {
                return ControlFlow::Break(());
            }
        }
    }
}

/// What was read of a page.
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    /// To be remembered once the records are committed.
    pub(super) marks: Vec<Mark>,
    /// All rows of the page.
    pub(super) total: usize,
    pub(super) newest: Option<Timestamp>,
    /// Kept, repeated, outside the window, unidentified.
    pub(super) counts: Rows,
}

/// # Errors
/// When the page says that one follows which was read already.
pub(super) fn no_circle(lane: &Lane, window: &Window, page: &Page) -> Result<(), Failure> {
    let round = page.next.as_ref().is_some_and(|next| lane.pages.contains(next) || window.page.as_ref() == Some(next));
    if round { Err(Failure::Circle) } else { Ok(()) }
}

/// Whether a cursor is written though no row came with it: always in the first run and in the midst of a window, else
/// now and then, so that a restart does not read far back.
fn must_write(stored: Option<&Cursor>, cursor: &Cursor) -> bool {
    let age = |stored: &Cursor| cursor.written_at.saturating_sub(stored.written_at);
    stored.is_none_or(|stored| {
        !stored.complete
            || stored.phase != cursor.phase
            || u128::try_from(age(stored)).is_ok_and(|age| age > WRITE_EMPTY_EVERY.as_micros())
    })
}
