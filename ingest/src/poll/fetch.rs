//! What thin events named is read, as soon as it is asked for.
//!
//! [`Wanted`] in the order of the requests' topic in, raw records out. The cursor is the offset of the first request
//! that is not done; it is committed with the records. So each request is done at least once. Requests for the same thing
//! that wait together are one: it is read after the last of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hirewire_kafka::Record;
use hirewire_schemas::records::Cursor;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::failure::{Failure, Remedy};
use super::journal::Journal;
use super::lane::Lane;
use super::parents::Lists;
use super::poller::Poller;
use super::question::Question;
use super::retry::Tries;
use super::rows::{self, Parent, Source};
use super::rules::Rules;
use super::window::Window;
use crate::envelope::Origin;
use crate::fetch::Wanted;
use crate::metrics::{Answer, Rows};

/// The name of the cursor among those of the lists. No list can have it.
pub(super) const LANE: &str = "@fetch";
/// Read and committed together.
const BATCH: usize = 50;
/// Requests of one connection in memory. More of them wait in their topic.
const MAX_WAITING: usize = 10_000;

/// The requests of one connection that were read from their topic and are not done.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    more: Notify,
    room: Condvar,
    /// When the oldest request that is not done was made, in Unix seconds; 0: none waits.
    oldest: Arc<AtomicI64>,
}

#[derive(Default)]
struct State {
    /// When each request that is not done was made, by offset; those that are just being read too.
    undone: BTreeMap<i64, i64>,
    /// By offset.
    waiting: BTreeMap<i64, Wanted>,
    /// The same, to see what waits already.
    known: HashSet<Wanted>,
    /// Behind the last request that was read.
    next: i64,
    closed: bool,
}

impl Queue {
    /// From the cursor that was stored.
    pub(super) fn new(cursor: Option<&Cursor>) -> Self {
        let next = cursor.and_then(|cursor| cursor.next_page.as_ref()?.parse().ok()).unwrap_or(0);
        Self { state: Mutex::new(State { next, ..State::default() }), ..Self::default() }
    }

    /// The offset from which requests are needed.
    pub(super) fn next(&self) -> i64 {
        self.lock().next
    }

    /// Nothing waits, and nothing is being read.
    pub(super) fn is_done(&self) -> bool {
        self.lock().undone.is_empty()
    }

    /// Shows the age of what waits.
    pub(super) fn oldest(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.oldest)
    }

    /// Takes a request in, made at `asked` (Unix seconds). Blocks while there are too many.
    pub(super) fn put(&self, offset: i64, asked: i64, wanted: Wanted) {
        let mut state = self.lock();
        while state.waiting.len() >= MAX_WAITING && !state.closed {
            state = self.room.wait_timeout(state, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner).0;
        }
        // Done before a restart, or read twice.
        if offset < state.next {
            return;
        }
        state.next = offset + 1;
        if state.known.insert(wanted.clone()) {
            state.waiting.insert(offset, wanted);
            state.undone.insert(offset, asked);
            self.show_oldest(&state);
            drop(state);
            self.more.notify_one();
        }
    }

    /// These are done, and committed.
    fn done(&self, taken: &[(i64, Wanted)]) {
        let mut state = self.lock();
        for (offset, _) in taken {
            state.undone.remove(offset);
        }
        self.show_oldest(&state);
    }

    fn show_oldest(&self, state: &State) {
        self.oldest.store(state.undone.first_key_value().map_or(0, |(_, asked)| *asked), Ordering::Relaxed);
    }

    /// Nobody takes any more: [`Self::put`] must not wait.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
    }

    /// Returns when something may wait.
    pub(super) async fn filled(&self) {
        self.more.notified().await;
    }

    fn take(&self) -> Vec<(i64, Wanted)> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        while taken.len() < BATCH
            && let Some((offset, wanted)) = state.waiting.pop_first()
        {
            // What asks for it from now on may mean a later change than the one that will be read.
            state.known.remove(&wanted);
            taken.push((offset, wanted));
        }
        self.room.notify_all();
        taken
    }

    /// Puts back what was not done.
    fn give_back(&self, taken: impl IntoIterator<Item = (i64, Wanted)>) {
        let mut state = self.lock();
        for (offset, wanted) in taken {
            state.known.insert(wanted.clone());
            state.waiting.insert(offset, wanted);
        }
    }

    /// Everything before it is done, if nothing is taken.
    fn done_to(&self) -> i64 {
        let state = self.lock();
        state.waiting.first_key_value().map_or(state.next, |(offset, _)| *offset)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a poller needs to fetch.
pub(super) struct Fetches {
    pub(super) queue: Arc<Queue>,
    /// For what is told of failures.
    pub(super) lane: Lane,
    /// What was read since the lists were told of it.
    pub(super) read: Vec<Wanted>,
}

impl Fetches {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, lane: Lane::named(LANE), read: Vec::new() }
    }
}

