//! What a sink is told in the configuration beside what a record says, and how a secret of it gets into a body.
//!
//! A secret never stands in what a request is made of: there, and wherever a request is shown, it is `***`. A body that holds
//! one is written again for each attempt, with the secrets of now, by the transport alone.

use std::sync::Arc;

use bytes::Bytes;
use hirewire_service::{Secret, SecretError};
use hirewire_yaml::{Node, Problems};
use serde_json::Value;

use super::body::Format;
use super::parts::Parts;
use super::path::{Path, Scope, Step};
use super::template::Template;

/// In the place of a secret.
pub(crate) const SHOWN: &str = "***";

/// One of a system's `settings`: `name: what it is`, or `name: {secret: what it is}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) is_secret: bool,
}

impl Setting {
    /// All of them; what each is, is for people.
    pub(crate) fn read_all(node: &Node, problems: &mut Problems) -> Option<Vec<Self>> {
        let mut map = node.map(problems)?;
        let read: Vec<Option<Self>> = map
            .entries()
            .map(|(_, name, value)| {
                let is_secret = value.scalar().is_none();
                let text = if is_secret { value.tagged(&["secret"], problems)?.1 } else { value };
                text.name(problems).map(|_| Self { name: name.to_owned(), is_secret })
            })
            .collect();
        read.into_iter().collect()
    }

    /// Whether a path from the root leads to it.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        matches!(path.steps(), [Step::Name(part), Step::Name(name)] if part == "settings" && *name == self.name)
    }
}

/// The secrets that a sink is told, by the names of its settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets(pub(crate) Vec<(String, Secret)>);

impl Secrets {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter().map(|(_, secret)| secret)
    }

    /// The settings with them, as they are now, in the place of what is shown.
    fn reveal(&self, settings: &Value) -> Result<Value, SecretError> {
        let mut settings = settings.clone();
        for (name, secret) in &self.0 {
            if let Some(shown) = settings.get_mut(name) {
                *shown = secret.text()?.into();
            }
        }
        Ok(settings)
    }
}

/// The body of a request.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    shown: Bytes,
    /// `None`: it holds no secret.
    sealed: Option<Arc<Sealed>>,
}

/// What a body with secrets is written of. Its parts hold none.
#[derive(Debug)]
struct Sealed {
    format: Format,
    template: Template,
    of: Parts,
}

impl Body {
    pub(crate) fn plain(bytes: impl Into<Bytes>) -> Self {
        Self { shown: bytes.into(), sealed: None }
    }

    pub(super) fn write(format: &Format, template: &Template, of: &Parts, holds_secrets: bool) -> Self {
        let sealed = || Arc::new(Sealed { format: format.clone(), template: template.clone(), of: of.clone() });
        Self { shown: format.write(template, Scope::of(of)).into(), sealed: holds_secrets.then(sealed) }
    }

    /// With `***` in the place of secrets.
    pub(crate) fn shown(&self) -> &Bytes {
        &self.shown
    }

    /// As it is sent now.
    ///
    /// # Errors
    /// When a secret cannot be read.
    pub(crate) fn sent(&self, secrets: &Secrets) -> Result<Bytes, SecretError> {
        let Some(sealed) = &self.sealed else { return Ok(self.shown.clone()) };
        let Some(shown) = sealed.of.get("settings") else { return Ok(self.shown.clone()) };
        let of = sealed.of.told(secrets.reveal(shown)?);
        Ok(sealed.format.write(&sealed.template, Scope::of(&of)).into())
    }
}
