//! What is joined to a change before a request is made of it.
//!
//! The compacted topics are followed into one store on disk per process ([`store`], [`follow`]); a delivery asks for
//! the [`Part`]s that its request names, and waits for those it requires.

pub(crate) mod follow;
pub(crate) mod parts;
pub(crate) mod store;

use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::created::{CreatedKey, Known};
use crate::event::Event;

/// One named part of a request's data: the first word of its paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// The record that the route saw.
    Change,
    /// Key, route and trace of the delivery itself.
    Delivery,
    Application,
    Candidate,
    Job,
    Opening,
    /// `offer.accepted`: the accepted offer of the application.
    Offer,
    /// The job's hiring manager.
    Manager,
    /// The files of the application, without their bytes.
    Documents,
    Departments,
    Offices,
    /// What an earlier request sent, for the request that takes it back.
    Cancelled,
    /// The id that the sink gave to what an earlier request created.
    Created,
    /// The id that another sink gave to what it created of the same record.
    After,
    /// What the sink was told in the configuration.
    Settings,
    /// The ids that the steps before have told.
    Steps,
}

impl Part {
    pub(crate) const ALL: [Self; 16] = [
        Self::Change,
        Self::Delivery,
        Self::Application,
        Self::Candidate,
        Self::Job,
        Self::Opening,
        Self::Offer,
        Self::Manager,
        Self::Documents,
        Self::Departments,
        Self::Offices,
        Self::Cancelled,
        Self::Created,
        Self::After,
        Self::Settings,
        Self::Steps,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Delivery => "delivery",
            Self::Application => "application",
            Self::Candidate => "candidate",
            Self::Job => "job",
            Self::Opening => "opening",
            Self::Offer => "offer",
            Self::Manager => "manager",
            Self::Documents => "documents",
            Self::Departments => "departments",
            Self::Offices => "offices",
            Self::Cancelled => "cancelled",
            Self::Created => "created",
            Self::After => "after",
            Self::Settings => "settings",
            Self::Steps => "steps",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// Earlier changes of the same application that requests make, or take back, something of.
#[derive(Debug, Clone)]
pub(crate) enum Earlier {
    /// The ledger was not read that far yet.
    Unknown,
    /// All of them, the newest first.
    Known(Vec<Event>),
}

/// Why nothing can be joined now; the delivery waits.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the context store cannot be read: {0}")]
pub(crate) struct JoinError(pub(crate) String);

/// The join, as deliveries ask for it.
pub(crate) trait Join: Send + Sync + 'static {
    /// The parts of `wanted` that are known, by name. `change`, `delivery`, `cancelled`, `created`, `after` and `settings`
    /// are the caller's.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn join(&self, event: &Event, wanted: &[Part]) -> Result<Map<String, Value>, JoinError>;

    /// Whether the source has deleted whom the change is about: what is missing then will never come.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn is_gone(&self, event: &Event) -> Result<bool, JoinError>;

    /// Whether the store has read on to this change, and so to everything that was published with it.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn reached(&self, event: &Event) -> Result<bool, JoinError>;

    /// What a sink has told of what it created.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn created(&self, key: &CreatedKey<'_>) -> Result<Option<Known>, JoinError>;

    /// Changes whenever the store has taken something in.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The changes of the same application before `event` that were kept for requests that take something back.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn earlier(&self, event: &Event) -> Result<Earlier, JoinError>;
}
