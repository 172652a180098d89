//! What is gone from a list: from time to time all of its ids are read, and one that was known and is not among them is
//! looked for once more before it is taken for deleted.
//!
//! Known are ids of rows that the list showed, and of those that a look found. They stand among the cursors, some thousand
//! in a record (`<connection>/<list>/@ids/<number>`), and are committed with what they come from: a restart forgets none.
//! What a look missed is remembered in memory alone; after a restart it takes two looks again. A look that fails is gone
//! on with; only one that was read to its last page says that anything is missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use hirewire_kafka::Record;
use hirewire_schemas::records::Cursor;
use jiff::{SignedDuration, Timestamp};

use super::failure::{Failure, Remedy};
use super::journal::{CursorCodec, Journal, key};
use super::lane::Lane;
use super::page::Page;
use super::poller::{Poller, STUCK_AFTER};
use super::question::Question;
use super::retry::Tries;
use super::rows::{self, Source};
use super::rules::Rules;
use super::window::{self, Window};
use crate::connection::Connection;
use crate::envelope::Origin;
use crate::manifest::{Api, Stream, Sweep};
use crate::metrics::{Answer, Rows};

/// Ids in one record; an id has up to 128 bytes.
const IDS_OF_A_RECORD: usize = 4_000;
/// Records beyond those that are needed, before all are written anew.
const SPARE_RECORDS: usize = 64;
/// So many may be gone at once, whatever their share.
const FEW: usize = 10;
/// A filter with a later end gets one that hides nothing that changed meanwhile.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// The ids of one list, and the look at it.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Each with the number of the record that it stands in.
    ids: HashMap<String, u32>,
    /// Ids in each record.
    records: BTreeMap<u32, usize>,
    look: Option<Look>,
    /// What the last whole look did not find, and when that began.
    missed: HashSet<String>,
    missed_at: Option<Timestamp>,
}

/// A look at the whole list, in the midst of it.
#[derive(Debug)]
struct Look {
    began: Timestamp,
    /// The page that follows.
    page: Option<String>,
    pages: HashSet<String>,
    found: HashSet<String>,
    last: Option<(Timestamp, Timestamp)>,
}

/// What a whole look came to.
#[derive(Debug)]
struct Verdict {
    gone: Vec<String>,
    fresh: Vec<String>,
    missed: HashSet<String>,
}

impl Known {
    /// Of each list of the connection that is swept, by the position of the list of what is gone.
    pub(super) fn all(connection: &Connection, api: &Api, cursors: &HashMap<String, Cursor>) -> HashMap<usize, Self> {
        let sweeps = api.streams.iter().enumerate().filter(|(_, stream)| stream.sweep.is_some());
        let read = |(index, stream): (usize, &Stream)| {
            let front = key(&connection.name, &record_of(&stream.name, ""));
            let mut known = Self::default();
            for (key, cursor) in cursors {
                let Some(number) = key.strip_prefix(&front).and_then(|number| number.parse().ok()) else { continue };
                known.add(number, cursor.sync_token.iter().flat_map(|ids| ids.split('\n')).map(str::to_owned));
            }
            (index, known)
        };
        sweeps.map(read).collect()
    }

    /// They stand in this record.
    fn add(&mut self, number: u32, ids: impl IntoIterator<Item = String>) {
        for id in ids {
            if let Some(look) = &mut self.look {
                // It came when its page was read already.
                look.found.insert(id.clone());
            }
            if let Some(before) = self.ids.insert(id, number) {
                self.leave(before);
            }
            *self.records.entry(number).or_default() += 1;
        }
    }

    /// It is committed.
    fn apply(&mut self, change: Change) {
        if change.anew {
            self.ids.clear();
            self.records.clear();
        }
        for id in change.gone {
            if let Some(number) = self.ids.remove(&id) {
                self.leave(number);
            }
        }
        self.records.retain(|_, count| *count > 0);
        change.added.into_iter().for_each(|(number, ids)| self.add(number, ids));
    }

    fn leave(&mut self, number: u32) {
        if let Some(count) = self.records.get_mut(&number) {
            *count = count.saturating_sub(1);
        }
    }

