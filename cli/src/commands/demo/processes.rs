//! Each service in a process of its own; some are killed on the way and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use hirewire_service::free_address;
use tokio::process::{Child, Command};

/// The services as processes.
pub(super) struct Processes {
    binary: PathBuf,
    config: PathBuf,
    running: Vec<Service>,
    random: fastrand::Rng,
    kills_left: u32,
    next_kill: Instant,
    pub(super) killed: u32,
}

struct Service {
    name: &'static str,
    arguments: &'static [&'static str],
    admin: SocketAddr,
    child: Child,
}

const SERVICES: [(&str, &[&str]); 4] = [
    ("webhook", &["ingest", "--role", "webhook"]),
    ("poll", &["ingest", "--role", "poll"]),
    ("normalize", &["normalize"]),
    ("route", &["route"]),
];

impl Processes {
    pub(super) fn start(config: &Path, seed: u64, kills: u32) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("this program cannot find itself")?;
        let mut running = Vec::new();
        for (name, arguments) in SERVICES {
            let admin = free_address()?;
            running.push(Service { name, arguments, admin, child: spawn(&binary, config, name, arguments, admin)? });
        }
        Ok(Self {
            binary,
            config: config.to_owned(),
            running,
            random: fastrand::Rng::with_seed(seed),
            kills_left: kills,
            next_kill: Instant::now() + Duration::from_secs(3),
            killed: 0,
        })
    }

    /// Waits until each service says that it is ready: a route acts from the moment on when it was first enabled.
    pub(super) async fn wait_until_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + limit;
        for service in &mut self.running {
            let url = format!("http://{}/readyz", service.admin);
            loop {
                let answer = reqwest::get(&url).await;
                if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                if let Some(status) = service.child.try_wait()? {
                    anyhow::bail!("{} ended while it started: {status}", service.name);
                }
                if Instant::now() > until {
                    let waiting = match answer {
                        Ok(answer) => answer.text().await?,
                        Err(error) => error.to_string(),
                    };
                    anyhow::bail!("{} is not ready after {} s: {waiting}", service.name, limit.as_secs());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.next_kill = Instant::now() + Duration::from_secs(3);
        Ok(())
    }

    /// Kills one, if it is time; starts again what has ended. To be called often.
    pub(super) async fn tend(&mut self) -> anyhow::Result<()> {
        if self.kills_left > 0 && Instant::now() >= self.next_kill {
            let victim = self.random.usize(..self.running.len());
            if let Some(service) = self.running.get_mut(victim) {
                service.child.start_kill().with_context(|| format!("cannot kill {}", service.name))?;
                service.child.wait().await?;
                self.killed += 1;
            }
            self.kills_left -= 1;
            self.next_kill = Instant::now() + Duration::from_millis(self.random.u64(1_000..4_000));
        }
        for service in &mut self.running {
            if let Some(status) = service.child.try_wait()? {
                use std::os::unix::process::ExitStatusExt;
                // Ended by our SIGKILL: that is the exercise. Ended by itself: it must have been told to.
                anyhow::ensure!(status.signal().is_some(), "{} ended by itself: {status}", service.name);
                service.child = spawn(&self.binary, &self.config, service.name, service.arguments, service.admin)?;
            }
        }
        Ok(())
    }

    /// Whether every planned kill was made.
    pub(super) fn all_killed(&self) -> bool {
        self.kills_left == 0
    }

    /// SIGTERM to all; each must end by itself.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        for service in &self.running {
            if let Some(pid) = service.child.id() {
                let told = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await?;
                anyhow::ensure!(told.success(), "cannot send SIGTERM to {}", service.name);
            }
        }
        for mut service in self.running {
            let ended = tokio::time::timeout(Duration::from_secs(30), service.child.wait()).await;
            let status = ended.with_context(|| format!("{} did not end within 30 s of SIGTERM", service.name))??;
            anyhow::ensure!(status.success(), "{} ended with {status} after SIGTERM", service.name);
        }
        Ok(())
    }
}

/// Standard error goes to a file beside the configuration, one for each service.
fn spawn(binary: &Path, config: &Path, name: &str, arguments: &[&str], admin: SocketAddr) -> anyhow::Result<Child> {
    let folder = config.parent().unwrap_or_else(|| Path::new("."));
    let log = std::fs::File::options().create(true).append(true).open(folder.join(format!("{name}.log")))?;
    Command::new(binary)
        .args(arguments)
        .arg("--config")
        .arg(config)
        .arg("--admin")
        .arg(admin.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))
}
