//! Plays the plan against the clock: applies due steps and commits rows, webhooks and truth in one transaction each.
//!
//! Instants are real. The clock's position is stored with every commit, so that a resumed run goes on from there; two
//! steps of one application are never closer than a second, whatever the clock did in between.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rusqlite::{Connection, params};

use crate::clock::now_ms;
use crate::effects::{RowWrite, TrueChange};
use crate::outbox;
use crate::plan::{Plan, Planned, Step};
use crate::settings::Scenario;
use crate::store::{self, StoreError};
use crate::story::Narrator;
use crate::vendor::Account;
use crate::world::World;

/// Never less than this between two steps of one application.
const APART_MS: i64 = 1_001;

/// What is now is read within this time, or never.
const READ_WITHIN_MS: i64 = 30_000;

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
    /// Tells it in another vendor's words than Greenhouse's.
    narrator: Option<Narrator>,
    world: World,
    /// By place in the plan.
    waiting: BTreeMap<usize, Planned>,
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
        narrator: Option<Narrator>,
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
        let story = narrator.as_ref().map(|narrator| Arc::clone(&narrator.story));
        let (world, rows) = World::new(&scenario, story.clone(), start);
        let plan = Plan::new(&scenario, story.as_deref(), &world.company.jobs);
        let mut player = Self {
            connection,
            escaped: escaped.to_vec(),
            narrator,
            world,
            waiting: plan.steps.into_iter().map(|step| (step.index, step)).collect(),
            last_of: HashMap::new(),
            position_ms: 0,
            truth_file: data_dir.join("truth.jsonl"),
            position,
            scenario,
        };
        if let Some(narrator) = &player.narrator {
            narrator.open(&player.world, start);
        }
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
    fn make(&mut self, start: i64, rows: &[RowWrite]) -> Result<(), StoreError> {
        let past = self.take_past();
        let tx = store::begin(&mut self.connection)?;
        for row in rows {
            store::write_row(&tx, row, 0, &self.escaped)?;
        }
        // Of the past only what rows came to is left to be seen.
        let mut last: BTreeMap<(&'static str, i64), RowWrite> = BTreeMap::new();
        for planned in &past {
            let effects = self.world.apply(planned, start + planned.offset_ms);
            last.extend(effects.rows.into_iter().map(|row| ((row.stream, row.id), row)));
            for change in &effects.truth {
                store::write_truth(&tx, change)?;
            }
        }
        for row in last.values() {
            store::write_row(&tx, row, 0, &self.escaped)?;
        }
        store::set_meta(&tx, "start_ms", &start.to_string())?;
        store::set_meta(&tx, "scenario", &serde_json::to_string(&self.scenario)?)?;
        tx.commit()?;
        self.show_past(&past, start);
        self.position.last_write_ms.store(start, Ordering::SeqCst);
        self.write_truth_file()
    }

    fn take_past(&mut self) -> Vec<Planned> {
        let (past, waiting): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, planned)| planned.offset_ms < 0);
        self.waiting = waiting;
        past.into_values().collect()
    }

    /// Builds the world again from what was played, at the instants at which it was played.
    fn replay(&mut self, start: i64) -> Result<(), StoreError> {
        let past = self.take_past();
        for planned in &past {
            self.world.apply(planned, start + planned.offset_ms);
        }
        self.show_past(&past, start);
        let mut played: Vec<(usize, i64)> = Vec::new();
        {
            let mut statement = self.connection.prepare("SELECT step, at FROM played ORDER BY ord")?;
            let found = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            for pair in found {
                let (step, at) = pair?;
                played.push((usize::try_from(step).unwrap_or(usize::MAX), at));
            }
        }
        for (step, at) in &played {
            if let Some(planned) = self.waiting.remove(step) {
                self.world.apply(&planned, *at);
                self.show(&planned, *at);
                self.stamp(&planned, *at);
            }
        }
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
        let mut due: Vec<usize> = Vec::new();
        let mut busy: HashSet<usize> = HashSet::new();
        for planned in self.waiting.values() {
            if base + planned.offset_ms > now || due.len() >= 64 {
                break;
            }
            let rested = self.last_of.get(&planned.app).is_none_or(|last| now >= last + APART_MS);
            let free = !busy.contains(&planned.app) && rested && self.may_go_on(planned, now);
            // Later steps of this application wait behind it.
            busy.insert(planned.app);
            if let Step::Convert { into, .. } = planned.step {
                busy.insert(into);
            }
            if free {
                due.push(planned.index);
            }
        }
        due.iter().filter_map(|index| self.waiting.remove(index)).collect()
    }

    /// Where only the present is told, and before a deletion, the story waits until what is now was read: what nobody could
    /// read nobody can know. Not for ever, or who never reads would not be found.
    fn may_go_on(&self, planned: &Planned, now: i64) -> bool {
        let Some(narrator) = &self.narrator else { return true };
        let deletes = matches!(planned.step, Step::DeleteApplication | Step::DeleteCandidate);
        let waited = self.last_of.get(&planned.app).is_none_or(|last| now >= last + READ_WITHIN_MS);
        waited || !(narrator.story.forgets || deletes) || narrator.is_told(&self.world, planned.app)
    }

    fn play(&mut self, due: Vec<Planned>, base: i64) -> Result<(), StoreError> {
        match self.narrator.as_ref().map(|narrator| Arc::clone(&narrator.vendor)) {
            // Nobody is answered between a change and the instant at which it shows.
            Some(vendor) => vendor.with(|account| self.play_before(due, base, Some(account))),
            None => self.play_before(due, base, None),
        }
    }

    /// Plays what is due; the rows of a narrator go to `account` as soon as everything else is kept for good.
    fn play_before(&mut self, due: Vec<Planned>, base: i64, account: Option<&mut Account>) -> Result<(), StoreError> {
        let at = now_ms();
        let mut truth = Vec::new();
        let tx = store::begin(&mut self.connection)?;
        for planned in &due {
            let before = self.narrator.as_ref().map(|narrator| narrator.facts(&self.world, planned.app));
            let mut effects = self.world.apply(planned, at);
            if let Some((narrator, before)) = self.narrator.as_ref().zip(before) {
                effects.webhooks = narrator.webhooks(&self.world, planned, &before, at);
            }
            let mut rng = dice(&self.scenario, planned);
            let (low, high) = self.scenario.pace.visible_lag_ms;
            for row in &effects.rows {
                store::write_row(&tx, row, at + rng.i64(low..=high.max(low)), &self.escaped)?;
            }
            outbox::enqueue(&tx, &self.scenario, &self.escaped, planned, at, &mut effects, &mut rng)?;
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
        if let Some((narrator, account)) = self.narrator.as_ref().zip(account) {
            for planned in &due {
                let rows = narrator.rows(&self.world, planned.app, at, &mut dice(&self.scenario, planned));
                rows.into_iter().for_each(|row| account.write(row));
            }
        }
        for planned in &due {
            self.stamp(planned, at);
        }
        self.position.played.fetch_add(due.len(), Ordering::SeqCst);
        self.position.last_write_ms.store(at, Ordering::SeqCst);
        self.append_truth(&truth)
    }

    /// The rows of a narrator are in memory: what was committed is shown again.
    fn show(&self, planned: &Planned, at: i64) {
        if let Some(narrator) = &self.narrator {
            narrator.show_again(&self.world, planned.app, at, &mut dice(&self.scenario, planned));
        }
    }

    fn show_past(&self, past: &[Planned], start: i64) {
        let applications: HashSet<usize> = past.iter().map(|planned| planned.app).collect();
        for app in applications {
            let Some(narrator) = &self.narrator else { return };
            let at = self.world.applications.get(&app).map_or(start, |app| app.updated_at);
            narrator.show_again(&self.world, app, at, &mut Rng::with_seed(self.scenario.seed));
        }
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

/// What chance decides about a step, the same whenever it is played.
fn dice(scenario: &Scenario, planned: &Planned) -> Rng {
    Rng::with_seed(scenario.seed ^ u64::try_from(planned.index).unwrap_or(0).wrapping_mul(0x0123_4567_89ab))
}
