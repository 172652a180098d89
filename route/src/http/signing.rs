//! Standard Webhooks v1: HMAC-SHA256 over `id.timestamp.body`.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>. Two secrets during a
//! rotation give two signatures in one header, so that the receiver may know either.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hirewire_service::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secrets that sign a sink's requests: one, or two during a rotation.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    secrets: Vec<Secret>,
}

/// Why nothing could be signed. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    #[error("a signing secret cannot be read")]
    Unreadable(#[from] hirewire_service::SecretError),
    #[error("a signing secret is not `whsec_` and 24 to 64 bytes in base64; write such a one into its file")]
    Shape,
}

impl Signer {
    pub(crate) fn new(secrets: Vec<Secret>) -> Self {
        Self { secrets }
    }

    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// The value of `webhook-signature`.
    ///
    /// # Errors
    /// When no secret, or one of the wrong shape, can be read.
    pub(crate) fn sign(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> Result<String, SigningError> {
        let mut signatures = Vec::with_capacity(self.secrets.len());
        for secret in &self.secrets {
            let key = key(&secret.bytes()?).ok_or(SigningError::Shape)?;
            signatures.push(signature(&key, id, timestamp_secs, body).ok_or(SigningError::Shape)?);
        }
        Ok(signatures.join(" "))
    }
}

/// The key bytes of a `whsec_…` text.
fn key(secret: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(secret).ok()?.trim();
    let key = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

fn signature(key: &[u8], id: &str, timestamp_secs: i64, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{id}.{timestamp_secs}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification's own libraries (`libraries/javascript/src/webhook.test.ts`).
    #[test]
    fn the_specifications_vector_is_met() {
        let signer = Signer::new(vec![Secret::from_value("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
        let signed = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_rotation_signs_with_both_and_a_wrong_shape_is_refused() {
        let one = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let two = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let signed = Signer::new(vec![Secret::from_value(one), Secret::from_value(two)]).sign("m", 1, b"x").unwrap();
        let each: Vec<&str> = signed.split(' ').collect();
        assert_eq!(each.len(), 2);
        assert!(each.iter().all(|signature| signature.starts_with("v1,")));
        assert_ne!(each[0], each[1]);
        for wrong in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_!"] {
            assert!(Signer::new(vec![Secret::from_value(wrong)]).sign("m", 1, b"x").is_err(), "{wrong}");
        }
    }
}
