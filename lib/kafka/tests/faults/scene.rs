//! A stage for one fault: an input, an output, members that copy one to the other behind the proxy, and the oracle.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hirewire_kafka::{
    Admin, Inbound, Isolation, NewTopic, Outbox, PartitionedMetrics, PartitionedOptions, Producer, ProducerOptions,
    Record, Settings, Step, Stop, read_table, run_partitioned,
};
use hirewire_service::{Health, Shutdown};

use crate::broker::{fresh, wait_for};

/// What a step was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Restore,
    Process(String),
    BeforeCommit,
    Committed,
    Aborted,
}

/// Where a step stops once, until the test lets it go on.
#[derive(Default)]
pub struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Default)]
struct GateState {
    after: Option<Event>,
    at: Option<Event>,
    reached: bool,
    open: bool,
}

impl Gate {
    pub fn at(event: Event) -> Arc<Self> {
        let gate = Self::default();
        gate.state.lock().unwrap().at = Some(event);
        Arc::new(gate)
    }

    /// At the first `event` that follows an `after`.
    pub fn after(after: Event, event: Event) -> Arc<Self> {
        let gate = Self::at(event);
        gate.state.lock().unwrap().after = Some(after);
        gate
    }

    fn pass(&self, event: &Event) {
        let mut state = self.state.lock().unwrap();
        if state.after.is_some() {
            if state.after.as_ref() == Some(event) {
                state.after = None;
            }
        } else if state.at.as_ref() == Some(event) {
            state.at = None;
            state.reached = true;
            drop(self.opened.wait_while(state, |state| !state.open).unwrap());
        }
    }

    pub async fn reached(&self) {
        wait_for("the gate to be reached", || self.state.lock().unwrap().reached).await;
    }

    pub fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.opened.notify_all();
    }
}

/// Copies each value, with a label in front.
struct Copy {
    output: Arc<str>,
    label: String,
    pace: Duration,
    gates: Vec<Arc<Gate>>,
    asks_again: Arc<AtomicBool>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Copy {
    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event.clone());
        self.gates.iter().for_each(|gate| gate.pass(&event));
    }
}

impl Step for Copy {
    fn restore(&mut self, _: &Settings) -> Result<(), Stop> {
        self.note(Event::Restore);
        Ok(())
    }

    fn process(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop> {
        let value = text(input);
        self.note(Event::Process(value.clone()));
        std::thread::sleep(self.pace);
        out.send(record(&self.output, &format!("{}{value}", self.label)));
        Ok(())
    }

    fn before_commit(&mut self, _: &mut Outbox) -> Result<(), Stop> {
        self.note(Event::BeforeCommit);
        if self.asks_again.swap(false, Ordering::AcqRel) {
            return Err(Stop::retryable(Stop::WORK_AGAIN, "asked for once"));
        }
        Ok(())
    }

    fn committed(&mut self) -> Result<(), Stop> {
        self.note(Event::Committed);
        Ok(())
    }

    fn aborted(&mut self) -> Result<(), Stop> {
        self.note(Event::Aborted);
        Ok(())
    }
}

pub fn text(inbound: &Inbound) -> String {
    String::from_utf8(inbound.value.as_deref().unwrap_or_default().to_vec()).unwrap()
}

pub fn record(topic: &str, value: &str) -> Record {
    Record {
        topic: Arc::from(topic),
        partition: Some(0),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..Record::default()
    }
}

/// Topics and names of one fault. All of its members write under the same transactional id.
#[derive(Clone)]
pub struct Scene {
    /// Past the proxy.
    direct: Settings,
    /// Through the proxy.
    proxied: Settings,
    pub name: String,
    pub input: String,
    pub output: String,
}

/// How a member works.
pub struct Role {
    /// The client id, which the proxy's rules go by.
    pub client: String,
    pub group: String,
    pub inputs: Vec<String>,
    /// The index of the input that is the anchor.
    pub anchor: usize,
    pub label: String,
    pub gates: Vec<Arc<Gate>>,
    /// Time per record.
    pub pace: Duration,
    pub drain_deadline: Duration,
    /// The step asks once for the same inputs again.
    pub asks_again: bool,
    /// As a service does: begin anew after a stop that a restart may mend.
    pub restarts: bool,
}

pub struct Member {
    pub events: Arc<Mutex<Vec<Event>>>,
    pub stops: Arc<Mutex<Vec<(String, bool)>>>,
    shutdown: Shutdown,
    metrics: prometheus::Registry,
    thread: std::thread::JoinHandle<()>,
}

pub const TRANSACTION_RECORDS: usize = 10;

impl Scene {
    pub async fn new(direct: &Settings, proxy: &str) -> Self {
        let name = fresh("fault");
        let (input, output) = (format!("{name}-in"), format!("{name}-out"));
        let topics: Vec<NewTopic> = [&input, &output]
            .map(|topic| NewTopic { name: topic.clone(), partitions: 1, replication: 1, config: BTreeMap::new() })
            .into();
        Admin::new(direct).unwrap().create_topics(&topics).await.unwrap();
        Self { direct: direct.clone(), proxied: short(&Settings::local(proxy)), name, input, output }
    }

