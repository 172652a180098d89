//! One gRPC call over HTTP/2, with TLS or without: the bytes of a request in, whether it was taken out.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use h2::client::SendRequest;
use native_tls::{Certificate, TlsConnector};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// In front of a message: not compressed, and its length.
const FRAME_BYTES: usize = 5;

/// A collector, with the connection that the last call left.
pub(super) struct Collector {
    /// Of an IPv6 address in brackets.
    host: String,
    port: u16,
    tls: Option<tokio_native_tls::TlsConnector>,
    connection: Option<SendRequest<Bytes>>,
}

/// A connector that asks for HTTP/2, as collectors demand, and trusts the system's authorities and these.
///
/// # Errors
/// When the certificates cannot be read, or TLS cannot be set up.
pub(super) fn connector(authorities: Option<&[u8]>) -> Result<TlsConnector, native_tls::Error> {
    let mut builder = TlsConnector::builder();
    builder.request_alpns(&["h2"]);
    for authority in authorities.map(Certificate::stack_from_pem).transpose()?.into_iter().flatten() {
        builder.add_root_certificate(authority);
    }
    builder.build()
}

impl Collector {
    pub(super) fn new(host: &str, port: u16, tls: Option<TlsConnector>) -> Self {
        Self { host: host.to_owned(), port, tls: tls.map(Into::into), connection: None }
    }

    /// # Errors
    /// What went wrong; the next call connects anew.
    pub(super) async fn export(&mut self, message: &[u8]) -> Result<(), String> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let connection = connection.ready().await.map_err(|error| error.to_string())?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let request = Request::post(format!("{scheme}://{}:{}{METHOD}", self.host, self.port))
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

    async fn connect(&self) -> Result<SendRequest<Bytes>, String> {
        let stream = TcpStream::connect(format!("{}:{}", self.host, self.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else { return speak(stream).await };
        let name = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = tls.connect(name, stream).await.map_err(|error| format!("no TLS with it: {error}"))?;
        speak(stream).await
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<SendRequest<Bytes>, String> {
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
