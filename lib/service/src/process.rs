//! What every process tells of itself: its release, when it started, the disk that its data is on, and how few files it may open.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};

use crate::Metrics;

/// Defines the metrics of the process. `data_dir` need not exist: until it does, there is no disk to tell of.
///
/// # Errors
/// When they are defined already.
pub fn register(metrics: &Metrics, release: &str, data_dir: &Path) -> Result<(), prometheus::Error> {
    let build = IntGaugeVec::new(Opts::new("hirewire_build_info", "1; the label tells the release."), &["version"])?;
    build.with_label_values(&[release]).set(1);
    metrics.register(Box::new(build))?;
    let started = IntGauge::new("hirewire_start_time_seconds", "Unix time at which the process started.")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    started.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    metrics.register(Box::new(started))?;
    metrics.register(Box::new(Disk::new(data_dir)?))
}

/// What may still be filled of the file system that a path is on, and its size, in bytes; `None`: no such path.
#[must_use]
pub fn disk_of(path: &Path) -> Option<(u64, u64)> {
    let disk = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Some((bytes(disk.f_bavail), bytes(disk.f_blocks)))
}

/// Everything in one process has some hundred files and connections open, and one for each client.
const ENOUGH_DESCRIPTORS: u64 = 1_024;

/// Says at the start when so few files may be open that what needs one may have to wait.
pub fn warn_of_few_descriptors() {
    // Linux alone has this file.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(limit) = descriptors(&limits).filter(|limit| *limit < ENOUGH_DESCRIPTORS) {
        tracing::warn!(
            limit,
            remedy = FEW_DESCRIPTORS,
            "few files may be open at a time: what needs one more will wait or fail"
        );
    }
}

/// What to do when there are too few.
pub const FEW_DESCRIPTORS: &str =
    "if it is that too many files are open, raise the limit to 1024 or more: `ulimit -n`, `LimitNOFILE` of systemd";

/// Whether it is that; by the number that Linux and macOS have for it.
#[must_use]
pub fn is_too_many_files(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(24)
}

/// The soft limit of open files; `None`: there is none, or nobody tells.
fn descriptors(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Asked at each scrape.
struct Disk {
    data_dir: PathBuf,
    size: IntGauge,
    free: IntGauge,
}

impl Disk {
    fn new(data_dir: &Path) -> Result<Self, prometheus::Error> {
        Ok(Self {
            data_dir: data_dir.to_owned(),
            size: IntGauge::new(
                "hirewire_data_disk_size_bytes",
                "Size of the file system that the data folder is on.",
            )?,
            free: IntGauge::new("hirewire_data_disk_free_bytes", "What of it this process may still fill.")?,
        })
    }
}

impl Collector for Disk {
    fn desc(&self) -> Vec<&Desc> {
        [self.size.desc(), self.free.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some((free, size)) = disk_of(&self.data_dir) else { return Vec::new() };
        let shown = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.size.set(shown(size));
        self.free.set(shown(free));
        [self.size.collect(), self.free.collect()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data_dir: &Path) -> String {
        let metrics = Metrics::new();
        register(&metrics, "1.2.3", data_dir).unwrap();
        crate::admin::metrics_text(&metrics).unwrap()
    }

    #[test]
    fn a_process_tells_its_release_its_start_and_its_disk() {
        let folder = tempfile::tempdir().unwrap();
        let text = shown(folder.path());
        assert!(text.contains("\nhirewire_build_info{version=\"1.2.3\"} 1\n"), "{text}");
        let value = |name: &str| -> i64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
        };
        assert!(value("hirewire_start_time_seconds") > 1_700_000_000);
        let (size, free) = (value("hirewire_data_disk_size_bytes"), value("hirewire_data_disk_free_bytes"));
        assert!(0 < free && free <= size, "{free} of {size}");
    }

    #[test]
    fn the_limit_of_open_files_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             7721                 7721                 processes \n\
                      Max open files            256                  524288               files     \n";
        assert_eq!(descriptors(limits), Some(256));
        assert_eq!(descriptors("Max open files            unlimited            unlimited            files"), None);
        assert_eq!(descriptors(""), None);
    }

    #[test]
    fn without_a_data_folder_there_is_no_disk_to_tell_of() {
        let text = shown(Path::new("/no/such/folder"));
        assert!(text.contains("hirewire_build_info"));
        assert!(!text.contains("disk"), "{text}");
    }
}
