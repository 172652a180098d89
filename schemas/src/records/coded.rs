//! Enums of the model, and the record that keeps a coded value's origin.

use serde::{Deserialize, Serialize};

use super::{Get, Put};

/// An enum whose variants stand in the order of the schema's symbols.
macro_rules! symbols {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $symbol:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            #[default]
            #[serde(rename = "UNKNOWN")]
            Unknown,
            #[serde(rename = "UNMAPPED")]
            Unmapped,
            $(#[serde(rename = $symbol)] $variant,)*
        }

        impl $name {
            /// In the schema's order.
            pub const ALL: &'static [Self] = &[Self::Unknown, Self::Unmapped, $(Self::$variant,)*];

            /// As in the schema.
            #[must_use]
            pub fn symbol(self) -> &'static str {
                match self {
                    Self::Unknown => "UNKNOWN",
                    Self::Unmapped => "UNMAPPED",
                    $(Self::$variant => $symbol,)*
                }
            }

            #[must_use]
            pub fn from_symbol(symbol: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.symbol() == symbol)
            }
        }

        impl Put for $name {
            fn put(&self, out: &mut Vec<u8>) {
                (*self as i64).put(out);
            }
        }

        impl Get for $name {
            fn get(from: &mut &[u8]) -> Option<Self> {
                Self::ALL.get(usize::try_from(i64::get(from)?).ok()?).copied()
            }
        }
    };
}

symbols! {
    /// What a record says of its entity.
    Operation { Upsert = "UPSERT", Delete = "DELETE", Erase = "ERASE", }
}

symbols! {
    /// How a fact reached us.
    Provenance {
        Webhook = "WEBHOOK",
        Poll = "POLL",
        Backfill = "BACKFILL",
        HistoryEndpoint = "HISTORY_ENDPOINT",
        Diff = "DIFF",
        WriteBack = "WRITE_BACK",
        Manual = "MANUAL",
    }
}

symbols! {
    /// What kind of move of an application a change is.
    ChangeType {
        Created = "CREATED",
        Stage = "STAGE",
        Status = "STATUS",
        Rejection = "REJECTION",
        Unrejection = "UNREJECTION",
        Hire = "HIRE",
        Unhire = "UNHIRE",
        Withdrawal = "WITHDRAWAL",
        JobTransfer = "JOB_TRANSFER",
        Reopen = "REOPEN",
        Deleted = "DELETED",
    }
}

symbols! {
    /// What `occurred_at` is worth.
    OccurredAtPrecision { Exact = "EXACT", Bounded = "BOUNDED", Observed = "OBSERVED", }
}

symbols! {
    /// Why an application moved.
    ChangeCause {
        UserAction = "USER_ACTION",
        BulkAction = "BULK_ACTION",
        Automation = "AUTOMATION",
        Import = "IMPORT",
        JobClose = "JOB_CLOSE",
        Merge = "MERGE",
        WriteBack = "WRITE_BACK",
    }
}

symbols! {
    /// LIVE moved the present state when it was written; CORRECTION tells of the past.
    Revision { Live = "LIVE", Correction = "CORRECTION", }
}

symbols! {
    /// What a hiring stage is for.
    StageCategory {
        Lead = "LEAD",
        Sourced = "SOURCED",
        Applied = "APPLIED",
        Shortlist = "SHORTLIST",
        Review = "REVIEW",
        Screen = "SCREEN",
        Assessment = "ASSESSMENT",
        Interview = "INTERVIEW",
        ReferenceCheck = "REFERENCE_CHECK",
        BackgroundCheck = "BACKGROUND_CHECK",
        Offer = "OFFER",
        OfferAccepted = "OFFER_ACCEPTED",
        Onboarding = "ONBOARDING",
        Hired = "HIRED",
        Rejected = "REJECTED",
        Withdrawn = "WITHDRAWN",
        Archived = "ARCHIVED",
    }
}

symbols! {
    /// Where an application stands as a whole.
    ApplicationStatus {
        Active = "ACTIVE",
        Hired = "HIRED",
        Rejected = "REJECTED",
        Withdrawn = "WITHDRAWN",
        Converted = "CONVERTED",
        Archived = "ARCHIVED",
        OnHold = "ON_HOLD",
    }
}

symbols! {
    /// Who or what acted.
    ActorKind {
        User = "USER",
        Candidate = "CANDIDATE",
        System = "SYSTEM",
        Api = "API",
        Integration = "INTEGRATION",
    }
}

symbols! {
    /// Whose decision a reason stands for.
    ReasonType { ByOrganization = "BY_ORGANIZATION", ByCandidate = "BY_CANDIDATE", Other = "OTHER", }
}

/// A coded value with its origin: the symbol, the source's own text, and the rule that chose the symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Coded<E> {
    pub value: E,
    pub raw: Option<String>,
    pub rule: Option<String>,
}

impl<E> Coded<E> {
    /// A value that no source text stands behind.
    pub fn of(value: E) -> Self {
        Self { value, raw: None, rule: None }
    }
}

impl<E: Put> Put for Coded<E> {
    fn put(&self, out: &mut Vec<u8>) {
        self.value.put(out);
        self.raw.put(out);
        self.rule.put(out);
    }
}

impl<E: Get> Get for Coded<E> {
    fn get(from: &mut &[u8]) -> Option<Self> {
        Some(Self { value: E::get(from)?, raw: Get::get(from)?, rule: Get::get(from)? })
    }
}
