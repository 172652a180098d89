//! A PostgreSQL server for one test: initialised in a temporary folder, on a port of its own, gone with the test.
//!
//! On a machine that has none the test that needs it is left out, and says so; `ci/test` names it in its last lines.
//! PostgreSQL refuses to run as root: then it runs as the user `postgres`, by `setpriv`.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hirewire_service::free_address;

pub(super) struct Server {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    port: u16,
}

impl Server {
    /// `None`: this machine has no PostgreSQL server.
    pub(super) fn start() -> Option<Self> {
        let told = Command::new("pg_config").arg("--bindir").output();
        let told = told.ok().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        let Some(binaries) = find_binaries(Path::new("/usr/lib/postgresql"), told) else {
            // Not by a macro: of a test that passes cargo shows nothing that they print.
            writeln!(std::io::stderr(), "{LEFT_OUT}").unwrap();
            return None;
        };
        let folder = tempfile::Builder::new().prefix("hirewire-pg").tempdir().unwrap();
        let port = free_address().unwrap().port();
        let server = Self { folder, binaries, port };
        if is_root() {
            std::fs::set_permissions(server.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
            succeed(Command::new("chown").arg("postgres").arg(server.folder.path()));
        }
        let data = server.data();
        succeed(server.command("initdb").args(["-A", "trust", "-U", "hirewire", "-E", "UTF8", "-D"]).arg(&data));
        server.make_certificate();
        server.start_again();
        Some(server)
    }

    /// A certificate that is its own authority, for 127.0.0.1.
    fn make_certificate(&self) {
        let mut openssl = self.command_of(Path::new("openssl"));
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]);
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]).arg(self.data().join("server.key"));
        succeed(openssl.arg("-out").arg(self.certificate()));
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.data().join("server.crt")
    }

    pub(super) fn tls_url(&self) -> String {
        self.url().replace("sslmode=disable", "sslmode=require")
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://hirewire@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// Into the schema that a sink makes if it is not told another; it need not be there yet.
    pub(super) async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("SET search_path TO hirewire; SET timezone TO 'UTC'").await.unwrap();
        client
    }

    pub(super) fn start_again(&self) {
        let options =
            format!("-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c ssl=on -F", self.port);
        let log = self.folder.path().join("log");
        let mut start = self.command("pg_ctl");
        start.args(["-w", "-o", &options, "-l"]).arg(&log).arg("-D").arg(self.data()).arg("start");
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(output_of(&mut start).status.success(), "{start:?}: {}", told());
    }

    pub(super) fn stop(&mut self) {
        succeed(self.command("pg_ctl").args(["-w", "-m", "immediate", "-D"]).arg(self.data()).arg("stop"));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, name: &str) -> Command {
        self.command_of(&self.binaries.join(name))
    }

    fn command_of(&self, program: &Path) -> Command {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = self.command("pg_ctl").args(["-m", "immediate", "-D"]).arg(self.data()).arg("stop").output();
        drop(stopped);
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

const LEFT_OUT: &str = "LEFT OUT: the analytics sink on a real PostgreSQL: install its server (initdb, pg_ctl, postgres; package `postgresql`)";

/// Where `pg_config` told, else the newest version in `installed`.
fn find_binaries(installed: &Path, told: Option<PathBuf>) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(installed)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    found.sort();
    found.extend(told);
    let usable =
        |folder: &&PathBuf| ["initdb", "pg_ctl", "postgres"].iter().all(|name| Path::new(folder).join(name).exists());
    found.iter().rev().find(usable).cloned()
}

#[test]
fn a_machine_without_a_server_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(find_binaries(folder.path(), None), None);
    let newest = folder.path().join("16/bin");
    for bin in [folder.path().join("15/bin"), newest.clone()] {
        std::fs::create_dir_all(&bin).unwrap();
        assert_eq!(find_binaries(folder.path(), Some(bin.clone())).filter(|found| *found == bin), None, "it is empty");
        for name in ["initdb", "pg_ctl", "postgres"] {
            std::fs::write(bin.join(name), "").unwrap();
        }
    }
    assert_eq!(find_binaries(folder.path(), Some("/nowhere".into())), Some(newest));
}

fn output_of(command: &mut Command) -> Output {
    // Output to a file of its own would keep `pg_ctl start` waiting on the server's inherited pipes.
    command.stdin(std::process::Stdio::null()).output().unwrap()
}

fn succeed(command: &mut Command) {
    let Output { status, stdout, stderr } = output_of(command);
    assert!(
        status.success(),
        "{command:?}: {status}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
}
