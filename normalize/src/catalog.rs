//! The records that normalize knows, resolved once at start: schema, topic, registry id, defaults, fields that code reads.
//!
//! In: the schemas and topic table. Out: [`Catalog`], indexed by [`Kind`]. Immutable.

use std::collections::HashMap;
use std::sync::Arc;

use hirewire_schemas::topics::{self, Cleanup, Personal};
use hirewire_schemas::{Entity, Names, RecordSchema};

/// Position of a record in the catalog.
pub type Kind = usize;

/// One kind of record.
pub struct KindInfo {
    pub entity: Entity,
    pub record: &'static str,
    pub schema: &'static RecordSchema,
    pub topic: Arc<str>,
    /// Magic byte and schema id.
    pub frame: [u8; 5],
    /// The record's key is its application's id, not its own.
    pub keyed_by_application: bool,
    pub restricted: bool,
    pub lookup: bool,
    /// Published once for each fact, never compacted.
    pub append_only: bool,
    /// Per field: kept when the record is deleted (ids of it and of others).
    pub kept_on_delete: Vec<bool>,
}

/// Positions of the fields of Application that the ledger reads or decides.
#[derive(Clone, Copy)]
pub struct ApplicationFields {
    pub candidate_id: usize,
    pub job_id: usize,
    pub kind: usize,
    pub status: usize,
    pub stage: usize,
    pub entered_stage_at: usize,
    pub applied_at: usize,
    pub hired_at: usize,
    pub rejected_at: usize,
    pub withdrawn_at: usize,
    pub reject_reasons: usize,
}

/// Positions of the fields of a history row.
#[derive(Clone, Copy)]
pub struct VisitFields {
    pub stage: usize,
    pub status: usize,
    pub job_id: usize,
    pub entered_at: usize,
    pub exited_at: usize,
    pub actor: usize,
}

/// Positions of the fields of Rejection that the ledger reads.
#[derive(Clone, Copy)]
pub struct RejectionFields {
    pub rejected_at: usize,
    pub kind: usize,
}

/// Positions of the fields of Stage that the ledger reads.
#[derive(Clone, Copy)]
pub struct StageFields {
    pub name: usize,
    pub category: usize,
    pub job_id: usize,
}

pub struct Catalog {
    kinds: Vec<KindInfo>,
    by_record: HashMap<&'static str, Kind>,
    pub application: Kind,
    pub rejection: Kind,
    pub application_fields: ApplicationFields,
    pub rejection_fields: RejectionFields,
    pub stage_fields: StageFields,
    pub visit_fields: VisitFields,
    pub stage_change: Published,
    pub issue: Published,
    pub state: Published,
    pub fragment: Published,
    /// Read only.
    pub write_back: Arc<str>,
    pub dead_letter: Arc<str>,
    pub restricted_dead_letter: Arc<str>,
}

/// A topic that normalize writes beside the entities.
pub struct Published {
    pub topic: Arc<str>,
    pub frame: [u8; 5],
}

/// A record of the contract lacks a field that code reads: schemas of another release.
#[derive(Debug, thiserror::Error)]
#[error("the schemas have no {0}: use the schemas that belong to this release")]
pub struct MissingSchema(String);

/// Name of the pseudo-record that history rows are mapped to.
pub const VISIT: &str = "StageVisit";

