//! Which dead letters a command is about: options in, a test of a letter out.

use clap::Args;
use hirewire_schemas::Names;
use jiff::{SignedDuration, Timestamp};

use super::letters::{Letter, State, short};

#[derive(Args)]
pub(super) struct Selection {
    /// Dead letters by their ids, as `list` shows them: normalize/3/17, route.payroll/0/5.
    ids: Vec<String>,
    /// Only with this code; several times: with any of them.
    #[arg(long)]
    code: Vec<String>,
    /// Only with this key, the id of an application, candidate, job …
    #[arg(long)]
    key: Option<String>,
    /// Only of this sink; several times: of any of them.
    #[arg(long, conflicts_with = "normalize")]
    sink: Vec<String>,
    /// Only of normalize.
    #[arg(long)]
    normalize: bool,
    /// Only of this connection (normalize's name it, a sink's do not).
    #[arg(long)]
    connection: Option<String>,
    /// Only of this tenant (normalize's name it, a sink's do not).
    #[arg(long)]
    tenant: Option<String>,
    /// Only what failed first at or after this: 2026-01-31T08:00:00Z, or so long ago: 2h, 3d.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only what failed first before this, written in the same way.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Also those that were replayed or purged before.
    #[arg(long)]
    done: bool,
}

/// A [`Selection`] for what changes something: it must choose.
#[derive(Args)]
pub(super) struct Chosen {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// All open dead letters, where nothing else chooses.
    #[arg(long)]
    all: bool,
}

impl Chosen {
    /// # Errors
    /// Nothing was chosen.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.all || self.selection.is_narrow(),
            "say which dead letters: by id, --code, --key, --sink, --normalize, --connection, --tenant, --since, --until, or --all"
        );
        Ok(())
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()).and_then(|days| days.checked_mul(24));
    let ago = days.map(|hours| format!("{hours}h")).unwrap_or_else(|| text.to_owned());
    let ago = ago
        .parse::<SignedDuration>()
        .map_err(|_| format!("\"{text}\" is no time: write 2026-01-31T08:00:00Z or 2h"))?;
    Timestamp::now().checked_sub(ago.abs()).map_err(|error| error.to_string())
}

/// A checked [`Selection`].
pub(super) struct Choice {
    selection: Selection,
}

impl Selection {
    /// # Errors
    /// An id that is none.
    pub(super) fn choice(self) -> anyhow::Result<Choice> {
        for id in &self.ids {
            let mut parts = id.rsplitn(3, '/');
            let numbers = parts.by_ref().take(2).filter(|part| part.parse::<u64>().is_ok()).count();
            let topic = parts.next().is_some_and(|topic| !topic.is_empty());
            anyhow::ensure!(
                numbers == 2 && topic,
                "\"{id}\" is no dead letter's id: write it as `hirewire dlq list` shows it"
            );
        }
        Ok(Choice { selection: self })
    }

    /// Whether anything narrows it down.
    fn is_narrow(&self) -> bool {
        !self.ids.is_empty()
            || !self.code.is_empty()
            || !self.sink.is_empty()
            || self.normalize
            || self.key.is_some()
            || self.connection.is_some()
            || self.tenant.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }

    fn everything() -> Self {
        Self {
            ids: Vec::new(),
            code: Vec::new(),
            key: None,
            sink: Vec::new(),
            normalize: false,
            connection: None,
            tenant: None,
            since: None,
            until: None,
            done: true,
        }
    }
}

impl Choice {
    /// # Errors
    /// When it is no id.
    pub(super) fn one(id: &str) -> anyhow::Result<Self> {
        Selection { ids: vec![id.to_owned()], ..Selection::everything() }.choice()
    }

    /// Whether a dead letter of it can be in the topic.
    pub(super) fn may_be_in(&self, topic: &str, names: &Names) -> bool {
        let Some(short) = short(topic, names) else { return false };
        let selection = &self.selection;
        let named = |id: &String| id.rsplitn(3, '/').nth(2) == Some(short);
        let sink = short.strip_prefix("route.");
        (selection.ids.is_empty() || selection.ids.iter().any(named))
            && (selection.sink.is_empty() || selection.sink.iter().any(|wanted| sink == Some(wanted)))
            && (!selection.normalize || sink.is_none())
    }

