//! One aspect of an application (stage, status or job) over time: assertions in, runs of one value out.
//!
//! Assertions that overlap within the source's clock resolution are put in the order that needs the fewest changes.

use super::value::{Micros, Source};

/// "It was `value` at some instant of `[lo, hi)`."
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assertion<T> {
    pub(crate) lo: Micros,
    pub(crate) hi: Micros,
    pub(crate) value: T,
    /// `value` began exactly at `lo`.
    pub(crate) exact: bool,
    /// `lo` is our own clock.
    pub(crate) observed: bool,
    /// The record reports this very move, so that it happened within `[lo, hi)`.
    pub(crate) reported: bool,
    pub(crate) source: Option<Source>,
}

/// A time in which nothing else was seen.
#[derive(Clone, Debug)]
pub(crate) struct Run<T> {
    pub(crate) first: Assertion<T>,
    /// Latest instant at which it still was so.
    pub(crate) last: Micros,
    pub(crate) sources: Vec<Source>,
}

/// Most sources kept for one move.
pub(crate) const MOST_SOURCES: usize = 3;

pub(crate) fn push_source(sources: &mut Vec<Source>, source: Option<Source>) {
    if let Some(source) = source
        && sources.len() < MOST_SOURCES
        && !sources.contains(&source)
    {
        sources.push(source);
    }
}

/// Puts assertions in the order of time.
pub(crate) fn settle<T: Copy + Ord>(mut all: Vec<Assertion<T>>) -> Vec<Assertion<T>> {
    all.sort_by_key(|a| (a.lo, a.hi, a.value));
    let mut out: Vec<Assertion<T>> = Vec::with_capacity(all.len());
    let mut start = 0;
    while start < all.len() {
        let mut end = start + 1;
        let mut reach = all[start].hi;
        while end < all.len() && all[end].lo < reach {
            reach = reach.max(all[end].hi);
            end += 1;
        }
        let group = &all[start..end];
        if group.iter().all(|a| a.value == group[0].value) {
            out.extend_from_slice(group);
        } else {
            let before = out.last().map(|a| a.value);
            let after = all.get(end).map(|a| a.value);
            out.extend(order_group(group, before, after));
        }
        start = end;
    }
    out
}

/// Assertions of one clock tick: the finely timed keep their order, the coarse go where they need the fewest changes.
fn order_group<T: Copy + Ord>(group: &[Assertion<T>], before: Option<T>, after: Option<T>) -> Vec<Assertion<T>> {
    let finest = group.iter().map(|a| a.hi - a.lo).min().unwrap_or(0);
    let unique =
        |a: &&Assertion<T>| group.iter().filter(|b| b.lo == a.lo && b.value != a.value).all(|b| b.hi - b.lo > finest);
    let mut ordered: Vec<Assertion<T>> =
        group.iter().filter(|a| a.hi - a.lo == finest).filter(unique).copied().collect();
    for coarse in group {
        if ordered.iter().any(|a| a.lo == coarse.lo && a.hi == coarse.hi && a.value == coarse.value) {
            continue;
        }
        if let Some(same) = ordered.iter_mut().find(|a| a.value == coarse.value) {
            same.reported |= coarse.reported;
            continue;
        }
        let best =
            (0..=ordered.len()).min_by_key(|at| changes(&ordered, *at, coarse.value, before, after)).unwrap_or(0);
        ordered.insert(best, *coarse);
    }
    ordered
}

/// How many changes of value there are if `value` is inserted at `at`.
fn changes<T: Copy + PartialEq>(
    ordered: &[Assertion<T>],
    at: usize,
    value: T,
    before: Option<T>,
    after: Option<T>,
) -> usize {
    let values = before
        .into_iter()
        .chain(ordered[..at].iter().map(|a| a.value))
        .chain([value])
        .chain(ordered[at..].iter().map(|a| a.value))
        .chain(after);
    let mut count = 0;
    let mut last = None;
    for next in values {
        count += usize::from(last.is_some_and(|last| last != next));
        last = Some(next);
    }
    count
}

/// Joins neighbours of equal value.
pub(crate) fn runs<T: Copy + PartialEq>(assertions: &[Assertion<T>]) -> Vec<Run<T>> {
    let mut out: Vec<Run<T>> = Vec::new();
    for a in assertions {
        match out.last_mut() {
            Some(run) if run.first.value == a.value => {
                run.last = run.last.max(a.lo);
                if a.lo <= run.first.hi {
                    run.first.reported |= a.reported;
                    push_source(&mut run.sources, a.source);
                }
            }
            _ => out.push(Run { first: *a, last: a.lo, sources: a.source.into_iter().collect() }),
        }
    }
    out
}
