//! Every vendor's signature vectors, found by walking the folder.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue};
use hirewire_ingest::manifest::Manifest;
use hirewire_ingest::webhook::{Delivery, Verifier};
use hirewire_service::Secret;
use hirewire_yaml::{Node, Problems};

#[test]
fn every_vector_of_every_vendor_is_judged_as_it_says() {
    let vendors = concat!(env!("CARGO_MANIFEST_DIR"), "/../vendors");
    let mut judged = 0;
    for vendor in std::fs::read_dir(vendors).unwrap() {
        let folder = vendor.unwrap().path();
        let Ok(vectors) = std::fs::read_to_string(folder.join("signature_vectors.yaml")) else { continue };
        let manifest = std::fs::read_to_string(folder.join("manifest.yaml")).unwrap();
        let manifest = Manifest::parse("manifest.yaml", &manifest).unwrap();
        let vectors = hirewire_yaml::parse("signature_vectors.yaml", &vectors).unwrap();
        for vector in vectors.list(&mut Problems::new()).unwrap() {
            let (name, expected, proven) = judge(&manifest, vector);
            assert_eq!(proven, expected, "{}: {name}", folder.display());
            judged += 1;
        }
    }
    assert!(judged >= 20, "{judged}");
}

fn judge(manifest: &Arc<Manifest>, vector: &Node) -> (String, bool, bool) {
    let mut problems = Problems::new();
    let mut map = vector.map(&mut problems).unwrap();
    let text = |node: &Node| node.scalar().unwrap_or_default().to_owned();
    let name = text(map.require("name", &mut problems).unwrap());
    let secrets = map.require("secrets", &mut problems).unwrap().list(&mut problems).unwrap();
    let body = text(map.require("body", &mut problems).unwrap());
    let signatures = map.require("signatures", &mut problems).unwrap().list(&mut problems).unwrap();
    let expected = map.require("proven", &mut problems).unwrap().boolean(&mut problems).unwrap();
    map.finish(&mut problems);
    assert!(problems.is_empty(), "{problems}");

    let webhook = manifest.webhook.as_ref().unwrap();
    let mut headers = HeaderMap::new();
    for signature in signatures {
        headers.append("signature", HeaderValue::from_str(&text(signature)).unwrap());
    }
    let verifier = Verifier::new(secrets.iter().map(|secret| Secret::from_value(text(secret))).collect());
    let delivery = Delivery {
        connection: Arc::new(support::connection(None, None)),
        headers,
        body: body.into(),
        received_at: jiff::Timestamp::now(),
    };
    (name, expected, verifier.verify(&webhook.signature, delivery).is_ok())
}
