//! `signing` of an `http:` sink.

use hirewire_service::Secret;
use hirewire_service::hmac::{Algorithm, Encoding};
use hirewire_yaml::{Node, Problems, Value};
use reqwest::header::{HeaderName, HeaderValue};

use crate::http::signing::Signing;
use crate::http::signing::keyed::{Part, Scheme, SentAt, TimePlace, Unit};
use crate::http::signing::standard::Signer;

/// Headers that a signature cannot stand in: the transport's own.
const NOT_FOR_SIGNATURES: [&str; 9] = [
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "idempotency-key",
    "traceparent",
    "transfer-encoding",
    "user-agent",
];
/// Headers that are made when a request was signed already.
const MADE_LATER: [&str; 6] =
    ["authorization", "connection", "content-length", "host", "transfer-encoding", "user-agent"];

pub(super) fn read_signing(node: &Node, problems: &mut Problems) -> Option<Signing> {
    let mut map = node.map(problems)?;
    let list = map.require("secrets", problems);
    let secrets = list.and_then(|node| {
        let items = node.list(problems)?;
        if items.is_empty() || items.len() > 4 {
            problems.add(node, "one secret signs, or two of each kind during a rotation", "list one to four secrets");
        }
        let read: Vec<_> = items.iter().map(|item| Secret::read(item, problems)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    });
    let hmac = map.get("hmac");
    map.finish(problems);
    let Some(hmac) = hmac else { return standard(list?, secrets?, problems).map(Signing::Standard) };
    // How many there are matters to the rest.
    let secrets = secrets.unwrap_or_default();
    read_scheme(hmac, secrets, problems).map(Signing::Keyed)
}

fn standard(list: &Node, secrets: Vec<Secret>, problems: &mut Problems) -> Option<Signer> {
    let present = secrets.iter().all(|secret| secret.bytes().is_ok());
    let signer = Signer::new(secrets);
    // Of what is not there nothing can be said but that.
    if !present {
        return Some(signer);
    }
    if let Err(error) = signer.sign("check", 0, b"") {
        problems.add(
            list,
            error.to_string(),
            "for a receiver that is no Standard Webhook, write `hmac: {…}` beside it",
        );
        return None;
    }
    Some(signer)
}

/// A scheme in the words of a vendor's manifest, with those that only a sender has.
pub(crate) fn read_scheme(node: &Node, secrets: Vec<Secret>, problems: &mut Problems) -> Option<Scheme> {
    let mut map = node.map(problems)?;
    let before_all = problems.len();
    let algorithm = map.require("algorithm", problems).and_then(|node| node.choice(&Algorithm::WORDS, problems));
    let encoding = map.require("encoding", problems).and_then(|node| node.choice(&Encoding::WORDS, problems));
    let header_node = map.require("header", problems);
    let headers = header_node.and_then(|node| read_headers(node, problems));
    let before = map.get("before").map_or(Some(""), |node| readable(node, problems));
    let between = map.get("between").map_or(Some(None), |node| readable(node, problems).map(Some));
    let wrapped = map.get("decoded").map_or(Some(false), |node| node.choice(&[("base64", true)], problems));
    let sent_at_node = map.get("sent_at");
    let sent_at = sent_at_node.map_or(Some(None), |node| read_sent_at(node, problems).map(Some));
    let signed_node = map.require("signed", problems);
    let signed = signed_node.and_then(|node| read_signed(node, sent_at.as_ref().and_then(Option::as_ref), problems));
    map.finish(problems);
    let (headers, sent_at, between) = (headers?, sent_at?, between?);
    if headers.len() > 1 && headers.len() != secrets.len() {
        let what = format!("{} headers for {} secrets", headers.len(), secrets.len());
        problems.add(header_node?, what, "name one header for all of them, or one for each");
    }
    let claims = usize::from(sent_at.as_ref().is_some_and(|sent_at| matches!(sent_at.place, TimePlace::Claim(_))));
    let hashes = if headers.len() > 1 { 1 } else { secrets.len() };
    if claims + hashes > 1 && between.is_none() {
        problems.add(node, "several things in one header, and nothing between them", "add `between: \",\"`");
    }
    if let (Some(sent_at), Some((signed, _))) = (&sent_at, &signed)
        && !signed.contains(&match &sent_at.place {
            TimePlace::Header(name) => Part::Header(name.clone()),
            TimePlace::Claim(_) => Part::SentAt,
        })
    {
        let hint = "anybody could write it: name it among the parts of `signed`";
        problems.add(sent_at_node?, "a time that is not signed", hint);
    }
    if problems.len() > before_all {
        return None;
    }
    let (signed, by) = signed?;
    Some(Scheme {
        secrets,
        algorithm: algorithm?,
        encoding: encoding?,
        headers,
        before: before?.to_owned(),
        between: between.unwrap_or_default().to_owned(),
        is_wrapped: wrapped?,
        signed,
        by,
        sent_at,
    })
}

/// A text that a header's value can hold.
fn readable<'a>(node: &'a Node, problems: &mut Problems) -> Option<&'a str> {
    let text = node.text(problems)?;
    if HeaderValue::from_str(text).is_err() {
        problems.add(node, "no header can hold this", "use printable characters");
        return None;
    }
    Some(text)
}

