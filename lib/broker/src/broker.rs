//! The broker as its user sees it: open, run, close.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use futures_core::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::core::{Core, State};
use crate::groups::Groups;
use crate::log::housekeeping::Housekeeper;
use crate::log::journal::Journal;
use crate::log::recovery::Recovery;
use crate::log::writer::Writer;
use crate::metrics::Metrics;
use crate::net::authentication::Users;
use crate::net::{self, tls};
use crate::settings::{OpenError, RunError, Settings, User};
use crate::topics::{MAX_PARTITIONS, Topics};
use crate::transactions::{Transactions, init::ProducerIds};

/// Format of the data directory; another one is refused.
const FORMAT: u32 = 1;

/// An open broker. It serves while [`Broker::run`] runs; dropped without, it closes its files all the same.
pub struct Broker {
    core: Arc<Core>,
    threads: Threads,
}

/// Ends the threads when dropped.
struct Threads {
    journal: Journal,
    writer: Writer,
    housekeeper: Housekeeper,
    /// In the order in which they end.
    handles: Vec<JoinHandle<()>>,
    /// Released when all threads have ended.
    lock: File,
}

impl Broker {
    /// Opens a data directory and brings it to where it was. Blocks while it reads; call it on a thread that may.
    pub fn open(mut settings: Settings) -> Result<Self, OpenError> {
        settings.max_partitions = settings.max_partitions.min(usize::try_from(MAX_PARTITIONS).unwrap_or(0));
        let metrics = Metrics::register(&settings.metrics)?;
        check_users(&settings.users)?;
        let users = Users::new(&settings.users);
        let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
        let dir = settings.data_dir.clone();
        let io = |what: &'static str| {
            let path = dir.clone();
            move |source| OpenError::Io { what, path, source }
        };
        for sub in ["journal", "topics"] {
            std::fs::create_dir_all(dir.join(sub)).map_err(io("cannot make"))?;
        }
        let lock = lock_dir(&dir)?;
        let cluster_id = check_format(&dir)?;
        let state = new_state(&settings);
        let recovered = Recovery::new(&state, &dir).run()?;
        let (writer, to_writer, writer_handle) = Writer::start().map_err(io("cannot start a thread for"))?;
        writer.put_back_dirty(recovered.dirty);
        let journal_dir = dir.join("journal");
        let (journal, journal_handle) =
            Journal::start(&journal_dir, recovered.next_journal, settings.sync, to_writer, metrics.clone())
                .map_err(io("cannot start the journal in"))?;
        let housekeeper = Housekeeper::default();
        let core = Arc::new(Core {
            room: Arc::new(Semaphore::new(settings.max_inflight_bytes / 1024)),
            settings,
            cluster_id,
            advertised: OnceLock::new(),
            state,
            journal: journal.clone(),
            writer: writer.clone(),
            housekeeper: housekeeper.clone(),
            metrics,
            users,
            tls,
        });
        let housekeeping =
            housekeeper.start(core.clone(), recovered.replayed).map_err(io("cannot start a thread for"))?;
        core.report_open_transactions();
        let handles = vec![housekeeping, journal_handle, writer_handle];
        let threads = Threads { journal, writer, housekeeper, handles, lock };
        Ok(Self { core, threads })
    }

    /// Serves on the listener until `shutdown` resolves, then lets connections go, writes a checkpoint and closes the
    /// files.
    ///
    /// # Errors
    /// The address is not one to listen on, or not all could be written at the end.
    pub fn run(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> BoxFuture<'static, Result<(), RunError>> {
        self.boxed(listener, Box::pin(shutdown))
    }

    /// Of no type of the caller's: compiled here once, and not again in each program that serves.
    fn boxed(
        self,
        listener: TcpListener,
        shutdown: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, Result<(), RunError>> {
        Box::pin(self.serve(listener, shutdown))
    }

    async fn serve(self, listener: TcpListener, shutdown: BoxFuture<'static, ()>) -> Result<(), RunError> {
        let address = listener.local_addr().map_err(RunError::Listener)?;
        if !address.ip().is_loopback() {
            if self.core.settings.users.is_empty() {
                return Err(RunError::NotLoopback { address });
            }
            if self.core.tls.is_none() {
                warn!(%address, "the broker listens beyond this machine without TLS: what passes can be read, passwords of PLAIN too");
            }
        }
        self.core.advertise(address);
        info!(%address, "the broker is open");
        let (close, closing) = watch::channel(false);
        let overdue = tokio::spawn(self.core.clone().abort_overdue());
        let serving = tokio::spawn(net::serve(self.core.clone(), listener, closing));
        shutdown.await;
        // Fails only if the server has ended by itself.
        close.send(true).ok();
        if let Err(problem) = serving.await {
            error!(error = %problem, "the listener ended badly");
        }
        overdue.abort();
        let mut threads = self.threads;
        match tokio::task::spawn_blocking(move || threads.close()).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(RunError::Close),
        }
    }
}

