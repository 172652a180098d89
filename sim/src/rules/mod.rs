//! How a vendor's API and webhooks behave, as its `api.yaml` states it.
//!
//! In: the text of that file. Out: [`Rules`], checked. Nothing here knows the manifest: a wrong cursor there must meet
//! the right filter here.

mod moves;
mod paging;
mod read;
mod stream;
mod webhook;

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problem, Problems, parse};

pub(crate) use moves::Moves;
pub(crate) use paging::{Next, Order, Paging};
use read::{optional, section, text};
pub use stream::Stream;
pub(crate) use stream::{End, Format, Owner, Times};
pub(crate) use webhook::{Claim, Part, SentAt, SignatureRules, Signed};
pub use webhook::{Encoding, Event, WebhookRules};

/// The file as it stood when the program was built.
pub const GREENHOUSE_API: &str = include_str!("../../../vendors/greenhouse/api.yaml");

/// How one vendor's API and webhooks behave.
#[derive(Debug, Clone)]
pub struct Rules {
    /// In front of each list's path: `/v3`, or nothing.
    pub base_path: String,
    pub auth: Auth,
    /// Headers that each request must have, in lower case, and the status of an answer to one that has not.
    pub required_headers: BTreeMap<String, u16>,
    pub send: Send,
    pub paging: Paging,
    pub answer: Answer,
    /// `None`: the vendor gives no tokens for what changed since.
    pub sync: Option<Sync>,
    /// Most ids that one filter takes.
    pub max_ids: usize,
    pub rate: Rate,
    /// A change is shown at the latest this long after it happened.
    pub visible_within_secs: u64,
    /// `None`: the vendor sends none.
    pub webhook: Option<WebhookRules>,
    /// In the order of the file: a list stands behind the list of its owners.
    pub streams: Vec<Stream>,
}

/// How a request proves who asks.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A key as the user of HTTP Basic: without a password, or with any.
    ApiKey {
        any_password: bool,
    },
    /// A key in a header of its own, behind this text.
    KeyHeader {
        header: String,
        before: String,
    },
    ClientCredentials(Token),
}

/// OAuth 2 client credentials: where a token is asked for, and how long it is good.
#[derive(Debug, Clone)]
pub struct Token {
    pub path: String,
    pub grant_type: String,
    pub lifetime_secs: u64,
    /// Where its answer says until when, as an instant.
    pub expiry_field: String,
}

/// How parameters travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    Query,
    JsonBody,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub error: String,
}

/// What stands around the rows.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The key of the list of rows; `None`: the answer is the list.
    pub rows: Option<String>,
    /// `None`: a refusal has a status of its own.
    pub errors: Option<ErrorsUnder200>,
}

/// Refusals come with status 200, and say so in the body.
#[derive(Debug, Clone)]
pub struct ErrorsUnder200 {
    /// A boolean of each answer: whether it is one.
    pub flag: String,
    /// The list of the error's codes.
    pub codes: String,
}

/// A token that narrows a list to what changed since it was given.
#[derive(Debug, Clone)]
pub struct Sync {
    pub param: String,
    pub field: String,
    pub lasts_secs: u64,
    /// The code of a token that is older.
    pub expired: String,
}

/// What may be asked how often; headers that the vendor does not send are `None`.
#[derive(Debug, Clone)]
pub struct Rate {
    pub status: u16,
    pub limit_header: Option<String>,
    pub remaining_header: Option<String>,
    pub reset_header: Option<String>,
    pub retry_header: Option<String>,
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
        problems.into_result(rules)
    }

    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// `None`: requests are not proven by tokens.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        match &self.auth {
            Auth::ClientCredentials(token) => Some(token),
            Auth::ApiKey { .. } | Auth::KeyHeader { .. } => None,
        }
    }
}

fn read_rules(root: &Node, problems: &mut Problems) -> Option<Rules> {
    let mut map = root.map(problems)?;
    let base_path = text(&mut map, "base_path", problems);
    let auth = map.require("auth", problems).and_then(|node| read_auth(node, problems));
    let required_headers = required_headers(&mut map, problems);
    let send = map.require("send", problems);
    let send = send.and_then(|node| node.choice(&[("query", Send::Query), ("json_body", Send::JsonBody)], problems));
    let times = section(&mut map, "times", problems, Times::read);
    let paging = section(&mut map, "paging", problems, Paging::read);
    let answer = optional(&mut map, "answer", problems, read_answer);
    let sync = optional(&mut map, "sync", problems, read_sync);
    let max_ids = section(&mut map, "filters", problems, |m, p| {
        m.require("unknown_params", p)?.choice(&[("ignored", ())], p)?;
        let operators = m.get("operators").map(|node| read::list(node, p));
        if operators.is_some_and(|found| found.is_none_or(|words| words != ["gt", "gte", "lt", "lte"])) {
            p.add(m.node(), "the simulator knows the operators gt, gte, lt, lte only", "");
        }
        m.get("max_ids").map_or(Some(u64::MAX), |node| node.whole(1, p))
    });
    let rate = section(&mut map, "rate_limit", problems, read_rate);
    let lag = section(&mut map, "lag", problems, |m, p| m.require("visible_within_secs", p)?.whole(0, p));
    let webhook = optional(&mut map, "webhook", problems, WebhookRules::read);
    // What only the story of a company needs to know: which of two undocumented ways it takes.
    optional(&mut map, "application_stages", problems, |m, p| m.require("rows", p)?.choice(&[("either", ())], p));
    let streams = map.require("streams", problems).zip(times.as_ref());
    let streams = streams.and_then(|(node, times)| stream::read_all(node, times, problems));
    for event in webhook.iter().flatten().flat_map(|webhook| &webhook.events) {
        if streams.as_ref().is_some_and(|streams: &Vec<Stream>| streams.iter().all(|stream| stream.name != event.of)) {
            let (file, what) = (root.file.to_string(), format!("no list \"{}\"", event.of));
            problems.push(Problem { file, line: event.line, what, hint: "`of` names one of `streams`".to_owned() });
        }
    }
    for (stream, moves) in
        streams.iter().flatten().flat_map(|stream| stream.moves.iter().map(move |moves| (stream, moves)))
    {
        let known = |name: &String| streams.iter().flatten().any(|stream| stream.name == *name);
        let events = || webhook.iter().flatten().flat_map(|webhook| &webhook.events);
        let list = moves.history.as_ref().map(|history| &history.stream).filter(|name| !known(name));
        let event = moves.event.as_ref().filter(|name| !events().any(|event| event.name == **name));
        for what in list
            .map(|name| format!("no list \"{name}\""))
            .into_iter()
            .chain(event.map(|name| format!("no event \"{name}\"")))
        {
            let hint = "`moves` names a list of `streams` and an event of `webhook.events`".to_owned();
            problems.push(Problem { file: root.file.to_string(), line: stream.line, what, hint });
        }
    }
    map.finish(problems);
    Some(Rules {
        base_path: base_path?,
        auth: auth?,
        required_headers: required_headers?,
        send: send?,
        paging: paging?,
        answer: answer?.unwrap_or(Answer { rows: None, errors: None }),
        sync: sync?,
        max_ids: usize::try_from(max_ids?).unwrap_or(usize::MAX),
        rate: rate?,
        visible_within_secs: lag?,
        webhook: webhook?,
        streams: streams?,
    })
}

