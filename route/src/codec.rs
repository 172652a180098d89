//! Decoding by the schema registry: [`Decode`] on `hirewire_registry`'s codec.
//!
//! Records are read with the schema that wrote them, not resolved to ours: a tree needs no resolution (what an older
//! writer lacks is absent, what a newer one adds is ignored), and apache-avro's would refuse short decimals.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use hirewire_registry::{Codec, DecodeError as CodecError, unframe};
use serde_json::Value;

use crate::decode::{Decode, DecodeError};
use crate::tree::TreeMaker;

/// Reads records of any version of their schema.
#[derive(Clone)]
pub(crate) struct Decoder {
    codec: Codec,
    /// By the registry's id.
    makers: Arc<RwLock<HashMap<u32, Arc<TreeMaker>>>>,
}

impl Decoder {
    pub(crate) fn new(codec: Codec) -> Self {
        Self { codec, makers: Arc::default() }
    }

    async fn maker(&self, id: u32) -> Result<Arc<TreeMaker>, DecodeError> {
        if let Some(maker) = self.makers.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(maker));
        }
        let schema = self.codec.schema(id).await.map_err(|error| refused(&error))?;
        let made = TreeMaker::new(schema).map_err(|error| DecodeError::Undecodable(error.to_string()))?;
        let mut makers = self.makers.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(makers.entry(id).or_insert_with(|| Arc::new(made))))
    }
}

fn refused(error: &CodecError) -> DecodeError {
    match error {
        CodecError::UnknownSchema(id) => DecodeError::UnknownSchema(*id),
        _ if error.is_retryable() => DecodeError::Unavailable(error.to_string()),
        _ => DecodeError::Undecodable(error.to_string()),
    }
}

impl Decode for Decoder {
    async fn decode(&self, framed: &[u8]) -> Result<Value, DecodeError> {
        let (id, record) = unframe(framed).map_err(|error| refused(&error))?;
        let maker = self.maker(id).await?;
        maker.tree(record).map_err(|_| DecodeError::Undecodable(format!("the bytes are no record of schema {id}")))
    }
}
