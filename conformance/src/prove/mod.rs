//! `prove`: does the manifest read and believe the vendor as the vendor behaves?
//!
//! The vendor is simulated by `api.yaml` and the fixtures, over HTTP, and knows nothing of the manifest; ingest polls and
//! receives by the manifest, and knows nothing of `api.yaml`. For each list of the manifest: is every change seen
//! ([`cursor`]), is none lost to a restart ([`restarts`]) or to a bad answer ([`answers`])? For deliveries: is the
//! vendor's signature believed, and no other ([`signature`])? Is each event of a queue kept ([`queue`]), and is what events
//! only name read ([`thin`])? For what
//! normalize makes of it by the mapping: is a move that several tell one event ([`one_fact`]), is a deletion one
//! ([`deletes`]), is everything accounted for ([`coverage`])?

mod answers;
mod carrier;
mod coverage;
mod cursor;
mod deletes;
mod desk;
mod facts;
mod one_fact;
mod queue;
mod restarts;
mod scene;
mod signature;
mod thin;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::LocalBoxFuture;
use hirewire_ingest::manifest::{Api, Auth, BaseUrl, Events, Manifest, Stream};
use hirewire_ingest::{
    ClientSecrets, Connection, Credentials, Http, Inlet, Poll, RefreshSecrets, ServerUrls, SessionSecrets,
};
use hirewire_mapping::Plan;
use hirewire_service::Secret;
use hirewire_sim::vendor::{Account, CLIENT, Examples, KEY, Vendor, bodies, examples, moved};
use hirewire_yaml::Problems;
use serde_json::Value;

use crate::folder::Folder;

use desk::Desk;

const API: &str = "api.yaml";
const RETRY_FIRST: Duration = Duration::from_millis(1);
const RETRY_MOST: Duration = Duration::from_millis(4);
const ATTEMPTS: u32 = 2;
const NO_WEBHOOKS: &str = "no webhooks are received";

/// What a proof gave.
#[derive(Debug, Default)]
pub struct Proof {
    /// Empty when the manifest is right.
    pub findings: Vec<Finding>,
    /// How many lists of the manifest were held against the vendor.
    pub lists: usize,
    /// How many questions were asked of them and of deliveries.
    pub questions: usize,
    /// What does not apply to this vendor, and why.
    pub left_out: Vec<(Clause, String)>,
}

/// Something that ingest gets wrong of the vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub clause: Clause,
    /// The list, or the delivery, that it was found at.
    pub at: String,
    pub what: String,
}

/// What is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    /// Each change is seen, however late it shows.
    Cursor,
    /// A kill at any commit loses nothing.
    Restart,
    /// A bad answer loses nothing, and the cursor never passes what was not seen.
    Answers,
    /// What the vendor signed is believed, and nothing else.
    Signature,
    /// No event of the vendor's queue is lost.
    Queue,
    /// What an event only names is read.
    Thin,
    /// What several tell of is one event.
    OneFact,
    /// What is gone is deleted.
    Deletes,
    /// Everything is read, ignored with a reason, or carried.
    Coverage,
}

impl Clause {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cursor => "cursor",
            Self::Restart => "restart",
            Self::Answers => "answers",
            Self::Signature => "signature",
            Self::Queue => "queue",
            Self::Thin => "thin",
            Self::OneFact => "one-fact",
            Self::Deletes => "deletes",
            Self::Coverage => "coverage",
        }
    }
}

/// What of a folder is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    All,
    /// One list of the manifest.
    List(String),
    Deliveries,
    /// What becomes of rows and deliveries.
    Facts,
}

/// Proves a vendor's folder.
///
/// # Errors
/// Mistakes of the manifest, of `api.yaml`, or of what the two name; a list that is none: nothing was proven then.
pub fn prove<'a>(folder: &'a Folder, part: &'a Part) -> LocalBoxFuture<'a, Result<Proof, Problems>> {
    prove_and_tell(folder, part, &|_| {})
}

/// Proves a vendor's folder, and tells what it begins with: "the list jobs". It may take minutes.
///
/// # Errors
/// As [`prove`].
pub fn prove_and_tell<'a>(
    folder: &'a Folder,
    part: &'a Part,
    begins: &'a dyn Fn(&str),
) -> LocalBoxFuture<'a, Result<Proof, Problems>> {
    Box::pin(proof(folder, part, begins))
}

