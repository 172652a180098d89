//! The configuration that a demo runs with: the same file that a deployment writes, with its own secrets and overlay.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use hirewire_ingest::manifest::{Api, Auth, BaseUrl, Manifest};
use hirewire_sim::vendor::moved;
use hirewire_sim::{HistoryRows, Running};

use super::GREENHOUSE;
use crate::vendors::Vendors;

/// The name of the demo's one connection.
pub(super) fn connection(vendor: &str) -> String {
    format!("acme-{vendor}")
}

/// How the vendor is received and polled, as far as it decides what a connection must have.
pub(super) struct Account {
    vendor: String,
    manifest: Arc<Manifest>,
}

impl Account {
    pub(super) fn of(vendor: &str, vendors: &Vendors) -> anyhow::Result<Self> {
        let (shown, text) = vendors.read(vendor, "manifest.yaml")?;
        let manifest = Manifest::parse(&shown, &text).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        Ok(Self { vendor: vendor.to_owned(), manifest })
    }

    /// `webhook` and `poll` of the connection.
    fn sections(&self, folder: &Path, simulator: &Running) -> anyhow::Result<String> {
        let secret = |name: &str| quoted(&folder.join("secrets").join(name));
        let Some(api) = &self.manifest.api else {
            anyhow::bail!("{} is not polled: there is nothing to play", self.vendor)
        };
        let access = &simulator.access;
        let (id, word) = (secret("client-id"), secret("client-secret"));
        let mut lines = match &api.auth {
            Auth::Oauth2ClientCredentials(_) => vec![
                format!("client_id: {{file: {id}}}"),
                format!("client_secret: {{file: {word}}}"),
                format!("token_url: \"{}\"", access.token_url),
            ],
            Auth::BasicApiKey { .. } | Auth::ApiKeyHeader { .. } => vec![format!("api_key: {{file: {word}}}")],
            Auth::UsernameToken { .. } => {
                vec![format!("username: {{file: {id}}}"), format!("password: {{file: {word}}}")]
            }
            Auth::SessionLogin(_) => vec![
                format!("client_id: {{file: {id}}}"),
                format!("client_secret: {{file: {word}}}"),
                format!("username: {{file: {id}}}"),
                format!("password: {{file: {word}}}"),
                format!("oauth_url: \"{}\"", access.origin),
                format!("login_url: \"{}\"", access.origin),
            ],
            Auth::Oauth2RefreshToken(_) => {
                anyhow::bail!("the simulator gives no refresh tokens, and {} wants one", self.vendor)
            }
        };
        lines.extend(addresses(api, &access.origin));
        let credentials = lines.join("\n      ");
        let webhook = match &self.manifest.webhook {
            Some(_) => format!("webhook: {{secrets: [{{file: {}}}]}}\n    ", secret("webhook")),
            None => String::new(),
        };
        // What is not read in time is not told any more.
        let forgets = simulator.scenario().history_rows == HistoryRows::Never;
        let interval = if forgets { "500ms" } else { "2s" };
        let lag = if api.lag.is_zero() { "" } else { "lag: 1s\n      overlap: 3s\n      " };
        Ok(format!(
            "{webhook}poll:\n      {credentials}\n      \
             # The vendor's minutes are seconds here: the simulator scales its lag and its retries alike.\n      \
             interval: {interval}\n      {lag}retry_first: 200ms\n      retry_most: 2s\n"
        ))
    }
}

/// Where the vendor is, and its lists that stand elsewhere at each customer.
fn addresses(api: &Api, origin: &str) -> Vec<String> {
    let base = match &api.base_url {
        BaseUrl::Shared(url) | BaseUrl::PerConnection(url) => Some(format!("base_url: \"{}\"", moved(url, origin))),
        BaseUrl::Session(_) => None,
    };
    let own = api.streams.iter().filter_map(|stream| Some((&stream.name, stream.url.as_ref()?)));
    let own: Vec<String> = own.map(|(name, url)| format!("{name}: \"{}\"", moved(url, origin))).collect();
    let urls = (!own.is_empty()).then(|| format!("urls: {{{}}}", own.join(", ")));
    base.into_iter().chain(urls).collect()
}

