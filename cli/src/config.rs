//! `hirewire.yaml`: the whole file read at once, every mistake reported, handed on section by section.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use hirewire_mapping::Plan;
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

/// A checked configuration.
pub(crate) struct Config {
    pub(crate) kafka: hirewire_kafka::Settings,
    pub(crate) names: Names,
    pub(crate) partitions: i32,
    pub(crate) replication: i32,
    pub(crate) registry_url: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) admin_listen: SocketAddr,
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
    pub(crate) fn read(&self, vendors: &Vendors) -> anyhow::Result<Config> {
        let text = std::fs::read_to_string(&self.config).with_context(|| {
            format!("the configuration {} cannot be read; name it with --config", self.config.display())
        })?;
        let folder = self.config.parent().unwrap_or_else(|| Path::new("."));
        read(&self.config.display().to_string(), &text, folder, vendors)
            .map_err(|problems| anyhow::anyhow!("the configuration has mistakes:\n{problems}"))
    }
}

/// Reads a configuration's text. Relative paths in it stand beside it, in `folder`.
pub(crate) fn read(file: &str, text: &str, folder: &Path, vendors: &Vendors) -> Result<Config, Problems> {
    let root = parse(file, text)?;
    let mut problems = Problems::new();
    let config = read_root(&root, folder, vendors, &mut problems);
    problems.into_result(config)
}

fn read_root(root: &Node, folder: &Path, vendors: &Vendors, problems: &mut Problems) -> Option<Config> {
    let mut map = root.map(problems)?;
    let kafka_node = map.require("kafka", problems);
    let cluster = kafka_node.and_then(|node| read_cluster(node, problems));
    let registry_url = map.require("registry", problems).and_then(|node| {
        let mut map = node.map(problems)?;
        let url = map.require("url", problems).and_then(|node| {
            let url = node.text(problems)?;
            let shaped = ["http://", "https://"]
                .iter()
                .any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
            if !shaped {
                problems.add(node, format!("\"{url}\" is not a URL"), "for example http://127.0.0.1:8081");
            }
            shaped.then_some(url)
        });
        map.finish(problems);
        url.map(|url| url.trim_end_matches('/').to_owned())
    });
    let data_dir = map.get("data_dir").and_then(|node| node.text(problems)).unwrap_or("hirewire-data");
    let admin_listen = map.get("admin").and_then(|node| {
        let mut map = node.map(problems)?;
        let address = map.require("listen", problems).and_then(|node| listen(node, problems));
        map.finish(problems);
        address
    });
    let embedded = map.get("embedded").map_or_else(|| Some(Embedded::default()), |node| read_embedded(node, problems));
    let ingest = match map.get("ingest") {
        Some(node) => hirewire_ingest::Settings::read(node, problems),
        None => Some(hirewire_ingest::Settings::default()),
    };
    let normalize = hirewire_normalize::Settings::read(map.get("normalize"), problems);
    let (sinks, routes, route) = (map.get("sinks"), map.get("routes"), map.get("route"));
    let route = hirewire_route::Settings::read(sinks, routes, route, problems);
    let connections = map
        .get("connections")
        .map_or_else(|| Some(Vec::new()), |node| read_connections(node, folder, vendors, problems));
    map.finish(problems);
    let cluster = cluster?;
    Some(Config {
        kafka: cluster.kafka,
        names: cluster.names,
        partitions: cluster.partitions,
        replication: cluster.replication,
        registry_url: registry_url?,
        // By its components: `folder/.` is the folder.
        data_dir: folder.join(data_dir).components().collect(),
        admin_listen: admin_listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9644))),
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
    let kafka = hirewire_kafka::Settings::read(node, problems);
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
        broker: map.get("broker").and_then(|node| listen(node, problems)),
        registry: map.get("registry").and_then(|node| listen(node, problems)),
    };
    map.finish(problems);
    Some(embedded)
}

fn read_connections(node: &Node, folder: &Path, vendors: &Vendors, problems: &mut Problems) -> Option<Vec<Connection>> {
    let mut map = node.map(problems)?;
    let all: Vec<Option<Connection>> =
        map.entries().map(|(key, name, node)| read_connection(key, name, node, folder, vendors, problems)).collect();
    all.into_iter().collect()
}

fn read_connection(
    key: &Node,
    name: &str,
    node: &Node,
    folder: &Path,
    vendors: &Vendors,
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
    let tenant = map.require("tenant", problems).and_then(|node| node.text(problems));
    let vendor_node = map.require("vendor", problems);
    let vendor = vendor_node.and_then(|node| {
        let vendor = node.text(problems)?;
        let known = vendors.names();
        if known.iter().any(|name| name == vendor) {
            return Some(vendor);
        }
        let hint = hirewire_yaml::did_you_mean(vendor, known.iter().map(String::as_str));
        problems.add(node, format!("there is no vendor \"{vendor}\""), hint);
        None
    });
    let overlay = map.get("overlay").and_then(|node| read_overlay(node, folder, problems));
    let (webhook, poll) = (map.get("webhook"), map.get("poll"));
    map.finish(problems);
    let (tenant, vendor, vendor_node) = (tenant?, vendor?, vendor_node?);
    let manifest = read_file(vendors, vendor, "manifest.yaml", vendor_node, problems)
        .and_then(|(file, text)| keep(hirewire_ingest::manifest::Manifest::parse(&file, &text), problems));
    let plan = compile(vendors, vendor, overlay.as_ref(), vendor_node, problems);
    let ingest = manifest
        .and_then(|manifest| hirewire_ingest::Connection::read(name, tenant, &manifest, webhook, poll, problems));
    Some(Connection { ingest: Arc::new(ingest?), vendor: vendor.to_owned(), plan: plan? })
}

fn read_overlay(node: &Node, folder: &Path, problems: &mut Problems) -> Option<Node> {
    let path = folder.join(node.text(problems)?);
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
    Plan::compile(mapping, overlay, &|record| hirewire_schemas::schema(record).map(|schema| &schema.avro))
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