/// What has to be registered before the catalog is made: topic and schema.
#[must_use]
pub fn subjects(names: &Names) -> Vec<(String, &'static RecordSchema, Option<String>)> {
    let mut all: Vec<(String, &'static RecordSchema, Option<String>)> = Entity::ALL
        .into_iter()
        .map(|entity| {
            (names.entity(entity), entity.schema(), topics::table().of(entity).and_then(|t| t.compatibility.clone()))
        })
        .collect();
    for (topic, record) in [("state", "State"), ("fragment", "Fragment")] {
        if let Some(schema) = hirewire_schemas::schema(record) {
            let rows = &topics::table().topics;
            let level = rows.iter().find(|t| t.record.as_deref() == Some(record)).and_then(|t| t.compatibility.clone());
            all.push((names.internal(topic), schema, level));
        }
    }
    all
}

impl Catalog {
    /// `id_of` gives the registered id of a topic's value schema.
    ///
    /// # Errors
    /// [`MissingSchema`].
    pub fn new(names: &Names, id_of: &dyn Fn(&str) -> Option<u32>) -> Result<Self, MissingSchema> {
        let frame = |topic: &str| {
            let mut framed = [0; 5];
            let id = id_of(topic).ok_or_else(|| MissingSchema(format!("registered id for {topic}")))?;
            framed[1..].copy_from_slice(&id.to_be_bytes());
            Ok(framed)
        };
        let published = |topic: String| Ok(Published { frame: frame(&topic)?, topic: topic.into() });
        let mut kinds = Vec::new();
        for entity in Entity::ALL.into_iter().filter(|e| !matches!(e, Entity::StageChange | Entity::Issue)) {
            let topic = names.entity(entity);
            let row = topics::table().of(entity).ok_or_else(|| MissingSchema(format!("topic of {entity}")))?;
            let schema = entity.schema();
            kinds.push(KindInfo {
                entity,
                record: entity.record(),
                schema,
                frame: frame(&topic)?,
                topic: topic.into(),
                keyed_by_application: row.is_keyed_by_application(),
                restricted: row.personal == Personal::Eeo,
                lookup: row.lookup,
                append_only: row.cleanup == Cleanup::Delete,
                kept_on_delete: schema
                    .fields
                    .iter()
                    .map(|f| f.name.ends_with("_id") || f.name.ends_with("_ids"))
                    .collect(),
            });
        }
        let by_record: HashMap<&'static str, Kind> =
            kinds.iter().enumerate().map(|(kind, info)| (info.record, kind)).collect();
        let kind = |record: &str| by_record.get(record).copied().ok_or_else(|| MissingSchema(record.to_owned()));
        let (application, rejection) = (kind("Application")?, kind("Rejection")?);
        let application_fields = application_fields(kinds[application].schema)?;
        let reject = |name: &str| field(kinds[rejection].schema, name);
        let rejection_fields = RejectionFields { rejected_at: reject("rejected_at")?, kind: reject("kind")? };
        let stage = |name: &str| field(kinds[kind("Stage")?].schema, name);
        let stage_fields = StageFields { name: stage("name")?, category: stage("category")?, job_id: stage("job_id")? };
        let visit = hirewire_schemas::schema(VISIT).ok_or_else(|| MissingSchema(VISIT.to_owned()))?;
        let visit_fields = VisitFields {
            stage: field(visit, "stage")?,
            status: field(visit, "status")?,
            job_id: field(visit, "job_id")?,
            entered_at: field(visit, "entered_at")?,
            exited_at: field(visit, "exited_at")?,
            actor: field(visit, "actor")?,
        };
        Ok(Self {
            kinds,
            by_record,
            application,
            rejection,
            application_fields,
            rejection_fields,
            stage_fields,
            visit_fields,
            stage_change: published(names.stage_change())?,
            issue: published(names.issue())?,
            state: published(names.internal("state"))?,
            fragment: published(names.internal("fragment"))?,
            write_back: names.internal("write-back").into(),
            dead_letter: names.normalize_dead_letter().into(),
            restricted_dead_letter: names.normalize_restricted_dead_letter().into(),
        })
    }

    #[must_use]
    pub fn kind(&self, record: &str) -> Option<Kind> {
        self.by_record.get(record).copied()
    }

    #[must_use]
    pub fn info(&self, kind: Kind) -> &KindInfo {
        &self.kinds[kind]
    }

    /// All of them, by [`Kind`].
    #[must_use]
    pub fn kinds(&self) -> &[KindInfo] {
        &self.kinds
    }

    /// To be changed before work begins, or never.
    pub fn info_mut(&mut self, kind: Kind) -> &mut KindInfo {
        &mut self.kinds[kind]
    }

    /// Topics of the look-ups.
    #[must_use]
    pub fn lookups(&self) -> Vec<&KindInfo> {
        self.kinds.iter().filter(|info| info.lookup).collect()
    }
}

fn field(schema: &RecordSchema, name: &str) -> Result<usize, MissingSchema> {
    schema.field_index(name).ok_or_else(|| MissingSchema(format!("{}.{name}", schema.name)))
}

fn application_fields(schema: &RecordSchema) -> Result<ApplicationFields, MissingSchema> {
    let at = |name: &str| field(schema, name);
    Ok(ApplicationFields {
        candidate_id: at("candidate_id")?,
        job_id: at("job_id")?,
        kind: at("kind")?,
        status: at("status")?,
        stage: at("stage")?,
        entered_stage_at: at("entered_stage_at")?,
        applied_at: at("applied_at")?,
        hired_at: at("hired_at")?,
        rejected_at: at("rejected_at")?,
        withdrawn_at: at("withdrawn_at")?,
        reject_reasons: at("reject_reasons")?,
    })
}
