//! What a producer or consumer holds of a registry: subjects and schema texts in, ids out; framed bytes in, values out.
//!
//! Every id and schema that was seen once is kept, so that known ids keep working while the registry is away. What is
//! unknown while it is away is an error to wait on ([`DecodeError::is_retryable`]), never a bad record.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::access::Access;
use crate::client::{Client, Standing, Subject};

/// First byte of a framed record.
const MAGIC: u8 = 0;
const FRAME_BYTES: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why an id or a schema could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("the registry {url} cannot be used: {what}")]
    Url { url: String, what: String },
    #[error("the registry at {url} does not answer")]
    Away { url: String, source: Box<reqwest::Error> },
    #[error("the registry refused: {message} (status {status}, code {code})")]
    Refused { status: StatusCode, code: u32, message: String },
    #[error(
        "the schema does not fit what is registered under {subject}: {message}. An older or newer release wrote there: \
         use a topic prefix of your own, or bring the schemas together first"
    )]
    Incompatible { subject: String, message: String },
    #[error("the registry's answer about {what} makes no sense: is it a schema registry?")]
    Answer { what: String, source: Box<schema_registry_converter::error::SRCError> },
    #[error("gave up after {}s: start the registry, or correct its address", patience.as_secs())]
    GaveUp { patience: Duration, source: Box<CodecError> },
    #[error("an empty prefix would delete every subject")]
    EmptyPrefix,
}

impl CodecError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Away { .. } | Self::GaveUp { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 408 | 425 | 429)
            }
            Self::Url { .. } | Self::Incompatible { .. } | Self::Answer { .. } | Self::EmptyPrefix => false,
        }
    }
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the record does not begin with a schema id")]
    NotFramed,
    #[error("the registry has no schema {0}")]
    UnknownSchema(u32),
    #[error("schema {id} of the registry cannot be used")]
    BadSchema { id: u32, source: Box<apache_avro::Error> },
    #[error("the bytes are no record of schema {id}")]
    BadBytes { id: u32, source: Box<apache_avro::Error> },
    #[error("schema {id} could not be read from the registry")]
    Registry { id: u32, source: Box<CodecError> },
}

impl DecodeError {
    /// True: the registry is away, try again later. False: the record is bad.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Registry { source, .. } => source.is_retryable(),
            Self::NotFramed | Self::UnknownSchema(_) | Self::BadSchema { .. } | Self::BadBytes { .. } => false,
        }
    }
}

/// Appends the five bytes that stand before a record.
pub fn frame(id: u32, out: &mut Vec<u8>) {
    out.push(MAGIC);
    out.extend_from_slice(&id.to_be_bytes());
}

/// Schema id and record of framed bytes.
///
/// # Errors
/// They are too short or begin with something else.
pub fn unframe(framed: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match framed.split_first_chunk::<FRAME_BYTES>() {
        Some(([MAGIC, a, b, c, d], rest)) => Ok((u32::from_be_bytes([*a, *b, *c, *d]), rest)),
        _ => Err(DecodeError::NotFramed),
    }
}

type Reader = Arc<GenericDatumReader<'static>>;

/// The client side of a registry. Clones share what is known.
#[derive(Clone)]
pub struct Codec {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    /// By subject and schema text.
    ids: RwLock<HashMap<(String, String), u32>>,
    /// Schemas are leaked: their number is the number of ids seen, which is that of schemas ever registered.
    writers: RwLock<HashMap<u32, &'static Schema>>,
    /// By writer's id and the reader schema's address; 0 stands for the writer's own.
    readers: RwLock<HashMap<(u32, usize), Reader>>,
}