async fn proof(folder: &Folder, part: &Part, begins: &dyn Fn(&str)) -> Result<Proof, Problems> {
    let kit = Kit::of(folder)?;
    let mut proof = Proof::default();
    let streams = lists(&kit.manifest);
    let wanted = streams.filter(|stream| match part {
        Part::All => true,
        Part::List(name) => stream.name == *name,
        Part::Deliveries | Part::Facts => false,
    });
    for (index, stream) in wanted.enumerate() {
        proof.lists += 1;
        begins(&format!("the list {}", stream.name));
        proof.take(Clause::Cursor, &stream.name, Box::pin(cursor::prove(&kit, stream)).await);
        proof.take(Clause::Restart, &stream.name, Box::pin(restarts::prove(&kit, stream)).await);
        // To wait as long as the vendor says takes a second: once is enough.
        proof.take(Clause::Answers, &stream.name, Box::pin(answers::prove(&kit, stream, index == 0)).await);
    }
    match part {
        Part::List(name) if proof.lists == 0 => {
            let mut problems = Problems::new();
            let what = format!("it has no list \"{name}\"");
            folder.problem("manifest.yaml", 0, what, "name one of `api.streams`", &mut problems);
            return Err(problems);
        }
        Part::List(_) | Part::Facts => {}
        Part::All | Part::Deliveries => {
            begins("deliveries");
            Box::pin(signature::prove(&kit, folder, &mut proof)).await;
            Box::pin(queue::prove(&kit, &mut proof)).await;
            Box::pin(thin::prove(&kit, &mut proof)).await;
        }
    }
    if matches!(part, Part::All | Part::Facts) {
        begins("what becomes of rows and deliveries");
        // A desk that cannot be opened was told by the proof of signatures.
        let desk = if kit.receives() { Desk::open(&kit).await.ok() } else { None };
        Box::pin(one_fact::prove(&kit, desk.as_ref(), &mut proof)).await;
        Box::pin(deletes::prove(&kit, desk.as_ref(), &mut proof)).await;
        Box::pin(coverage::prove(&kit, folder, &mut proof)).await;
    }
    Ok(proof)
}

/// The answers to questions: what is wrong, or nothing.
#[derive(Debug, Default)]
struct Answers(Vec<Option<String>>);

impl Answers {
    fn ask(&mut self, wrong: Option<String>) {
        self.0.push(wrong);
    }
}

impl Proof {
    fn leave_out(&mut self, clause: Clause, why: &str) {
        self.left_out.push((clause, why.to_owned()));
    }

    fn take(&mut self, clause: Clause, at: &str, answers: Answers) {
        self.questions += answers.0.len();
        let finding = |what| Finding { clause, at: at.to_owned(), what };
        self.findings.extend(answers.0.into_iter().flatten().map(finding));
    }
}

/// What all proofs of one folder need.
struct Kit {
    manifest: Arc<Manifest>,
    plan: Arc<Plan>,
    rules: Arc<hirewire_sim::Rules>,
    examples: Examples,
    /// Bodies of deliveries, from the fixtures, by the event that they are.
    bodies: BTreeMap<String, Value>,
    /// `None`: no client can be made.
    http: Option<Http>,
}

impl Kit {
    /// A vendor whose clock begins `hours_before` ours, and a connection that polls it.
    async fn vendor(&self, hours_before: i64) -> Result<(Vendor, Arc<Connection>), String> {
        let account = Account::new(self.rules.clone(), &self.examples, scene::ROWS, hours_before);
        let vendor = Vendor::start(self.rules.clone(), account).await;
        let vendor = vendor.map_err(|error| format!("the simulated vendor cannot listen: {error}"))?;
        let connection = Arc::new(self.polling(&vendor.origin));
        Ok((vendor, connection))
    }

