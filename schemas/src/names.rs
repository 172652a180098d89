//! Topic and group names of one deployment: what is asked for in, full name with the deployment's prefix out.

use std::sync::Arc;

use crate::Entity;

/// Names topics and groups. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Names {
    prefix: Option<Arc<str>>,
}

impl Names {
    /// `prefix` stands in front of every topic, group and transactional id as it is; may be empty.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: (!prefix.is_empty()).then(|| prefix.into()) }
    }

    #[must_use]
    pub fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("")
    }

    /// A name as in the topic table, e.g. `ats.job.v1`, with the prefix.
    #[must_use]
    pub fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }

    #[must_use]
    pub fn entity(&self, entity: Entity) -> String {
        self.full(&format!("ats.{}.v1", entity.kebab()))
    }

    #[must_use]
    pub fn stage_change(&self) -> String {
        self.entity(Entity::StageChange)
    }

    #[must_use]
    pub fn activity(&self) -> String {
        self.entity(Entity::Activity)
    }

    #[must_use]
    pub fn issue(&self) -> String {
        self.entity(Entity::Issue)
    }

    /// The vendor's exact bytes.
    #[must_use]
    pub fn raw(&self, vendor: &str) -> String {
        self.full(&format!("ats.raw.{vendor}.v1"))
    }

    /// The same of streams that may carry equal-opportunity answers.
    #[must_use]
    pub fn raw_restricted(&self, vendor: &str) -> String {
        self.full(&format!("ats.raw-restricted.{vendor}.v1"))
    }

    #[must_use]
    pub fn normalize_dead_letter(&self) -> String {
        self.full("ats.dlq.normalize.v1")
    }

    #[must_use]
    pub fn normalize_restricted_dead_letter(&self) -> String {
        self.full("ats.dlq.normalize-restricted.v1")
    }

    #[must_use]
    pub fn route_dead_letter(&self, sink: &str) -> String {
        self.full(&format!("ats.dlq.route.{sink}.v1"))
    }

    /// `state`, `fragment`, `fetch`, `leases`, `cursor`, `write-back`, `replay`, `route`.
    #[must_use]
    pub fn internal(&self, name: &str) -> String {
        self.full(&format!("hirewire.internal.{name}.v1"))
    }

    /// A consumer group or the front of a transactional id, e.g. `normalize`, `route.payroll`.
    #[must_use]
    pub fn group(&self, service: &str) -> String {
        self.full(&format!("hirewire-{service}"))
    }

    /// The subject under which a topic's value schema is registered (TopicNameStrategy).
    #[must_use]
    pub fn value_subject(topic: &str) -> String {
        format!("{topic}-value")
    }
}
