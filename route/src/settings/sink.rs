//! One sink of `sinks`: which system it is, what that must be told, how it is reached and how often.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hirewire_service::Secret;
use hirewire_yaml::{Map, Node, Problems, did_you_mean};

use super::said::said;
use super::{Kind, KindName, SinkSettings, read_count, read_duration};
use crate::database::postgres::PostgresSettings;
use crate::deliver::Limits;
use crate::deliver::limits::RateLimit;
use crate::files::lines::LinesSettings;
use crate::files::parquet::TablesSettings;
use crate::mail::MailSettings;
use crate::request::RequestPlan;
use crate::request::told::{SHOWN, Secrets};
use crate::system::{System, Systems, Takes};
use crate::topic::TopicSettings;

pub(super) fn read_sink(name: &str, node: &Node, systems: &Systems, problems: &mut Problems) -> Option<SinkSettings> {
    let mut map = node.map(problems)?;
    let system = read_system(name, &mut map, systems, problems);
    let told = read_told(&mut map, system.as_deref(), problems);
    let copies = system.as_ref().is_none_or(|system| matches!(system.takes, Takes::Copies(_)));
    let kind = read_kind(&mut map, copies, problems);
    let limits = read_limits(&mut map, problems);
    let window = read_count(&mut map, "window", 1_000, problems);
    let window_bytes = map.get("window_bytes").map_or(Some(64 << 20), |node| node.whole(1 << 20, problems));
    map.finish(problems);
    let (system, mut kind, (told, secrets)) = (system?, kind?, told?);
    if let Kind::Http(http) = &mut kind {
        http.secrets = secrets;
    }
    if let Kind::Http(http) = &kind
        && http.batch.is_some()
        && !system.batches
    {
        let at = node.peek("http").and_then(|http| http.peek("batch")).unwrap_or(node);
        let what = format!("the system \"{}\" does not say how its requests go in a batch", system.name);
        problems.add(at, what, "remove `batch`, or write `batch: {items: …, status: …}` in its sink.yaml");
        return None;
    }
    if let Some((what, hint)) = misfit(&system.takes, kind.name()) {
        problems.add(node, format!("the system \"{}\" {what}", system.name), hint);
        return None;
    }
    let said = format!("{}\n{}", said(node), system.said);
    let told = Arc::new(told);
    let window_bytes = usize::try_from(window_bytes?).unwrap_or(usize::MAX);
    Some(SinkSettings { name: name.into(), system, kind, told, limits, window, window_bytes, routes: Vec::new(), said })
}

/// Why a system cannot be of that kind, and which it can be of.
pub(crate) fn misfit(takes: &Takes, kind: KindName) -> Option<(&'static str, &'static str)> {
    match (takes, kind) {
        (Takes::WhatActs(requests), KindName::Topic | KindName::Lines) => {
            let for_http = requests.iter().any(RequestPlan::is_for_http);
            for_http.then_some((
                "has requests that only HTTP can carry: a path, ids, a secret, another format than JSON",
                "write `http: {…}`",
            ))
        }
        (Takes::WhatActs(requests), KindName::Mail) => {
            let mails = requests.iter().all(|plan| plan.makes("subject") && plan.makes("text") && !plan.is_for_http());
            (!mails).then_some(("makes no mails", "each of its requests needs `subject` and `text`, as in `notice`"))
        }
        (Takes::WhatActs(_), KindName::Http)
        | (Takes::Everything(_), KindName::Tables | KindName::Postgres | KindName::Sqlite)
        | (Takes::Copies(_), KindName::Topic | KindName::Lines) => None,
        (Takes::WhatActs(_), _) => {
            Some(("is reached by requests", "write `http: {…}`, `kafka: {…}`, `file: {…}` or `smtp: {…}`"))
        }
        (Takes::Everything(_), _) => {
            Some(("makes rows of tables", "write `postgres: {…}`, `parquet: {…}` or `sqlite: {…}`"))
        }
        (Takes::Copies(_), _) => Some(("hands on whole records", "write `kafka: {…}` or `file: {…}`")),
    }
}

/// `settings`: exactly those of the system, each a text or a secret. Of secrets the texts are what is shown of them.
fn read_told(
    map: &mut Map<'_>,
    system: Option<&System>,
    problems: &mut Problems,
) -> Option<(serde_json::Value, Secrets)> {
    let node = map.get("settings");
    let system = system?;
    let (mut told, mut secrets) = (serde_json::Map::new(), Secrets::default());
    if let Some(mut given) = node.and_then(|node| node.map(problems)) {
        for (key, name, value) in given.entries() {
            let known = system.settings.iter().find(|setting| setting.name == name);
            if known.is_none() {
                let hint = did_you_mean(name, system.settings.iter().map(|setting| setting.name.as_str()));
                problems.add(key, format!("the system \"{}\" has no setting \"{name}\"", system.name), hint);
            }
            let shown = if known.is_some_and(|setting| setting.is_secret) {
                secrets.0.push((name.to_owned(), Secret::read(value, problems)?));
                SHOWN
            } else {
                value.name(problems)?
            };
            told.insert(name.to_owned(), shown.into());
        }
    }
    let names = system.settings.iter().map(|setting| &setting.name);
    for missing in names.filter(|name| !told.contains_key(*name)) {
        let what = format!("the system \"{}\" must be told `{missing}`", system.name);
        problems.add(node.unwrap_or(map.node()), what, format!("write `settings: {{{missing}: …}}`"));
    }
    Some((told.into(), secrets))
}

