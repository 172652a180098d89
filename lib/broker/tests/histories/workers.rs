//! Who writes and reads in a history: producers with and without transactions, zombies, readers, and members of a group.
//!
//! In: a run and a seed; out: entries of the history. Each worker goes on until the run stops, over restarts of the broker;
//! what is not known to be done is tried again, as client libraries do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::client::{Answer, Batch, Client, Place, Value};
use crate::history::{Op, Outcome, Recorder, Txn};

pub const PLACES: [Place; 5] = [Place("t", 0), Place("t", 1), Place("t", 2), Place("in", 0), Place("in", 1)];
/// Written to by transactions, and read by the group.
const OUTPUTS: [Place; 3] = [PLACES[0], PLACES[1], PLACES[2]];
/// Transactional ids, what each works on, and the group that keeps its offsets.
pub const IDS: [(&str, Place, &str); 2] = [("x0", PLACES[3], "inputs-0"), ("x1", PLACES[4], "inputs-1")];
pub const GROUP: &str = "g";

const MAX_BYTES: i32 = 16 * 1024;

pub struct Run {
    pub address: SocketAddr,
    pub deadline: Instant,
    pub stop: AtomicBool,
    pub recorder: Recorder,
    numbers: AtomicU64,
}

impl Run {
    pub fn new(address: SocketAddr, deadline: Instant) -> Self {
        let (stop, recorder, numbers) = (AtomicBool::new(false), Recorder::default(), AtomicU64::new(1));
        Self { address, deadline, stop, recorder, numbers }
    }

    pub fn client(&self) -> Client {
        Client::new(self.address, self.deadline)
    }

    /// A number that nothing else in the run has.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn numbers(&self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.number()).collect()
    }
}

fn pause(rng: &mut Rng, ms: std::ops::Range<u64>) {
    std::thread::sleep(Duration::from_millis(rng.u64(ms)));
}

/// Asks until the answer is known, or the run is over. What is refused after an answer was lost may have been done.
fn settle<T>(client: &mut Client, mut ask: impl FnMut(&mut Client) -> Answer<T>) -> (Outcome, Option<T>) {
    let mut lost = false;
    loop {
        match ask(client) {
            Some(Ok(value)) => return (Outcome::Ok, Some(value)),
            // The broker asks to try again: storage, coordinator, concurrent transaction, unstable offset.
            Some(Err(14 | 15 | 51 | 56 | 88)) if !client.is_late() => std::thread::sleep(Duration::from_millis(5)),
            Some(Err(_)) | None if lost && client.is_late() => return (Outcome::Unknown, None),
            Some(Err(code)) => return (if lost { Outcome::Unknown } else { Outcome::Refused(code) }, None),
            None => lost = true,
        }
    }
}

/// Without transactions, idempotent; sends a batch again at times, as if the answer had been lost.
pub fn produce(run: &Run, process: u64, mut rng: Rng) {
    let mut client = run.client();
    while run.goes_on() {
        let (_, Some(producer)) = settle(&mut client, |client| client.init(None, Duration::from_secs(10))) else {
            continue;
        };
        let mut sequences: HashMap<Place, i32> = HashMap::new();
        while run.goes_on() {
            let place = PLACES[rng.usize(..PLACES.len())];
            let sequence = sequences.entry(place).or_default();
            let values = run.numbers(rng.usize(1..4));
            let batch = Batch { producer, sequence: *sequence, values, padding: rng.usize(..1500) };
            let mut outcome = Outcome::Unknown;
            for _ in 0..if rng.u8(..4) == 0 { 2 } else { 1 } {
                let invoked = run.recorder.now();
                let (came_to, base) = settle(&mut client, |client| client.send(None, place, &batch));
                let (values, base) = (batch.values.clone(), base.unwrap_or(-1));
                run.recorder.end(process, invoked, came_to, Op::Send { txn: None, place, values, base });
                outcome = came_to;
            }
            if outcome != Outcome::Ok {
                break;
            }
            *sequence += i32::try_from(batch.values.len()).unwrap();
            pause(&mut rng, 0..6);
        }
    }
}

/// A transactional producer that works on an input, as stream processors do. It is a zombie at times.
struct Processor<'a> {
    run: &'a Run,
    process: u64,
    rng: Rng,
    client: Client,
    id: &'static str,
    input: Place,
    group: &'static str,
    producer: (i64, i16),
    sequences: HashMap<Place, i32>,
}

