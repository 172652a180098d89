//! The boundary to the registry's codec: framed Avro in, a tree out.

use serde_json::Value;

/// Why a record could not be decoded.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The registry cannot be asked now: wait.
    #[error("the schema registry cannot be reached: {0}")]
    Unavailable(String),
    /// The bytes are not what their schema says, or name no schema: a dead letter.
    #[error("not a record of its schema: {0}")]
    Undecodable(String),
}

pub(crate) trait Decode: Send + Sync + 'static {
    /// # Errors
    /// [`DecodeError`].
    fn decode(&self, framed: &[u8]) -> impl Future<Output = Result<Value, DecodeError>> + Send;
}
