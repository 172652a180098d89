//! A list of the `api:` part: what narrows it, what it is a list of, and whose.

use std::time::Duration;

use hirewire_service::settings::duration;
use hirewire_yaml::{Map, Node, Problems, Value, did_you_mean};

use super::graphql::{Document, Graphql};
use super::narrow::{Narrowed, Sync, Window, narrowed};
use super::soap::{Asked, Element, Soap};
use super::values::{flag, list_path, pairs, param_of, path, url};
use super::{Rows, Subject};
use crate::json::Path;

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
    /// At most one of `window` and `sync`. Neither: the list has no filter and is read whole each time, is one per
    /// parent, or is no list.
    pub window: Option<Window>,
    pub sync: Option<Sync>,
    /// The list is asked for once for each row of another one.
    pub per: Option<Per>,
    /// With `per`: a parameter, and where a parent's row holds its values. The list is asked for once for each.
    pub(crate) each_in: Option<(String, Vec<Path>)>,
    /// It is no list of the vendor's: it tells what is gone from another one.
    pub sweep: Option<Sweep>,
    /// `None`: as all lists of the vendor.
    pub(crate) rows: Option<Rows>,
    /// An answer may say that more follows.
    pub(crate) paged: bool,
    /// Whether it is read in each round. If not, rows are read only when an event names them, or their parent.
    pub listed: bool,
    /// How one row is asked for by its id.
    pub one: Option<One>,
    /// Values of the parent's row that the mapping is told.
    pub(crate) tell: Vec<(String, Path)>,
    /// Rows may carry answers about a person's demographics.
    pub restricted: bool,
    pub repeats: Repeats,
    /// With one row in the place of a list: where the row says the same as its parent's row, unless one of them was read
    /// before a change and the other behind it.
    pub(crate) in_common: Vec<Path>,
    /// Of a list that is asked for by SOAP: the element in the envelope's body.
    pub request: Option<Element>,
    /// Of a list that is asked for by GraphQL.
    pub query: Option<Document>,
    /// With `request`: names of elements that are taken out of a row before it is kept.
    pub leave_out: Vec<String>,
    /// Of a list that stands elsewhere at each customer, and need not be there: what its URL looks like. A connection
    /// that names one reads it.
    pub url: Option<String>,
}

/// Whose list it is. It is read again for each parent that changed: the cursor goes over the parents' changes.
#[derive(Debug, Clone)]
pub struct Per {
    /// Names the parent's id: in the path, to the mapping, and as a parameter if the path does not hold it.
    pub param: String,
    /// Position of the parents' list among all.
    pub parent: usize,
}

/// A list of which all ids are read from time to time.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Its position among all.
    pub(crate) of: usize,
    /// From the beginning of a look to that of the next.
    pub every: Duration,
}

/// How one row is asked for.
#[derive(Debug, Clone)]
pub struct One {
    /// Behind the base URL; a part of it is `{id}`, or `param` names the parameter.
    pub path: String,
    pub param: Option<String>,
    /// By GraphQL, with the variable `id`.
    pub query: Option<Document>,
    /// Where an answer holds the row.
    pub(crate) row: Rows,
    pub params: Vec<(String, String)>,
}

/// What makes a row that overlap shows again a repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeats {
    /// The same bytes, but for what stands at these places: that is new in every answer, as a signed URL.
    Bytes { but: Vec<Path> },
    /// The same id and time of change: the bytes hold something that is new in every answer, as a signed URL.
    Version,
}

/// What a list needs to know of those before it.
pub(super) struct Before<'a> {
    /// What narrows all lists that have nothing of their own; `Some(None)`: its mistakes were told.
    pub(super) narrowed: Option<&'a Option<Narrowed>>,
    /// Names in the order written, those too that could not be read.
    pub(super) names: &'a [&'a str],
    pub(super) streams: &'a [Option<Stream>],
    pub(super) soap: Option<&'a Soap>,
    pub(super) graphql: Option<&'a Graphql>,
}

