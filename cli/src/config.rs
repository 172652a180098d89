//! `hirewire.yaml`: the whole file read at once, every mistake reported, handed on section by section.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use hirewire_ingest::Role;
use hirewire_mapping::Plan;
use hirewire_registry::Access;
use hirewire_schemas::{Names, topics};
use hirewire_service::settings::listen;
use hirewire_yaml::{Node, Problems, parse};

use crate::vendors::Vendors;

/// The option that names the file.
#[derive(Args, Clone)]
pub(crate) struct ConfigFile {
    /// The configuration.
    #[arg(long, default_value = "hirewire.yaml", env = "HIREWIRE_CONFIG")]
    pub(crate) config: PathBuf,
}

/// Whose secrets must be there: those of the services that the reading process runs. Kafka's always.
#[derive(Clone, Copy)]
pub(crate) struct Secrets<'a> {
    pub(crate) ingest: Option<Role>,
    pub(crate) route: Sinks<'a>,
}

/// Sinks that a process delivers to.
#[derive(Clone, Copy)]
pub(crate) enum Sinks<'a> {
    None,
    All,
    Only(&'a [String]),
}

impl Secrets<'_> {
    pub(crate) const ALL: Self = Self { ingest: Some(Role::All), route: Sinks::All };
    pub(crate) const NONE: Self = Self { ingest: None, route: Sinks::None };
}

/// A checked configuration.
pub(crate) struct Config {
    pub(crate) kafka: hirewire_kafka::Settings,
    pub(crate) names: Names,
    pub(crate) partitions: i32,
    pub(crate) replication: i32,
    pub(crate) registry: Access,
    pub(crate) data_dir: PathBuf,
    pub(crate) admin_listen: SocketAddr,
    /// Where traces go; `None`: nowhere.
    pub(crate) traces: Option<hirewire_service::spans::Settings>,
    /// What `hirewire up` starts beside the services.
    pub(crate) embedded: Embedded,
    pub(crate) ingest: hirewire_ingest::Settings,
    pub(crate) normalize: hirewire_normalize::Settings,
    pub(crate) route: hirewire_route::Settings,
    pub(crate) connections: Vec<Connection>,
}

/// Where the embedded broker and registry listen; `None`: they are somewhere else.
#[derive(Default)]
pub(crate) struct Embedded {
    pub(crate) broker: Option<SocketAddr>,
    pub(crate) registry: Option<SocketAddr>,
    /// The connection that a made-up application may walk through at the admin port's asking.
    pub(crate) walk: Option<String>,
}

/// One customer's account at one vendor, as each service sees it.
pub(crate) struct Connection {
    pub(crate) ingest: Arc<hirewire_ingest::Connection>,
    pub(crate) vendor: String,
    pub(crate) plan: Arc<Plan>,
}

impl ConfigFile {
    /// # Errors
    /// All mistakes of the file, each with its line.
    pub(crate) fn read(&self, vendors: &Vendors, secrets: Secrets<'_>) -> anyhow::Result<Config> {
        let text = std::fs::read_to_string(&self.config).with_context(|| {
            format!("the configuration {} cannot be read; name it with --config", self.config.display())
        })?;
        read(&self.config.display().to_string(), &text, vendors, secrets)
            .map_err(|problems| anyhow::anyhow!("the configuration has mistakes:\n{problems}"))
    }

    /// What route's part of it is read from beside it; of a text that cannot be read as YAML nothing.
    pub(crate) fn files_of_route(&self) -> Vec<PathBuf> {
        let text = std::fs::read_to_string(&self.config).unwrap_or_default();
        let root = parse(&self.config.display().to_string(), &text).ok();
        let of = |root: &Node| hirewire_route::Settings::files(root.peek("sinks"), root.peek("route"));
        root.as_ref().map(of).unwrap_or_default()
    }
}

/// Reads a configuration's text. Relative paths in it stand beside `file`.
pub(crate) fn read(file: &str, text: &str, vendors: &Vendors, secrets: Secrets<'_>) -> Result<Config, Problems> {
    let root = parse(file, text)?;
    let mut problems = Problems::new();
    let config = read_root(&root, vendors, secrets, &mut problems);
    problems.into_result(config)
}

