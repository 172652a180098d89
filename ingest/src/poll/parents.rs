//! Lists per parent: a page of parents by their window, and for each parent that changed its list, whole.
//!
//! The cursor goes over the parents' changes. It moves past a page of parents in the transaction of the last of their
//! rows; rows of parents before are committed on the way, so that memory has a bound and a failure does not begin the
//! page anew. A restart within a page reads its parents again: rows are kept at least once.
//!
//! A parent may change between its row and what is read of it, and change back before its row is listed again. Where the
//! two contradict each other the parent is not marked as read: what is read of it is read again when it is listed next.

use std::collections::HashSet;
use std::time::Instant;

use hirewire_kafka::Record;

use super::failure::{Failure, Remedy};
use super::journal::Journal;
use super::lane::Lane;
use super::page::Page;
use super::poller::{Next, Poller, Read, STUCK_AFTER, no_circle};
use super::question::Question;
use super::repeats::Mark;
use super::rows::{self, Child, Parent, Source};
use super::rules::Rules;
use super::window::Window;
use crate::manifest::{Api, Per, Stream};
use crate::metrics::{Answer, Rows};

/// Rows of this size together are committed, also in the midst of a page.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;
/// A list of one parent with more pages has no end.
const MAX_PAGES: usize = 10_000;

/// What is not committed yet.
#[derive(Default)]
struct Gathered {
    records: Vec<Record>,
    parents: Vec<Mark>,
    bytes: usize,
}

/// A list per parent, with the list of its parents.
pub(super) struct Lists<'a> {
    api: &'a Api,
    stream: &'a Stream,
    per: &'a Per,
    pub(super) parents: &'a Stream,
}

impl<'a> Lists<'a> {
    /// `None`: the list is not one per parent.
    pub(super) fn of(api: &'a Api, stream: &'a Stream) -> Option<Self> {
        let per = stream.per.as_ref()?;
        Some(Self { api, stream, per, parents: api.streams.get(per.parent)? })
    }
}

impl<J: Journal> Poller<J> {
    /// Asks for one page of parents and for the list of each that changed, and keeps their rows. After `turn` it ends
    /// with the parent at hand.
    pub(super) async fn step_over_parents(
        &mut self,
        rules: &Rules,
        lane: &mut Lane,
        window: &mut Window,
        turn: Instant,
    ) -> Result<Next, Failure> {
        let lists = rules.api().and_then(|api| Lists::of(api, api.streams.get(lane.stream)?));
        let Some(lists) = lists else { return Err(Failure::Refused(0)) };
        let question = Question::list(lists.api, lists.parents, &lists.parents.params, window);
        let page = self.client.page(lists.api, &rules.poll, &question).await?;
        let asked = window.clone();
        self.end_by_vendor_clock(rules, lane, window);
        let source = Source {
            connection: &self.connection,
            topics: &self.topics,
            stream: lists.parents,
            rows: lists.api.rows_of(lists.parents),
            params: &[],
            overlap_starts: rules.overlap_starts(window),
        };
        let parents = rows::parents(&source, &page, &asked, lists.stream)?;
        no_circle(lane, window, &page)?;
        self.metrics.request(Answer::Ok);
        let (mut gathered, mut kept, mut unidentified) = (Gathered::default(), 0, parents.unidentified);
        let (mut asked, mut gone, mut repeats) = (0, 0, 0);
        let mut doubted = HashSet::new();
        for parent in &parents.list {
            if lane.seen.contains(parent.mark) {
                repeats += 1;
                continue;
            }
            if asked > 0 && Instant::now() > turn {
                self.flush(lane, &mut gathered).await?;
                return Ok(Next::TurnOver);
            }
            asked += 1;
            match self.lists_of(rules, &lists, window, parent).await {
                Ok(Some(rows)) => {
                    kept += rows.len();
                    unidentified += rows.iter().filter(|row| !row.identified).count();
                    if rows.iter().all(|row| row.agrees) {
                        gathered.parents.push(parent.mark);
                    } else {
                        lane.seen.forget(parent.mark);
                        doubted.insert(parent.mark);
                    }
                    gathered.take(rows);
                }
                Ok(None) => {
                    gone += 1;
                    gathered.parents.push(parent.mark);
                }
                Err(failure) => {
                    self.flush(lane, &mut gathered).await?;
                    return Err(failure);
                }
            }
            lane.parents += 1;
            if gathered.bytes >= COMMIT_BYTES {
                self.flush(lane, &mut gathered).await?;
            }
        }
        self.judge_gone(lane, asked, gone)?;
        let again = parents.list.iter().filter(|parent| parent.again).map(|parent| parent.mark);
        let marks = again.filter(|mark| !doubted.contains(mark)).collect();
        let counts = Rows { kept, repeats, outside: parents.outside, unidentified };
        let read = Read { records: gathered.records, marks, total: parents.total, newest: parents.newest, counts };
        self.keep(rules, lane, window, read, page).await
    }

