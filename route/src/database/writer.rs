//! What both writers do alike: gather, group, and find the row that a database cannot take.

use std::collections::HashMap;

use tokio::sync::mpsc;

use super::{BATCH_ROWS, Job};
use crate::deliver::outcome::{Attempt, Fault};
use crate::row::{Row, TablePlan};

/// Why a batch was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteError {
    /// A row in it can never be stored.
    Data,
    /// The database refuses us.
    Refused,
    /// Another try may succeed.
    Away,
}

impl WriteError {
    pub(super) fn attempt(self) -> Attempt {
        match self {
            Self::Data => Attempt::Unstorable,
            Self::Refused => Attempt::StoreRefused,
            Self::Away => Attempt::Unreachable(Fault::Store),
        }
    }
}

/// The rows of one table in a batch. Of two rows with one key the later stays.
pub(super) struct Group<'a> {
    pub(super) plan: &'a TablePlan,
    pub(super) rows: Vec<&'a Row>,
}

pub(super) fn groups(rows: &[Row]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for row in rows {
        let table = row.plan.table.as_str();
        let index = groups.iter().position(|group| group.plan.table == table).unwrap_or_else(|| {
            groups.push(Group { plan: &row.plan, rows: Vec::new() });
            groups.len() - 1
        });
        let Some(group) = groups.get_mut(index) else { continue };
        let place = *places.entry((table, row.key())).or_insert(group.rows.len());
        match group.rows.get_mut(place) {
            Some(older) => *older = row,
            None => group.rows.push(row),
        }
    }
    groups
}

/// Adds what is waiting to the first job of a batch.
pub(super) fn gather(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut batch = vec![first];
    while batch.len() < BATCH_ROWS
        && let Ok(job) = jobs.try_recv()
    {
        batch.push(job);
    }
    batch
}

/// Who gave up waiting has gone with its partition: nobody to tell.
pub(super) fn answer(jobs: Vec<Job>, attempt: &Attempt) {
    for job in jobs {
        drop(job.answer.send(attempt.clone()));
    }
}

/// `a, b, c` and `b = excluded.b, c = excluded.c` of a table whose key is `a`.
pub(super) fn column_lists(plan: &TablePlan) -> (String, String) {
    let columns = plan.columns.join(", ");
    let others = plan.columns.iter().filter(|column| **column != plan.key);
    let updates: Vec<String> = others.map(|column| format!("{column} = excluded.{column}")).collect();
    (columns, updates.join(", "))
}
