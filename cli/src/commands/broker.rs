//! `hirewire broker`: the embedded broker alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use hirewire_broker::{Tls, User};

use crate::commands::service::until_stopped;
use crate::out;
use crate::stack::Stack;

#[derive(Args)]
pub(crate) struct BrokerArguments {
    /// Where Kafka clients connect. Where other machines can reach it, users are demanded.
    #[arg(long, default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
    /// What clients are told to connect to, if it is not what it listens on.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    advertised: Option<(String, u16)>,
    /// Where everything is kept.
    #[arg(long, default_value = "hirewire-data")]
    data: PathBuf,
    /// A client's name, and the file with its password (SASL PLAIN, SCRAM-SHA-256 and -512). Give it once for each.
    #[arg(long = "user", value_name = "NAME=FILE", value_parser = name_and_file)]
    users: Vec<(String, PathBuf)>,
    /// TLS: the broker's certificate and those that vouch for it, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// TLS: the certificate's key, PKCS#8, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Where /metrics, /livez and /readyz listen; none without it.
    #[arg(long)]
    admin: Option<SocketAddr>,
}

pub(crate) fn name_and_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) =
        text.rsplit_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty()).ok_or("write NAME=FILE")?;
    Ok((name.to_owned(), file.into()))
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).ok_or("write HOST:PORT")?;
    Ok((host.to_owned(), port.parse().map_err(|_| "write HOST:PORT")?))
}

impl BrokerArguments {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(
            self.listen.ip().is_loopback() || !self.users.is_empty(),
            "{}: other machines can reach this address, and nobody is asked for a password; give --user NAME=FILE, or listen on a loopback address",
            self.listen
        );
        let mut stack = Stack::until_signal()?;
        let users = self.users.into_iter().map(with_password).collect::<anyhow::Result<Vec<_>>>()?;
        let users = users.into_iter().map(|(name, password)| User { name, password }).collect();
        let tls = self.tls_certificate.zip(self.tls_key).map(|(certificate, key)| Tls { certificate, key });
        let address = stack
            .broker(self.listen, &self.data, |settings| {
                settings.users = users;
                settings.tls = tls;
                (settings.advertised_host, settings.advertised_port) = self.advertised.unzip();
            })
            .await?;
        if let Some(admin) = self.admin {
            stack.admin(admin, &self.data).await?;
        }
        out::line(&format!("broker on {address}"));
        until_stopped(stack).await
    }
}

/// The name and the password in the file.
pub(crate) fn with_password((name, file): (String, PathBuf)) -> anyhow::Result<(String, String)> {
    let password = std::fs::read_to_string(&file)
        .with_context(|| format!("the password of {name} cannot be read from {}", file.display()))?;
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    anyhow::ensure!(!password.is_empty(), "{} is empty; write the password of {name} into it", file.display());
    Ok((name, password))
}
