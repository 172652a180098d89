//! The configuration that a demo runs with: the same file that a deployment writes, with its own secrets and overlay.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hirewire_sim::Running;

/// The demo's one connection.
pub(super) const CONNECTION: &str = "acme-greenhouse";

/// What the configuration must name.
pub(super) struct Place<'a> {
    pub(super) brokers: &'a str,
    pub(super) registry: &'a str,
    pub(super) prefix: &'a str,
    pub(super) partitions: i32,
    /// Where webhooks are taken.
    pub(super) webhooks: std::net::SocketAddr,
    /// A PostgreSQL for analytics; `None`: a SQLite file.
    pub(super) postgres: Option<&'a str>,
}

/// Writes configuration, overlay and secrets into `folder`. Returns the configuration's path.
pub(super) fn write(folder: &Path, place: &Place<'_>, simulator: &Running) -> anyhow::Result<PathBuf> {
    secret(folder, "client-id", &simulator.client_id)?;
    secret(folder, "client-secret", &simulator.client_secret)?;
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
    let sinks: Vec<String> = simulator
        .receivers
        .iter()
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
    let routes: Vec<String> = simulator
        .receivers
        .iter()
        .map(|receiver| format!("  {0}: {{sink: {0}, from: now, requires_within: 60s}}", receiver.name))
        .collect();
    let secrets = folder.join("secrets");
    let text = format!(
        "# Written by `hirewire demo`.\n\
         kafka: {{bootstrap_servers: \"{brokers}\", topic_prefix: \"{prefix}\", partitions: {partitions}}}\n\
         registry: {{url: \"{registry}\"}}\n\
         data_dir: state\n\
         admin: {{listen: \"127.0.0.1:0\"}}\n\
         ingest: {{listen: \"{webhooks}\"}}\n\
         connections:\n  {CONNECTION}:\n    tenant: acme\n    vendor: greenhouse\n    overlay: overlay.yaml\n    \
         webhook: {{secrets: [{{file: {webhook}}}]}}\n    \
         poll:\n      client_id: {{file: {id}}}\n      client_secret: {{file: {client_secret}}}\n      \
         base_url: \"{api}\"\n      token_url: \"{token}\"\n      \
         # The vendor's minutes are seconds here: the simulator scales its lag and its retries alike.\n      \
         interval: 2s\n      lag: 1s\n      overlap: 3s\n      retry_first: 200ms\n      retry_most: 2s\n\
         sinks:\n  analytics: {{{analytics}}}\n{sinks}\n\
         routes:\n  analytics: {{sink: analytics, from: beginning}}\n{routes}\n",
        brokers = place.brokers,
        prefix = place.prefix,
        partitions = place.partitions,
        registry = place.registry,
        webhooks = place.webhooks,
        webhook = quoted(&secrets.join("webhook")),
        id = quoted(&secrets.join("client-id")),
        client_secret = quoted(&secrets.join("client-secret")),
        api = simulator.api_url,
        token = simulator.token_url,
        sinks = sinks.join("\n"),
        routes = routes.join("\n"),
    );
    std::fs::write(folder.join("overlay.yaml"), OVERLAY)?;
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
