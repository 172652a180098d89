//! Signatures and secrets of the simulated parties, written from the specifications: HMAC-SHA256 in hex for the vendor,
//! Standard Webhooks `v1` for the receivers. Secrets follow from the seed, so that a resumed run keeps them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// HMAC-SHA256 of `message`.
pub(crate) fn hmac(key: &[u8], message: &[&[u8]]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    for part in message {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Lower-case hex of [`hmac`].
pub(crate) fn hmac_hex(key: &[u8], message: &[u8]) -> String {
    hex::encode(hmac(key, &[message]))
}

/// 32 bytes that depend on the seed and the purpose only.
pub(crate) fn secret(seed: u64, purpose: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(purpose.as_bytes());
    hash.finalize().into()
}

/// An id in the form of a UUID.
pub(crate) fn uuid_like(seed: u64, purpose: &str) -> String {
    let text = hex::encode(secret(seed, purpose));
    let mut parts = Vec::new();
    let mut rest = text.chars();
    for length in [8, 4, 4, 4, 12] {
        parts.push(rest.by_ref().take(length).collect::<String>());
    }
    parts.join("-")
}

/// Checks a Standard Webhooks signature: `v1` over `id.timestamp.body`, any of the listed ones, within five minutes.
///
/// `secret` is the key itself, not its `whsec_` form.
pub(crate) fn standard_webhook(
    secret: &[u8],
    id: &str,
    timestamp: &str,
    list: &str,
    body: &[u8],
    now_secs: i64,
) -> bool {
    let fresh = timestamp.parse::<i64>().is_ok_and(|sent| (now_secs - sent).abs() <= 300);
    let expected = STANDARD.encode(hmac(secret, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]));
    let signed = list.split(' ').filter_map(|entry| entry.strip_prefix("v1,")).any(|given| same(given, &expected));
    fresh && signed
}

/// Equal, without telling by its time where the difference is.
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len() && left.bytes().zip(right.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// The `whsec_` form of a key.
pub(crate) fn whsec(key: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_standard_webhooks_pass_and_a_changed_body_does_not() {
        // standard-webhooks/standard-webhooks, libraries/javascript/src/webhook.test.ts
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let list = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert!(standard_webhook(&key, id, "1614265330", list, body, 1_614_265_400));
        assert!(!standard_webhook(&key, id, "1614265330", list, b"{}", 1_614_265_400));
        assert!(!standard_webhook(&key, id, "1614265330", list, body, 1_614_266_000));
        assert!(!standard_webhook(&key, id, "1614265330", "v1a,g0hM", body, 1_614_265_400));
    }
}
