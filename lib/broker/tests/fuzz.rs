//! Bytes that nobody would write: good ones, changed at random, for all that the broker reads from clients and from its disk.
//! No panic, and no more memory than the bytes have a right to. `FUZZ_INPUTS` says how many of each kind (20,000 by default; of
//! data directories, each of which is written out, a tenth), `FUZZ_SEED` where the random numbers begin.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod requests;
mod running;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use hirewire_broker::{OLDEST_PRODUCE, SUPPORTED, fuzz};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::records::*;
use running::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use wire::Wire;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// One test at a time: the allocator counts for all threads.
static ALONE: Mutex<()> = Mutex::new(());

const MIB: usize = 1024 * 1024;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

/// Gives that share of the inputs to `read`, which may allocate so many bytes, and so many more for each byte that it is given.
fn feed(
    what: &str,
    share: u64,
    allowance: (usize, usize),
    mut make: impl FnMut(&mut Rng) -> Bytes,
    mut read: impl FnMut(&Bytes) -> bool,
) {
    let (inputs, seed) = (number("FUZZ_INPUTS", 20_000).div_ceil(share), number("FUZZ_SEED", 1));
    let (mut taken, mut most, started) = (0u64, 0, Instant::now());
    for at in 0..inputs {
        let input = make(&mut Rng::with_seed(seed.wrapping_add(at)));
        let (region, begun) = (Region::new(ALLOCATOR), Instant::now());
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&input)));
        let allocated = region.change().bytes_allocated;
        let shown = || input.iter().take(4096).map(|byte| format!("{byte:02x}")).collect::<String>();
        let (base, each) = allowance;
        let again = format!("{what}, again: FUZZ_INPUTS=1 FUZZ_SEED={}", seed.wrapping_add(at));
        let Ok(is_taken) = outcome else { panic!("{again}: a panic at {}", shown()) };
        assert!(allocated <= base + each * input.len(), "{again}: {allocated} bytes allocated for {}", shown());
        assert!(begun.elapsed() < Duration::from_secs(20), "{again}: took {:?}: {}", begun.elapsed(), shown());
        taken += u64::from(is_taken);
        most = most.max(allocated);
    }
    let rate = inputs as f64 / started.elapsed().as_secs_f64();
    eprintln!("{what}: {inputs} inputs, {taken} taken, {rate:.0} a second, at most {most} bytes allocated for one");
    // Changes that are refused at the first look test nothing behind it.
    assert!(inputs < 1000 || taken > inputs / 100, "{what}: only {taken} of {inputs} were taken");
}

/// Numbers that are likely to be taken for a length.
const EXTREMES: [i64; 10] = [0, 1, -1, -2, 127, 128, 0x7fff, 0x7fff_ffff, i64::MAX, i64::MIN];

/// One to eight small changes.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 << rng.u8(..4) {
        let at = rng.usize(..=bytes.len());
        let to = (at + rng.usize(..16)).min(bytes.len());
        match rng.u8(..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => {
                let extreme = EXTREMES[rng.usize(..EXTREMES.len())].to_be_bytes();
                let width = 1 << rng.u8(..4);
                for (byte, new) in bytes[at..].iter_mut().zip(&extreme[8 - width..]) {
                    *byte = *new;
                }
            }
            3 if rng.u8(..4) == 0 => bytes.truncate(at),
            4 => drop(bytes.splice(at..at, (at..to).map(|_| rng.u8(..)))),
            5 => drop(bytes.drain(at..to)),
            6 => drop(bytes.splice(at..at, bytes[at..to].to_vec())),
            _ => {
                let from = rng.usize(..=other.len());
                let piece = &other[from..(from + rng.usize(..64)).min(other.len())];
                drop(bytes.splice(at..to, piece.iter().copied()));
            }
        }
    }
}

