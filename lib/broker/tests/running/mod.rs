//! What the broker's tests share: a broker on a thread of its own, or in a child process that can be killed.
#![allow(dead_code, unreachable_pub)]

pub mod disk;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hirewire_broker::{Broker, Settings};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::producer::{DefaultProducerContext, FutureProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::oneshot;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A broker that runs until it is dropped.
pub struct Running {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub fn settings(dir: &Path) -> Settings {
    let mut settings = Settings::new(dir);
    settings.housekeeping_interval = Duration::from_millis(200);
    settings
}

impl Running {
    pub fn start(dir: &Path) -> Self {
        Self::with(settings(dir), 0)
    }

    pub fn with(settings: Settings, port: u16) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (opened, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                let broker = tokio::task::spawn_blocking(|| Broker::open(settings).unwrap()).await.unwrap();
                opened.send(listener.local_addr().unwrap()).unwrap();
                let stopped = async {
                    stopped.await.ok();
                };
                // A test may have taken the directory away: then it says so, and has ended.
                broker.run(listener, stopped).await.ok();
            });
        });
        Self { address: address.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Whether a broker answers: one that is still opening has its port already, but says nothing.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<usize> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        // ApiVersions, version 0, without a client id.
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
        stream.read(&mut [0; 4])
    };
    ask().is_ok_and(|bytes| bytes > 0)
}

/// The test binary itself, as a broker process. The test that uses it has a companion test `broker_process`.
pub struct Process {
    child: Child,
    dir: PathBuf,
    pub address: SocketAddr,
}

const CHILD_DIR: &str = "BROKER_TEST_DIR";
const CHILD_PORT: &str = "BROKER_TEST_PORT";

/// Body of the companion test: serves for ever if this process was started as a broker, else returns.
pub fn serve_if_child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let port: u16 = std::env::var(CHILD_PORT).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let mut settings = settings(Path::new(&dir));
        settings.checkpoint_bytes = 256 * 1024;
        let broker = tokio::task::spawn_blocking(|| Broker::open(settings).unwrap()).await.unwrap();
        broker.run(listener, std::future::pending()).await.unwrap();
    });
}

impl Process {
    pub fn start(dir: &Path) -> Self {
        // Of ports that the system gives to no one by itself: a connection would take it while the broker is away.
        let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = std::iter::repeat_with(|| fastrand::u16(10_000..30_000)).find(is_free).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut process = Self { child: spawn(dir, port), dir: dir.to_owned(), address };
        process.wait_until_open();
        process
    }

    fn wait_until_open(&mut self) {
        wait_for("the broker process to open", || {
            assert!(self.child.try_wait().unwrap().is_none(), "the broker process has ended");
            answers(self.address)
        });
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child = spawn(&self.dir, self.address.port());
        self.wait_until_open();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(dir: &Path, port: u16) -> Child {
    // A file that may not grow is an error to the broker, not the end of it.
    Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "broker_process", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_PORT, port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("broker.address.family", "v4");
    config
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    config(bootstrap).create().unwrap()
}

pub fn create_topic(bootstrap: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    try_create_topic(bootstrap, name, partitions, settings).unwrap();
}

pub fn try_create_topic(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), RDKafkaErrorCode> {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let mut results = runtime().block_on(admin(bootstrap).create_topics([&topic], &AdminOptions::new())).unwrap();
    results.remove(0).map(|_| ()).map_err(|(_, code)| code)
}

pub type Plain = ThreadedProducer<DefaultProducerContext>;

pub fn idempotent(bootstrap: &str) -> FutureProducer {
    config(bootstrap).set("enable.idempotence", "true").set("linger.ms", "0").create().unwrap()
}

pub fn transactional(bootstrap: &str, id: &str, timeout_ms: u32) -> Plain {
    let producer: Plain = config(bootstrap)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", timeout_ms.to_string())
        .set("linger.ms", "0")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

pub fn send(producer: &Plain, topic: &str, partition: i32, value: &str) {
    let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(partition).payload(value);
    producer.send(record).unwrap();
}

/// Everything in a partition that a reader of committed (or of all) data sees up to the end.
pub fn read_all(bootstrap: &str, topic: &str, partition: i32, committed: bool) -> Vec<OwnedMessage> {
    let isolation = if committed { "read_committed" } else { "read_uncommitted" };
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut messages = Vec::new();
    loop {
        match consumer.poll(PATIENCE).expect("a message or the end") {
            Ok(message) => messages.push(message.detach()),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => return messages,
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn values(messages: &[OwnedMessage]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8(message.payload().unwrap().to_vec()).unwrap()).collect()
}

pub fn newest_journal(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir.join("journal")).unwrap();
    entries.map(|entry| entry.unwrap().path()).max().unwrap()
}

/// What a write that was under way leaves behind: frames of which nobody was told, one of five kinds.
pub fn tear(dir: &Path, kind: u64) {
    let journal = newest_journal(dir);
    let mut bytes = std::fs::read(&journal).unwrap();
    match kind % 5 {
        0 => bytes.extend_from_slice(&[0; 4096]),
        1 => bytes.extend_from_slice(&[0xab; 5]),
        // A frame that was begun and has half its bytes; one that has all its bytes, but not the right ones.
        2 => bytes.extend_from_slice(&[0, 0, 1, 0, 1, 2, 3, 4, 9, 9, 9]),
        3 => bytes.extend_from_slice(&[0, 0, 0, 3, 1, 2, 3, 4, 9, 9, 9]),
        // A good frame, cut short: the first one of the file again, without its last byte.
        _ => {
            let frame = bytes.get(8..).filter(|frames| frames.len() > 8).map(|frames| {
                let size = u32::from_be_bytes(frames[..4].try_into().unwrap());
                frames[..8 + size as usize - 1].to_vec()
            });
            bytes.extend(frame.unwrap_or_default());
        }
    }
    std::fs::write(&journal, bytes).unwrap();
}

/// What group `g` has committed for partition 0 of topic `in`; 0 if nothing.
pub fn committed_offset(bootstrap: &str) -> i64 {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", "g").create().unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition("in", 0);
    match consumer.committed_offsets(place, PATIENCE).unwrap().elements()[0].offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    }
}
