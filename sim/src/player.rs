//! Plays the plan against the clock: applies due steps and commits rows, webhooks and truth in one transaction each.
//!
//! Instants are real. The clock's position is stored with every commit, so that a resumed run goes on from there; two
//! steps of one application are never closer than a second, whatever the clock did in between.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rusqlite::{Connection, params};

use crate::clock::now_ms;
use crate::effects::{Effects, TrueChange};
use crate::plan::{Fate, Plan, Planned, Step};
use crate::settings::Scenario;
use crate::sign::uuid_like;
use crate::store::{self, StoreError};
use crate::world::World;

/// Never less than this between two steps of one application.
const APART_MS: i64 = 1_001;

/// Shared with whoever watches.
#[derive(Debug, Default)]
pub(crate) struct Position {
    pub(crate) played: AtomicUsize,
    pub(crate) total: AtomicUsize,
    pub(crate) last_write_ms: AtomicI64,
    pub(crate) done: AtomicBool,
    pub(crate) failed: AtomicBool,
}

pub(crate) struct Player {
    connection: Connection,
    scenario: Scenario,
    escaped: Vec<char>,
    world: World,
    waiting: Vec<Planned>,
    last_of: HashMap<usize, i64>,
    position_ms: i64,
    truth_file: PathBuf,
    position: Arc<Position>,
}

impl Player {
    /// Opens the simulation of a folder, or makes it: company, past, and a clock at 0.
    pub(crate) fn open(
        data_dir: &Path,
        wanted: &Scenario,
        escaped: &[char],
        position: Arc<Position>,
    ) -> Result<Self, StoreError> {
        std::fs::create_dir_all(data_dir).map_err(StoreError::Folder)?;
        let path = store::file(data_dir);
        let mut connection = store::connect(&path)?;
        let stored = store::scenario(&connection)?;
        if stored.is_none() {
            drop(connection);
            store::clear(data_dir)?;
            connection = store::connect(&path)?;
        }
        let scenario = stored.clone().unwrap_or_else(|| wanted.clone());
        let start = store::meta_number(&connection, "start_ms")?.unwrap_or_else(now_ms);
        let (world, rows) = World::new(&scenario, start);
        let plan = Plan::new(&scenario, &world.company.jobs);
        let mut player = Self {
            connection,
            escaped: escaped.to_vec(),
            world,
            waiting: plan.steps,
            last_of: HashMap::new(),
            position_ms: 0,
            truth_file: data_dir.join("truth.jsonl"),
            position,
            scenario,
        };
        if stored.is_none() {
            player.make(start, &rows)?;
        } else {
            player.replay(start)?;
        }
        player
            .position
            .total
            .store(player.waiting.len() + player.position.played.load(Ordering::SeqCst), Ordering::SeqCst);
        player.position.done.store(player.waiting.is_empty(), Ordering::SeqCst);
        Ok(player)
    }

    pub(crate) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What was there before the start, in one transaction: a half-made simulation has no scenario.
    fn make(&mut self, start: i64, rows: &[crate::effects::RowWrite]) -> Result<(), StoreError> {
        let past = self.take_past();
        let tx = self.connection.transaction()?;
        for row in rows {
            store::write_row(&tx, row, 0, &self.escaped)?;
        }
        for planned in &past {
            let effects = self.world.apply(planned, start + planned.offset_ms);
            for row in &effects.rows {
                store::write_row(&tx, row, 0, &self.escaped)?;
            }
            for change in &effects.truth {
                store::write_truth(&tx, change)?;
            }
        }
        store::set_meta(&tx, "start_ms", &start.to_string())?;
        store::set_meta(&tx, "scenario", &serde_json::to_string(&self.scenario)?)?;
        tx.commit()?;
        self.position.last_write_ms.store(start, Ordering::SeqCst);
        self.write_truth_file()
    }

    fn take_past(&mut self) -> Vec<Planned> {
        let (past, waiting) = self.waiting.drain(..).partition(|planned| planned.offset_ms < 0);
        self.waiting = waiting;
        past
    }

