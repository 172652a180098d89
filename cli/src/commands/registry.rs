//! `hirewire registry`: the embedded schema registry alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hirewire_registry::server::Server;
use hirewire_registry::{Tls, User};

use crate::commands::broker::{name_and_file, with_password};
use crate::commands::service::until_stopped;
use crate::out;
use crate::stack::Stack;

#[derive(Args)]
pub(crate) struct RegistryArguments {
    /// Where registry clients connect.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Where everything is kept.
    #[arg(long, default_value = "hirewire-data")]
    data: PathBuf,
    /// A client's name, and the file with its password (HTTP Basic). Give it once for each; none: everybody may do everything.
    #[arg(long = "user", value_name = "NAME=FILE", value_parser = name_and_file)]
    users: Vec<(String, PathBuf)>,
    /// TLS: the registry's certificate and those that vouch for it, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// TLS: the certificate's key, PKCS#8, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Where /metrics, /livez and /readyz listen; none without it.
    #[arg(long)]
    admin: Option<SocketAddr>,
}

impl RegistryArguments {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let users = self.users.into_iter().map(with_password).collect::<anyhow::Result<Vec<_>>>()?;
        let users: Vec<User> = users.into_iter().map(|(name, password)| User { name, password }).collect();
        let tls = self.tls_certificate.zip(self.tls_key).map(|(certificate, key)| Tls { certificate, key });
        if !self.listen.ip().is_loopback() && users.is_empty() {
            tracing::warn!(listen = %self.listen, "who reaches this address may change schemas: give --user NAME=FILE, or see that only services reach it");
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut stack = Stack::until_signal()?;
        let set = |server: Server| {
            let server = server.users(users);
            Ok(match &tls {
                Some(tls) => server.tls(tls)?,
                None => server,
            })
        };
        let address = stack.registry(self.listen, &self.data, set).await?;
        if let Some(admin) = self.admin {
            stack.admin(admin, &self.data).await?;
        }
        out::line(&format!("registry on {scheme}://{address}"));
        until_stopped(stack).await
    }
}
