//! What a sink's user may do in a real PostgreSQL: the rights of the documentation are enough, and each that is missing is told.

use std::sync::Arc;

use super::databases::{application, change, delivery, postgres_settings};
use super::postgres_server::Server;
use super::support::capture_log;
use crate::database::DatabaseTransport;
use crate::database::postgres::{Postgres, probe};
use crate::deliver::Transport;
use crate::deliver::outcome::Attempt;
use crate::system::{System, carried};

/// The statements of the page, one for each right and table: to give it, and to take it away.
fn documented() -> Vec<(String, String)> {
    let page = include_str!("../../sinks/analytics/README.md");
    let mut all = Vec::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("    GRANT ")?.strip_suffix(';')) {
        let (rights, rest) = line.split_once(" ON ").unwrap();
        let (things, user) = rest.split_once(" TO ").unwrap();
        let (kind, things) = things.strip_prefix("SCHEMA ").map_or(("", things), |schema| ("SCHEMA ", schema));
        for thing in things.split(", ") {
            for right in rights.split(", ") {
                let what = format!("{right} ON {kind}{thing}");
                all.push((format!("GRANT {what} TO {user}"), format!("REVOKE {what} FROM {user}")));
            }
        }
    }
    all
}

/// A server on which `hirewire_sink` may do no more than connect, and a client of the one who may do everything.
pub(super) async fn restricted(server: &Server) -> (tokio_postgres::Client, String) {
    let client = server.client().await;
    let sql = "CREATE ROLE hirewire_sink LOGIN; REVOKE ALL ON DATABASE postgres FROM PUBLIC;
               REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO hirewire_sink";
    client.batch_execute(sql).await.unwrap();
    (client, server.url().replace("hirewire@", "hirewire_sink@"))
}

/// All that the page says.
pub(super) async fn give_all(client: &tokio_postgres::Client) {
    for (give, _) in documented() {
        client.batch_execute(&give).await.unwrap();
    }
}

struct Sink {
    system: Arc<System>,
    settings: String,
}

impl Sink {
    fn of(url: &str, schema: &str) -> Self {
        let settings = format!("{{url: '{url}', schema: {schema}, allow: {{networks: ['127.0.0.0/8']}}}}");
        Self { system: carried("analytics"), settings }
    }

    /// A change and the application, by a connection of its own, as a sink that the database does not know yet.
    async fn store(&self, number: i64) -> Attempt {
        let store = Postgres::new(postgres_settings(&self.settings), Arc::clone(&self.system));
        let transport = DatabaseTransport::start(store, format!("s{number}").into());
        let change = change(number, "STAGE", Some(1), Some(2), number, &[]);
        match transport.attempt(&delivery(&self.system, &change, 0)).await {
            Attempt::Stored | Attempt::Known => {
                transport.attempt(&delivery(&self.system, &application("ACTIVE", 2), 1)).await
            }
            failed => failed,
        }
    }

    async fn lacks(&self) -> Vec<String> {
        probe(&postgres_settings(&self.settings), &self.system).await.unwrap()
    }
}

/// On one thread, so that what the writer logs is seen.
#[tokio::test]
async fn the_documented_rights_are_enough_and_each_that_is_missing_is_named() {
    let Some(server) = Server::start() else { return };
    assert_eq!(Sink::of(&server.url(), "hirewire").store(0).await, Attempt::Stored, "the owner's");
    let (client, url) = restricted(&server).await;
    let sink = Sink::of(&url, "hirewire");
    let all: Vec<String> = documented().into_iter().map(|(give, _)| give).collect();
    assert_eq!(sink.lacks().await, all, "the page and the code name the same rights");
    give_all(&client).await;
    assert_eq!(sink.lacks().await, Vec::<String>::new());
    assert_eq!(sink.store(1).await, Attempt::Stored);
    for ((give, take), number) in documented().into_iter().zip(2..) {
        client.batch_execute(&take).await.unwrap();
        let (log, _guard) = capture_log();
        assert_eq!(sink.store(number).await, Attempt::StoreRefused, "{take}");
        let log = log.text();
        assert!(log.contains("the database refuses us") && log.contains(&format!("give=\"{give}\"")), "{take}: {log}");
        assert_eq!(sink.lacks().await, [give.as_str()]);
        client.batch_execute(&give).await.unwrap();
        assert_eq!(sink.store(number).await, Attempt::Stored, "{give}");
    }
    let stored = client.query_one("SELECT count(*) FROM stage_change", &[]).await.unwrap();
    assert_eq!(stored.get::<_, i64>(0), 2 + all.len() as i64, "none is lost");
}

#[tokio::test]
async fn in_a_schema_of_somebody_else_s_the_sink_makes_its_tables_when_it_may() {
    let Some(server) = Server::start() else { return };
    let (client, url) = restricted(&server).await;
    let sink = Sink::of(&url, "other");
    for (give, lacks) in [
        ("SELECT 1", "GRANT CREATE ON DATABASE postgres TO hirewire_sink"),
        (
            "CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO hirewire_sink",
            "GRANT CREATE ON SCHEMA other TO hirewire_sink",
        ),
    ] {
        client.batch_execute(give).await.unwrap();
        assert_eq!(sink.store(1).await, Attempt::StoreRefused);
        assert_eq!(sink.lacks().await, [lacks]);
    }
    client.batch_execute("GRANT CREATE ON SCHEMA other TO hirewire_sink").await.unwrap();
    assert_eq!(sink.store(1).await, Attempt::Stored);
    assert_eq!(sink.store(2).await, Attempt::Stored);
}
