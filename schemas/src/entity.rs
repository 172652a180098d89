//! What has a canonical topic of its own, `ats.<entity>.v1`.

use std::fmt;

use crate::{RecordSchema, schema};

/// An entity of the model, the ledger's change, or an issue. Displays as in the topic name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    Job,
    Opening,
    JobPosting,
    Department,
    Office,
    User,
    Stage,
    Source,
    Reason,
    Label,
    Candidate,
    Application,
    Interview,
    Scorecard,
    Rejection,
    Offer,
    Attachment,
    Activity,
    Eeoc,
    AssessmentOrder,
    AssessmentResult,
    BackgroundCheck,
    SignatureEnvelope,
    StageChange,
    Issue,
}

impl Entity {
    pub const ALL: [Self; 25] = [
        Self::Job,
        Self::Opening,
        Self::JobPosting,
        Self::Department,
        Self::Office,
        Self::User,
        Self::Stage,
        Self::Source,
        Self::Reason,
        Self::Label,
        Self::Candidate,
        Self::Application,
        Self::Interview,
        Self::Scorecard,
        Self::Rejection,
        Self::Offer,
        Self::Attachment,
        Self::Activity,
        Self::Eeoc,
        Self::AssessmentOrder,
        Self::AssessmentResult,
        Self::BackgroundCheck,
        Self::SignatureEnvelope,
        Self::StageChange,
        Self::Issue,
    ];

    /// Name of its record, e.g. `JobPosting`.
    #[must_use]
    pub fn record(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Opening => "Opening",
            Self::JobPosting => "JobPosting",
            Self::Department => "Department",
            Self::Office => "Office",
            Self::User => "User",
            Self::Stage => "Stage",
            Self::Source => "Source",
            Self::Reason => "Reason",
            Self::Label => "Label",
            Self::Candidate => "Candidate",
            Self::Application => "Application",
            Self::Interview => "Interview",
            Self::Scorecard => "Scorecard",
            Self::Rejection => "Rejection",
            Self::Offer => "Offer",
            Self::Attachment => "Attachment",
            Self::Activity => "Activity",
            Self::Eeoc => "Eeoc",
            Self::AssessmentOrder => "AssessmentOrder",
            Self::AssessmentResult => "AssessmentResult",
            Self::BackgroundCheck => "BackgroundCheck",
            Self::SignatureEnvelope => "SignatureEnvelope",
            Self::StageChange => "StageChange",
            Self::Issue => "Issue",
        }
    }

    /// As in the topic name: the record's name in kebab-case, e.g. `job-posting`.
    #[must_use]
    pub fn kebab(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Opening => "opening",
            Self::JobPosting => "job-posting",
            Self::Department => "department",
            Self::Office => "office",
            Self::User => "user",
            Self::Stage => "stage",
            Self::Source => "source",
            Self::Reason => "reason",
            Self::Label => "label",
            Self::Candidate => "candidate",
            Self::Application => "application",
            Self::Interview => "interview",
            Self::Scorecard => "scorecard",
            Self::Rejection => "rejection",
            Self::Offer => "offer",
            Self::Attachment => "attachment",
            Self::Activity => "activity",
            Self::Eeoc => "eeoc",
            Self::AssessmentOrder => "assessment-order",
            Self::AssessmentResult => "assessment-result",
            Self::BackgroundCheck => "background-check",
            Self::SignatureEnvelope => "signature-envelope",
            Self::StageChange => "stage-change",
            Self::Issue => "issue",
        }
    }

    #[must_use]
    pub fn from_record(record: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.record() == record)
    }

    #[must_use]
    pub fn from_kebab(kebab: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.kebab() == kebab)
    }

    #[must_use]
    pub fn schema(self) -> &'static RecordSchema {
        match schema(self.record()) {
            Some(schema) => schema,
            // Loading refuses a set of schemas without it.
            None => panic!("no schema {}", self.record()),
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kebab())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_name_is_the_record_name_in_kebab_case() {
        for entity in Entity::ALL {
            let mut kebab = String::new();
            for char in entity.record().chars() {
                if char.is_uppercase() && !kebab.is_empty() {
                    kebab.push('-');
                }
                kebab.extend(char.to_lowercase());
            }
            assert_eq!(entity.kebab(), kebab);
            assert_eq!(Entity::from_record(entity.record()), Some(entity));
            assert_eq!(Entity::from_kebab(entity.kebab()), Some(entity));
            assert_eq!(entity.schema().name, entity.record());
        }
    }
}
