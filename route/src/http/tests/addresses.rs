//! The guard, checked at the socket: whatever address a sink's URL spells or its resolver says, nothing that was not
//! allowed is connected to.

use std::net::IpAddr;
use std::sync::Arc;

use super::{attempt, resolver};
use crate::deliver::outcome::{Attempt, Fault};
use crate::http::guard::{Guard, Refusal};
use crate::http::networks::{Network, is_public};
use crate::tests::support::Trap;

/// As URLs spell them: decimal, octal, hexadecimal, short, IPv6 in all its forms.
const LITERALS: [&str; 66] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
    "0.0.0.1",
    "10.0.0.1",
    "10.255.255.255",
    "0xa000001",
    "012.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    // Digits, dots and brackets that the URL's parser makes plain.
    "%31%32%37.0.0.1",
    "127%2e0.0.1",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "0x7F.1",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:0:127.0.0.1]",
    "[2001:0:7f00:1::]",
    "[fec0::1]",
    "[64:ff9b::192.168.1.1]",
];

/// What is no URL at all, or one that the settings refuse.
const IMPOSSIBLE: [&str; 12] = [
    "https://127.0.0.1:0/",
    "https://hires.example.com:0/",
    "https://hires.example.com:65536/",
    "https://hires.example.com:-1/",
    "https://hires.example.com:22:443/",
    "https://256.256.256.256/",
    "https://0x100000000/",
    "https://127.0.0.0x1g/",
    "https://[fe80::1%25eth0]/",
    "https://[::1/",
    "https:///etc/passwd",
    "https://hires.example.com\\@127.0.0.1/?#",
];

