//! What operators do to a system under load, and what happens to it: rolling restarts, scaling, another version, brokers that die.
//! Nothing is lost, doubled or out of order, and the longest pause of an application's events is printed.
//!
//! For the night (`ci/nightly`), on the Kafka that `HIREWIRE_TEST_BROKERS` names, else on an embedded broker of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod cluster;
mod replica;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster::{Cluster, NODES};
use hirewire_e2e::deployment::{Deployment, Target};
use hirewire_e2e::http::Receiver;
use hirewire_e2e::load::{self, Sent, deliveries};
use hirewire_e2e::{binary, free};
use replica::{NORMALIZE, ROUTE, Replica, Service, WEBHOOK, balance};

/// The system on one Kafka. Each replica of a service has a folder of its own, with other ports and caches; those of different services
/// share it.
struct World {
    deployments: Vec<Deployment>,
    receiver: Receiver,
    _target: Target,
    _folder: tempfile::TempDir,
}

impl World {
    /// On the Kafka of the environment.
    fn lay(folders: usize, partitions: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::start(folder.path());
        let kafka = format!("bootstrap_servers: \"{}\", partitions: {partitions}", target.broker);
        Self::on(&kafka, target, folder, folders)
    }

    fn on(kafka: &str, target: Target, folder: tempfile::TempDir, folders: usize) -> Self {
        let receiver = Receiver::start();
        let sections = format!(
            "sinks: {{exams: {{system: assessment, http: {{url: \"http://{}/\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}}}\n\
             routes: {{exams: {{sink: exams, from: beginning}}}}\n",
            receiver.address
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let kafka = format!("{kafka}, topic_prefix: \"load-{now}-\"");
        let lay = |_| Deployment::with(&kafka, target.broker, target.registry, &sections);
        let mut deployments: Vec<Deployment> = (0..folders).map(lay).collect();
        let (code, _, error) = deployments[0].run(&["topics", "apply", "--config", "hirewire.yaml"]);
        assert_eq!(code, 0, "{error}");
        deployments[0].webhooks = balance([deployments[0].webhooks, deployments[1].webhooks]);
        Self { deployments, receiver, _target: target, _folder: folder }
    }

    fn folder(&self, number: usize) -> &Path {
        self.deployments[number].folder.path()
    }

    /// Two replicas of each service, ready.
    fn pairs(&self, binary: &Path) -> Vec<Replica<'_>> {
        [WEBHOOK, NORMALIZE, ROUTE].into_iter().flat_map(|service| self.pair(binary, service)).collect()
    }

    /// Two replicas of a service, ready.
    fn pair(&self, binary: &Path, service: Service) -> [Replica<'_>; 2] {
        let pair = [0, 1].map(|number| Replica::of(binary, service, self.folder(number)));
        pair.iter().for_each(Replica::wait_until_ready);
        pair
    }

    /// Webhooks are sent while `work` is done; gives them when everything was delivered.
    fn under_load(&self, work: impl FnOnce()) -> Sent {
        let mut sent = Sent::default();
        sent.during(&self.deployments[0], work);
        self.deployments[0].until("every delivery", || deliveries(&self.receiver).len() >= sent.count());
        sent
    }

    fn judge(&self, sent: &Sent) -> String {
        sent.judge(&self.deployments[0], &self.receiver)
    }
}

#[test]
#[ignore = "minutes: for ci/nightly"]
fn rolling_restarts_lose_double_and_reorder_nothing() {
    const ROUNDS: usize = 2;
    let world = World::lay(2, 2);
    let binary = binary().unwrap();
    let mut replicas = world.pairs(&binary);
    let sent = world.under_load(|| {
        for _ in 0..ROUNDS {
            replicas.iter_mut().for_each(|replica| replica.replace(&binary));
        }
    });
    let restarts = replicas.len() * ROUNDS;
    replicas.iter_mut().for_each(Replica::stop);
    println!("{restarts} rolling restarts, {}", world.judge(&sent));
    assert_eq!(sent.refused, 0, "webhooks were refused");
}

