//! A list of the `api:` part: what narrows it, what it is a list of, and whose.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems, did_you_mean};
use jiff::Timestamp;

use super::{Subject, path, required_path, required_text};
use crate::json::Path;

/// How a list is narrowed to what changed in `(from, to]`.
#[derive(Debug, Clone)]
pub struct Window {
    pub filter: Filter,
    /// Where a row says when it changed last.
    pub(crate) field: Path,
    /// Of instants, in the filter and in `field`.
    pub format: TimeFormat,
}

/// The parameters that a window becomes.
#[derive(Debug, Clone)]
pub enum Filter {
    /// One parameter for both ends.
    One {
        param: String,
        /// The value of the first window, with `{to}`.
        first: String,
        /// The value of each later one, with `{from}` and `{to}`.
        then: String,
    },
    /// A parameter for each end. The first window has only the later one.
    Two { from: String, to: String },
}

/// How an instant is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    Rfc3339,
    /// Milliseconds since 1970.
    EpochMs,
}

impl TimeFormat {
    pub(crate) fn write(self, instant: Timestamp) -> String {
        match self {
            Self::Rfc3339 => instant.to_string(),
            Self::EpochMs => instant.as_millisecond().to_string(),
        }
    }

    pub(crate) fn read(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Rfc3339 => text.parse().ok(),
            Self::EpochMs => Timestamp::from_millisecond(text.parse().ok()?).ok(),
        }
    }
}

/// One list.
#[derive(Debug)]
pub struct Stream {
    /// The name that mappings know.
    pub name: String,
    /// Behind the base URL. Of a list per parent, a part of it may be the parent's id: `{param}`.
    pub path: String,
    /// `None`: of a list per parent, whose rows belong to what the parent belongs to.
    pub subject: Option<Subject>,
    /// Where a row holds its own id.
    pub(crate) id: Path,
    /// Further parameters of the first request, told to the mapping as well.
    pub params: Vec<(String, String)>,
    /// Parameters of which each value is a list of its own, with its own cursor.
    pub each: Option<(String, Vec<String>)>,
    /// At most one of `window` and `sync`. Neither: the list has no filter and is read whole each time, or is one per
    /// parent.
    pub window: Option<Window>,
    pub sync: Option<Sync>,
    /// The list is asked for once for each row of another one.
    pub per: Option<Per>,
    /// How one row is asked for by its id.
    pub one: Option<One>,
    /// Values of the parent's row that the mapping is told.
    pub(crate) tell: Vec<(String, Path)>,
    /// Rows may carry answers about a person's demographics.
    pub restricted: bool,
    pub repeats: Repeats,
}

/// Whose list it is. It is read again for each parent that changed: the cursor goes over the parents' changes.
#[derive(Debug, Clone)]
pub struct Per {
    /// Names the parent's id: in the path, to the mapping, and as a parameter if the path does not hold it.
    pub param: String,
    /// Position of the parents' list among all.
    pub parent: usize,
}

/// How one row is asked for.
#[derive(Debug, Clone)]
pub struct One {
    /// Behind the base URL; a part of it is `{id}`, or `param` names the parameter.
    pub path: String,
    pub param: Option<String>,
    /// Where an answer holds the row; the root, if the answer is the row.
    pub(crate) row: Path,
    pub params: Vec<(String, String)>,
}

/// How a list is narrowed to what changed since a token was given: the vendor remembers, not we.
#[derive(Debug, Clone)]
pub struct Sync {
    /// Takes the token, in the first request of a run; without it the list is read whole.
    pub(crate) param: String,
    /// Where the last page holds the token of the next run.
    pub(crate) next: Path,
    /// Where a row says when it changed last, if it does.
    pub(crate) version: Option<Path>,
}

/// What makes a row that overlap shows again a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// The same bytes.
    Bytes,
    /// The same id and time of change: the bytes hold something that is new in every answer, as a signed URL.
    Version,
}

impl Window {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let filter = if node.peek("from").is_some() || node.peek("to").is_some() {
            let from = required_text(&mut map, "from", problems);
            let to = required_text(&mut map, "to", problems);
            from.zip(to).map(|(from, to)| Filter::Two { from, to })
        } else {
            let param = required_text(&mut map, "param", problems);
            let first = template(&mut map, "first", &["{to}"], problems);
            let then = template(&mut map, "then", &["{from}", "{to}"], problems);
            param.zip(first).zip(then).map(|((param, first), then)| Filter::One { param, first, then })
        };
        let field = required_path(&mut map, "field", problems);
        let formats = [("rfc3339", TimeFormat::Rfc3339), ("epoch_ms", TimeFormat::EpochMs)];
        let format = map.get("format").map_or(Some(TimeFormat::Rfc3339), |node| node.choice(&formats, problems));
        map.finish(problems);
        Some(Self { filter: filter?, field: field?, format: format? })
    }
}