    /// The number of a record that is not there.
    fn next(&self) -> u32 {
        self.records.last_key_value().map_or(0, |(number, _)| number.saturating_add(1))
    }

    /// Those that are not known, each once.
    fn unknown(&self, ids: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut once = HashSet::new();
        ids.into_iter().filter(|id| !self.ids.contains_key(id) && once.insert(id.clone())).collect()
    }

    /// When the next look is due: after a look that missed something soon, else in its time.
    fn is_due(&self, last: Option<&Cursor>, every: Duration, soon: Duration, now: Timestamp) -> bool {
        let after = |from: Timestamp, by: Duration| {
            now >= from
                .checked_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX))
                .unwrap_or(Timestamp::MAX)
        };
        let again = self.missed_at.filter(|_| !self.missed.is_empty()).is_some_and(|at| after(at, soon));
        let last = last.and_then(|last| Timestamp::from_microsecond(last.window_to).ok());
        again || last.is_none_or(|last| after(last, every))
    }

    /// What a look that found these says.
    fn verdict(&self, look: &Look, soon: Duration) -> Verdict {
        let later = |at: Timestamp| look.began.duration_since(at) >= SignedDuration::try_from(soon).unwrap_or_default();
        let is_second = self.missed_at.is_some_and(later);
        let missing = self.ids.keys().filter(|id| !look.found.contains(*id));
        let (gone, missed): (Vec<_>, Vec<_>) = missing.cloned().partition(|id| is_second && self.missed.contains(id));
        Verdict { gone, missed: missed.into_iter().collect(), fresh: self.unknown(look.found.iter().cloned()) }
    }
}

impl Verdict {
    /// Whether so many are gone that it is more likely that they are hidden.
    fn is_too_much(&self, known: usize, most_percent: u64) -> bool {
        let (gone, known) = (self.gone.len() as u64, known as u64);
        self.gone.len() > FEW && gone * 100 > known * most_percent
    }
}

/// Records of ids, and what is known once they are committed.
struct Change {
    records: Vec<Record>,
    /// All ids stand in other records than before.
    anew: bool,
    gone: Vec<String>,
    added: Vec<(u32, Vec<String>)>,
}

/// Ids of a page that nobody knew.
pub(super) struct Fresh {
    /// The position of the list of what is gone.
    list: usize,
    number: u32,
    ids: Vec<String>,
    /// Holds them.
    pub(super) record: Record,
}

impl Look {
    fn from(began: Timestamp) -> Self {
        Self { began, page: None, pages: HashSet::new(), found: HashSet::new(), last: None }
    }
}

/// The name of a record of ids among the cursors.
fn record_of(list: &str, number: &str) -> String {
    format!("{list}/@ids/{number}")
}

/// Writes records of ids of one list.
struct Writer<'a> {
    cursors: &'a CursorCodec,
    partition: i32,
    connection: &'a str,
    list: &'a str,
}

