//! The checked settings of a `postgres` sink.

use hirewire_service::Secret;
use hirewire_yaml::{Node, Problems};
use tokio_postgres::Config;

use super::{CONNECT_TIMEOUT, host_of};
use crate::database::writer::WriteError;
use crate::http::guard::{Guard, Refusal};
use crate::row::read_identifier;
use crate::settings::read_allow;

/// They are checked.
#[derive(Clone)]
pub(crate) struct PostgresSettings {
    url: Url,
    password: Option<Secret>,
    pub(super) guard: Guard,
    /// No host is listed, and the URL, a secret, may name any.
    pub(super) any_host: bool,
    /// Trusted beside the system's authorities; PEM.
    pub(super) ca: Option<Vec<u8>>,
    /// The schema that holds the tables.
    pub(super) schema: String,
}

#[derive(Clone)]
enum Url {
    Text(String),
    /// A URL that holds its password.
    Secret(Secret),
}

impl PostgresSettings {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let url_node = map.require("url", problems);
        let url = url_node.and_then(|node| read_url(node, problems));
        let password = map.get("password").map_or(Some(None), |node| Secret::read(node, problems).map(Some));
        let schema = map.get("schema").map_or(Some("hirewire".to_owned()), |node| read_identifier(node, problems));
        let ca = map.get("ca").map_or(Some(None), |node| hirewire_service::settings::ca(node, problems).map(Some));
        let (hosts, networks) = read_allow(&mut map, problems);
        map.finish(problems);
        let (url, mut hosts) = (url?, hosts?);
        let own = match &url {
            Url::Text(text) => host_of(&text.parse::<Config>().ok()?),
            // It may change; it is checked whenever a connection is made.
            Url::Secret(_) => None,
        };
        let any_host = hosts.is_empty() && own.is_none();
        if hosts.is_empty() {
            hosts.extend(own.clone());
        }
        let guard = Guard::new(hosts, networks?);
        if own.is_some_and(|host| !guard.lists(&host)) {
            problems.add(url_node?, Refusal::Host.to_string(), "add the host to `allow.hosts`");
            return None;
        }
        Some(Self { url, password: password?, guard, any_host, ca: ca?, schema: schema? })
    }

    /// Secrets are read anew for each connection.
    pub(super) fn config(&self) -> Result<Config, WriteError> {
        let missing = |error: hirewire_service::SecretError| {
            tracing::warn!(%error, "the database's secret cannot be read");
            WriteError::Refused
        };
        let text = match &self.url {
            Url::Text(text) => text.clone(),
            Url::Secret(secret) => secret.text().map_err(missing)?,
        };
        let mut config: Config = text.parse().map_err(|_| WriteError::Refused)?;
        if let Some(password) = &self.password {
            config.password(password.bytes().map_err(missing)?);
        }
        config.connect_timeout(CONNECT_TIMEOUT).application_name("hirewire-route");
        Ok(config)
    }

    /// Changes when a secret of the sink changes.
    pub(crate) fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        if let Url::Secret(secret) = &self.url {
            secret.bytes().ok().hash(&mut hasher);
        }
        self.password.as_ref().and_then(|password| password.bytes().ok()).hash(&mut hasher);
        hasher.finish()
    }
}

/// A text without a password, or a secret.
fn read_url(node: &Node, problems: &mut Problems) -> Option<Url> {
    let Some(text) = node.scalar() else { return Secret::read(node, problems).map(Url::Secret) };
    match text.parse::<Config>() {
        Ok(config) if config.get_password().is_some() => {
            problems.add(
                node,
                "the URL holds a password",
                "write `password: {file: PATH}`, or the URL as {file: PATH}",
            );
            None
        }
        Ok(config) if config.get_hosts().len() == 1 && config.get_ports() != [0] => Some(Url::Text(text.to_owned())),
        _ => {
            problems.add(node, "this is no URL of a PostgreSQL database", "write postgres://USER@HOST:PORT/DATABASE");
            None
        }
    }
}