    /// Whether the letter is meant, whatever was done with it.
    pub(super) fn means(&self, letter: &Letter) -> bool {
        let selection = &self.selection;
        let place = format!("/{}/{}", letter.place.partition, letter.place.offset);
        let text = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        (selection.ids.is_empty() || selection.ids.iter().any(|id| id.ends_with(&place) && letter.is_named(id)))
            && (selection.code.is_empty() || selection.code.contains(&letter.code))
            && selection.key.as_ref().is_none_or(|key| letter.key.as_deref() == Some(key.as_bytes()))
            && text(&selection.connection, &letter.connection)
            && text(&selection.tenant, &letter.tenant)
            && selection.since.is_none_or(|since| letter.failed_at >= since)
            && selection.until.is_none_or(|until| letter.failed_at < until)
    }

    /// Whether the letter is meant and, unless asked for otherwise, open.
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        self.means(letter) && (self.selection.done || letter.state == State::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_so_long_ago() {
        assert_eq!(time("2026-01-31T08:00:00Z").unwrap().to_string(), "2026-01-31T08:00:00Z");
        let ago = |text: &str| (Timestamp::now().as_second() - time(text).unwrap().as_second() + 2) / 60;
        assert_eq!((ago("2h"), ago("3d"), ago("5m")), (120, 3 * 24 * 60, 5));
        for wrong in ["yesterday", "", "d", "9223372036854775807d"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn different_options_must_all_fit_and_of_one_any_may() {
        use hirewire_kafka::Inbound;
        let headers = [("dlq.reason", "EMPTY"), ("hirewire-connection", "c"), ("hirewire-tenant", "t")]
            .map(|(name, value)| (name.to_owned(), bytes::Bytes::from(value)));
        let inbound = Inbound {
            topic: "ats.dlq.normalize.v1".into(),
            partition: 0,
            offset: 5,
            timestamp_ms: 60_000,
            key: Some("k".into()),
            value: None,
            headers: headers.to_vec(),
        };
        let letter = Letter::read(&inbound, &Names::new("")).unwrap();
        let one = |text: &str| Some(text.to_owned());
        let at = |second: i64| Some(Timestamp::from_second(second).unwrap());
        let all = Selection::everything;
        for (selection, fits) in [
            (all(), true),
            (Selection { code: vec!["PANICKED".into(), "EMPTY".into()], ..all() }, true),
            (Selection { code: vec!["PANICKED".into()], ..all() }, false),
            (Selection { key: one("k"), connection: one("c"), tenant: one("t"), ..all() }, true),
            (Selection { key: one("l"), ..all() }, false),
            (Selection { connection: one("d"), ..all() }, false),
            (Selection { key: one("k"), tenant: one("u"), ..all() }, false),
            (Selection { since: at(60), until: at(61), ..all() }, true),
            (Selection { since: at(61), ..all() }, false),
            (Selection { until: at(60), ..all() }, false),
            (Selection { ids: vec!["normalize/0/5".into()], ..all() }, true),
            (Selection { ids: vec!["normalize/0/15".into()], ..all() }, false),
            (Selection { ids: vec!["normalize-restricted/0/5".into()], ..all() }, false),
        ] {
            assert_eq!(Choice { selection }.takes(&letter), fits);
        }
    }

    #[test]
    fn an_id_is_topic_partition_offset() {
        for (id, right) in [("route.pay/0/5", true), ("5", false), ("/0/5", false), ("normalize/x/5", false)] {
            assert_eq!(Choice::one(id).is_ok(), right, "{id}");
        }
        let names = Names::new("p-");
        let choice = Choice::one("route.pay/0/5").unwrap();
        assert!(choice.may_be_in("p-ats.dlq.route.pay.v1", &names));
        assert!(!choice.may_be_in("p-ats.dlq.route.payroll.v1", &names));
        assert!(!choice.may_be_in("ats.dlq.route.pay.v1", &names), "another deployment's");
    }
}