impl Codec {
    /// Makes no call yet.
    ///
    /// # Errors
    /// The address is no http address, or its password or certificates cannot be read.
    pub fn new(access: &Access) -> Result<Self, CodecError> {
        let shared = Shared {
            client: Client::new(access)?,
            ids: RwLock::default(),
            writers: RwLock::default(),
            readers: RwLock::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Registers all subjects, or finds them, in order; waits for a registry that is away, up to `patience` in all.
    ///
    /// # Errors
    /// The registry stayed away, or refuses one.
    pub async fn register(&self, subjects: &[Subject], patience: Duration) -> Result<Vec<u32>, CodecError> {
        let until = Instant::now() + patience;
        let mut ids = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let mut pause = FIRST_PAUSE;
            ids.push(loop {
                match self.register_one(subject).await {
                    Ok(id) => break id,
                    Err(error) if !error.is_retryable() => return Err(error),
                    Err(error) if Instant::now() + pause > until => {
                        return Err(CodecError::GaveUp { patience, source: Box::new(error) });
                    }
                    Err(error) => {
                        tracing::warn!(
                            subject = subject.name,
                            error = &error as &dyn std::error::Error,
                            "waiting for the schema registry"
                        );
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            });
        }
        Ok(ids)
    }

    async fn register_one(&self, subject: &Subject) -> Result<u32, CodecError> {
        if let Some(level) = &subject.compatibility {
            self.shared.client.set_level(&subject.name, level).await?;
        }
        self.id_for(&subject.name, &subject.schema).await
    }

    /// Asks the registry whether it lets us in, and by which time it answers (RFC 9110's `Date`), if it says so.
    ///
    /// # Errors
    /// The registry is away or refuses us.
    pub async fn date(&self) -> Result<Option<String>, CodecError> {
        self.shared.client.date().await
    }

    /// What would become of the schema if it were registered now. Changes nothing.
    ///
    /// # Errors
    /// The registry is away or refuses the question.
    pub async fn look(&self, subject: &str, schema: &str) -> Result<Standing, CodecError> {
        self.shared.client.look(subject, schema).await
    }

    /// The id of the schema under the subject; asks the registry the first time.
    ///
    /// # Errors
    /// The registry is away or refuses.
    pub async fn id_for(&self, subject: &str, schema: &str) -> Result<u32, CodecError> {
        if let Some(id) = self.cached_id(subject, schema) {
            return Ok(id);
        }
        let id = self.shared.client.register(subject, schema).await?;
        write(&self.shared.ids).insert((subject.to_owned(), schema.to_owned()), id);
        Ok(id)
    }

    /// The same without a call.
    #[must_use]
    pub fn cached_id(&self, subject: &str, schema: &str) -> Option<u32> {
        read(&self.shared.ids).get(&(subject.to_owned(), schema.to_owned())).copied()
    }

    /// Reads a framed record as it was written.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub async fn decode(&self, framed: &[u8]) -> Result<Value, DecodeError> {
        self.read(framed, None).await
    }

    /// Reads a framed record as `reader` has it.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub async fn decode_as(&self, framed: &[u8], reader: &'static Schema) -> Result<Value, DecodeError> {
        self.read(framed, Some(reader)).await
    }

    /// Reads a framed record into a struct that has fields of `reader`.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub async fn decode_into<T: DeserializeOwned>(
        &self,
        framed: &[u8],
        reader: &'static Schema,
    ) -> Result<T, DecodeError> {
        let (id, _) = unframe(framed)?;
        let value = self.decode_as(framed, reader).await?;
        apache_avro::from_value(&value).map_err(|source| DecodeError::BadBytes { id, source: Box::new(source) })
    }

