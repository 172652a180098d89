//! One customer's account at one vendor, as configured; and the directory that finds it by name.
//!
//! Settings in, checked [`Connection`] out.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hirewire_service::settings::{ca, duration, duration_or_zero};
use hirewire_service::{Identity, Secret, SecretError};
use hirewire_yaml::{Map, Node, Problems, did_you_mean};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::credentials::Credentials;
use crate::manifest::{Api, BaseUrl, Manifest, Signature, Webhook, url};
use crate::process::Role;

/// One connection. Built at start, then read only.
#[derive(Debug)]
pub struct Connection {
    pub name: String,
    pub tenant: String,
    pub manifest: Arc<Manifest>,
    /// `None`: no webhook is configured, and a delivery to it is for nobody.
    pub webhook: Option<Inlet>,
    /// `None`: nothing is polled.
    pub poll: Option<Poll>,
}

/// The receiving side: the vendor's rules, and the secrets that prove a delivery to this connection.
#[derive(Debug)]
pub struct Inlet {
    pub rules: Arc<Manifest>,
    /// One, or two while a new one is brought in; none where the vendor signs nothing.
    pub secrets: Vec<Secret>,
}

impl Connection {
    /// Whether events of this vendor name what must be read from it.
    pub(crate) fn fetches(&self) -> bool {
        self.manifest.events().any(|events| !events.fetch.is_empty())
    }

    /// Whether requests to read are written for this connection: events are taken, and somebody polls.
    pub(crate) fn inlet_fetches(&self) -> bool {
        self.webhook.is_some() && self.manifest.webhook.iter().any(|webhook| !webhook.events.fetch.is_empty())
    }

    /// Whether events of the vendor's queue name what must be read from it.
    pub(crate) fn queue_fetches(&self) -> bool {
        self.manifest.queue.iter().any(|queue| !queue.events.fetch.is_empty())
    }
}

impl Inlet {
    /// The vendor's rules. An inlet is only built from a manifest that has them.
    #[must_use]
    pub fn webhook(&self) -> Option<&Webhook> {
        self.rules.webhook.as_ref()
    }

    /// The secret that the vendor signs with, for trials of our own; of none at all nothing.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub fn first_secret(&self) -> Result<Vec<u8>, SecretError> {
        self.secrets.first().map_or(Ok(Vec::new()), Secret::bytes)
    }
}

/// What polling of this connection needs beyond the manifest.
#[derive(Debug, Clone)]
pub struct Poll {
    pub credentials: Credentials,
    /// Our own certificate, shown with each request, of a vendor that wants one.
    pub identity: Option<Identity>,
    /// A certificate in PEM of an authority that is trusted here, beside the system's.
    pub ca: Option<Vec<u8>>,
    /// `None`: the login tells it.
    pub base_url: Option<String>,
    /// Of lists that stand elsewhere at each customer, by their name.
    pub urls: BTreeMap<String, String>,
    /// The name of the vendor's queue that is this connection's alone.
    pub queue: String,
    /// From the start of a round to the start of the next.
    pub interval: Duration,
    pub lag: Duration,
    pub overlap: Duration,
    /// The first pause after a failed request, doubled up to `retry_most`.
    pub retry_first: Duration,
    pub retry_most: Duration,
    /// Requests of one list that may fail in a row before the round goes on to the next list.
    pub attempts: u32,
    /// A sweep that finds more than this percentage of a list gone takes them for hidden.
    pub gone_most: u64,
    /// When the credential ends at the vendor, as a person wrote down; told in a metric.
    pub expires: Option<Timestamp>,
}

impl Connection {
    /// Reads the parts of a connection that ingest owns. The caller reads `tenant`, `vendor` and `overlay`. The secrets
    /// must be there that `role` uses; none: the process is no ingest.
    pub fn read(
        name: &str,
        tenant: &str,
        manifest: &Arc<Manifest>,
        webhook: Option<&Node>,
        poll: Option<&Node>,
        role: Option<Role>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let takes = matches!(role, Some(Role::Webhook | Role::All));
        let inlet = problems.needed_if(takes, |problems| match (webhook, &manifest.webhook) {
            (None, _) => Some(None),
            (Some(node), None) => {
                problems.add(node, format!("{} sends no webhooks", manifest.vendor), "remove `webhook`, and poll");
                None
            }
            (Some(node), Some(rules)) => read_inlet(node, manifest, rules, problems).map(Some),
        });
        let polls = matches!(role, Some(Role::Poll | Role::All));
        let poll = problems.needed_if(polls, |problems| match (poll, &manifest.api) {
            (None, _) => Some(None),
            (Some(node), None) => {
                problems.add(node, format!("{} has nothing to poll", manifest.vendor), "remove `poll`");
                None
            }
            (Some(node), Some(api)) => Poll::read(name, node, manifest, api, problems).map(Some),
        });
        Some(Self {
            name: name.to_owned(),
            tenant: tenant.to_owned(),
            manifest: manifest.clone(),
            webhook: inlet?,
            poll: poll?,
        })
    }
}

