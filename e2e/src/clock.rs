//! A wall clock of one process alone, which a test sets forward and back.
//!
//! Linux has none: a namespace of time moves monotonic clocks only. So a small library between the process and the C library,
//! `clock/moved.c`, which the C compiler makes that the build needs too.
//!
//! What goes wrong ends the test that called.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

pub struct WallClock {
    folder: tempfile::TempDir,
}

impl WallClock {
    /// It is right.
    #[must_use]
    pub fn make() -> Self {
        let clock = Self { folder: tempfile::tempdir().unwrap() };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clock/moved.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-o"]).arg(clock.folder.path().join("moved.so")).arg(source);
        assert!(cc.status().unwrap().success(), "{cc:?}");
        clock.set(0);
        clock
    }

    /// The process will go by it.
    pub fn give_to(&self, command: &mut Command) {
        let file = |name| self.folder.path().join(name);
        command.env("LD_PRELOAD", file("moved.so")).env("HIREWIRE_TEST_CLOCK", file("ahead"));
    }

    /// By how much it is ahead from now on; below 0, behind.
    pub fn set(&self, ahead_secs: i64) {
        // In one write, and never shorter: the process has the file mapped.
        let mut file =
            File::options().create(true).truncate(false).write(true).open(self.folder.path().join("ahead")).unwrap();
        file.write_all(&ahead_secs.to_ne_bytes()).unwrap();
    }
}
