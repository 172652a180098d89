//! The `ingest:` section of the configuration: text in, checked [`Settings`] out.

use std::net::SocketAddr;
use std::time::Duration;

use hirewire_service::settings::listen;
use hirewire_yaml::{Map, Node, Problems};

use crate::connection::time;
use crate::webhook::{ReceiverLimits, ServerLimits};

/// What ingest needs beyond its connections.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub receiver: ReceiverLimits,
    pub server: ServerLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            receiver: ReceiverLimits {
                max_body_bytes: 10 * 1024 * 1024,
                // Every body is held here once and by the Kafka client once more: a quarter of the memory that the
                // process may use for it, with room for a vector to grow.
                max_in_flight_bytes: 16 * 1024 * 1024,
                body_timeout: Duration::from_secs(10),
                // With what comes before it, an answer within two seconds when the broker is away.
                keep_timeout: Duration::from_millis(1500),
            },
            server: ServerLimits {
                max_connections: 1024,
                max_header_bytes: 32 * 1024,
                header_timeout: Duration::from_secs(10),
                drain_timeout: Duration::from_secs(10),
            },
        }
    }
}

impl Settings {
    /// Reads the section; everything has a default.
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let default = Self::default();
        let mut map = node.map(problems)?;
        let address = map.get("listen").map_or(Some(default.listen), |node| listen(node, problems));
        let max_body_bytes = size(&mut map, "max_body_bytes", default.receiver.max_body_bytes, 1024, problems);
        let max_in_flight_bytes =
            size(&mut map, "max_in_flight_bytes", default.receiver.max_in_flight_bytes, 1024, problems);
        let body_timeout = time(&mut map, "body_timeout", default.receiver.body_timeout, problems);
        let keep_timeout = time(&mut map, "keep_timeout", default.receiver.keep_timeout, problems);
        let max_connections = size(&mut map, "max_connections", default.server.max_connections, 1, problems);
        let max_header_bytes = size(&mut map, "max_header_bytes", default.server.max_header_bytes, 8192, problems);
        let header_timeout = time(&mut map, "header_timeout", default.server.header_timeout, problems);
        let drain_timeout = time(&mut map, "drain_timeout", default.server.drain_timeout, problems);
        map.finish(problems);
        let settings = Self {
            listen: address?,
            receiver: ReceiverLimits {
                max_body_bytes: max_body_bytes?,
                max_in_flight_bytes: max_in_flight_bytes?,
                body_timeout: body_timeout?,
                keep_timeout: keep_timeout?,
            },
            server: ServerLimits {
                max_connections: max_connections?,
                max_header_bytes: max_header_bytes?,
                header_timeout: header_timeout?,
                drain_timeout: drain_timeout?,
            },
        };
        if settings.receiver.max_in_flight_bytes < settings.receiver.max_body_bytes {
            let hint = "raise max_in_flight_bytes, or no body of the largest size could ever be taken";
            problems.add(node, "max_in_flight_bytes is less than max_body_bytes", hint);
            return None;
        }
        Some(settings)
    }
}

fn size(map: &mut Map<'_>, key: &'static str, default: usize, least: u64, problems: &mut Problems) -> Option<usize> {
    match map.get(key) {
        None => Some(default),
        Some(node) => usize::try_from(node.whole(least, problems)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Settings>, String) {
        let mut problems = Problems::new();
        let settings = Settings::read(&hirewire_yaml::parse("h.yaml", text).unwrap(), &mut problems);
        (settings, problems.to_string())
    }

    #[test]
    fn everything_has_a_default_and_a_typo_has_a_line() {
        assert!(read("{}").0.is_some());
        assert_eq!(
            read("listen: 127.0.0.1:8080\nmax_body_byte: 5\n").1,
            "h.yaml:2: unknown key \"max_body_byte\" (did you mean \"max_body_bytes\"?)"
        );
    }

    #[test]
    fn a_budget_below_one_body_is_refused() {
        let (settings, problems) = read("{max_body_bytes: 20_000_000}");
        assert!(settings.is_none());
        assert!(problems.contains("less than max_body_bytes"), "{problems}");
    }
}
