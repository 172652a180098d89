//! The vendor's rules as `vendors/greenhouse/api.yaml` states them.
//!
//! In: the text of that file (built in, or given). Out: [`Rules`], checked. Nothing here knows the manifest: a wrong
//! cursor there must meet the right filter here.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems, parse};

/// The file as it stood when the program was built.
pub const GREENHOUSE_API: &str = include_str!("../../vendors/greenhouse/api.yaml");

/// How one vendor's API and webhooks behave.
#[derive(Debug, Clone)]
pub struct Rules {
    pub token: Token,
    pub paging: Paging,
    pub max_ids: usize,
    pub rate: Rate,
    pub visible_within_secs: u64,
    pub webhook: WebhookRules,
    /// In the order of the file.
    pub streams: Vec<Stream>,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub path: String,
    pub grant_type: String,
    pub lifetime_secs: u64,
    pub expiry_field: String,
}

#[derive(Debug, Clone)]
pub struct Paging {
    pub base_path: String,
    pub default: u64,
    pub max: u64,
    pub cursor_param: String,
    pub cursor_alone_status: u16,
    pub cursor_alone_error: String,
}

#[derive(Debug, Clone)]
pub struct Rate {
    pub window_secs: u64,
    pub requests: u64,
    pub status: u16,
    pub limit_header: String,
    pub remaining_header: String,
    pub reset_header: String,
    pub retry_header: String,
}

#[derive(Debug, Clone)]
pub struct WebhookRules {
    pub event_id_header: String,
    pub signature_header: String,
    pub signature_prefix: String,
    /// Characters that the vendor writes as `\u00xx`.
    pub escaped: Vec<char>,
    pub success_status: u16,
    pub retry_after_minutes: Vec<u64>,
    pub ping: bool,
}

/// One list endpoint.
#[derive(Debug, Clone)]
pub struct Stream {
    pub name: String,
    /// Columns that a date filter of the same name works on.
    pub date_filters: Vec<String>,
    /// Parameter → column.
    pub id_filters: BTreeMap<String, String>,
    /// Rows marked hidden show only when a parameter has a value.
    pub hidden: Option<Hidden>,
    /// A field that holds a link which is signed anew in every answer.
    pub signed_anew: Option<String>,
    /// Field → documented type (`int`, `text?`, ...), for the tests that hold the rows against it.
    pub fields: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub struct Hidden {
    pub param: String,
    pub value: String,
    /// Asked for, they come alone.
    pub alone: bool,
}

impl Rules {
    /// Reads the rules.
    ///
    /// # Errors
    /// All mistakes of the file, with their lines.
    pub fn read(file: &str, text: &str) -> Result<Self, Problems> {
        let root = parse(file, text)?;
        let mut problems = Problems::default();
        let rules = read_rules(&root, &mut problems);
        match rules {
            Some(rules) if problems.is_empty() => Ok(rules),
            _ => Err(problems),
        }
    }

    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.name == name)
    }
}

fn read_rules(root: &Node, problems: &mut Problems) -> Option<Rules> {
    let mut map = root.map(problems)?;
    let token = section(&mut map, "token", problems, |m, p| {
        Some(Token {
            path: text(m, "path", p)?,
            grant_type: text(m, "grant_type", p)?,
            lifetime_secs: m.require("lifetime_secs", p)?.whole(1, p)?,
            expiry_field: text(m, "expiry_field", p)?,
        })
    });
    let paging = section(&mut map, "paging", problems, read_paging);
    let max_ids = section(&mut map, "filters", problems, |m, p| {
        let operators = texts(m, "operators", p)?;
        if operators != ["gt", "gte", "lt", "lte"] {
            p.add(m.node(), "the simulator knows the operators gt, gte, lt, lte only", "");
        }
        m.require("unknown_params", p)?.choice(&[("ignored", ())], p)?;
        m.require("max_ids", p)?.whole(1, p)
    });
    let rate = section(&mut map, "rate_limit", problems, read_rate);
    let lag = section(&mut map, "lag", problems, |m, p| m.require("visible_within_secs", p)?.whole(0, p));
    let webhook = section(&mut map, "webhook", problems, read_webhook);
    section(&mut map, "application_stages", problems, |m, p| m.require("rows", p)?.choice(&[("either", ())], p));
    let streams = map.require("streams", problems).and_then(|node| read_streams(node, problems));
    map.finish(problems);
    Some(Rules {
        token: token?,
        paging: paging?,
        max_ids: usize::try_from(max_ids?).ok()?,
        rate: rate?,
        visible_within_secs: lag?,
        webhook: webhook?,
        streams: streams?,
    })
}

fn read_paging(map: &mut Map<'_>, problems: &mut Problems) -> Option<Paging> {
    let (default, max) = section(map, "per_page", problems, |m, p| {
        Some((m.require("default", p)?.whole(1, p)?, m.require("max", p)?.whole(1, p)?))
    })?;
    let (status, error) = section(map, "cursor_alone", problems, |m, p| {
        Some((m.require("status", p)?.whole(400, p)?, text(m, "error", p)?))
    })?;
    map.require("order", problems)?.choice(&[("id descending", ())], problems)?;
    Some(Paging {
        base_path: text(map, "base_path", problems)?,
        default,
        max,
        cursor_param: text(map, "cursor_param", problems)?,
        cursor_alone_status: u16::try_from(status).ok()?,
        cursor_alone_error: error,
    })
}

