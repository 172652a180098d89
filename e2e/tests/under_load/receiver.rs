//! A sink's receiver: what it was sent, and when. It answers 200 to everything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::Value;

#[derive(Clone, Default)]
pub(crate) struct Receiver(Arc<Mutex<Vec<Delivery>>>);

pub(crate) struct Delivery {
    pub(crate) application: String,
    idempotency_key: String,
    pub(crate) stage: Value,
    pub(crate) at: Instant,
    /// A receiver knows a repetition by its key: what was under way at a stop may come once more.
    pub(crate) again: bool,
}

impl Receiver {
    pub(crate) fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, receiver) = (listener.local_addr().unwrap(), self.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let receiver = receiver.clone();
                std::thread::spawn(move || while receiver.take(stream.as_ref().unwrap()).is_some() {});
            }
        });
        address
    }

    pub(crate) fn deliveries(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.0.lock().unwrap()
    }

    fn take(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("idempotency-key: ") {
                key = value.to_owned();
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let application = body["application_remote_id"].as_str().unwrap().to_owned();
        let (stage, at) = (body["stage"]["id"].clone(), Instant::now());
        let mut seen = self.deliveries();
        let again = seen.iter().any(|delivery| delivery.idempotency_key == key);
        seen.push(Delivery { application, idempotency_key: key, stage, at, again });
        drop(seen);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
    }
}
