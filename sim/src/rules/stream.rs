//! The lists of an API: where each is, what narrows it, and where in a row its id, times, stage and status stand.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems};

use super::read::{flag, optional, pairs, text, texts};

/// How instants are written in rows and filters, and which fields hold them unless a list says otherwise.
#[derive(Debug, Clone)]
pub struct Times {
    pub epoch_ms: bool,
    pub created: String,
    pub changed: String,
}

/// One list endpoint.
#[derive(Debug, Clone)]
pub struct Stream {
    pub name: String,
    /// Behind the base path; a part of it may be `{owner}`.
    pub path: String,
    /// Field of a row's id.
    pub id: String,
    pub times: Times,
    /// Fields that hold where an application is; a change of the row changes them.
    pub stage: Option<String>,
    pub status: Option<String>,
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
    /// What an unknown owner is answered: the code, where errors come under 200; else 404.
    pub gone: String,
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
    AtMost,
}

#[derive(Debug, Clone)]
pub struct Hidden {
    pub param: String,
    pub value: String,
    /// Asked for, they come alone.
    pub alone: bool,
}

impl Times {
    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let format = map.require("format", problems)?;
        let epoch_ms = format.choice(&[("epoch_ms", true), ("rfc3339", false)], problems)?;
        Some(Self { epoch_ms, created: text(map, "created", problems)?, changed: text(map, "changed", problems)? })
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
    let (stage, status, signed_anew, example) =
        (word("stage")?, word("status")?, word("signed_anew")?, word("example")?);
    let owner = optional(map, "owner", problems, read_owner)?;
    let path = path.unwrap_or_else(|| name.to_owned());
    if owner.as_ref().is_some_and(|owner| owner.param.is_none() != path.contains("{owner}")) {
        problems.add(map.node(), "the owner stands nowhere, or in two places", "{owner} in `path`, or `param`");
    }
    let with = hidden(map.get("hidden_unless"), false, problems);
    Some(Stream {
        name: name.to_owned(),
        path,
        id: id.unwrap_or_else(|| "id".to_owned()),
        times: Times {
            epoch_ms: times.epoch_ms,
            created: created.unwrap_or_else(|| times.created.clone()),
            changed: changed.unwrap_or_else(|| times.changed.clone()),
        },
        stage,
        status,
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
    let gone = map.get("gone").map_or(Some("not_found"), |node| node.text(problems));
    Some(Owner { stream: stream?, param: param?, gone: gone?.to_owned() })
}

fn read_filters(map: &mut Map<'_>, problems: &mut Problems) -> Option<Vec<Filter>> {
    let Some(node) = map.get("filters") else { return Some(Vec::new()) };
    let mut filters = Vec::new();
    for (_, param, rule) in node.map(problems)?.entries() {
        let (kind, column) = rule.tagged(&["at_least", "at_most"], problems)?;
        let end = if kind == "at_least" { End::AtLeast } else { End::AtMost };
        filters.push(Filter { param: param.to_owned(), column: column.text(problems)?.to_owned(), end });
    }
    Some(filters)
}

fn hidden(node: Option<&Node>, alone: bool, problems: &mut Problems) -> Option<Hidden> {
    let mut only = node?.map(problems)?;
    let (_, param, value) = only.entries().next()?;
    Some(Hidden { param: param.to_owned(), value: value.text(problems)?.to_owned(), alone })
}
