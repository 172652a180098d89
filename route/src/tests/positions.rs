//! What a database sink knows of where its records stand, in a SQLite file and on a PostgreSQL server that the test starts.
//!
//! A trigger notes each write of an application's row, so that a row that is written again is seen.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::databases::{A, application, change, delivery, id, postgres_settings};
use super::ground::Ground;
use super::postgres_server::Server;
use super::support::{slot, until};
use crate::database::DatabaseTransport;
use crate::database::postgres::Postgres;
use crate::database::sqlite::Sqlite;
use crate::deliver::Transport;
use crate::deliver::outcome::Attempt;
use crate::heads::Commits;
use crate::source::{Commit, Head};
use crate::system::{System, carried};

/// A database, and the way into it that its users have.
enum Database {
    Sqlite(PathBuf, #[allow(dead_code, reason = "held for its drop")] tempfile::TempDir),
    Postgres(Box<Server>),
}

impl Database {
    /// All that this machine has.
    fn all() -> Vec<Self> {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Self::Sqlite(folder.path().join("d.sqlite"), folder);
        [Some(sqlite), Server::start().map(|server| Self::Postgres(Box::new(server)))].into_iter().flatten().collect()
    }

    /// A sink that begins, as after a crash of the one before.
    fn sink(&self, system: &Arc<System>) -> DatabaseTransport {
        let (name, system) = ("analytics".into(), Arc::clone(system));
        match self {
            Self::Sqlite(path, _) => DatabaseTransport::start(Sqlite::new(path.clone(), system), name),
            Self::Postgres(server) => {
                let text = format!("{{url: '{}', allow: {{networks: ['127.0.0.0/8']}}}}", server.url());
                DatabaseTransport::start(Postgres::new(postgres_settings(&text), system), name)
            }
        }
    }

    async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(path, _) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            Self::Postgres(server) => server.client().await.batch_execute(sql).await.unwrap(),
        }
    }

    /// The first column, as text.
    async fn texts(&self, sql: &str) -> Vec<String> {
        match self {
            Self::Sqlite(path, _) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut query = connection.prepare(sql).unwrap();
                query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
            }
            Self::Postgres(server) => {
                let rows = server.client().await.query(sql, &[]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// Notes what is written to `application` from now on, in `written`.
    async fn note_writes(&self) {
        let sql = match self {
            Self::Sqlite(..) => {
                "CREATE TABLE written (number INTEGER PRIMARY KEY, status TEXT);
                 CREATE TRIGGER i AFTER INSERT ON application BEGIN INSERT INTO written (status) VALUES (new.status); END;
                 CREATE TRIGGER u AFTER UPDATE ON application BEGIN INSERT INTO written (status) VALUES (new.status); END;"
            }
            Self::Postgres(_) => {
                "CREATE TABLE written (number bigint GENERATED ALWAYS AS IDENTITY, status text);
                 CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO written (status) VALUES (new.status); RETURN NULL; END $$;
                 CREATE TRIGGER note AFTER INSERT OR UPDATE ON application FOR EACH ROW EXECUTE FUNCTION note()"
            }
        };
        self.run(sql).await;
    }

    async fn written(&self) -> Vec<String> {
        self.texts("SELECT status FROM written ORDER BY number").await
    }

    /// `next_offset ahead` of partition 0.
    async fn position(&self) -> Vec<String> {
        self.texts("SELECT next_offset || ' ' || ahead FROM sink_position WHERE partition = 0").await
    }
}

async fn put(sink: &DatabaseTransport, system: &Arc<System>, offset: i64, status: &str) -> Attempt {
    sink.attempt(&delivery(system, &application(status, 1), offset)).await
}

fn head(next_offset: i64) -> Head {
    Head { next_offset, records: 1, staged: Vec::new() }
}

/// Commits that are noted.
fn commits(sink: &DatabaseTransport) -> (Commits, Arc<Mutex<Vec<i64>>>) {
    let committed = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&committed);
    (sink.commits(move |_, next| heard.lock().unwrap().push(next)), committed)
}

/// A slow key holds the head back, and the process dies: what was written behind it comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_no_row_is_written_again_and_no_older_state_is_seen() {
    for database in Database::all() {
        let system = carried("analytics");
        let sink = database.sink(&system);
        let other = delivery(&system, &change(1, "STAGE", Some(1), Some(2), 1, &[]), 3);
        assert_eq!(sink.attempt(&other).await, Attempt::Stored);
        database.note_writes().await;
        for (offset, status) in [(7, "ACTIVE"), (9, "REJECTED"), (10, "HIRED")] {
            assert_eq!(put(&sink, &system, offset, status).await, Attempt::Stored);
        }
        assert_eq!(database.position().await, ["0 [[3,4],[7,8],[9,11]]"]);
        drop(sink);

        let sink = database.sink(&system);
        for (offset, status) in [(7, "ACTIVE"), (9, "REJECTED"), (10, "HIRED")] {
            assert_eq!(put(&sink, &system, offset, status).await, Attempt::Known);
        }
        // The slow one has come to its end.
        let slow = delivery(&system, &change(2, "STAGE", Some(1), Some(2), 2, &[]), 8);
        assert_eq!(sink.attempt(&slow).await, Attempt::Stored);
        let (commits, committed) = commits(&sink);
        commits.commit(&slot(0), head(9));
        until("the commit", || *committed.lock().unwrap() == [9]).await;
        assert_eq!(database.position().await, ["11 []"], "what stands behind the head without a gap is in");
        assert_eq!(put(&sink, &system, 10, "HIRED").await, Attempt::Known);
        assert_eq!(database.written().await, ["ACTIVE", "REJECTED", "HIRED"]);
    }
}

