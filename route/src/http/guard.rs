//! The guard on outgoing connections: allowed hosts, allowed networks, the only resolution.
//!
//! The connector resolves names through [`Guard`] and in no other way, so that what was checked is what is connected
//! to; a literal address never reaches a resolver and is checked before. `http://` without TLS is for allowed
//! networks alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::networks::{Network, embedded, is_public};

/// Resolves a name. The real one asks the system; tests have their own.
pub(crate) type Lookup = Arc<dyn Fn(String) -> LookupAnswer + Send + Sync>;
pub(crate) type LookupAnswer = std::pin::Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;

/// What a sink may connect to.
#[derive(Clone)]
pub(crate) struct Guard {
    /// Lower case, without port.
    hosts: Vec<String>,
    networks: Vec<Network>,
    lookup: Lookup,
}

/// Why a connection is not made. Names no address: a receiver's log may be read by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the URL is not http or https")]
    Scheme,
    #[error("the URL has no host")]
    NoHost,
    #[error("the URL holds a user name or password")]
    Credentials,
    #[error("the host is not in the allow-list")]
    Host,
    #[error("the address is not public and its network is not allowed")]
    Address,
    #[error("a connection without TLS is for allowed networks only")]
    Plain,
}

impl Refusal {
    /// How settings that are refused are mended.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Scheme => "write an https:// URL",
            Self::NoHost => "write https://HOST/PATH",
            Self::Credentials => "put the secret into a file and name it under `auth`",
            Self::Host => "add the host to `allow.hosts`",
            Self::Address => "a private address must be allowed by its network: `allow: {networks: [10.1.0.0/16]}`",
            Self::Plain => "use TLS (https, `tls`), or list the network under `allow`",
        }
    }
}

/// The name of a host leads to no address.
#[derive(Debug, thiserror::Error)]
#[error("the host's name cannot be resolved")]
pub(crate) struct NoAddress(#[source] Option<std::io::Error>);

impl Guard {
    pub(crate) fn new(hosts: Vec<String>, networks: Vec<Network>) -> Self {
        Self::with_lookup(hosts, networks, system_lookup())
    }

    pub(crate) fn with_lookup(hosts: Vec<String>, networks: Vec<Network>, lookup: Lookup) -> Self {
        let hosts = hosts.iter().map(|host| bare(host).to_ascii_lowercase()).collect();
        Self { hosts, networks, lookup }
    }

    /// Whether the list of hosts has it. A list that is empty has none.
    pub(crate) fn lists(&self, host: &str) -> bool {
        self.hosts.contains(&bare(host).to_ascii_lowercase())
    }

    /// Checks everything of a URL that can be checked without resolving its host.
    ///
    /// # Errors
    /// Why a connection to it would be refused.
    pub(crate) fn check_url(&self, url: &reqwest::Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Refusal::NoHost)?;
        self.check_host(host, url.scheme() == "http")
    }

    /// Checks everything of a host that can be checked without resolving it.
    ///
    /// # Errors
    /// Why a connection to it would be refused.
    pub(crate) fn check_host(&self, host: &str, plain: bool) -> Result<(), Refusal> {
        match literal(host) {
            Some(address) => self.check(host, address, plain),
            None if self.lists(host) => Ok(()),
            None => Err(Refusal::Host),
        }
    }

    /// For what resolves names by itself: `address` is what `host` led to.
    ///
    /// # Errors
    /// Why a connection to it is refused.
    pub(crate) fn check(&self, host: &str, address: IpAddr, plain: bool) -> Result<(), Refusal> {
        if !self.lists(host) {
            return Err(Refusal::Host);
        }
        self.check_address(address, plain)
    }

    /// `plain`: the connection has no TLS.
    fn check_address(&self, address: IpAddr, plain: bool) -> Result<(), Refusal> {
        let target = embedded(address);
        if self.networks.iter().any(|network| network.contains(target)) {
            return Ok(());
        }
        if !is_public(address) {
            return Err(Refusal::Address);
        }
        if plain { Err(Refusal::Plain) } else { Ok(()) }
    }

    /// The addresses of `host` that may be connected to; a literal is one address.
    ///
    /// # Errors
    /// The resolver's error, or a [`Refusal`] inside one when no address is left.
    pub(crate) async fn resolve(&self, host: &str, plain: bool) -> std::io::Result<Vec<IpAddr>> {
        let addresses = match literal(host) {
            Some(address) => vec![address],
            None => {
                let found = (self.lookup)(host.to_owned()).await;
                found.map_err(|error| std::io::Error::other(NoAddress(Some(error))))?
            }
        };
        if addresses.is_empty() {
            return Err(std::io::Error::other(NoAddress(None)));
        }
        let mut refusal = None;
        let allowed: Vec<IpAddr> = addresses
            .into_iter()
            .filter(|address| match self.check_address(*address, plain) {
                Ok(()) => true,
                Err(why) => {
                    refusal = Some(why);
                    false
                }
            })
            .collect();
        match refusal {
            Some(refusal) if allowed.is_empty() => Err(std::io::Error::other(refusal)),
            _ => Ok(allowed),
        }
    }

    /// The resolver for a client whose URLs are all `plain` or all not.
    pub(crate) fn resolver(&self, plain: bool) -> Arc<dyn Resolve> {
        Arc::new(GuardedResolver { guard: self.clone(), plain })
    }
}

/// An address written as the host of a URL, whose parser has already undone other spellings (octal, hex, one number).
fn literal(host: &str) -> Option<IpAddr> {
    bare(host).parse().ok()
}

/// Without the dot of the root, or the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']')
}

fn system_lookup() -> Lookup {
    Arc::new(|host| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

struct GuardedResolver {
    guard: Guard,
    plain: bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, plain) = (self.guard.clone(), self.plain);
        Box::pin(async move {
            let allowed = guard.resolve(name.as_str(), plain).await?;
            // Port 0: the connector puts in the URL's.
            let addresses: Addrs = Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// The guard's refusal somewhere in an error's chain of sources.
pub(crate) fn refusal_in(error: &(dyn std::error::Error + 'static)) -> Option<Refusal> {
    find_in::<Refusal>(error).copied()
}

/// An error of this kind somewhere in an error's chain of sources.
pub(crate) fn find_in<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // `io::Error` hides what it was made of from `source`.
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(found) = find_in::<E>(inner)
        {
            return Some(found);
        }
        current = error.source();
    }
    None
}
