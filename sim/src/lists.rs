//! Who serves the vendor's lists: Greenhouse's own API, or the rules of another vendor's `api.yaml` over a story.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::greenhouse::api::{self, Api};
use crate::store::{self, StoreError, WebhookLog};
use crate::vendor::{CLIENT, KEY, Vendor};

pub(crate) enum Lists {
    Greenhouse(Arc<Api>),
    Told {
        vendor: Arc<Vendor>,
        /// The lists that everything else hangs on.
        roots: Vec<String>,
        /// Rows in the answers of runs before this one.
        served_before: u64,
    },
}

/// What a connection needs to ask for the vendor's lists.
#[derive(Debug, Clone)]
pub struct Access {
    /// Scheme, host and port.
    pub origin: String,
    pub api_url: String,
    pub token_url: String,
    pub client_id: String,
    /// Of a vendor that takes a key, that key.
    pub client_secret: String,
}

/// The lists of Greenhouse that tell what no webhook did.
const OF_GREENHOUSE: [&str; 4] = ["applications", "application_stages", "rejection_details", "offers"];

/// An answer is on its way so long, until it is what others can know.
const ON_ITS_WAY_MS: i64 = 1_000;

impl Lists {
    /// How a connection reaches a vendor that tells a story.
    pub(crate) fn access(vendor: &Vendor, base_path: &str) -> Access {
        Access {
            origin: vendor.origin.clone(),
            api_url: format!("{}{base_path}", vendor.origin),
            token_url: format!("{}/token", vendor.origin),
            client_id: CLIENT.to_owned(),
            client_secret: KEY.to_owned(),
        }
    }

    /// The lists that must be read past the end before all can be known.
    pub(crate) fn that_tell(&self) -> Vec<String> {
        match self {
            Self::Greenhouse(_) => OF_GREENHOUSE.map(str::to_owned).to_vec(),
            Self::Told { roots, .. } => roots.clone(),
        }
    }

    /// Per list: up to which change a complete answer was given.
    pub(crate) fn told_until(&self) -> BTreeMap<String, i64> {
        match self {
            Self::Greenhouse(api) => api.told_until(),
            Self::Told { vendor, .. } => vendor.with(|account| account.told_until()),
        }
    }

    /// When the last write of `last_write_ms` shows.
    pub(crate) fn all_told_at(&self, last_write_ms: i64) -> i64 {
        match self {
            Self::Greenhouse(_) => last_write_ms,
            Self::Told { vendor, .. } => last_write_ms.max(vendor.with(|account| account.all_visible_at())),
        }
    }

    /// Dates each webhook by when what it tells could be known: when it was taken, and what it only names was read.
    pub(crate) fn date(
        &self,
        connection: &rusqlite::Connection,
        webhooks: &mut [WebhookLog],
    ) -> Result<(), StoreError> {
        let Self::Told { vendor, .. } = self else { return Ok(()) };
        for (log, body) in webhooks.iter_mut().zip(store::bodies(connection)?) {
            log.acked_at = log.acked_at.and_then(|taken| known_at(vendor, &body, taken));
        }
        Ok(())
    }

    /// Events that wait at the vendor until they are read.
    pub(crate) fn unread(&self) -> usize {
        match self {
            Self::Greenhouse(_) => 0,
            Self::Told { vendor, .. } => vendor.with(|account| account.unread()),
        }
    }

    /// The shortest time after which a write can be read.
    pub(crate) fn least_lag_ms(&self, of_lists: i64) -> i64 {
        match self {
            Self::Greenhouse(_) => of_lists,
            // By its id, at once.
            Self::Told { .. } => 0,
        }
    }

    /// Rows in all answers, over all runs; what the last second before a kill told is not counted where a story is told.
    pub(crate) fn rows_served(&self, connection: &rusqlite::Connection) -> Result<u64, StoreError> {
        match self {
            Self::Greenhouse(_) => rows_kept(connection),
            Self::Told { vendor, served_before, .. } => {
                let served = served_before + vendor.with(|account| account.served);
                store::set_meta(connection, api::ROWS_SERVED, &served.to_string())?;
                Ok(served)
            }
        }
    }
}

fn known_at(vendor: &Vendor, body: &[u8], taken: i64) -> Option<i64> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let word = |key: &str| body.get(key).and_then(serde_json::Value::as_str);
    let Some((list, id)) = word("of").zip(word("read")) else { return Some(taken) };
    let read = vendor.with(|account| account.read_after(list, id, taken));
    read.map(|read| read + ON_ITS_WAY_MS)
}

/// How many rows the file knows to have been told.
pub(crate) fn rows_kept(connection: &rusqlite::Connection) -> Result<u64, StoreError> {
    Ok(u64::try_from(store::meta_number(connection, api::ROWS_SERVED)?.unwrap_or(0)).unwrap_or(0))
}