    /// The schema of an id, as it was registered.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub async fn schema(&self, id: u32) -> Result<&'static Schema, DecodeError> {
        self.writer(id).await
    }

    /// The same for threads outside of the async runtime.
    #[must_use]
    pub fn blocking(&self, handle: tokio::runtime::Handle) -> BlockingCodec {
        BlockingCodec { codec: self.clone(), handle }
    }

    /// Deletes every subject whose name begins with `prefix`, for good. Gives their names.
    ///
    /// # Errors
    /// The prefix is empty, or the registry is away or refuses.
    pub async fn delete_subjects(&self, prefix: &str) -> Result<Vec<String>, CodecError> {
        if prefix.is_empty() {
            return Err(CodecError::EmptyPrefix);
        }
        let mut subjects = self.shared.client.subjects().await?;
        subjects.retain(|subject| subject.starts_with(prefix));
        for subject in &subjects {
            self.shared.client.delete_subject(subject).await?;
        }
        write(&self.shared.ids).retain(|(subject, _), _| !subject.starts_with(prefix));
        Ok(subjects)
    }

    async fn read(&self, framed: &[u8], reader: Option<&'static Schema>) -> Result<Value, DecodeError> {
        let (id, mut bytes) = unframe(framed)?;
        let datum_reader = self.reader(id, reader).await?;
        let bad = |source| DecodeError::BadBytes { id, source: Box::new(source) };
        datum_reader.read_value(&mut bytes).map_err(bad)
    }

    async fn reader(&self, id: u32, reader: Option<&'static Schema>) -> Result<Reader, DecodeError> {
        let key = (id, reader.map_or(0, |schema| std::ptr::from_ref(schema).addr()));
        if let Some(found) = read(&self.shared.readers).get(&key) {
            return Ok(Arc::clone(found));
        }
        let writer = self.writer(id).await?;
        let made = GenericDatumReader::builder(writer).maybe_reader_schema(reader).build();
        let made = Arc::new(made.map_err(|source| DecodeError::BadSchema { id, source: Box::new(source) })?);
        Ok(Arc::clone(write(&self.shared.readers).entry(key).or_insert(made)))
    }

    async fn writer(&self, id: u32) -> Result<&'static Schema, DecodeError> {
        if let Some(found) = read(&self.shared.writers).get(&id) {
            return Ok(found);
        }
        let text = self.shared.client.schema_text(id).await;
        let text = text.map_err(|source| DecodeError::Registry { id, source: Box::new(source) })?;
        let text = text.ok_or(DecodeError::UnknownSchema(id))?;
        let parsed = Schema::parse_str(&text);
        let parsed = parsed.map_err(|source| DecodeError::BadSchema { id, source: Box::new(source) })?;
        // Two tasks may come here at once: only one of the two is leaked.
        Ok(write(&self.shared.writers).entry(id).or_insert_with(|| Box::leak(Box::new(parsed))))
    }
}

/// [`Codec`] for threads of their own. Its methods panic on a thread of the async runtime.
#[derive(Clone)]
pub struct BlockingCodec {
    codec: Codec,
    handle: tokio::runtime::Handle,
}

impl BlockingCodec {
    /// As [`Codec::register`].
    ///
    /// # Errors
    /// The registry stayed away, or refuses one.
    pub fn register(&self, subjects: &[Subject], patience: Duration) -> Result<Vec<u32>, CodecError> {
        self.handle.block_on(self.codec.register(subjects, patience))
    }

    /// As [`Codec::id_for`].
    ///
    /// # Errors
    /// The registry is away or refuses.
    pub fn id_for(&self, subject: &str, schema: &str) -> Result<u32, CodecError> {
        self.handle.block_on(self.codec.id_for(subject, schema))
    }

    /// As [`Codec::decode`].
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(&self, framed: &[u8]) -> Result<Value, DecodeError> {
        self.handle.block_on(self.codec.decode(framed))
    }

    /// As [`Codec::decode_as`].
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode_as(&self, framed: &[u8], reader: &'static Schema) -> Result<Value, DecodeError> {
        self.handle.block_on(self.codec.decode_as(framed, reader))
    }

    /// As [`Codec::decode_into`].
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode_into<T: DeserializeOwned>(&self, framed: &[u8], reader: &'static Schema) -> Result<T, DecodeError> {
        self.handle.block_on(self.codec.decode_into(framed, reader))
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
