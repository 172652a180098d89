//! TLS as receivers get it wrong: nothing is sent, and the fault has its word. The right one gets through.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{delivery, loopback, settings};
use crate::deliver::Transport;
use crate::deliver::outcome::{Attempt, Fault};
use crate::http::HttpTransport;

const DAY_SECS: i64 = 24 * 60 * 60;

/// PEM of a certificate and its key. It signs itself, so that it is its own authority.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) pem: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// Valid from and to so many days from now.
pub(crate) fn certificate(host: &str, from_days: i64, to_days: i64) -> Certificate {
    let now = jiff::Timestamp::now().as_second();
    let day = |days: i64| Asn1Time::from_unix(now + days * DAY_SECS).unwrap();
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", host).unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&day(from_days)).unwrap();
    builder.set_not_after(&day(to_days)).unwrap();
    builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    let names = SubjectAlternativeName::new().dns(host).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    Certificate { pem: builder.build().to_pem().unwrap(), key: key.private_key_to_pem_pkcs8().unwrap() }
}

/// A receiver with this certificate, on a port of its own; counts the requests that it could read.
async fn receiver(certificate: &Certificate, requests: &Arc<AtomicUsize>) -> u16 {
    let identity = native_tls::Identity::from_pkcs8(&certificate.pem, &certificate.key).unwrap();
    let acceptor = tokio_native_tls::TlsAcceptor::from(native_tls::TlsAcceptor::new(identity).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::clone(requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                requests.fetch_add(1, Ordering::SeqCst);
                let _sent = stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n").await;
                while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_a_receiver_whose_certificate_is_not_right() {
    const HOST: &str = "local.example";
    let right = certificate(HOST, -1, 1);
    let (ended, to_come) = (certificate(HOST, -2, -1), certificate(HOST, 1, 2));
    let (other, namesake) = (certificate("other.example", -1, 1), certificate(HOST, -1, 1));
    let refused = Attempt::Unreachable(Fault::Tls);
    let table = [
        ("the right one", &right, Some(&right), Attempt::Answered { status: 200, retry_after: None }),
        ("one that has ended", &ended, Some(&ended), refused.clone()),
        ("one that is not valid yet", &to_come, Some(&to_come), refused.clone()),
        ("another host's", &other, Some(&other), refused.clone()),
        ("one of an authority that is not trusted", &right, None, refused.clone()),
        ("one that another authority of the same name has signed", &right, Some(&namesake), refused),
    ];
    let requests = Arc::new(AtomicUsize::new(0));
    for (what, theirs, trusted, expected) in table {
        let url = format!("https://{HOST}:{}/in", receiver(theirs, &requests).await);
        let mut settings = settings(&url, loopback());
        settings.timeout = Duration::from_secs(10);
        settings.ca = trusted.map(|certificate| certificate.pem.clone());
        let outcome = HttpTransport::new(settings).unwrap().attempt(&delivery()).await;
        assert_eq!(outcome, expected, "{what}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 1, "only the right one may read a request");
}

/// A receiver that talks only to who shows one of these certificates, and remembers whose it was. It answers each
/// connection once.
fn receiver_of_certificates(own: &Certificate, known: &[&Certificate], seen: Arc<Mutex<Vec<Vec<u8>>>>) -> u16 {
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
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                seen.lock().unwrap().push(stream.ssl().peer_certificate().unwrap().to_pem().unwrap());
                let _sent = stream.write_all(b"HTTP/1.1 200 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                let _shut = stream.shutdown();
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_wants_our_certificate_sees_the_one_of_now() {
    let theirs = certificate("local.example", -1, 1);
    let (ours, renewed, strange) = (
        certificate("us.example", -1, 1),
        certificate("renewed.example", -1, 1),
        certificate("strange.example", -1, 1),
    );
    let seen = Arc::default();
    let port = receiver_of_certificates(&theirs, &[&ours, &renewed], Arc::clone(&seen));
    let folder = tempfile::tempdir().unwrap();
    let files = ["certificate", "key"].map(|name| folder.path().join(name));
    let write = |certificate: &Certificate| {
        std::fs::write(&files[0], &certificate.pem).unwrap();
        std::fs::write(&files[1], &certificate.key).unwrap();
    };
    let identity = |problems: &mut hirewire_yaml::Problems| {
        let [certificate, key] =
            ["certificate", "key"].map(|name| format!("{{file: {}}}", folder.path().join(name).display()));
        let text = format!("{{url: 'https://x.example', certificate: {certificate}, key: {key}}}");
        crate::settings::read_http(&hirewire_yaml::parse("s", &text).unwrap(), problems)?.identity
    };
    let mut settings = settings(&format!("https://local.example:{port}/in"), loopback());
    settings.timeout = Duration::from_secs(10);
    settings.ca = Some(theirs.pem.clone());
    let without = HttpTransport::new(settings.clone()).unwrap().attempt(&delivery()).await;
    assert!(matches!(without, Attempt::Unreachable(_)), "{without:?}");

    write(&ours);
    settings.identity = identity(&mut hirewire_yaml::Problems::new());
    let transport = HttpTransport::new(settings).unwrap();
    let delivered = Attempt::Answered { status: 200, retry_after: None };
    assert_eq!(transport.attempt(&delivery()).await, delivered);
    write(&renewed);
    assert_eq!(transport.attempt(&delivery()).await, delivered, "without a restart");
    assert_eq!(*seen.lock().unwrap(), [ours.pem.clone(), renewed.pem.clone()]);
    write(&strange);
    assert!(matches!(transport.attempt(&delivery()).await, Attempt::Unreachable(_)));
    assert_eq!(seen.lock().unwrap().len(), 2, "nobody else is talked to");

    // The key of another certificate: nothing is sent, and `hirewire check` says what is wrong.
    std::fs::write(&files[1], &ours.key).unwrap();
    assert_eq!(transport.attempt(&delivery()).await, Attempt::SecretMissing);
    let mut problems = hirewire_yaml::Problems::new();
    assert!(identity(&mut problems).is_none());
    assert!(problems.to_string().contains("it is not the key of the certificate"), "{problems}");
    std::fs::remove_file(&files[1]).unwrap();
    assert_eq!(transport.attempt(&delivery()).await, Attempt::SecretMissing);
}