/// What the configuration must name.
pub(super) struct Place<'a> {
    pub(super) brokers: &'a str,
    pub(super) registry: &'a str,
    pub(super) prefix: &'a str,
    pub(super) partitions: i32,
    /// Where webhooks are taken.
    pub(super) webhooks: SocketAddr,
    /// A PostgreSQL for analytics; `None`: a SQLite file.
    pub(super) postgres: Option<&'a str>,
}

/// Writes configuration, overlay and secrets into `folder`, without the sinks `without`. Returns the configuration's path.
pub(super) fn write(
    folder: &Path,
    place: &Place<'_>,
    account: &Account,
    simulator: &Running,
    without: &BTreeMap<String, String>,
) -> anyhow::Result<PathBuf> {
    let receivers = || simulator.receivers.iter().filter(|receiver| !without.contains_key(&receiver.name));
    secret(folder, "client-id", &simulator.access.client_id)?;
    secret(folder, "client-secret", &simulator.access.client_secret)?;
    secret(folder, "webhook", &simulator.webhook_secret)?;
    for receiver in &simulator.receivers {
        secret(folder, &receiver.name, &receiver.secret)?;
    }
    let analytics = match place.postgres {
        Some(url) => {
            secret(folder, "postgres", url)?;
            format!(
                "postgres: {{url: {{file: {}}}, allow: {{networks: [\"127.0.0.0/8\", \"::1/128\", \"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\"]}}}}",
                quoted(&folder.join("secrets/postgres"))
            )
        }
        None => format!("sqlite: {{path: {}}}", quoted(&folder.join("analytics.sqlite"))),
    };
    let sinks: Vec<String> = receivers()
        .map(|receiver| {
            format!(
                "  {}:\n    http: {{url: \"{}\", signing: {{secrets: [{{file: {}}}]}}, allow: {{networks: [\"127.0.0.0/8\"]}}, timeout: 2s}}\n    \
                 retry: {{first: 100ms, longest: 2s}}",
                receiver.name,
                receiver.url,
                quoted(&folder.join("secrets").join(&receiver.name))
            )
        })
        .collect();
    let routes: Vec<String> = receivers()
        .map(|receiver| format!("  {0}: {{sink: {0}, from: now, requires_within: 60s}}", receiver.name))
        .collect();
    let text = format!(
        "# Written by `hirewire demo`.\n\
         kafka: {{bootstrap_servers: \"{brokers}\", topic_prefix: \"{prefix}\", partitions: {partitions}}}\n\
         registry: {{url: \"{registry}\"}}\n\
         data_dir: state\n\
         admin: {{listen: \"127.0.0.1:0\"}}\n\
         ingest: {{listen: \"{webhooks}\"}}\n\
         connections:\n  {connection}:\n    tenant: acme\n    vendor: {vendor}\n    overlay: overlay.yaml\n    {sections}\
         sinks:\n  analytics: {{{analytics}}}\n{sinks}\n\
         routes:\n  analytics: {{sink: analytics, from: beginning}}\n{routes}\n",
        brokers = place.brokers,
        prefix = place.prefix,
        partitions = place.partitions,
        registry = place.registry,
        webhooks = place.webhooks,
        connection = connection(&account.vendor),
        vendor = account.vendor,
        sections = account.sections(folder, simulator)?,
        sinks = sinks.join("\n"),
        routes = routes.join("\n"),
    );
    let overlay = if account.vendor == GREENHOUSE { Some(OVERLAY) } else { simulator.overlay.as_deref() };
    std::fs::write(folder.join("overlay.yaml"), overlay.unwrap_or("version: demo.1\n"))?;
    let path = folder.join("hirewire.yaml");
    std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(path)
}

/// Greenhouse v3 offers carry pay only in custom fields: the tenant says which, and for which period.
const OVERLAY: &str = "\
version: demo.1
fields:
  Offer:
    compensation:
      - from: custom_fields.salary
        fields:
          kind: {const: SALARY}
          amount: value.amount
          currency: value.unit
          period: {const: YEAR}
          raw: {const: salary}
";

/// A file that only its owner reads.
fn secret(folder: &Path, name: &str, value: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let folder = folder.join("secrets");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
    writeln!(file, "{value}").with_context(|| format!("{} cannot be written", path.display()))
}

/// A path as a YAML text.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}
