//! Seeded random runs of producers, transactions, zombies, readers and a group over restarts and kills of the broker; each
//! history is judged by a checker. `BROKER_HISTORIES` says how many seeds (20 by default), `BROKER_HISTORY_SEED` which one alone.
//! A seed decides what the clients set out to do and when the broker goes; how their threads meet, it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod checker;
mod checker_tests;
#[path = "../client/mod.rs"]
mod client;
mod history;
#[path = "../running/mod.rs"]
mod running;
#[path = "../wire/mod.rs"]
mod wire;
mod workers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use history::{Entry, Op, Outcome};
use running::*;
use workers::{GROUP, IDS, PLACES, Run};

/// Histories at a time: their clients wait more than they compute.
const AT_ONCE: u64 = 4;
/// How long clients of one history work.
const WORK_MS: u64 = 900;
/// How long they may take to end what they have begun.
const GRACE: Duration = Duration::from_secs(20);

/// With checkpoints while the clients work.
fn small(dir: &Path) -> hirewire_broker::Settings {
    let mut settings = settings(dir);
    settings.checkpoint_bytes = 256 * 1024;
    settings
}

/// Not a test: the broker, when the binary is started as one.
#[test]
fn broker_process() {
    serve_if_child();
}

#[test]
fn no_history_shows_an_anomaly() {
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let seeds = match number("BROKER_HISTORY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BROKER_HISTORIES").unwrap_or(20),
    };
    let (next, count) = (AtomicU64::new(seeds.start), seeds.end - seeds.start);
    let done = Mutex::new(BTreeMap::new());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(count) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let _named = Named(seed);
                    let history = history_of(seed);
                    judge(seed, &history);
                    for entry in &history {
                        *done.lock().unwrap().entry(name(entry)).or_default() += 1;
                    }
                }
            });
        }
    });
    let done: BTreeMap<&str, u64> = done.into_inner().unwrap();
    eprintln!("{count} histories in {:.1?}: {done:?}", started.elapsed());
    if count >= 20 {
        for name in EXPECTED {
            assert!(done.contains_key(name), "no history has this in it: {name}");
        }
    }
}

/// Without these a good verdict says nothing.
const EXPECTED: [&str; 8] = [
    "restart",
    "send",
    "transactional send, refused",
    "transactional offsets",
    "commit of a transaction",
    "abort of a transaction",
    "commit of a member",
    "commit of a member, refused",
];

fn name(entry: &Entry) -> &'static str {
    match (&entry.op, entry.outcome) {
        (Op::Send { txn: None, .. }, Outcome::Ok) => "send",
        (Op::Send { txn: None, .. }, _) => "send, unknown",
        (Op::Send { .. }, Outcome::Ok) => "transactional send",
        (Op::Send { .. }, _) => "transactional send, refused",
        (Op::TxnOffsets { .. }, Outcome::Ok) => "transactional offsets",
        (Op::End { commit: true, .. }, Outcome::Ok) => "commit of a transaction",
        (Op::End { commit: false, .. }, Outcome::Ok) => "abort of a transaction",
        (Op::TxnOffsets { .. } | Op::End { .. }, _) => "end of a transaction, refused",
        (Op::Commit { .. }, Outcome::Ok) => "commit of a member",
        (Op::Commit { .. }, _) => "commit of a member, refused",
        (Op::Poll { .. }, _) => "poll",
        (Op::Restart { .. }, _) => "restart",
        (Op::Init { .. } | Op::Join { .. } | Op::Committed { .. } | Op::Log { .. }, _) => "other",
    }
}

fn judge(seed: u64, history: &[Entry]) {
    let anomalies = checker::check(history);
    if !anomalies.is_empty() {
        let report = checker::report(history, &anomalies);
        panic!("anomalies in {} operations of seed {seed}:\n{report}", history.len());
    }
}

/// The broker of a history: in this process, closed and opened again; or in its own, and killed.
enum Server {
    Inside(Option<Running>),
    Outside(Process),
}

impl Server {
    fn start(dir: &Path, outside: bool) -> Self {
        if outside { Self::Outside(Process::start(dir)) } else { Self::Inside(Some(Running::with(small(dir), 0))) }
    }

