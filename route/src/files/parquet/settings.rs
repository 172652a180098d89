//! `parquet:` of a sink.

use std::path::PathBuf;
use std::time::Duration;

use hirewire_yaml::{Node, Problems};

use crate::settings::read_duration;

/// The checked settings of a `parquet` sink.
#[derive(Debug, Clone)]
pub(crate) struct TablesSettings {
    /// The folder.
    pub(crate) path: PathBuf,
    /// How long rows may gather.
    pub(crate) flush_after: Duration,
}

impl TablesSettings {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let path = map.require("path", problems).and_then(|node| node.path(problems));
        let mut flush_after = Duration::from_secs(60);
        read_duration(&mut map, "flush_after", &mut flush_after, problems);
        map.finish(problems);
        Some(Self { path: path?, flush_after })
    }
}