impl<J: Journal> Poller<J> {
    /// Reads what is asked for now, for the length of a turn. A failure leaves it for the next round.
    ///
    /// # Errors
    /// When the connection cannot go on in this round, or for ever.
    pub(super) async fn fetch(&mut self, rules: &Rules) -> Result<(), Failure> {
        let Some(mut fetches) = self.fetches.take() else { return Ok(()) };
        let ended = self.fetch_all(rules, &mut fetches).await;
        match &ended {
            Ok(()) => self.works(&mut fetches.lane),
            Err(failure) => self.fails(&mut fetches.lane, failure),
        }
        self.fetches = Some(fetches);
        match ended {
            Err(failure) if matches!(failure.remedy(), Remedy::Stop | Remedy::NextRound) => Err(failure),
            _ => Ok(()),
        }
    }

    async fn fetch_all(&mut self, rules: &Rules, fetches: &mut Fetches) -> Result<(), Failure> {
        let queue = fetches.queue.clone();
        let mut tries = Tries::default();
        let turn = Instant::now() + self.turn;
        loop {
            let taken = queue.take();
            if taken.is_empty() {
                return Ok(());
            }
            let all = taken.len();
            let (left, failure) = self.fetch_batch(rules, fetches, taken).await;
            let Some(failure) = failure else {
                tries.went_on();
                if Instant::now() > turn {
                    // The lists wait too. What is left is taken after one of them.
                    queue.more.notify_one();
                    return Ok(());
                }
                continue;
            };
            if left < all {
                tries.went_on();
            }
            self.metrics.request(failure.answer());
            match tries.pause(&failure, &rules.poll) {
                Some(pause) => self.wait(pause).await,
                None => return Err(failure),
            }
        }
    }

    /// Reads what was taken, as far as it goes, and commits it. Gives how much is left, and why.
    async fn fetch_batch(
        &mut self,
        rules: &Rules,
        fetches: &mut Fetches,
        taken: Vec<(i64, Wanted)>,
    ) -> (usize, Option<Failure>) {
        let queue = &fetches.queue;
        let now = Timestamp::now();
        let window = Window { origin: Origin::Fetch, from: None, to: now, page: None, rows: 0, sync: None };
        let (mut records, mut failure, mut done) = (Vec::new(), None, 0);
        for (_, wanted) in &taken {
            match self.fetch_one(rules, &window, wanted).await {
                Ok(rows) => records.extend(rows),
                Err(why) => {
                    failure = Some(why);
                    break;
                }
            }
            done += 1;
        }
        let mut taken = taken;
        let left = taken.split_off(done);
        let first_left = left.first().map(|(offset, _)| *offset);
        let done_to = first_left.unwrap_or_else(|| queue.done_to());
        let cursor = Cursor {
            connection_id: self.connection.name.clone(),
            stream: LANE.to_owned(),
            phase: "INTERVAL".to_owned(),
            window_from: None,
            window_to: now.as_microsecond(),
            next_page: Some(done_to.to_string()),
            complete: true,
            rows: i64::try_from(records.len()).unwrap_or(i64::MAX),
            written_at: now.as_microsecond(),
            sync_token: None,
        };
        if done > 0 {
            let kept = records.len();
            records.push(self.cursors.encode(&cursor, self.partition));
            if let Err(why) = self.commit(records).await {
                let all = taken.len() + left.len();
                queue.give_back(taken.into_iter().chain(left));
                return (all, Some(why));
            }
            self.metrics.rows(LANE, Origin::Fetch, Rows { kept, ..Rows::default() });
            queue.done(&taken);
            fetches.read.extend(taken.into_iter().map(|(_, wanted)| wanted));
        }
        let count = left.len();
        queue.give_back(left);
        (count, failure)
    }

