//! The small values of the ledger: enums whose numbers are the symbols' positions in the Avro schemas, and the state of an application.
//!
//! Stages, jobs and topics are positions in the tables of one application's ledger ([`super::Ledger`]).

/// Microseconds since 1970, UTC.
pub type Micros = i64;

/// One second; the coarsest clock a source uses.
pub const SECOND: Micros = 1_000_000;

macro_rules! symbols {
    ($(#[$doc:meta])* $name:ident { $($symbol:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($symbol = $number),+ }

        impl $name {
            /// The symbol at this position of the Avro enum, if this version knows it.
            #[must_use]
            pub fn from_index(index: i64) -> Option<Self> {
                match index { $($number => Some(Self::$symbol),)+ _ => None }
            }

            /// Position in the Avro enum.
            #[must_use]
            pub fn index(self) -> i64 {
                i64::from(self as u8)
            }
        }
    };
}

symbols!(
    /// `ats.ApplicationStatus`.
    Status { Unknown = 0, Unmapped = 1, Active = 2, Hired = 3, Rejected = 4, Withdrawn = 5, Converted = 6, Archived = 7, OnHold = 8 }
);
symbols!(
    /// `ats.ChangeType`.
    ChangeType {
        Created = 2, Stage = 3, Status = 4, Rejection = 5, Unrejection = 6, Hire = 7, Unhire = 8, Withdrawal = 9,
        JobTransfer = 10, Reopen = 11, Deleted = 12,
    }
);
symbols!(
    /// `ats.Provenance`.
    Provenance { Unknown = 0, Unmapped = 1, Webhook = 2, Poll = 3, Backfill = 4, HistoryEndpoint = 5, Diff = 6, WriteBack = 7, Manual = 8 }
);
symbols!(
    /// `ats.OccurredAtPrecision`.
    Precision { Exact = 2, Bounded = 3, Observed = 4 }
);
symbols!(
    /// `ats.Revision`.
    Revision { Live = 2, Correction = 3 }
);
symbols!(
    /// `ats.ChangeCause`.
    Cause { Unknown = 0, UserAction = 2, BulkAction = 3, Automation = 4, Import = 5, JobClose = 6, Merge = 7, WriteBack = 8 }
);

impl Status {
    /// By the symbol's name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "ACTIVE" => Some(Self::Active),
            "HIRED" => Some(Self::Hired),
            "REJECTED" => Some(Self::Rejected),
            "WITHDRAWN" => Some(Self::Withdrawn),
            "CONVERTED" => Some(Self::Converted),
            "ARCHIVED" => Some(Self::Archived),
            "ON_HOLD" => Some(Self::OnHold),
            _ => None,
        }
    }

    /// Rejected and withdrawn are one thing seen with more or less knowledge.
    #[must_use]
    pub fn class(self) -> Self {
        if self == Self::Withdrawn { Self::Rejected } else { self }
    }

    /// Whether the application takes part in no further step by itself. Sources leave the stage out of such records.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Hired | Self::Rejected | Self::Withdrawn | Self::Converted | Self::Archived)
    }
}

impl ChangeType {
    /// The word that a mapping's hint `change` uses.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "CREATED" => Self::Created,
            "STAGE" => Self::Stage,
            "STATUS" => Self::Status,
            "REJECTION" => Self::Rejection,
            "UNREJECTION" => Self::Unrejection,
            "HIRE" => Self::Hire,
            "UNHIRE" => Self::Unhire,
            "WITHDRAWAL" => Self::Withdrawal,
            "JOB_TRANSFER" => Self::JobTransfer,
            "REOPEN" => Self::Reopen,
            "DELETED" => Self::Deleted,
            _ => return None,
        })
    }

    /// The kind of move between two different statuses.
    #[must_use]
    pub fn of_statuses(from: Status, to: Status) -> Self {
        match (from, to) {
            (_, Status::Hired) => Self::Hire,
            (_, Status::Rejected) => Self::Rejection,
            (_, Status::Withdrawn) => Self::Withdrawal,
            (Status::Hired, Status::Active) => Self::Unhire,
            (Status::Rejected | Status::Withdrawn, Status::Active) => Self::Unrejection,
            (Status::Archived | Status::Converted, Status::Active) => Self::Reopen,
            _ => Self::Status,
        }
    }
}

impl Cause {
    /// The word that a mapping's hint `cause` uses.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "USER_ACTION" => Self::UserAction,
            "BULK_ACTION" => Self::BulkAction,
            "AUTOMATION" => Self::Automation,
            "IMPORT" => Self::Import,
            "JOB_CLOSE" => Self::JobClose,
            "MERGE" => Self::Merge,
            "WRITE_BACK" => Self::WriteBack,
            _ => return None,
        })
    }
}

/// Position of a stage in the ledger's table.
pub type StageIx = u16;
/// Position of a job in the ledger's table.
pub type JobIx = u16;

/// What an application is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub stage: Option<StageIx>,
    pub status: Status,
    pub job: Option<JobIx>,
}

impl State {
    /// Before creation and after deletion.
    pub const NONE: Self = Self { stage: None, status: Status::Unknown, job: None };
}

/// Where a fact was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub provenance: Provenance,
    /// Position in the ledger's table of topics.
    pub topic: u16,
    pub partition: i32,
    pub offset: i64,
    pub seen_at: Micros,
}
