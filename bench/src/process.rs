//! A process of the measurement: started, read, stopped by its own pid; killed when dropped.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::machine::{Cpu, Memory};

pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: u32,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// What it logs goes to `<folder>/<name>.log`.
    pub(crate) fn start(name: &str, binary: &Path, arguments: &[&str], folder: &Path) -> anyhow::Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(folder.join(format!("{name}.log")))?;
        let mut child = Command::new(binary)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}: build it first, or name it with --binary", binary.display()))?;
        let pid = child.id().context("the process ended at once")?;
        let stdout = child.stdout.take().context("the process has no standard output")?;
        Ok(Self { name: name.to_owned(), pid, child, lines: BufReader::new(stdout).lines() })
    }

    /// The next line of standard output.
    pub(crate) async fn line(&mut self) -> anyhow::Result<String> {
        let line = tokio::time::timeout(Duration::from_secs(90), self.lines.next_line()).await;
        line.with_context(|| format!("{} printed nothing for 90 s", self.name))??
            .with_context(|| format!("{} ended; its log says why", self.name))
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of(self.pid)
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.pid)
    }

    /// # Errors
    /// When it ended by itself.
    pub(crate) fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended by itself ({status}); its log says why", self.name),
        }
    }

    /// SIGTERM, and waits.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.must_run()?;
        let told = Command::new("kill").arg("-TERM").arg(self.pid.to_string()).status().await?;
        anyhow::ensure!(told.success(), "cannot send SIGTERM to {}", self.name);
        tokio::time::timeout(Duration::from_secs(40), self.child.wait())
            .await
            .with_context(|| format!("{} did not end within 40 s of SIGTERM", self.name))??;
        Ok(())
    }
}
