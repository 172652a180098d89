//! `hirewire health`: asks an admin port, for images that have no shell and no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::config::{ConfigFile, Secrets};
use crate::out;
use crate::vendors::Vendors;

#[derive(Args)]
pub(crate) struct HealthArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The admin port; then no configuration is read.
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// Asks /livez instead of /readyz.
    #[arg(long)]
    live: bool,
}

/// A probe that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(2);

impl HealthArguments {
    /// Exit code 0 when the process says that it is well, 1 when it says otherwise or nothing.
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let listen = match self.admin {
            Some(address) => address,
            None => self.config.read(vendors, Secrets::NONE)?.admin_listen,
        };
        let url = format!("http://{}/{}", reachable(listen), if self.live { "livez" } else { "readyz" });
        let client = reqwest::Client::builder().timeout(LIMIT).no_proxy().build().context("no HTTP client")?;
        match client.get(&url).send().await {
            Ok(answer) => {
                let well = answer.status().is_success();
                out::line(answer.text().await.unwrap_or_default().trim_end());
                Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Err(error) => {
                out::error_line(&format!("{url} does not answer: {error}"));
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// Who listens on all addresses is asked on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Stack;

    #[tokio::test]
    async fn it_says_by_its_exit_code_whether_the_process_is_ready() {
        let mut stack = Stack::default();
        let part = stack.health.component("a part");
        part.waiting("something");
        let admin = stack.admin("127.0.0.1:0".parse().unwrap(), std::path::Path::new(".")).await.unwrap();
        let ask = async |live| {
            let config = ConfigFile { config: "no-such-file".into() };
            let asked = HealthArguments { config, admin: Some(admin), live };
            asked.run(&Vendors::open(None).unwrap()).await.unwrap()
        };
        assert_eq!(ask(true).await, ExitCode::SUCCESS);
        assert_eq!(ask(false).await, ExitCode::FAILURE);
        part.ready();
        assert_eq!(ask(false).await, ExitCode::FAILURE, "other parts may follow");
        stack.started();
        assert_eq!(ask(false).await, ExitCode::SUCCESS);
        stack.stop().await.unwrap();
        assert_eq!(ask(true).await, ExitCode::FAILURE, "nobody answers");
    }

    #[test]
    fn all_addresses_are_asked_on_the_loopback_one() {
        for (listen, asked) in [("0.0.0.0:9", "127.0.0.1:9"), ("[::]:9", "[::1]:9"), ("10.1.2.3:9", "10.1.2.3:9")] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