fn read_root(root: &Node, vendors: &Vendors, secrets: Secrets<'_>, problems: &mut Problems) -> Option<Config> {
    let mut map = root.map(problems)?;
    let kafka_node = map.require("kafka", problems);
    let cluster = kafka_node.and_then(|node| read_cluster(node, problems));
    let registry = map.require("registry", problems).and_then(|node| Access::read(node, problems));
    let data_dir = match map.get("data_dir") {
        Some(node) => node.path(problems),
        None => Some(Path::new(&*root.file).with_file_name("hirewire-data")),
    };
    let admin_listen = map.get("admin").and_then(|node| {
        let mut map = node.map(problems)?;
        let address = map.require("listen", problems).and_then(|node| listen(node, problems));
        map.finish(problems);
        address
    });
    let traces = match map.get("traces") {
        Some(node) => hirewire_service::spans::Settings::read(node, problems).map(Some),
        None => Some(None),
    };
    let embedded_node = map.get("embedded");
    let embedded = embedded_node.map_or_else(|| Some(Embedded::default()), |node| read_embedded(node, problems));
    let ingest = match map.get("ingest") {
        Some(node) => hirewire_ingest::Settings::read(node, problems),
        None => Some(hirewire_ingest::Settings::default()),
    };
    let normalize = hirewire_normalize::Settings::read(map.get("normalize"), problems);
    let (sinks, routes, route) = (map.get("sinks"), map.get("routes"), map.get("route"));
    let needed = match secrets.route {
        Sinks::None => Some([].as_slice()),
        Sinks::All => None,
        Sinks::Only(names) => Some(names),
    };
    let route = hirewire_route::Settings::read(sinks, routes, route, needed, problems);
    let connections = map
        .get("connections")
        .map_or_else(|| Some(Vec::new()), |node| read_connections(node, vendors, secrets.ingest, problems));
    if let (Some(node), Some(known)) = (embedded_node.and_then(|node| node.peek("walk")), &connections)
        && let Some(walk) = embedded.as_ref().and_then(|embedded| embedded.walk.as_deref())
        && !known.iter().any(|connection| connection.ingest.name == walk)
    {
        let names = known.iter().map(|connection| connection.ingest.name.as_str());
        problems.add(node, format!("there is no connection \"{walk}\""), hirewire_yaml::did_you_mean(walk, names));
    }
    map.finish(problems);
    let cluster = cluster?;
    Some(Config {
        kafka: cluster.kafka,
        names: cluster.names,
        partitions: cluster.partitions,
        replication: cluster.replication,
        registry: registry?,
        data_dir: data_dir?,
        admin_listen: admin_listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9644))),
        traces: traces?,
        embedded: embedded?,
        ingest: ingest?,
        normalize: normalize?,
        route: route?,
        connections: connections?,
    })
}

struct Cluster {
    kafka: hirewire_kafka::Settings,
    names: Names,
    partitions: i32,
    replication: i32,
}

/// The `kafka:` section: how to reach it is lib/kafka's to read, how topics are laid out on it is ours.
fn read_cluster(node: &Node, problems: &mut Problems) -> Option<Cluster> {
    let kafka = hirewire_kafka::Settings::read(node, &["topic_prefix", "partitions", "replication"], problems);
    let prefix = node.peek("topic_prefix").and_then(|node| {
        let text = node.text(problems)?;
        let legal = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        if !legal || text.len() > 100 {
            problems.add(
                node,
                format!("\"{text}\" cannot begin a topic's name"),
                "letters, digits, `.` and `-`, at most 100",
            );
        }
        Some(text)
    });
    let count = |key: &str, default: i32, problems: &mut Problems| match node.peek(key) {
        None => Some(default),
        Some(node) => node.whole(1, problems).and_then(|count| i32::try_from(count).ok()),
    };
    let partitions = count("partitions", topics::table().partitions_cluster, problems);
    let replication = count("replication", -1, problems);
    Some(Cluster {
        kafka: kafka?,
        names: Names::new(prefix.unwrap_or_default()),
        partitions: partitions?,
        replication: replication?,
    })
}

fn read_embedded(node: &Node, problems: &mut Problems) -> Option<Embedded> {
    let mut map = node.map(problems)?;
    let embedded = Embedded {
        broker: map.get("broker").and_then(|node| listen_where_known(node, problems)),
        registry: map.get("registry").and_then(|node| listen_where_known(node, problems)),
        walk: map.get("walk").and_then(|node| Some(node.name(problems)?.to_owned())),
    };
    map.finish(problems);
    Some(embedded)
}

