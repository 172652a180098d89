//! A disk that a test can fill and empty: a small file system of its own, or a limit on the size of files where this machine
//! lets nobody mount one.
//!
//! In: a test that needs such a disk; out: the same test again, in a process that has the disk. Both kinds refuse writes with an
//! error of the operating system; the first as a full disk does, after the bytes that still had room.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Process;

const DIR: &str = "BROKER_TEST_SMALL_DISK";
const MIB: &str = "64";

#[derive(Debug)]
pub enum Disk {
    /// A tmpfs of 64 MiB in a mount namespace of this process.
    Small(PathBuf),
    /// `RLIMIT_FSIZE` of the broker's process.
    Limited(PathBuf),
}

impl Disk {
    /// The disk, if this process was started to have one.
    fn of_this_process() -> Option<Self> {
        std::env::var(DIR).ok().map(|dir| Self::Small(dir.into()))
    }

    pub fn dir(&self) -> &Path {
        match self {
            Self::Small(dir) | Self::Limited(dir) => dir,
        }
    }

    /// From now on every write of the broker is refused.
    pub fn fill(&self, process: &Process) {
        match self {
            Self::Small(_) => {
                let mut ballast = std::fs::File::create(self.ballast()).unwrap();
                let refused = loop {
                    if let Err(problem) = ballast.write_all(&[0; 4096]) {
                        break problem;
                    }
                };
                assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
            }
            Self::Limited(_) => limit(process, "1"),
        }
    }

    /// There is space again. A limit goes with its process, if that has ended.
    pub fn free(&self, process: Option<&Process>) {
        match (self, process) {
            (Self::Small(_), _) => std::fs::remove_file(self.ballast()).unwrap(),
            (Self::Limited(_), Some(process)) => limit(process, "unlimited"),
            (Self::Limited(_), None) => {}
        }
    }

    fn ballast(&self) -> PathBuf {
        self.dir().join("ballast")
    }
}

fn limit(process: &Process, bytes: &str) {
    let pid = process.id().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status();
    assert!(status.expect("prlimit (of util-linux) is needed to limit the broker's files").success());
}

/// Runs the test `name` on a file system of its own: this binary again, in a mount namespace. Where that is not permitted it
/// runs here, with a limit on the size of files.
pub fn on_a_small_disk(name: &str, test: impl FnOnce(&Disk)) {
    if let Some(disk) = Disk::of_this_process() {
        return test(&disk);
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(namespace) = namespace(dir.path()) else {
        eprintln!("{name}: this machine lets nobody mount a file system: the size of files is limited instead");
        return test(&Disk::Limited(dir.path().to_owned()));
    };
    let mount = format!("mount -t tmpfs -o size={MIB}m tmpfs \"$0\" && exec \"$@\"");
    let status = Command::new("unshare")
        .args(namespace)
        .args(["sh", "-c", &mount])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DIR, dir.path())
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed on a small disk: its output is above");
}

/// The arguments of `unshare` with which a file system can be mounted; root needs fewer than others.
fn namespace(dir: &Path) -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--user", "--map-root-user"]];
    ways.into_iter().find(|way| {
        let mut trial = Command::new("unshare");
        trial.args(*way).args(["mount", "-t", "tmpfs", "tmpfs"]).arg(dir);
        trial.output().is_ok_and(|output| output.status.success())
    })
}
