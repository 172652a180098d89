//! `signature_vectors.yaml`: deliveries, and whether their signature proves the vendor.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hirewire_ingest::Connection;
use hirewire_ingest::manifest::{Manifest, Place, Signature};
use hirewire_ingest::webhook::{Delivery, Verifier};
use hirewire_service::Secret;
use hirewire_yaml::{Node, Problems};
use jiff::Timestamp;

/// One delivery.
pub(crate) struct Vector {
    /// Where it stands.
    pub(crate) at: String,
    pub(crate) name: String,
    /// Those that the connection has.
    secrets: Vec<String>,
    body: String,
    /// Headers beside the signature's.
    headers: Vec<(String, String)>,
    /// Values of the signature's header, in order.
    signatures: Vec<String>,
    received_at: Timestamp,
    pub(crate) proven: bool,
}

/// Reads all vectors. There must be one that is proven and one that is not.
pub(crate) fn read(node: &Node, problems: &mut Problems) -> Vec<Vector> {
    let Some(items) = node.list(problems) else { return Vec::new() };
    let vectors: Vec<Vector> = items.iter().filter_map(|item| vector(item, problems)).collect();
    for (proven, what, hint) in [
        (
            true,
            "no vector is proven",
            "add the signature of a documented delivery, or one computed by the vendor's rule",
        ),
        (false, "every vector is proven", "add one that is altered, one that is cut off and one of another secret"),
    ] {
        if vectors.len() == items.len() && !vectors.iter().any(|vector| vector.proven == proven) {
            problems.add(node, what, hint);
        }
    }
    vectors
}

fn vector(node: &Node, problems: &mut Problems) -> Option<Vector> {
    let mut map = node.map(problems)?;
    let name = map.require("name", problems).and_then(|node| node.name(problems));
    let secrets = map.require("secrets", problems).and_then(|node| texts(node, problems));
    let body = map.require("body", problems).and_then(|node| node.text(problems));
    let headers = map.get("headers").map_or(Some(Vec::new()), |node| pairs(node, problems));
    let signatures = map.get("signatures").map_or(Some(Vec::new()), |node| texts(node, problems));
    let received_at = map.get("received_at").map_or(Some(Timestamp::now()), |node| {
        let read = node.text(problems)?.parse().ok();
        if read.is_none() {
            problems.add(node, "not an instant", "write 2026-03-08T20:00:00Z");
        }
        read
    });
    let proven = map.require("proven", problems).and_then(|node| node.boolean(problems));
    map.finish(problems);
    Some(Vector {
        at: node.location(),
        name: name?.to_owned(),
        secrets: secrets?,
        body: body?.to_owned(),
        headers: headers?,
        signatures: signatures?,
        received_at: received_at?,
        proven: proven?,
    })
}

fn texts(node: &Node, problems: &mut Problems) -> Option<Vec<String>> {
    node.list(problems)?.iter().map(|item| item.text(problems).map(str::to_owned)).collect()
}

fn pairs(node: &Node, problems: &mut Problems) -> Option<Vec<(String, String)>> {
    let mut map = node.map(problems)?;
    map.entries().map(|(_, name, value)| Some((name.to_owned(), value.text(problems)?.to_owned()))).collect()
}

impl Vector {
    /// Whether ingest would take the delivery for the vendor's.
    ///
    /// # Errors
    /// When it is no delivery at all.
    pub(crate) fn judge(&self, manifest: &Arc<Manifest>) -> Result<bool, &'static str> {
        let Some(webhook) = &manifest.webhook else { return Err("the manifest knows no webhook") };
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).map_err(|_| "a header's name that is none")?;
            headers.append(name, HeaderValue::from_str(value).map_err(|_| "a value that no header can hold")?);
        }
        for signature in &self.signatures {
            let name = match &webhook.signature {
                Signature::Hmac(hmac) => match &hmac.claim {
                    Place::Header(name) => name,
                    Place::Field(_) => return Err("the signature stands in the body: leave `signatures` out"),
                },
                Signature::Token(token) => &token.header,
                Signature::None => return Err("the manifest knows no signature"),
            };
            let name = HeaderName::try_from(name).map_err(|_| "the manifest's header is none")?;
            headers.append(name, HeaderValue::from_str(signature).map_err(|_| "a signature that no header can hold")?);
        }
        let connection = Connection {
            name: "acme-ats".to_owned(),
            tenant: "acme".to_owned(),
            manifest: manifest.clone(),
            webhook: None,
            poll: None,
        };
        let delivery = Delivery {
            connection: Arc::new(connection),
            headers,
            body: self.body.clone().into(),
            received_at: self.received_at,
        };
        let secrets: Vec<Secret> = self.secrets.iter().map(|secret| Secret::from_value(secret.clone())).collect();
        Ok(Verifier::new(&secrets).verify(&webhook.signature, delivery).is_ok())
    }
}
