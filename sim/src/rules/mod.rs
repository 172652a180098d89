//! How a vendor's API and webhooks behave, as its `api.yaml` states it.
//!
//! In: the text of that file. Out: [`Rules`], checked. Nothing here knows the manifest: a wrong cursor there must meet
//! the right filter here.

mod auth;
mod event;
mod facts;
mod graphql;
mod moves;
mod paging;
mod queue;
mod read;
mod soap;
mod story;
mod stream;
mod webhook;

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problem, Problems, parse};

pub(crate) use auth::{Auth, SessionLogin, Token};
pub use event::Event;
pub(crate) use facts::Said;
pub(crate) use graphql::GraphqlRules;
pub(crate) use moves::Moves;
pub(crate) use paging::{Next, Order, Paging};
pub(crate) use queue::QueueRules;
use read::{optional, section, text};
pub(crate) use soap::SoapRules;
pub(crate) use story::{Can, Ending, Ids, Of, Show, Story};
pub use stream::Stream;
pub(crate) use stream::{End, Format, Owner, Times};
pub(crate) use webhook::{Claim, Part, SentAt, SignatureRules, Signed};
pub use webhook::{Encoding, WebhookRules};

/// The file as it stood when the program was built.
pub const GREENHOUSE_API: &str = include_str!("../../../vendors/greenhouse/api.yaml");

/// How one vendor's API and webhooks behave.
#[derive(Debug, Clone)]
pub struct Rules {
    /// In front of each list's path: `/v3`, or nothing.
    pub base_path: String,
    pub(crate) auth: Auth,
    /// Headers that each request must have, in lower case, and the status of an answer to one that has not.
    pub required_headers: BTreeMap<String, u16>,
    pub send: Send,
    /// Parameters that each request for rows must have; without them it is answered 400.
    pub required_params: Vec<String>,
    /// `None`: nothing is asked for by SOAP.
    pub(crate) soap: Option<SoapRules>,
    /// `None`: nothing is asked for by GraphQL; else everything is.
    pub(crate) graphql: Option<GraphqlRules>,
    pub paging: Paging,
    pub answer: Answer,
    /// `None`: the vendor gives no tokens for what changed since.
    pub sync: Option<Sync>,
    /// The parameter that takes conditions on fields of a row (`streams` may be narrowed by it); `None`: there is none.
    pub conditions: Option<String>,
    /// Most ids that one filter takes.
    pub max_ids: usize,
    pub rate: Rate,
    /// A change is shown at the latest this long after it happened.
    pub visible_within_secs: u64,
    /// `None`: the vendor sends none.
    pub webhook: Option<WebhookRules>,
    /// `None`: no events wait at the vendor.
    pub(crate) queue: Option<QueueRules>,
    /// In the order of the file: a list stands behind the list of its owners.
    pub streams: Vec<Stream>,
    /// `None`: the demo does not play this vendor, or has words of its own for it.
    pub story: Option<Story>,
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

    /// What events tell, of those of which it is said: delivered, or left in the queue.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        let delivered = self.webhook.iter().flat_map(|webhook| &webhook.events);
        delivered.chain(self.queue.iter().flat_map(|queue| &queue.events))
    }

    /// What is said of an event.
    #[must_use]
    pub fn event_named(&self, key: &str) -> Option<&Event> {
        self.events().find(|event| event.key == key)
    }

    /// Whether a refusal may come with status 200.
    #[must_use]
    pub fn refuses_under_200(&self) -> bool {
        self.graphql.is_some() || self.answer.errors.is_some()
    }

    /// Whether events wait at the vendor until somebody reads them.
    #[must_use]
    pub fn has_queue(&self) -> bool {
        self.queue.is_some()
    }

    /// `None`: requests are not proven by tokens.
    #[must_use]
    pub(crate) fn token(&self) -> Option<&Token> {
        match &self.auth {
            Auth::ClientCredentials(token) => Some(token),
            Auth::ApiKey { .. } | Auth::KeyHeader { .. } | Auth::SessionLogin(_) | Auth::UsernameToken => None,
        }
    }
}

