//! Starts everything and answers questions about it.
//!
//! [`Simulator::start`] makes or resumes the simulation of a folder and serves its API and receivers; nothing happens
//! until [`Running::play`]. Dropping a [`Running`] stops it; so does a kill, after which a new start goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::{self, Api};
use crate::clock::now_ms;
use crate::effects::TrueChange;
use crate::judge::Evidence;
use crate::player::{Player, Position};
use crate::receivers::{self, RECEIVERS, Received, Receivers};
use crate::rules::{GREENHOUSE_API, Rules};
use crate::sender::Sender;
use crate::settings::{Scenario, SimSettings};
use crate::sign::{secret, uuid_like, whsec};
use crate::store::{self, StoreError, WebhookLog};

#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("the rules of the simulated vendor are wrong:\n{0}")]
    Rules(hirewire_yaml::Problems),
    #[error("cannot read {path}")]
    RulesFile { path: PathBuf, source: std::io::Error },
    #[error("the story needs a vendor with `auth: {{client_credentials: …}}` and `webhook`: take Greenhouse's rules")]
    NoStory,
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub struct Simulator;

/// Where one receiving system listens and what it expects.
#[derive(Debug, Clone)]
pub struct Receiver {
    pub name: String,
    pub url: String,
    /// In the `whsec_` form of Standard Webhooks.
    pub secret: String,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub played: usize,
    pub total: usize,
    /// Webhooks that still wait for a 200.
    pub outstanding: usize,
    pub acknowledged: usize,
    pub rows_served: u64,
}

/// A simulation that runs.
pub struct Running {
    pub api_url: String,
    pub token_url: String,
    pub client_id: String,
    pub client_secret: String,
    pub webhook_secret: String,
    pub receivers: Vec<Receiver>,
    scenario: Scenario,
    /// Whether the vendor pings a webhook that is set up.
    pings: bool,
    file: PathBuf,
    api: Arc<Api>,
    url: Arc<Mutex<Option<String>>>,
    position: Arc<Position>,
    stop: Arc<AtomicBool>,
    closing: watch::Sender<bool>,
    player: Mutex<Option<Player>>,
    playing: Mutex<Option<JoinHandle<()>>>,
}

impl Simulator {
    /// Makes the simulation of `settings.data_dir`, or resumes the one that is there, and serves it.
    ///
    /// A folder that holds a complete simulation keeps its scenario, whatever `settings.scenario` says; a half-made
    /// one is made anew.
    ///
    /// # Errors
    /// Wrong rules, a folder that cannot be written, an address that cannot be listened on.
    pub async fn start(settings: SimSettings) -> Result<Running, SimError> {
        let rules = read_rules(&settings)?;
        let (Some(token), Some(webhook)) = (rules.token().cloned(), rules.webhook.clone()) else {
            return Err(SimError::NoStory);
        };
        let position = Arc::new(Position::default());
        let (dir, wanted) = (settings.data_dir.clone(), settings.scenario.clone());
        let (escaped, watched) = (webhook.escaped.clone(), Arc::clone(&position));
        let made = tokio::task::spawn_blocking(move || Player::open(&dir, &wanted, &escaped, watched)).await;
        let player = made.map_err(|error| StoreError::Folder(std::io::Error::other(error)))??;
        let scenario = player.scenario().clone();
        let file = store::file(&settings.data_dir);

        let client_id = format!("sim-{}", scenario.seed);
        let client_secret = hex::encode(secret(scenario.seed, "client"));
        let webhook_secret = hex::encode(secret(scenario.seed, "webhook"));
        let api =
            Arc::new(Api::open(&file, rules.clone(), token.clone(), scenario.clone(), [&client_id, &client_secret])?);
        let receiving = Arc::new(Receivers::open(&file, scenario.clone())?);

        let (closing, closed) = watch::channel(false);
        let connection = store::connect(&file)?;
        let api_listener = listen(&connection, "api_address", settings.api_listen).await?;
        let receivers_listener = listen(&connection, "receivers_address", settings.receivers_listen).await?;
        drop(connection);
        let api_address = serve(api_listener, api::router(Arc::clone(&api)), closed.clone());
        let receivers_address = serve(receivers_listener, receivers::router(receiving), closed);

        let url = Arc::new(Mutex::new(settings.webhook_url.clone()));
        let stop = Arc::new(AtomicBool::new(false));
        let sender = Sender {
            rules: webhook.clone(),
            scenario: scenario.clone(),
            secret: webhook_secret.clone().into_bytes(),
            url: Arc::clone(&url),
            stop: Arc::clone(&stop),
        };
        let (outbox, failed) = (file.clone(), Arc::clone(&position));
        tokio::spawn(async move {
            if let Err(error) = sender.run(&outbox).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the simulated vendor sends no more webhooks"
                );
                failed.failed.store(true, Ordering::SeqCst);
            }
        });
        Ok(Running {
            api_url: format!("http://{api_address}{}", rules.base_path),
            token_url: format!("http://{api_address}{}", token.path),
            client_id,
            client_secret,
            webhook_secret,
            receivers: RECEIVERS
                .iter()
                .map(|name| Receiver {
                    name: (*name).to_owned(),
                    url: format!("http://{receivers_address}/{name}"),
                    secret: whsec(&secret(scenario.seed, name)),
                })
                .collect(),
            scenario,
            pings: webhook.ping,
            file,
            api,
            url,
            position,
            stop,
            closing,
            player: Mutex::new(Some(player)),
            playing: Mutex::new(None),
        })
    }
}

