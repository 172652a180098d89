//! What a broker is started with, and why a start can fail.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use prometheus::Registry;

/// Settings of a broker; [`Settings::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Everything the broker keeps. Made if it is not there; one process at a time.
    pub data_dir: PathBuf,
    /// Host that clients are told to connect to; by default the listener's address.
    pub advertised_host: Option<String>,
    /// Port that clients are told to connect to; by default the listener's.
    pub advertised_port: Option<u16>,
    /// Who may connect (SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512). Empty: everybody, and then only from this machine.
    pub users: Vec<User>,
    /// The listener speaks TLS and nothing else.
    pub tls: Option<Tls>,
    pub node_id: i32,
    /// Partitions of a topic that is created without saying how many.
    pub default_partitions: i32,
    /// Creates a topic when a client asks for one that is not there.
    pub auto_create_topics: bool,
    /// An answer waits until its bytes are on the disk. Off, a crash of the machine (not of the process) loses the last
    /// moments.
    pub sync: bool,
    pub max_connections: usize,
    pub max_request_bytes: usize,
    /// Bytes of requests and answers that may be under way in one connection at once; what is larger goes alone.
    pub max_connection_bytes: usize,
    /// Appended bytes that may be on their way to the files at once.
    pub max_inflight_bytes: usize,
    pub max_partitions: usize,
    pub max_groups: usize,
    pub max_transaction_timeout: Duration,
    pub min_session_timeout: Duration,
    pub max_session_timeout: Duration,
    /// How long the first rebalance of an empty group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// Offsets of a group without members are kept so long.
    pub offsets_retention: Duration,
    /// A transactional id that is not used is forgotten after this.
    pub transactional_id_expiration: Duration,
    /// What a partition knows of a producer that does not write is forgotten after this.
    pub producer_id_expiration: Duration,
    /// How often retention, compaction and expiry look for work.
    pub housekeeping_interval: Duration,
    /// A checkpoint follows after so many bytes of journal, or after [`Settings::checkpoint_interval`].
    pub checkpoint_bytes: u64,
    pub checkpoint_interval: Duration,
    /// The broker's metrics are registered here.
    pub metrics: Registry,
}

/// A name and its password.
#[derive(Clone)]
pub struct User {
    pub name: String,
    pub password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the broker shows who it is with: PEM files, the chain with the broker's own certificate first, and its key in PKCS#8.
#[derive(Debug, Clone)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Settings {
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            advertised_host: None,
            advertised_port: None,
            users: Vec::new(),
            tls: None,
            node_id: 1,
            default_partitions: 4,
            auto_create_topics: false,
            sync: true,
            max_connections: 1000,
            max_request_bytes: 64 * 1024 * 1024,
            max_connection_bytes: 16 * 1024 * 1024,
            max_inflight_bytes: 32 * 1024 * 1024,
            max_partitions: 4000,
            max_groups: 10_000,
            max_transaction_timeout: Duration::from_secs(15 * 60),
            min_session_timeout: Duration::from_millis(500),
            max_session_timeout: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::ZERO,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            transactional_id_expiration: Duration::from_secs(7 * 24 * 3600),
            producer_id_expiration: Duration::from_secs(24 * 3600),
            housekeeping_interval: Duration::from_secs(5),
            checkpoint_bytes: 64 * 1024 * 1024,
            checkpoint_interval: Duration::from_secs(60),
            metrics: Registry::new(),
        }
    }
}

/// Why a broker cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data directory {dir} is in use by another process: stop that one, or choose another directory")]
    InUse { dir: PathBuf },
    #[error("{dir} holds no data of a broker: name the folder in which it keeps its own, with the file `format`")]
    NotThere { dir: PathBuf },
    #[error("the data directory {dir} has format {found}, this program knows {known}: use the program that wrote it")]
    Format { dir: PathBuf, found: String, known: u32 },
    #[error(
        "{file} is damaged at byte {position}: restore the directory from a copy, or move it away to start with an empty one"
    )]
    Damaged { file: PathBuf, position: u64 },
    #[error("{what} {path}")]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the certificate {certificate} and the key {key} cannot be used: both in PEM, the key in PKCS#8")]
    Tls { certificate: PathBuf, key: PathBuf, source: native_tls::Error },
    #[error("a user of the broker has an empty name or password, or two have the same name")]
    Users,
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Why a data directory cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{dir} is not empty: a copy goes into a folder of its own")]
    NotEmpty { dir: PathBuf },
    #[error("the broker of {dir} writes faster than its files are copied: copy to a faster disk, or at a quieter time")]
    Outrun { dir: PathBuf },
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why a broker stops serving, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(
        "the listener is bound to {address}, which other machines can reach, and asks nobody for a password: set users, or bind it to a loopback address"
    )]
    NotLoopback { address: SocketAddr },
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
    #[error(
        "the broker closed without its last changes, which nobody was told of: see the log for what the disk refused"
    )]
    Close,
}
