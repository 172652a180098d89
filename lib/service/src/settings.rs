//! Values that settings of several services write alike.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hirewire_yaml::{Node, Problems};
use reqwest::Certificate;

/// `250ms`, `5s`, `2m`, `24h`, `28d`; more than nothing.
pub fn duration(node: &Node, problems: &mut Problems) -> Option<Duration> {
    let read = duration_or_zero(node, problems)?;
    if read.is_zero() {
        problems.add(node, "a time of nothing", "write a longer one");
        return None;
    }
    Some(read)
}

/// As [`duration`], where none at all makes sense too.
pub fn duration_or_zero(node: &Node, problems: &mut Problems) -> Option<Duration> {
    let text = node.text(problems)?;
    let parsed = parse_duration(text);
    if parsed.is_none() {
        problems.add(
            node,
            format!("\"{text}\" is not a duration"),
            "write a number and a unit: 250ms, 5s, 2m, 24h, 28d",
        );
    }
    parsed
}

/// As [`duration`], for command lines.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

/// `127.0.0.1:8080`; port 0 takes a free one.
pub fn listen(node: &Node, problems: &mut Problems) -> Option<SocketAddr> {
    let text = node.text(problems)?;
    let address = text.parse().ok();
    if address.is_none() {
        problems.add(
            node,
            format!("\"{text}\" is not an address to listen on"),
            "write IP:PORT, for example 127.0.0.1:8080",
        );
    }
    address
}

/// `tls: {ca_file}`: the file of the authority that signed the certificate of `whose`, checked to hold one.
pub fn authority(node: &Node, whose: &str, problems: &mut Problems) -> Option<PathBuf> {
    let mut map = node.map(problems)?;
    let file = map.require("ca_file", problems).and_then(|node| Some((node, node.path(problems)?)));
    map.finish(problems);
    let (node, path) = file?;
    match std::fs::read(&path).map_err(|error| error.to_string()).and_then(|pem| certificates(&pem)) {
        Ok(_) => Some(path),
        Err(error) => {
            let what = format!("{} holds no certificates: {error}", path.display());
            problems.add(node, what, format!("PEM, of the authority that signed the {whose}'s certificate"));
            None
        }
    }
}

/// The certificate of an authority that is trusted for one address, beside the system's. A file that is not there is an
/// absence, as of a secret, and the certificate empty.
pub fn ca(node: &Node, problems: &mut Problems) -> Option<Vec<u8>> {
    let path = node.path(problems)?;
    let hint = "name a file with one certificate in PEM";
    match std::fs::read(&path) {
        Ok(pem) if native_tls::Certificate::from_pem(&pem).is_ok() => Some(pem),
        Ok(_) => {
            problems.add(node, format!("{} holds no certificate", path.display()), hint);
            None
        }
        Err(error) => {
            problems.add_absent(node, format!("{} cannot be read: {error}", path.display()), hint);
            Some(Vec::new())
        }
    }
}

/// The certificates of a PEM file; at least one.
///
/// # Errors
/// What is wrong with the file.
pub fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let found = Certificate::from_pem_bundle(pem).map_err(|error| error.to_string())?;
    if found.is_empty() { Err("it is no PEM file".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_at_all_is_refused_where_it_makes_no_sense() {
        let node = hirewire_yaml::parse("s.yaml", "0s").unwrap();
        let mut problems = Problems::new();
        assert_eq!(duration_or_zero(&node, &mut problems), Some(Duration::ZERO));
        assert_eq!(duration(&node, &mut problems), None);
        assert_eq!(problems.to_string(), "s.yaml:1: a time of nothing (write a longer one)");
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("28d"), Some(Duration::from_secs(28 * 86_400)));
        for text in ["5", "s", "5 s", "-1s", "1w", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
