//! SCRAM-SHA-256 and SCRAM-SHA-512, the server's side (RFC 5802), and the keys that are kept of a password.
//!
//! In: the client's two messages; out: the server's two, or a refusal that does not tell whether the name or the password is
//! wrong. Channel binding is not offered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Kafka's own number.
const ITERATIONS: u32 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        // A key of any length is taken, so neither can fail.
        match self {
            Hash::Sha256 => Hmac::<Sha256>::new_from_slice(key)
                .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
                .unwrap_or_default(),
            Hash::Sha512 => Hmac::<Sha512>::new_from_slice(key)
                .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
                .unwrap_or_default(),
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(bytes).to_vec(),
            Hash::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// PBKDF2 of one block.
    fn salted(self, password: &[u8], salt: &[u8]) -> Vec<u8> {
        let mut block = self.hmac(password, &[salt, &1u32.to_be_bytes()].concat());
        let mut result = block.clone();
        for _ in 1..ITERATIONS {
            block = self.hmac(password, &block);
            result.iter_mut().zip(&block).for_each(|(result, byte)| *result ^= byte);
        }
        result
    }
}

/// What a server needs of one password for one hash.
#[derive(Clone)]
pub(crate) struct Keys {
    salt: Vec<u8>,
    stored: Vec<u8>,
    server: Vec<u8>,
}

impl Keys {
    pub(crate) fn of(hash: Hash, password: &str) -> Self {
        let salt = Uuid::new_v4().as_bytes().to_vec();
        let salted = hash.salted(password.as_bytes(), &salt);
        let stored = hash.digest(&hash.hmac(&salted, b"Client Key"));
        Self { stored, server: hash.hmac(&salted, b"Server Key"), salt }
    }

    /// For a name that nobody has: the same salt each time it is asked for, and no password fits.
    pub(crate) fn of_nobody(hash: Hash, secret: &[u8], name: &str) -> Self {
        let mut salt = hash.hmac(secret, name.as_bytes());
        salt.truncate(16);
        let unknown = Uuid::new_v4();
        Self { salt, stored: hash.digest(unknown.as_bytes()), server: hash.digest(unknown.as_bytes()) }
    }
}

/// Why a message is not what SCRAM wants, or does not prove what it should.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// The client's first message.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) name: String,
    /// What stands before the message proper, which the client's last message repeats.
    header: String,
    bare: String,
    nonce: String,
}

impl First {
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Refused> {
        let text = std::str::from_utf8(message).map_err(|_| Refused)?;
        let (binding, rest) = text.split_once(',').ok_or(Refused)?;
        let (identity, bare) = rest.split_once(',').ok_or(Refused)?;
        if !matches!(binding, "n" | "y") {
            return Err(Refused);
        }
        let mut fields = bare.split(',');
        let name = fields.next().and_then(|field| field.strip_prefix("n=")).ok_or(Refused)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).filter(|nonce| !nonce.is_empty());
        Ok(Self {
            name: name.replace("=2C", ",").replace("=3D", "="),
            header: format!("{binding},{identity},"),
            nonce: nonce.ok_or(Refused)?.to_owned(),
            bare: bare.to_owned(),
        })
    }

    /// The server's first message, and what it waits for then.
    pub(crate) fn challenge(self, hash: Hash, keys: Keys) -> (Vec<u8>, Challenge) {
        let nonce = format!("{}{}", self.nonce, Uuid::new_v4().simple());
        let message = format!("r={nonce},s={},i={ITERATIONS}", BASE64.encode(&keys.salt));
        let challenge =
            Challenge { hash, keys, nonce, header: self.header, so_far: format!("{},{message}", self.bare) };
        (message.into_bytes(), challenge)
    }
}

pub(crate) struct Challenge {
    hash: Hash,
    keys: Keys,
    nonce: String,
    header: String,
    /// The first two messages, as both sides sign them.
    so_far: String,
}

impl Challenge {
    /// Takes the client's last message; gives the server's.
    pub(crate) fn finish(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        let text = std::str::from_utf8(message).map_err(|_| Refused)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Refused)?;
        let mut fields = without_proof.split(',');
        let header = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or(Refused)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(Refused)?;
        if BASE64.decode(header).map_err(|_| Refused)? != self.header.as_bytes() || nonce != self.nonce {
            return Err(Refused);
        }
        let signed = format!("{},{without_proof}", self.so_far);
        let mut client_key = BASE64.decode(proof).map_err(|_| Refused)?;
        let signature = self.hash.hmac(&self.keys.stored, signed.as_bytes());
        if client_key.len() != signature.len() {
            return Err(Refused);
        }
        client_key.iter_mut().zip(&signature).for_each(|(key, byte)| *key ^= byte);
        if !bool::from(self.hash.digest(&client_key).ct_eq(&self.keys.stored)) {
            return Err(Refused);
        }
        let proof = self.hash.hmac(&self.keys.server, signed.as_bytes());
        Ok(format!("v={}", BASE64.encode(proof)).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677 (user "user", password "pencil").
    #[test]
    fn the_example_of_the_standard_is_answered_as_it_says() {
        let hash = Hash::Sha256;
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = hash.salted(b"pencil", &salt);
        let stored = hash.digest(&hash.hmac(&salted, b"Client Key"));
        let keys = Keys { stored, server: hash.hmac(&salted, b"Server Key"), salt };
        let first = First::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(first.name, "user");
        let (_, mut challenge) = first.challenge(hash, keys);
        challenge.nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        challenge.so_far =
            format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", challenge.nonce);
        let last = format!("c=biws,r={},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", challenge.nonce);
        assert_eq!(challenge.finish(last.as_bytes()).unwrap(), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let wrong = last.replace("dHzb", "dHzc");
        assert_eq!(challenge.finish(wrong.as_bytes()), Err(Refused));
        let other_nonce = last.replace("r=rOpr", "r=rOps");
        assert_eq!(challenge.finish(other_nonce.as_bytes()), Err(Refused));
    }

    #[test]
    fn names_are_unescaped_and_channel_binding_is_refused() {
        assert_eq!(First::parse(b"n,,n=a=2Cb=3Dc,r=x").unwrap().name, "a,b=c");
        for message in [&b"p=tls-unique,,n=a,r=x"[..], b"n,,n=a,r=", b"n,,r=x", b"n", b"", b"\xff,,"] {
            assert!(First::parse(message).is_err(), "{message:?}");
        }
    }
}
