//! One gRPC call over HTTP/2 without TLS: the bytes of a request in, whether it was taken out.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;

const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// In front of a message: not compressed, and its length.
const FRAME_BYTES: usize = 5;

/// A collector, with the connection that the last call left.
pub(super) struct Collector {
    /// `HOST:PORT`.
    address: String,
    connection: Option<SendRequest<Bytes>>,
}

impl Collector {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), connection: None }
    }

    /// # Errors
    /// What went wrong; the next call connects anew.
    pub(super) async fn export(&mut self, message: &[u8]) -> Result<(), String> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.address).await?,
        };
        let connection = connection.ready().await.map_err(|error| error.to_string())?;
        let request = Request::post(format!("http://{}{METHOD}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("hirewire/", env!("CARGO_PKG_VERSION")));
        let request = request.body(()).map_err(|error| error.to_string())?;
        let told = call(connection.clone(), request, message).await.map_err(|error| error.to_string())?;
        self.connection = Some(connection);
        match told.as_deref() {
            Some("0") => Ok(()),
            Some(status) => Err(format!("it answers gRPC status {status}")),
            None => Err("it answers without a gRPC status: is that the port of gRPC?".to_owned()),
        }
    }
}

async fn connect(address: &str) -> Result<SendRequest<Bytes>, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (connection, driver) = h2::client::handshake(stream).await.map_err(|error| error.to_string())?;
    // It ends with the last handle of the connection; what ends it is told to whoever calls next.
    tokio::spawn(driver);
    Ok(connection)
}

/// The status of the answer: of its trailers, or of its headers when it has nothing else.
async fn call(
    mut connection: SendRequest<Bytes>,
    request: Request<()>,
    message: &[u8],
) -> Result<Option<String>, h2::Error> {
    let mut frame = Vec::with_capacity(FRAME_BYTES + message.len());
    frame.push(0);
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(message);
    let (answer, mut body) = connection.send_request(request, false)?;
    body.send_data(frame.into(), true)?;
    let (head, mut body) = answer.await?.into_parts();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    let trailers = body.trailers().await?;
    let status = |headers: &HeaderMap| Some(headers.get("grpc-status")?.to_str().ok()?.to_owned());
    Ok(trailers.as_ref().and_then(status).or_else(|| status(&head.headers)))
}