pub fn transact(run: &Run, process: u64, rng: Rng, (id, input, group): (&'static str, Place, &'static str)) {
    let (client, sequences) = (run.client(), HashMap::new());
    let mut processor = Processor { run, process, rng, client, id, input, group, producer: (-1, -1), sequences };
    while run.goes_on() {
        if processor.init() {
            // Ends when it is refused something: another one has the id, or time ran out.
            while run.goes_on() && processor.transaction().is_some() {}
        }
        pause(&mut processor.rng, 0..30);
    }
}

impl Processor<'_> {
    fn record(&self, invoked: u64, outcome: Outcome, op: Op) -> Option<()> {
        self.run.recorder.end(self.process, invoked, outcome, op);
        (outcome == Outcome::Ok).then_some(())
    }

    fn init(&mut self) -> bool {
        let timeout = Duration::from_millis(self.rng.u64(60..2000));
        let (invoked, id) = (self.run.recorder.now(), self.id);
        let (outcome, producer) = settle(&mut self.client, |client| client.init(Some(id), timeout));
        let Some(producer) = producer else { return false };
        self.record(invoked, outcome, Op::Init { id, producer });
        self.producer = producer;
        self.sequences.clear();
        true
    }

    /// One more has the same id now: what this one does from here on must be refused.
    fn become_a_zombie(&self) {
        let (mut client, id) = (self.run.client(), self.id);
        let invoked = self.run.recorder.now();
        let (outcome, producer) = settle(&mut client, |client| client.init(Some(id), Duration::from_secs(1)));
        if let Some(producer) = producer {
            self.record(invoked, outcome, Op::Init { id, producer });
        }
    }

    fn transaction(&mut self) -> Option<()> {
        let txn = Txn { id: self.id, producer: self.producer, number: self.run.number() };
        let (id, producer, input, group) = (self.id, self.producer, self.input, self.group);
        let invoked = self.run.recorder.now();
        let (outcome, offset) = settle(&mut self.client, |client| client.committed(group, input));
        let committed = Op::Committed { group, place: input, offset: offset.unwrap_or(-1) };
        offset.and_then(|_| self.record(invoked, outcome, committed))?;
        let from = offset?.max(0);
        let to = poll(self.run, &mut self.client, self.process, self.run.number(), input, from)?;
        let count = self.rng.usize(1..4);
        let outputs = self.rng.choose_multiple(OUTPUTS, count);
        let (_, added) = settle(&mut self.client, |client| client.add_partitions(id, producer, &outputs));
        added?;
        let zombie = self.rng.u8(..10) == 0;
        let mut refused = None;
        for (at, place) in outputs.iter().enumerate() {
            if zombie && at == outputs.len() - 1 {
                self.become_a_zombie();
            }
            refused = self.send(txn, *place);
            if refused.is_none() && !zombie {
                return None;
            }
        }
        if self.rng.u8(..5) == 0 {
            pause(&mut self.rng, 20..120);
        }
        if to > from {
            let invoked = self.run.recorder.now();
            let sent = |client: &mut Client| client.send_offsets(id, producer, group, input, to);
            let (outcome, _) = settle(&mut self.client, sent);
            refused = self.record(invoked, outcome, Op::TxnOffsets { txn, group, place: input, from, to });
            if refused.is_none() && !zombie {
                return None;
            }
        }
        let commit = zombie || self.rng.u8(..10) < 7;
        let invoked = self.run.recorder.now();
        let (outcome, _) = settle(&mut self.client, |client| client.end(id, producer, commit));
        self.record(invoked, outcome, Op::End { txn, commit })?;
        refused
    }

    fn send(&mut self, txn: Txn, place: Place) -> Option<()> {
        let (id, producer) = (self.id, self.producer);
        let sequence = self.sequences.entry(place).or_default();
        let values = self.run.numbers(self.rng.usize(1..4));
        let batch = Batch { producer, sequence: *sequence, values, padding: self.rng.usize(..1500) };
        *sequence += i32::try_from(batch.values.len()).unwrap();
        let invoked = self.run.recorder.now();
        let (outcome, base) = settle(&mut self.client, |client| client.send(Some(id), place, &batch));
        let op = Op::Send { txn: Some(txn), place, values: batch.values, base: base.unwrap_or(-1) };
        self.record(invoked, outcome, op)
    }
}

