//! The part of an application that code looks at. Read only: the record is written from mapped slices.

use serde::Deserialize;

use super::{ApplicationStatus, Coded, Meta, ReasonRef, StageRef};

/// A view: fields of `avro/Application.avsc` by name, in any order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Application {
    pub meta: Meta,
    pub candidate_id: Option<String>,
    pub job_id: Option<String>,
    pub status: Coded<ApplicationStatus>,
    pub stage: Option<StageRef>,
    pub entered_stage_at: Option<i64>,
    pub applied_at: Option<i64>,
    pub hired_at: Option<i64>,
    pub rejected_at: Option<i64>,
    pub withdrawn_at: Option<i64>,
    pub reject_reasons: Vec<ReasonRef>,
}
