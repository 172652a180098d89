//! The lists of an API: where each is, what narrows it, and where in a row its id, times, stage and status stand.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems};

use super::moves::Moves;
use super::read::{flag, optional, pairs, text, texts};

/// How instants are written in rows and filters, and which fields hold them unless a list says otherwise.
#[derive(Debug, Clone)]
pub struct Times {
    pub format: Format,
    pub created: String,
    /// `None`: no row holds its last change.
    pub changed: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    EpochMs,
    Rfc3339,
    /// Filters take three digits behind the second, no more and no less.
    Rfc3339Ms,
}

/// One list endpoint.
#[derive(Debug, Clone)]
pub struct Stream {
    pub name: String,
    /// Behind the base path; a part of it may be `{owner}`.
    pub path: String,
    /// `false`: there is no such list, and rows are given by their ids alone.
    pub listed: bool,
    /// A parameter and its value that choose this list, where several have one path.
    pub when: Option<(String, String)>,
    /// `false`: it comes in one answer.
    pub paged: bool,
    /// Where its rows stand in an answer, if not where all do.
    pub rows: Option<String>,
    /// The rows are the members of an object, each under its id.
    pub keyed: bool,
    /// The answer is one row: it is its owner, told in full, and has the owner's id.
    pub single: bool,
    /// It is asked for by SOAP: its request is the element `<operation>_Request`, its answer `<operation>_Response`.
    pub operation: Option<String>,
    /// Further fields that hold an id of the row's own.
    pub ids: Vec<String>,
    /// Its rows are those of another list whose field holds the owner's id.
    pub part_of: Option<(String, String)>,
    /// How one row is asked for by its id.
    pub by_id: Option<ById>,
    /// Field of a row's id; `None`: rows have none.
    pub id: Option<String>,
    pub times: Times,
    /// Fields that hold where an application is; a change of the row changes them.
    pub stage: Option<String>,
    pub status: Option<String>,
    /// Its rows are applications, and the first of them moves in each of these ways.
    pub moves: Vec<Moves>,
    /// A row of it says that the row of this list with its id is gone.
    pub deletes: Option<String>,
    /// The vendor's own time of change may stay as it was though the row changed.
    pub quiet: bool,
    /// Rows are added and never change.
    pub grows: bool,
    /// Whether the vendor gives sync tokens for it.
    pub sync: bool,
    /// Set for a list of one owner: `opportunities/{id}/offers`.
    pub owner: Option<Owner>,
    pub filters: Vec<Filter>,
    /// Columns that a filter of the same name works on, written `gte|<instant>|lt|<instant>`.
    pub date_filters: Vec<String>,
    /// Parameter → column.
    pub id_filters: BTreeMap<String, String>,
    /// Rows marked hidden show only when a parameter has a value.
    pub hidden: Option<Hidden>,
    /// A field that holds a link which is signed anew in every answer.
    pub signed_anew: Option<String>,
    /// Field → documented type (`int`, `text?`, ...), for the tests that hold the rows against it.
    pub fields: BTreeMap<String, String>,
    /// A row as JSON, of a list of which there is no fixture.
    pub example: Option<String>,
    /// Where it stands in the file.
    pub line: usize,
}

/// Whose list it is.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The list of the owners.
    pub stream: String,
    /// The parameter that names one; `None`: the path does, by `{owner}`.
    pub param: Option<String>,
    /// Fields of the owner, lists on the way walked through: it has such a list for each of their values, which the path
    /// names by `{within}`.
    pub within: Vec<String>,
    /// What an unknown owner is answered: the code, where errors come under 200; else 404.
    pub gone: String,
}

/// One row by its id.
#[derive(Debug, Clone)]
pub struct ById {
    /// Behind the base path; a part of it is `{id}`.
    pub path: String,
    /// Where the row stands in the answer; `None`: it is the answer.
    pub row: Option<String>,
}

/// One end of a window, as one parameter.
#[derive(Debug, Clone)]
pub struct Filter {
    pub param: String,
    /// The field of the row that it looks at.
    pub column: String,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    AtLeast,
    After,
    AtMost,
}

#[derive(Debug, Clone)]
pub struct Hidden {
    pub param: String,
    pub value: String,
    /// Asked for, they come alone.
    pub alone: bool,
}

impl Stream {
    /// Where its rows stand in an answer; `None`: the answer is the list.
    pub(crate) fn place<'r>(&'r self, rules: &'r super::Rules) -> &'r Option<String> {
        if self.rows.is_some() { &self.rows } else { &rules.answer.rows }
    }
}

impl Times {
    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let formats = [("epoch_ms", Format::EpochMs), ("rfc3339", Format::Rfc3339), ("rfc3339_ms", Format::Rfc3339Ms)];
        let format = map.require("format", problems)?.choice(&formats, problems)?;
        let changed = map.get("changed").map_or(Some(None), |node| node.text(problems).map(Some))?;
        Some(Self { format, created: text(map, "created", problems)?, changed: changed.map(str::to_owned) })
    }
}