/// One fetch of committed data; the next position.
pub fn poll(run: &Run, client: &mut Client, process: u64, reader: u64, place: Place, position: i64) -> Option<i64> {
    let invoked = run.recorder.now();
    let fetched = client.fetch(place, position, MAX_BYTES, Duration::from_millis(20))?.ok()?;
    let op = Op::Poll { reader, place, position, found: fetched.found, next: fetched.next };
    run.recorder.end(process, invoked, Outcome::Ok, op);
    Some(fetched.next)
}

/// Reads all places from their beginning, again and again.
pub fn read(run: &Run, process: u64, mut rng: Rng) {
    let mut client = run.client();
    while run.goes_on() {
        let reader = run.number();
        let mut positions = [0; PLACES.len()];
        for _ in 0..rng.usize(10..100) {
            let at = rng.usize(..PLACES.len());
            if !run.goes_on() {
                return;
            }
            if let Some(next) = poll(run, &mut client, process, reader, PLACES[at], positions[at]) {
                positions[at] = next;
            }
        }
    }
}

/// Comes into the group, reads its share, commits, and goes: by leaving it, or in silence, and then it commits once more.
pub fn consume(run: &Run, process: u64, mut rng: Rng) {
    let mut client = run.client();
    let mut member = String::new();
    while run.goes_on() {
        let invoked = run.recorder.now();
        let Some(joined) = client.join(GROUP, &member) else { continue };
        member = joined.member_id.to_string();
        match joined.error_code {
            0 => {}
            // Member id required: it has one now.
            79 => continue,
            _ => {
                member.clear();
                continue;
            }
        }
        let generation = joined.generation_id;
        let op = Op::Join { group: GROUP, member: member.clone(), generation };
        run.recorder.end(process, invoked, Outcome::Ok, op);
        let members: Vec<String> = joined.members.iter().map(|member| member.member_id.to_string()).collect();
        let share = |at: usize| (0..3).filter(|place| usize::from(*place) % members.len() == at).collect();
        let shares = members.iter().enumerate().map(|(at, member)| (member.clone(), share(at))).collect();
        let Some(Ok(share)) = client.sync(GROUP, &member, generation, shares) else { continue };
        let mine: Vec<Place> = share.iter().map(|place| OUTPUTS[usize::from(*place)]).collect();
        if work(run, process, &mut rng, &mut client, &member, generation, &mine).is_none() {
            continue;
        }
        // It goes, one way or the other; the group is told nothing in the second.
        if rng.bool() {
            client.leave(GROUP, &member);
        }
        member.clear();
    }
}

/// Polls and commits until the group changes (then nothing), or until it has enough.
fn work(
    run: &Run,
    process: u64,
    rng: &mut Rng,
    client: &mut Client,
    member: &str,
    generation: i32,
    mine: &[Place],
) -> Option<()> {
    let mut positions = Vec::new();
    for place in mine {
        let invoked = run.recorder.now();
        let (outcome, offset) = settle(client, |client| client.committed(GROUP, *place));
        let op = Op::Committed { group: GROUP, place: *place, offset: offset? };
        run.recorder.end(process, invoked, outcome, op);
        positions.push((*place, offset?.max(0)));
    }
    let reader = run.number();
    for _ in 0..rng.usize(3..30) {
        if !run.goes_on() {
            return Some(());
        }
        for (place, position) in &mut positions {
            *position = poll(run, client, process, reader, *place, *position)?;
            if rng.bool() {
                commit(run, process, client, member, generation, *place, *position)?;
            }
        }
        if rng.u8(..40) == 0 {
            // Silent for longer than its session: the others have gone on by then, and its commits are too late.
            pause(rng, 550..650);
            for (place, position) in &positions {
                commit(run, process, client, member, generation, *place, *position);
            }
        }
        match client.heartbeat(GROUP, member, generation)? {
            Ok(()) => {}
            Err(_) => return None,
        }
    }
    Some(())
}

fn commit(
    run: &Run,
    process: u64,
    client: &mut Client,
    member: &str,
    generation: i32,
    place: Place,
    offset: i64,
) -> Option<()> {
    let invoked = run.recorder.now();
    let outcome = match client.commit(GROUP, member, generation, place, offset) {
        Some(Ok(())) => Outcome::Ok,
        Some(Err(code)) => Outcome::Refused(code),
        None => Outcome::Unknown,
    };
    let op = Op::Commit { group: GROUP, member: member.to_owned(), place, offset };
    run.recorder.end(process, invoked, outcome, op);
    (outcome == Outcome::Ok).then_some(())
}