/// An address that others are told by the same file.
fn listen_where_known(node: &Node, problems: &mut Problems) -> Option<SocketAddr> {
    let address = listen(node, problems)?;
    if address.port() == 0 {
        problems.add(node, "port 0, which nobody would find", "write the port that the services connect to");
    }
    Some(address)
}

fn read_connections(
    node: &Node,
    vendors: &Vendors,
    role: Option<Role>,
    problems: &mut Problems,
) -> Option<Vec<Connection>> {
    let mut map = node.map(problems)?;
    let all: Vec<Option<Connection>> =
        map.entries().map(|(key, name, node)| read_connection(key, name, node, vendors, role, problems)).collect();
    all.into_iter().collect()
}

fn read_connection(
    key: &Node,
    name: &str,
    node: &Node,
    vendors: &Vendors,
    role: Option<Role>,
    problems: &mut Problems,
) -> Option<Connection> {
    let legal = !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !legal {
        problems.add(
            key,
            format!("\"{name}\" cannot name a connection"),
            "letters, digits, `-` and `_`, at most 100: it stands in URLs and headers",
        );
    }
    let mut map = node.map(problems)?;
    let tenant = map.require("tenant", problems).and_then(|node| node.name(problems));
    let vendor_node = map.require("vendor", problems);
    let vendor = vendor_node.and_then(|node| {
        let vendor = node.name(problems)?;
        let known = vendors.names();
        if known.iter().any(|name| name == vendor) {
            return Some(vendor);
        }
        let hint = hirewire_yaml::did_you_mean(vendor, known.iter().map(String::as_str));
        problems.add(node, format!("there is no vendor \"{vendor}\""), hint);
        None
    });
    let overlay = map.get("overlay").and_then(|node| read_overlay(node, problems));
    let (webhook, poll) = (map.get("webhook"), map.get("poll"));
    map.finish(problems);
    let (tenant, vendor, vendor_node) = (tenant?, vendor?, vendor_node?);
    let manifest = read_file(vendors, vendor, "manifest.yaml", vendor_node, problems)
        .and_then(|(file, text)| keep(hirewire_ingest::manifest::Manifest::parse(&file, &text), problems));
    let plan = compile(vendors, vendor, overlay.as_ref(), vendor_node, problems);
    let ingest = manifest
        .and_then(|manifest| hirewire_ingest::Connection::read(name, tenant, &manifest, webhook, poll, role, problems));
    Some(Connection { ingest: Arc::new(ingest?), vendor: vendor.to_owned(), plan: plan? })
}

fn read_overlay(node: &Node, problems: &mut Problems) -> Option<Node> {
    let path = node.path(problems)?;
    match std::fs::read_to_string(&path) {
        Ok(text) => keep(parse(&path.display().to_string(), &text), problems),
        Err(error) => {
            problems.add(
                node,
                format!("the overlay {} cannot be read: {error}", path.display()),
                "paths stand beside the configuration",
            );
            None
        }
    }
}

fn compile(
    vendors: &Vendors,
    vendor: &str,
    overlay: Option<&Node>,
    at: &Node,
    problems: &mut Problems,
) -> Option<Arc<Plan>> {
    let (file, text) = read_file(vendors, vendor, "mapping.yaml", at, problems)?;
    let mapping = keep(parse(&file, &text), problems)?;
    keep(compile_plan(&mapping, overlay), problems).map(Arc::new)
}

/// Compiles a mapping against the schemas in use.
pub(crate) fn compile_plan(mapping: &Node, overlay: Option<&Node>) -> Result<Plan, Problems> {
    Plan::compile(mapping, overlay, &hirewire_schemas::avro_schema)
}

fn read_file(
    vendors: &Vendors,
    vendor: &str,
    file: &str,
    at: &Node,
    problems: &mut Problems,
) -> Option<(String, String)> {
    match vendors.read(vendor, file) {
        Ok(found) => Some(found),
        Err(error) => {
            problems.add(at, format!("{error:#}"), "");
            None
        }
    }
}

