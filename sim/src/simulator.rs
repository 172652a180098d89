//! Starts everything and answers questions about it.
//!
//! [`Simulator::start`] makes or resumes the simulation of a folder and serves its API and receivers; nothing happens
//! until [`Running::play`]. Dropping a [`Running`] stops it; so does a kill, after which a new start goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_core::future::BoxFuture;
use rusqlite::params;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::now_ms;
use crate::effects::TrueChange;
use crate::greenhouse::api::{self, Api};
use crate::judge::Evidence;
use crate::lists::{Access, Lists, rows_kept};
use crate::outbox::postman::Postman;
use crate::outbox::sender::Sender;
use crate::player::{Player, Position};
use crate::receivers::{self, RECEIVERS, Received, Receivers};
use crate::rules::{GREENHOUSE_API, Rules};
use crate::settings::{HistoryRows, Scenario, SimSettings};
use crate::sign::{secret, uuid_like, whsec};
use crate::store::{self, StoreError, WebhookLog};
use crate::story::Narrator;
use crate::vendor::{Account, Vendor, bodies, examples};

#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("the rules of the simulated vendor are wrong:\n{0}")]
    Rules(hirewire_yaml::Problems),
    #[error("cannot read {path}")]
    RulesFile { path: PathBuf, source: std::io::Error },
    #[error(
        "nothing says how this vendor tells a story: its api.yaml has no section `story`, and it is not Greenhouse"
    )]
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
    /// Webhooks that still wait for a 200, events that nobody has read.
    pub outstanding: usize,
    pub acknowledged: usize,
    pub rows_served: u64,
}

/// A simulation that runs.
pub struct Running {
    pub access: Access,
    pub webhook_secret: String,
    pub receivers: Vec<Receiver>,
    scenario: Scenario,
    /// Whether the vendor pings a webhook that is set up.
    pings: bool,
    /// What the account adds to the vendor's mapping.
    pub overlay: Option<String>,
    file: PathBuf,
    lists: Lists,
    url: Arc<Mutex<Option<String>>>,
    position: Arc<Position>,
    stop: Arc<AtomicBool>,
    closing: watch::Sender<bool>,
    player: Mutex<Option<Player>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Simulator {
    /// Makes the simulation of `settings.data_dir`, or resumes the one that is there, and serves it.
    ///
    /// A folder that holds a complete simulation keeps its scenario, whatever `settings.scenario` says; a half-made
    /// one is made anew.
    ///
    /// # Errors
    /// Wrong rules, a folder that cannot be written, an address that cannot be listened on.
    pub fn start(settings: SimSettings) -> BoxFuture<'static, Result<Running, SimError>> {
        Box::pin(Self::begin(settings))
    }