/// One, or a list of them.
fn read_headers(node: &Node, problems: &mut Problems) -> Option<Vec<HeaderName>> {
    let list = if let Value::List(items) = &node.value { items.as_slice() } else { std::slice::from_ref(node) };
    if list.is_empty() {
        problems.add(node, "no header", "name the header that holds the signature");
    }
    list.iter().map(|item| own_header(item, problems)).collect()
}

/// A header that a request of ours can have beside its others.
fn own_header(node: &Node, problems: &mut Problems) -> Option<HeaderName> {
    let name = header(node, problems)?;
    if NOT_FOR_SIGNATURES.contains(&name.as_str()) {
        problems.add(node, format!("the header `{name}` is set elsewhere"), "name one of the receiver's own");
        return None;
    }
    Some(name)
}

fn header(node: &Node, problems: &mut Problems) -> Option<HeaderName> {
    let text = node.text(problems)?;
    let name = HeaderName::try_from(text).ok();
    if name.is_none() {
        problems.add(node, format!("\"{text}\" is no header's name"), "");
    }
    name
}

fn read_sent_at(node: &Node, problems: &mut Problems) -> Option<SentAt> {
    let mut map = node.map(problems)?;
    let (milliseconds, seconds) = (map.get("epoch_ms"), map.get("epoch_s"));
    map.finish(problems);
    let (at, unit) = match (milliseconds, seconds) {
        (Some(at), None) => (at, Unit::Milliseconds),
        (None, Some(at)) => (at, Unit::Seconds),
        (found, _) => {
            let what =
                if found.is_some() { "both `epoch_ms` and `epoch_s`" } else { "neither `epoch_ms` nor `epoch_s`" };
            problems.add(node, what, "say where the time stands, in milliseconds or in seconds since 1970");
            return None;
        }
    };
    let place = match at.tagged(&["header", "claim"], problems)? {
        ("claim", value) => {
            value.name(problems)?;
            TimePlace::Claim(readable(value, problems)?.to_owned())
        }
        (_, value) => TimePlace::Header(own_header(value, problems)?),
    };
    Some(SentAt { place, unit })
}

/// `body`, or parts and what stands between them.
fn read_signed(node: &Node, sent_at: Option<&SentAt>, problems: &mut Problems) -> Option<(Vec<Part>, String)> {
    if !matches!(node.value, Value::Map(_)) {
        return node.choice(&[("body", ())], problems).map(|()| (vec![Part::Body], String::new()));
    }
    let (_, value) = node.tagged(&["joined"], problems)?;
    let mut map = value.map(problems)?;
    let list = map.require("parts", problems);
    let by = map.require("by", problems).and_then(|node| node.text(problems));
    map.finish(problems);
    let list = list?;
    let read: Vec<_> = list.list(problems)?.iter().map(|item| read_part(item, sent_at, problems)).collect();
    let parts: Vec<Part> = read.into_iter().collect::<Option<_>>()?;
    if !parts.contains(&Part::Body) {
        let hint = "whoever saw one request could write another: name body at its place among the parts";
        problems.add(list, "the body is not signed", hint);
    }
    Some((parts, by?.to_owned()))
}

/// `body`, `method`, `path`, `{header: Name}`, `{claim: name}` or `{text: …}`.
fn read_part(node: &Node, sent_at: Option<&SentAt>, problems: &mut Problems) -> Option<Part> {
    if !matches!(node.value, Value::Map(_)) {
        let parts = [("body", Part::Body), ("method", Part::Method), ("path", Part::Path)];
        return node.choice(&parts, problems);
    }
    match node.tagged(&["header", "claim", "text"], problems)? {
        ("header", value) => {
            let name = header(value, problems)?;
            if MADE_LATER.contains(&name.as_str()) {
                problems.add(value, format!("the header `{name}` is not there yet when a request is signed"), "");
                return None;
            }
            Some(Part::Header(name))
        }
        ("claim", value) => {
            let claim = value.name(problems)?;
            let is_time = sent_at.is_some_and(|at| at.place == TimePlace::Claim(claim.to_owned()));
            if !is_time {
                let hint = format!("write `sent_at: {{epoch_s: {{claim: {claim}}}}}`");
                problems.add(value, format!("nothing says what `{claim}=` is"), hint);
                return None;
            }
            Some(Part::SentAt)
        }
        (_, value) => value.text(problems).map(|text| Part::Text(text.to_owned())),
    }
}