fn read_rate(map: &mut Map<'_>, problems: &mut Problems) -> Option<Rate> {
    let headers = section(map, "headers", problems, |m, p| {
        Some([text(m, "limit", p)?, text(m, "remaining", p)?, text(m, "reset", p)?, text(m, "retry", p)?])
    })?;
    let [limit_header, remaining_header, reset_header, retry_header] = headers;
    Some(Rate {
        window_secs: map.require("window_secs", problems)?.whole(1, problems)?,
        requests: map.require("requests", problems)?.whole(1, problems)?,
        status: u16::try_from(map.require("status", problems)?.whole(400, problems)?).ok()?,
        limit_header,
        remaining_header,
        reset_header,
        retry_header,
    })
}

fn read_webhook(map: &mut Map<'_>, problems: &mut Problems) -> Option<WebhookRules> {
    let (event_id_header, signature_header) =
        section(map, "headers", problems, |m, p| Some((text(m, "event_id", p)?, text(m, "signature", p)?)))?;
    let signature_prefix = section(map, "signature", problems, |m, p| {
        m.require("encoding", p)?.choice(&[("hex_lower", ())], p)?;
        text(m, "prefix", p)
    })?;
    map.require("same_event_id_on_retry", problems)?.choice(&[("either", ())], problems)?;
    let minutes = map.require("retry_after_minutes", problems)?;
    let mut retry_after_minutes = Vec::new();
    for node in minutes.list(problems)? {
        retry_after_minutes.push(node.whole(1, problems)?);
    }
    Some(WebhookRules {
        event_id_header,
        signature_header,
        signature_prefix,
        escaped: texts(map, "escaped", problems)?.iter().filter_map(|t| t.chars().next()).collect(),
        success_status: u16::try_from(map.require("success_status", problems)?.whole(200, problems)?).ok()?,
        retry_after_minutes,
        ping: map.require("ping", problems)?.boolean(problems)?,
    })
}

fn read_streams(node: &Node, problems: &mut Problems) -> Option<Vec<Stream>> {
    let mut streams = Vec::new();
    let mut map = node.map(problems)?;
    for (_, name, body) in map.entries() {
        let Some(mut entry) = body.map(problems) else { continue };
        let date_filters = texts(&mut entry, "date_filters", problems);
        let id_filters = pairs(&mut entry, "id_filters", problems);
        let with = hidden(entry.get("hidden_unless"), false, problems);
        let hidden = with.or_else(|| hidden(entry.get("hidden_only_when"), true, problems));
        let signed_anew = entry.get("signed_anew").and_then(|node| node.text(problems)).map(str::to_owned);
        let fields = pairs(&mut entry, "fields", problems);
        entry.finish(problems);
        if let (Some(date_filters), Some(id_filters), Some(fields)) = (date_filters, id_filters, fields) {
            streams.push(Stream { name: name.to_owned(), date_filters, id_filters, hidden, signed_anew, fields });
        }
    }
    Some(streams)
}

fn hidden(node: Option<&Node>, alone: bool, problems: &mut Problems) -> Option<Hidden> {
    let mut only = node?.map(problems)?;
    let (_, param, value) = only.entries().next()?;
    Some(Hidden { param: param.to_owned(), value: value.text(problems)?.to_owned(), alone })
}

fn section<T>(
    map: &mut Map<'_>,
    key: &'static str,
    problems: &mut Problems,
    read: impl FnOnce(&mut Map<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    let mut inner = map.require(key, problems)?.map(problems)?;
    let value = read(&mut inner, problems);
    inner.finish(problems);
    value
}

fn text(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<String> {
    Some(map.require(key, problems)?.text(problems)?.to_owned())
}

fn texts(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for node in map.require(key, problems)?.list(problems)? {
        found.push(node.text(problems)?.to_owned());
    }
    Some(found)
}

fn pairs(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let mut inner = map.require(key, problems)?.map(problems)?;
    let mut found = BTreeMap::new();
    for (_, name, value) in inner.entries() {
        found.insert(name.to_owned(), value.text(problems)?.to_owned());
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rules_read() {
        let rules = Rules::read("api.yaml", GREENHOUSE_API).unwrap();
        assert_eq!(rules.paging.max, 500);
        assert_eq!(rules.webhook.retry_after_minutes, [1, 15, 60, 120, 240, 480]);
        assert!(rules.stream("application_stages").is_some());
    }

    #[test]
    fn a_misspelt_rule_is_refused_with_its_line() {
        let broken = GREENHOUSE_API.replace("per_page:", "per_pages:");
        let text = Rules::read("api.yaml", &broken).unwrap_err().to_string();
        assert!(text.contains("per_pages"), "{text}");
    }
}
