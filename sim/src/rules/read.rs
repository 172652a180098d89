//! Small steps of reading: each records its mistake and answers `None`.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems};

/// A mapping that must be there.
pub(super) fn section<T>(
    map: &mut Map<'_>,
    key: &'static str,
    problems: &mut Problems,
    read: impl FnOnce(&mut Map<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    let node = map.require(key, problems)?;
    inside(node, problems, read)
}

/// A mapping that may be absent: `Some(None)` then.
#[expect(clippy::option_option, reason = "absent, wrong and good are three things")]
pub(super) fn optional<T>(
    map: &mut Map<'_>,
    key: &'static str,
    problems: &mut Problems,
    read: impl FnOnce(&mut Map<'_>, &mut Problems) -> Option<T>,
) -> Option<Option<T>> {
    map.get(key).map_or(Some(None), |node| inside(node, problems, read).map(Some))
}

fn inside<T>(
    node: &Node,
    problems: &mut Problems,
    read: impl FnOnce(&mut Map<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    let mut map = node.map(problems)?;
    let value = read(&mut map, problems);
    map.finish(problems);
    value
}

pub(super) fn text(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<String> {
    Some(map.require(key, problems)?.text(problems)?.to_owned())
}

pub(super) fn texts(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<Vec<String>> {
    map.get(key).map_or(Some(Vec::new()), |node| list(node, problems))
}

pub(super) fn list(node: &Node, problems: &mut Problems) -> Option<Vec<String>> {
    node.list(problems)?.iter().map(|item| item.text(problems).map(str::to_owned)).collect()
}

/// Name and text of each entry; none, if the key is absent.
pub(super) fn pairs(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let Some(node) = map.get(key) else { return Some(BTreeMap::new()) };
    let mut inner = node.map(problems)?;
    inner.entries().map(|(_, name, value)| Some((name.to_owned(), value.text(problems)?.to_owned()))).collect()
}

/// A flag; absent, it is not set.
pub(super) fn flag(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<bool> {
    map.get(key).map_or(Some(false), |node| node.boolean(problems))
}
