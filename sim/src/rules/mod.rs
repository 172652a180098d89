//! How a vendor's API and webhooks behave, as its `api.yaml` states it.
//!
//! In: the text of that file. Out: [`Rules`], checked. Nothing here knows the manifest: a wrong cursor there must meet
//! the right filter here.

mod read;
mod stream;
mod webhook;

use hirewire_yaml::{Map, Node, Problems, parse};

use read::{optional, section, text};
pub use stream::Stream;
pub(crate) use stream::{End, Times};
pub(crate) use webhook::{Claim, Signed};
pub use webhook::{Encoding, WebhookRules};

/// The file as it stood when the program was built.
pub const GREENHOUSE_API: &str = include_str!("../../../vendors/greenhouse/api.yaml");

/// How one vendor's API and webhooks behave.
#[derive(Debug, Clone)]
pub struct Rules {
    /// In front of each list's path: `/v3`, or nothing.
    pub base_path: String,
    pub auth: Auth,
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
    /// A key as the user of HTTP Basic, without a password.
    ApiKey,
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

#[derive(Debug, Clone)]
pub struct Paging {
    pub size_param: String,
    pub default: u64,
    pub max: u64,
    pub next: Next,
    /// `None`: other parameters may stand beside the cursor.
    pub alone: Option<Refusal>,
    pub order: Order,
    /// What a page that is not known any more is answered; `None`: no source tells.
    pub unknown: Option<Refusal>,
}

/// How an answer names the page that follows.
#[derive(Debug, Clone)]
pub enum Next {
    /// A `Link` header with `rel="next"`, whose URL holds this parameter.
    Link { param: String },
    /// A token in the body.
    Token { param: String, field: String, more: String, encoded: bool },
}

impl Next {
    /// The parameter that takes the cursor.
    #[must_use]
    pub fn param(&self) -> &str {
        match self {
            Self::Link { param } | Self::Token { param, .. } => param,
        }
    }
}

/// By what a list is ordered; then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    IdDescending,
    IdAscending,
    CreatedDescending,
    ChangedDescending,
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
            Auth::ApiKey => None,
        }
    }
}

fn read_rules(root: &Node, problems: &mut Problems) -> Option<Rules> {
    let mut map = root.map(problems)?;
    let base_path = text(&mut map, "base_path", problems);
    let auth = map.require("auth", problems).and_then(|node| read_auth(node, problems));
    let send = map.require("send", problems);
    let send = send.and_then(|node| node.choice(&[("query", Send::Query), ("json_body", Send::JsonBody)], problems));
    let times = section(&mut map, "times", problems, Times::read);
    let paging = section(&mut map, "paging", problems, read_paging);
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
    map.finish(problems);
    Some(Rules {
        base_path: base_path?,
        auth: auth?,
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
    let (kind, value) = node.tagged(&["api_key", "client_credentials"], problems)?;
    let mut map = value.map(problems)?;
    let auth = match kind {
        "api_key" => Some(Auth::ApiKey),
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

fn read_paging(map: &mut Map<'_>, problems: &mut Problems) -> Option<Paging> {
    let (size_param, default, max) = section(map, "size", problems, |m, p| {
        Some((text(m, "param", p)?, m.require("default", p)?.whole(1, p)?, m.require("max", p)?.whole(1, p)?))
    })?;
    let next = map.require("next", problems).and_then(|node| read_next(node, problems));
    let orders = [
        ("id descending", Order::IdDescending),
        ("id ascending", Order::IdAscending),
        ("created descending", Order::CreatedDescending),
        ("changed descending", Order::ChangedDescending),
    ];
    let order = map.require("order", problems).and_then(|node| node.choice(&orders, problems));
    let alone = optional(map, "cursor_alone", problems, read_refusal);
    let unknown = optional(map, "unknown_page", problems, read_refusal);
    Some(Paging { size_param, default, max, next: next?, alone: alone?, order: order?, unknown: unknown? })
}

fn read_next(node: &Node, problems: &mut Problems) -> Option<Next> {
    let (kind, value) = node.tagged(&["link", "token"], problems)?;
    let mut map = value.map(problems)?;
    let param = text(&mut map, "param", problems);
    let next = match kind {
        "link" => Some(Next::Link { param: param? }),
        _ => {
            let (field, more) = (text(&mut map, "field", problems), text(&mut map, "more", problems));
            let encoded = map.get("encoded").map_or(Some(false), |node| node.boolean(problems));
            Some(Next::Token { param: param?, field: field?, more: more?, encoded: encoded? })
        }
    };
    map.finish(problems);
    next
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
        assert_eq!(rules.paging.max, 500);
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
