//! The boundary to the registry's codec: framed Avro in, a tree out.

use serde_json::Value;

/// Why a record could not be decoded. Never holds what the record says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The registry cannot be asked now: wait.
    #[error("the schema registry cannot be reached: {0}")]
    Unavailable(String),
    /// The registry answers and does not know the schema: wait a while, it may be the wrong or a restored one.
    #[error("the schema registry has no schema {0}")]
    UnknownSchema(u32),
    /// The bytes are not what their schema says: a dead letter.
    #[error("not a record of its schema: {0}")]
    Undecodable(String),
}

pub(crate) trait Decode: Send + Sync + 'static {
    /// # Errors
    /// [`DecodeError`].
    fn decode(&self, framed: &[u8]) -> impl Future<Output = Result<Value, DecodeError>> + Send;
}
