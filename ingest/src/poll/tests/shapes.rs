//! A vendor in a test's own process that answers each path and page with what it was told to.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;

use super::serving::{plain, serve};
use super::*;

/// Name and value of a header.
type Header = (&'static str, &'static str);

type Answer = (Vec<Header>, String);

#[derive(Clone, Default)]
pub(super) struct Shapes {
    manifest: &'static str,
    /// Headers that each request must have, each once.
    demands: Vec<Header>,
    /// By path and page.
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
    pub(super) address: String,
}

impl Shapes {
    pub(super) async fn start(manifest: &'static str, demands: impl IntoIterator<Item = Header>) -> Self {
        let demands = demands.into_iter().collect();
        serve(|address| Self { manifest, demands, address, ..Self::default() }, answer).await
    }

    pub(super) fn put(&self, path: &str, body: &str) {
        self.put_with(path, [], body);
    }

    pub(super) fn put_with(&self, path: &str, headers: impl IntoIterator<Item = Header>, body: &str) {
        let answer = (headers.into_iter().collect(), body.to_owned());
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// The requests so far.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub(super) fn connection(&self, more: &str) -> Arc<Connection> {
        let key = tempfile::tempdir().unwrap().keep().join("key");
        std::fs::write(&key, "k3y").unwrap();
        let text =
            format!("api_key: {{file: {}}}\nretry_first: 1ms\nretry_most: 2ms\nattempts: 2\n{more}", key.display());
        connection_of(self.manifest, &text)
    }
}

async fn answer(shapes: Shapes, request: Request) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let path = request.uri().path().trim_start_matches("/v3/");
    shapes.asked.lock().unwrap().push(format!("{path}?{query}"));
    for (name, value) in &shapes.demands {
        let given: Vec<_> = request.headers().get_all(*name).iter().collect();
        if given != [value] {
            return plain(401, "");
        }
    }
    let page = query.split('&').find_map(|pair| pair.strip_prefix("page=").or(pair.strip_prefix("page%5Bnumber%5D=")));
    let key = page.map_or(path.to_owned(), |page| format!("{path} page {page}"));
    let Some((headers, body)) = shapes.answers.lock().unwrap().get(&key).cloned() else {
        return plain(404, "");
    };
    let mut response = plain(200, body);
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// The rows of a list among those that were kept.
pub(super) fn of(rows: &[(String, String, String, String)], stream: &str) -> Vec<String> {
    rows.iter().filter(|row| row.2 == stream).map(|row| row.3.clone()).collect()
}
