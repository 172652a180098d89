//! An HTTP/1.1 receiver on a port of its own that answers as a test says.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How a receiver answers one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With what was sent, repeated.
    Status(u16),
    /// After a while, in which the attempt is under way.
    Slowly(u16),
    /// A status and a body.
    Says(u16, &'static str),
    /// 429 with `Retry-After: 1`.
    Throttle,
    /// 503 with `Retry-After: 30`.
    Later,
    /// Nothing, until the sender gives up.
    Silence,
    /// The connection is closed without an answer.
    Reset,
    /// 302 to the receiver itself.
    Redirect,
    /// 200, and then a body that comes a byte at a time.
    Drip,
    /// 200, and then a body that never ends.
    Endless,
}

impl Answer {
    /// Whether it says that the request was taken.
    fn is_taken(self) -> bool {
        matches!(self, Self::Status(200..=299) | Self::Slowly(200..=299) | Self::Says(200..=299, _))
    }
}

/// One request as a receiver saw it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Method and path.
    pub(crate) line: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) raw: Vec<u8>,
    pub(crate) body: Value,
    pub(crate) answered: Answer,
}

impl Received {
    pub(crate) fn application(&self) -> &str {
        self.body["application_id"].as_str().unwrap_or_default()
    }
}

type Script = Box<dyn FnMut(&Value) -> Answer + Send>;

/// Answers as its script says, and keeps what it saw.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Received>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
    /// The bytes of answers without an end that could be written.
    pub(crate) poured: Arc<AtomicUsize>,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    pub(crate) async fn start(script: impl FnMut(&Value) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self::at(listener.local_addr().unwrap(), script);
        receiver.listen(listener);
        receiver
    }

    /// One that refuses every connection, on a port that stays its own, until the socket listens.
    pub(crate) fn refusing() -> (Self, TcpSocket) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        (Self::at(socket.local_addr().unwrap(), |_| Answer::Reset), socket)
    }

    fn at(address: SocketAddr, script: impl FnMut(&Value) -> Answer + Send + 'static) -> Self {
        let script: Script = Box::new(script);
        let script = Arc::new(Mutex::new(script));
        Self { address, seen: Arc::default(), connections: Arc::default(), poured: Arc::default(), script }
    }

    pub(crate) fn listen(&self, listener: TcpListener) {
        let serving = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *serving.connections.lock().unwrap() += 1;
                let one = serving.clone();
                tokio::spawn(async move { one.serve(stream).await });
            }
        });
    }

    pub(crate) fn answer(&self, script: impl FnMut(&Value) -> Answer + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn taken(&self) -> Vec<Received> {
        self.all().into_iter().filter(|received| received.answered.is_taken()).collect()
    }

    pub(crate) fn count_taken(&self) -> usize {
        self.seen.lock().unwrap().iter().filter(|received| received.answered.is_taken()).count()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        loop {
            let Some((line, headers, raw)) = read_request(&mut stream, &mut buffer).await else { return };
            let body: Value = serde_json::from_slice(&raw).unwrap_or(Value::Null);
            let answered = (self.script.lock().unwrap())(&body);
            let received = Received { line, headers, raw: raw.clone(), body, answered };
            self.seen.lock().unwrap().push(received);
            let answer = match answered {
                // Receivers like to repeat what they did not like.
                Answer::Status(status) => {
                    let said = String::from_utf8_lossy(&raw);
                    format!("HTTP/1.1 {status} {status}\r\ncontent-length: {}\r\n\r\n{said}", said.len())
                }
                Answer::Says(status, body) => {
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                }
                Answer::Slowly(status) => {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n")
                }
                Answer::Throttle => "HTTP/1.1 429 x\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n".to_owned(),
                Answer::Later => "HTTP/1.1 503 x\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n".to_owned(),
                Answer::Redirect => {
                    format!("HTTP/1.1 302 x\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", self.address)
                }
                Answer::Silence => {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    return;
                }
                Answer::Reset => return,
                Answer::Drip | Answer::Endless => "HTTP/1.1 200 x\r\ncontent-length: 9999999999\r\n\r\n".to_owned(),
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            let (piece, pause) = match answered {
                Answer::Drip => (vec![b'x'; 1], Duration::from_millis(100)),
                Answer::Endless => (vec![b'x'; 65_536], Duration::ZERO),
                _ => continue,
            };
            while stream.write_all(&piece).await.is_ok() {
                self.poured.fetch_add(piece.len(), Ordering::Relaxed);
                tokio::time::sleep(pause).await;
            }
            return;
        }
    }
}

type Parts = (String, HashMap<String, String>, Vec<u8>);

/// Method and path, headers, body.
pub(crate) async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Parts> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head: Vec<u8> = buffer.drain(..head_end).collect();
    let head = String::from_utf8(head).ok()?;
    let line = head.lines().next()?.rsplit_once(' ')?.0.to_owned();
    let headers: HashMap<String, String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some((line, headers, buffer.drain(..length).collect()))
}

/// Answers of each key in turn, then 200.
pub(crate) fn by_key(mut scripts: HashMap<String, VecDeque<Answer>>) -> impl FnMut(&Value) -> Answer + Send {
    move |body| {
        let key = body["application_id"].as_str().unwrap_or_default();
        scripts.get_mut(key).and_then(VecDeque::pop_front).unwrap_or(Answer::Status(200))
    }
}
