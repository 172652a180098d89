//! Every service works with the access rules of `hirewire topics acls`, on an Apache Kafka that forbids everything else.
//!
//! For the Kafka that `HIREWIRE_TEST_BROKERS` names and that `e2e/kafka/kafka.sh` keeps in `HIREWIRE_TEST_KAFKA_DIR`: who comes
//! by its plain listener is the super user, on the secured one each service has a name and a password of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hirewire_e2e::deployment::{Deployment, Moved, Target};
use hirewire_e2e::http::{Receiver, get};
use hirewire_e2e::{Running, free, hirewire};

const SERVICES: [(&str, &[&str]); 4] = [
    ("webhook", &["ingest", "--role", "webhook"]),
    ("poll", &["ingest", "--role", "poll"]),
    ("normalize", &["normalize"]),
    ("route", &["route"]),
];
const PASSWORD: &str = "of-a-test";
/// The simulator's, made from its seed.
const CLIENT_SECRET: &str = "05494214078e41753d7c47338161b075892af39701de0168255ffd20b93d631c";

/// What `kafka.sh tool` prints; it must succeed.
fn tool(class: &str, arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/kafka.sh");
    let output = Command::new(script).args(["tool", class]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Gives the rules to the brokers: those of one principal, operation and kind go together, for each call starts a Java.
fn allow(plain: SocketAddr, rules: &str) {
    let mut together: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for rule in rules.lines() {
        // The last two words are the kind of the resource and its name.
        let (before, name) = rule.rsplit_once(' ').unwrap();
        together.entry(before.rsplit_once(' ').unwrap()).or_default().push(name);
    }
    let plain = plain.to_string();
    for ((head, kind), names) in together {
        let mut arguments = vec!["--bootstrap-server", plain.as_str()];
        arguments.extend(head.split(' '));
        arguments.extend(names.into_iter().flat_map(|name| [kind, name]));
        tool("AclCommand", &arguments);
    }
}

/// The same configuration for each principal.
struct Principals {
    folder: tempfile::TempDir,
    /// The deployment's, of all of them.
    log: PathBuf,
}

impl Principals {
    fn lay(deployment: &Deployment, secured: &str, ca: &Path, user: impl Fn(&str) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = std::fs::read_to_string(deployment.folder.path().join("hirewire.yaml")).unwrap();
        let bootstrap = format!("bootstrap_servers: \"{}\"", deployment.broker);
        assert!(plain.contains(&bootstrap));
        for (service, _) in SERVICES {
            let own = folder.path().join(service);
            std::fs::create_dir(&own).unwrap();
            std::fs::copy(deployment.folder.path().join("secret"), own.join("secret")).unwrap();
            let kafka = format!(
                "bootstrap_servers: \"{secured}\", tls: {{ca_file: \"{}\"}}, sasl: {{mechanism: SCRAM-SHA-512, username: {}, password: {{env: PASSWORD}}}}",
                ca.display(),
                user(service)
            );
            std::fs::write(own.join("hirewire.yaml"), plain.replace(&bootstrap, &kafka)).unwrap();
        }
        Self { folder, log: deployment.folder.path().join("log") }
    }

    fn command(&self, service: &str, arguments: &[&str]) -> Command {
        let mut command = hirewire(arguments).unwrap();
        command.args(["--config", "hirewire.yaml"]).current_dir(self.folder.path().join(service));
        command.envs([("PASSWORD", PASSWORD), ("CLIENT_ID", "sim-1"), ("CLIENT_SECRET", CLIENT_SECRET)]);
        command
    }

    fn start(&self, service: &str, arguments: &[&str]) -> (Running, SocketAddr) {
        let admin = free();
        let log = std::fs::File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command(service, arguments);
        command.args(["--admin", &admin.to_string()]).stdout(Stdio::null()).stderr(log);
        (Running(command.spawn().unwrap()), admin)
    }
}

#[test]
#[ignore = "needs an Apache Kafka with an authorizer: ci/test"]
fn each_service_works_with_its_own_rules_and_no_more() {
    let kafka_folder = PathBuf::from(std::env::var_os("HIREWIRE_TEST_KAFKA_DIR").expect("the folder of a Kafka"));
    let folder = tempfile::tempdir().unwrap();
    let target = Target::start(folder.path());
    let secured = SocketAddr::new(target.broker.ip(), target.broker.port() + 2).to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let (vendor, receiver) = (free(), Receiver::start());
    let sections = format!(
        "sinks:\n  exams: {{system: assessment, http: {{url: \"http://{}/\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}\n\
         routes: {{exams: {{sink: exams, from: beginning}}}}\n",
        receiver.address
    );
    let deployment = Deployment::on(target.broker, target.registry, &format!("acls-{now}."), &sections);
    let polled = format!(
        "webhook: {{secrets: [{{file: secret}}]}}, poll: {{client_id: {{env: CLIENT_ID}}, client_secret: {{env: CLIENT_SECRET}}, \
         base_url: \"http://{vendor}/v3\", token_url: \"http://{vendor}/token\", interval: 1s, lag: 1s, overlap: 1s}}"
    );
    deployment.rewrite("webhook: {secrets: [{file: secret}]}", &polled);
    let made = deployment.run(&["topics", "apply", "--config", "hirewire.yaml"]);
    assert_eq!(made.0, 0, "{}", made.2);

    let user = |service: &str| format!("acls-{now}-{service}");
    let principal = format!("User:{}", user("{service}"));
    let (_, rules, _) = deployment.run(&["topics", "acls", "--config", "hirewire.yaml", "--principal", &principal]);
    allow(target.broker, &rules);
    let plain = target.broker.to_string();
    for (service, _) in SERVICES {
        let password = format!("SCRAM-SHA-512=[password={PASSWORD}]");
        let of_user = ["--alter", "--add-config", &password, "--entity-type", "users", "--entity-name", &user(service)];
        tool("kafka.admin.ConfigCommand", &[&["--bootstrap-server", &plain], &of_user[..]].concat());
    }

    let simulator = ["sim", "greenhouse", "--seed=1", "--applications=20", "--data=sim"];
    let hooks = format!("--webhook-url=http://{}/v1/webhooks/acme", free());
    let mut vendors = hirewire(&simulator).unwrap();
    vendors.args([&format!("--listen={vendor}"), &hooks]).current_dir(folder.path()).stdout(Stdio::null());
    let _vendor = Running(vendors.stderr(Stdio::null()).spawn().unwrap());
    let principals = Principals::lay(&deployment, &secured, &kafka_folder.join("tls/ca.crt"), user);
    let running = SERVICES.map(|(service, arguments)| principals.start(service, arguments));
    for (_, admin) in &running {
        deployment.until("ready", || get(*admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")));
    }

    let send = |application| {
        deployment.send(&Moved {
            application,
            stage_id: 5,
            stage: "Assessment",
            at: "2026-02-09T10:00:00Z",
            traceparent: None,
        });
    };
    send(1);
    deployment.until("a webhook at the sink", || !receiver.requests().is_empty());
    deployment.until("a polled record in the ledger", || deployment.ledger().len() > 1);
    // A dead letter of each.
    receiver.answer(400);
    send(2);
    let letters = format!("acls-{now}.ats.dlq.route.exams.v1");
    deployment.until("a dead letter of route", || !deployment.tail(&letters).is_empty());

    let denied = principals.command("webhook", &["tail", "candidate"]).output().unwrap();
    assert!(!denied.status.success(), "who takes webhooks reads no candidates");
    let log = deployment.log();
    assert!(!log.to_lowercase().contains("authoriz"), "somebody asked for more than it may:\n{log}");
}
