//! The configuration of a route that runs: read again when its file or its folder of sinks changes, and on SIGHUP.
//!
//! In: files. Out: checked settings, or all their mistakes, to the service. What is read must have stayed as it is for two
//! looks, so that a file that is being written is not taken for a short one.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{Config, ConfigFile, Secrets, Sinks};
use crate::vendors::Vendors;

/// Between two looks at the files.
const GLANCE: Duration = Duration::from_secs(1);

/// By what a file is seen to be another: its path, time and size.
type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// The watch over a configuration's files.
pub(crate) struct Watch<'a> {
    file: &'a ConfigFile,
    /// The sinks of this process; none: all.
    sinks: &'a [String],
    changes: Changes,
}

impl<'a> Watch<'a> {
    /// Before the configuration is read for the first time, so that no change after that is missed.
    pub(crate) fn begin(file: &'a ConfigFile, sinks: &'a [String]) -> Self {
        Self { file, sinks, changes: Changes::of(look(file)) }
    }

    /// The configuration, of route those sinks alone that are this process's.
    ///
    /// # Errors
    /// All mistakes of the file, or a sink that it does not have.
    pub(crate) fn read(&self, vendors: &Vendors) -> anyhow::Result<Config> {
        let route = if self.sinks.is_empty() { Sinks::All } else { Sinks::Only(self.sinks) };
        let mut config = self.file.read(vendors, Secrets { route, ..Secrets::NONE })?;
        if !self.sinks.is_empty() {
            config.route = config.route.only(self.sinks).context("--sinks")?;
        }
        Ok(config)
    }

    /// Watches until it is dropped.
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    pub(crate) async fn run(
        mut self,
        vendors: &Vendors,
        reloads: &mpsc::Sender<hirewire_route::Reload>,
    ) -> anyhow::Result<Infallible> {
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be listened to")?;
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP: the configuration is read again");
                    self.changes = Changes::of(look(self.file));
                }
                () = tokio::time::sleep(GLANCE) => {
                    if !self.changes.settled(look(self.file)) {
                        continue;
                    }
                    tracing::info!("the configuration has changed and is read again");
                }
            }
            let read = self.read(vendors);
            let reload = read.map(|config| config.route).map_err(|error| format!("{error:#}"));
            // A service that has ended takes no settings, and ends this too.
            drop(reloads.send(reload).await);
        }
    }
}

/// What was read, and what was seen since.
struct Changes {
    read: Stamp,
    seen: Stamp,
}

impl Changes {
    fn of(stamp: Stamp) -> Self {
        Self { read: stamp.clone(), seen: stamp }
    }

    /// Whether the files are others than those that were read, and stay as they are. Then they count as read.
    fn settled(&mut self, now: Stamp) -> bool {
        let settled = now != self.read && now == self.seen;
        if settled {
            self.read.clone_from(&now);
        }
        self.seen = now;
        settled
    }
}

/// Of the file, and then of what it names: who writes another one between the two is seen at the next look.
fn look(file: &ConfigFile) -> Stamp {
    let mut stamp = stamp(vec![file.config.clone()]);
    stamp.extend(self::stamp(file.files_of_route()));
    stamp
}

/// Of files and everything in folders. What cannot be looked at is not there.
fn stamp(mut waiting: Vec<PathBuf>) -> Stamp {
    let mut stamp = Vec::new();
    while let Some(path) = waiting.pop() {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            waiting.extend(entries.map(|entry| entry.path()));
        }
        stamp.push((path, metadata.modified().ok(), metadata.len()));
    }
    stamp.sort();
    stamp
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn files_are_read_when_they_have_changed_and_stay_so() {
        let folder = tempfile::tempdir().unwrap();
        let (file, sinks) = (folder.path().join("hirewire.yaml"), folder.path().join("sinks"));
        std::fs::create_dir_all(sinks.join("one")).unwrap();
        let configuration = ConfigFile { config: file.clone() };
        let now = || look(&configuration);
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        let text = |more: &str| {
            let http = "http: {url: 'https://x.example', ca: ca.pem}";
            format!("route: {{sinks_dir: sinks}}\nsinks: {{one: {{{http}}}}}\n# {more}\n")
        };
        write(&file, &text(""));
        let mut changes = Changes::of(now());
        assert!(!changes.settled(now()), "nothing has changed");
        write(&file, &text("a"));
        assert!(!changes.settled(now()), "it may not be written to its end");
        write(&file, &text("ab"));
        assert!(!changes.settled(now()), "as it was not");
        assert!(changes.settled(now()));
        assert!(!changes.settled(now()), "once");
        write(&sinks.join("one").join("sink.yaml"), "x");
        assert!(!changes.settled(now()) && changes.settled(now()), "a file in the folder");
        write(&folder.path().join("ca.pem"), "x");
        assert!(!changes.settled(now()) && changes.settled(now()), "a certificate");
        std::fs::remove_file(&file).unwrap();
        assert!(!changes.settled(now()) && changes.settled(now()), "one that is gone is told as a mistake");
    }

    /// The service has read the file; before its watch began to look, the file was another.
    #[tokio::test]
    async fn a_change_right_after_the_first_reading_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = ConfigFile { config: folder.path().join("hirewire.yaml") };
        let (sender, mut reloads) = mpsc::channel(1);
        let vendors = Vendors::open(None).unwrap();
        std::fs::write(&file.config, "sinks: {}").unwrap();
        let watch = Watch::begin(&file, &[]);
        std::fs::write(&file.config, "sinks: {a: 1}").unwrap();
        let taken_over = async { tokio::time::timeout(GLANCE * 10, reloads.recv()).await };
        tokio::select! {
            taken_over = taken_over => assert!(matches!(taken_over, Ok(Some(Err(_)))), "it has mistakes"),
            refused = watch.run(&vendors, &sender) => match refused.unwrap() {},
        }
    }
}