/// The head is in the database when the offset is committed, and is not lost while the database is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_is_committed_when_the_database_has_it() {
    for mut database in Database::all() {
        let system = carried("analytics");
        let sink = database.sink(&system);
        assert_eq!(put(&sink, &system, 4, "ACTIVE").await, Attempt::Stored);
        if let Database::Postgres(server) = &mut database {
            server.stop();
        }
        let (commits, committed) = commits(&sink);
        commits.commit(&slot(0), head(5));
        // Records that were nothing for the sink, or dead letters.
        commits.commit(&slot(0), head(8));
        let (done, mut released) = tokio::sync::oneshot::channel::<()>();
        commits.release(Box::new(done));
        if let Database::Postgres(server) = &mut database {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(committed.lock().unwrap().is_empty());
            assert_eq!(released.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty));
            server.start_again();
        }
        assert!(released.await.is_err(), "given back when it was committed");
        assert_eq!(committed.lock().unwrap().last(), Some(&8));
        assert_eq!(database.position().await, ["8 []"]);
        // Nothing waits: the partition goes at once.
        let (done, released) = tokio::sync::oneshot::channel::<()>();
        commits.release(Box::new(done));
        assert!(released.await.is_err());
    }
}

/// A former owner that did not notice, and the next one: whoever comes later finds the row, and writes nothing older over it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_of_a_partition_write_each_row_once() {
    for database in Database::all() {
        let system = carried("analytics");
        let (former, next) = (database.sink(&system), database.sink(&system));
        assert_eq!(put(&next, &system, 0, "ACTIVE").await, Attempt::Stored);
        database.note_writes().await;
        for (offset, status) in [(10, "ACTIVE"), (20, "HIRED")] {
            assert_eq!(put(&next, &system, offset, status).await, Attempt::Stored);
        }
        assert_eq!(put(&former, &system, 10, "ACTIVE").await, Attempt::Known);
        assert_eq!(database.written().await, ["ACTIVE", "HIRED"]);

        // Both at once, time and again: of what one has under way the other knows nothing but the lock.
        let mut all = Vec::new();
        for number in 100..300 {
            let mut row = delivery(&system, &change(number, "STAGE", Some(1), Some(2), number % 60, &[]), number);
            if let crate::deliver::Content::Row(row) = &mut row.content {
                row.origin.slot = slot(1);
            }
            let attempt = async |sink: &DatabaseTransport| {
                loop {
                    match sink.attempt(&row).await {
                        // Locked by the other for too long.
                        Attempt::Unreachable(_) => {}
                        attempt => return attempt,
                    }
                }
            };
            let (one, other) = tokio::join!(attempt(&former), attempt(&next));
            all.extend([one, other]);
        }
        let count = |which| all.iter().filter(|attempt| **attempt == which).count();
        assert_eq!((count(Attempt::Stored), count(Attempt::Known)), (200, 200));
    }
}

