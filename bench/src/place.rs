//! Where a measurement happens: a folder, brokers, a registry, a configuration under a topic prefix of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use hirewire_schemas::Names;
use hirewire_service::free_address;

use crate::process::Process;
use crate::{Cluster, Common};

/// The one connection of every measurement.
pub(crate) const CONNECTION: &str = "bench-greenhouse";
pub(crate) const TENANT: &str = "bench";
pub(crate) const VENDOR: &str = "greenhouse";
/// Longer than the state of a million applications takes to be read again.
const READY_WITHIN: Duration = Duration::from_secs(1200);

/// A folder that goes when it was ours.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    pub(crate) fn new(common: &Common) -> anyhow::Result<Self> {
        let (path, temporary) = match &common.data {
            None => {
                let folder = tempfile::tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
            Some(path) => {
                std::fs::create_dir_all(path)?;
                let empty = std::fs::read_dir(path)?.next().is_none();
                anyhow::ensure!(empty, "{} is not empty: name another folder with --data", path.display());
                (std::path::absolute(path)?, None)
            }
        };
        Ok(Self { path, _temporary: temporary })
    }
}

pub(crate) struct Place {
    pub(crate) folder: Folder,
    pub(crate) binary: PathBuf,
    pub(crate) kafka: hirewire_kafka::Settings,
    pub(crate) names: Names,
    pub(crate) partitions: i32,
    /// Embedded, or somebody's Kafka.
    pub(crate) broker: Option<Process>,
    pub(crate) registry: Process,
    pub(crate) config: PathBuf,
    /// Signs webhooks.
    pub(crate) secret: String,
    pub(crate) webhooks: String,
}

impl Place {
    /// Starts what is below the services, writes the configuration, creates the topics.
    /// `sinks` is the text of the configuration's last sections; it may name files in `secrets/`.
    pub(crate) async fn prepare(
        common: &Common,
        cluster: &Cluster,
        sinks: &dyn Fn(&Path) -> String,
    ) -> anyhow::Result<Self> {
        let folder = Folder::new(common)?;
        let binary = std::path::absolute(&common.binary)?;
        let path = &folder.path;
        let data = path.join("engines").display().to_string();
        let (broker, brokers) = match &cluster.brokers {
            Some(brokers) => (None, brokers.clone()),
            None => {
                let arguments = ["broker", "--listen", "127.0.0.1:0", "--data", &data];
                let mut broker = Process::start("broker", &binary, &arguments, path)?;
                let address = last_word(&broker.line().await?)?;
                (Some(broker), address)
            }
        };
        let arguments = ["registry", "--listen", "127.0.0.1:0", "--data", &data];
        let mut registry = Process::start("registry", &binary, &arguments, path)?;
        let registry_url = last_word(&registry.line().await?)?;
        let prefix = format!("bench-{}.", &uuid::Uuid::new_v4().simple().to_string().split_off(24));
        let webhooks = free_address()?.to_string();
        let secret = uuid::Uuid::new_v4().simple().to_string();
        std::fs::create_dir(path.join("secrets"))?;
        // Standard Webhooks' form; hexadecimal digits are base64 too.
        std::fs::write(path.join("secrets/sink"), format!("whsec_{secret}\n"))?;
        std::fs::write(path.join("secrets/webhook"), format!("{secret}\n"))?;
        let config = path.join("hirewire.yaml");
        std::fs::write(
            &config,
            format!(
                "kafka: {{bootstrap_servers: \"{brokers}\", topic_prefix: \"{prefix}\", partitions: {}, prefetch_kib: {}}}\n\
                 registry: {{url: \"{registry_url}\"}}\n\
                 data_dir: state\n\
                 normalize: {}\n\
                 ingest: {{listen: \"{webhooks}\"}}\n\
                 connections:\n  {CONNECTION}:\n    tenant: {TENANT}\n    vendor: {VENDOR}\n    \
                 webhook: {{secrets: [{{file: \"{}\"}}]}}\n{}",
                cluster.partitions,
                cluster.prefetch_kib,
                cluster.normalize,
                path.join("secrets/webhook").display(),
                sinks(&path.join("secrets"))
            ),
        )?;
        let place = Self {
            kafka: hirewire_kafka::Settings::local(&brokers),
            names: Names::new(&prefix),
            partitions: cluster.partitions,
            folder,
            binary,
            broker,
            registry,
            config,
            secret,
            webhooks,
        };
        place.create_topics().await?;
        Ok(place)
    }

    async fn create_topics(&self) -> anyhow::Result<()> {
        let status = tokio::process::Command::new(&self.binary)
            .args(["topics", "apply", "--config"])
            .arg(&self.config)
            .stdout(Stdio::null())
            .status()
            .await?;
        anyhow::ensure!(status.success(), "`hirewire topics apply` ended with {status}");
        Ok(())
    }

    /// Starts a service and waits until it is ready. Returns how long that took.
    pub(crate) async fn service(&self, name: &str, arguments: &[&str]) -> anyhow::Result<(Process, Duration)> {
        let admin = free_address()?.to_string();
        let config = self.config.display().to_string();
        let arguments = [arguments, &["--config", &config, "--admin", &admin]].concat();
        let began = Instant::now();
        let mut process = Process::start(name, &self.binary, &arguments, &self.folder.path)?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let url = format!("http://{admin}/readyz");
        let mut ready_since = None;
        loop {
            process.must_run()?;
            let ready = client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
            match ready_since {
                // Ready before the service has said that it waits for anything does not count: it must stay so.
                Some(since) if ready => return Ok((process, since)),
                _ => ready_since = ready.then(|| began.elapsed()),
            }
            anyhow::ensure!(began.elapsed() < READY_WITHIN, "{name} is not ready after {} s", READY_WITHIN.as_secs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn broker_name(&self) -> &'static str {
        if self.broker.is_some() { "embedded" } else { "Kafka" }
    }

    /// Stops what is below the services; on somebody's Kafka, deletes what was made there.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.registry.stop().await?;
        if let Some(broker) = self.broker {
            return broker.stop().await;
        }
        let admin = hirewire_kafka::Admin::new(&self.kafka)?;
        let all = tokio::task::block_in_place(|| admin.topics())?;
        let ours: Vec<String> = all.into_keys().filter(|topic| topic.starts_with(self.names.prefix())).collect();
        Ok(admin.delete_topics(&ours).await?)
    }
}

fn last_word(line: &str) -> anyhow::Result<String> {
    line.split_whitespace().last().map(str::to_owned).context("an empty line instead of an address")
}
