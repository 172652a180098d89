//! A vendor that wants to see our certificate (mutual TLS), over real TLS.

use std::io::{Read, Write};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use tempfile::TempDir;

use super::*;

const MANIFEST: &str = r#"
vendor: greenhouse
api:
  base_url: {per_connection: "https://company.vendor.example/v3"}
  auth: {oauth2_client_credentials: {token_url: "https://vendor.example/token", expires_at: expires_at}}
  mutual_tls: true
  paging: {link_cursor: {param: cursor}}
  lag: 0s
  overlap: 0s
  streams: {jobs: {subject: {Job: id}, whole: true}}
"#;

/// PEM of a certificate that signs itself, and of its key.
struct Certificate {
    pem: Vec<u8>,
    key: Vec<u8>,
}

fn certificate(name: &str) -> Certificate {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(Timestamp::now().as_second() - 60).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    let names = SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    Certificate { pem: builder.build().to_pem().unwrap(), key: key.private_key_to_pem_pkcs8().unwrap() }
}

/// Whose certificate each request came with, and the first line of the request.
type Seen = Arc<Mutex<Vec<(Vec<u8>, String)>>>;

/// A vendor that talks only to who shows one of these certificates: gives a token, and one job. Its port.
fn vendor(own: &Certificate, known: &[&Certificate], seen: Seen) -> u16 {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&X509::from_pem(&own.pem).unwrap()).unwrap();
    acceptor.set_private_key(&PKey::private_key_from_pem(&own.key).unwrap()).unwrap();
    for certificate in known {
        acceptor.cert_store_mut().add_cert(X509::from_pem(&certificate.pem).unwrap()).unwrap();
    }
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let acceptor = acceptor.build();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            let mut request = [0; 4096];
            let Ok(read @ 1..) = stream.read(&mut request) else { continue };
            let first = String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or_default().to_owned();
            let token = r#"{"access_token":"t","expires_at":"2099-01-01T00:00:00Z"}"#;
            let body = if first.starts_with("POST /token") { token } else { r#"[{"id":1}]"# };
            seen.lock().unwrap().push((stream.ssl().peer_certificate().unwrap().to_pem().unwrap(), first));
            let length = body.len();
            let answer = format!("HTTP/1.1 200 x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            let _sent = stream.write_all(answer.as_bytes());
            let _shut = stream.shutdown();
        }
    });
    port
}

/// The settings of a connection, whose files are in this folder.
fn settings(folder: &TempDir, port: u16, own: &str) -> String {
    format!(
        "client_id: {{file: {0}/id}}\nclient_secret: {{file: {0}/secret}}\nbase_url: https://127.0.0.1:{port}/v3\n\
         token_url: https://127.0.0.1:{port}/token\nca: {0}/ca\nretry_first: 1ms\nretry_most: 2ms\nattempts: 2\n{own}",
        folder.path().display()
    )
}

fn own(folder: &TempDir) -> String {
    format!("certificate: {{file: {0}/certificate}}\nkey: {{file: {0}/key}}", folder.path().display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_wants_our_certificate_sees_the_one_of_now_for_tokens_and_for_pages() {
    let theirs = certificate("vendor");
    let (ours, renewed, strange) = (certificate("ours"), certificate("renewed"), certificate("strange"));
    let seen = Seen::default();
    let port = vendor(&theirs, &[&ours, &renewed], seen.clone());
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    let show = |certificate: &Certificate| {
        put("certificate", &certificate.pem);
        put("key", &certificate.key);
    };
    put("id", b"client");
    put("secret", b"password");
    put("ca", &theirs.pem);
    show(&ours);
    let connection = connection_of(MANIFEST, &settings(&folder, port, &own(&folder)));
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    let mut round = async || {
        poller.one_round().await;
        let shown: Vec<_> = std::mem::take(&mut *seen.lock().unwrap());
        (shown.into_iter().map(|(pem, _)| pem).collect::<Vec<_>>(), poller.lanes[0].failing)
    };
    assert_eq!(round().await, (vec![ours.pem.clone(); 2], None), "a token and a page");
    assert_eq!(ledger.bodies(), [r#"{"id":1}"#]);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(round().await, (vec![ours.pem.clone()], None));
    show(&renewed);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(round().await, (vec![renewed.pem.clone(); 2], None), "without a restart, and with a token of its own");
    show(&strange);
    let (shown, failing) = round().await;
    assert!(shown.is_empty() && failing.is_some(), "nobody else is talked to: {failing:?}");
    put("key", &ours.key);
    assert_eq!(round().await, (Vec::new(), Some("poll-credentials")), "the key of another certificate");
    show(&renewed);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(round().await, (vec![renewed.pem.clone(); 2], None));
}

#[test]
fn settings_name_a_certificate_where_the_vendor_wants_one_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (certificate("ours"), certificate("other"));
    let put = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    for (name, content) in [("id", &b"a"[..]), ("secret", b"b"), ("ca", &ours.pem), ("certificate", &ours.pem)] {
        put(name, content);
    }
    put("key", &ours.key);
    let mistakes = |manifest: &str, own: &str| {
        let manifest = Manifest::parse("manifest.yaml", manifest).unwrap();
        let node = hirewire_yaml::parse("h.yaml", &settings(&folder, 1, own)).unwrap();
        let mut problems = Problems::new();
        let role = Some(crate::Role::Poll);
        let read = Connection::read("acme", "t", &manifest, None, Some(&node), role, &mut problems);
        problems.into_result(read).err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    let own = own(&folder);
    assert_eq!(mistakes(MANIFEST, &own), "");
    let without = MANIFEST.replace("  mutual_tls: true\n", "");
    assert_eq!(mistakes(&without, ""), "");
    let half = own.lines().next().unwrap().to_owned();
    for (manifest, own, part) in [
        (MANIFEST, "", "`certificate` is missing (this vendor wants a certificate of ours"),
        (&without, &own, "this vendor asks for no certificate"),
        (MANIFEST, &half, "a certificate of our own needs its key"),
    ] {
        let told = mistakes(manifest, own);
        assert!(told.contains(part), "{own}: {told}");
    }
    put("key", &other.key);
    let told = mistakes(MANIFEST, &own);
    assert!(told.contains("h.yaml:10: it is not the key of the certificate"), "{told}");
    assert!(!told.contains("PRIVATE KEY-----"), "{told}");
}