    async fn begin(settings: SimSettings) -> Result<Running, SimError> {
        let rules = Arc::new(read_rules(&settings)?);
        std::fs::create_dir_all(&settings.data_dir).map_err(StoreError::Folder)?;
        let file = store::file(&settings.data_dir);
        let (closing, closed) = watch::channel(false);
        let position = Arc::new(Position::default());
        let mut wanted = settings.scenario.clone();
        let (player, lists, access) = match &settings.vendor {
            Some(folder) => {
                let story = rules.story.clone().ok_or(SimError::NoStory)?;
                wanted.history_rows = if story.forgets { HistoryRows::Never } else { HistoryRows::PerVisit };
                let shown = folder.join("api.yaml").display().to_string();
                let examples = examples(&rules, &shown, &folder.join("fixtures")).map_err(SimError::Rules)?;
                let account = Account::of_story(rules.clone(), &examples, wanted.seed, &wanted.faults);
                let bound = listen(&file, "api_address", settings.api_listen).await?;
                let (address, failed) =
                    (bound.address, |source| SimError::Listen { address: settings.api_listen, source });
                let vendor = Arc::new(Vendor::listen(rules.clone(), account, bound.listener).map_err(failed)?);
                let bodies = bodies(&rules, &folder.join("fixtures"));
                let words = (rules.clone(), Arc::new(story));
                let narrator = Narrator::new(words, (examples, bodies), vendor.clone(), wanted.pace.visible_lag_ms);
                let (access, roots) = (Lists::access(&vendor, &rules.base_path), narrator.roots());
                let player = open(&settings, wanted, &rules, Some(narrator), &position).await?;
                let queue = settings.data_dir.join(store::QUEUE);
                vendor.with(|account| account.keep_queue(&queue)).map_err(StoreError::Folder)?;
                // Made anew, the file does not know it yet.
                store::set_meta(&store::connect(&file)?, "api_address", &address.to_string())?;
                let served_before = rows_kept(&store::connect(&file)?)?;
                (player, Lists::Told { vendor, roots, served_before }, access)
            }
            None => {
                let Some(token) = rules.token().cloned() else { return Err(SimError::NoStory) };
                let player = open(&settings, wanted, &rules, None, &position).await?;
                let seed = player.scenario().seed;
                let (client_id, client_secret) = (format!("sim-{seed}"), hex::encode(secret(seed, "client")));
                let known = [&client_id, &client_secret].map(String::as_str);
                let api = Api::open(&file, (*rules).clone(), token.clone(), player.scenario().clone(), known)?;
                let api = Arc::new(api);
                let bound = listen(&file, "api_address", settings.api_listen).await?;
                let address = serve(bound, api::router(Arc::clone(&api)), closed.clone());
                let access = Access {
                    origin: format!("http://{address}"),
                    api_url: format!("http://{address}{}", rules.base_path),
                    token_url: format!("http://{address}{}", token.path),
                    client_id,
                    client_secret,
                };
                (player, Lists::Greenhouse(api), access)
            }
        };
        let scenario = player.scenario().clone();
        let webhook_secret = hex::encode(secret(scenario.seed, "webhook"));
        let receiving = Arc::new(Receivers::open(&file, scenario.clone())?);
        let bound = listen(&file, "receivers_address", settings.receivers_listen).await?;
        let receivers_address = serve(bound, receivers::router(receiving), closed);

        let url = Arc::new(Mutex::new(settings.webhook_url.clone()));
        let stop = Arc::new(AtomicBool::new(false));
        if let Some(webhook) = &rules.webhook {
            let sender = Sender {
                rules: webhook.clone(),
                signs: settings.vendor.is_some(),
                scenario: scenario.clone(),
                secret: webhook_secret.clone().into_bytes(),
                url: Arc::clone(&url),
                stop: Arc::clone(&stop),
            };
            send(sender, file.clone(), Arc::clone(&position));
        }
        let mut threads = Vec::new();
        if let (true, Lists::Told { vendor, .. }) = (rules.has_queue(), &lists) {
            let postman = Postman { vendor: Arc::clone(vendor), stop: Arc::clone(&stop) };
            threads.push(leave(postman, file.clone(), Arc::clone(&position))?);
        }
        Ok(Running {
            access,
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
            // Of the others nobody says what a ping holds.
            pings: settings.vendor.is_none() && rules.webhook.as_ref().is_some_and(|webhook| webhook.ping),
            overlay: rules.story.as_ref().and_then(|story| story.overlay.clone()),
            file,
            lists,
            url,
            position,
            stop,
            closing,
            player: Mutex::new(Some(player)),
            threads: Mutex::new(threads),
        })
    }
}

/// Opens the player, which blocks.
async fn open(
    settings: &SimSettings,
    wanted: Scenario,
    rules: &Rules,
    narrator: Option<Narrator>,
    position: &Arc<Position>,
) -> Result<Player, SimError> {
    let escaped = rules.webhook.as_ref().map(|webhook| webhook.escaped.clone()).unwrap_or_default();
    let (dir, watched) = (settings.data_dir.clone(), Arc::clone(position));
    let made = tokio::task::spawn_blocking(move || Player::open(&dir, &wanted, &escaped, narrator, watched)).await;
    Ok(made.map_err(|error| StoreError::Folder(std::io::Error::other(error)))??)
}