#[test]
fn no_request_ends_the_broker_or_takes_more_memory_than_it_brings() {
    let _alone = ALONE.lock();
    let corpus: Vec<Vec<u8>> = SUPPORTED
        .iter()
        .flat_map(|entry| {
            let oldest = if entry.api == ApiKey::Produce { OLDEST_PRODUCE } else { entry.min };
            (oldest..=entry.max).map(|version| {
                Wire::encode(entry.api, version, 1, &requests::request(entry.api, version))[4..].to_vec()
            })
        })
        .collect();
    for frame in &corpus {
        assert!(fuzz::request(&Bytes::from(frame.clone())), "a good request is refused");
    }
    let make = |rng: &mut Rng| {
        let mut frame = rng.choice(&corpus).unwrap().clone();
        let (head, mut rest) = (frame[..4].to_vec(), frame.split_off(4));
        let other = rng.choice(&corpus).unwrap();
        mutate(rng, &mut rest, other);
        // Mostly of the same API, sometimes of any.
        let head = if rng.u8(..8) == 0 { rng.choice(&corpus).unwrap()[..4].to_vec() } else { head };
        Bytes::from([head, rest].concat())
    };
    feed("requests", 1, (64 * 1024, 1024), make, fuzz::request);
}

/// Records of some length with keys, in one batch of this codec.
fn batch_of(codec: i16) -> Vec<u8> {
    let records: Vec<Record> = (0..20i32)
        .map(|at| Record {
            transactional: at % 2 == 3,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: 5,
            producer_epoch: 0,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(at),
            sequence: at,
            timestamp: 1_000 + i64::from(at),
            key: (at % 3 > 0).then(|| Bytes::from(format!("key {at}"))),
            value: (at % 5 > 0).then(|| Bytes::from(format!("value {at}").repeat(usize::try_from(at).unwrap()))),
            headers: kafka_protocol::indexmap::IndexMap::new(),
        })
        .collect();
    let mut plain = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut plain, &records, &options).unwrap();
    let (head, records) = plain.split_at(61);
    let packed = match codec {
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, records).unwrap();
            encoder.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(records).unwrap(),
        3 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            std::io::Write::write_all(&mut encoder, records).unwrap();
            encoder.finish().unwrap()
        }
        4 => zstd::stream::encode_all(records, 1).unwrap(),
        _ => records.to_vec(),
    };
    let mut batch = [head, &packed].concat();
    batch[22] = u8::try_from(codec).unwrap();
    seal(&mut batch);
    batch
}

/// Length and checksum of a batch, as they have to be.
fn seal(batch: &mut [u8]) {
    if batch.len() < 61 {
        return;
    }
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn no_batch_ends_the_broker_or_unfolds_without_end() {
    let _alone = ALONE.lock();
    let corpus: Vec<Vec<u8>> = (0..5).map(batch_of).collect();
    for batch in &corpus {
        assert!(fuzz::batch(&Bytes::from(batch.clone())), "a good batch is refused");
    }
    let make = |rng: &mut Rng| {
        let mut batch = rng.choice(&corpus).unwrap().clone();
        let other = rng.choice(&corpus).unwrap();
        mutate(rng, &mut batch, other);
        if rng.u8(..8) > 0 {
            seal(&mut batch);
        }
        Bytes::from(batch)
    };
    // What a good codec makes of so few bytes, and the buffers that it takes before it looks at them.
    feed("batches", 1, (32 * MIB, 1024), make, fuzz::batch);
}

/// A data directory with a checkpoint and a journal behind it: path and bytes of every file.
fn directory() -> Vec<(PathBuf, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let work = |broker: &Running, topic: &str| {
        let bootstrap = broker.bootstrap();
        create_topic(&bootstrap, topic, 2, &[("retention.ms", "-1")]);
        let producer = transactional(&bootstrap, "p", 30_000);
        for round in 0..3 {
            rdkafka::producer::Producer::begin_transaction(&producer).unwrap();
            send(&producer, topic, round % 2, &"x".repeat(100));
            match round {
                0 => rdkafka::producer::Producer::commit_transaction(&producer, PATIENCE).unwrap(),
                1 => rdkafka::producer::Producer::abort_transaction(&producer, PATIENCE).unwrap(),
                _ => rdkafka::producer::Producer::flush(&producer, PATIENCE).unwrap(),
            }
        }
        let mut wire = Wire::connect(broker);
        for api in [ApiKey::Produce, ApiKey::OffsetCommit, ApiKey::CreateTopics, ApiKey::DeleteTopics] {
            wire.ask(api, 6, &requests::request(api, 6));
        }
    };
    let broker = Running::start(dir.path());
    work(&broker, "t");
    drop(broker);
    let broker = Running::start(dir.path());
    // No more checkpoints: what follows stays in the journal.
    std::fs::create_dir(dir.path().join("checkpoint.new")).unwrap();
    work(&broker, "u");
    drop(broker);
    std::fs::remove_dir(dir.path().join("checkpoint.new")).unwrap();
    let mut files = Vec::new();
    collect(dir.path(), dir.path(), &mut files);
    files.sort();
    files
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            files.push((path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap()));
        }
    }
}

