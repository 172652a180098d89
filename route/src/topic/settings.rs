//! `kafka:` of a sink.

use std::sync::Arc;

use hirewire_yaml::{Node, Problems};

use super::cluster::Cluster;

/// The checked settings of a `kafka` sink.
#[derive(Clone)]
pub(crate) struct TopicSettings {
    pub(crate) topic: Arc<str>,
    /// Of copied records; what requests make is JSON.
    pub(crate) format: Format,
    /// `None`: our own.
    pub(crate) cluster: Option<Cluster>,
}

/// How a copied record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Its very bytes, with the registry's id in front.
    Avro,
    Json,
}

impl TopicSettings {
    /// `copies`: the sink's system hands on records as they are, so that there is a format to choose.
    pub(crate) fn read(node: &Node, copies: bool, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let cluster = map.get("cluster").map_or(Some(None), |node| Cluster::read(node, problems).map(Some));
        let topic_node = map.require("topic", problems);
        let topic = topic_node.and_then(|node| read_topic(node, matches!(cluster, Some(None)), problems));
        let format = map.get("format").map_or(Some(Format::Avro), |node| {
            if !copies {
                problems.add(node, "what a request makes is always JSON", "remove `format`");
            }
            node.choice(&[("avro", Format::Avro), ("json", Format::Json)], problems)
        });
        map.finish(problems);
        Some(Self { topic: topic?, format: format?, cluster: cluster? })
    }
}

/// `ours`: it is in our own cluster, where a topic of Hirewire's would be fed with what it feeds.
fn read_topic(node: &Node, ours: bool, problems: &mut Problems) -> Option<Arc<str>> {
    let text = node.text(problems)?;
    let fine = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !fine || text.len() > 249 || matches!(text, "." | "..") {
        problems.add(
            node,
            format!("\"{text}\" is no name of a topic"),
            "letters, digits, `.`, `_` and `-`, at most 249",
        );
        return None;
    }
    if ours && text.split('.').any(|part| matches!(part, "ats" | "hirewire")) {
        problems.add(
            node,
            format!("\"{text}\" looks like a topic of Hirewire's own, which no sink may write to"),
            "choose a name without the parts `ats` and `hirewire`",
        );
        return None;
    }
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, copies: bool) -> Result<TopicSettings, Problems> {
        let mut problems = Problems::new();
        let settings = TopicSettings::read(&hirewire_yaml::parse("s.yaml", text).unwrap(), copies, &mut problems);
        problems.into_result(settings)
    }

    #[test]
    fn a_topic_of_our_own_cluster_or_of_another_is_read() {
        let own = read("topic: hr.moves.v1", true).ok().unwrap();
        assert!(&*own.topic == "hr.moves.v1" && own.format == Format::Avro && own.cluster.is_none());
        let other = "{topic: prod.ats.moves, format: json, cluster: {bootstrap_servers: 'k:9092', tls: {}}}";
        let other = read(other, true).ok().unwrap();
        assert!(other.format == Format::Json && other.cluster.is_some());
    }

    #[test]
    fn every_mistake_comes_with_its_line_and_a_hint() {
        let text = "topic: prod.ats.stage-change.v1\nformat: jsn\n";
        let found = read(text, true).err().unwrap().to_string();
        assert!(
            found.contains("s.yaml:1: \"prod.ats.stage-change.v1\" looks like a topic of Hirewire's own"),
            "{found}"
        );
        assert!(found.contains("s.yaml:2: \"jsn\" is not known here"), "{found}");
        let text = "topic: a topic\nformat: json\ncluster:\n  bootstrap_servers: k\n  partitions: 3\n";
        let found = read(text, false).err().unwrap().to_string();
        for expected in [
            "s.yaml:1: \"a topic\" is no name of a topic",
            "s.yaml:2: what a request makes is always JSON (remove `format`)",
            "s.yaml:4: \"k\" is not a list of brokers",
            "s.yaml:5: `partitions` has no effect on another cluster",
        ] {
            assert!(found.contains(expected), "{expected}\nnot in\n{found}");
        }
    }
}
