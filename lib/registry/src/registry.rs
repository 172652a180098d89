//! The registry's rules: requests as plain values in, ids and versions out, each in one durable transaction.
//!
//! Invariants: an id never changes its schema and is never used again; one schema with the same references has one id
//! in all subjects; what is answered is on disk. All methods block on the disk: call them off the async threads.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};

use crate::compatibility::{self, Level};
use crate::error::ApiError;
use crate::store::{self, OpenError, Setting, Version};
use crate::versions::{find, live_schemas, pick, references, refs_text, registered, resolve, visible};

/// A schema of another subject that this one names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    pub subject: String,
    pub version: i64,
}

/// A schema as clients send it.
#[derive(Debug, Clone, Default)]
pub struct Submitted {
    pub schema: String,
    pub references: Vec<Reference>,
    /// Whether a version that only writes names differently is the same.
    pub normalize: bool,
}

/// A version of a subject, as answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registered {
    pub subject: String,
    pub version: i64,
    pub id: i64,
    pub schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
}

/// Which version of a subject is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Latest,
    Number(i64),
}

/// Whether a subject may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    ReadWrite,
    ReadOnly,
    ReadOnlyOverride,
    Import,
}

impl Mode {
    /// As on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadWrite => "READWRITE",
            Self::ReadOnly => "READONLY",
            Self::ReadOnlyOverride => "READONLY_OVERRIDE",
            Self::Import => "IMPORT",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::ReadWrite, Self::ReadOnly, Self::ReadOnlyOverride, Self::Import]
            .into_iter()
            .find(|mode| mode.name().eq_ignore_ascii_case(name))
    }
}

/// The registry. Clones are the same one.
#[derive(Clone)]
pub struct Registry {
    db: Arc<Mutex<Connection>>,
    /// Holds the folder until the last clone is gone.
    _lock: Arc<File>,
}

