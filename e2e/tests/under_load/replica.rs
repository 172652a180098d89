//! One replica of a service, as a process of its own, and the balancer in front of two of them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hirewire_e2e::deployment::stop;
use hirewire_e2e::{Running, binary, free, http};

const PATIENCE: Duration = Duration::from_secs(120);

/// The arguments of a service.
pub(crate) type Service = &'static [&'static str];

pub(crate) const WEBHOOK: Service = &["ingest", "--role", "webhook"];
pub(crate) const NORMALIZE: Service = &["normalize"];
pub(crate) const ROUTE: Service = &["route"];

pub(crate) struct Replica<'a> {
    service: Service,
    folder: &'a Path,
    admin: SocketAddr,
    running: Option<Running>,
}

impl<'a> Replica<'a> {
    /// Of the binary that was built with this test; the folder has its `hirewire.yaml`.
    pub(crate) fn start(service: Service, folder: &'a Path) -> Self {
        Self::of(&binary().unwrap(), service, folder)
    }

    /// Of another binary.
    pub(crate) fn of(binary: &Path, service: Service, folder: &'a Path) -> Self {
        let mut replica = Self { service, folder, admin: free(), running: None };
        replica.spawn(binary);
        replica
    }

    pub(crate) fn wait_until_ready(&self) {
        let until = Instant::now() + PATIENCE;
        let ready = || http::get(self.admin, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
        while !ready() {
            assert!(Instant::now() < until, "{:?} is not ready: {}", self.service, self.last_words());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The end of the log that the replicas of this folder share.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// SIGTERM, which it must obey with exit code 0.
    pub(crate) fn stop(&mut self) {
        stop(self.running.take().unwrap());
    }

    /// Stops it, and starts the next one in its place, on its files.
    pub(crate) fn replace(&mut self, binary: &Path) {
        self.stop();
        self.spawn(binary);
        self.wait_until_ready();
    }

    fn spawn(&mut self, binary: &Path) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let admin = self.admin.to_string();
        let mut command = Command::new(binary);
        command.args(self.service).args(["--config", "hirewire.yaml", "--admin", &admin]).current_dir(self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).env_remove("RUST_LOG");
        self.running = Some(Running(command.spawn().unwrap()));
    }
}

/// Gives each connection to the first replica that takes it, turn by turn.
pub(crate) fn balance(replicas: [SocketAddr; 2]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (turn, client) in listener.incoming().enumerate() {
            let client = client.unwrap();
            let Some(replica) = (0..2).find_map(|next| TcpStream::connect(replicas[(turn + next) % 2]).ok()) else {
                continue;
            };
            for (from, to) in [(&client, &replica), (&replica, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    std::io::copy(&mut from, &mut to).ok();
                    to.shutdown(std::net::Shutdown::Write).ok();
                });
            }
        }
    });
    address
}
