//! What narrows a list to what changed: a window of times, or the vendor's own token.

use hirewire_yaml::{Map, Node, Problems};
use jiff::Timestamp;

use super::values::{flag, optional, path, required_path, required_text};
use crate::json::Path;

/// How a list is narrowed to what changed in `(from, to]`.
#[derive(Debug, Clone)]
pub struct Window {
    pub filter: Filter,
    /// Where a row says when it changed last, if it does.
    pub(crate) field: Option<Path>,
    /// Of instants, in the filter and in `field`.
    pub format: TimeFormat,
}

/// The parameters that a window becomes.
#[derive(Debug, Clone)]
pub enum Filter {
    /// One parameter for both ends.
    One {
        param: String,
        /// The value of the first window, with `{to}`.
        first: String,
        /// The value of each later one, with `{from}` and `{to}`.
        then: String,
    },
    /// A parameter for each end. The first window has only the later one, or, if there must be `both`, none.
    Two { from: String, to: String, both: bool },
    /// A parameter for the earlier end; there is none for the later.
    After {
        param: String,
        /// The value of the first window, which has none, if the vendor wants one all the same.
        first: Option<String>,
        /// The value of each later one, with `{from}`.
        then: String,
    },
}

/// How an instant is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    Rfc3339,
    /// The same, always with three digits behind the second.
    Rfc3339Ms,
    /// Milliseconds since 1970.
    EpochMs,
    /// Seconds since 1970.
    EpochS,
}

impl Filter {
    /// Names of its parameters.
    pub(super) fn params(&self) -> Vec<&str> {
        match self {
            Self::One { param, .. } | Self::After { param, .. } => vec![param],
            Self::Two { from, to, .. } => vec![from, to],
        }
    }
}

impl TimeFormat {
    pub(crate) fn write(self, instant: Timestamp) -> String {
        match self {
            Self::Rfc3339 => instant.to_string(),
            Self::Rfc3339Ms => format!("{instant:.3}"),
            Self::EpochMs => instant.as_millisecond().to_string(),
            Self::EpochS => instant.as_second().to_string(),
        }
    }

    /// The instant that a text of this format is.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Rfc3339 | Self::Rfc3339Ms => text.parse().ok(),
            Self::EpochMs => Timestamp::from_millisecond(text.parse().ok()?).ok(),
            Self::EpochS => Timestamp::from_second(text.parse().ok()?).ok(),
        }
    }
}

/// How a list is narrowed to what changed since a token was given: the vendor remembers, not we.
#[derive(Debug, Clone)]
pub struct Sync {
    /// Takes the token, in the first request of a run; without it the list is read whole.
    pub(crate) param: String,
    /// Where the last page holds the token of the next run.
    pub(crate) next: Path,
    /// Where a row says when it changed last, if it does.
    pub(crate) version: Option<Path>,
}

impl Window {
    /// Whether a row shows the time that the filter filters.
    #[must_use]
    pub fn shows_changes(&self) -> bool {
        self.field.is_some()
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let filter = if node.peek("after").is_some() {
            let param = required_text(&mut map, "after", problems);
            let first = optional(map.get("first").map(|node| node.name(problems).map(str::to_owned)));
            let then = if node.peek("then").is_some() {
                template(&mut map, "then", &["{from}"], problems)
            } else {
                Some("{from}".to_owned())
            };
            param.zip(first).zip(then).map(|((param, first), then)| Filter::After { param, first, then })
        } else if node.peek("from").is_some() || node.peek("to").is_some() {
            let from = required_text(&mut map, "from", problems);
            let to = required_text(&mut map, "to", problems);
            let both = flag(&mut map, "both", problems);
            from.zip(to).map(|(from, to)| Filter::Two { from, to, both })
        } else {
            let param = required_text(&mut map, "param", problems);
            let first = template(&mut map, "first", &["{to}"], problems);
            let then = template(&mut map, "then", &["{from}", "{to}"], problems);
            param.zip(first).zip(then).map(|((param, first), then)| Filter::One { param, first, then })
        };
        // A row that says when it changed is the proof that the filter works: to do without must be written.
        let field = match flag(&mut map, "untold", problems) {
            true => Some(None),
            false => required_path(&mut map, "field", problems).map(Some),
        };
        let formats = [
            ("rfc3339", TimeFormat::Rfc3339),
            ("rfc3339_ms", TimeFormat::Rfc3339Ms),
            ("epoch_ms", TimeFormat::EpochMs),
            ("epoch_s", TimeFormat::EpochS),
        ];
        let format = map.get("format").map_or(Some(TimeFormat::Rfc3339), |node| node.choice(&formats, problems));
        map.finish(problems);
        Some(Self { filter: filter?, field: field?, format: format? })
    }
}