fn read_inlet(node: &Node, manifest: &Arc<Manifest>, rules: &Webhook, problems: &mut Problems) -> Option<Inlet> {
    let mut map = node.map(problems)?;
    let secrets: Option<Vec<Secret>> = match &rules.signature {
        Signature::None => Some(Vec::new()),
        Signature::Hmac(_) | Signature::Token(_) => map.require("secrets", problems).and_then(|node| {
            let items = node.list(problems)?;
            if items.is_empty() || items.len() > 2 {
                problems.add(node, format!("{} secrets", items.len()), "one, or two while a new one is brought in");
            }
            items.iter().map(|item| Secret::read(item, problems)).collect()
        }),
    };
    map.finish(problems);
    Some(Inlet { rules: manifest.clone(), secrets: secrets? })
}

impl Poll {
    fn read(name: &str, node: &Node, manifest: &Manifest, api: &Api, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let credentials = Credentials::read(&mut map, &api.auth, problems);
        let identity = match (Identity::read(&mut map, problems), api.mutual_tls) {
            (Some(None), true) => {
                let hint = "this vendor wants a certificate of ours, with its `key`: that which it knows";
                problems.add(node, "`certificate` is missing", hint);
                None
            }
            (Some(Some(_)), false) => {
                problems.add(node, "this vendor asks for no certificate", "remove `certificate` and `key`");
                None
            }
            (identity, _) => identity,
        };
        let ca = map.get("ca").map_or(Some(None), |node| ca(node, problems).map(Some));
        let base_url = match (map.get("base_url"), &api.base_url) {
            (Some(node), BaseUrl::Session(_)) => {
                problems.add(node, "this vendor's login tells the address", "remove `base_url`");
                None
            }
            (None, BaseUrl::Session(_)) => Some(None),
            (Some(node), _) => url(node, problems).map(Some),
            (None, BaseUrl::Shared(url)) => Some(Some(url.clone())),
            (None, BaseUrl::PerConnection(example)) => {
                let hint = format!("this vendor has one for each customer, as {example}");
                problems.add(node, "`base_url` is missing", hint);
                None
            }
        };
        let urls = map.get("urls").map_or(Some(BTreeMap::new()), |node| own_urls(node, api, problems));
        let queue = match map.get("queue") {
            None => Some(name),
            Some(node) if manifest.queue.is_none() => {
                problems.add(node, "this vendor has no queue", "remove `queue`");
                None
            }
            Some(node) => queue_name(node, problems),
        };
        let interval = time(&mut map, "interval", Duration::from_secs(30), problems);
        let lag = map.get("lag").map_or(Some(api.lag), |node| duration_or_zero(node, problems));
        let overlap = map.get("overlap").map_or(Some(api.overlap), |node| duration_or_zero(node, problems));
        let retry_first = time(&mut map, "retry_first", Duration::from_secs(1), problems);
        let retry_most = time(&mut map, "retry_most", Duration::from_secs(60), problems);
        let attempts = map.get("attempts").map_or(Some(5), |node| node.whole(1, problems));
        let gone_most = map.get("gone_most").map_or(Some(10), |node| node.whole(1, problems));
        let expires = map.get("expires").map_or(Some(None), |node| expiry(node, problems).map(Some));
        map.finish(problems);
        Some(Self {
            credentials: credentials?,
            identity: identity?,
            ca: ca?,
            base_url: base_url?,
            urls: urls?,
            queue: queue?.to_owned(),
            interval: interval?,
            lag: lag?,
            overlap: overlap?,
            retry_first: retry_first?,
            retry_most: retry_most?,
            attempts: u32::try_from(attempts?).unwrap_or(u32::MAX),
            gone_most: gone_most?,
            expires: expires?,
        })
    }
}

/// `{Application_History: https://…}`
fn own_urls(node: &Node, api: &Api, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let known: Vec<&str> =
        api.streams.iter().filter(|stream| stream.url.is_some()).map(|stream| stream.name.as_str()).collect();
    let mut urls = BTreeMap::new();
    for (key, name, value) in node.map(problems)?.entries() {
        if !known.contains(&name) {
            let hint = did_you_mean(name, known.iter().copied());
            problems.add(key, format!("this vendor has no list \"{name}\" with a URL of its own"), hint);
        }
        urls.insert(name.to_owned(), url(value, problems)?);
    }
    Some(urls)
}