fn read_rules(settings: &SimSettings) -> Result<Rules, SimError> {
    let read = match &settings.rules {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|source| SimError::RulesFile { path: path.clone(), source })?;
            Rules::read(&path.to_string_lossy(), &text)
        }
        None => Rules::read("vendors/greenhouse/api.yaml", GREENHOUSE_API),
    };
    read.map_err(SimError::Rules)
}

/// Where it listened before, if any port will do; so that whoever was given its URLs finds it again after a restart.
async fn listen(connection: &Connection, key: &str, wanted: SocketAddr) -> Result<Bound, SimError> {
    let before = store::meta(connection, key)?.and_then(|text| text.parse::<SocketAddr>().ok());
    if let Some(before) = before.filter(|before| wanted.port() == 0 && before.ip() == wanted.ip())
        && let Ok(listener) = TcpListener::bind(before).await
    {
        return Ok(Bound { listener, address: before });
    }
    let failed = |source| SimError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    store::set_meta(connection, key, &address.to_string())?;
    Ok(Bound { listener, address })
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

fn serve(bound: Bound, router: axum::Router, mut closed: watch::Receiver<bool>) -> SocketAddr {
    tokio::spawn(async move {
        let until = async move {
            // An error means that the simulation was dropped, which closes too.
            closed.wait_for(|closed| *closed).await.ok();
        };
        if let Err(error) = axum::serve(bound.listener, router).with_graceful_shutdown(until).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a simulated server ended");
        }
    });
    bound.address
}

impl Running {
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Where webhooks go from now on.
    pub fn set_webhook_url(&self, url: &str) {
        if let Ok(mut known) = self.url.lock() {
            *known = Some(url.to_owned());
        }
    }

    /// Starts (or goes on with) the clock. The vendor pings the webhook first, once.
    ///
    /// # Errors
    /// The simulation's file cannot be written.
    pub fn play(&self) -> Result<(), StoreError> {
        let player = self.player.lock().ok().and_then(|mut player| player.take());
        let Some(player) = player else { return Ok(()) };
        self.ping()?;
        let stop = Arc::clone(&self.stop);
        let thread = std::thread::Builder::new().name("sim-player".to_owned());
        let handle = thread.spawn(move || player.run(&stop)).map_err(StoreError::Folder)?;
        if let Ok(mut playing) = self.playing.lock() {
            *playing = Some(handle);
        }
        Ok(())
    }

    fn ping(&self) -> Result<(), StoreError> {
        let connection = store::connect(&self.file)?;
        if !self.pings || store::meta(&connection, "pinged")?.is_some() {
            return Ok(());
        }
        let body = "{\"action\":\"ping\",\"payload\":{\"web_hook_id\":7700006}}";
        let id = uuid_like(self.scenario.seed, "ping");
        let now = now_ms();
        connection.execute(
            "INSERT INTO outbox (event_id, action, application, step, copy, body, happened_at, due_at, state)
             VALUES (?1, 'ping', NULL, -1, 0, ?2, ?3, ?3, 'pending')",
            params![id, body.as_bytes(), now],
        )?;
        store::set_meta(&connection, "pinged", "1")
    }

