//! A registry of a test's own, on a free port, and plain calls to it.
#![allow(dead_code)]

use hirewire_registry::{Registry, server};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) url: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
    http: Client,
}

impl Server {
    pub(crate) async fn start(dir: &TempDir) -> Self {
        Self::start_at(dir, "127.0.0.1:0").await
    }

    pub(crate) async fn start_at(dir: &TempDir, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let registry = Registry::open(dir.path()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(server::serve(listener, registry, async {
            stopped.await.unwrap();
        }));
        // One connection a call: an idle kept one would hold up the server's stop.
        let http = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { url, stop, served, http }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/vnd.schemaregistry.v1+json", "{path}");
        let status = response.status();
        (status, response.json().await.unwrap())
    }

    /// Expects success.
    pub(crate) async fn ok(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert_eq!(status, StatusCode::OK, "{method} {path}: {answer}");
        answer
    }

    /// Expects a refusal: status, code and a message.
    pub(crate) async fn refused(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        status: u16,
        code: u32,
    ) -> String {
        let (found, answer) = self.call(method, path, body).await;
        assert_eq!((found.as_u16(), answer["error_code"].as_u64()), (status, Some(code.into())), "{path}: {answer}");
        answer["message"].as_str().unwrap().to_owned()
    }
}
