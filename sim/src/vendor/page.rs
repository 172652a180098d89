//! A page of a list: which rows fit the parameters, in which order, and how the page that follows is named.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::account::{Account, Row, Version};
use super::body::{at, scalar};
use super::condition::{self, Condition, Test};
use crate::clock::parse_ms;
use crate::rules::{End, Next, Order, Refusal, Rules, Stream};

pub(super) type Params = Vec<(String, String)>;

/// A page as it is answered.
pub(super) struct Page {
    /// Each row with its id.
    pub(super) rows: Vec<(String, Value)>,
    /// The cursor of the page that follows.
    pub(super) next: Option<String>,
    /// The token of the next run, of a last page that has a row in its run.
    pub(super) sync: Option<String>,
    /// How many pages there are.
    pub(super) pages: usize,
}

/// What the cursor of a page holds.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Pages of another generation are not known.
    generation: u64,
    /// By what rows are ordered, of the last one that was given.
    after: (i64, String),
    /// What the run is narrowed by and when it began, in a list with sync tokens.
    run: Option<Run>,
    /// Where the cursor stands alone, the parameters that it was made with.
    params: Params,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Run {
    since: i64,
    began: i64,
}

/// The page that `params` ask for, of lists that have one path; of the rows of `owner` if they are one per owner.
///
/// # Errors
/// The vendor's refusal.
pub(super) fn page(
    rules: &Rules,
    account: &Account,
    streams: &[&Stream],
    owner: &[String],
    params: &Params,
) -> Result<Page, Refusal> {
    let Some(first) = streams.first() else { return Ok(Page { rows: Vec::new(), next: None, sync: None, pages: 0 }) };
    let counted = is_counted(rules);
    let cursor = if counted { None } else { cursor_of(rules, account, params)? };
    let run = match &cursor {
        Some(cursor) => cursor.run,
        None => run_of(rules, account, first, params)?,
    };
    let own = cursor.as_ref().filter(|cursor| !cursor.params.is_empty()).map_or(params, |cursor| &cursor.params);
    let size = if first.paged { size_of(rules, own)?.min(account.page_rows) } else { u64::MAX };
    let order = order_of(rules, own)?;
    let conditions = conditions(rules, account, streams, own)?;
    let as_of = as_of(rules, first, own)?;
    let mut fitting = Vec::new();
    for stream in streams {
        for (row, version) in account.visible(stream, owner, as_of) {
            let in_run = run.is_none_or(|run| version.visible_at >= run.since);
            let meets = conditions.iter().all(|condition| meets(condition, stream, row, version));
            if in_run && meets && fits(stream, own, row, version)? {
                fitting.push((key(order, row, version), version));
            }
        }
    }
    let ascending = order == Order::IdAscending;
    fitting.sort_by(|(one, _), (other, _)| if ascending { one.cmp(other) } else { other.cmp(one) });
    if let Some(cursor) = &cursor {
        fitting.retain(|(key, _)| if ascending { *key > cursor.after } else { *key < cursor.after });
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let number = if counted { number_of(rules, params)? } else { 0 };
    let pages = fitting.len().div_ceil(size);
    let before = if matches!(rules.paging.next, Next::Offset { .. }) { number } else { size.saturating_mul(number) };
    fitting.drain(..fitting.len().min(before));
    let more = fitting.len() > size;
    fitting.truncate(size);
    let last = fitting.last().filter(|_| more).map(|(key, _)| key.clone());
    let next = last.map(|after| {
        match rules.paging.next {
            // Pages are counted from 1.
            Next::Number { .. } => return (number + 2).to_string(),
            Next::Offset { .. } => return (number + size).to_string(),
            Next::Link { .. } | Next::Token { .. } => {}
        }
        let params = if rules.paging.alone.is_some() { own.clone() } else { Params::new() };
        write(rules, &Cursor { generation: account.generation, after, run, params })
    });
    let empty = cursor.is_none() && fitting.is_empty();
    let sync = run.filter(|_| next.is_none() && !empty).map(|run| format!("s{}", run.began));
    let rows = fitting.iter().map(|((_, id), version)| (id.clone(), version.value.clone()));
    Ok(Page { rows: rows.collect(), next, sync, pages })
}

fn value<'p>(params: &'p Params, name: &str) -> Option<&'p str> {
    params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The cursor among the parameters; `None`: the first page is asked for.
