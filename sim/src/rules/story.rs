//! In which words a vendor tells the story of a company: which lists show what, which events tell of what.
//!
//! The story itself is neutral (`sim/src/world/mod.rs`); what a vendor cannot tell, it leaves out.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems};

use super::event::Event;
use super::facts::{Said, all, known_fact, puts};
use super::read::{flag, list as texts_of, optional, text};
use super::stream::Stream;

/// The section `story`.
#[derive(Debug, Clone, Default)]
pub struct Story {
    pub ids: Ids,
    /// Ids that are made of others: of an `application` or a `stage`.
    pub names: BTreeMap<String, Said>,
    /// Stages of one name are one, whatever the job.
    pub shared_stages: bool,
    /// By kind (`stage`, `offer`, `reason`), the vendor's word for ours.
    pub words: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// Ends of an application that are stages too, by status.
    pub ends: BTreeMap<&'static str, Ending>,
    /// What people can do at this vendor, beyond applying, moving, rejecting, making offers and hiring.
    pub can: Vec<Can>,
    /// Nobody applies twice.
    pub apply_once: bool,
    /// Only the present stage is told: what happens unseen is unknown for ever.
    pub forgets: bool,
    pub shows: Vec<Show>,
    /// Events by what happens.
    pub tells: BTreeMap<&'static str, Tells>,
    /// What the account adds to the mapping.
    pub overlay: Option<String>,
}

/// How ids are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ids {
    #[default]
    Number,
    /// A number as a text.
    Text,
    Uuid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Can {
    Unhire,
    Unreject,
    /// The candidate steps back, and it differs from a rejection.
    Withdraw,
    DeleteApplication,
    DeleteCandidate,
    Transfer,
}

/// A stage that is an end.
#[derive(Debug, Clone)]
pub struct Ending {
    pub id: String,
    pub name: String,
    pub word: String,
}

/// What a list shows.
#[derive(Debug, Clone)]
pub struct Show {
    pub of: Of,
    pub list: String,
    /// Whose list it is, of a list that is one per row of another.
    pub owner: Vec<Said>,
    /// Fact → its values for which there is a row.
    pub when: BTreeMap<&'static str, Vec<String>>,
    /// Place in the row → what stands there; all else is as in the example.
    pub row: BTreeMap<String, Said>,
    /// The same, by the application's status.
    pub by_status: BTreeMap<&'static str, BTreeMap<String, Said>>,
    /// A list in the row of the stages that were entered: its place, and what stands in an entry.
    pub visits: Option<(String, BTreeMap<String, Said>)>,
    /// Which example a row is like, from 0 on.
    pub example: usize,
}

/// One row for each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Reason,
    Stage,
    Job,
    Person,
    Application,
    /// A stage that was entered.
    Visit,
    Offer,
    /// An application that is gone.
    Deletion,
}

/// An event, and what stands in its body beyond what `webhook.events` says.
#[derive(Debug, Clone)]
pub struct Tells {
    pub event: String,
    pub body: BTreeMap<String, Said>,
}

/// What happens, as far as events tell it.
const HAPPENINGS: [&str; 11] =
    ["apply", "move", "transfer", "reject", "withdraw", "unreject", "offer", "hire", "unhire", "delete", "update"];
/// The word for what has none of its own.
const ALL_OTHERS: &str = "*";
const STATUSES: [&str; 4] = ["ACTIVE", "REJECTED", "WITHDRAWN", "HIRED"];
const WORDS: [&str; 3] = ["stage", "offer", "reason"];

impl Story {
    /// The vendor's word for one of ours.
    #[must_use]
    pub(crate) fn word(&self, kind: &str, ours: &str) -> Option<&str> {
        let words = self.words.get(kind)?;
        words.get(ours).or_else(|| words.get(ALL_OTHERS)).map(String::as_str)
    }

    #[must_use]
    pub(crate) fn can(&self, what: Can) -> bool {
        self.can.contains(&what)
    }