#[test]
#[ignore = "minutes: for ci/nightly"]
fn scaling_from_one_to_six_and_back_loses_doubles_and_reorders_nothing() {
    const MOST: usize = 6;
    let world = World::lay(MOST, 12);
    let mut webhooks = world.pair(&binary().unwrap(), WEBHOOK);
    let start = |number| [NORMALIZE, ROUTE].map(|service| Replica::start(service, world.folder(number)));
    let mut first = start(0);
    first.iter().for_each(Replica::wait_until_ready);
    let sent = world.under_load(|| {
        let mut others: Vec<Replica<'_>> = (1..MOST).flat_map(start).collect();
        others.iter().for_each(Replica::wait_until_ready);
        std::thread::sleep(Duration::from_secs(10));
        others.iter_mut().for_each(Replica::stop);
        std::thread::sleep(Duration::from_secs(5));
    });
    first.iter_mut().chain(&mut webhooks).for_each(Replica::stop);
    println!("normalize and route each 1 to {MOST} to 1, {}", world.judge(&sent));
    assert_eq!(sent.refused, 0, "webhooks were refused");
}

/// `HIREWIRE_PREVIOUS` names the binary of the release before this one.
#[test]
#[ignore = "needs the previous release: for ci/nightly"]
fn the_previous_version_works_beside_this_one_forward_and_back() {
    let previous =
        PathBuf::from(std::env::var("HIREWIRE_PREVIOUS").expect("the path of the previous release's binary"));
    let world = World::lay(2, 2);
    let mut replicas = world.pairs(&previous);
    let sent = world.under_load(|| {
        for binary in [binary().unwrap(), previous] {
            replicas.iter_mut().for_each(|replica| replica.replace(&binary));
        }
    });
    replicas.iter_mut().for_each(Replica::stop);
    println!("an upgrade and the way back, {}", world.judge(&sent));
    assert_eq!(sent.refused, 0, "webhooks were refused");
}

#[test]
#[ignore = "minutes, and a Kafka of three nodes: for ci/nightly"]
fn brokers_that_die_one_after_the_other_lose_double_and_reorder_nothing() {
    const KILLS: usize = 12;
    // A broker that is killed is missed after its session of 9 s, and is back a second or two later: with 10 s between kills there is
    // next to no moment in which all are there. Longer pauses show what a single death costs.
    let every = Duration::from_secs(std::env::var("HIREWIRE_KILL_EVERY").map_or(10, |secs| secs.parse().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&folder.path().join("kafka"), free_for_three());
    let target = Target::on(cluster.bootstrap.split(',').next().unwrap().parse().unwrap(), folder.path());
    let kafka = format!("bootstrap_servers: \"{}\", partitions: 2, replication: {NODES}", cluster.bootstrap);
    let world = World::on(&kafka, target, folder, 2);
    let binary = binary().unwrap();
    let mut replicas = world.pairs(&binary);
    let started = Instant::now();
    let mut kills = Vec::new();
    let sent = world.under_load(|| {
        for kill in 0..KILLS {
            kills.push(Instant::now());
            let next = Instant::now() + every;
            cluster.kill(kill % NODES);
            std::thread::sleep(BACK_AFTER);
            cluster.again(kill % NODES);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    let took = started.elapsed();
    replicas.iter_mut().for_each(Replica::stop);
    println!("{KILLS} kills of one of {NODES} brokers in {took:.0?}, {}", world.judge(&sent));
    println!("longest time without any delivery after each kill: {:.1?}", load::silences(&world.receiver, &kills));
}

/// How long a broker stays dead before it is started again.
const BACK_AFTER: Duration = Duration::from_millis(2_500);

/// The first of the ports that three nodes take.
fn free_for_three() -> u16 {
    loop {
        let first = free();
        let last = first.port() + 10 * u16::try_from(NODES).unwrap();
        if (first.port()..last).all(|port| std::net::TcpListener::bind(SocketAddr::new(first.ip(), port)).is_ok()) {
            return first.port();
        }
    }
}
