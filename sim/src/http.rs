//! Small pieces of HTTP that every simulated vendor is made of.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::{Full, Limited};

/// A header that is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An answer in JSON, with further headers.
pub(crate) fn json(status: u16, headers: &[(String, String)], body: String) -> Response {
    answer(status, "application/json", headers, body)
}

/// An answer, with further headers.
pub(crate) fn answer(status: u16, content_type: &str, headers: &[(String, String)], body: String) -> Response {
    let mut builder = Response::builder()
        .status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header("Content-Type", content_type);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(Body::from(body)).unwrap_or_default()
}

/// Half of a body: either the connection breaks, or the vendor takes half for the whole.
pub(crate) fn truncated(content_type: &str, headers: &[(String, String)], body: String, breaks: bool) -> Response {
    let cut = body.char_indices().nth(body.chars().count() / 2).map_or(0, |(at, _)| at);
    if breaks {
        let mut response = answer(200, content_type, headers, String::new());
        // Promises `cut` bytes and fails before the first.
        *response.body_mut() = Body::new(Limited::new(Full::new(Bytes::from(body)), cut));
        return response;
    }
    answer(200, content_type, headers, body.get(..cut).unwrap_or("").to_owned())
}

/// The parameters of a query, decoded, in their order.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                bytes.extend(hex::decode(digits).unwrap_or_default());
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