    /// Transactions and calls that time out within the test.
    pub fn impatient(mut self) -> Self {
        self.proxied = self.proxied.with_transaction_timeout(Duration::from_secs(3));
        self
    }

    /// Members that ask for nothing more are given up within the test.
    pub fn hurried(mut self) -> Self {
        self.proxied = self.proxied.with_poll_interval(session() + Duration::from_secs(1));
        self
    }

    /// No transaction is open for too long, on the slowest machine.
    pub fn patient(mut self) -> Self {
        self.proxied = self.proxied.with_transaction_timeout(Duration::from_secs(90));
        self
    }

    /// In another process: the topics are there.
    pub fn existing(proxy: &str, name: &str) -> Self {
        let (input, output) = (format!("{name}-in"), format!("{name}-out"));
        let proxied = short(&Settings::local(proxy));
        Self { direct: proxied.clone(), proxied, name: name.to_owned(), input, output }
    }

    pub fn role(&self, client: &str) -> Role {
        Role {
            client: format!("{client}-{}", self.name),
            group: self.name.clone(),
            inputs: vec![self.input.clone()],
            anchor: 0,
            label: String::new(),
            gates: Vec::new(),
            pace: Duration::ZERO,
            drain_deadline: Duration::from_secs(5),
            asks_again: false,
            restarts: true,
        }
    }

    pub async fn feed(&self, numbers: std::ops::Range<usize>) {
        let options = ProducerOptions { delivery_timeout: Duration::from_secs(20), ..Default::default() };
        let producer = Producer::new(&self.direct, &options).unwrap();
        let sent: Vec<_> = numbers
            .map(|number| {
                let (producer, record) = (producer.clone(), record(&self.input, &number.to_string()));
                async move { producer.send(record).await.unwrap() }
            })
            .collect();
        // One after another, for their order; they are few.
        for send in sent {
            send.await;
        }
    }

    pub fn settings(&self, role: &Role) -> Settings {
        self.proxied.with_client_id(&role.client)
    }

    pub fn options(&self, role: &Role) -> PartitionedOptions {
        PartitionedOptions {
            group: role.group.clone(),
            inputs: role.inputs.clone(),
            anchor: role.inputs[role.anchor].clone(),
            transactional_prefix: self.name.clone(),
            commit_interval: Duration::from_millis(50),
            commit_max_records: TRANSACTION_RECORDS,
            drain_deadline: role.drain_deadline,
        }
    }

    pub fn member(&self, role: Role) -> Member {
        let (settings, options) = (self.settings(&role), self.options(&role));
        let (events, stops) = (Arc::<Mutex<Vec<Event>>>::default(), Arc::<Mutex<Vec<(String, bool)>>>::default());
        let (shutdown, asks_again) = (Shutdown::new(), Arc::new(AtomicBool::new(role.asks_again)));
        let metrics = prometheus::Registry::new();
        let counts = PartitionedMetrics::register("test", &metrics).unwrap();
        let (noted, stopped, ends, output) =
            (Arc::clone(&events), Arc::clone(&stops), shutdown.clone(), self.output.clone());
        let thread = std::thread::spawn(move || {
            while !ends.is_requested() {
                let (output, label, gates, noted) =
                    (Arc::from(output.as_str()), role.label.clone(), role.gates.clone(), Arc::clone(&noted));
                let (pace, asks_again) = (role.pace, Arc::clone(&asks_again));
                let make = move |_| {
                    let (output, label) = (Arc::clone(&output), label.clone());
                    let (gates, events, asks_again) = (gates.clone(), Arc::clone(&noted), Arc::clone(&asks_again));
                    Ok(Box::new(Copy { output, label, pace, gates, asks_again, events }) as Box<dyn Step>)
                };
                let component = Health::new().component("copy");
                let ended = run_partitioned(&settings, options.clone(), counts.clone(), component, &ends, make);
                let Err(stop) = ended else { return };
                let goes_on = stop.retryable && role.restarts;
                stopped.lock().unwrap().push((stop.code.to_owned(), stop.retryable));
                if !goes_on {
                    return;
                }
            }
        });
        Member { events, stops, shutdown, metrics, thread }
    }