/// What a name may resolve to.
const RESOLVED: [&str; 34] = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "100.64.1.1",
    "169.254.169.254",
    "172.20.0.1",
    "192.168.1.1",
    "192.0.0.8",
    "192.31.196.1",
    "192.52.193.1",
    "192.175.48.1",
    "198.18.5.5",
    "224.1.1.1",
    "250.1.1.1",
    "255.255.255.255",
    "168.63.129.16",
    "::1",
    "::",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::7f00:1",
    "2001::1",
    "2001:db8::1",
    "2001:20::1",
    "2002:a00:1::",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "fe80::1",
    "fd12:3456::1",
    "ff05::2",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_that_is_not_allowed_is_ever_connected_to() {
    let trap = Trap::set().await;
    let mut cases = 0;
    for scheme in ["http", "https"] {
        for literal in LITERALS {
            let url: reqwest::Url = format!("{scheme}://{literal}:{}/x", trap.port).parse().unwrap();
            // As if the operator had allowed the host: the address is refused all the same.
            let host = url.host_str().unwrap().to_owned();
            let outcome =
                attempt(url.as_str(), Guard::new(vec![host.trim_end_matches('.').to_owned()], Vec::new())).await;
            assert_eq!(outcome, Attempt::AddressRefused, "{url}");
            cases += 1;
        }
        for address in RESOLVED {
            let url = format!("{scheme}://hires.example.com:{}/x", trap.port);
            let guard =
                Guard::with_lookup(vec!["hires.example.com".to_owned()], Vec::new(), resolver(vec![vec![address]]));
            assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused, "{address}");
            cases += 1;
        }
    }
    // The address is allowed, and something else of the URL is not.
    for url in [
        "https://user@HOST/",
        "https://user:pw@HOST/",
        "https://:pw@HOST/",
        "http://user@HOST/",
        "https://other.example.com/",
        "https://localhost:PORT/",
        "https://HOST.other.example.com/",
        "ftp://HOST/",
        "ws://HOST/",
        "gopher://HOST/",
        "file:///etc/passwd",
        "file://127.0.0.1/etc/passwd",
        "data:text/plain,x",
    ] {
        let url = url.replace("HOST", "127.0.0.1:PORT").replace("PORT", &trap.port.to_string());
        let url = url.replace(&format!(":{}.other", trap.port), ".other");
        let guard = Guard::new(vec!["127.0.0.1".to_owned()], vec![Network::parse("127.0.0.0/8").unwrap()]);
        assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused, "{url}");
        cases += 1;
    }
    // An allowed network allows itself alone, whatever the address is wrapped in.
    for address in ["10.2.0.1", "::ffff:10.2.0.1", "64:ff9b::10.2.0.1", "127.0.0.1", "::1", "169.254.169.254"] {
        let url = format!("https://hires.example.com:{}/x", trap.port);
        let network = vec![Network::parse("10.1.0.0/16").unwrap()];
        let guard = Guard::with_lookup(vec!["hires.example.com".to_owned()], network, resolver(vec![vec![address]]));
        assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused, "{address}");
        cases += 1;
    }
    for url in IMPOSSIBLE {
        let text =
            format!("{{url: '{url}', allow: {{hosts: [hires.example.com, 127.0.0.1], networks: ['127.0.0.0/8']}}}}");
        let mut problems = hirewire_yaml::Problems::new();
        let settings = crate::settings::read_http(&hirewire_yaml::parse("s", &text).unwrap(), &mut problems);
        assert!(settings.is_none() && !problems.is_empty(), "{url}");
        cases += 1;
    }
    assert!(cases >= 200, "{cases}");
    assert_eq!(trap.count(), 0, "connections that should not be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebinding_name_is_judged_at_the_resolution_that_connects() {
    let trap = Trap::set().await;
    // Public at first sight, local when it counts: there is only one resolution, and it is the checked one.
    let lookup = resolver(vec![vec!["93.184.216.34"], vec!["127.0.0.1"]]);
    let guard = Guard::with_lookup(vec!["hires.example.com".to_owned()], Vec::new(), Arc::clone(&lookup));
    assert_eq!(guard.resolve("hires.example.com", false).await.unwrap().len(), 1);
    let url = format!("https://hires.example.com:{}/x", trap.port);
    assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused);
    // Of a mixed answer only what is public may be tried.
    let guard = Guard::with_lookup(
        vec!["m.example".to_owned()],
        Vec::new(),
        resolver(vec![vec!["127.0.0.1", "8.8.8.8", "::1"]]),
    );
    assert_eq!(guard.resolve("m.example", false).await.unwrap(), ["8.8.8.8".parse::<IpAddr>().unwrap()]);
    assert_eq!(trap.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_network_is_connected_to_and_plain_http_only_there() {
    let trap = Trap::set().await;
    let loopback = || vec![Network::parse("127.0.0.0/8").unwrap()];
    let url = format!("http://local.example:{}/x", trap.port);
    let guard = Guard::with_lookup(vec!["local.example".to_owned()], loopback(), resolver(vec![vec!["127.0.0.1"]]));
    // The trap hangs up at once: it is the connection that counts.
    assert_eq!(attempt(&url, guard).await, Attempt::Unreachable(Fault::Protocol));
    assert!(trap.count() >= 1);
    let guard = Guard::with_lookup(vec!["local.example".to_owned()], loopback(), resolver(vec![vec!["8.8.8.8"]]));
    assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused, "plain http to a public address");
}

#[test]
fn what_resolves_names_by_itself_is_judged_by_the_same_rules() {
    let guard = Guard::new(vec!["k.example".to_owned()], vec![Network::parse("10.2.0.0/16").unwrap()]);
    let check = |host: &str, address: &str, plain| guard.check(host, address.parse().unwrap(), plain).err();
    for address in RESOLVED {
        assert_eq!(check("k.example", address, false), Some(Refusal::Address), "{address}");
    }
    assert_eq!(check("other.example", "8.8.8.8", false), Some(Refusal::Host));
    assert_eq!(check("other.example", "10.2.0.1", false), Some(Refusal::Host));
    assert_eq!(check("k.example", "8.8.8.8", true), Some(Refusal::Plain));
    assert_eq!((check("K.example.", "8.8.8.8", false), check("k.example", "10.2.0.1", true)), (None, None));
}

#[test]
fn the_edges_of_the_special_networks_are_right() {
    let public = [
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2003::1",
        "2a00::1",
        "3ffe::1",
    ];
    let special = [
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.255.255",
        "198.19.255.255",
        "224.0.0.0",
        "2001:1ff::1",
        "2001:db8:ffff::1",
        "2002::1",
        "3fff:fff::1",
        "4000::1",
        "1fff::1",
    ];
    for text in public {
        assert!(is_public(text.parse().unwrap()), "{text}");
    }
    for text in special {
        assert!(!is_public(text.parse().unwrap()), "{text}");
    }
}
