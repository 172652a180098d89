//! What keys of a manifest hold, read and checked: paths, URLs, headers, parameters.

use std::collections::BTreeMap;

use axum::http::HeaderValue;
use hirewire_yaml::{Map, Node, Problems};

use crate::json::Path;

/// `Some(None)` for what is absent, `None` for what is there and wrong.
#[expect(clippy::option_option, reason = "absent, wrong and good are three things")]
pub(super) fn optional<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(None) => None,
        Some(good) => Some(good),
    }
}

pub(super) fn path(node: &Node, problems: &mut Problems) -> Option<Path> {
    let path = Path::parse(node.text(problems)?);
    if path.is_none() {
        problems.add(node, "a path with an empty key", "write keys separated by dots: payload.application.id");
    }
    path
}

pub(super) fn required_path(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<Path> {
    map.require(key, problems).and_then(|node| path(node, problems))
}

pub(super) fn required_text(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<String> {
    Some(map.require(key, problems)?.text(problems)?.to_owned())
}

/// A header's name, in lower case.
pub(super) fn header(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    let name = axum::http::HeaderName::try_from(text).ok();
    if name.is_none() {
        problems.add(node, format!("\"{text}\" is not the name of a header"), "");
    }
    Some(name?.as_str().to_owned())
}

/// An `https` address, without a slash at its end. `http` only on this machine: a token must not travel in the clear.
pub(crate) fn url(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    let Ok(parsed) = reqwest::Url::parse(text) else {
        problems.add(node, "not a URL", "write https://host/path");
        return None;
    };
    let here = matches!(parsed.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    let usable = parsed.scheme() == "https" || (parsed.scheme() == "http" && here);
    if !usable || parsed.port() == Some(0) || parsed.query().is_some() || !parsed.username().is_empty() {
        let hint = "https, or http to this machine; without user name and query";
        problems.add(node, "a URL that cannot be used here", hint);
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// `opportunities/deleted`: a path behind the base URL that cannot lead elsewhere. A part of it may be one of `{params}`.
pub(super) fn list_path<'a>(node: &'a Node, params: &[&str], problems: &mut Problems) -> Option<&'a str> {
    let text = node.text(problems)?;
    let is_param = |part: &str| param_of(part).is_some_and(|param| params.contains(&param));
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
    };
    if !text.split('/').all(|part| plain(part) || is_param(part)) {
        problems.add(node, format!("\"{text}\" is not the path of a list"), "write a/b, without slashes at its ends");
        return None;
    }
    Some(text)
}

/// The `param` of a part `{param}` of a list's path.
pub(crate) fn param_of(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

/// A text that a header can hold.
pub(super) fn header_value<'a>(node: &'a Node, problems: &mut Problems) -> Option<&'a str> {
    let text = node.name(problems)?;
    if HeaderValue::from_str(text).is_err() {
        problems.add(node, "a text that no header can hold", "write it in one line, without control characters");
        return None;
    }
    Some(text)
}

pub(super) fn flag(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> bool {
    map.get(key).and_then(|node| node.boolean(problems)).unwrap_or(false)
}

/// `{per_page: 500}`: parameters with their values, by name.
pub(super) fn pairs(node: Option<&Node>, problems: &mut Problems) -> Option<Vec<(String, String)>> {
    let Some(node) = node else { return Some(Vec::new()) };
    let mut map = node.map(problems)?;
    let pairs: BTreeMap<String, String> = map
        .entries()
        .filter_map(|(_, name, value)| Some((name.to_owned(), value.text(problems)?.to_owned())))
        .collect();
    Some(pairs.into_iter().collect())
}
