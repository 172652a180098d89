//! The `webhook:` part of a manifest.

use std::collections::BTreeMap;

use hirewire_yaml::{Node, Problems};

use super::{Subject, header, required_path};
use crate::json::Path;

/// How the vendor's deliveries are proven, named and keyed.
#[derive(Debug)]
pub struct Webhook {
    pub signature: Signature,
    /// The header that names a delivery, in lower case: the same name is the same delivery.
    pub delivery_id: String,
    /// Headers that ride along with the raw event, in lower case. Never one that holds a secret or a person.
    pub keep_headers: Vec<String>,
    /// Where the body says which event it is.
    pub(crate) event: Path,
    /// What each known event is about. Others are kept too, keyed by the connection.
    pub subjects: BTreeMap<String, Subject>,
    /// Events that may carry answers about a person's demographics.
    pub restricted: Vec<String>,
}

/// How a delivery proves its sender.
#[derive(Debug)]
pub enum Signature {
    Hmac(Hmac),
    /// The vendor signs nothing. Never a default: it must be written, and is logged at start.
    None,
}

/// A keyed hash over the exact bytes of the body, in a header: `<before><encoded hash>`.
#[derive(Debug)]
pub struct Hmac {
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    /// In lower case.
    pub header: String,
    pub before: String,
}

#[derive(Debug, Clone, Copy)]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy)]
pub enum Encoding {
    Hex,
    Base64,
}

impl Webhook {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let signature = map.require("signature", problems).and_then(|node| Signature::read(node, problems));
        let delivery_id = map.require("delivery_id", problems).and_then(|node| delivery_id(node, problems));
        let keep_headers = match map.get("keep_headers") {
            None => Vec::new(),
            Some(node) => node.list(problems)?.iter().filter_map(|item| header(item, problems)).collect(),
        };
        let event = required_path(&mut map, "event", problems);
        let subjects = map.require("subjects", problems).and_then(|node| subjects(node, problems));
        let restricted = match map.get("restricted") {
            None => Vec::new(),
            Some(node) => node.list(problems)?.iter().filter_map(|i| i.text(problems).map(str::to_owned)).collect(),
        };
        map.finish(problems);
        Some(Self {
            signature: signature?,
            delivery_id: delivery_id?,
            keep_headers,
            event: event?,
            subjects: subjects?,
            restricted,
        })
    }
}

impl Signature {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (kind, value) = node.tagged(&["hmac", "none"], problems)?;
        let mut map = value.map(problems)?;
        if kind == "none" {
            map.finish(problems);
            return Some(Self::None);
        }
        let algorithms = [("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)];
        let encodings = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
        let algorithm = map.require("algorithm", problems).and_then(|node| node.choice(&algorithms, problems));
        let encoding = map.require("encoding", problems).and_then(|node| node.choice(&encodings, problems));
        let in_header = map.require("header", problems).and_then(|node| header(node, problems));
        let before = map.get("before").map_or(Some(""), |node| node.text(problems));
        map.require("signed", problems).and_then(|node| node.choice(&[("body", ())], problems));
        map.finish(problems);
        Some(Self::Hmac(Hmac {
            algorithm: algorithm?,
            encoding: encoding?,
            header: in_header?,
            before: before?.to_owned(),
        }))
    }
}

fn delivery_id(node: &Node, problems: &mut Problems) -> Option<String> {
    let (_, value) = node.tagged(&["header"], problems)?;
    header(value, problems)
}

fn subjects(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, Subject>> {
    let mut map = node.map(problems)?;
    let entries = map.entries().filter_map(|(_, event, at)| Some((event.to_owned(), Subject::read(at, problems)?)));
    Some(entries.collect())
}
