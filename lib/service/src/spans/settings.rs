//! Where traces go: the settings file's section `traces:`, checked.

use std::path::PathBuf;

use hirewire_yaml::{Node, Problems};

/// The checked `traces:` of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub(super) endpoint: Endpoint,
    /// Of this many traces one is sent, the same in every service.
    pub(super) one_in: u64,
    /// Of the authority of the collector's certificate, beside the system's.
    pub(super) ca_file: Option<PathBuf>,
}

/// Where the collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// The whole address: `http://collector:4318/v1/traces`.
    Http(String),
    Grpc {
        host: String,
        port: u16,
        tls: bool,
    },
}

impl Settings {
    /// Reads `{endpoint: URL, protocol?: grpc, one_in?: 10, tls?: {ca_file}}`.
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let grpc =
            map.get("protocol").map_or(Some(false), |node| node.choice(&[("http", false), ("grpc", true)], problems));
        let endpoint = map.require("endpoint", problems).and_then(|node| read_endpoint(node, grpc?, problems));
        let one_in = map.get("one_in").map_or(Some(1), |node| node.whole(1, problems));
        let ca_file = map.get("tls").and_then(|node| crate::settings::authority(node, "collector", problems));
        map.finish(problems);
        Some(Self { endpoint: endpoint?, one_in: one_in?, ca_file })
    }

    /// PEM of the authorities of `tls.ca_file`, as the file is now.
    pub(super) fn authorities(&self) -> std::io::Result<Option<Vec<u8>>> {
        self.ca_file.as_ref().map(std::fs::read).transpose()
    }
}

fn read_endpoint(node: &Node, grpc: bool, problems: &mut Problems) -> Option<Endpoint> {
    let text = node.text(problems)?;
    let url = reqwest::Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.port() != Some(0));
    let Some(mut url) = url.filter(|url| url.username().is_empty() && url.password().is_none()) else {
        // Not repeated: it may hold a password.
        problems.add(node, "this is no address of a collector", "for example http://127.0.0.1:4318");
        return None;
    };
    if !grpc {
        if url.path() == "/" {
            url.set_path("/v1/traces");
        }
        return Some(Endpoint::Http(url.to_string()));
    }
    if url.path() != "/" || url.query().is_some() {
        problems.add(node, "gRPC has no path", "http://HOST:4317, or https://HOST:4317 for TLS");
        return None;
    }
    let tls = url.scheme() == "https";
    Some(Endpoint::Grpc { host: url.host_str()?.to_owned(), port: url.port_or_known_default()?, tls })
}