/// A part of a path that needs no encoding.
fn queue_name<'a>(node: &'a Node, problems: &mut Problems) -> Option<&'a str> {
    let text = node.name(problems)?;
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        problems.add(node, format!("\"{text}\" is not the name of a queue"), "letters, digits, - and _");
        return None;
    }
    Some(text)
}

/// A day; what ends on it ends with its first moment in UTC, which is early rather than late.
fn expiry(node: &Node, problems: &mut Problems) -> Option<Timestamp> {
    let text = node.name(problems)?;
    let day = text.parse::<Date>().ok().filter(|day| day.to_string() == text);
    let begins = day.and_then(|day| format!("{day}T00:00:00Z").parse::<Timestamp>().ok());
    if begins.is_none() {
        problems.add(node, format!("{text} is no day"), "write it as 2027-01-31");
    }
    begins
}

pub(crate) fn time(
    map: &mut Map<'_>,
    key: &'static str,
    default: Duration,
    problems: &mut Problems,
) -> Option<Duration> {
    map.get(key).map_or(Some(default), |node| duration(node, problems))
}

type ByName = BTreeMap<String, Arc<Connection>>;

/// All connections by name. Empty until the configuration is loaded: until then nothing is surely unknown.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    loaded: Arc<RwLock<Option<ByName>>>,
}

/// What the directory knows of a name.
#[derive(Debug)]
pub enum Lookup {
    Found(Arc<Connection>),
    /// The configuration surely lacks it.
    Unknown,
    /// No configuration yet.
    NotLoaded,
}

impl Directory {
    /// Takes the configuration into use.
    pub fn load(&self, connections: impl IntoIterator<Item = Arc<Connection>>) {
        let by_name = connections.into_iter().map(|connection| (connection.name.clone(), connection)).collect();
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(by_name);
    }

    #[must_use]
    pub fn find(&self, name: &str) -> Lookup {
        match &*self.loaded.read().unwrap_or_else(PoisonError::into_inner) {
            None => Lookup::NotLoaded,
            Some(by_name) => by_name.get(name).cloned().map_or(Lookup::Unknown, Lookup::Found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_needs_its_own_secrets_and_no_times_of_nothing() {
        let file = "vendors/greenhouse/manifest.yaml";
        let manifest = Manifest::parse(file, include_str!("../../vendors/greenhouse/manifest.yaml")).unwrap();
        let webhook = hirewire_yaml::parse("h.yaml", "secrets: [{file: /no/webhook}]").unwrap();
        let absent = |poll: &str, role: Option<Role>| {
            let poll = hirewire_yaml::parse("h.yaml", poll).unwrap();
            let mut problems = Problems::new();
            let read = Connection::read("c", "t", &manifest, Some(&webhook), Some(&poll), role, &mut problems);
            problems.into_result(read).err().map(|problems| problems.to_string()).unwrap_or_default()
        };
        let poll = "client_id: {file: /no/id}\nclient_secret: {file: /no/key}\nlag: 0s\noverlap: 0s";
        assert_eq!(absent(poll, None), "");
        assert_eq!(absent(poll, Some(Role::Webhook)).lines().count(), 1);
        assert_eq!(absent(poll, Some(Role::Poll)).lines().count(), 2);
        let all = absent(poll, Some(Role::All));
        assert!(["/no/webhook", "/no/id", "/no/key"].iter().all(|path| all.contains(path)), "{all}");
        let wrong = "interval: 0s\nretry_first: 0ms\nattempts: 0\nact_as: ''\nexpires: 31.1.2027";
        let mistakes = absent(&format!("{poll}\n{wrong}"), None);
        assert_eq!(mistakes.lines().count(), 5, "{mistakes}");
        assert!(mistakes.contains("write it as 2027-01-31"), "{mistakes}");
    }

    #[test]
    fn a_credential_ends_with_the_first_moment_of_its_day() {
        let ends = |text: &str| {
            let mut problems = Problems::new();
            expiry(&hirewire_yaml::parse("h.yaml", text).unwrap(), &mut problems).map(|at| at.to_string())
        };
        assert_eq!(ends("2027-01-31").unwrap(), "2027-01-31T00:00:00Z");
        for wrong in ["2027-02-30", "2027-1-31", "soon", "2027-01-31T12:00:00Z"] {
            assert_eq!(ends(wrong), None, "{wrong}");
        }
    }
}