    fn of(folder: &Folder) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let manifest = folder.manifest(&mut problems);
        let (_, plan) = folder.plan(None, &mut problems);
        let why = "it says how the vendor behaves: docs/adding-a-vendor.md, \"The proof\"";
        let rules = folder.text(API, why, &mut problems);
        let rules = rules.and_then(|text| {
            let read = hirewire_sim::Rules::read(&folder.shown(API), &text);
            crate::folder::keep(read, &mut problems)
        });
        let (Some(manifest), Some(plan), Some(rules)) = (manifest, plan, rules) else { return Err(problems) };
        let plan = Arc::new(plan);
        let fixtures: &Path = &folder.path().join("fixtures");
        let found = crate::folder::keep(examples(&rules, &folder.shown(API), fixtures), &mut problems);
        for stream in lists(&manifest) {
            let name = &stream.name;
            let has_row = found.as_ref().is_none_or(|found| found.get(name).is_some_and(|rows| !rows.is_empty()));
            let (line, what, hint) = match rules.stream(name) {
                None => {
                    (0, format!("it does not say how the list \"{name}\" behaves"), "add it to `streams`".to_owned())
                }
                Some(_) if has_row => continue,
                Some(known) => (
                    known.line,
                    "a list without a row".to_owned(),
                    format!("add fixtures/poll__{name}.json, or an `example`"),
                ),
            };
            folder.problem(API, line, what, hint, &mut problems);
        }
        for event in manifest.events().flat_map(Events::thin_events) {
            if !rules.events().any(|known| known.name == event) {
                let what = format!("it does not say what the event \"{event}\" is about, and it is fetched for");
                folder.problem(API, 0, what, "add it to `webhook.events` or `queue.events`", &mut problems);
            }
        }
        let bodies = bodies(&rules, fixtures);
        let (rules, http) = (Arc::new(rules), Http::new());
        let kit = found.map(|examples| Self { manifest, plan, rules, examples, bodies, http });
        problems.into_result(kit)
    }

    /// Whether deliveries are sent, and received.
    fn receives(&self) -> bool {
        self.manifest.webhook.is_some() && self.rules.webhook.is_some()
    }

    /// Whether events wait at the vendor, and are read.
    fn queues(&self) -> bool {
        self.manifest.queue.is_some() && self.rules.has_queue()
    }

    /// Whether what the event names is read in its place.
    fn is_thin(&self, event: &str) -> bool {
        self.manifest.events().any(|events| events.is_thin(event))
    }

    /// A connection that polls the vendor at `origin`, by the manifest in all else.
    fn polling(&self, origin: &str) -> Connection {
        let poll = self.manifest.api.as_ref().map(|api| Poll {
            credentials: credentials(api, origin),
            // The simulated vendor has no TLS.
            identity: None,
            ca: None,
            base_url: match &api.base_url {
                BaseUrl::Shared(url) | BaseUrl::PerConnection(url) => Some(moved(url, origin)),
                BaseUrl::Session(_) => None,
            },
            urls: api
                .streams
                .iter()
                .filter_map(|stream| Some((stream.name.clone(), moved(stream.url.as_ref()?, origin))))
                .collect(),
            queue: "kit".to_owned(),
            interval: Duration::from_secs(1),
            lag: api.lag,
            overlap: api.overlap,
            retry_first: RETRY_FIRST,
            retry_most: RETRY_MOST,
            attempts: ATTEMPTS,
            gone_most: 100,
            expires: None,
        });
        self.connection("kit", None, poll)
    }

    /// A connection that receives, with these secrets.
    fn receiving(&self, name: &str, secrets: &[&str]) -> Connection {
        let secrets = secrets.iter().map(|secret| Secret::from_value(*secret)).collect();
        let inlet = Inlet { rules: self.manifest.clone(), secrets };
        self.connection(name, Some(inlet), None)
    }

    fn connection(&self, name: &str, webhook: Option<Inlet>, poll: Option<Poll>) -> Connection {
        let (name, tenant) = (name.to_owned(), "kit".to_owned());
        Connection { name, tenant, manifest: self.manifest.clone(), webhook, poll }
    }

    /// How the vendor behaves at a list of the manifest.
    fn rules_of(&self, stream: &Stream) -> Option<&hirewire_sim::Stream> {
        self.rules.stream(&stream.name)
    }
}

/// The lists that are polled.
fn lists(manifest: &Manifest) -> impl Iterator<Item = &Stream> {
    manifest.api.iter().flat_map(|api| &api.streams).filter(|stream| stream.listed && stream.sweep.is_none())
}

/// Lists of what is gone from another one, each with that.
fn sweeps(manifest: &Manifest) -> impl Iterator<Item = (&Stream, &Stream)> {
    let streams = manifest.api.iter().flat_map(|api| api.streams.iter().map(move |stream| (api, stream)));
    streams.filter_map(|(api, stream)| Some((stream, api.swept_by(stream)?)))
}

fn credentials(api: &Api, origin: &str) -> Credentials {
    match &api.auth {
        Auth::BasicApiKey { .. } | Auth::ApiKeyHeader { .. } => Credentials::ApiKey(Secret::from_value(KEY)),
        Auth::UsernameToken { .. } => {
            Credentials::User { name: Secret::from_value(CLIENT), password: Secret::from_value(KEY) }
        }
        Auth::Oauth2ClientCredentials(auth) => Credentials::Client(ClientSecrets {
            client_id: Secret::from_value(CLIENT),
            client_secret: Secret::from_value(KEY),
            act_as: None,
            token_url: moved(&auth.token_url, origin),
        }),
        Auth::Oauth2RefreshToken(auth) => Credentials::Refresh(RefreshSecrets {
            client_id: Secret::from_value(CLIENT),
            client_secret: Secret::from_value(KEY),
            refresh_token: Secret::from_value(KEY),
            token_url: moved(&auth.token_url, origin),
        }),
        Auth::SessionLogin(_) => Credentials::Session(SessionSecrets {
            client_id: Secret::from_value(CLIENT),
            client_secret: Secret::from_value(KEY),
            username: Secret::from_value(CLIENT),
            password: Secret::from_value(KEY),
            servers: Some(ServerUrls { oauth: origin.to_owned(), login: origin.to_owned() }),
        }),
    }
}
