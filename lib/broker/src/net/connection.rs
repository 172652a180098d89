//! One client connection: frames in, frames out, answers in the order of the requests.
//!
//! In: a stream; out: calls of the API handlers. Requests are handled one after the other; only a produce request lets the
//! next begin while it waits for the disk. What is under way takes room, and where there is none the next request waits.
//! What cannot be decoded ends this connection, with one log line.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tracing::{debug, warn};

use super::authentication::Gate;
use super::{errors, shape, versions};
use crate::api::{self, Client, Later, Reply};
use crate::core::Core;

/// Answers that may wait for the disk at once, per connection.
const MAX_PIPELINED: usize = 64;

/// A client that still has to say who it is needs no larger requests.
const MAX_UNAUTHENTICATED_BYTES: usize = 64 * 1024;

/// Why a connection ends early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("a request of {bytes} bytes, more than allowed")]
    TooLarge { bytes: i64 },
    #[error("unknown API {key}")]
    UnknownApi { key: i16 },
    #[error("API {api:?} in version {version}, which is not supported")]
    UnsupportedVersion { api: ApiKey, version: i16 },
    #[error("{api:?} before the client has said who it is")]
    Stranger { api: ApiKey },
    #[error("the client could not say who it is")]
    NotAuthenticated,
    #[error("malformed {api:?} request of version {version}")]
    Malformed { api: ApiKey, version: i16 },
    #[error("the answer to {api:?} of version {version} cannot be encoded: {reason}")]
    Unencodable { api: ApiKey, version: i16, reason: String },
}

struct Pending {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    reply: Reply,
}

/// What the writer gets: an answer, or what will become one, with the room that it takes until it is written.
struct Outgoing {
    answer: Answer,
    room: Option<OwnedSemaphorePermit>,
}

enum Answer {
    Encoded(BytesMut),
    Later { api: ApiKey, version: i16, correlation_id: i32, response: Later },
}

/// Room for the bytes that are under way in one connection, in KiB.
struct Room {
    free: Arc<Semaphore>,
    kib: usize,
}

impl Room {
    fn new(bytes: usize) -> Self {
        let kib = bytes.div_ceil(1024).max(1);
        Self { free: Arc::new(Semaphore::new(kib)), kib }
    }

    /// As soon as there is enough; what is larger than all of it waits until nothing else is under way.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = bytes.div_ceil(1024).min(self.kib);
        self.free.clone().acquire_many_owned(u32::try_from(wanted).unwrap_or(u32::MAX)).await.ok()
    }
}

pub(crate) async fn serve(
    core: Arc<Core>,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    mut closing: watch::Receiver<bool>,
) {
    let (to_writer, pending) = mpsc::channel(MAX_PIPELINED);
    let writing = tokio::spawn(write(core.clone(), writer, pending));
    let ended = tokio::select! {
        ended = read(&core, reader, peer, &to_writer) => ended,
        _ = closing.wait_for(|closing| *closing) => Ok(()),
    };
    drop(to_writer);
    match ended {
        Ok(()) => {}
        Err(Broken::Io(problem)) => debug!(%peer, error = %problem, "connection lost"),
        Err(problem) => warn!(%peer, error = %problem, "connection closed"),
    }
    if *closing.borrow() {
        writing.abort();
    }
    match writing.await {
        Ok(Err(Broken::Io(problem))) => debug!(%peer, error = %problem, "connection lost"),
        Ok(Err(problem)) => warn!(%peer, error = %problem, "connection closed"),
        Ok(Ok(())) | Err(_) => {}
    }
}

async fn read(
    core: &Arc<Core>,
    mut reader: impl AsyncRead + Unpin,
    peer: SocketAddr,
    to_writer: &mpsc::Sender<Outgoing>,
) -> Result<(), Broken> {
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    let room = Room::new(core.settings.max_connection_bytes);
    let mut gate = Gate::new(&core.users);
    loop {
        // Nobody's memory is filled by who has not said who it is.
        let limit = if gate.is_open() { core.settings.max_request_bytes } else { MAX_UNAUTHENTICATED_BYTES };
        let Some(frame) = next_frame(&mut reader, &mut buffer, limit.min(core.settings.max_request_bytes)).await?
        else {
            return Ok(());
        };
        core.metrics.bytes_in.inc_by(frame.len() as u64 + 4);
        let taken = room.take(frame.len()).await;
        let (Pending { api, version, correlation_id, reply }, ends) = handle(core, frame, peer, &mut gate).await?;
        let outgoing = match reply {
            Reply::Nothing => None,
            Reply::Now(response) => {
                drop(taken);
                let bytes = encode(core, api, version, correlation_id, &response)?;
                Some(Outgoing { room: room.take(bytes.len()).await, answer: Answer::Encoded(bytes) })
            }
            Reply::Later(response) => {
                Some(Outgoing { room: taken, answer: Answer::Later { api, version, correlation_id, response } })
            }
        };
        if let Some(outgoing) = outgoing
            && to_writer.send(outgoing).await.is_err()
        {
            // The writer has ended, and says why.
            return Ok(());
        }
        if ends {
            core.metrics.refused_authentications.inc();
            return Err(Broken::NotAuthenticated);
        }
        if buffer.is_empty() && buffer.capacity() > 256 * 1024 {
            buffer = BytesMut::with_capacity(8 * 1024);
        }
    }
}

