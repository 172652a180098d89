//! What `hirewire up` runs with when nobody gave it a configuration: one sample connection, and a signed webhook to try.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::vendors::Vendors;

/// The connection of the sample.
const CONNECTION: &str = "sample-greenhouse";
/// Whose webhook it is, and the file of the vendor's folder that has its body.
pub(crate) const VENDOR: &str = "greenhouse";
pub(crate) const EXAMPLE: &str = "fixtures/webhook__candidate_stage_change.json";

/// Files of the sample.
pub(crate) struct Sample {
    pub(crate) config: PathBuf,
    body: PathBuf,
    secret: Vec<u8>,
}

impl Sample {
    /// Writes configuration, secret and sample body into `folder`, unless they are there: a second `up` finds its own ports and data again.
    pub(crate) fn write(folder: &Path, vendors: &Vendors) -> anyhow::Result<Self> {
        let folder = std::path::absolute(folder)?;
        let secrets = folder.join("secrets");
        std::fs::create_dir_all(&secrets).with_context(|| format!("cannot create {}", folder.display()))?;
        let (config, body, secret) =
            (folder.join("hirewire.yaml"), folder.join("sample-webhook.json"), secrets.join("sample-webhook"));
        if !secret.exists() {
            use std::io::Write;
            let mut file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(&secret)?;
            writeln!(file, "{}", uuid::Uuid::new_v4().simple())?;
        }
        let (_, sample) = vendors.read(VENDOR, EXAMPLE)?;
        std::fs::write(&body, sample)?;
        if !config.exists() {
            std::fs::write(&config, configuration(&secret, &folder)?)
                .with_context(|| format!("cannot write {}", config.display()))?;
        }
        let mut value = std::fs::read(&secret)?;
        value.pop_if(|last| *last == b'\n');
        Ok(Self { config, body, secret: value })
    }

    /// A line that sends the signed sample, and the command that shows what came of it.
    pub(crate) fn what_next(&self, webhooks: SocketAddr, broker: &str, registry: &str) -> anyhow::Result<String> {
        let signature = signature(&self.secret, &std::fs::read(&self.body)?)?;
        Ok(format!(
            "\nSend a signed sample webhook:\n  curl -i -H 'Signature: sha256 {signature}' -H 'Greenhouse-Event-ID: sample-1' \\\n    \
             -H 'Content-Type: application/json' --data-binary @{} \\\n    http://{}/v1/webhooks/{CONNECTION}\n\
             See the stage change that it became:\n  {} tail stage-change --brokers {} --registry {}",
            self.body.display(),
            webhooks,
            std::env::current_exe()?.display(),
            broker,
            registry,
        ))
    }
}

/// As Greenhouse signs a body.
pub(crate) fn signature(secret: &[u8], body: &[u8]) -> anyhow::Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)?;
    mac.update(body);
    Ok(hex::encode(mac.finalize().into_bytes()))
}

fn configuration(secret: &Path, folder: &Path) -> anyhow::Result<String> {
    let (broker, registry) = (usual_or_free(9092)?, usual_or_free(8081)?);
    let (webhooks, admin) = (usual_or_free(8080)?, usual_or_free(9644)?);
    Ok(format!(
        "# Written by `hirewire up`. Change it, or copy it and start with --config.\n\
         embedded: {{broker: \"{broker}\", registry: \"{registry}\"}}\n\
         kafka: {{bootstrap_servers: \"{broker}\", partitions: {partitions}}}\n\
         registry: {{url: \"http://{registry}\"}}\n\
         data_dir: .\n\
         admin: {{listen: \"{admin}\"}}\n\
         ingest: {{listen: \"{webhooks}\"}}\n\
         connections:\n  {CONNECTION}:\n    tenant: sample\n    vendor: greenhouse\n    webhook: {{secrets: [{{file: \"{}\"}}]}}\n\
         sinks:\n  analytics: {{sqlite: {{path: \"{}\"}}}}\n\
         routes:\n  analytics: {{sink: analytics, from: beginning}}\n",
        secret.display(),
        folder.join("analytics.sqlite").display(),
        partitions = hirewire_schemas::topics::table().partitions_embedded,
    ))
}

/// The port that everybody expects, or a free one if somebody has it.
fn usual_or_free(port: u16) -> anyhow::Result<SocketAddr> {
    let listen = |port: u16| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)));
    let bound = listen(port).or_else(|_| listen(0)).context("no free port on the loopback address")?;
    Ok(bound.local_addr()?)
}
