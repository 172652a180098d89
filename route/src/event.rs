//! A canonical record as route sees it: a tree, with the few values that decisions are made by.
//!
//! Trees are JSON as `hirewire map` prints it: instants as RFC 3339 UTC text, dates as YYYY-MM-DD, decimals as text,
//! unions unwrapped. Dotted paths of conditions and templates lead into it.

use hirewire_schemas::Entity;
use jiff::Timestamp;
use serde_json::Value;

/// The entities whose records have the key of their application, and so one order with each other.
pub(crate) const IN_LANE: [Entity; 2] = [Entity::StageChange, Entity::Application];

/// A decoded canonical record.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) entity: Entity,
    pub(crate) tree: Value,
}

/// What is still asked of an event when its tree is no more: what waits for its sink holds none.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) event_id: String,
    pub(crate) observed_at: Option<Timestamp>,
    /// [`Event::changed_at`].
    pub(crate) changed_at: Option<Timestamp>,
    /// [`Event::kept_by`].
    pub(crate) kept_by: Option<String>,
}

/// A value that every canonical record has is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record has no `{0}`")]
pub(crate) struct Malformed(&'static str);

impl Event {
    /// # Errors
    /// When the record lacks what every canonical record has.
    pub(crate) fn new(entity: Entity, tree: Value) -> Result<Self, Malformed> {
        let event = Self { entity, tree };
        if event.text("/meta/event_id").is_none() {
            return Err(Malformed("meta.event_id"));
        }
        if event.instant("/meta/observed_at").is_none() {
            return Err(Malformed("meta.observed_at"));
        }
        Ok(event)
    }

    pub(crate) fn about(&self) -> About {
        About {
            event_id: self.event_id().to_owned(),
            observed_at: self.observed_at(),
            changed_at: self.changed_at(),
            kept_by: self.kept_by().map(str::to_owned),
        }
    }

    pub(crate) fn event_id(&self) -> &str {
        self.text("/meta/event_id").unwrap_or_default()
    }

    pub(crate) fn application_id(&self) -> Option<&str> {
        self.text("/application_id")
    }

    /// The application that it is about; of an application itself its own id.
    pub(crate) fn subject(&self) -> Option<&str> {
        if self.entity == Entity::Application { self.text("/meta/id") } else { self.application_id() }
    }

    /// By whom it is kept what was created of it: by the application where its records come in one order with each other,
    /// else by the record itself.
    pub(crate) fn kept_by(&self) -> Option<&str> {
        if IN_LANE.contains(&self.entity) { self.subject() } else { self.text("/meta/id") }
    }

    /// Whether the source tells of what we did there ourselves.
    pub(crate) fn is_own_change(&self) -> bool {
        self.entity == Entity::StageChange && self.text("/cause") == Some("WRITE_BACK")
    }

    pub(crate) fn sequence_no(&self) -> Option<i64> {
        self.at("/sequence_no").and_then(Value::as_i64)
    }

    /// Whether the record corrects the past. Only stage changes have corrections.
    pub(crate) fn is_correction(&self) -> bool {
        self.entity == Entity::StageChange && self.text("/revision") != Some("LIVE")
    }

    /// Whether it is known from a first load alone, or is a correction known from history alone. A LIVE change that a
    /// history row was the first to tell moved the present: it is news.
    pub(crate) fn is_historic(&self) -> bool {
        let correction = self.is_correction();
        let historic = |provenance: Option<&str>| match provenance {
            Some("BACKFILL") => true,
            Some("HISTORY_ENDPOINT") => correction,
            _ => false,
        };
        let evidence = self.at("/evidence").and_then(Value::as_array).filter(|evidence| !evidence.is_empty());
        match evidence {
            Some(evidence) => evidence.iter().all(|fact| historic(fact.get("provenance").and_then(Value::as_str))),
            None => historic(self.text("/meta/provenance")),
        }
    }

    /// The instant from which on it may have happened for all we know: what is only bounded counts as late as it can
    /// be, so that a change between two polls is not taken for older than it was.
    pub(crate) fn happened_at(&self) -> Option<Timestamp> {
        let candidates: &[&str] = match self.text("/occurred_at_precision") {
            Some("EXACT") => &["/occurred_at", "/occurred_not_after", "/meta/observed_at"],
            _ => &["/occurred_not_after", "/occurred_at", "/meta/observed_at"],
        };
        let state: &[&str] = &["/meta/remote_updated_at", "/meta/observed_at"];
        let paths = if self.entity == Entity::StageChange { candidates } else { state };
        paths.iter().find_map(|path| self.instant(path))
    }

    /// When the fact was read from the source, for the age of a delivery.
    pub(crate) fn observed_at(&self) -> Option<Timestamp> {
        self.instant("/meta/observed_at")
    }

    /// The moment of a LIVE change by the source's own clock, if it is exact.
    pub(crate) fn changed_at(&self) -> Option<Timestamp> {
        let exact = self.text("/occurred_at_precision") == Some("EXACT");
        let live = self.entity == Entity::StageChange && !self.is_correction();
        if exact && live { self.instant("/occurred_at") } else { None }
    }

    /// The text behind these names, each with a `/` before it.
    pub(crate) fn text(&self, names: &str) -> Option<&str> {
        self.at(names).and_then(Value::as_str)
    }

    /// As `Value::pointer`, which makes texts of each name, for names that need no unescaping: it is asked many times for each
    /// delivery.
    fn at(&self, names: &str) -> Option<&Value> {
        names.split('/').skip(1).try_fold(&self.tree, |value, name| value.get(name))
    }

    fn instant(&self, names: &str) -> Option<Timestamp> {
        self.text(names)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(mut extra: Value) -> Event {
        let mut tree = json!({"meta": {"event_id": "e", "observed_at": "2026-01-01T00:00:10Z", "provenance": "POLL"},
            "revision": "LIVE"});
        tree.as_object_mut().unwrap().append(extra.as_object_mut().unwrap());
        Event::new(Entity::StageChange, tree).unwrap()
    }

    #[test]
    fn only_evidence_from_the_past_alone_is_historic() {
        let seen = |revision: &str, all: &[&str]| {
            let evidence: Vec<Value> = all.iter().map(|p| json!({"provenance": p})).collect();
            let mut event = change(json!({ "evidence": evidence }));
            event.tree["revision"] = json!(revision);
            event.is_historic()
        };
        assert!(seen("LIVE", &["BACKFILL", "BACKFILL"]));
        assert!(!seen("LIVE", &["BACKFILL", "WEBHOOK"]));
        assert!(!seen("LIVE", &["HISTORY_ENDPOINT"]), "it moved the present");
        assert!(seen("CORRECTION", &["HISTORY_ENDPOINT", "BACKFILL"]));
        assert!(!seen("CORRECTION", &["HISTORY_ENDPOINT", "WEBHOOK"]));
        assert!(!seen("LIVE", &[]));
    }

    #[test]
    fn a_bounded_change_counts_as_late_as_it_can_be() {
        let at = |extra: Value| change(extra).happened_at().unwrap().to_string();
        let (early, late) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:05Z");
        let bounds = |precision: &str| json!({"occurred_at": early, "occurred_not_after": late, "occurred_at_precision": precision});
        assert_eq!(at(bounds("EXACT")), early);
        assert_eq!(at(bounds("BOUNDED")), late);
        assert_eq!(at(json!({})), "2026-01-01T00:00:10Z");
    }

    #[test]
    fn only_a_live_change_whose_moment_is_exact_tells_how_long_it_took() {
        let at = |precision: &str, revision: &str| {
            let mut event = change(json!({"occurred_at": "2026-01-01T00:00:01Z", "occurred_at_precision": precision}));
            event.tree["revision"] = json!(revision);
            event.about().changed_at.map(|at| at.to_string())
        };
        assert_eq!(at("EXACT", "LIVE").as_deref(), Some("2026-01-01T00:00:01Z"));
        assert_eq!(at("BOUNDED", "LIVE"), None);
        assert_eq!(at("OBSERVED", "LIVE"), None);
        assert_eq!(at("EXACT", "CORRECTION"), None, "it was learnt late, and not delivered late");
    }

    #[test]
    fn a_record_without_identity_is_malformed() {
        assert!(Event::new(Entity::StageChange, json!({"meta": {}})).is_err());
    }
}