async fn next_frame(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    limit: usize,
) -> Result<Option<Bytes>, Broken> {
    loop {
        if buffer.len() >= 4 {
            let size = i32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
            let size = usize::try_from(size).ok().filter(|size| *size <= limit && *size >= 8);
            let Some(size) = size else {
                return Err(Broken::TooLarge { bytes: i64::from(buffer.get_i32()) });
            };
            if buffer.len() >= 4 + size {
                buffer.advance(4);
                return Ok(Some(buffer.split_to(size).freeze()));
            }
            // Grow with what really comes, not with what a length field promises.
            buffer.reserve((4 + size - buffer.len()).min(1024 * 1024));
        }
        if reader.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Header and body of a request in a supported version; `None` if it is not what its API and version say.
pub(crate) fn decode(api: ApiKey, version: i16, frame: &mut Bytes) -> Option<(RequestHeader, RequestKind)> {
    let header = RequestHeader::decode(frame, api.request_header_version(version)).ok()?;
    if !shape::fits(api, version, frame) {
        return None;
    }
    let request = RequestKind::decode(api, frame, version).ok()?;
    Some((header, request))
}

/// The answer to a request, and whether the connection ends with it.
async fn handle(
    core: &Arc<Core>,
    mut frame: Bytes,
    peer: SocketAddr,
    gate: &mut Gate<'_>,
) -> Result<(Pending, bool), Broken> {
    let (key, version) = (i16::from_be_bytes([frame[0], frame[1]]), i16::from_be_bytes([frame[2], frame[3]]));
    let correlation_id = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let api = ApiKey::try_from(key).map_err(|()| Broken::UnknownApi { key })?;
    core.metrics.requests.with_label_values(&[&format!("{api:?}")]).inc();
    if !versions::is_supported(api, version) {
        if api == ApiKey::ApiVersions {
            // A newer client asks for too much: it is told in the oldest version, which all understand.
            let response = versions::response(kafka_protocol::ResponseError::UnsupportedVersion.code());
            let reply = Reply::Now(Box::new(response.into()));
            return Ok((Pending { api, version: 0, correlation_id, reply }, false));
        }
        return Err(Broken::UnsupportedVersion { api, version });
    }
    let (header, request) = decode(api, version, &mut frame).ok_or(Broken::Malformed { api, version })?;
    let now = |response: ResponseKind| Pending { api, version, correlation_id, reply: Reply::Now(Box::new(response)) };
    match &request {
        RequestKind::SaslHandshake(request) => return Ok((now(gate.handshake(request).into()), false)),
        RequestKind::SaslAuthenticate(request) => {
            let verdict = gate.authenticate(request).await;
            return Ok((now(verdict.response.into()), verdict.ends));
        }
        RequestKind::ApiVersions(_) => {}
        _ if !gate.is_open() => return Err(Broken::Stranger { api }),
        _ => {}
    }
    let client =
        Client { id: header.client_id.map(|id| id.to_string()).unwrap_or_default(), host: format!("/{}", peer.ip()) };
    let reply = Box::pin(api::handle(core, client, request, version)).await;
    Ok((Pending { api, version, correlation_id, reply }, false))
}

async fn write(
    core: Arc<Core>,
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> Result<(), Broken> {
    while let Some(Outgoing { answer, room }) = outgoing.recv().await {
        let bytes = match answer {
            Answer::Encoded(bytes) => bytes,
            Answer::Later { api, version, correlation_id, response } => {
                encode(&core, api, version, correlation_id, &response.await)?
            }
        };
        writer.write_all(&bytes).await?;
        core.metrics.bytes_out.inc_by(bytes.len() as u64);
        drop(room);
    }
    Ok(())
}

/// The answer in the client's bytes; its errors are counted.
fn encode(
    core: &Core,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &ResponseKind,
) -> Result<BytesMut, Broken> {
    for code in errors::codes(response) {
        core.metrics.errors.with_label_values(&[&format!("{api:?}"), &code.to_string()]).inc();
    }
    let mut bytes = BytesMut::with_capacity(256);
    bytes.put_i32(0);
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut bytes, api.response_header_version(version))
        .and_then(|()| response.encode(&mut bytes, version))
        .map_err(|problem| Broken::Unencodable { api, version, reason: problem.to_string() })?;
    let size = i32::try_from(bytes.len() - 4).unwrap_or(i32::MAX);
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    Ok(bytes)
}