impl Stream {
    pub(super) fn read(name: &str, node: &Node, before: &Before<'_>, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let per = match map.get("per") {
            None => Some(None),
            Some(node) => Per::read(node, before, problems).map(Some),
        };
        let sweep = match map.get("sweep") {
            None => Some(None),
            Some(node) => Sweep::read(node, &map, before, problems).map(Some),
        };
        let each_in = each_in(&mut map, problems);
        // Also where the rest of these keys is wrong, or the list that one names.
        let params: Vec<&str> = ["per", "each_in"].iter().filter_map(|key| first_key(node.peek(key)?)).collect();
        let asked = Asked::read(&mut map, before.soap, problems);
        let by_soap = asked.as_ref().is_none_or(|asked| asked.request.is_some());
        let usual = before.soap.filter(|_| by_soap).map_or(name, |soap| &soap.path);
        let query = Document::read(&mut map, before.graphql, problems);
        let usual = before.graphql.filter(|_| node.peek("query").is_some()).map_or(usual, |by| &by.path);
        let url = own_url(&mut map, problems);
        let at = map.get("path").map_or(Some(usual), |node| list_path(node, &params, problems));
        // What is told of it is a list of ids.
        let rows = match node.peek("sweep") {
            Some(_) => Some(Some(Rows::List(Path::default()))),
            None => rows(&mut map, problems),
        };
        let paged = map.get("paged").map_or(Some(true), |node| node.boolean(problems));
        let listed = map.get("listed").map_or(Some(true), |node| node.boolean(problems));
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
        let narrowed = narrowed(name, &mut map, before.narrowed, problems);
        let one = match map.get("one") {
            None => Some(None),
            Some(node) => One::read(node, params.as_deref().unwrap_or_default(), before.graphql, problems).map(Some),
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
        let repeats = map.get("repeats").map_or(Some(Repeats::bytes()), |node| Repeats::read(node, problems));
        let in_common = match map.get("in_common") {
            None => Some(Vec::new()),
            Some(wrong) if node.peek("row").is_none() => {
                problems.add(wrong, "`in_common` without `row`", "it names what a row and its parent's row both say");
                None
            }
            Some(places) => places
                .list(problems)
                .and_then(|places| places.iter().map(|place| path(place, problems)).collect::<Option<Vec<_>>>()),
        };
        if listed == Some(false) && node.peek("one").or(node.peek("per")).is_none() {
            problems.add(
                node,
                format!("nothing reads {name}"),
                "a list with `listed: false` is read by `one`, or is one of `per`",
            );
        }
        let parent = per.iter().flatten().find_map(|per| before.streams.get(per.parent)?.as_ref());
        let without_clock = parent.is_some_and(|parent| !parent.tells_changes());
        if without_clock && node.peek("row").is_some() && node.peek("in_common").is_none() {
            let hint =
                "name what both say, [status.id], or [] if nothing: where they differ, one was read before a change";
            problems.add(node, "no `in_common`, and the parent's row does not say when it changed", hint);
        }
        map.finish(problems);
        let Asked { request, leave_out } = asked?;
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
            each_in: each_in?,
            sweep: sweep?,
            paged: paged? && !matches!(rows, Some(Some(Rows::One(_)))),
            rows: rows?,
            listed: listed?,
            one: one?,
            tell: tell?,
            restricted,
            repeats: repeats?,
            in_common: in_common?,
            request,
            query: query?,
            leave_out,
            url: url?,
        })
    }
}

impl Stream {
    /// Whether its rows are known to be others by a clock of the vendor's, and not by what they say alone.
    pub(crate) fn tells_changes(&self) -> bool {
        self.sync.is_some() || self.window.as_ref().is_some_and(Window::shows_changes)
    }

    /// The path by which the list of a parent, or one row, is asked for; `{param}` stands for an id.
    pub(crate) fn path_by_ids(&self) -> Option<&str> {
        if self.per.is_some() { Some(&self.path) } else { self.one.as_ref().map(|one| one.path.as_str()) }
    }

    /// Whether an id is sent beside the path.
    pub(super) fn ids_missing_in_path(&self) -> bool {
        let ids =
            self.per.iter().map(|per| per.param.as_str()).chain(self.each_in.iter().map(|(param, _)| param.as_str()));
        let in_path = |id: &str| self.path.split('/').any(|part| param_of(part) == Some(id));
        let sent = self.per.is_none() && self.one.as_ref().is_some_and(|one| one.param.is_some());
        sent || ids.into_iter().any(|id| !in_path(id))
    }

