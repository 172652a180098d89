//! Keyed hashes (HMAC, RFC 2104), in the words that settings and manifests have for them: deliveries are proven by them, and
//! requests are signed with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// How a hash is written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Hex,
    Base64,
}

impl Algorithm {
    pub const WORDS: [(&str, Self); 3] = [("sha1", Self::Sha1), ("sha256", Self::Sha256), ("sha512", Self::Sha512)];

    /// Over the parts of a message, one behind the other.
    #[must_use]
    pub fn hash(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha1 => hash::<Hmac<sha1::Sha1>>(key, parts),
            Self::Sha256 => hash::<Hmac<sha2::Sha256>>(key, parts),
            Self::Sha512 => hash::<Hmac<sha2::Sha512>>(key, parts),
        }
    }
}

impl Encoding {
    pub const WORDS: [(&str, Self); 2] = [("hex", Self::Hex), ("base64", Self::Base64)];

    #[must_use]
    pub fn encode(self, hash: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(hash),
            Self::Base64 => STANDARD.encode(hash),
        }
    }

    /// `None`: it is not written so.
    #[must_use]
    pub fn decode(self, encoded: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hex => hex::decode(encoded).ok(),
            Self::Base64 => STANDARD.decode(encoded).ok(),
        }
    }
}

fn hash<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes a key of any length; the type cannot say so. An empty result equals no claim of a hash's length.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 section 4.3 and RFC 2202 section 3, test case 2 of both.
    #[test]
    fn the_hashes_are_those_of_the_rfcs() {
        let hash = |algorithm: Algorithm| hex::encode(algorithm.hash(b"Jefe", &[b"what do ya want ", b"for nothing?"]));
        assert_eq!(hash(Algorithm::Sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(hash(Algorithm::Sha256), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(
            hash(Algorithm::Sha512),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
             caeab1a34d4a6b4b636e070a38bce737"
        );
    }
}
