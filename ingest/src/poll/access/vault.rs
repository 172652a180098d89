//! A connection's refresh token, kept among its cursors: the next owner of the connection finds it there.
//!
//! It is sealed (AES-256-GCM) by a key that is made of the client's secret, and bound to the connection: who reads the
//! topic has nothing without the secret, and a token moved to another connection does not open.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hirewire_kafka::Record;
use hirewire_schemas::records::Cursor;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::failure::Failure;
use super::super::journal::{CursorCodec, Journal};

/// The name of the record among the cursors. No list can have it.
pub(in super::super) const LANE: &str = "@token";

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The refresh token of one connection.
pub(in super::super) struct Vault<J> {
    journal: Arc<J>,
    cursors: CursorCodec,
    /// Of the lease.
    partition: i32,
    connection: String,
    /// As it was committed.
    sealed: Option<String>,
    /// What could not be committed, and must be before anything else.
    unkept: Option<Kept>,
}

/// What is sealed.
#[derive(Clone, Serialize, Deserialize)]
pub(in super::super) struct Kept {
    /// A hash of what it came from: of the first refresh token, or of the user.
    pub(super) whose: String,
    pub(in super::super) token: String,
    /// It was sent to the vendor, and what came back is not known.
    pub(super) used: bool,
}

impl Kept {
    pub(super) fn digest(whose: &str) -> String {
        hex::encode(Sha256::digest(whose))
    }
}

impl<J: Journal> Vault<J> {
    /// `stored` is the connection's record as its last owner left it.
    pub(in super::super) fn new(
        journal: Arc<J>,
        cursors: CursorCodec,
        partition: i32,
        connection: &str,
        stored: Option<&Cursor>,
    ) -> Self {
        let sealed = stored.and_then(|cursor| cursor.sync_token.clone());
        Self { journal, cursors, partition, connection: connection.to_owned(), sealed, unkept: None }
    }

    /// What was kept; `None`: nothing, or by another client's secret.
    pub(in super::super) fn open(&self, secret: &[u8]) -> Option<Kept> {
        let sealed = BASE64.decode(self.sealed.as_ref()?).ok()?;
        let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES)?;
        let (text, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_BYTES)?)?;
        let key = self.key(secret)?;
        let bound = self.connection.as_bytes();
        let open = decrypt_aead(Cipher::aes_256_gcm(), &key, Some(nonce), bound, text, tag).ok()?;
        serde_json::from_slice(&open).ok()
    }

    /// Commits it. What cannot be committed is held, for it may be the only refresh token that works.
    pub(super) async fn keep(&mut self, secret: &[u8], kept: Kept) -> Result<(), Failure> {
        self.unkept = Some(kept);
        self.settle(secret).await
    }

    /// Commits what could not be committed before.
    pub(super) async fn settle(&mut self, secret: &[u8]) -> Result<(), Failure> {
        let Some(kept) = &self.unkept else { return Ok(()) };
        let sealed = self.seal(secret, kept).ok_or(Failure::Broken("a refresh token cannot be sealed"))?;
        let record = self.record(&sealed);
        self.journal.commit(vec![record]).await.map_err(Failure::from)?;
        self.sealed = Some(sealed);
        self.unkept = None;
        Ok(())
    }

    fn record(&self, sealed: &str) -> Record {
        let now = Timestamp::now().as_microsecond();
        let cursor = Cursor {
            connection_id: self.connection.clone(),
            stream: LANE.to_owned(),
            phase: "INTERVAL".to_owned(),
            window_from: None,
            window_to: now,
            next_page: None,
            complete: true,
            rows: 0,
            written_at: now,
            sync_token: Some(sealed.to_owned()),
        };
        self.cursors.encode(&cursor, self.partition)
    }

    fn seal(&self, secret: &[u8], kept: &Kept) -> Option<String> {
        let text = serde_json::to_vec(kept).ok()?;
        let (mut nonce, mut tag) = ([0; NONCE_BYTES], [0; TAG_BYTES]);
        openssl::rand::rand_bytes(&mut nonce).ok()?;
        let key = self.key(secret)?;
        let bound = self.connection.as_bytes();
        let closed = encrypt_aead(Cipher::aes_256_gcm(), &key, Some(&nonce), bound, &text, &mut tag).ok()?;
        Some(BASE64.encode([&nonce[..], &closed, &tag].concat()))
    }

    fn key(&self, secret: &[u8]) -> Option<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        mac.update(b"hirewire refresh token of ");
        mac.update(self.connection.as_bytes());
        Some(mac.finalize().into_bytes().into())
    }
}