fn cursor_of(rules: &Rules, account: &Account, params: &Params) -> Result<Option<Cursor>, Refusal> {
    let Some(text) = value(params, rules.paging.next.param()) else { return Ok(None) };
    if let Some(alone) = rules.paging.alone.clone().filter(|_| params.len() > 1) {
        return Err(alone);
    }
    let cursor = read(rules, text).filter(|cursor| cursor.generation == account.generation);
    let unknown = || Refusal { status: 400, error: "invalid_cursor".to_owned() };
    cursor.map(Some).ok_or_else(|| rules.paging.unknown.clone().unwrap_or_else(unknown))
}

/// `None`: the list has no sync tokens.
fn run_of(rules: &Rules, account: &Account, stream: &Stream, params: &Params) -> Result<Option<Run>, Refusal> {
    let Some(sync) = rules.sync.as_ref().filter(|_| stream.sync) else { return Ok(None) };
    let began = account.now();
    let Some(token) = value(params, &sync.param) else { return Ok(Some(Run { since: i64::MIN, began })) };
    let since = Account::token_time(token);
    let lasts = i64::try_from(sync.lasts_secs).unwrap_or(i64::MAX).saturating_mul(1000);
    match since.filter(|since| began - since <= lasts) {
        Some(since) => Ok(Some(Run { since, began })),
        None => Err(Refusal { status: 400, error: sync.expired.clone() }),
    }
}

fn size_of(rules: &Rules, params: &Params) -> Result<u64, Refusal> {
    let Some(rule) = &rules.paging.size else { return Ok(u64::MAX) };
    let Some(text) = value(params, &rule.param) else { return Ok(rule.default) };
    let size = text.parse().ok().filter(|size| (1..=rule.max).contains(size));
    size.ok_or_else(|| Refusal { status: 400, error: "invalid_page_size".to_owned() })
}

/// Whether it counts pages or rows; else it has a cursor.
fn is_counted(rules: &Rules) -> bool {
    matches!(rules.paging.next, Next::Number { .. } | Next::Offset { .. })
}

/// Whether another page than the first is asked for: some say of the first one too which it is.
pub(super) fn is_later(rules: &Rules, params: &Params) -> bool {
    if is_counted(rules) {
        return !matches!(number_of(rules, params), Ok(0));
    }
    value(params, rules.paging.next.param()).is_some()
}

/// How many pages stand before the one that is asked for; or how many rows, where these are counted.
fn number_of(rules: &Rules, params: &Params) -> Result<usize, Refusal> {
    let Some(text) = value(params, rules.paging.next.param()) else { return Ok(0) };
    let first = usize::from(matches!(rules.paging.next, Next::Number { .. }));
    let number = text.parse().ok().and_then(|number: usize| number.checked_sub(first));
    number.ok_or_else(|| Refusal { status: 400, error: "invalid_page".to_owned() })
}

/// Up to when what happened is shown: always, or until the moment that all pages of a list are of.
fn as_of(rules: &Rules, stream: &Stream, params: &Params) -> Result<i64, Refusal> {
    let as_of = rules.soap.as_ref().filter(|_| stream.operation.is_some()).and_then(|soap| soap.as_of.as_ref());
    let Some(text) = as_of.and_then(|param| value(params, param)) else { return Ok(i64::MAX) };
    parse_ms(text).ok_or_else(|| Refusal { status: 400, error: "invalid_instant".to_owned() })
}

/// The conditions that rows must meet. A field that no row has is refused.
fn conditions(
    rules: &Rules,
    account: &Account,
    streams: &[&Stream],
    params: &Params,
) -> Result<Vec<Condition>, Refusal> {
    let Some(text) = rules.conditions.as_ref().and_then(|param| value(params, param)) else { return Ok(Vec::new()) };
    let known = |condition: &Condition| {
        streams.iter().any(|stream| {
            let times = std::iter::once(&stream.times.created).chain(&stream.times.changed);
            times.into_iter().any(|time| *time == condition.field) || account.has_field(&stream.name, &condition.field)
        })
    };
    let read = condition::parse(text).filter(|conditions| conditions.iter().all(known));
    read.ok_or_else(|| Refusal { status: 400, error: "invalid_condition".to_owned() })
}

fn meets(condition: &Condition, stream: &Stream, row: &Row, version: &Version) -> bool {
    let found = at(&version.value, &condition.field).filter(|value| !value.is_null());
    match &condition.test {
        Test::Null => found.is_none(),
        Test::Is(text) => found.and_then(scalar).is_some_and(|value| value == *text),
        Test::Number(compared, than) => {
            let number = time(stream, row, version, &condition.field).or_else(|| found?.as_i64());
            number.is_some_and(|number| compared.holds(number, *than))
        }
    }
}

