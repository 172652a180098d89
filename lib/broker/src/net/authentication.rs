//! SaslHandshake and SaslAuthenticate: who a connection is, before anything else is answered.
//!
//! In: the two requests; out: their answers, and whether the connection is open. Where the broker has no users, every connection
//! is open from the start. A refused client is told so, always in the same words and after a moment, and its connection ends.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::scram::{Challenge, First, Hash, Keys, Refused};
use crate::settings::User;

const MECHANISMS: [(&str, Mechanism); 3] = [
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::Scram(Hash::Sha256)),
    ("SCRAM-SHA-512", Mechanism::Scram(Hash::Sha512)),
];
/// So long waits who was refused, as with Kafka: guessing is slow.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);
const REFUSAL: &str = "Authentication failed: wrong name or password";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Scram(Hash),
}

struct Known {
    password: String,
    sha256: Keys,
    sha512: Keys,
}

/// All who may connect; nobody listed means everybody.
pub(crate) struct Users {
    by_name: BTreeMap<String, Known>,
    secret: Uuid,
}

impl Users {
    pub(crate) fn new(users: &[User]) -> Self {
        let known = |user: &User| Known {
            password: user.password.clone(),
            sha256: Keys::of(Hash::Sha256, &user.password),
            sha512: Keys::of(Hash::Sha512, &user.password),
        };
        let by_name = users.iter().map(|user| (user.name.clone(), known(user))).collect();
        Self { by_name, secret: Uuid::new_v4() }
    }

    fn keys(&self, hash: Hash, name: &str) -> Keys {
        match self.by_name.get(name) {
            Some(known) if hash == Hash::Sha256 => known.sha256.clone(),
            Some(known) => known.sha512.clone(),
            None => Keys::of_nobody(hash, self.secret.as_bytes(), name),
        }
    }

    /// PLAIN's one message: identity, name and password, each ended by a zero byte but the last.
    fn check_plain(&self, message: &[u8]) -> Result<String, Refused> {
        let mut parts = message.split(|byte| *byte == 0);
        let (Some(identity), Some(name), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused);
        };
        let name = std::str::from_utf8(name).map_err(|_| Refused)?;
        let known = self.by_name.get(name);
        // Compared also where there is no such name.
        let expected = known.map_or("", |known| &known.password);
        let same = bool::from(password.ct_eq(expected.as_bytes()));
        let itself = identity.is_empty() || identity == name.as_bytes();
        if same && known.is_some() && itself { Ok(name.to_owned()) } else { Err(Refused) }
    }
}

enum Stage {
    Open,
    /// Nothing said yet, or not what was wanted.
    Closed,
    Chosen(Mechanism),
    Challenged(String, Box<Challenge>),
}

/// Where one connection stands.
pub(crate) struct Gate<'a> {
    users: &'a Users,
    stage: Stage,
}

/// What to answer, and that the connection ends then.
pub(crate) struct Verdict {
    pub(crate) response: SaslAuthenticateResponse,
    pub(crate) ends: bool,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(users: &'a Users) -> Self {
        let stage = if users.by_name.is_empty() { Stage::Open } else { Stage::Closed };
        Self { users, stage }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    pub(crate) fn handshake(&mut self, request: &SaslHandshakeRequest) -> SaslHandshakeResponse {
        let response = SaslHandshakeResponse::default();
        if self.is_open() {
            return response.with_error_code(ResponseError::IllegalSaslState.code());
        }
        let response = response.with_mechanisms(MECHANISMS.map(|(name, _)| StrBytes::from_static_str(name)).to_vec());
        match MECHANISMS.iter().find(|(name, _)| *name == request.mechanism.as_str()) {
            Some((_, mechanism)) => {
                self.stage = Stage::Chosen(*mechanism);
                response
            }
            None => response.with_error_code(ResponseError::UnsupportedSaslMechanism.code()),
        }
    }

    pub(crate) async fn authenticate(&mut self, request: &SaslAuthenticateRequest) -> Verdict {
        let response = SaslAuthenticateResponse::default().with_error_message(None);
        let message = &request.auth_bytes;
        let step = match std::mem::replace(&mut self.stage, Stage::Closed) {
            stage @ (Stage::Open | Stage::Closed) => {
                let ends = matches!(stage, Stage::Closed);
                self.stage = stage;
                let response = response.with_error_code(ResponseError::IllegalSaslState.code());
                let message = StrBytes::from_static_str("no handshake came before");
                return Verdict { response: response.with_error_message(Some(message)), ends };
            }
            Stage::Chosen(Mechanism::Plain) => self.users.check_plain(message).map(|name| (Vec::new(), Some(name))),
            Stage::Chosen(Mechanism::Scram(hash)) => First::parse(message).map(|first| {
                let (name, keys) = (first.name.clone(), self.users.keys(hash, &first.name));
                let (answer, challenge) = first.challenge(hash, keys);
                self.stage = Stage::Challenged(name, Box::new(challenge));
                (answer, None)
            }),
            Stage::Challenged(name, challenge) => challenge.finish(message).map(|answer| (answer, Some(name))),
        };
        match step {
            Ok((answer, name)) => {
                if let Some(name) = name {
                    tracing::debug!(name, "authenticated");
                    self.stage = Stage::Open;
                }
                Verdict { response: response.with_auth_bytes(answer.into()), ends: false }
            }
            Err(Refused) => {
                tokio::time::sleep(REFUSAL_DELAY).await;
                let response = response.with_error_code(ResponseError::SaslAuthenticationFailed.code());
                Verdict { response: response.with_error_message(Some(StrBytes::from_static_str(REFUSAL))), ends: true }
            }
        }
    }
}