    /// Builds the world again from what was played, at the instants at which it was played.
    fn replay(&mut self, start: i64) -> Result<(), StoreError> {
        for planned in self.take_past() {
            self.world.apply(&planned, start + planned.offset_ms);
        }
        let mut played: Vec<(usize, i64)> = Vec::new();
        {
            let mut statement = self.connection.prepare("SELECT step, at FROM played ORDER BY ord")?;
            let found = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            for pair in found {
                let (step, at) = pair?;
                played.push((usize::try_from(step).unwrap_or(usize::MAX), at));
            }
        }
        let mut by_index: HashMap<usize, Planned> = self.waiting.drain(..).map(|step| (step.index, step)).collect();
        for (step, at) in &played {
            if let Some(planned) = by_index.remove(step) {
                self.world.apply(&planned, *at);
                self.stamp(&planned, *at);
            }
        }
        self.waiting = by_index.into_values().collect();
        self.waiting.sort_by_key(|planned| planned.index);
        self.position_ms = store::meta_number(&self.connection, "position_ms")?.unwrap_or(0);
        self.position.played.store(played.len(), Ordering::SeqCst);
        self.position.last_write_ms.store(played.last().map_or(start, |(_, at)| *at), Ordering::SeqCst);
        self.write_truth_file()
    }

    fn stamp(&mut self, planned: &Planned, at: i64) {
        self.last_of.insert(planned.app, at);
        if let Step::Convert { into, .. } = planned.step {
            self.last_of.insert(into, at);
        }
    }

    /// Plays to the end, or until `stop`. Blocks.
    pub(crate) fn run(mut self, stop: &AtomicBool) {
        let base = now_ms() - self.position_ms;
        while !stop.load(Ordering::SeqCst) && !self.waiting.is_empty() {
            let due = self.due(now_ms(), base);
            if due.is_empty() {
                std::thread::sleep(Duration::from_millis(15));
                continue;
            }
            if let Err(error) = self.play(due, base) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the simulation cannot write its file and stops"
                );
                self.position.failed.store(true, Ordering::SeqCst);
                return;
            }
        }
        self.position.done.store(self.waiting.is_empty(), Ordering::SeqCst);
    }

    /// Steps whose time has come and whose application has rested long enough, in the plan's order.
    fn due(&mut self, now: i64, base: i64) -> Vec<Planned> {
        let mut due: Vec<Planned> = Vec::new();
        let mut busy: Vec<usize> = Vec::new();
        let mut n = 0;
        while let Some(planned) = self.waiting.get(n) {
            if base + planned.offset_ms > now || due.len() >= 64 {
                break;
            }
            let rested = self.last_of.get(&planned.app).is_none_or(|last| now >= last + APART_MS);
            let apps = match planned.step {
                Step::Convert { into, .. } => vec![planned.app, into],
                _ => vec![planned.app],
            };
            if rested && !apps.iter().any(|app| busy.contains(app)) {
                busy.extend(apps);
                due.push(self.waiting.remove(n));
            } else {
                // Later steps of this application wait behind it.
                busy.extend(apps);
                n += 1;
            }
        }
        due
    }

    fn play(&mut self, due: Vec<Planned>, base: i64) -> Result<(), StoreError> {
        let at = now_ms();
        let mut truth = Vec::new();
        let tx = self.connection.transaction()?;
        for planned in &due {
            let mut effects = self.world.apply(planned, at);
            let seed = self.scenario.seed ^ u64::try_from(planned.index).unwrap_or(0).wrapping_mul(0x0123_4567_89ab);
            let mut rng = Rng::with_seed(seed);
            let (low, high) = self.scenario.pace.visible_lag_ms;
            for row in &effects.rows {
                store::write_row(&tx, row, at + rng.i64(low..=high.max(low)), &self.escaped)?;
            }
            enqueue(&tx, &self.scenario, &self.escaped, planned, at, &mut effects, &mut rng)?;
            for change in &effects.truth {
                store::write_truth(&tx, change)?;
            }
            truth.append(&mut effects.truth);
            tx.prepare_cached("INSERT INTO played (step, at) VALUES (?1, ?2)")?
                .execute(params![i64::try_from(planned.index).unwrap_or(0), at])?;
        }
        self.position_ms = at - base;
        store::set_meta(&tx, "position_ms", &self.position_ms.to_string())?;
        tx.commit()?;
        for planned in &due {
            self.stamp(planned, at);
        }
        self.position.played.fetch_add(due.len(), Ordering::SeqCst);
        self.position.last_write_ms.store(at, Ordering::SeqCst);
        self.append_truth(&truth)
    }

    fn write_truth_file(&self) -> Result<(), StoreError> {
        let mut text = String::new();
        for change in store::truth(&self.connection)? {
            text.push_str(&serde_json::to_string(&change)?);
            text.push('\n');
        }
        std::fs::write(&self.truth_file, text).map_err(StoreError::Folder)
    }

    fn append_truth(&self, changes: &[TrueChange]) -> Result<(), StoreError> {
        let mut text = String::new();
        for change in changes {
            text.push_str(&serde_json::to_string(change)?);
            text.push('\n');
        }
        let mut file =
            OpenOptions::new().append(true).create(true).open(&self.truth_file).map_err(StoreError::Folder)?;
        file.write_all(text.as_bytes()).map_err(StoreError::Folder)
    }
}