/// How a list is narrowed to what changed.
#[derive(Debug, Clone)]
pub(super) enum Narrowed {
    Window(Window),
    Sync(Sync),
}

/// What narrows the list: its own window or token, `shared` by all that have none, or nothing.
#[expect(clippy::option_option, reason = "wrong, none and one are three things")]
pub(super) fn narrowed(
    name: &str,
    map: &mut Map<'_>,
    shared: Option<&Option<Narrowed>>,
    problems: &mut Problems,
) -> Option<Option<Narrowed>> {
    let node = map.node();
    let (window, sync, whole) = (map.get("window"), map.get("sync"), flag(map, "whole", problems));
    let own = window.or(sync);
    let unlisted = node.peek("listed").and_then(Node::scalar) == Some("false");
    let without = [
        (
            "per",
            node.peek("per").is_some(),
            "a list per parent is read when its parent changed: its parent's list is narrowed",
        ),
        ("sweep", node.peek("sweep").is_some(), "it is no list of its own"),
        ("listed: false", unlisted, "there is no list to be narrowed"),
    ];
    if let Some((key, _, hint)) = without.into_iter().find(|(_, is, _)| *is) {
        let Some(wrong) = own.or(node.peek("whole")) else { return Some(None) };
        problems.add(wrong, format!("`{key}` beside `window`, `sync` or `whole`"), hint);
        return None;
    }
    match (own, shared, whole) {
        (None, _, true) => Some(None),
        (Some(_), _, false) => Narrowed::read(window, sync, problems).map(Some),
        // Its mistakes were told.
        (None, Some(shared), false) => shared.clone().map(Some),
        (None, None, false) => {
            let hint = "add one here or to `api`, or `whole: true`";
            problems.add(node, format!("no `window` for the list {name}"), hint);
            None
        }
        (Some(own), _, true) => {
            problems.add(own, "`window` and `whole: true`", "a list is narrowed, or read whole: keep one");
            None
        }
    }
}

impl Narrowed {
    /// One of the two.
    pub(super) fn read(window: Option<&Node>, sync: Option<&Node>, problems: &mut Problems) -> Option<Self> {
        match (window, sync) {
            (Some(_), Some(sync)) => {
                problems.add(sync, "`window` and `sync`", "a list is narrowed by times or by a token: keep one");
                None
            }
            (Some(window), None) => Window::read(window, problems).map(Self::Window),
            (None, Some(sync)) => Sync::read(sync, problems).map(Self::Sync),
            (None, None) => None,
        }
    }
}

impl Sync {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let param = required_text(&mut map, "param", problems);
        let next = required_path(&mut map, "next", problems);
        let version = match map.get("version") {
            None => Some(None),
            Some(node) => path(node, problems).map(Some),
        };
        map.finish(problems);
        Some(Self { param: param?, next: next?, version: version? })
    }
}

fn template(map: &mut Map<'_>, key: &'static str, holds: &[&str], problems: &mut Problems) -> Option<String> {
    let node = map.require(key, problems)?;
    let text = node.text(problems)?;
    for part in holds {
        if !text.contains(part) {
            let hint = "a window has two ends; without one it reads too much or too little";
            problems.add(node, format!("`{key}` does not hold {part}"), hint);
        }
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_as_the_vendor_reads_it_and_read_as_it_writes_it() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (format, instant, text) in [
            (TimeFormat::Rfc3339, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            (TimeFormat::Rfc3339Ms, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
            (TimeFormat::Rfc3339Ms, "2026-01-02T03:04:05.67Z", "2026-01-02T03:04:05.670Z"),
            (TimeFormat::EpochMs, "2026-01-02T03:04:05.067Z", "1767323045067"),
            (TimeFormat::EpochS, "2026-01-02T03:04:05Z", "1767323045"),
        ] {
            assert_eq!(format.write(at(instant)), text, "{format:?}");
            assert_eq!(format.read(text), Some(at(instant)), "{format:?}");
        }
        assert_eq!(TimeFormat::EpochS.read("1767323045.5"), None);
    }
}
