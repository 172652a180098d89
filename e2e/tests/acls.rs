//! Every service, and whoever operates them, works with the access rules of `hirewire topics acls`, on an Apache Kafka that forbids
//! everything else.
//!
//! For the Kafka that `HIREWIRE_TEST_BROKERS` names and that `e2e/kafka/kafka.sh` keeps in `HIREWIRE_TEST_KAFKA_DIR`: who comes
//! by its plain listener is the super user, on the secured one each service has a name and a password of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hirewire_e2e::deployment::{Deployment, Moved, Target};
use hirewire_e2e::http::{Receiver, get};
use hirewire_e2e::{Running, free, hirewire};
use serde_json::Value;

const SERVICES: [(&str, &[&str]); 4] = [
    ("webhook", &["ingest", "--role", "webhook"]),
    ("poll", &["ingest", "--role", "poll"]),
    ("normalize", &["normalize"]),
    ("route", &["route"]),
];
/// Whoever runs the commands of the runbooks.
const OPERATOR: &str = "operator";
const PASSWORD: &str = "of-a-test";
/// The simulator's, made from its seed.
const CLIENT_SECRET: &str = "05494214078e41753d7c47338161b075892af39701de0168255ffd20b93d631c";

/// Gives these commands, one line each, to the brokers by Kafka's own tools.
fn tools(commands: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/kafka.sh");
    let mut tools = Command::new(script).arg("tools").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    tools.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = tools.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn everybody() -> impl Iterator<Item = &'static str> {
    SERVICES.into_iter().map(|(service, _)| service).chain([OPERATOR])
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
        for service in everybody() {
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

    /// What a command prints as this principal; it must end with this code.
    fn told(&self, service: &str, code: i32, arguments: &[&str]) -> String {
        let output = self.command(service, arguments).output().unwrap();
        let (told, error) = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).into();
        assert_eq!(output.status.code(), Some(code), "{service} {arguments:?}: {told}{error}");
        told
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
    let brokers = format!("--bootstrap-server {}", target.broker);
    let mut commands = String::new();
    for rule in rules.lines() {
        writeln!(commands, "org.apache.kafka.tools.AclCommand {brokers} {rule}").unwrap();
    }
    for service in everybody() {
        let change = format!("--alter --add-config SCRAM-SHA-512=[password={PASSWORD}] --entity-type users");
        writeln!(commands, "kafka.admin.ConfigCommand {brokers} {change} --entity-name {}", user(service)).unwrap();
    }
    tools(&commands);

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

    operates(&principals, &receiver, &deployment);
    let denied = principals.command("webhook", &["tail", "candidate"]).output().unwrap();
    assert!(!denied.status.success(), "who takes webhooks reads no candidates");
    let log = deployment.log();
    assert!(!log.to_lowercase().contains("authoriz"), "somebody asked for more than it may:\n{log}");
}

/// What the doctor says: area, and `state subject: what -> remedy`.
struct Doctor(Vec<(String, String)>);

impl Doctor {
    fn asked(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(output.status.code(), Some(i32::from(said["failed"] != 0)), "{said:#}");
        let line = |finding: &Value| {
            let [area, state, subject, what, remedy] =
                ["area", "state", "subject", "what", "remedy"].map(|key| finding[key].as_str().unwrap().to_owned());
            (area, format!("{state} {subject}: {what} -> {remedy}"))
        };
        Self(said["findings"].as_array().unwrap().iter().map(line).collect())
    }

    fn of(&self, area: &str) -> Vec<&str> {
        self.0.iter().filter(|(of, _)| of == area).map(|(_, line)| line.as_str()).collect()
    }

    /// A line of an area has all of these words.
    fn says(&self, area: &str, words: &[&str]) {
        let of = self.of(area);
        let is_said = of.iter().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(is_said, "{words:?} is not among {of:#?}");
    }
}

/// The commands of the runbooks, by who may give them; what the doctor says to who may not.
fn operates(principals: &Principals, receiver: &Receiver, deployment: &Deployment) {
    let asked = |service, more: &[&str]| principals.command(service, &[&["doctor", "--json"], more].concat());
    let told = Doctor::asked(asked(OPERATOR, &[]));
    for area in ["kafka", "topics", "access", "lag", "registry", "schemas", "clock", "vendors", "sinks"] {
        let lines = told.of(area);
        assert!(!lines.is_empty() && !lines.iter().any(|line| line.starts_with("failed")), "{area}: {lines:#?}");
    }
    let told = Doctor::asked(asked("webhook", &["--inside"]));
    told.says(
        "access",
        &["failed ", "ats.raw.greenhouse.v1: ", "-> give the principal READ and DESCRIBE on the topic"],
    );
    told.says("access", &["failed ", "no transaction can be opened"]);
    told.says("topics", &["failed ", "ats.candidate.v1: hidden from this principal", "-> ask as the operator"]);
    let of_topics = told.of("topics");
    assert!(!of_topics.iter().any(|line| line.contains("topics apply")), "nothing is missing: {of_topics:#?}");
    let with = |name: &str, value: &str| {
        let mut command = asked(OPERATOR, &[]);
        command.env(name, value);
        Doctor::asked(command)
    };
    with("PASSWORD", "wrong").says("kafka", &["failed ", "do not let us in", "SASL"]);
    with("CLIENT_SECRET", "wrong").says("vendors", &["failed acme: "]);

    principals.told(OPERATOR, 0, &["topics", "apply"]);
    principals.told(OPERATOR, 0, &["topics", "check"]);
    let told = principals.told(OPERATOR, 0, &["check", "--connect"]);
    assert!(told.contains("zombies fenced") && told.contains("its clock agrees with ours"), "{told}");
    let ledger = principals.told(OPERATOR, 0, &["tail", "stage-change", "--limit", "1"]);
    let event =
        serde_json::from_str::<Value>(&ledger).unwrap()["value"]["meta"]["event_id"].as_str().unwrap().to_owned();
    principals.told(OPERATOR, 0, &["route", "explain", &event]);

    let letters = |arguments: &[&str]| principals.told(OPERATOR, 0, &[&["dlq", "list", "--json"], arguments].concat());
    let letter: Value = serde_json::from_str(letters(&[]).lines().next().unwrap()).unwrap();
    let id = letter["id"].as_str().unwrap();
    principals.told(OPERATOR, 0, &["dlq", "show", id, "--value"]);
    receiver.answer(200);
    // Who delivers keeps dead letters, and sends none again.
    principals.told("route", 2, &["dlq", "replay", "--all"]);
    let answered = || receiver.requests().iter().filter(|request| request.answered == 200).count();
    let before = answered();
    let told = principals.told(OPERATOR, 0, &["dlq", "replay", "--all", "--even-if-newer"]);
    assert!(told.ends_with(" sent again, 0 not sent\n") && !told.ends_with("\n0 sent again, 0 not sent\n"), "{told}");
    deployment.until("the replay to arrive", || answered() > before);
    let told = principals.told(OPERATOR, 0, &["dlq", "purge", "--done", "--all", "--yes"]);
    assert!(told.contains("purged"), "{told}");
}
