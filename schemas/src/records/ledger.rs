//! The ledger's record and the shapes it is made of.

use super::wire::record;
use super::{
    ActorKind, ApplicationStatus, ChangeCause, ChangeType, Coded, Meta, OccurredAtPrecision, Provenance, RawRef,
    ReasonType, Revision, StageCategory,
};

record! {
    /// A hiring stage as seen from another record.
    StageRef {
        id: Option<String>,
        name: Option<String>,
        category: Coded<StageCategory>,
    }
}

record! {
    /// A reason as seen from another record.
    ReasonRef {
        id: Option<String>,
        name: Option<String>,
        r#type: Coded<ReasonType>,
    }
}

record! {
    /// Who or what caused a change.
    Actor {
        kind: Coded<ActorKind>,
        id: Option<String>,
        name: Option<String>,
    }
}

record! {
    /// One fact that shows a change.
    Evidence {
        provenance: Provenance,
        raw_ref: Option<RawRef>,
        seen_at: Option<i64>,
    }
}

record! {
    /// One move of an application. See `avro/StageChange.avsc` for what each field means.
    StageChange {
        meta: Meta,
        application_id: String,
        candidate_id: Option<String>,
        job_id: Option<String>,
        change_type: ChangeType,
        from_stage: Option<StageRef>,
        to_stage: Option<StageRef>,
        from_status: Coded<ApplicationStatus>,
        to_status: Coded<ApplicationStatus>,
        from_job_id: Option<String>,
        to_job_id: Option<String>,
        reasons: Vec<ReasonRef>,
        occurred_at: Option<i64>,
        occurred_at_precision: OccurredAtPrecision,
        occurred_not_before: Option<i64>,
        occurred_not_after: Option<i64>,
        time_in_previous_stage_ms: Option<i64>,
        actor: Option<Actor>,
        cause: ChangeCause,
        revision: Revision,
        sequence_no: i64,
        previous_event_id: Option<String>,
        evidence: Vec<Evidence>,
        inferred: Option<bool>,
        supersedes: Vec<String>,
    }
}