fn read_limits(map: &mut Map<'_>, problems: &mut Problems) -> Limits {
    let mut limits = Limits::default();
    if let Some(mut inner) = map.get("retry").and_then(|node| node.map(problems)) {
        let retry = &mut limits.retry;
        read_duration(&mut inner, "first", &mut retry.first, problems);
        read_duration(&mut inner, "longest", &mut retry.longest, problems);
        read_duration(&mut inner, "longest_asked", &mut retry.longest_asked, problems);
        read_duration(&mut inner, "give_up_after", &mut retry.give_up_after, problems);
        let attempts = inner.get("attempts").and_then(|node| node.whole(1, problems));
        retry.attempts = attempts.map(|attempts| u32::try_from(attempts).unwrap_or(u32::MAX));
        inner.finish(problems);
    }
    limits.concurrency = read_count(map, "concurrency", limits.concurrency, problems);
    if let Some(mut inner) = map.get("rate").and_then(|node| node.map(problems)) {
        let attempts = inner.require("attempts", problems).and_then(|node| node.whole(1, problems));
        let mut per = Duration::from_secs(1);
        read_duration(&mut inner, "per", &mut per, problems);
        inner.finish(problems);
        limits.rate = attempts.map(|attempts| RateLimit { attempts: u32::try_from(attempts).unwrap_or(u32::MAX), per });
    }
    if let Some(mut inner) = map.get("breaker").and_then(|node| node.map(problems)) {
        limits.breaker = read_count(&mut inner, "failures", limits.breaker, problems);
        read_duration(&mut inner, "probe", &mut limits.probes.breaker, problems);
        inner.finish(problems);
    }
    read_duration(map, "probe", &mut limits.probes.held, problems);
    if let Some(mut inner) = map.get("dead_letters").and_then(|node| node.map(problems)) {
        limits.dead_letters.most = read_count(&mut inner, "at_most", limits.dead_letters.most, problems);
        read_duration(&mut inner, "within", &mut limits.dead_letters.within, problems);
        inner.finish(problems);
    }
    limits
}

/// The folder of the sink's system: by `system`, else by the sink's own name.
fn read_system(name: &str, map: &mut Map<'_>, systems: &Systems, problems: &mut Problems) -> Option<Arc<System>> {
    let node = map.get("system");
    let wanted = match node {
        Some(node) => node.text(problems)?,
        None => name,
    };
    let found = systems.get(wanted);
    if found.is_none() {
        let at = node.unwrap_or(map.node());
        problems.add(
            at,
            format!("there is no system \"{wanted}\""),
            format!("write `system: …`; {}", did_you_mean(wanted, systems.names())),
        );
    }
    found
}

/// `copies`: the system hands on records as they are.
fn read_kind(map: &mut Map<'_>, copies: bool, problems: &mut Problems) -> Option<Kind> {
    let kinds: [(Option<&Node>, &ReadKind<'_>); 7] = [
        (map.get("http"), &|node, problems| super::http::read(node, problems).map(|read| Kind::Http(Box::new(read)))),
        (map.get("kafka"), &|node, problems| TopicSettings::read(node, copies, problems).map(Kind::Topic)),
        (map.get("smtp"), &|node, problems| MailSettings::read(node, problems).map(Kind::Mail)),
        (map.get("file"), &|node, problems| LinesSettings::read(node, problems).map(Kind::Lines)),
        (map.get("parquet"), &|node, problems| TablesSettings::read(node, problems).map(Kind::Tables)),
        (map.get("postgres"), &|node, problems| PostgresSettings::read(node, problems).map(Kind::Postgres)),
        (map.get("sqlite"), &|node, problems| read_sqlite(node, problems).map(Kind::Sqlite)),
    ];
    let mut given = kinds.into_iter().filter_map(|(node, read)| Some((node?, read)));
    if let (Some((node, read)), None) = (given.next(), given.next()) {
        return read(node, problems);
    }
    let hint = "write one of: http, kafka, smtp, file, parquet, postgres, sqlite";
    problems.add(map.node(), "a sink is of exactly one kind", hint);
    None
}

type ReadKind<'a> = dyn Fn(&Node, &mut Problems) -> Option<Kind> + 'a;

fn read_sqlite(node: &Node, problems: &mut Problems) -> Option<PathBuf> {
    let mut map = node.map(problems)?;
    let path = map.require("path", problems).and_then(|node| node.path(problems));
    map.finish(problems);
    path
}