impl Registry {
    /// Opens the registry of `data_dir`, or makes it.
    ///
    /// # Errors
    /// The folder cannot be used, or another process uses it.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let (db, lock) = store::open(data_dir)?;
        Ok(Self { db: Arc::new(Mutex::new(db)), _lock: Arc::new(lock) })
    }

    /// The id of the schema under this subject: found, or registered as its next version.
    ///
    /// # Errors
    /// The schema is invalid or incompatible, or the subject may not be written.
    pub fn register(
        &self,
        subject: &str,
        submitted: &Submitted,
        import: Option<(i64, Option<i64>)>,
    ) -> Result<i64, ApiError> {
        self.write(|db| {
            let mode = effective_mode(db, subject)?;
            let parsed = resolve(db, submitted)?;
            let refs = refs_text(&submitted.references);
            let versions = store::versions(db, subject)?;
            let live: Vec<Version> = versions.iter().filter(|version| !version.deleted).cloned().collect();
            if let Some(found) = find(db, &live, &parsed.identity, submitted)? {
                return Ok(found.id);
            }
            match (mode, import) {
                (Mode::ReadOnly | Mode::ReadOnlyOverride, _) => {
                    return Err(ApiError::NotPermitted(format!("Subject {subject} is in read-only mode")));
                }
                (Mode::ReadWrite, Some(_)) => {
                    return Err(ApiError::NotPermitted(format!("Subject {subject} is not in import mode")));
                }
                (Mode::Import, _) => {}
                (Mode::ReadWrite, None) => {
                    let level = effective_level(db, subject)?;
                    let earlier = live_schemas(db, &versions)?;
                    let messages = compatibility::check(level, &parsed.avro, &earlier);
                    if !messages.is_empty() {
                        return Err(ApiError::Incompatible { subject: subject.to_owned(), messages });
                    }
                }
            }
            let next = versions.last().map_or(1, |last| last.version + 1);
            let version = import.and_then(|(_, version)| version).unwrap_or(next);
            let id = store::insert_schema(db, import.map(|(id, _)| id), &parsed.identity, &refs, &submitted.schema)?;
            store::insert_version(db, subject, version, id)?;
            Ok(id)
        })
    }

    /// The version of this subject that holds this schema.
    ///
    /// # Errors
    /// No such subject, or none of its versions.
    pub fn look_up(&self, subject: &str, submitted: &Submitted, deleted: bool) -> Result<Registered, ApiError> {
        self.read(|db| {
            let versions: Vec<_> = visible(db, subject, deleted)?;
            let parsed = resolve(db, submitted)?;
            let found = find(db, &versions, &parsed.identity, submitted)?.ok_or(ApiError::SchemaNotFound)?;
            registered(db, subject, &found)
        })
    }

    /// Text and references of an id.
    ///
    /// # Errors
    /// No version has this id.
    pub fn schema_by_id(&self, id: i64) -> Result<(String, Vec<Reference>), ApiError> {
        self.read(|db| {
            let stored = store::schema(db, id)?.ok_or(ApiError::IdNotFound(id))?;
            let references = references(&stored);
            Ok((stored.text, references))
        })
    }

    /// Where an id is used.
    ///
    /// # Errors
    /// No version has this id.
    pub fn uses(&self, id: i64, deleted: bool) -> Result<Vec<(String, i64)>, ApiError> {
        self.read(|db| {
            store::schema(db, id)?.ok_or(ApiError::IdNotFound(id))?;
            Ok(store::uses(db, id, deleted)?)
        })
    }

    /// # Errors
    /// The store failed.
    pub fn subjects(&self, deleted: bool) -> Result<Vec<String>, ApiError> {
        self.read(|db| Ok(store::subjects(db, deleted)?))
    }

    /// Version numbers of a subject.
    ///
    /// # Errors
    /// No such subject.
    pub fn versions(&self, subject: &str, deleted: bool) -> Result<Vec<i64>, ApiError> {
        self.read(|db| Ok(visible(db, subject, deleted)?.iter().map(|version| version.version).collect()))
    }

    /// # Errors
    /// No such subject or version.
    pub fn version(&self, subject: &str, which: Which, deleted: bool) -> Result<Registered, ApiError> {
        self.read(|db| {
            let found = pick(&visible(db, subject, deleted)?, which)?;
            registered(db, subject, &found)
        })
    }

    /// Ids of schemas that refer to this version.
    ///
    /// # Errors
    /// No such subject or version.
    pub fn referenced_by(&self, subject: &str, which: Which) -> Result<Vec<i64>, ApiError> {
        self.read(|db| {
            let found = pick(&visible(db, subject, false)?, which)?;
            Ok(store::referenced_by(db, subject, found.version)?)
        })
    }

    /// Deletes a subject: softly, or for good what was softly deleted before. Gives the versions.
    ///
    /// # Errors
    /// No such subject, the wrong order of the two, or another schema refers to it.
    pub fn delete_subject(&self, subject: &str, permanent: bool) -> Result<Vec<i64>, ApiError> {
        self.write(|db| {
            refuse_read_only(db, subject)?;
            let versions = store::versions(db, subject)?;
            if versions.is_empty() {
                return Err(ApiError::SubjectNotFound(subject.to_owned()));
            }
            let live: Vec<_> = versions.iter().filter(|version| !version.deleted).map(|v| v.version).collect();
            let gone: Vec<_> = match (permanent, live.is_empty()) {
                (false, true) => return Err(ApiError::SubjectSoftDeleted(subject.to_owned())),
                (true, false) => return Err(ApiError::SubjectNotSoftDeleted(subject.to_owned())),
                (false, false) => live,
                (true, true) => versions.iter().map(|version| version.version).collect(),
            };
            for version in &gone {
                refuse_referenced(db, subject, *version)?;
                store::delete_version(db, subject, *version, permanent)?;
            }
            store::set_setting(db, Setting::Level, subject, None)?;
            store::set_setting(db, Setting::Mode, subject, None)?;
            Ok(gone)
        })
    }

    /// Deletes one version, in the same two steps.
    ///
    /// # Errors
    /// As [`Self::delete_subject`].
    pub fn delete_version(&self, subject: &str, which: Which, permanent: bool) -> Result<i64, ApiError> {
        self.write(|db| {
            refuse_read_only(db, subject)?;
            let versions = store::versions(db, subject)?;
            if versions.is_empty() {
                return Err(ApiError::SubjectNotFound(subject.to_owned()));
            }
            let live: Vec<_> = versions.iter().filter(|version| !version.deleted).cloned().collect();
            let found = match which {
                Which::Latest => pick(&live, which)?,
                Which::Number(_) => pick(&versions, which)?,
            };
            match (permanent, found.deleted) {
                (false, true) => return Err(ApiError::VersionSoftDeleted(subject.to_owned(), found.version)),
                (true, false) => return Err(ApiError::VersionNotSoftDeleted(subject.to_owned(), found.version)),
                _ => {}
            }
            refuse_referenced(db, subject, found.version)?;
            store::delete_version(db, subject, found.version, permanent)?;
            Ok(found.version)
        })
    }

    /// What keeps the schema from following the subject's versions, or one of them. Empty: nothing.
    ///
    /// # Errors
    /// The schema is invalid, or the named version does not exist.
    pub fn compatibility(
        &self,
        subject: &str,
        against: Option<Which>,
        submitted: &Submitted,
    ) -> Result<Vec<String>, ApiError> {
        self.read(|db| {
            let mut versions = store::versions(db, subject)?;
            versions.retain(|version| !version.deleted);
            match against {
                None => {}
                // Nothing stands in the way of a subject's first schema.
                Some(Which::Latest) if versions.is_empty() => {}
                Some(which) => versions = vec![pick(&versions, which)?],
            }
            let parsed = resolve(db, submitted)?;
            let level = effective_level(db, subject)?;
            Ok(compatibility::check(level, &parsed.avro, &live_schemas(db, &versions)?))
        })
    }

    /// The level of a subject, or of all (`None`); `or_global` gives a subject's level even if it has none of its own.
    ///
    /// # Errors
    /// The subject has no level of its own.
    pub fn level(&self, subject: Option<&str>, or_global: bool) -> Result<Level, ApiError> {
        self.read(|db| match subject {
            None => effective_level(db, ""),
            Some(subject) => match own_level(db, subject)? {
                Some(level) => Ok(level),
                None if or_global => effective_level(db, ""),
                None => Err(ApiError::NoSubjectLevel(subject.to_owned())),
            },
        })
    }

    /// Sets or (`None`) removes a level; gives the one that was in force before.
    ///
    /// # Errors
    /// The subject has none to remove.
    pub fn set_level(&self, subject: Option<&str>, level: Option<Level>) -> Result<Level, ApiError> {
        self.write(|db| {
            let name = subject.unwrap_or("");
            let before = match (own_level(db, name)?, level, subject) {
                (Some(before), _, _) => before,
                (None, None, Some(subject)) => return Err(ApiError::NoSubjectLevel(subject.to_owned())),
                (None, _, _) => effective_level(db, name)?,
            };
            store::set_setting(db, Setting::Level, name, level.map(Level::name))?;
            Ok(before)
        })
    }

    /// The mode of a subject, or of all; as [`Self::level`].
    ///
    /// # Errors
    /// The subject has no mode of its own.
    pub fn mode(&self, subject: Option<&str>, or_global: bool) -> Result<Mode, ApiError> {
        self.read(|db| match subject {
            None => effective_mode(db, ""),
            Some(subject) => match own_mode(db, subject)? {
                Some(mode) => Ok(mode),
                None if or_global => effective_mode(db, ""),
                None => Err(ApiError::NoSubjectMode(subject.to_owned())),
            },
        })
    }

    /// Sets or removes a mode. IMPORT needs an empty subject unless `force`.
    ///
    /// # Errors
    /// The subject is not empty.
    pub fn set_mode(&self, subject: Option<&str>, mode: Option<Mode>, force: bool) -> Result<Mode, ApiError> {
        self.write(|db| {
            let name = subject.unwrap_or("");
            if mode == Some(Mode::Import) && !force {
                let taken = match subject {
                    Some(subject) => store::versions(db, subject)?.iter().any(|version| !version.deleted),
                    None => !store::subjects(db, false)?.is_empty(),
                };
                if taken {
                    return Err(ApiError::NotPermitted(
                        "Cannot import since found existing subjects; pass force=true".to_owned(),
                    ));
                }
            }
            let before = match (own_mode(db, name)?, mode, subject) {
                (Some(before), _, _) => before,
                (None, None, Some(subject)) => return Err(ApiError::NoSubjectMode(subject.to_owned())),
                (None, _, _) => effective_mode(db, name)?,
            };
            store::set_setting(db, Setting::Mode, name, mode.map(Mode::name))?;
            Ok(before)
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, ApiError>) -> Result<T, ApiError> {
        // A panic under the lock leaves a rolled-back transaction, not a broken one.
        work(&self.db.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}

fn own_level(db: &Connection, subject: &str) -> Result<Option<Level>, ApiError> {
    Ok(store::setting(db, Setting::Level, subject)?.as_deref().and_then(Level::from_name))
}

fn effective_level(db: &Connection, subject: &str) -> Result<Level, ApiError> {
    match own_level(db, subject)? {
        Some(level) => Ok(level),
        None => Ok(own_level(db, "")?.unwrap_or(Level::Backward)),
    }
}

fn own_mode(db: &Connection, subject: &str) -> Result<Option<Mode>, ApiError> {
    Ok(store::setting(db, Setting::Mode, subject)?.as_deref().and_then(Mode::from_name))
}

fn effective_mode(db: &Connection, subject: &str) -> Result<Mode, ApiError> {
    let global = own_mode(db, "")?.unwrap_or(Mode::ReadWrite);
    if global == Mode::ReadOnlyOverride {
        return Ok(global);
    }
    Ok(own_mode(db, subject)?.unwrap_or(global))
}

fn refuse_read_only(db: &Connection, subject: &str) -> Result<(), ApiError> {
    match effective_mode(db, subject)? {
        Mode::ReadWrite | Mode::Import => Ok(()),
        Mode::ReadOnly | Mode::ReadOnlyOverride => {
            Err(ApiError::NotPermitted(format!("Subject {subject} is in read-only mode")))
        }
    }
}

fn refuse_referenced(db: &Connection, subject: &str, version: i64) -> Result<(), ApiError> {
    if store::referenced_by(db, subject, version)?.is_empty() {
        return Ok(());
    }
    Err(ApiError::Referenced(format!("{{subject={subject},version={version}}}")))
}
