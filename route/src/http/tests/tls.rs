//! TLS as receivers get it wrong: nothing is sent, and the fault has its word. The right one gets through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
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
struct Certificate {
    pem: Vec<u8>,
    key: Vec<u8>,
}

/// Valid from and to so many days from now.
fn certificate(host: &str, from_days: i64, to_days: i64) -> Certificate {
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