    fn address(&self) -> std::net::SocketAddr {
        match self {
            Self::Inside(broker) => broker.as_ref().unwrap().address,
            Self::Outside(process) => process.address,
        }
    }

    /// Ends it and starts it again, with a torn last write if it was killed and `torn` says so.
    fn restart(&mut self, dir: &Path, torn: Option<u64>) -> &'static str {
        match self {
            Self::Inside(broker) => {
                let port = broker.as_ref().unwrap().address.port();
                drop(broker.take());
                *broker = Some(Running::with(small(dir), port));
                "closed and opened"
            }
            Self::Outside(process) => {
                process.kill();
                if let Some(kind) = torn {
                    tear(dir, kind);
                }
                process.restart();
                if torn.is_some() { "killed, with a torn last write" } else { "killed" }
            }
        }
    }
}

fn history_of(seed: u64) -> Vec<Entry> {
    let mut rng = Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    if rng.u8(..3) == 0 {
        // No checkpoint can be written: every start has all journals to read.
        std::fs::create_dir(dir.path().join("checkpoint.new")).unwrap();
    }
    let mut server = Server::start(dir.path(), rng.bool());
    let bootstrap = server.address().to_string();
    create_topic(&bootstrap, "t", 3, &[]);
    create_topic(&bootstrap, "in", 2, &[]);
    let run = Run::new(server.address(), Instant::now() + Duration::from_millis(WORK_MS) + GRACE);
    std::thread::scope(|scope| {
        let mut process = 0;
        let mut start = |work: fn(&Run, u64, Rng), count: usize| {
            for _ in 0..count {
                process += 1;
                let (run, process, rng) = (&run, process, rng.fork());
                scope.spawn(move || work(run, process, rng));
            }
        };
        start(workers::produce, 2);
        start(workers::read, 1);
        start(workers::consume, 3);
        start(|run, process, rng| workers::transact(run, process, rng, IDS[0]), 2);
        start(|run, process, rng| workers::transact(run, process, rng, IDS[1]), 1);
        for _ in 0..rng.u8(1..3) {
            std::thread::sleep(Duration::from_millis(rng.u64(WORK_MS / 6..WORK_MS / 3)));
            let torn = (rng.u8(..3) == 0).then(|| rng.u64(..));
            let invoked = run.recorder.now();
            let how = server.restart(dir.path(), torn);
            run.recorder.end(0, invoked, Outcome::Ok, Op::Restart { how });
        }
        std::thread::sleep(Duration::from_millis(WORK_MS / 3));
        run.stop.store(true, Ordering::Relaxed);
    });
    read_the_logs(&run);
    run.recorder.finish()
}

/// Ends what is open, and reads everything. What cannot be read is not there.
fn read_the_logs(run: &Run) {
    let mut client = run.client();
    for (id, place, group) in IDS {
        let invoked = run.recorder.now();
        let producer = client.init(Some(id), Duration::from_secs(10)).unwrap().unwrap();
        run.recorder.end(0, invoked, Outcome::Ok, Op::Init { id, producer });
        let invoked = run.recorder.now();
        let offset = client.committed(group, place).unwrap().unwrap_or(-1);
        run.recorder.end(0, invoked, Outcome::Ok, Op::Committed { group, place, offset });
    }
    for place in PLACES.into_iter().filter(|place| place.0 == "t") {
        let invoked = run.recorder.now();
        let offset = client.committed(GROUP, place).unwrap().unwrap_or(-1);
        run.recorder.end(0, invoked, Outcome::Ok, Op::Committed { group: GROUP, place, offset });
    }
    for place in PLACES {
        let (invoked, mut records) = (run.recorder.now(), Vec::new());
        let (mut position, mut stable, mut end) = (0, 0, 0);
        while let Ok(fetched) = client.fetch(place, position, 1 << 20, Duration::ZERO).unwrap() {
            records.extend(fetched.found);
            (stable, end) = (fetched.stable, fetched.high_watermark);
            if fetched.next >= stable {
                break;
            }
            assert!(fetched.next > position, "{place} cannot be read at {position}");
            position = fetched.next;
        }
        run.recorder.end(0, invoked, Outcome::Ok, Op::Log { place, records, stable, end });
    }
}

/// Says which seed it was, whatever ends a history.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was seed {seed}, again: BROKER_HISTORY_SEED={seed}", seed = self.0);
        }
    }
}
