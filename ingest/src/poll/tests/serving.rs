//! What every vendor in a test's own process stands on: a port of its own, and plain answers.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use tokio::net::TcpListener;

/// A vendor that knows its own address, and from now on answers there.
pub(super) async fn serve<V, A>(make: impl FnOnce(String) -> V, answer: fn(V, Request) -> A) -> V
where
    V: Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let vendor = make(format!("http://{}", listener.local_addr().unwrap()));
    let serving = vendor.clone();
    let router = Router::new().fallback(move |request: Request| answer(serving.clone(), request));
    tokio::spawn(async move { axum::serve(listener, router).await });
    vendor
}

pub(super) fn plain(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}
