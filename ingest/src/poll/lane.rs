//! One list of one connection, and how far it was read.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use hirewire_schemas::records::Cursor;
use jiff::Timestamp;

use super::journal;
use super::repeats::Seen;
use crate::connection::Connection;
use crate::manifest::{Api, Stream};

/// A list with its own cursor: a stream, or one value of the parameter that a stream walks through.
#[derive(Debug)]
pub(super) struct Lane {
    /// Position in the manifest.
    pub(super) stream: usize,
    /// `applications`, or `job_posts?active=false`.
    pub(super) name: String,
    pub(super) params: Vec<(String, String)>,
    /// How far it was read, also by windows that held nothing and were not written.
    pub(super) cursor: Option<Cursor>,
    /// As it was last written.
    pub(super) stored: Option<Cursor>,
    pub(super) seen: Seen,
    /// Pages of the present window, to notice a circle. Of a list per parent those of the parents.
    pub(super) pages: HashSet<String>,
    /// Parents whose lists were read by this process.
    pub(super) parents: u64,
    pub(super) gone_was_told: bool,
    /// Rounds in a row that ended in a circle.
    pub(super) circles: u32,
    /// The label of what failed last, so that the same is logged once.
    pub(super) failing: Option<&'static str>,
    pub(super) outside_was_told: bool,
    pub(super) progress_was_told: Option<Instant>,
    /// The latest change of a row that this process saw, by the vendor's clock.
    pub(super) newest: Option<Timestamp>,
}

impl Lane {
    /// All lists of a connection in the order in which they are read, each at its stored cursor.
    pub(super) fn all(connection: &Connection, api: &Api, cursors: &HashMap<String, Cursor>) -> Vec<Self> {
        let poll = connection.poll.as_ref();
        let here =
            |stream: &Stream| stream.url.is_none() || poll.is_some_and(|poll| poll.urls.contains_key(&stream.name));
        let lists = api.streams.iter().enumerate().filter(|(_, stream)| here(stream));
        let lists = lists.flat_map(|(index, stream)| Self::of(index, stream));
        let place = |mut lane: Self| {
            lane.cursor = cursors.get(&journal::key(&connection.name, &lane.name)).cloned();
            lane.stored.clone_from(&lane.cursor);
            lane
        };
        lists.map(place).collect()
    }

    /// No list: what is told of failures needs a name and a memory.
    pub(super) fn named(name: &str) -> Self {
        Self::new(usize::MAX, name.to_owned(), Vec::new())
    }

    fn new(stream: usize, name: String, params: Vec<(String, String)>) -> Self {
        Self {
            stream,
            name,
            params,
            cursor: None,
            stored: None,
            seen: Seen::default(),
            pages: HashSet::new(),
            parents: 0,
            gone_was_told: false,
            circles: 0,
            failing: None,
            outside_was_told: false,
            progress_was_told: None,
            newest: None,
        }
    }

    fn of(stream: usize, rules: &Stream) -> Vec<Self> {
        if !rules.listed {
            return Vec::new();
        }
        let lane = |name, params| Self::new(stream, name, params);
        match &rules.each {
            None => vec![lane(rules.name.clone(), rules.params.clone())],
            Some((param, values)) => values
                .iter()
                .map(|value| {
                    let own = [(param.clone(), value.clone())];
                    lane(format!("{}?{param}={value}", rules.name), [&rules.params[..], &own].concat())
                })
                .collect(),
        }
    }

    /// The manifest's name of the list, without the value of a parameter that it walks through.
    pub(super) fn stream_name(&self) -> &str {
        self.name.split('?').next().unwrap_or(&self.name)
    }

    /// The window is to be read again from its first page.
    pub(super) fn restart(&mut self) {
        self.pages.clear();
        if let Some(cursor) = &mut self.cursor
            && !cursor.complete
        {
            cursor.next_page = None;
            cursor.rows = 0;
        }
    }
}