impl Threads {
    /// Ends them one after another; false if not all that the journal was given is on the disk.
    fn close(&mut self) -> bool {
        self.journal.stop_retrying();
        self.writer.stop_retrying();
        self.housekeeper.close();
        for (at, handle) in self.handles.drain(..).enumerate() {
            // A thread that panicked has said so; the next start recovers.
            handle.join().ok();
            if at == 0 {
                self.journal.close();
            }
        }
        // Said and not left to the end of the file: a process that is just being started elsewhere has a copy of it for a
        // moment. What cannot be unlocked is free when the last copy is gone.
        self.lock.unlock().ok();
        self.journal.is_complete()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
    }
}

/// State with nothing in it, for a recovery to fill.
pub(crate) fn new_state(settings: &Settings) -> State {
    State {
        topics: Topics::new(settings.data_dir.join("topics")),
        groups: Groups::new(settings.initial_rebalance_delay, settings.max_groups),
        transactions: Transactions::default(),
        producer_ids: ProducerIds::default(),
    }
}

fn check_users(users: &[User]) -> Result<(), OpenError> {
    let names: BTreeSet<&str> = users.iter().map(|user| user.name.as_str()).collect();
    let empty = users.iter().any(|user| user.name.is_empty() || user.password.is_empty());
    if empty || names.len() != users.len() { Err(OpenError::Users) } else { Ok(()) }
}

fn lock_dir(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let io = |source| OpenError::Io { what: "cannot lock", path: path.clone(), source };
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { what: "cannot lock", path: path.clone(), source }),
    }
}

/// Checks the directory's format, or writes it into a new one; the cluster's id, which stands beside it.
fn check_format(dir: &Path) -> Result<String, OpenError> {
    match existing_format(dir) {
        Err(OpenError::NotThere { .. }) => {}
        other => return other,
    }
    let path = dir.join("format");
    let io = |source| OpenError::Io { what: "cannot write", path: path.clone(), source };
    let id = Uuid::new_v4().simple().to_string();
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, format!("{FORMAT} {id}\n")).map_err(io)?;
    File::open(&temporary).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&temporary, &path).map_err(io)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    Ok(id)
}

/// Checks the format of a directory that must have one; the cluster's id.
pub(crate) fn existing_format(dir: &Path) -> Result<String, OpenError> {
    let path = dir.join("format");
    let text = match std::fs::read_to_string(&path) {
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => {
            return Err(OpenError::NotThere { dir: dir.to_owned() });
        }
        other => other.map_err(|source| OpenError::Io { what: "cannot read", path, source })?,
    };
    let mut words = text.split_whitespace();
    let (found, id) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if found != FORMAT.to_string() || id.is_empty() {
        return Err(OpenError::Format { dir: dir.to_owned(), found: found.to_owned(), known: FORMAT });
    }
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_broker_leaves_its_directory_even_if_a_copy_of_the_lock_lives_on() {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(Settings::new(dir.path())).unwrap();
        let copy = broker.threads.lock.try_clone().unwrap();
        drop(broker);
        assert!(Broker::open(Settings::new(dir.path())).is_ok());
        drop(copy);
    }
}
