//! TLS for the listener: the certificate and key are read when the broker is opened.

use tokio_native_tls::TlsAcceptor;

use crate::settings::{OpenError, Tls};

pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, OpenError> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| OpenError::Io { what: "cannot read", path: path.clone(), source })
    };
    let (certificate, key) = (read(&tls.certificate)?, read(&tls.key)?);
    let unusable = |source| OpenError::Tls { certificate: tls.certificate.clone(), key: tls.key.clone(), source };
    let identity = native_tls::Identity::from_pkcs8(&certificate, &key).map_err(unusable)?;
    let mut builder = native_tls::TlsAcceptor::builder(identity);
    builder.min_protocol_version(Some(native_tls::Protocol::Tlsv12));
    Ok(builder.build().map_err(unusable)?.into())
}
