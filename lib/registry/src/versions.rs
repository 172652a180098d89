//! The versions of a subject: which of them a reader sees, which one is meant, which one is a schema that was sent.
//!
//! In: the store, inside the caller's transaction, and a [`Submitted`] schema. Out: a [`Version`], or the schema with all
//! that it refers to, parsed. Nothing here writes.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::error::ApiError;
use crate::parse::{Parsed, normal_form, parse};
use crate::registry::{Reference, Registered, Submitted, Which};
use crate::store::{self, Stored, Version};

pub(crate) fn refs_text(references: &[Reference]) -> String {
    serde_json::to_string(references).unwrap_or_default()
}

pub(crate) fn references(stored: &Stored) -> Vec<Reference> {
    serde_json::from_str(&stored.refs).unwrap_or_default()
}

pub(crate) fn registered(db: &Connection, subject: &str, version: &Version) -> Result<Registered, ApiError> {
    let stored = store::schema(db, version.id)?.ok_or(ApiError::IdNotFound(version.id))?;
    let references = references(&stored);
    Ok(Registered {
        subject: subject.to_owned(),
        version: version.version,
        id: stored.id,
        schema: stored.text,
        references,
    })
}

/// Versions that a reader may see; a subject without any is not found.
pub(crate) fn visible(db: &Connection, subject: &str, deleted: bool) -> Result<Vec<Version>, ApiError> {
    let mut versions = store::versions(db, subject)?;
    versions.retain(|version| deleted || !version.deleted);
    if versions.is_empty() { Err(ApiError::SubjectNotFound(subject.to_owned())) } else { Ok(versions) }
}

pub(crate) fn pick(versions: &[Version], which: Which) -> Result<Version, ApiError> {
    match which {
        Which::Latest => versions.last().cloned().ok_or_else(|| ApiError::VersionNotFound("latest".to_owned())),
        Which::Number(number) => {
            let found = versions.iter().find(|version| version.version == number);
            found.cloned().ok_or_else(|| ApiError::VersionNotFound(number.to_string()))
        }
    }
}

/// The newest of these versions that is this schema; with `normalize`, one that writes its names differently too.
pub(crate) fn find(
    db: &Connection,
    versions: &[Version],
    identity: &str,
    submitted: &Submitted,
) -> Result<Option<Version>, ApiError> {
    let refs = refs_text(&submitted.references);
    if let Some(id) = store::find_id(db, identity, &refs)?
        && let Some(found) = versions.iter().rev().find(|version| version.id == id)
    {
        return Ok(Some(found.clone()));
    }
    let Some(wanted) = submitted.normalize.then(|| normal_form(&submitted.schema)).flatten() else { return Ok(None) };
    for version in versions.iter().rev() {
        let stored = store::schema(db, version.id)?.ok_or(ApiError::IdNotFound(version.id))?;
        if stored.refs == refs && normal_form(&stored.text).as_ref() == Some(&wanted) {
            return Ok(Some(version.clone()));
        }
    }
    Ok(None)
}

pub(crate) fn live_schemas(db: &Connection, versions: &[Version]) -> Result<Vec<(i64, apache_avro::Schema)>, ApiError> {
    let mut schemas = Vec::new();
    for version in versions.iter().filter(|version| !version.deleted) {
        let stored = store::schema(db, version.id)?.ok_or(ApiError::IdNotFound(version.id))?;
        let submitted = Submitted { references: references(&stored), schema: stored.text, normalize: false };
        schemas.push((version.version, resolve(db, &submitted)?.avro));
    }
    Ok(schemas)
}

/// Parses a schema with all that it refers to, directly or not.
pub(crate) fn resolve(db: &Connection, submitted: &Submitted) -> Result<Parsed, ApiError> {
    let mut texts = Vec::new();
    let mut seen = BTreeSet::new();
    let mut todo = submitted.references.clone();
    while let Some(reference) = todo.pop() {
        if !seen.insert((reference.subject.clone(), reference.version)) {
            continue;
        }
        let versions = store::versions(db, &reference.subject)?;
        let found = versions.iter().find(|version| version.version == reference.version);
        let stored = found.map(|version| store::schema(db, version.id)).transpose()?.flatten();
        let Some(stored) = stored else {
            return Err(ApiError::InvalidSchema(format!(
                "no schema reference found for subject \"{}\" and version {}",
                reference.subject, reference.version
            )));
        };
        todo.extend(references(&stored));
        texts.push(stored.text);
    }
    parse(&submitted.schema, &texts).map_err(ApiError::InvalidSchema)
}