    /// The rows of one request; none, if the vendor does not know it, or refuses it.
    async fn fetch_one(&mut self, rules: &Rules, window: &Window, wanted: &Wanted) -> Result<Vec<Record>, Failure> {
        let Some(api) = rules.api() else { return Ok(Vec::new()) };
        // A manifest that was changed since: nothing can be asked for any more.
        let Some(stream) = api.streams.iter().find(|stream| stream.name == wanted.stream) else {
            return Ok(Vec::new());
        };
        if let Some(lists) = Lists::of(api, stream) {
            let each = wanted.params.iter().map(|(_, value)| value.clone()).collect();
            let parent = Parent::named(lists.parents, &wanted.id, each);
            let rows = self.lists_of(rules, &lists, window, &parent).await;
            return Ok(self.or_refused(rows)?.flatten().into_iter().flatten().map(|row| row.record).collect());
        }
        let Some(one) = &stream.one else { return Ok(Vec::new()) };
        self.wait(self.client.limit_wait()).await;
        let answer = self.client.page(api, &rules.poll, &Question::one(one, &wanted.id)).await;
        let Some(page) = self.or_refused(answer)? else { return Ok(Vec::new()) };
        self.metrics.request(Answer::Ok);
        // GraphQL has no 404.
        if one.query.is_some() && rows::is_gone(&page, &one.row) {
            return Ok(Vec::new());
        }
        let source = Source {
            connection: &self.connection,
            topics: &self.topics,
            stream,
            rows: &one.row,
            params: &stream.params,
            overlap_starts: window.to,
        };
        Ok(vec![rows::one(&source, &page, window, &wanted.id)?.0])
    }

    /// `None` where asking again gives the same refusal: one thing that cannot be had must not stop the others. What it
    /// is now, the lists show.
    fn or_refused<T>(&self, answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match answer {
            Ok(good) => Ok(Some(good)),
            Err(failure @ (Failure::Refused(_) | Failure::Told(_) | Failure::Fault { .. }))
                if failure.remedy() != Remedy::Again || matches!(failure, Failure::Told(_)) =>
            {
                self.metrics.request(Answer::Failed);
                tracing::info!(
                    connection = self.connection.name,
                    "what an event named cannot be read, and is left to the lists: {failure}"
                );
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(id: &str) -> Wanted {
        Wanted { stream: "jobs".to_owned(), id: id.to_owned(), params: Vec::new() }
    }

    #[test]
    fn what_waits_together_is_read_once_and_what_is_asked_for_while_it_is_read_once_more() {
        let queue = Queue::default();
        for (offset, id) in [(3, "a"), (4, "b"), (9, "a")] {
            queue.put(offset, 100 + offset, wanted(id));
        }
        let taken = queue.take();
        assert_eq!(taken, [(3, wanted("a")), (4, wanted("b"))]);
        queue.put(12, 112, wanted("a"));
        assert_eq!(queue.done_to(), 12, "if all that was taken is done");
        assert_eq!(queue.take(), [(12, wanted("a"))]);
        assert_eq!(queue.done_to(), 13);
    }

    #[test]
    fn what_was_not_done_is_taken_first_again_and_what_was_done_is_not_taken_in() {
        let queue = Queue::default();
        queue.put(1, 101, wanted("a"));
        queue.put(2, 102, wanted("b"));
        let taken = queue.take();
        queue.put(5, 105, wanted("c"));
        queue.give_back(taken);
        assert_eq!(queue.done_to(), 1);
        assert_eq!(queue.take().first(), Some(&(1, wanted("a"))));
        queue.put(5, 105, wanted("again"));
        assert_eq!(queue.take(), [], "read twice from the topic");
    }

    #[test]
    fn the_oldest_request_that_is_not_done_is_shown_while_it_is_read_too() {
        let queue = Queue::default();
        let oldest = queue.oldest();
        let shown = || oldest.load(Ordering::Relaxed);
        assert_eq!(shown(), 0, "nothing waits");
        queue.put(3, 103, wanted("a"));
        queue.put(4, 104, wanted("b"));
        let taken = queue.take();
        queue.put(5, 105, wanted("c"));
        assert_eq!(shown(), 103, "read is not done");
        let (done, left) = taken.split_at(1);
        queue.done(done);
        queue.give_back(left.to_vec());
        assert_eq!(shown(), 104);
        queue.done(&queue.take());
        assert_eq!(shown(), 0);
    }
}