impl Writer<'_> {
    /// A record with these ids; none at all take it away.
    fn record(&self, number: u32, ids: &[&str]) -> Record {
        let stream = record_of(self.list, &number.to_string());
        if ids.is_empty() {
            return self.cursors.removal(self.connection, &stream, self.partition);
        }
        let now = Timestamp::now().as_microsecond();
        let cursor = Cursor {
            connection_id: self.connection.to_owned(),
            stream,
            phase: "KNOWN".to_owned(),
            window_from: None,
            window_to: now,
            next_page: None,
            complete: true,
            rows: i64::try_from(ids.len()).unwrap_or(i64::MAX),
            written_at: now,
            sync_token: Some(ids.join("\n")),
        };
        self.cursors.encode(&cursor, self.partition)
    }

    /// Records of these, from `next` on; and the ids with the number of each.
    fn records(&self, mut next: u32, ids: Vec<String>) -> (Vec<Record>, Vec<(u32, Vec<String>)>) {
        let (mut records, mut numbered) = (Vec::new(), Vec::new());
        for chunk in ids.chunks(IDS_OF_A_RECORD) {
            records.push(self.record(next, &chunk.iter().map(String::as_str).collect::<Vec<_>>()));
            numbered.push((next, chunk.to_vec()));
            next = next.saturating_add(1);
        }
        (records, numbered)
    }

    /// What becomes of the records where `gone` are known no more, and `fresh` from now on.
    fn change(&self, known: &Known, gone: Vec<String>, fresh: Vec<String>) -> Change {
        let is_gone: HashSet<&str> = gone.iter().map(String::as_str).collect();
        let left = known.ids.iter().filter(|(id, _)| !is_gone.contains(id.as_str()));
        let needed = (known.ids.len() + fresh.len()) / IDS_OF_A_RECORD + 1;
        if known.records.len() > 2 * needed + SPARE_RECORDS {
            let all = left.map(|(id, _)| id.clone()).chain(fresh).collect();
            let (more, added) = self.records(known.next(), all);
            let removals = known.records.keys().map(|number| self.record(*number, &[]));
            return Change { records: removals.chain(more).collect(), anew: true, gone: Vec::new(), added };
        }
        let touched = gone.iter().filter_map(|id| known.ids.get(id));
        let mut touched: BTreeMap<u32, Vec<&str>> = touched.map(|number| (*number, Vec::new())).collect();
        for (id, number) in left {
            if let Some(ids) = touched.get_mut(number) {
                ids.push(id);
            }
        }
        let (more, added) = self.records(known.next(), fresh);
        let rewritten = touched.iter().map(|(number, ids)| self.record(*number, ids));
        Change { records: rewritten.chain(more).collect(), anew: false, gone, added }
    }
}

impl<J: Journal> Poller<J> {
    /// The ids of a page that nobody knew, where a sweep must know them: to be committed with the page, and learnt once
    /// they are.
    pub(super) fn fresh_ids(&self, api: &Api, lane: &Lane, page: &Page) -> Result<Option<Fresh>, Failure> {
        let of = |stream: &Stream| stream.sweep.as_ref().is_some_and(|sweep| sweep.of == lane.stream);
        let Some(list) = api.streams.iter().position(of) else { return Ok(None) };
        let (Some(known), Some(stream)) = (self.known.get(&list), api.streams.get(lane.stream)) else {
            return Ok(None);
        };
        let ids = rows::ids(page, api.rows_of(stream), stream)?;
        let ids = known.unknown(ids.into_iter().flatten());
        if ids.is_empty() {
            return Ok(None);
        }
        let name = api.streams.get(list).map_or("", |stream| &stream.name);
        let number = known.next();
        let record = self.writer(name).record(number, &ids.iter().map(String::as_str).collect::<Vec<_>>());
        Ok(Some(Fresh { list, number, ids, record }))
    }

    /// They are committed.
    pub(super) fn learnt(&mut self, fresh: Fresh) {
        if let Some(known) = self.known.get_mut(&fresh.list) {
            known.add(fresh.number, fresh.ids);
        }
    }

    fn writer<'a>(&'a self, list: &'a str) -> Writer<'a> {
        Writer { cursors: &self.cursors, partition: self.partition, connection: &self.connection.name, list }
    }

    /// Looks at the whole list, if it is time, for the length of a turn; what is missing for the second time is told.
    pub(super) async fn sweep(&mut self, rules: &Rules, lane: &mut Lane, sweep: &Sweep) -> Result<(), Failure> {
        let soon = rules.poll.lag + rules.poll.overlap;
        let mut known = self.known.remove(&lane.stream).unwrap_or_default();
        let now = self.client.vendor_now();
        if known.look.is_none() && !known.is_due(lane.cursor.as_ref(), sweep.every, soon, now) {
            self.known.insert(lane.stream, known);
            return Ok(());
        }
        let mut look = known.look.take().unwrap_or_else(|| Look::from(now));
        let mut ended = self.look(rules, sweep, &mut look).await;
        match &ended {
            Ok(true) => ended = self.judge(rules, lane, &mut known, look, soon).await.map(|()| true),
            // It is not known where it stopped.
            Err(failure) if matches!(failure.remedy(), Remedy::Restart) || *failure == Failure::Circle => {}
            Ok(false) | Err(_) => known.look = Some(look),
        }
        self.known.insert(lane.stream, known);
        ended.map(|_| ())
    }

