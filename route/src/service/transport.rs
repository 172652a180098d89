//! A sink's way out and its commits, by its kind.

use std::path::PathBuf;
use std::sync::Arc;

use hirewire_kafka::{Committer, Stop};

use super::Error;
use crate::database::DatabaseTransport;
use crate::database::postgres::{Postgres, PostgresSettings};
use crate::database::sqlite::Sqlite;
use crate::deliver::outcome::Attempt;
use crate::deliver::{Delivery, Transport};
use crate::files::lines::Lines;
use crate::files::parquet::{Shapes, Tables, TablesSettings};
use crate::files::{self, FolderTransport};
use crate::heads;
use crate::http::HttpTransport;
use crate::kafka::Commits;
use crate::mail::MailTransport;
use crate::metrics::SinkMetrics;
use crate::settings::{Kind, SinkSettings};
use crate::source::{Commit, Head, Slot};
use crate::topic::{self, TopicTransport};

/// A sink's way out, by its kind.
pub(super) enum AnyTransport {
    Http(Box<HttpTransport>),
    Topic(Box<TopicTransport>),
    Mail(Box<MailTransport>),
    /// And the folder.
    Folder(FolderTransport, PathBuf),
    Postgres(DatabaseTransport, PostgresSettings),
    Sqlite(DatabaseTransport),
}

impl Transport for AnyTransport {
    async fn attempt(&self, delivery: &Delivery) -> Attempt {
        match self {
            Self::Http(transport) => transport.attempt(delivery).await,
            Self::Topic(transport) => transport.attempt(delivery).await,
            Self::Mail(transport) => transport.attempt(delivery).await,
            Self::Folder(transport, _) => transport.attempt(delivery).await,
            Self::Postgres(transport, _) | Self::Sqlite(transport) => transport.attempt(delivery).await,
        }
    }

    fn stages(&self) -> bool {
        match self {
            Self::Http(_) | Self::Mail(_) | Self::Postgres(..) | Self::Sqlite(_) => false,
            Self::Topic(transport) => transport.stages(),
            Self::Folder(transport, _) => transport.stages(),
        }
    }
}

impl AnyTransport {
    /// # Errors
    /// When it cannot be set up at all.
    pub(super) fn new(settings: &SinkSettings, metrics: &SinkMetrics) -> Result<Self, Error> {
        let name = &settings.name;
        let failed = |source| Error::Sink { sink: name.to_string(), source };
        let system = Arc::clone(&settings.system);
        match &settings.kind {
            Kind::Http(settings) => match HttpTransport::new((**settings).clone()) {
                Ok(transport) => Ok(Self::Http(Box::new(transport))),
                Err(error) => Err(failed(Box::new(error))),
            },
            Kind::Topic(settings) => match TopicTransport::new(settings.clone()) {
                Ok(transport) => Ok(Self::Topic(Box::new(transport))),
                Err(error) => Err(failed(Box::new(error))),
            },
            Kind::Lines(settings) => {
                let lines = Lines::new(settings.clone());
                match FolderTransport::start(lines, |_| true, Arc::clone(name), metrics.clone()) {
                    Ok(transport) => Ok(Self::Folder(transport, settings.path.clone())),
                    Err(error) => Err(failed(Box::new(error))),
                }
            }
            Kind::Tables(tables) => match Self::tables(tables, settings, metrics) {
                Ok(transport) => Ok(Self::Folder(transport, tables.path.clone())),
                Err(error) => Err(failed(Box::new(error))),
            },
            Kind::Mail(settings) => Ok(Self::Mail(Box::new(MailTransport::new(settings.clone())))),
            Kind::Postgres(settings) => {
                let database = Postgres::new(settings.clone(), system);
                Ok(Self::Postgres(DatabaseTransport::start(database, Arc::clone(name)), settings.clone()))
            }
            Kind::Sqlite(path) => {
                let database = Sqlite::new(path.clone(), system);
                Ok(Self::Sqlite(DatabaseTransport::start(database, Arc::clone(name))))
            }
        }
    }

    fn tables(
        tables: &TablesSettings,
        settings: &SinkSettings,
        metrics: &SinkMetrics,
    ) -> std::io::Result<FolderTransport> {
        let shapes = Arc::new(Shapes::of(&settings.system)?);
        let folder = Tables::new(tables.clone(), Arc::clone(&shapes), settings.window);
        let takes = move |delivery: &Delivery| shapes.takes(delivery);
        FolderTransport::start(folder, takes, Arc::clone(&settings.name), metrics.clone())
    }

    pub(super) fn fingerprint(&self) -> u64 {
        match self {
            Self::Http(transport) => transport.fingerprint(),
            Self::Postgres(_, settings) => settings.fingerprint(),
            Self::Mail(transport) => transport.fingerprint(),
            Self::Topic(_) | Self::Folder(..) | Self::Sqlite(_) => 0,
        }
    }

    pub(super) fn is_transactional(&self) -> bool {
        matches!(self, Self::Topic(transport) if transport.stages())
    }

    /// What must be seen to before records are taken in.
    ///
    /// # Errors
    /// When the sink cannot take anything now.
    pub(super) async fn look(&self, kafka: &hirewire_kafka::Settings) -> Result<(), Stop> {
        match self {
            Self::Topic(transport) => transport.look(kafka).await,
            Self::Folder(_, folder) => files::look(folder, kafka).await,
            Self::Postgres(transport, _) | Self::Sqlite(transport) => transport.look(kafka).await,
            Self::Http(_) | Self::Mail(_) => Ok(()),
        }
    }

    /// How offsets are committed, and what is staged with them.
    pub(super) fn commits(&self, committer: Committer) -> AnyCommits {
        let plain = committer.clone();
        let commit = move |slot: &Slot, next| plain.commit(&slot.topic, slot.partition, next);
        match self {
            Self::Topic(transport) if transport.stages() => AnyCommits::Topic(Box::new(transport.commits(committer))),
            Self::Folder(transport, _) => AnyCommits::Store(transport.commits(commit)),
            Self::Postgres(transport, _) | Self::Sqlite(transport) => AnyCommits::Store(transport.commits(commit)),
            Self::Topic(_) | Self::Http(_) | Self::Mail(_) => AnyCommits::Plain(Commits(committer)),
        }
    }
}

/// A sink's commits, by its kind.
pub(super) enum AnyCommits {
    Plain(Commits),
    Topic(Box<topic::Commits>),
    /// To the store, which has them first.
    Store(heads::Commits),
}

impl Commit for AnyCommits {
    fn commit(&self, slot: &Slot, head: Head) {
        match self {
            Self::Plain(commits) => commits.commit(slot, head),
            Self::Topic(commits) => commits.commit(slot, head),
            Self::Store(commits) => commits.commit(slot, head),
        }
    }

    fn press(&self) {
        match self {
            Self::Plain(_) | Self::Topic(_) => {}
            Self::Store(commits) => commits.press(),
        }
    }

    fn release(&self, done: Box<dyn Send>) {
        match self {
            Self::Plain(_) | Self::Topic(_) => drop(done),
            Self::Store(commits) => commits.release(done),
        }
    }
}