fn read_rules(root: &Node, problems: &mut Problems) -> Option<Rules> {
    let mut map = root.map(problems)?;
    let base_path = text(&mut map, "base_path", problems);
    let auth = map.require("auth", problems).and_then(|node| Auth::read(node, problems));
    let required_headers = required_headers(&mut map, problems);
    let send = map.require("send", problems);
    let send = send.and_then(|node| node.choice(&[("query", Send::Query), ("json_body", Send::JsonBody)], problems));
    let required_params = read::texts(&mut map, "required_params", problems);
    let soap = optional(&mut map, "soap", problems, SoapRules::read);
    let graphql = optional(&mut map, "graphql", problems, GraphqlRules::read);
    let times = section(&mut map, "times", problems, Times::read);
    let paging = section(&mut map, "paging", problems, Paging::read);
    let answer = optional(&mut map, "answer", problems, read_answer);
    let sync = optional(&mut map, "sync", problems, read_sync);
    let filters = section(&mut map, "filters", problems, |m, p| {
        m.require("unknown_params", p)?.choice(&[("ignored", ())], p)?;
        let operators = m.get("operators").map(|node| read::list(node, p));
        if operators.is_some_and(|found| found.is_none_or(|words| words != ["gt", "gte", "lt", "lte"])) {
            p.add(m.node(), "the simulator knows the operators gt, gte, lt, lte only", "");
        }
        let conditions = m.get("conditions").map_or(Some(None), |node| node.text(p).map(|name| Some(name.to_owned())));
        Some((m.get("max_ids").map_or(Some(u64::MAX), |node| node.whole(1, p))?, conditions?))
    });
    let rate = section(&mut map, "rate_limit", problems, read_rate);
    let lag = section(&mut map, "lag", problems, |m, p| m.require("visible_within_secs", p)?.whole(0, p));
    let webhook = optional(&mut map, "webhook", problems, WebhookRules::read);
    let queue = optional(&mut map, "queue", problems, QueueRules::read);
    // What only the story of a company needs to know: which of two undocumented ways it takes.
    optional(&mut map, "application_stages", problems, |m, p| m.require("rows", p)?.choice(&[("either", ())], p));
    let streams = map.require("streams", problems).zip(times.as_ref());
    let streams = streams.and_then(|(node, times)| stream::read_all(node, times, problems));
    let story = optional(&mut map, "story", problems, Story::read);
    let delivered = webhook.iter().flatten().flat_map(|webhook| &webhook.events);
    let events: Vec<&Event> = delivered.chain(queue.iter().flatten().flat_map(|queue| &queue.events)).collect();
    if let Some(streams) = &streams {
        check_names(root, streams, &events, problems);
        if let Some(story) = story.as_ref().and_then(Option::as_ref) {
            story.check_names(root, streams, &events, problems);
        }
    }
    map.finish(problems);
    Some(Rules {
        base_path: base_path?,
        auth: auth?,
        required_headers: required_headers?,
        send: send?,
        required_params: required_params?,
        soap: soap?,
        graphql: graphql?,
        paging: paging?,
        answer: answer?.unwrap_or(Answer { rows: None, errors: None }),
        sync: sync?,
        conditions: filters.clone()?.1,
        max_ids: usize::try_from(filters?.0).unwrap_or(usize::MAX),
        rate: rate?,
        visible_within_secs: lag?,
        webhook: webhook?,
        queue: queue?,
        streams: streams?,
        story: story?,
    })
}

/// Whatever names a list or an event names one that is there.
fn check_names(root: &Node, streams: &[Stream], events: &[&Event], problems: &mut Problems) {
    let known = |name: &String| streams.iter().any(|stream| stream.name == *name);
    let mut add = |line, what, hint: &str| {
        problems.push(Problem { file: root.file.to_string(), line, what, hint: hint.to_owned() });
    };
    for event in events.iter().filter(|event| !known(&event.of)) {
        add(event.line, format!("no list \"{}\"", event.of), "`of` names one of `streams`");
    }
    for stream in streams {
        if let Some((of, _)) = stream.part_of.as_ref().filter(|(of, _)| !known(of)) {
            add(stream.line, format!("no list \"{of}\""), "`part_of` names one of `streams`");
        }
        for moves in &stream.moves {
            let list = moves.history.as_ref().map(|history| &history.stream).filter(|name| !known(name));
            let event = moves.event.as_ref().filter(|name| !events.iter().any(|event| event.key == **name));
            let list = list.map(|name| format!("no list \"{name}\""));
            for what in list.into_iter().chain(event.map(|name| format!("no event \"{name}\""))) {
                add(
                    stream.line,
                    what,
                    "`moves` names a list of `streams` and an event of `webhook.events` or `queue.events`",
                );
            }
        }
    }
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
