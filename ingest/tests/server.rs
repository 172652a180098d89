//! The server around the router: slow and large requests over a real socket, and a clean stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use hirewire_ingest::webhook::{ServerLimits, serve};
use hirewire_service::Shutdown;
use support::{BODY, Inbox, SECRET, sign};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn start(inbox: &Inbox) -> (SocketAddr, Shutdown, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let limits = ServerLimits {
        max_connections: 8,
        max_header_bytes: 16 * 1024,
        header_timeout: Duration::from_millis(300),
        drain_timeout: Duration::from_secs(5),
    };
    let (router, stop) = (support::receiver(inbox), shutdown.clone());
    let task = tokio::spawn(async move {
        // The receiver owns the folder of the secret.
        let receiver = router;
        serve(listener, receiver.0.clone(), &limits, stop).await;
    });
    (address, shutdown, task)
}

async fn answer_to(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await;
    read.expect("the server must not keep a bad connection open").unwrap_or_default();
    answer
}

fn head(length: usize, more: &str) -> String {
    let signature = sign(SECRET, BODY);
    format!(
        "POST /v1/webhooks/acme-greenhouse HTTP/1.1\r\nhost: x\r\nconnection: close\r\nsignature: {signature}\r\n\
         content-length: {length}\r\n{more}\r\n"
    )
}

#[tokio::test]
async fn a_whole_request_is_kept_and_a_body_that_stops_half_way_is_408() {
    let inbox = Inbox::default();
    let (address, shutdown, task) = start(&inbox).await;
    let whole = head(BODY.len(), "") + BODY;
    assert!(answer_to(address, &whole).await.starts_with("HTTP/1.1 200 "));
    let half = head(BODY.len(), "") + BODY.get(..20).unwrap();
    assert!(answer_to(address, &half).await.starts_with("HTTP/1.1 408 "));
    assert_eq!(inbox.take().len(), 1);
    shutdown.request();
    task.await.unwrap();
}

#[tokio::test]
async fn headers_that_are_slow_or_too_large_cost_nothing_more_than_their_connection() {
    let inbox = Inbox::default();
    let (address, shutdown, task) = start(&inbox).await;
    let large = head(BODY.len(), &format!("x-large: {}\r\n", "x".repeat(32 * 1024))) + BODY;
    let answer = answer_to(address, &large).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let slow = answer_to(address, "POST /v1/webhooks/acme-greenhouse HTTP/1.1\r\nhost:").await;
    assert!(slow.is_empty() || slow.starts_with("HTTP/1.1 408 "), "{slow}");
    let whole = head(BODY.len(), "") + BODY;
    assert!(answer_to(address, &whole).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(inbox.take().len(), 1);
    shutdown.request();
    task.await.unwrap();
}

#[tokio::test]
async fn connections_above_the_bound_wait_and_are_then_served() {
    let inbox = Inbox::default();
    let (address, shutdown, task) = start(&inbox).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let whole = head(BODY.len(), "") + BODY;
    let answer = answer_to(address, &whole).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "idle connections end at the header timeout: {answer}");
    shutdown.request();
    task.await.unwrap();
}

/// Behind a plain TCP balancer a replica that stops refuses nobody.
#[tokio::test]
async fn who_has_connected_when_a_stop_is_asked_for_is_answered() {
    let inbox = Inbox::default();
    let (address, shutdown, task) = start(&inbox).await;
    // Some are accepted and have not asked yet, some are in the kernel's queue, for more than that are not served at once.
    let mut streams = Vec::new();
    for _ in 0..12 {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    shutdown.request();
    let whole = head(BODY.len(), "") + BODY;
    for stream in &mut streams {
        stream.write_all(whole.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    task.await.unwrap();
    assert_eq!(inbox.take().len(), streams.len());
    assert!(TcpStream::connect(address).await.is_err(), "who comes later goes elsewhere");
}
