//! One client connection: frames in, frames out, answers in the order of the requests.
//!
//! In: a stream; out: calls of the API handlers. Requests are handled one after the other; only a produce request lets the
//! next begin while it waits for the disk. What cannot be decoded ends this connection, with one log line.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::authentication::Gate;
use super::{errors, shape, versions};
use crate::api::{self, Client, Reply};
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
    to_writer: &mpsc::Sender<Pending>,
) -> Result<(), Broken> {
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    let mut gate = Gate::new(&core.users);
    loop {
        // Nobody's memory is filled by who has not said who it is.
        let limit = if gate.is_open() { core.settings.max_request_bytes } else { MAX_UNAUTHENTICATED_BYTES };
        let Some(frame) = next_frame(&mut reader, &mut buffer, limit.min(core.settings.max_request_bytes)).await?
        else {
            return Ok(());
        };
        core.metrics.bytes_in.inc_by(frame.len() as u64 + 4);
        let (pending, ends) = handle(core, frame, peer, &mut gate).await?;
        if to_writer.send(pending).await.is_err() {
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
    let malformed = || Broken::Malformed { api, version };
    let header = RequestHeader::decode(&mut frame, api.request_header_version(version)).map_err(|_| malformed())?;
    if !shape::fits(api, version, &frame) {
        return Err(malformed());
    }
    let request = RequestKind::decode(api, &mut frame, version).map_err(|_| malformed())?;
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
    mut pending: mpsc::Receiver<Pending>,
) -> Result<(), Broken> {
    while let Some(next) = pending.recv().await {
        let response = match next.reply {
            Reply::Nothing => continue,
            Reply::Now(response) => *response,
            Reply::Later(response) => response.await,
        };
        for code in errors::codes(&response) {
            core.metrics.errors.with_label_values(&[&format!("{:?}", next.api), &code.to_string()]).inc();
        }
        let bytes = encode(next.api, next.version, next.correlation_id, &response)?;
        writer.write_all(&bytes).await?;
        core.metrics.bytes_out.inc_by(bytes.len() as u64);
    }
    Ok(())
}

fn encode(api: ApiKey, version: i16, correlation_id: i32, response: &ResponseKind) -> Result<BytesMut, Broken> {
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