fn order_of(rules: &Rules, params: &Params) -> Result<Order, Refusal> {
    let chosen = rules.paging.sort.as_ref().and_then(|sort| Some((sort, value(params, &sort.param)?)));
    let Some((sort, text)) = chosen else { return Ok(rules.paging.order) };
    sort.orders.get(text).copied().ok_or_else(|| Refusal { status: 400, error: "invalid_sort".to_owned() })
}

/// Whether a row is what the parameters ask for. Parameters that the vendor does not know are ignored.
fn fits(stream: &Stream, params: &Params, row: &Row, version: &Version) -> Result<bool, Refusal> {
    let wrong = |param: &str| Refusal { status: 400, error: format!("invalid_{param}") };
    for filter in &stream.filters {
        let Some(text) = value(params, &filter.param) else { continue };
        let end = stream.times.parse(text).ok_or_else(|| wrong(&filter.param))?;
        let inside = time(stream, row, version, &filter.column).is_some_and(|at| match filter.end {
            End::AtLeast => at >= end,
            End::After => at > end,
            End::AtMost => at <= end,
        });
        if !inside {
            return Ok(false);
        }
    }
    for column in &stream.date_filters {
        let Some(text) = value(params, column) else { continue };
        let parts: Vec<&str> = text.split('|').collect();
        for pair in parts.chunks(2) {
            let [operator, instant] = pair else { return Err(wrong(column)) };
            let end = parse_ms(instant).ok_or_else(|| wrong(column))?;
            let Some(at) = time(stream, row, version, column) else { return Ok(false) };
            let inside = match *operator {
                "gt" => at > end,
                "gte" => at >= end,
                "lt" => at < end,
                "lte" => at <= end,
                _ => return Err(wrong(column)),
            };
            if !inside {
                return Ok(false);
            }
        }
    }
    for (param, column) in &stream.id_filters {
        let Some(text) = value(params, param) else { continue };
        let id = at(&version.value, column).and_then(scalar);
        if !id.is_some_and(|id| text.split(',').any(|wanted| wanted.trim() == id)) {
            return Ok(false);
        }
    }
    Ok(shown(stream, params, row, version))
}

/// Of a list that shows some rows only, or alone, when asked for: whether this is one of what is asked for.
fn shown(stream: &Stream, params: &Params, row: &Row, version: &Version) -> bool {
    let Some(hidden) = &stream.hidden else { return true };
    let asked = value(params, &hidden.param) == Some(&hidden.value);
    if !hidden.alone {
        return asked || !row.hidden;
    }
    let is_hidden =
        at(&version.value, &hidden.param).and_then(Value::as_bool).is_some_and(|is| hidden.value.parse() == Ok(is));
    is_hidden == asked
}

/// What the vendor compares: its own time of change and creation, whatever the row shows of them.
fn time(stream: &Stream, row: &Row, version: &Version, column: &str) -> Option<i64> {
    if Some(column) == stream.times.changed.as_deref() {
        return Some(version.changed);
    }
    if column == stream.times.created {
        return Some(row.created);
    }
    stream.times.parse(&scalar(at(&version.value, column)?)?)
}

fn key(order: Order, row: &Row, version: &Version) -> (i64, String) {
    let first = match order {
        Order::IdAscending | Order::IdDescending => row.id.parse().unwrap_or(0),
        Order::CreatedDescending => row.created,
        Order::ChangedDescending => version.changed,
    };
    (first, row.id.clone())
}

/// As the parameter takes it.
fn write(rules: &Rules, cursor: &Cursor) -> String {
    let text = serde_json::to_string(cursor).unwrap_or_default();
    match rules.paging.next {
        // Of brackets, quotes and commas: what must be encoded shows who forgets it.
        Next::Token { encoded: true, .. } => text,
        Next::Token { .. } | Next::Link { .. } | Next::Number { .. } | Next::Offset { .. } => {
            URL_SAFE_NO_PAD.encode(text)
        }
    }
}

fn read(rules: &Rules, text: &str) -> Option<Cursor> {
    match rules.paging.next {
        Next::Token { encoded: true, .. } => serde_json::from_str(text).ok(),
        Next::Token { .. } | Next::Link { .. } | Next::Number { .. } | Next::Offset { .. } => {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
        }
    }
}