/// Its own offset is not taken for one that is in, and its neighbours' are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_refused_is_refused_alone_and_not_in() {
    for database in Database::all() {
        let system = carried("analytics");
        let sink = database.sink(&system);
        let mut events: Vec<_> = (0..5).map(|number| change(number, "STAGE", Some(1), Some(2), number, &[])).collect();
        events[2].tree["sequence_no"] = json!(null);
        let rows: Vec<_> = events.iter().zip(0..).map(|(event, offset)| delivery(&system, event, offset)).collect();
        let attempts = {
            let [a, b, c, d, e] = rows.as_slice() else { panic!() };
            tokio::join!(sink.attempt(a), sink.attempt(b), sink.attempt(c), sink.attempt(d), sink.attempt(e))
        };
        let stored = || Attempt::Stored;
        assert_eq!(attempts, (stored(), stored(), Attempt::Unstorable, stored(), stored()));
        assert_eq!(database.position().await, ["2 [[3,5]]"]);
        // As a dead letter it is settled.
        let (commits, committed) = commits(&sink);
        commits.commit(&slot(0), head(5));
        until("the commit", || !committed.lock().unwrap().is_empty()).await;
        assert_eq!(database.position().await, ["5 []"]);
    }
}

/// A topic that was made anew begins at 0 again, and another cluster counts by itself: nothing of either is taken for
/// what is in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_of_another_topic_or_cluster_leave_nothing_out() {
    let ground = Ground::lay().await;
    let topic = ground.names.entity(hirewire_schemas::Entity::Application);
    for database in Database::all() {
        let system = carried("analytics");
        let sink = database.sink(&system);
        sink.look(&ground.kafka).await.unwrap();
        let row = |offset: i64| {
            let mut delivery = delivery(&system, &application("ACTIVE", offset), offset);
            if let crate::deliver::Content::Row(row) = &mut delivery.content {
                row.origin.slot.topic = topic.as_str().into();
            }
            delivery
        };
        let ids = "SELECT event_id FROM application".replace("event_id", "CAST(event_id AS text)");
        assert_eq!(sink.attempt(&row(3)).await, Attempt::Stored);
        database.run("UPDATE sink_position SET cluster = 'another', next_offset = 100, ahead = '[]'").await;
        assert_eq!(sink.attempt(&row(4)).await, Attempt::Stored);
        assert_eq!(database.texts(&ids).await, [id(904)]);

        database.run("UPDATE sink_position SET next_offset = 5 WHERE cluster <> 'another'").await;
        sink.look(&ground.kafka).await.unwrap();
        assert_eq!(sink.attempt(&row(2)).await, Attempt::StoreRefused);
        assert_eq!(sink.attempt(&row(6)).await, Attempt::StoreRefused, "not even once");
        database.run("DELETE FROM sink_position WHERE sink = 'analytics'").await;
        assert_eq!(sink.attempt(&row(2)).await, Attempt::Stored);
        assert_eq!(database.texts(&ids).await, [id(902)]);
        assert_eq!(database.texts("SELECT CAST(application_id AS text) FROM application").await, [A]);
    }
}
