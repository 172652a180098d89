//! A registry's schemas brought into another one, each with the id and the version that it has.
//!
//! In: an embedded registry's folder, open, and the way to the other registry; out: how much there is now. The other one is written
//! in mode IMPORT, subject by subject, as Confluent's registry wants it
//! (<https://docs.confluent.io/platform/current/schema-registry/develop/api.html>, "Mode"). What is there already is left; what is
//! there under the same id or version and says something else is an error, before anything of that subject is written.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::access::Access;
use crate::client::Client;
use crate::codec::CodecError;
use crate::error::ApiError;
use crate::registry::{Registered, Registry, Which};

/// Why schemas cannot be brought over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the registry to read from failed")]
    Source(#[source] ApiError),
    #[error(transparent)]
    Target(#[from] CodecError),
    #[error(
        "version {version} of {subject} cannot be brought over: there, {what}; use a registry without these subjects"
    )]
    Taken { subject: String, version: i64, what: String },
}

impl From<ApiError> for ImportError {
    fn from(error: ApiError) -> Self {
        Self::Source(error)
    }
}

/// Brings every schema over, deleted versions too, with levels; and asks for each afterwards. Gives the number of versions.
///
/// # Errors
/// The target is away, refuses, or has something else under the same id or version.
pub async fn import(from: &Registry, to: &Access) -> Result<usize, ImportError> {
    let target = Target(Client::new(to)?);
    let mut versions = all_versions(from)?;
    // What another refers to has the smaller id.
    versions.sort_by_key(|(version, _)| (version.id, version.version));
    for (version, deleted) in &versions {
        if !target.has(version).await? {
            target.put(version, *deleted).await?;
        }
    }
    for subject in from.subjects(false)? {
        if let Ok(level) = from.level(Some(&subject), false) {
            target.0.set_level(&subject, level.name()).await?;
        }
    }
    for (version, _) in &versions {
        if !target.has(version).await? {
            return Err(taken(version, "it is missing after it was written".to_owned()));
        }
    }
    Ok(versions.len())
}

/// Each version, and whether it is deleted.
fn all_versions(from: &Registry) -> Result<Vec<(Registered, bool)>, ApiError> {
    let mut found = Vec::new();
    for subject in from.subjects(true)? {
        let live = from.versions(&subject, false).unwrap_or_default();
        for number in from.versions(&subject, true)? {
            let version = from.version(&subject, Which::Number(number), true)?;
            found.push((version, !live.contains(&number)));
        }
    }
    Ok(found)
}

fn taken(version: &Registered, what: String) -> ImportError {
    ImportError::Taken { subject: version.subject.clone(), version: version.version, what }
}

struct Target(Client);

impl Target {
    /// Whether this very version is there.
    async fn has(&self, version: &Registered) -> Result<bool, ImportError> {
        let path = ["subjects", &version.subject, "versions", &version.version.to_string()];
        let found = match self.0.call(Method::GET, &path, &[("deleted", "true")], None).await {
            Ok(found) => found,
            Err(CodecError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let id = found.get("id").and_then(Value::as_i64);
        let text = found.get("schema").and_then(Value::as_str).unwrap_or_default();
        if id == Some(version.id) && same(text, &version.schema) {
            return Ok(true);
        }
        Err(taken(version, format!("it has id {} and not {}, or another schema", id.unwrap_or_default(), version.id)))
    }

    async fn put(&self, version: &Registered, deleted: bool) -> Result<(), ImportError> {
        let id = u32::try_from(version.id).map_err(|_| taken(version, "ids end at 32 bits".to_owned()))?;
        if let Some(text) = self.0.schema_text(id).await?
            && !same(&text, &version.schema)
        {
            return Err(taken(version, format!("id {id} is another schema's")));
        }
        let mode = ["mode", version.subject.as_str()];
        self.0.call(Method::PUT, &mode, &[("force", "true")], Some(json!({"mode": "IMPORT"}))).await?;
        let body = json!({
            "schema": version.schema,
            "references": version.references,
            "id": version.id,
            "version": version.version,
        });
        let put = self.0.call(Method::POST, &["subjects", &version.subject, "versions"], &[], Some(body)).await;
        // Also after a refusal: the subject is not left open.
        self.0.call(Method::DELETE, &mode, &[], None).await?;
        put?;
        if deleted {
            let path = ["subjects", &version.subject, "versions", &version.version.to_string()];
            self.0.call(Method::DELETE, &path, &[], None).await?;
        }
        Ok(())
    }
}

/// The same JSON, however it is spaced.
fn same(a: &str, b: &str) -> bool {
    let parsed = |text| serde_json::from_str::<Value>(text).ok();
    parsed(a).is_some_and(|a| Some(a) == parsed(b))
}