fn write_out(dir: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    std::fs::create_dir_all(dir.join("topics")).unwrap();
    std::fs::create_dir_all(dir.join("journal")).unwrap();
    for (path, bytes) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// One frame of a journal changed, under a right length and checksum.
fn change_frame(rng: &mut Rng, journal: &mut Vec<u8>) {
    let mut frames = Vec::new();
    let mut at = 8;
    while let Some(size) = journal.get(at..at + 4) {
        let size = u32::from_be_bytes(size.try_into().unwrap()) as usize;
        frames.push((at, at + 8 + size));
        at += 8 + size;
    }
    let Some((from, to)) = rng.choice(frames) else { return };
    let mut payload = journal[from + 8..to].to_vec();
    let whole = journal.clone();
    mutate(rng, &mut payload, &whole);
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let crc = crc32c::crc32c(&payload).to_be_bytes();
    journal.splice(from..to, [&size[..], &crc[..], &payload[..]].concat());
}

/// A checkpoint changed, under a right checksum.
fn change_checkpoint(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let mut payload = bytes.split_off(20);
    mutate(rng, &mut payload, other);
    bytes[16..20].copy_from_slice(&crc32c::crc32c(&payload).to_be_bytes());
    bytes.append(&mut payload);
}

#[test]
fn no_journal_and_no_checkpoint_ends_its_reader_or_fills_its_memory() {
    let _alone = ALONE.lock();
    let files = directory();
    let kind = |name: &str| -> Vec<Vec<u8>> {
        files.iter().filter(|(path, _)| path.starts_with(name)).map(|(_, bytes)| bytes.clone()).collect()
    };
    let (journals, checkpoints) = (kind("journal"), kind("checkpoint"));
    let make = |rng: &mut Rng| {
        let mut journal = rng.choice(&journals).unwrap().clone();
        let whole = journal.clone();
        if rng.bool() {
            change_frame(rng, &mut journal)
        } else {
            mutate(rng, &mut journal, &whole)
        }
        // Behind the file's own first bytes.
        let frames = 8.min(journal.len());
        Bytes::from(journal).slice(frames..)
    };
    feed("journals", 1, (MIB, 64), make, fuzz::journal);
    let make = |rng: &mut Rng| {
        let mut checkpoint = rng.choice(&checkpoints).unwrap().clone();
        let whole = rng.choice(&journals).unwrap();
        change_checkpoint(rng, &mut checkpoint, whole);
        Bytes::from(checkpoint)
    };
    feed("checkpoints", 1, (MIB, 64), make, fuzz::checkpoint);
}

#[test]
fn no_damage_to_a_data_directory_ends_a_start_or_fills_its_memory() {
    let _alone = ALONE.lock();
    let template = directory();
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    write_out(dir.path(), &template);
    fuzz::recover(dir.path()).unwrap();
    let journals = template.iter().filter(|(path, _)| path.starts_with("journal")).count();
    assert!(journals > 0 && template.iter().any(|(path, _)| path.starts_with("checkpoint")), "nothing to recover");
    let make = |rng: &mut Rng| {
        let mut files = template.clone();
        let whole = template[rng.usize(..template.len())].1.clone();
        let (path, bytes) = &mut files[rng.usize(..template.len())];
        match rng.u8(..3) {
            1 if path.starts_with("journal") => change_frame(rng, bytes),
            1 | 2 if path.starts_with("checkpoint") => change_checkpoint(rng, bytes, &whole),
            _ => mutate(rng, bytes, &whole),
        }
        write_out(dir.path(), &files);
        // Only for the report of a failure: the file that was changed.
        Bytes::from(files.into_iter().zip(&template).find(|(new, old)| new != *old).map_or(vec![], |(new, _)| new.1))
    };
    feed("data directories", 10, (64 * MIB, 1024), make, |_| fuzz::recover(dir.path()).is_ok());
}