/// Puts the webhooks of a step into the outbox, each with its fate, and notes in the truth which one tells of it.
fn enqueue(
    tx: &rusqlite::Transaction<'_>,
    scenario: &Scenario,
    escaped: &[char],
    planned: &Planned,
    at: i64,
    effects: &mut Effects,
    rng: &mut Rng,
) -> Result<(), StoreError> {
    let application = effects.application;
    for (n, webhook) in effects.webhooks.iter().enumerate() {
        // Only the first tells of the step; the rest is told by rows too.
        let fate = if n == 0 {
            planned.fate
        } else {
            // What a hire says of its offer may be overwritten before a poll sees it.
            let dropped = planned.step != Step::Hire && rng.f64() < scenario.faults.dropped;
            Fate { dropped, ..Fate::default() }
        };
        let body = store::escape(&webhook.body.to_string(), escaped);
        let event_id = uuid_like(scenario.seed, &format!("event/{}/{n}", planned.index));
        let due = at + rng.i64(2..40) + fate.delay_ms;
        let state = if fate.dropped { "dropped" } else { "pending" };
        let insert = |event_id: &str, copy: i64, due: i64, state: &str| -> Result<(), StoreError> {
            let mut statement = tx.prepare_cached(
                "INSERT INTO outbox (event_id, action, application, step, copy, body, happened_at, due_at, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            let step = i64::try_from(planned.index).unwrap_or(0);
            statement.execute(params![
                event_id,
                webhook.action,
                application,
                step,
                copy,
                body.as_bytes(),
                at,
                due,
                state
            ])?;
            Ok(())
        };
        insert(&event_id, 0, due, state)?;
        if !fate.dropped {
            for copy in 1..=i64::from(fate.copies) {
                // Whether a repeated delivery keeps its id is not documented: both happen.
                let id = if rng.bool() {
                    event_id.clone()
                } else {
                    uuid_like(scenario.seed, &format!("copy/{}/{copy}", planned.index))
                };
                insert(&id, copy, due + rng.i64(0..900), state)?;
            }
        }
        if n == 0 {
            for change in &mut effects.truth {
                change.webhook = Some(event_id.clone());
            }
            // A converted prospect's own change has no webhook: only its row tells.
            if let (Step::Convert { .. }, Some(first)) = (&planned.step, effects.truth.first_mut()) {
                first.webhook = None;
            }
        }
    }
    Ok(())
}