/// How a list is narrowed to what changed.
#[derive(Debug, Clone)]
pub(super) enum Narrowed {
    Window(Window),
    Sync(Sync),
}

/// What a list needs to know of those before it.
pub(super) struct Before<'a> {
    /// What narrows all lists that have nothing of their own; `Some(None)`: its mistakes were told.
    pub(super) narrowed: Option<&'a Option<Narrowed>>,
    /// Names in the order written, those too that could not be read.
    pub(super) names: &'a [&'a str],
    pub(super) streams: &'a [Option<Stream>],
}

impl Stream {
    pub(super) fn read(name: &str, node: &Node, before: &Before<'_>, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let per = match map.get("per") {
            None => Some(None),
            Some(node) => Per::read(node, before, problems).map(Some),
        };
        let param = per.as_ref().and_then(|per| per.as_ref()).map(|per| per.param.as_str());
        let at = map.get("path").map_or(Some(name), |node| list_path(node, param, problems));
        let subject = match (map.get("subject"), node.peek("per")) {
            (Some(node), _) => Subject::read(node, problems).map(Some),
            (None, Some(_)) => Some(None),
            (None, None) => {
                map.require("subject", problems);
                None
            }
        };
        let id = map.get("id").map_or_else(|| Path::parse("id"), |node| path(node, problems));
        let params = pairs(map.get("params"), problems);
        let each = match map.get("each") {
            None => Some(None),
            Some(node) if node_has(&map, "per") => {
                problems.add(node, "`per` and `each`", "a list per parent has one cursor: keep one");
                None
            }
            Some(node) => each(node, problems).map(Some),
        };
        let narrowed = narrowed(name, &mut map, before, problems);
        let one = match map.get("one") {
            None => Some(None),
            Some(node) => One::read(node, problems).map(Some),
        };
        let tell = match map.get("tell") {
            None => Some(Vec::new()),
            Some(node) if per.as_ref().is_some_and(|per| per.is_none()) => {
                problems.add(node, "`tell` without `per`", "it names values of the parent's row");
                None
            }
            Some(node) => paths(node, problems),
        };
        let restricted = flag(&mut map, "restricted", problems);
        let known = [("bytes", Repeats::Bytes), ("version", Repeats::Version)];
        let repeats = map.get("repeats").map_or(Some(Repeats::Bytes), |node| node.choice(&known, problems));
        map.finish(problems);
        let (window, sync) = match narrowed? {
            None => (None, None),
            Some(Narrowed::Window(window)) => (Some(window), None),
            Some(Narrowed::Sync(sync)) => (None, Some(sync)),
        };
        Some(Self {
            name: name.to_owned(),
            path: at?.to_owned(),
            subject: subject?,
            id: id?,
            params: params?,
            each: each?,
            window,
            sync,
            per: per?,
            one: one?,
            tell: tell?,
            restricted,
            repeats: repeats?,
        })
    }
}

impl Stream {
    /// What a row of this id belongs to, if that is the row itself.
    pub(crate) fn own_subject(&self, id: &str) -> Option<(&'static str, String)> {
        self.subject.as_ref()?.at(&self.id).map(|record| (record, id.to_owned()))
    }
}

/// What narrows the list: its own window or token, that of all, or nothing.
#[expect(clippy::option_option, reason = "wrong, none and one are three things")]
fn narrowed(name: &str, map: &mut Map<'_>, before: &Before<'_>, problems: &mut Problems) -> Option<Option<Narrowed>> {
    let node = map.node();
    let (window, sync, whole) = (map.get("window"), map.get("sync"), flag(map, "whole", problems));
    let own = window.or(sync);
    if node.peek("per").is_some() {
        let Some(wrong) = own.or(node.peek("whole")) else { return Some(None) };
        let hint = "a list per parent is read when its parent changed: its parent's list is narrowed";
        problems.add(wrong, "`per` beside `window`, `sync` or `whole`", hint);
        return None;
    }
    match (own, before.narrowed, whole) {
        (None, _, true) => Some(None),
        (Some(_), _, false) => Narrowed::read(window, sync, problems).map(Some),
        // Its mistakes were told.
        (None, Some(shared), false) => shared.clone().map(Some),
        (None, None, false) => {
            let hint = "add one here or to `api`, or `whole: true`";
            problems.add(node, format!("no `window` for the list {name}"), hint);
            None
        }
        (Some(own), _, true) => {
            problems.add(own, "`window` and `whole: true`", "a list is narrowed, or read whole: keep one");
            None
        }
    }
}

impl Narrowed {
    /// One of the two.
    pub(super) fn read(window: Option<&Node>, sync: Option<&Node>, problems: &mut Problems) -> Option<Self> {
        match (window, sync) {
            (Some(_), Some(sync)) => {
                problems.add(sync, "`window` and `sync`", "a list is narrowed by times or by a token: keep one");
                None
            }
            (Some(window), None) => Window::read(window, problems).map(Self::Window),
            (None, Some(sync)) => Sync::read(sync, problems).map(Self::Sync),
            (None, None) => None,
        }
    }
}

