//! The other end of HTTP/1.1, by hand: a receiver that keeps what it is sent, and a client that sees an answer as it stands.
//!
//! What goes wrong in a receiver ends the test that looks at it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Who has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(120);

/// A request as it was received.
pub struct Request {
    /// `POST /path HTTP/1.1`.
    pub first: String,
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
    /// The status that it was answered with.
    pub answered: u16,
}

impl Request {
    #[must_use]
    pub fn path(&self) -> &str {
        self.first.split(' ').nth(1).unwrap()
    }

    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Keeps every request and answers it: a sink's receiver, a vendor's API, a collector.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    status: Arc<AtomicU16>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    /// At a free address; answers 200 until it is told otherwise.
    #[must_use]
    pub fn start() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self { address, status: Arc::new(AtomicU16::new(200)), requests: Arc::default() };
        let own = receiver.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let own = own.clone();
                std::thread::spawn(move || while own.take(connection.as_ref().unwrap()).is_some() {});
            }
        });
        receiver
    }

    /// What is received from now on is answered so.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Everything so far. Nothing is answered while it is held.
    pub fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap()
    }

    /// One request of a connection; `None` at its end.
    fn take(&self, mut connection: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(connection);
        let (mut first, mut headers) = (String::new(), BTreeMap::new());
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).ok()?;
        let answered = self.status.load(Ordering::SeqCst);
        let first = first.trim_end().to_owned();
        self.requests().push(Request { first, headers, body, at: Instant::now(), answered });
        write!(connection, "HTTP/1.1 {answered} x\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{{}}")
            .ok()
    }
}

/// The whole answer to a GET.
///
/// # Errors
/// When nobody answers.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), &[])
}

/// The whole answer to a POST of JSON. `headers` each end with CR LF.
///
/// # Errors
/// When nobody answers.
pub fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> std::io::Result<String> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    exchange(address, &head, body)
}

/// The whole answer to a PUT of a text.
///
/// # Errors
/// When nobody answers.
pub fn put(address: SocketAddr, path: &str, text: &str) -> std::io::Result<String> {
    let length = text.len();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    exchange(address, &head, text.as_bytes())
}

fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
