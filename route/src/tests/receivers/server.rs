//! A receiver on a port of its own, which answers as it is told and closes each connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::shape::Asked;
use crate::tests::support::read_request;

/// What it does with a request.
#[derive(Debug, Clone)]
pub(in crate::tests) enum Reply {
    /// As an `answer` of `answers/<case>.json` says: status, headers, body.
    Says(Value),
    /// Nothing, until the sender gives up.
    Silence,
    /// The connection is closed without an answer.
    Reset,
}

/// Starts one; gives its port.
pub(in crate::tests) async fn start(answer: impl FnMut(Asked) -> Reply + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(Mutex::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { serve(stream, |asked| (answer.lock().unwrap())(asked)).await });
        }
    });
    port
}

async fn serve(mut stream: TcpStream, mut answer: impl FnMut(Asked) -> Reply) {
    let Some((line, headers, raw)) = read_request(&mut stream, &mut Vec::new()).await else { return };
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let reply = answer(Asked {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        headers: headers.into_iter().collect(),
        body: serde_json::from_slice(&raw).unwrap_or(Value::Null),
    });
    match reply {
        Reply::Says(said) => say(stream, said).await,
        Reply::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
        Reply::Reset => {}
    }
}

async fn say(mut stream: TcpStream, said: Value) {
    let body = match &said["body"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    let headers = said["headers"].as_object().into_iter().flatten();
    let headers: String = headers.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap())).collect();
    let (status, length) = (&said["status"], body.len());
    let whole = format!("HTTP/1.1 {status} x\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    let _sent = stream.write_all(whole.as_bytes()).await;
    let _shut = stream.shutdown().await;
}