/// Sends webhooks until told to stop.
fn send(sender: Sender, outbox: PathBuf, position: Arc<Position>) {
    tokio::spawn(async move {
        if let Err(error) = sender.run(&outbox).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the simulated vendor sends no more webhooks");
            position.failed.store(true, Ordering::SeqCst);
        }
    });
}

/// Leaves events in the queue until told to stop.
fn leave(postman: Postman, outbox: PathBuf, position: Arc<Position>) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name("sim-postman".to_owned());
    let run = move || {
        if let Err(error) = postman.run(&outbox) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the simulated vendor's queue gets no more events"
            );
            position.failed.store(true, Ordering::SeqCst);
        }
    };
    thread.spawn(run).map_err(StoreError::Folder)
}

fn read_rules(settings: &SimSettings) -> Result<Rules, SimError> {
    let file = settings.vendor.as_ref().map(|folder| folder.join("api.yaml"));
    let read = match file.or_else(|| settings.rules.clone()) {
        Some(path) => {
            let text =
                std::fs::read_to_string(&path).map_err(|source| SimError::RulesFile { path: path.clone(), source })?;
            Rules::read(&path.to_string_lossy(), &text)
        }
        None => Rules::read("vendors/greenhouse/api.yaml", GREENHOUSE_API),
    };
    read.map_err(SimError::Rules)
}

/// Where it listened before, if any port will do; so that whoever was given its URLs finds it again after a restart.
async fn listen(file: &Path, key: &str, wanted: SocketAddr) -> Result<Bound, SimError> {
    let before = store::meta(&store::connect(file)?, key)?.and_then(|text| text.parse::<SocketAddr>().ok());
    if let Some(before) = before.filter(|before| wanted.port() == 0 && before.ip() == wanted.ip())
        && let Ok(listener) = TcpListener::bind(before).await
    {
        return Ok(Bound { listener, address: before });
    }
    let failed = |source| SimError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    store::set_meta(&store::connect(file)?, key, &address.to_string())?;
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
        if let Ok(mut threads) = self.threads.lock() {
            threads.push(handle);
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
            outstanding: count("pending")? + self.lists.unread(),
            acknowledged: count("acked")?,
            rows_served: self.lists.rows_served(&connection)?,
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

    /// The lists that tell what no webhook did.
    #[must_use]
    pub fn lists_that_tell(&self) -> Vec<String> {
        self.lists.that_tell()
    }

    /// Whether each of these was listed, completely and over a window that reaches past the last write.
    #[must_use]
    pub fn polled_past_the_end(&self, lists: &[String]) -> bool {
        let last = self.lists.all_told_at(self.position.last_write_ms.load(Ordering::SeqCst));
        let told = self.lists.told_until();
        lists.iter().all(|list| told.get(list).is_some_and(|until| *until >= last))
    }

    /// Per stream that was listed: up to which `updated_at` a complete answer was given.
    #[must_use]
    pub fn polled_until(&self) -> BTreeMap<String, i64> {
        self.lists.told_until()
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
        let mut webhooks = store::webhooks(&connection)?;
        self.lists.date(&connection, &mut webhooks)?;
        Ok(Evidence {
            truth: store::truth(&connection)?,
            webhooks,
            received: receivers::received(&connection)?,
            start_ms: store::meta_number(&connection, "start_ms")?.unwrap_or(0),
            least_lag_ms: self.lists.least_lag_ms(self.scenario.pace.visible_lag_ms.0),
            not_applicable: BTreeMap::new(),
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
        let threads = self.threads.lock().map(|mut threads| std::mem::take(&mut *threads)).unwrap_or_default();
        for thread in threads {
            // One that panicked has nothing left to stop.
            thread.join().ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