pub(super) fn read_all(node: &Node, times: &Times, problems: &mut Problems) -> Option<Vec<Stream>> {
    let mut streams: Vec<Stream> = Vec::new();
    for (key, name, body) in node.map(problems)?.entries() {
        let Some(mut map) = body.map(problems) else { continue };
        let stream = read_one(name, key.line, times, &mut map, problems);
        map.finish(problems);
        let Some(stream) = stream else { continue };
        if let Some(owner) = &stream.owner
            && !streams.iter().any(|above| above.name == owner.stream)
        {
            problems.add(key, format!("no list \"{}\" above this one", owner.stream), "its owners are listed first");
        }
        streams.push(stream);
    }
    Some(streams)
}

fn read_one(name: &str, line: usize, times: &Times, map: &mut Map<'_>, problems: &mut Problems) -> Option<Stream> {
    let mut word = |key: &'static str| {
        map.get(key).map_or(Some(None), |node| node.text(problems).map(|text| Some(text.to_owned())))
    };
    let (path, id, created, changed) = (word("path")?, word("id")?, word("created")?, word("changed")?);
    let operation = word("operation")?;
    let (stage, status, signed_anew, example, rows, deletes) =
        (word("stage")?, word("status")?, word("signed_anew")?, word("example")?, word("rows")?, word("deletes")?);
    let moves = Moves::read_all(map.get("moves"), problems)?;
    let part_of = optional(map, "part_of", problems, |m, p| Some((text(m, "stream", p)?, text(m, "field", p)?)))?;
    let nameless = flag(map, "nameless", problems)?;
    let single = flag(map, "single", problems)?;
    let owner = optional(map, "owner", problems, read_owner)?;
    let by_id = optional(map, "by_id", problems, read_by_id)?;
    let when = pairs(map, "when", problems)?.into_iter().next();
    let path = path.unwrap_or_else(|| name.to_owned());
    if owner.as_ref().is_some_and(|owner| owner.param.is_none() != path.contains("{owner}")) {
        problems.add(map.node(), "the owner stands nowhere, or in two places", "{owner} in `path`, or `param`");
    }
    if owner.as_ref().is_some_and(|owner| owner.within.is_empty() == path.contains("{within}")) {
        problems.add(map.node(), "`within` and {within} go together", "{within} in `path`, and its fields at `owner`");
    }
    if single && owner.is_none() {
        problems.add(map.node(), "a single row of nobody", "name its `owner`");
    }
    let with = hidden(map.get("hidden_unless"), false, problems);
    Some(Stream {
        name: name.to_owned(),
        path,
        listed: map.get("listed").map_or(Some(true), |node| node.boolean(problems))?,
        when,
        paged: map.get("paged").map_or(Some(true), |node| node.boolean(problems))? && !single,
        rows,
        keyed: flag(map, "keyed", problems)?,
        single,
        operation,
        ids: texts(map, "ids", problems)?,
        part_of,
        by_id,
        id: (!nameless).then(|| id.unwrap_or_else(|| "id".to_owned())),
        times: Times {
            format: times.format,
            created: created.unwrap_or_else(|| times.created.clone()),
            changed: changed.or_else(|| times.changed.clone()),
        },
        stage,
        status,
        moves,
        deletes,
        quiet: flag(map, "quiet", problems)?,
        grows: flag(map, "grows", problems)?,
        sync: flag(map, "sync", problems)?,
        owner,
        filters: read_filters(map, problems)?,
        date_filters: texts(map, "date_filters", problems)?,
        id_filters: pairs(map, "id_filters", problems)?,
        hidden: with.or_else(|| hidden(map.get("hidden_only_when"), true, problems)),
        signed_anew,
        fields: pairs(map, "fields", problems)?,
        example,
        line,
    })
}

fn read_owner(map: &mut Map<'_>, problems: &mut Problems) -> Option<Owner> {
    let stream = text(map, "stream", problems);
    let param = map.get("param").map_or(Some(None), |node| node.text(problems).map(|text| Some(text.to_owned())));
    let within = texts(map, "within", problems);
    let gone = map.get("gone").map_or(Some("not_found"), |node| node.text(problems));
    Some(Owner { stream: stream?, param: param?, within: within?, gone: gone?.to_owned() })
}

fn read_by_id(map: &mut Map<'_>, problems: &mut Problems) -> Option<ById> {
    let path = map.require("path", problems)?;
    if !path.scalar().unwrap_or_default().contains("{id}") {
        problems.add(path, "the id stands nowhere", "{id} in `path`");
    }
    let row = map.get("row").map_or(Some(None), |node| node.text(problems).map(Some))?;
    Some(ById { path: path.text(problems)?.to_owned(), row: row.map(str::to_owned) })
}

fn read_filters(map: &mut Map<'_>, problems: &mut Problems) -> Option<Vec<Filter>> {
    let Some(node) = map.get("filters") else { return Some(Vec::new()) };
    let mut filters = Vec::new();
    for (_, param, rule) in node.map(problems)?.entries() {
        let (kind, column) = rule.tagged(&["at_least", "after", "at_most"], problems)?;
        let end = match kind {
            "at_least" => End::AtLeast,
            "after" => End::After,
            _ => End::AtMost,
        };
        filters.push(Filter { param: param.to_owned(), column: column.text(problems)?.to_owned(), end });
    }
    Some(filters)
}

fn hidden(node: Option<&Node>, alone: bool, problems: &mut Problems) -> Option<Hidden> {
    let mut only = node?.map(problems)?;
    let (_, param, value) = only.entries().next()?;
    Some(Hidden { param: param.to_owned(), value: value.text(problems)?.to_owned(), alone })
}