    /// What a reader of committed records sees. Waits for open transactions.
    pub async fn visible(&self) -> Vec<String> {
        self.read(Isolation::Committed).await
    }

    /// Also what is open or aborted.
    pub async fn written(&self) -> Vec<String> {
        self.read(Isolation::Uncommitted).await
    }

    async fn read(&self, isolation: Isolation) -> Vec<String> {
        let (settings, output) = (self.direct.clone(), self.output.clone());
        let read = move || {
            let mut values = Vec::new();
            read_table(&settings, &output, 0, 0, isolation, &mut |inbound| {
                values.push(text(&inbound));
                Ok(())
            })
            .map(|_| values)
        };
        tokio::task::spawn_blocking(read).await.unwrap().unwrap()
    }

    pub async fn write(&self, value: &str) {
        self.send(vec![record(&self.output, value)]).await;
    }

    pub async fn send(&self, records: Vec<Record>) {
        let producer = Producer::new(&self.direct, &ProducerOptions::default()).unwrap();
        for record in records {
            producer.send(record).await.unwrap();
        }
    }

    /// One more topic.
    pub async fn another_input(&self) -> String {
        let name = format!("{}-more", self.name);
        let topic = NewTopic { name: name.clone(), partitions: 1, replication: 1, config: BTreeMap::new() };
        Admin::new(&self.direct).unwrap().create_topics(&[topic]).await.unwrap();
        name
    }

    /// The oracle: all of the input is there, once and in order, also after all members have ended.
    pub async fn all_once(&self, members: Vec<Member>, count: usize) {
        self.until_last(&(count - 1).to_string()).await;
        for member in members {
            member.end().await;
        }
        let expected: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        assert_eq!(self.visible().await, expected, "{}", self.name);
    }

    /// Waits until a committed record with this value is there.
    pub async fn until_last(&self, value: &str) {
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while self.visible().await.last().is_none_or(|last| last != value) {
            assert!(std::time::Instant::now() < until, "waited 60 s for {value} in {}", self.output);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Member {
    pub async fn end(self) -> Vec<(String, bool)> {
        self.shutdown.request();
        self.ended().await
    }

    /// Waits for an end of its own; tells all stops.
    pub async fn ended(self) -> Vec<(String, bool)> {
        wait_for("the member to end", || self.thread.is_finished()).await;
        self.thread.join().unwrap();
        let stops = self.stops.lock().unwrap();
        stops.clone()
    }

    pub fn happened(&self, event: &Event) -> bool {
        self.events.lock().unwrap().contains(event)
    }

    pub fn processed(&self) -> VecDeque<String> {
        let events = self.events.lock().unwrap();
        events
            .iter()
            .filter_map(|event| if let Event::Process(value) = event { Some(value.clone()) } else { None })
            .collect()
    }

    /// A counter's value, summed over its labels.
    pub fn count(&self, name: &str) -> u64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|family| family.name() == format!("hirewire_test_{name}"));
        let sum: f64 = family
            .map_or(0.0, |family| family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum());
        sum as u64
    }
}

/// Sessions that a test can wait for. A broker of one's own takes shorter ones than Kafka's default allows.
fn short(settings: &Settings) -> Settings {
    settings.with_session_timeout(session())
}

fn session() -> Duration {
    let outside = std::env::var("HIREWIRE_TEST_BROKERS").is_ok();
    Duration::from_secs(if outside { 6 } else { 1 })
}
