//! What Linux tells of this machine and of a process: `/proc` in, plain numbers out.

use anyhow::Context;
use serde::Serialize;

/// The machine at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    /// Load average of the last minute.
    pub(crate) load: f64,
}

impl Machine {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/loadavg").context("no /proc/loadavg: this runs on Linux only")?;
        let load = text.split_whitespace().next().context("/proc/loadavg is empty")?.parse()?;
        Ok(Self { cores: std::thread::available_parallelism()?.get(), load })
    }

    /// Before a measurement began, somebody else was using more than half a core.
    pub(crate) fn is_busy(&self) -> bool {
        self.load > 0.5
    }
}

/// CPU time that a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    ticks: u64,
    ticks_per_second: u64,
}

impl Cpu {
    /// utime + stime of all threads, in clock ticks (usually 100 a second).
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the measured process is gone")?;
        // The name in parentheses may hold spaces: fields are counted after its end. State is the third of proc(5).
        let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
        let mut fields = rest.split_whitespace().skip(11);
        let mut next =
            || fields.next().context("/proc/PID/stat is too short")?.parse::<u64>().map_err(anyhow::Error::from);
        Ok(Self { ticks: next()? + next()?, ticks_per_second: ticks_per_second()? })
    }

    /// Seconds since an earlier reading of the same process.
    pub(crate) fn since(self, earlier: Self) -> f64 {
        self.ticks.saturating_sub(earlier.ticks) as f64 / self.ticks_per_second as f64
    }

    /// Seconds since the process began.
    pub(crate) fn seconds(self) -> f64 {
        self.ticks as f64 / self.ticks_per_second as f64
    }
}

fn ticks_per_second() -> anyhow::Result<u64> {
    let output = std::process::Command::new("getconf").arg("CLK_TCK").output().context("getconf is missing")?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Resident memory of a process in MB (10⁶ bytes).
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    pub(crate) now_mb: f64,
    pub(crate) peak_mb: f64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the measured process is gone")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
            Ok::<f64, anyhow::Error>((kib * 1.024 / 100.0).round() / 10.0)
        };
        Ok(Self { now_mb: field("VmRSS:")?, peak_mb: field("VmHWM:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_reads_itself() {
        let pid = std::process::id();
        let before = Cpu::of(pid).unwrap();
        // Until it has worked for a tick of the clock that counts it, however long a busy machine takes to let it.
        while Cpu::of(pid).unwrap().since(before) < 0.01 {}
        assert!(Memory::of(pid).unwrap().peak_mb > 1.0);
    }
}
