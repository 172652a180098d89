//! A secret by reference: a file or an environment variable, never a value in the settings.
//!
//! The value is read when it is used, so that a rotated file is seen without a restart, and never shown.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hirewire_yaml::{Node, Problems};

/// Where a secret is. `Debug` shows the reference, not the value.
#[derive(Clone)]
pub struct Secret {
    source: Source,
    cached: Arc<Mutex<Option<Cached>>>,
}

/// A file's content and by what it was seen to be that.
struct Cached {
    stamp: (SystemTime, u64),
    value: Vec<u8>,
}

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Env(String),
    /// Made by this process (the demo); never from a settings file.
    Value(Vec<u8>),
}

/// The secret cannot be read now. Never holds its value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("secret file {path} cannot be read; create it or mend its permissions")]
    File { path: PathBuf, source: std::io::Error },
    #[error("secret file {0} is empty; write the secret into it")]
    EmptyFile(PathBuf),
    #[error("environment variable {0}, which should hold a secret, is not set")]
    Env(String),
}

impl Secret {
    /// Reads `{file: PATH}` or `{env: NAME}`; a relative path stands beside the settings file. A literal is refused. A
    /// secret that is not there is an absence ([`Problems::add_absent`]): to a process that uses it a mistake, for it
    /// would be missed at the first use, in the middle of the night.
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if node.scalar().is_some() {
            problems.add(node, "a secret written into the settings", "write {file: PATH} or {env: NAME}");
            return None;
        }
        let (kind, value) = node.tagged(&["file", "env"], problems)?;
        let source = match kind {
            "file" => Source::File(value.path(problems)?),
            _ => Source::Env(value.name(problems)?.to_owned()),
        };
        let secret = Self { source, cached: Arc::default() };
        if let Err(error) = secret.bytes() {
            problems.add_absent(node, error.to_string(), "");
        }
        Some(secret)
    }

    /// A secret that this process made itself.
    #[must_use]
    pub fn from_value(value: impl Into<Vec<u8>>) -> Self {
        Self { source: Source::Value(value.into()), cached: Arc::default() }
    }

    /// The value now. A file is read again when its time or size changed; one trailing newline is not part of it.
    ///
    /// # Errors
    /// When the file or variable is missing or empty.
    pub fn bytes(&self) -> Result<Vec<u8>, SecretError> {
        match &self.source {
            Source::Value(value) => Ok(value.clone()),
            Source::Env(name) => match std::env::var(name) {
                Ok(value) if !value.is_empty() => Ok(value.into_bytes()),
                _ => Err(SecretError::Env(name.clone())),
            },
            Source::File(path) => {
                let failed = |source| SecretError::File { path: path.clone(), source };
                let metadata = std::fs::metadata(path).map_err(failed)?;
                let stamp = (metadata.modified().map_err(failed)?, metadata.len());
                let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(seen) = &*cached
                    && seen.stamp == stamp
                {
                    return Ok(seen.value.clone());
                }
                let mut value = std::fs::read(path).map_err(failed)?;
                if value.last() == Some(&b'\n') {
                    value.pop();
                }
                if value.is_empty() {
                    return Err(SecretError::EmptyFile(path.clone()));
                }
                *cached = Some(Cached { stamp, value: value.clone() });
                Ok(value)
            }
        }
    }

    /// The value as text, for passwords and tokens. Bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// As [`Secret::bytes`].
    pub fn text(&self) -> Result<String, SecretError> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }
}

/// Changes when a secret changes.
#[must_use]
pub fn fingerprint<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for secret in secrets {
        secret.bytes().ok().hash(&mut hasher);
    }
    hasher.finish()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::File(path) => write!(f, "Secret(file {})", path.display()),
            Source::Env(name) => write!(f, "Secret(env {name})"),
            Source::Value(_) => f.write_str("Secret(made here)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Secret>, Problems) {
        let mut problems = Problems::new();
        let secret = Secret::read(&hirewire_yaml::parse("s.yaml", text).unwrap(), &mut problems);
        (secret, problems)
    }

    #[test]
    fn a_rotated_file_is_seen_and_the_value_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "first\n").unwrap();
        let secret = read(&format!("{{file: {}}}", path.display())).0.unwrap();
        assert_eq!(secret.bytes().unwrap(), b"first");
        std::fs::write(&path, "second one\n").unwrap();
        assert_eq!(secret.bytes().unwrap(), b"second one");
        assert!(!format!("{secret:?}").contains("second"));
        std::fs::remove_file(&path).unwrap();
        assert!(secret.bytes().is_err());
    }

    #[test]
    fn a_secret_that_is_not_there_is_an_absence_and_one_without_a_name_a_mistake() {
        for text in ["{file: /no/such/file}", "{env: HIREWIRE_NO_SUCH_VARIABLE}"] {
            let (secret, problems) = read(text);
            assert!(secret.is_some(), "{text}");
            assert_eq!((problems.len(), problems.absences()), (0, 1), "{text}");
        }
        for text in ["{file: ''}", "{env: ''}"] {
            let (secret, problems) = read(text);
            assert!(secret.is_none(), "{text}");
            assert_eq!((problems.len(), problems.absences()), (1, 0), "{text}");
        }
    }

    #[test]
    fn a_literal_is_refused_without_being_repeated() {
        let (secret, problems) = read("hunter2");
        assert!(secret.is_none());
        assert!(!problems.to_string().contains("hunter2"));
    }
}
