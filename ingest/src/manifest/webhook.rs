//! The `webhook:` part of a manifest, but for its signature.

use hirewire_yaml::{Node, Problems};

use super::values::header;
use super::{Events, Signature};

/// How the vendor's deliveries are proven, and what they are.
#[derive(Debug)]
pub struct Webhook {
    pub signature: Signature,
    /// How the vendor finds out whether somebody listens; `None`: it does not ask.
    pub handshake: Option<Handshake>,
    /// The status that tells the vendor that a delivery was kept.
    pub answer: u16,
    /// Headers that ride along with the raw event, in lower case. Never one that holds a secret or a person.
    pub keep_headers: Vec<String>,
    pub events: Events,
}

/// A request that is no delivery, and what the vendor awaits.
#[derive(Debug)]
pub enum Handshake {
    /// This header is sent back as it came, with status 200. In lower case.
    Echo(String),
}

impl Webhook {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let signature = map.require("signature", problems).and_then(|node| Signature::read(node, problems));
        let handshake = match map.get("handshake") {
            None => Some(None),
            Some(node) => Handshake::read(node, problems).map(Some),
        };
        let answers = [("200", 200), ("201", 201), ("202", 202), ("204", 204)];
        let answer = map.get("answer").map_or(Some(200), |node| node.choice(&answers, problems));
        let keep_headers = match map.get("keep_headers") {
            None => Vec::new(),
            Some(node) => node.list(problems)?.iter().filter_map(|item| header(item, problems)).collect(),
        };
        let events = Events::read(&mut map, problems);
        map.finish(problems);
        Some(Self { signature: signature?, handshake: handshake?, answer: answer?, keep_headers, events: events? })
    }
}

impl Handshake {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (_, value) = node.tagged(&["echo"], problems)?;
        header(value, problems).map(Self::Echo)
    }
}