fn read_auth(node: &Node, problems: &mut Problems) -> Option<Auth> {
    let (kind, value) = node.tagged(&["api_key", "key_header", "client_credentials"], problems)?;
    let mut map = value.map(problems)?;
    let auth = match kind {
        "api_key" => {
            let any = map.get("password").map_or(Some(false), |node| node.choice(&[("any", true)], problems));
            Some(Auth::ApiKey { any_password: any? })
        }
        "key_header" => Some(Auth::KeyHeader {
            header: text(&mut map, "header", problems)?,
            before: map.get("before").map_or(Some(""), |node| node.text(problems))?.to_owned(),
        }),
        _ => Some(Auth::ClientCredentials(Token {
            path: text(&mut map, "path", problems)?,
            grant_type: text(&mut map, "grant_type", problems)?,
            lifetime_secs: map.require("lifetime_secs", problems)?.whole(1, problems)?,
            expiry_field: text(&mut map, "expiry_field", problems)?,
        })),
    };
    map.finish(problems);
    auth
}

fn required_headers(map: &mut Map<'_>, problems: &mut Problems) -> Option<BTreeMap<String, u16>> {
    let Some(node) = map.get("required_headers") else { return Some(BTreeMap::new()) };
    let mut headers = node.map(problems)?;
    let read = |(_, name, status): (&Node, &str, &Node)| {
        Some((name.to_lowercase(), u16::try_from(status.whole(400, problems)?).ok()?))
    };
    headers.entries().map(read).collect()
}

fn read_refusal(map: &mut Map<'_>, problems: &mut Problems) -> Option<Refusal> {
    let status = map.require("status", problems)?.whole(200, problems)?;
    Some(Refusal { status: u16::try_from(status).ok()?, error: text(map, "error", problems)? })
}

fn read_answer(map: &mut Map<'_>, problems: &mut Problems) -> Option<Answer> {
    let rows = text(map, "rows", problems);
    let errors = optional(map, "errors_under_200", problems, |m, p| {
        Some(ErrorsUnder200 { flag: text(m, "flag", p)?, codes: text(m, "codes", p)? })
    });
    Some(Answer { rows: Some(rows?), errors: errors? })
}

fn read_sync(map: &mut Map<'_>, problems: &mut Problems) -> Option<Sync> {
    Some(Sync {
        param: text(map, "param", problems)?,
        field: text(map, "field", problems)?,
        lasts_secs: map.require("lasts_secs", problems)?.whole(1, problems)?,
        expired: text(map, "expired", problems)?,
    })
}

fn read_rate(map: &mut Map<'_>, problems: &mut Problems) -> Option<Rate> {
    // For the reader of the file: the simulator's own limit is a setting, or a fault.
    map.require("window_secs", problems)?.whole(1, problems)?;
    map.require("requests", problems)?.whole(1, problems)?;
    let status = u16::try_from(map.require("status", problems)?.whole(400, problems)?).ok()?;
    let headers = optional(map, "headers", problems, |m, p| {
        let mut word =
            |key: &'static str| m.get(key).map_or(Some(None), |node| node.text(p).map(|name| Some(name.to_owned())));
        Some([word("limit")?, word("remaining")?, word("reset")?, word("retry")?])
    })?;
    let [limit_header, remaining_header, reset_header, retry_header] = headers.unwrap_or_default();
    Some(Rate { status, limit_header, remaining_header, reset_header, retry_header })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rules_read() {
        let rules = Rules::read("api.yaml", GREENHOUSE_API).unwrap();
        assert_eq!(rules.paging.size.as_ref().unwrap().max, 500);
        assert_eq!(rules.webhook.as_ref().unwrap().retry_after_minutes, [1, 15, 60, 120, 240, 480]);
        assert!(rules.stream("application_stages").is_some());
    }

    #[test]
    fn a_misspelt_rule_is_refused_with_its_line() {
        let broken = GREENHOUSE_API.replace("order:", "ordre:");
        let text = Rules::read("api.yaml", &broken).unwrap_err().to_string();
        assert!(text.contains("unknown key \"ordre\" (did you mean \"order\"?)"), "{text}");
    }
}
