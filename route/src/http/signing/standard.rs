//! Standard Webhooks: over `id.timestamp.body`, HMAC-SHA256 as v1 and Ed25519 as v1a.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>. What a secret signs
//! with shows in its prefix. Several secrets (two during a rotation, both kinds beside each other) give as many
//! signatures in one header, so that the receiver may know any of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hirewire_service::Secret;
use hirewire_service::hmac::Algorithm;
use jiff::Timestamp;
use openssl::pkey::{Id, PKey, Private};
use reqwest::header::{HeaderMap, HeaderValue};

use super::{SigningError, Unsigned};

/// The secrets that sign a sink's requests, in the order of their signatures.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    secrets: Vec<Secret>,
}

impl Signer {
    pub(crate) fn new(secrets: Vec<Secret>) -> Self {
        Self { secrets }
    }

    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// The three headers.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub(super) fn put(
        &self,
        request: &Unsigned<'_>,
        now: Timestamp,
        headers: &mut HeaderMap,
    ) -> Result<(), SigningError> {
        let text = |text: &str| HeaderValue::from_str(text).map_err(|_| SigningError::Shape);
        let signature = self.sign(request.key, now.as_second(), request.body)?;
        headers.insert("webhook-id", text(request.key)?);
        headers.insert("webhook-timestamp", HeaderValue::from(now.as_second()));
        headers.insert("webhook-signature", text(&signature)?);
        Ok(())
    }

    /// The value of `webhook-signature`.
    ///
    /// # Errors
    /// When no secret, or one of the wrong shape, can be read.
    pub(crate) fn sign(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> Result<String, SigningError> {
        let mut signatures = Vec::with_capacity(self.secrets.len());
        for secret in &self.secrets {
            let key = Key::read(&secret.bytes()?).ok_or(SigningError::Shape)?;
            signatures.push(key.sign(id, timestamp_secs, body).ok_or(SigningError::Shape)?);
        }
        Ok(signatures.join(" "))
    }
}

enum Key {
    Hmac(Vec<u8>),
    Ed25519(PKey<Private>),
}

impl Key {
    /// Of a `whsec_…` or `whsk_…` text.
    fn read(secret: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(secret).ok()?.trim();
        if let Some(text) = text.strip_prefix("whsk_") {
            let bytes = STANDARD.decode(text).ok()?;
            let (seed, public) = bytes.split_at_checked(32)?;
            let key = PKey::private_key_from_raw_bytes(seed, Id::ED25519).ok()?;
            let fits = public.is_empty() || key.raw_public_key().is_ok_and(|own| own == public);
            return fits.then_some(Self::Ed25519(key));
        }
        let key = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&key.len()).then_some(Self::Hmac(key))
    }

    fn sign(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> Option<String> {
        let head = format!("{id}.{timestamp_secs}.");
        match self {
            Self::Hmac(key) => {
                let hash = Algorithm::Sha256.hash(key, &[head.as_bytes(), body]);
                Some(format!("v1,{}", STANDARD.encode(hash)))
            }
            Self::Ed25519(key) => {
                let mut signer = openssl::sign::Signer::new_without_digest(key).ok()?;
                let signature = signer.sign_oneshot_to_vec(&[head.as_bytes(), body].concat()).ok()?;
                Some(format!("v1a,{}", STANDARD.encode(signature)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification's own libraries (`libraries/javascript/src/webhook.test.ts`).
    #[test]
    fn the_vector_of_v1_is_met() {
        let signer = Signer::new(vec![Secret::from_value("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
        let signed = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    const ED25519: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

    /// The signature of the specification's example of the headers; its key and body are in the tests of the server of
    /// the specification's authors (`svix/svix-webhooks`, `test_asymmetric_key_signing`).
    #[test]
    fn the_vector_of_v1a_is_met() {
        let expected = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
        let seed_alone = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
        for secret in [ED25519, seed_alone] {
            let signer = Signer::new(vec![Secret::from_value(secret)]);
            let signed = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
            assert_eq!(signed.unwrap(), expected);
        }
    }

    #[test]
    fn both_kinds_sign_beside_each_other_in_their_order() {
        let hmac = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signer = Signer::new([hmac, ED25519].map(Secret::from_value).to_vec());
        // A body need not be text.
        let signed = signer.sign("m", 1, &[0xff, 0, 1]).unwrap();
        let kinds: Vec<&str> = signed.split(' ').filter_map(|one| Some(one.split_once(',')?.0)).collect();
        assert_eq!(kinds, ["v1", "v1a"]);
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
        let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
        // A public key behind it that is not its own.
        let other = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlaaaaaaaaaaAJ6p9lMicMFs6Kvg==";
        for wrong in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_!", "whsk_AAAA", "whsk_!", public, other]
        {
            assert!(Signer::new(vec![Secret::from_value(wrong)]).sign("m", 1, b"x").is_err(), "{wrong}");
        }
    }
}