    /// # Errors
    /// The simulation's file cannot be read.
    pub fn progress(&self) -> Result<Progress, StoreError> {
        let connection = store::connect(&self.file)?;
        let count = |state: &str| -> Result<usize, StoreError> {
            let found: i64 =
                connection.query_row("SELECT COUNT(*) FROM outbox WHERE state = ?1", [state], |row| row.get(0))?;
            Ok(usize::try_from(found).unwrap_or(0))
        };
        Ok(Progress {
            played: self.position.played.load(Ordering::SeqCst),
            total: self.position.total.load(Ordering::SeqCst),
            outstanding: count("pending")?,
            acknowledged: count("acked")?,
            rows_served: u64::try_from(store::meta_number(&connection, api::ROWS_SERVED)?.unwrap_or(0)).unwrap_or(0),
        })
    }

    /// Whether everything was played and every webhook was answered or given up.
    ///
    /// # Errors
    /// The simulation's file cannot be read.
    pub fn finished(&self) -> Result<bool, StoreError> {
        Ok(self.position.done.load(Ordering::SeqCst) && self.progress()?.outstanding == 0)
    }

    /// Whether the simulation can no longer write its file.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.position.failed.load(Ordering::SeqCst)
    }

    /// Whether each of `streams` was listed, completely and over a window that reaches past the last write.
    #[must_use]
    pub fn polled_past_the_end(&self, streams: &[&str]) -> bool {
        let last = self.position.last_write_ms.load(Ordering::SeqCst);
        let told = self.api.told_until();
        streams.iter().all(|stream| told.get(*stream).is_some_and(|until| *until >= last))
    }

    /// Per stream that was listed: up to which `updated_at` a complete answer was given.
    #[must_use]
    pub fn polled_until(&self) -> BTreeMap<String, i64> {
        self.api.told_until()
    }

    /// # Errors
    /// The simulation's file cannot be read.
    pub fn truth(&self) -> Result<Vec<TrueChange>, StoreError> {
        store::truth(&store::connect(&self.file)?)
    }

    /// # Errors
    /// The simulation's file cannot be read.
    pub fn webhooks(&self) -> Result<Vec<WebhookLog>, StoreError> {
        store::webhooks(&store::connect(&self.file)?)
    }

    /// # Errors
    /// The simulation's file cannot be read.
    pub fn received(&self) -> Result<Vec<Received>, StoreError> {
        receivers::received(&store::connect(&self.file)?)
    }

    /// All that the judge needs to know from here.
    ///
    /// # Errors
    /// The simulation's file cannot be read.
    pub fn evidence(&self) -> Result<Evidence, StoreError> {
        let connection = store::connect(&self.file)?;
        Ok(Evidence {
            truth: store::truth(&connection)?,
            webhooks: store::webhooks(&connection)?,
            received: receivers::received(&connection)?,
            start_ms: store::meta_number(&connection, "start_ms")?.unwrap_or(0),
            least_lag_ms: self.scenario.pace.visible_lag_ms.0,
        })
    }

    /// For how long nothing has happened here: no write, no webhook answered, no request at a receiver.
    ///
    /// # Errors
    /// The simulation's file cannot be read.
    pub fn quiet_for(&self) -> Result<Duration, StoreError> {
        let connection = store::connect(&self.file)?;
        let latest = |sql: &str| -> Result<i64, StoreError> {
            Ok(connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0))
        };
        let last = self
            .position
            .last_write_ms
            .load(Ordering::SeqCst)
            .max(latest("SELECT MAX(acked_at) FROM outbox")?)
            .max(latest("SELECT MAX(at) FROM received")?);
        Ok(Duration::from_millis(u64::try_from(now_ms() - last).unwrap_or(0)))
    }

    /// Stops the clock, the sender and the servers. What was committed stays.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.closing.send_replace(true);
        let handle = self.playing.lock().ok().and_then(|mut playing| playing.take());
        if let Some(handle) = handle {
            // A player that panicked has nothing left to stop.
            handle.join().ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