    /// Reads on. Whether the last page was read.
    async fn look(&mut self, rules: &Rules, sweep: &Sweep, look: &mut Look) -> Result<bool, Failure> {
        let Some(api) = rules.api() else { return Err(Failure::Refused(0)) };
        let Some(list) = api.streams.get(sweep.of) else { return Err(Failure::Refused(0)) };
        let turn = Instant::now() + self.turn;
        let mut tries = Tries::default();
        loop {
            self.health.progress(STUCK_AFTER + rules.poll.interval);
            self.wait(self.client.limit_wait()).await;
            let to = look.began.checked_add(AHEAD).unwrap_or(look.began);
            let (page, origin) = (look.page.clone(), Origin::Poll);
            let window = Window { origin, from: None, to, page, rows: 0, sync: None };
            let question = Question::list(api, list, &list.params, &window).of_moment(look.began);
            let read = self.client.page(api, &rules.poll, &question).await;
            let read = read.and_then(|page| Ok((all_ids(&page, api, list)?, page)));
            let failure = match read {
                Ok((ids, page)) => {
                    self.metrics.request(Answer::Ok);
                    tries.went_on();
                    look.found.extend(ids);
                    look.last = Some((page.asked_at, page.received_at));
                    let Some(next) = page.next else { return Ok(true) };
                    if !look.pages.insert(next.clone()) {
                        return Err(Failure::Circle);
                    }
                    look.page = Some(next);
                    if Instant::now() > turn {
                        return Ok(false);
                    }
                    continue;
                }
                Err(failure) => failure,
            };
            self.metrics.request(failure.answer());
            match tries.pause(&failure, &rules.poll) {
                Some(pause) => self.wait(pause).await,
                None => return Err(failure),
            }
        }
    }

    /// What a look to the last page came to: committed, and known from then on.
    async fn judge(
        &mut self,
        rules: &Rules,
        lane: &mut Lane,
        known: &mut Known,
        look: Look,
        soon: Duration,
    ) -> Result<(), Failure> {
        let (Some(api), Some((asked_at, received_at))) = (rules.api(), look.last) else {
            return Err(Failure::Refused(0));
        };
        let Some(stream) = api.streams.get(lane.stream) else { return Err(Failure::Refused(0)) };
        let verdict = known.verdict(&look, soon);
        if verdict.is_too_much(known.ids.len(), rules.poll.gone_most) {
            let (gone, of) = (verdict.gone.len(), known.ids.len());
            (known.missed, known.missed_at) =
                (verdict.gone.into_iter().chain(verdict.missed).collect(), Some(look.began));
            return Err(Failure::Vanished { gone, known: of });
        }
        let source = Source {
            connection: &self.connection,
            topics: &self.topics,
            stream,
            rows: api.rows_of(stream),
            params: &[],
            overlap_starts: look.began,
        };
        let mut records: Vec<Record> =
            verdict.gone.iter().map(|id| rows::gone(&source, asked_at, received_at, id)).collect();
        let found = i64::try_from(look.found.len()).unwrap_or(i64::MAX);
        let (origin, to) = (Origin::Poll, look.began);
        let window = Window { origin, from: None, to, page: None, rows: found, sync: None };
        let cursor = window::cursor(&self.connection.name, &lane.name, &window, None, None);
        records.push(self.cursors.encode(&cursor, self.partition));
        let kept = verdict.gone.len();
        let mut change = self.writer(&lane.name).change(known, verdict.gone, verdict.fresh);
        records.append(&mut change.records);
        self.commit(records).await?;
        known.apply(change);
        (lane.cursor, lane.stored) = (Some(cursor.clone()), Some(cursor));
        (known.missed, known.missed_at) = (verdict.missed, Some(look.began));
        self.metrics.rows(lane.stream_name(), Origin::Poll, Rows { kept, ..Rows::default() });
        Ok(())
    }
}

/// # Errors
/// When a row has no id that can be known again: of such a list nothing can be said to be gone.
fn all_ids(page: &Page, api: &Api, list: &Stream) -> Result<Vec<String>, Failure> {
    let ids = rows::ids(page, api.rows_of(list), list)?;
    ids.into_iter().collect::<Option<_>>().ok_or(Failure::Broken("a row without an id, in a list that is swept"))
}
