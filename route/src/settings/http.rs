//! `http:` of a sink.

use std::time::Duration;

use hirewire_service::Identity;
use hirewire_service::settings::ca;
use hirewire_yaml::{Map, Node, Problems};

use super::auth::read_auth;
use super::read_duration;
use super::signing::read_signing;
use crate::http::batch::BatchSettings;
use crate::http::guard::{Guard, Refusal};
use crate::http::networks::Network;
use crate::http::signing::Signing;
use crate::http::{Auth, HttpSettings};
use crate::request::told::Secrets;

const LONGEST_LINGER: Duration = Duration::from_secs(2);

pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<HttpSettings> {
    let mut map = node.map(problems)?;
    let url_node = map.require("url", problems);
    let url = url_node.and_then(|node| read_url(node, problems));
    let (hosts, networks) = read_allow(&mut map, problems);
    let auth_node = map.get("auth");
    let auth = auth_node.map_or(Some(None), |node| read_auth(node, problems).map(Some));
    let signing_node = map.get("signing");
    let signing = signing_node.map_or(Some(None), |node| read_signing(node, problems).map(Some));
    let ca = map.get("ca").map_or(Some(None), |node| ca(node, problems).map(Some));
    let identity = Identity::read(&mut map, problems);
    let mut timeout = Duration::from_secs(15);
    read_duration(&mut map, "timeout", &mut timeout, problems);
    let answer_bytes = map.get("answer_bytes").map_or(Some(64 * 1024), |node| node.whole(1, problems));
    let batch = map.get("batch").map_or(Some(None), |node| read_batch(node, problems).map(Some));
    map.finish(problems);
    let (url, url_node, auth, batch) = (url?, url_node?, auth?, batch?);
    let mut urls = vec![(&url, url_node)];
    if let Some(Auth::OAuth(oauth)) = &auth {
        let node = auth_node.and_then(|node| node.peek("oauth")?.peek("token_url"));
        urls.push((&oauth.token_url, node.unwrap_or(url_node)));
    }
    let mut hosts = hosts?;
    if hosts.is_empty() {
        hosts.extend(urls.iter().filter_map(|(url, _)| url.host_str()).map(str::to_owned));
    }
    let plain_is_allowed = !networks.as_ref()?.is_empty();
    let guard = Guard::new(hosts, networks?);
    let before = problems.len();
    for (each, node) in urls {
        match guard.check_url(each) {
            Ok(()) if each.scheme() == "http" && !plain_is_allowed => {
                problems.add(node, Refusal::Plain.to_string(), Refusal::Plain.remedy());
            }
            // The guard knows of one client either that it has TLS or that it has none.
            Ok(()) if each.scheme() != url.scheme() => {
                problems.add(node, "of `url` and `token_url` only one has TLS", "use https for both");
            }
            Ok(()) => {}
            Err(refusal) => problems.add(node, refusal.to_string(), refusal.remedy()),
        }
    }
    let (signing, ca, identity, answer_bytes) = (signing?, ca?, identity?, answer_bytes?);
    if let (Some(Signing::Keyed(scheme)), Some(auth)) = (&signing, &auth)
        && scheme.headers.contains(auth.name())
    {
        let what = format!("`auth` and the signature are both for the header `{}`", auth.name());
        problems.add(signing_node?, what, "name another header, or remove `auth`");
    }
    // What the system is told in secret is read beside it.
    let secrets = Secrets::default();
    let settings = HttpSettings { url, guard, auth, signing, ca, identity, timeout, answer_bytes, batch, secrets };
    (problems.len() == before).then_some(settings)
}

fn read_batch(node: &Node, problems: &mut Problems) -> Option<BatchSettings> {
    let mut map = node.map(problems)?;
    let requests = map.require("requests", problems).and_then(|node| node.whole(2, problems));
    let mut linger = Duration::from_millis(50);
    read_duration(&mut map, "linger", &mut linger, problems);
    // A partition that is taken away waits for it.
    if linger > LONGEST_LINGER {
        problems.add(map.node(), "`linger` can be at most 2s", "write 50ms");
    }
    let bytes = map.get("bytes").map_or(Some(1024 * 1024), |node| node.whole(1, problems));
    map.finish(problems);
    let whole = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Some(BatchSettings { requests: whole(requests?), linger, bytes: whole(bytes?) })
}

pub(super) fn read_url(node: &Node, problems: &mut Problems) -> Option<reqwest::Url> {
    let text = node.text(problems)?;
    match reqwest::Url::parse(text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.port() != Some(0)
                && url.query().is_none()
                && url.fragment().is_none() =>
        {
            Some(url)
        }
        // A URL that holds credentials is not repeated.
        _ if text.contains('@') => {
            problems.add(node, "the URL cannot be used", "write https://HOST/PATH without user, query or fragment");
            None
        }
        _ => {
            let what = format!("\"{text}\" is not a URL that a sink can have");
            problems.add(node, what, "write https://HOST/PATH without user, query or fragment");
            None
        }
    }
}

/// Hosts (empty: the URL's own) and networks.
pub(crate) fn read_allow(map: &mut Map<'_>, problems: &mut Problems) -> (Option<Vec<String>>, Option<Vec<Network>>) {
    let Some(mut allow) = map.get("allow").and_then(|node| node.map(problems)) else {
        return (Some(Vec::new()), Some(Vec::new()));
    };
    let hosts = allow.get("hosts").map_or(Some(Vec::new()), |node| {
        let texts = node.list(problems)?.iter().map(|item| item.name(problems).map(str::to_owned));
        texts.collect::<Vec<_>>().into_iter().collect()
    });
    let networks = allow.get("networks").map_or(Some(Vec::new()), |node| {
        let read: Vec<_> = node.list(problems)?.iter().map(|item| read_network(item, problems)).collect();
        read.into_iter().collect()
    });
    allow.finish(problems);
    (hosts, networks)
}

fn read_network(node: &Node, problems: &mut Problems) -> Option<Network> {
    let text = node.text(problems)?;
    let network = Network::parse(text);
    if network.is_none() {
        problems.add(node, format!("\"{text}\" is no network"), "write ADDRESS/BITS with zero host bits: 10.1.0.0/16");
    }
    network
}