    /// What a row of this id belongs to, if that is the row itself.
    pub(crate) fn own_subject(&self, id: &str) -> Option<(&'static str, String)> {
        self.subject.as_ref()?.at(&self.id).map(|record| (record, id.to_owned()))
    }
}

/// Reads `url: {per_connection: https://…}`.
#[expect(clippy::option_option, reason = "wrong, none and one are three things")]
fn own_url(map: &mut Map<'_>, problems: &mut Problems) -> Option<Option<String>> {
    let Some(node) = map.get("url") else { return Some(None) };
    if let Some(node) = map.get("path") {
        problems.add(
            node,
            "`path` beside `url`",
            "a list stands behind the base URL, or at a URL of its own: keep one",
        );
    }
    let (_, value) = node.tagged(&["per_connection"], problems)?;
    url(value, problems).map(Some)
}

/// Reads `{job_id: [main.job.id, others.job.id]}`.
#[expect(clippy::option_option, reason = "wrong, none and one are three things")]
fn each_in(map: &mut Map<'_>, problems: &mut Problems) -> Option<Option<(String, Vec<Path>)>> {
    let Some(node) = map.get("each_in") else { return Some(None) };
    if !node_has(map, "per") {
        problems.add(node, "`each_in` without `per`", "it names values of the parent's row");
        return None;
    }
    let (param, values) = one_param(node, "{job_id: [main.job.id, others.job.id]}", problems)?;
    let places = values.list(problems)?;
    if places.is_empty() {
        problems.add(values, "no place of a value", "name paths of the parent's row");
        return None;
    }
    let places = places.iter().map(|place| path(place, problems)).collect::<Option<Vec<_>>>()?;
    Some(Some((param.to_owned(), places)))
}

/// One of the keys `rows` and `row`, or neither.
#[expect(clippy::option_option, reason = "wrong, none and one are three things")]
fn rows(map: &mut Map<'_>, problems: &mut Problems) -> Option<Option<Rows>> {
    match (map.get("rows"), map.get("row")) {
        (None, None) => Some(None),
        (Some(node), None) => Rows::read(node, problems).map(Some),
        (Some(_), Some(node)) => {
            problems.add(node, "both `rows` and `row`", "an answer holds several rows, or is one: keep one");
            None
        }
        (None, Some(node)) if !node_has(map, "per") => {
            problems.add(node, "`row` without `per`", "a list has rows; how one is asked for by its id says `one`");
            None
        }
        (None, Some(node)) => Rows::read_one(node, problems).map(Some),
    }
}

impl Repeats {
    pub(crate) fn bytes() -> Self {
        Self::Bytes { but: Vec::new() }
    }

    /// Reads `bytes`, `version`, or `{bytes_but: [owner.photo]}`.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return node.choice(&[("bytes", Self::bytes()), ("version", Self::Version)], problems);
        }
        let (_, places) = node.tagged(&["bytes_but"], problems)?;
        let but = places.list(problems)?.iter().map(|place| path(place, problems)).collect::<Option<Vec<_>>>()?;
        Some(Self::Bytes { but })
    }
}

impl Before<'_> {
    /// The position of the list that `node` names: one above this one, which is read by itself. `why`: the hint, where it is not.
    fn list(&self, node: &Node, why: &str, problems: &mut Problems) -> Option<usize> {
        let name = node.text(problems)?;
        let Some(index) = self.names.iter().position(|known| *known == name) else {
            let hint = match did_you_mean(name, self.names.iter().copied()) {
                hint if hint.is_empty() => "name a list that stands above this one".to_owned(),
                hint => hint,
            };
            problems.add(node, format!("no list \"{name}\" above this one"), hint);
            return None;
        };
        // If it could not be read, its mistakes were told.
        let found = self.streams.get(index)?.as_ref()?;
        if found.per.is_some() || found.each.is_some() || found.sweep.is_some() || !found.listed {
            problems.add(node, format!("\"{name}\" has `per`, `each`, `sweep` or `listed: false` itself"), why);
            return None;
        }
        Some(index)
    }
}

