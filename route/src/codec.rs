//! Decoding by the schema registry: [`Decode`] on `hirewire_registry`'s codec, and writing of our own one record.

use std::collections::HashMap;
use std::sync::Arc;

use hirewire_registry::{Codec, DecodeError as CodecError};
use hirewire_schemas::Entity;
use serde_json::Value;

use crate::decode::{Decode, DecodeError};
use crate::tree::TreeMaker;

/// Reads records as our own schemas have them, whatever version wrote them.
#[derive(Clone)]
pub(crate) struct Decoder {
    codec: Codec,
    makers: Arc<HashMap<Entity, TreeMaker>>,
}

impl Decoder {
    /// # Errors
    /// When a schema of ours is broken.
    pub(crate) fn new(codec: Codec) -> Result<Self, Box<apache_avro::Error>> {
        let makers = Entity::ALL.into_iter().map(|entity| Ok((entity, TreeMaker::new(&entity.schema().avro)?)));
        Ok(Self { codec, makers: Arc::new(makers.collect::<Result<_, Box<apache_avro::Error>>>()?) })
    }
}

impl Decode for Decoder {
    async fn decode(&self, entity: Entity, framed: &[u8]) -> Result<Value, DecodeError> {
        let undecodable = |what: String| DecodeError::Undecodable(what);
        let maker = self.makers.get(&entity).ok_or_else(|| undecodable("no schema".to_owned()))?;
        let value = self.codec.decode_as(framed, maker.schema()).await.map_err(|error| match &error {
            CodecError::UnknownSchema(id) => DecodeError::UnknownSchema(*id),
            _ if error.is_retryable() => DecodeError::Unavailable(error.to_string()),
            _ => undecodable(error.to_string()),
        })?;
        maker.tree(value).map_err(|error| undecodable(error.to_string()))
    }
}
