//! Whether a schema may follow others: level, new schema and earlier schemas in, messages of what does not fit out.
//!
//! The judgement is apache-avro's; what is only partly readable does not count as readable.

use apache_avro::Schema;
use apache_avro::error::CompatibilityError;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

use crate::parse::parse;

/// What a new version owes to earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    None,
    /// The new one reads what the last one wrote.
    Backward,
    BackwardTransitive,
    /// The last one reads what the new one writes.
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Level {
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// As on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// In either case, as clients write it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// Whether all earlier versions count, or the last one only.
    #[must_use]
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    fn reads_backward(self) -> bool {
        matches!(self, Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive)
    }

    fn reads_forward(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }
}

/// What keeps the text `new` from following the texts `earlier` (oldest first), as the registry judges. Empty: nothing.
///
/// # Errors
/// One of them is no Avro schema.
pub fn check_texts(level: Level, new: &str, earlier: &[String]) -> Result<Vec<String>, String> {
    let new = parse(new, &[])?.avro;
    let parsed = (1..).zip(earlier).map(|(version, text)| Ok((version, parse(text, &[])?.avro)));
    let parsed: Result<Vec<_>, String> = parsed.collect();
    Ok(check(level, &new, &parsed?))
}

/// What keeps `new` from following `earlier` (version and schema, oldest first). Empty: it may.
pub(crate) fn check(level: Level, new: &Schema, earlier: &[(i64, Schema)]) -> Vec<String> {
    let from = if level.is_transitive() { 0 } else { earlier.len().saturating_sub(1) };
    let mut messages = Vec::new();
    for (version, old) in earlier.iter().skip(from) {
        if level.reads_backward()
            && let Some(why) = unreadable(old, new)
        {
            messages.push(format!("the new schema cannot read data of version {version}: {why}"));
        }
        if level.reads_forward()
            && let Some(why) = unreadable(new, old)
        {
            messages.push(format!("version {version} cannot read data of the new schema: {why}"));
        }
    }
    messages
}

/// Why `reader` cannot read all that `writer` writes.
fn unreadable(writer: &Schema, reader: &Schema) -> Option<String> {
    match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => None,
        Ok(Compatibility::Partial) => {
            Some("some values of a union or symbols of an enum have no place in it".to_owned())
        }
        Err(error) => Some(describe(&error)),
    }
}

/// Path of the field, then the reason; never a whole schema.
fn describe(error: &CompatibilityError) -> String {
    let mut path = Vec::new();
    let mut innermost = error;
    while let CompatibilityError::FieldTypeMismatch(field, inner) = innermost {
        path.push(field.as_str());
        innermost = inner;
    }
    let reason = match innermost {
        CompatibilityError::WrongType { .. } => "the types do not fit".to_owned(),
        CompatibilityError::MissingDefaultValue(field) => {
            path.push(field);
            "it has no default, and the other schema lacks it".to_owned()
        }
        other => other.to_string(),
    };
    if path.is_empty() { reason } else { format!("field {}: {reason}", path.join(".")) }
}