impl Per {
    /// Reads `{opportunity_id: opportunities}`.
    fn read(node: &Node, before: &Before<'_>, problems: &mut Problems) -> Option<Self> {
        let (param, value) = one_param(node, "{job_id: jobs}: for each row of jobs, its id as job_id", problems)?;
        let parent = before.list(value, "its parents stand in one list, with one cursor", problems)?;
        Some(Self { param: param.to_owned(), parent })
    }
}

impl Sweep {
    /// Reads `{of: applications, every: 24h}`.
    fn read(node: &Node, list: &Map<'_>, before: &Before<'_>, problems: &mut Problems) -> Option<Self> {
        const OWN: [&str; 3] = ["sweep", "subject", "restricted"];
        if let Value::Map(entries) = &list.node().value {
            for (key, _) in entries.iter().filter(|(key, _)| !OWN.contains(&key.scalar().unwrap_or_default())) {
                let what = format!("`{}` beside `sweep`", key.scalar().unwrap_or_default());
                problems.add(
                    key,
                    what,
                    "it tells the ids of rows that are gone from `of`, as {id: …}, and nothing else",
                );
            }
        }
        let mut map = node.map(problems)?;
        let of = map.require("of", problems);
        let every = map.require("every", problems).and_then(|node| duration(node, problems));
        map.finish(problems);
        let of = before.list(of?, "what is swept is one list, which can be read whole", problems)?;
        Some(Self { of, every: every? })
    }
}

impl One {
    /// `list` are the parameters of the list.
    fn read(
        node: &Node,
        list: &[(String, String)],
        graphql: Option<&Graphql>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut map = node.map(problems)?;
        let query = Document::read(&mut map, graphql, problems);
        let by_query = node.peek("query").is_some();
        for key in ["path", "param"] {
            if let Some(wrong) = map.get(key).filter(|_| by_query) {
                let hint = "a query is sent where all are, with the variable id: remove it";
                problems.add(wrong, format!("`{key}` beside `query`"), hint);
            }
        }
        let at = if by_query { None } else { map.require("path", problems) };
        let path_text = match graphql.filter(|_| by_query) {
            Some(by) => Some(by.path.as_str()),
            None => at.and_then(|node| list_path(node, &["id"], problems)),
        };
        let param = match by_query {
            true => Some("id".to_owned()),
            false => map.get("param").and_then(|node| node.name(problems)).map(str::to_owned),
        };
        let row = map.get("row").map_or(Some(Rows::One(vec![Path::default()])), |node| Rows::read_one(node, problems));
        let params = match map.get("params") {
            Some(node) if node.scalar().is_some() => node.choice(&[("as_list", ())], problems).map(|()| list.to_vec()),
            params => pairs(params, problems),
        };
        if let (Some(at), Some(text)) = (at, path_text)
            && text.split('/').any(|part| part == "{id}") == param.is_some()
        {
            problems.add(at, "the id stands nowhere, or in two places", "write {id} in `path`, or name its `param`");
        }
        map.finish(problems);
        Some(Self { path: path_text?.to_owned(), param, query: query?, row: row?, params: params? })
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

/// `{active: [true, false]}`: one parameter and its values.
fn each(node: &Node, problems: &mut Problems) -> Option<(String, Vec<String>)> {
    let (name, values) = one_param(node, "{active: [true, false]}", problems)?;
    let values: Vec<String> =
        values.list(problems)?.iter().filter_map(|value| value.text(problems).map(str::to_owned)).collect();
    Some((name.to_owned(), values))
}

/// The one entry of `{param: …}`.
fn one_param<'a>(node: &'a Node, example: &str, problems: &mut Problems) -> Option<(&'a str, &'a Node)> {
    let mut map = node.map(problems)?;
    let mut entries = map.entries();
    let Some((_, name, value)) = entries.next() else {
        problems.add(node, "no parameter", format!("write for example {example}"));
        return None;
    };
    if let Some((key, _, _)) = entries.next() {
        problems.add(key, "a second parameter", "there is one");
    }
    Some((name, value))
}

fn first_key(node: &Node) -> Option<&str> {
    let Value::Map(entries) = &node.value else { return None };
    entries.first()?.0.scalar()
}
