//! Three nodes of a real Kafka, each topic on all three, a write acknowledged by two at least.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const NODES: usize = 3;

pub(crate) struct Cluster {
    folder: PathBuf,
    /// The addresses of all nodes.
    pub(crate) bootstrap: String,
}

impl Cluster {
    pub(crate) fn start(folder: &Path, port: u16) -> Self {
        let bootstrap = script(&["cluster", folder.to_str().unwrap(), &port.to_string()]);
        Self { folder: folder.to_owned(), bootstrap }
    }

    /// SIGKILL of a node, counted from 0.
    pub(crate) fn kill(&self, node: usize) {
        script(&["kill", self.node(node).to_str().unwrap()]);
    }

    /// Until the node says that it has started.
    pub(crate) fn again(&self, node: usize) {
        script(&["again", self.node(node).to_str().unwrap()]);
    }

    fn node(&self, node: usize) -> PathBuf {
        self.folder.join((node + 1).to_string())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 0..NODES {
            Command::new(SCRIPT).arg("stop").arg(self.node(node)).status().unwrap();
        }
    }
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/kafka.sh");

fn script(arguments: &[&str]) -> String {
    let output = Command::new(SCRIPT).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
