//! `smtp:` of a sink.

use std::time::Duration;

use hirewire_service::Secret;
use hirewire_yaml::{Node, Problems};
use lettre::message::Mailbox;

use crate::http::guard::Guard;
use crate::settings::{read_allow, read_duration};

/// The checked settings of an `smtp` sink.
#[derive(Clone)]
pub(crate) struct MailSettings {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) login: Option<(String, Secret)>,
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) guard: Guard,
    /// Trusted beside the system's authorities; PEM.
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// TLS is asked for before anything else is said, and had or nothing is sent.
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// Into allowed networks alone.
    None,
}

impl MailSettings {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let host = map.require("host", problems).and_then(|node| node.name(problems)).map(str::to_owned);
        let kinds = [("starttls", Security::Starttls), ("implicit", Security::Implicit), ("none", Security::None)];
        let security_node = map.get("tls");
        let security = security_node.map_or(Some(Security::Starttls), |node| node.choice(&kinds, problems));
        let port = map.get("port").map_or(Some(None), |node| read_port(node, problems).map(Some));
        let login = map.get("login").map_or(Some(None), |node| read_login(node, problems).map(Some));
        let from = map.require("from", problems).and_then(|node| read_mailbox(node, problems));
        let to = map.require("to", problems).and_then(|node| read_mailboxes(node, problems));
        let (hosts, networks) = read_allow(&mut map, problems);
        let ca = map.get("ca").map_or(Some(None), |node| hirewire_service::settings::ca(node, problems).map(Some));
        let mut timeout = Duration::from_secs(30);
        read_duration(&mut map, "timeout", &mut timeout, problems);
        map.finish(problems);
        let (host, security, networks, mut hosts) = (host?, security?, networks?, hosts?);
        if security == Security::None && networks.is_empty() {
            problems.add(
                security_node?,
                "mail without TLS is for allowed networks only",
                "remove `tls: none`, or list the network under `allow`",
            );
            return None;
        }
        if hosts.is_empty() {
            hosts.push(host.clone());
        }
        let guard = Guard::new(hosts, networks);
        if !guard.lists(&host) {
            problems.add(node, "the host is not in the allow-list", "add the host to `allow.hosts`");
            return None;
        }
        let usual = if security == Security::Implicit { 465 } else { 587 };
        let (login, from, to, ca) = (login?, from?, to?, ca?);
        Some(Self { host, port: port?.unwrap_or(usual), security, login, from, to, guard, ca, timeout })
    }
}

fn read_port(node: &Node, problems: &mut Problems) -> Option<u16> {
    let port = node.whole(1, problems)?;
    let fits = u16::try_from(port).ok();
    if fits.is_none() {
        problems.add(node, format!("{port} is no port"), "write a number up to 65535");
    }
    fits
}

fn read_login(node: &Node, problems: &mut Problems) -> Option<(String, Secret)> {
    let mut map = node.map(problems)?;
    let user = map.require("user", problems).and_then(|node| node.name(problems)).map(str::to_owned);
    let password = map.require("password", problems).and_then(|node| Secret::read(node, problems));
    map.finish(problems);
    user.zip(password)
}

fn read_mailbox(node: &Node, problems: &mut Problems) -> Option<Mailbox> {
    let read = node.text(problems)?.parse().ok();
    if read.is_none() {
        // An address is not repeated: it is somebody's.
        problems.add(node, "this is no address of mail", "write NAME@HOST, or \"Name <NAME@HOST>\"");
    }
    read
}

fn read_mailboxes(node: &Node, problems: &mut Problems) -> Option<Vec<Mailbox>> {
    let items = node.list(problems)?;
    if items.is_empty() || items.len() > 50 {
        problems.add(node, "a mail has somebody to go to, and not too many", "list 1 to 50 addresses");
        return None;
    }
    let read: Vec<_> = items.iter().map(|item| read_mailbox(item, problems)).collect();
    read.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MailSettings, Problems> {
        let mut problems = Problems::new();
        let settings = MailSettings::read(&hirewire_yaml::parse("m.yaml", text).unwrap(), &mut problems);
        problems.into_result(settings)
    }

    #[test]
    fn a_server_has_tls_unless_its_network_is_allowed() {
        let text =
            |rest: &str| format!("host: mail.example.com\nfrom: hw@example.com\nto: ['Ann <ann@example.com>']\n{rest}");
        let usual = read(&text("")).ok().unwrap();
        assert_eq!((usual.port, usual.security, usual.to.len()), (587, Security::Starttls, 1));
        assert_eq!(read(&text("tls: implicit")).ok().unwrap().port, 465);
        let refused = read(&text("tls: none")).err().unwrap().to_string();
        assert!(refused.contains("m.yaml:4: mail without TLS is for allowed networks only"), "{refused}");
        let allowed = read(&text("tls: none\nport: 25\nallow: {networks: [10.1.0.0/16]}")).ok().unwrap();
        assert_eq!((allowed.port, allowed.security), (25, Security::None));
    }

    #[test]
    fn every_mistake_comes_with_its_line_and_no_address_is_repeated() {
        let found =
            read("host: mail.example.com\nfrom: ann.example.com\nto: []\nport: 70000\ntls: ssl\nlogin: {user: u}\n");
        let found = found.err().unwrap().to_string();
        for expected in [
            "m.yaml:2: this is no address of mail",
            "m.yaml:3: a mail has somebody to go to",
            "m.yaml:4: 70000 is no port",
            "m.yaml:5: \"ssl\" is not known here",
            "m.yaml:6: `password` is missing",
        ] {
            assert!(found.contains(expected), "{expected}\nnot in\n{found}");
        }
        assert!(!found.contains("ann.example.com"));
    }
}
