//! The configuration of a route that runs: read again when its file or its folder of sinks changes, and on SIGHUP.
//!
//! In: files. Out: checked settings, or all their mistakes, to the service. What is read must have stayed as it is for two
//! looks, so that a file that is being written is not taken for a short one.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{ConfigFile, Secrets};
use crate::vendors::Vendors;

/// Between two looks at the files.
const GLANCE: Duration = Duration::from_secs(1);

/// By what a file is seen to be another: its path, time and size.
type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// Watches until it is dropped.
///
/// # Errors
/// When the process may not install signal handlers.
pub(crate) async fn watch(
    file: &ConfigFile,
    vendors: &Vendors,
    settings: &hirewire_route::Settings,
    reloads: &mpsc::Sender<hirewire_route::Reload>,
) -> anyhow::Result<Infallible> {
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be listened to")?;
    let mut folder = settings.folder().map(Path::to_owned);
    let mut changes = Changes::of(stamp(&file.config, folder.as_deref()));
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: the configuration is read again");
                changes = Changes::of(stamp(&file.config, folder.as_deref()));
            }
            () = tokio::time::sleep(GLANCE) => {
                if !changes.settled(stamp(&file.config, folder.as_deref())) {
                    continue;
                }
                tracing::info!("the configuration has changed and is read again");
            }
        }
        let read = file.read(vendors, Secrets { route: true, ..Secrets::NONE });
        if let Ok(config) = &read
            && config.route.folder() != folder.as_deref()
        {
            folder = config.route.folder().map(Path::to_owned);
            changes = Changes::of(stamp(&file.config, folder.as_deref()));
        }
        let reload = read.map(|config| config.route).map_err(|error| format!("{error:#}"));
        // A service that has ended takes no settings, and ends this too.
        drop(reloads.send(reload).await);
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

/// Of the file and everything in the folder. What cannot be looked at is not there.
fn stamp(file: &Path, folder: Option<&Path>) -> Stamp {
    let mut stamp = Vec::new();
    let mut waiting: Vec<PathBuf> = std::iter::once(file).chain(folder).map(Path::to_owned).collect();
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
    use super::*;

    #[test]
    fn files_are_read_when_they_have_changed_and_stay_so() {
        let folder = tempfile::tempdir().unwrap();
        let (file, sinks) = (folder.path().join("hirewire.yaml"), folder.path().join("sinks"));
        std::fs::create_dir_all(sinks.join("one")).unwrap();
        let now = || stamp(&file, Some(&sinks));
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        write(&file, "a");
        let mut changes = Changes::of(now());
        assert!(!changes.settled(now()), "nothing has changed");
        write(&file, "ab");
        assert!(!changes.settled(now()), "it may not be written to its end");
        write(&file, "abc");
        assert!(!changes.settled(now()), "as it was not");
        assert!(changes.settled(now()));
        assert!(!changes.settled(now()), "once");
        write(&sinks.join("one").join("sink.yaml"), "x");
        assert!(!changes.settled(now()) && changes.settled(now()), "a file in the folder");
        std::fs::remove_file(&file).unwrap();
        assert!(!changes.settled(now()) && changes.settled(now()), "one that is gone is told as a mistake");
    }
}