    /// All rows of what one parent has: its list, or a list for each of some values of its row. `None`: the vendor knows
    /// nothing of it any more.
    pub(super) async fn lists_of(
        &mut self,
        rules: &Rules,
        lists: &Lists<'_>,
        window: &Window,
        parent: &Parent,
    ) -> Result<Option<Vec<Child>>, Failure> {
        let Some((param, _)) = &lists.stream.each_in else {
            return self.list_of(rules, lists, window, parent, Vec::new()).await;
        };
        let (mut rows, mut known) = (Vec::new(), parent.each.is_empty());
        for value in &parent.each {
            if let Some(more) = self.list_of(rules, lists, window, parent, vec![(param.clone(), value.clone())]).await?
            {
                known = true;
                rows.extend(more);
            }
        }
        Ok(known.then_some(rows))
    }

    /// All rows of one list; `None`: the vendor does not know it.
    async fn list_of(
        &mut self,
        rules: &Rules,
        lists: &Lists<'_>,
        window: &Window,
        parent: &Parent,
        more: Vec<(String, String)>,
    ) -> Result<Option<Vec<Child>>, Failure> {
        let ids = [vec![(lists.per.param.clone(), parent.id.clone())], more].concat();
        let params = [&lists.stream.params[..], &ids, &parent.told].concat();
        let whose = ids.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>().join(".");
        let (mut rows, mut tokens) = (Vec::new(), HashSet::new());
        let mut token: Option<String> = None;
        loop {
            self.health.progress(STUCK_AFTER + rules.poll.interval);
            self.wait(self.client.limit_wait()).await;
            let question = Question::of_parent(lists.api, lists.stream, &ids, token.as_deref());
            let page: Page = match self.client.page(lists.api, &rules.poll, &question).await {
                Ok(page) => page,
                Err(Failure::Refused(404 | 410)) => {
                    self.metrics.request(Answer::Failed);
                    return Ok(None);
                }
                // Of this parent's list, not of its parents'.
                Err(Failure::PageGone(_) | Failure::Fault { remedy: Remedy::Restart, .. }) => {
                    return Err(Failure::Broken("a page of a parent's list is not known any more"));
                }
                Err(failure) => return Err(failure),
            };
            let source = Source {
                connection: &self.connection,
                topics: &self.topics,
                stream: lists.stream,
                rows: lists.api.rows_of(lists.stream),
                params: &params,
                overlap_starts: window.to,
            };
            rows.extend(rows::children(&source, &page, window, parent, &whose)?);
            self.metrics.request(Answer::Ok);
            let Some(next) = page.next else { return Ok(Some(rows)) };
            if !tokens.insert(next.clone()) || tokens.len() > MAX_PAGES {
                return Err(Failure::Broken("the pages of a parent's list have no end"));
            }
            token = Some(next);
        }
    }

    /// One parent may be gone since it was listed. If all are, the list's path is wrong: its rows must not be missed in
    /// silence.
    fn judge_gone(&self, lane: &mut Lane, asked: usize, gone: usize) -> Result<(), Failure> {
        if gone > 1 && gone == asked {
            return Err(Failure::Refused(404));
        }
        if gone > 0 && !std::mem::replace(&mut lane.gone_was_told, true) {
            tracing::warn!(
                code = "poll-parent-gone",
                connection = self.connection.name,
                stream = lane.name,
                "the vendor does not know {gone} of {asked} parents whose lists were asked for (404); they are left out"
            );
        }
        Ok(())
    }

    /// Commits what was gathered. The cursor stays before the page.
    async fn flush(&self, lane: &mut Lane, gathered: &mut Gathered) -> Result<(), Failure> {
        let Gathered { records, parents, .. } = std::mem::take(gathered);
        if !records.is_empty() {
            self.commit(records).await?;
        }
        lane.seen.add(parents);
        Ok(())
    }
}

impl Gathered {
    fn take(&mut self, rows: Vec<Child>) {
        for Child { record, .. } in rows {
            self.bytes += record.value.as_ref().map_or(0, |value| value.len());
            self.records.push(record);
        }
    }
}