    /// Whatever the story names is there.
    pub(super) fn check_names(&self, root: &Node, streams: &[Stream], events: &[&Event], problems: &mut Problems) {
        let lists = self.shows.iter().map(|show| &show.list);
        let unlisted = lists.filter(|list| streams.iter().all(|stream| stream.name != **list));
        let told = self.tells.values().map(|tells| &tells.event);
        let untold = told.filter(|name| events.iter().all(|event| event.key != **name));
        let lists = unlisted.map(|name| format!("no list \"{name}\""));
        for what in lists.chain(untold.map(|name| format!("no event \"{name}\""))) {
            problems.add(
                root,
                what,
                "`story` names lists of `streams` and events of `webhook.events` or `queue.events`",
            );
        }
    }

    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let ids = [("number", Ids::Number), ("text", Ids::Text), ("uuid", Ids::Uuid)];
        let ids = map.require("ids", problems)?.choice(&ids, problems);
        let can = [
            ("unhire", Can::Unhire),
            ("unreject", Can::Unreject),
            ("withdraw", Can::Withdraw),
            ("delete_application", Can::DeleteApplication),
            ("delete_candidate", Can::DeleteCandidate),
            ("transfer", Can::Transfer),
        ];
        let can = match map.get("can") {
            Some(node) => node.list(problems)?.iter().map(|word| word.choice(&can, problems)).collect(),
            None => Some(Vec::new()),
        };
        let names = puts(map, "names", problems);
        let words = each(map.get("words"), &WORDS, problems, |node, p| {
            let mut inner = node.map(p)?;
            inner.entries().map(|(_, ours, word)| Some((ours.to_owned(), word.text(p)?.to_owned()))).collect()
        });
        let ends = each(map.get("ends"), &STATUSES, problems, |node, p| {
            let mut map = node.map(p)?;
            let (id, name) = (text(&mut map, "id", p), text(&mut map, "name", p));
            let word = map.get("word").map_or(Some(""), |node| node.text(p));
            map.finish(p);
            Some(Ending { id: id?, name: name?, word: word?.to_owned() })
        });
        let tells = each(map.get("tells"), &HAPPENINGS, problems, |node, p| {
            let mut map = node.map(p)?;
            let (event, body) = (text(&mut map, "event", p), puts(&mut map, "body", p));
            map.finish(p);
            Some(Tells { event: event?, body: body? })
        });
        let shows = map.require("shows", problems)?.list(problems)?;
        let shows = shows.iter().map(|node| Show::read(node, problems)).collect::<Option<Vec<_>>>();
        let overlay =
            map.get("overlay").map_or(Some(None), |node| node.text(problems).map(|text| Some(text.to_owned())));
        Some(Self {
            ids: ids?,
            names: names?,
            shared_stages: flag(map, "shared_stages", problems)?,
            words: words?,
            ends: ends?,
            can: can?,
            apply_once: flag(map, "apply_once", problems)?,
            forgets: flag(map, "forgets", problems)?,
            shows: shows?,
            tells: tells?,
            overlay: overlay?,
        })
    }
}

impl Show {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let of = [
            ("reason", Of::Reason),
            ("stage", Of::Stage),
            ("job", Of::Job),
            ("person", Of::Person),
            ("application", Of::Application),
            ("visit", Of::Visit),
            ("offer", Of::Offer),
            ("deletion", Of::Deletion),
        ];
        let of = map.require("of", problems)?.choice(&of, problems);
        let list = text(&mut map, "list", problems);
        let owner = match map.get("owner") {
            Some(node) => node.list(problems)?.iter().map(|said| Said::read(said, problems)).collect(),
            None => Some(Vec::new()),
        };
        let when = match map.get("when") {
            Some(node) => {
                let mut inner = node.map(problems)?;
                let read = |(key, fact, values): (&Node, &str, &Node)| {
                    Some((known_fact(key, fact, problems)?, texts_of(values, problems)?))
                };
                inner.entries().map(read).collect::<Option<_>>()
            }
            None => Some(BTreeMap::new()),
        };
        let row = puts(&mut map, "row", problems);
        let by_status = each(map.get("by_status"), &STATUSES, problems, all);
        let visits = optional(&mut map, "visits", problems, |m, p| Some((text(m, "place", p)?, puts(m, "row", p)?)))?;
        let example = map.get("example").map_or(Some(0), |node| node.whole(0, problems))?;
        map.finish(problems);
        Some(Self {
            of: of?,
            list: list?,
            owner: owner?,
            when: when?,
            row: row?,
            by_status: by_status?,
            visits,
            example: usize::try_from(example).unwrap_or(0),
        })
    }
}

/// What stands under each of some known keys.
fn each<T>(
    node: Option<&Node>,
    known: &[&'static str],
    problems: &mut Problems,
    mut read: impl FnMut(&Node, &mut Problems) -> Option<T>,
) -> Option<BTreeMap<&'static str, T>> {
    let Some(node) = node else { return Some(BTreeMap::new()) };
    let choices: Vec<(&str, &'static str)> = known.iter().map(|key| (*key, *key)).collect();
    let mut found = BTreeMap::new();
    for (key, _, value) in node.map(problems)?.entries() {
        found.insert(key.choice(&choices, problems)?, read(value, problems)?);
    }
    Some(found)
}
