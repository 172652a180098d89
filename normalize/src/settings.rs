//! `normalize:` of the configuration.

use std::time::Duration;

use hirewire_service::settings::duration;
use hirewire_yaml::{Node, Problems};

/// How normalize works. What is not written has the default named here.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most time from the begin of a transaction to its commit: what a record waits at most. 20 ms.
    pub commit_interval: Duration,
    /// Most raw records of a transaction. 500.
    pub commit_max_records: usize,
    /// How long workers may take to commit what they began when partitions are revoked. 10 s.
    pub drain_deadline: Duration,
    /// How long a record waits for a look-up that is not there yet; then it goes out with the id alone. 2 s.
    pub lookup_wait: Duration,
    /// How long after a change was told by a delivery or by polling alone it is counted so. 1 h.
    pub confirm_within: Duration,
    /// Memory for recent states, of all partitions of the process. 64 MiB.
    pub cache_bytes: usize,
    /// How long a start waits for the schema registry. 2 min.
    pub registry_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_millis(20),
            commit_max_records: 500,
            drain_deadline: Duration::from_secs(10),
            lookup_wait: Duration::from_secs(2),
            confirm_within: Duration::from_secs(3600),
            cache_bytes: 64 << 20,
            registry_wait: Duration::from_secs(120),
        }
    }
}

impl Settings {
    /// Reads the section; `None` in means: all defaults. Mistakes go to `problems`.
    pub fn read(node: Option<&Node>, problems: &mut Problems) -> Option<Self> {
        let mut settings = Self::default();
        let Some(node) = node else { return Some(settings) };
        let mut map = node.map(problems)?;
        let mut time = |key: &'static str, slot: &mut Duration, problems: &mut Problems| {
            if let Some(value) = map.get(key).and_then(|node| duration(node, problems)) {
                *slot = value;
            }
        };
        time("commit_interval", &mut settings.commit_interval, problems);
        time("drain_deadline", &mut settings.drain_deadline, problems);
        time("lookup_wait", &mut settings.lookup_wait, problems);
        time("confirm_within", &mut settings.confirm_within, problems);
        time("registry_wait", &mut settings.registry_wait, problems);
        for (key, slot, least) in [
            ("commit_max_records", &mut settings.commit_max_records, 1),
            ("cache_bytes", &mut settings.cache_bytes, 1 << 20),
        ] {
            if let Some(value) = map.get(key).and_then(|node| node.whole(least, problems)) {
                *slot = usize::try_from(value).unwrap_or(usize::MAX);
            }
        }
        // Both are spent inside an open transaction, which ends by itself after 15 s.
        if settings.commit_interval + settings.lookup_wait > LONGEST_OPEN {
            problems.add(
                map.node(),
                "`commit_interval` and `lookup_wait` are more than 10s together",
                "a transaction ends by itself after 15s",
            );
        }
        map.finish(problems);
        Some(settings)
    }
}

/// Most time that settings may keep a transaction open.
const LONGEST_OPEN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let root =
            hirewire_yaml::parse("n.yaml", "commit_intervall: 20ms\nlookup_wait: 5\ncommit_max_records: 0\n").unwrap();
        let mut problems = Problems::new();
        assert!(Settings::read(Some(&root), &mut problems).is_some());
        let text = problems.to_string();
        for expected in ["n.yaml:1", "did you mean \"commit_interval\"", "\"5\" is not a duration", "0 is too small"] {
            assert!(text.contains(expected), "{expected} not in {text}");
        }
    }
}