impl Sync {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let param = required_text(&mut map, "param", problems);
        let next = required_path(&mut map, "next", problems);
        let version = match map.get("version") {
            None => Some(None),
            Some(node) => path(node, problems).map(Some),
        };
        map.finish(problems);
        Some(Self { param: param?, next: next?, version: version? })
    }
}

impl Per {
    /// Reads `{opportunity_id: opportunities}`.
    fn read(node: &Node, before: &Before<'_>, problems: &mut Problems) -> Option<Self> {
        let map = &mut node.map(problems)?;
        let mut entries = map.entries();
        let Some((_, param, value)) = entries.next() else {
            problems.add(node, "no parent", "write for example {job_id: jobs}: for each row of jobs, its id as job_id");
            return None;
        };
        if let Some((key, _, _)) = entries.next() {
            problems.add(key, "a second parent", "a list has one");
        }
        let name = value.text(problems)?;
        let Some(parent) = before.names.iter().position(|known| *known == name) else {
            let hint = match did_you_mean(name, before.names.iter().copied()) {
                hint if hint.is_empty() => "name a list that stands above this one".to_owned(),
                hint => hint,
            };
            problems.add(value, format!("no list \"{name}\" above this one"), hint);
            return None;
        };
        // If it could not be read, its mistakes were told.
        let found = before.streams.get(parent)?.as_ref()?;
        if found.per.is_some() || found.each.is_some() {
            let hint = "its parents stand in one list, with one cursor";
            problems.add(value, format!("\"{name}\" has `per` or `each` itself"), hint);
            return None;
        }
        Some(Self { param: param.to_owned(), parent })
    }
}

impl One {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let at = map.require("path", problems);
        let path_text = at.and_then(|node| list_path(node, Some("id"), problems));
        let param = map.get("param").and_then(|node| node.name(problems)).map(str::to_owned);
        let row = map.get("row").map_or_else(|| Some(Path::default()), |node| path(node, problems));
        let params = pairs(map.get("params"), problems);
        if let (Some(at), Some(text)) = (at, path_text)
            && text.split('/').any(|part| part == "{id}") == param.is_some()
        {
            problems.add(at, "the id stands nowhere, or in two places", "write {id} in `path`, or name its `param`");
        }
        map.finish(problems);
        Some(Self { path: path_text?.to_owned(), param, row: row?, params: params? })
    }
}

/// Reads `{contact_id: contact}`.
fn paths(node: &Node, problems: &mut Problems) -> Option<Vec<(String, Path)>> {
    let mut map = node.map(problems)?;
    map.entries().map(|(_, name, at)| Some((name.to_owned(), path(at, problems)?))).collect()
}

fn node_has(map: &Map<'_>, key: &str) -> bool {
    map.node().peek(key).is_some()
}

/// `opportunities/deleted`: a path behind the base URL that cannot lead elsewhere. A part of it may be `{param}`.
fn list_path<'a>(node: &'a Node, param: Option<&str>, problems: &mut Problems) -> Option<&'a str> {
    let text = node.text(problems)?;
    let is_param =
        |part: &str| param.is_some_and(|param| part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) == Some(param));
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

pub(super) fn flag(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> bool {
    map.get(key).and_then(|node| node.boolean(problems)).unwrap_or(false)
}

/// `{active: [true, false]}`: one parameter and its values.
fn each(node: &Node, problems: &mut Problems) -> Option<(String, Vec<String>)> {
    let mut map = node.map(problems)?;
    let mut entries = map.entries();
    let Some((_, name, values)) = entries.next() else {
        problems.add(node, "no parameter", "write for example {active: [true, false]}");
        return None;
    };
    if let Some((key, _, _)) = entries.next() {
        problems.add(key, "a second parameter", "only one can be walked through");
    }
    let values: Vec<String> =
        values.list(problems)?.iter().filter_map(|value| value.text(problems).map(str::to_owned)).collect();
    Some((name.to_owned(), values))
}

pub(super) fn pairs(node: Option<&Node>, problems: &mut Problems) -> Option<Vec<(String, String)>> {
    let Some(node) = node else { return Some(Vec::new()) };
    let mut map = node.map(problems)?;
    let pairs: BTreeMap<String, String> = map
        .entries()
        .filter_map(|(_, name, value)| Some((name.to_owned(), value.text(problems)?.to_owned())))
        .collect();
    Some(pairs.into_iter().collect())
}

fn template(map: &mut Map<'_>, key: &'static str, holds: &[&str], problems: &mut Problems) -> Option<String> {
    let node = map.require(key, problems)?;
    let text = node.text(problems)?;
    for part in holds {
        if !text.contains(part) {
            let hint = "a window has two ends; without one it reads too much or too little";
            problems.add(node, format!("`{key}` does not hold {part}"), hint);
        }
    }
    Some(text.to_owned())
}