fn keep<T>(result: Result<T, Problems>, problems: &mut Problems) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(more) => {
            problems.extend(more);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
kafka: {bootstrap_servers: "127.0.0.1:1"}
registry: {url: "http://127.0.0.1:1/"}
data_dir: data
connections:
  acme:
    tenant: acme
    vendor: greenhouse
    overlay: overlays/acme.yaml
    webhook: {secrets: [{file: secrets/webhook}]}
    poll: {client_id: {file: secrets/id}, client_secret: {file: secrets/key}}
sinks:
  payroll: {http: {url: "https://pay.example.com", auth: {bearer: {file: secrets/token}}, ca: secrets/ca}}
  analytics: {sqlite: {path: analytics.sqlite}}
routes:
  payroll: {sink: payroll}
"#;

    /// The mistakes of a text that stands in `folder`, which has the overlay; the data folder if there are none.
    fn outcome(folder: &Path, text: &str, secrets: Secrets<'_>) -> Result<PathBuf, String> {
        std::fs::create_dir_all(folder.join("overlays")).unwrap();
        std::fs::write(folder.join("overlays/acme.yaml"), "version: \"1\"\n").unwrap();
        let file = folder.join("hirewire.yaml").display().to_string();
        let config = read(&file, text, &Vendors::open(None).unwrap(), secrets);
        config.map(|config| config.data_dir).map_err(|problems| problems.to_string())
    }

    #[test]
    fn each_process_needs_the_secrets_of_its_own_part_and_finds_them_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let missing = |secrets: Secrets<'_>| {
            let told = outcome(folder.path(), WHOLE, secrets).err().unwrap_or_default();
            let names = ["webhook", "id", "key", "token", "ca"].into_iter();
            let named = |name: &&str| told.contains(&folder.path().join("secrets").join(name).display().to_string());
            (names.filter(named).collect::<Vec<_>>(), told.lines().count())
        };
        let ingest = |role| Secrets { ingest: Some(role), ..Secrets::NONE };
        assert_eq!(missing(Secrets::NONE), (vec![], 0));
        assert_eq!(missing(ingest(Role::Webhook)), (vec!["webhook"], 1));
        assert_eq!(missing(ingest(Role::Poll)), (vec!["id", "key"], 2));
        let only = |name: &str| {
            let names = [name.to_owned()];
            missing(Secrets { route: Sinks::Only(&names), ..Secrets::NONE })
        };
        assert_eq!(missing(Secrets { route: Sinks::All, ..Secrets::NONE }), (vec!["token", "ca"], 2));
        assert_eq!(only("payroll"), (vec!["token", "ca"], 2));
        assert_eq!(only("analytics"), (vec![], 0));
        assert_eq!(missing(Secrets::ALL), (vec!["webhook", "id", "key", "token", "ca"], 5));
        assert_eq!(outcome(folder.path(), WHOLE, Secrets::NONE).unwrap(), folder.path().join("data"));
    }

    #[test]
    fn what_is_empty_or_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (from, to, told) in [
            ("tenant: acme", "tenant: \"\"", "hirewire.yaml:7: expected a text, found an empty one"),
            ("data_dir: data", "data_dir: ''", "hirewire.yaml:4: expected a text, found an empty one"),
            ("overlays/acme.yaml", "''", "hirewire.yaml:9: expected a text, found an empty one"),
            ("analytics.sqlite", "''", "hirewire.yaml:14: expected a text, found an empty one"),
            ("http://127.0.0.1:1/", "http://", "hirewire.yaml:3: \"http://\" is not a URL"),
            ("http://127.0.0.1:1/", "http://127.0.0.1:0", "hirewire.yaml:3: \"http://127.0.0.1:0\" is not a URL"),
            ("pay.example.com", "pay.example.com:0", "is not a URL that a sink can have"),
            (
                "data_dir: data",
                "embedded: {broker: \"127.0.0.1:0\"}",
                "hirewire.yaml:4: port 0, which nobody would find",
            ),
            ("data_dir: data", "ingest: {body_timeout: 0s}", "hirewire.yaml:4: a time of nothing"),
            ("data_dir: data", "normalize: {registry_wait: 0ms}", "hirewire.yaml:4: a time of nothing"),
            ("{sink: payroll}", "{sink: payroll, requires_within: 0s}", "hirewire.yaml:16: a time of nothing"),
            ("data_dir: data", "ingest: {max_connections: -1}", "hirewire.yaml:4: expected a whole number"),
        ] {
            let told_of = outcome(folder.path(), &WHOLE.replace(from, to), Secrets::NONE).err().unwrap_or_default();
            assert!(told_of.contains(told) && told_of.lines().count() == 1, "{to}: {told_of}");
        }
    }
}
