//! `sinks`, `routes` and `route` of `hirewire.yaml`: nodes in, checked settings out, all mistakes at once.

mod auth;
mod http;
mod kind;
mod route;
mod said;
mod signing;
mod sink;

#[cfg(test)]
pub(crate) use http::read as read_http;
pub(crate) use http::read_allow;
pub(crate) use kind::{Kind, KindName};
pub(crate) use route::From;
#[cfg(test)]
pub(crate) use signing::read_scheme;
pub(crate) use sink::misfit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hirewire_schemas::Entity;
use hirewire_service::settings::duration;
use hirewire_yaml::{Map, Node, Problems, did_you_mean};
use jiff::Timestamp;

use crate::deliver::Limits;
use crate::route::Route;
use crate::system::{System, Systems, Takes};
use route::{RouteSettings, read_route};
use said::certificates;
use sink::read_sink;

/// Everything that route needs to know of the configuration.
#[derive(Clone)]
pub struct Settings {
    pub(crate) sinks: Vec<SinkSettings>,
    /// How long a revocation or a stop waits for attempts that are under way.
    pub(crate) drain: Duration,
}

/// One receiver and the routes that lead to it.
#[derive(Clone)]
pub(crate) struct SinkSettings {
    pub(crate) name: Arc<str>,
    pub(crate) system: Arc<System>,
    pub(crate) kind: Kind,
    /// What the system must be told of it, by name.
    pub(crate) told: Arc<serde_json::Value>,
    pub(crate) limits: Limits,
    /// Records of a partition beyond the committed position.
    pub(crate) window: usize,
    /// Of all partitions together.
    pub(crate) window_bytes: usize,
    pub(crate) routes: Vec<RouteSettings>,
    /// All that was written of it, wherever: what says the same need not be set up anew.
    pub(crate) said: String,
}

impl SinkSettings {
    /// Those whose topics it reads: of what a system may hand on, what its routes name.
    pub(crate) fn entities(&self) -> Vec<Entity> {
        let mut entities = self.system.entities();
        if let Takes::Copies(_) = self.system.takes {
            entities.retain(|entity| self.routes.iter().any(|route| route.entity == Some(*entity)));
        }
        entities
    }

    /// Its routes, with the instants from which on they act; a route `from: now` without one takes all.
    pub(crate) fn routes(&self, starts: &BTreeMap<Arc<str>, Timestamp>) -> Vec<Route> {
        let route = |route: &RouteSettings| Route {
            name: Arc::clone(&route.name),
            sink: Arc::clone(&self.name),
            system: Arc::clone(&self.system),
            told: Arc::clone(&self.told),
            entity: route.entity,
            when: route.when.clone(),
            start: match route.from {
                From::Now => starts.get(&route.name).copied(),
                From::At(at) => Some(at),
                From::Beginning => None,
            },
            corrections: route.corrections,
            requires_within: route.requires_within,
            on_refusal: route.on_refusal,
        };
        self.routes.iter().map(route).collect()
    }
}

/// A name that none of the configured sinks has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no sink \"{name}\": {hint}")]
pub struct UnknownSink {
    name: String,
    hint: String,
}

impl Settings {
    /// Reads the three top-level keys; all of them may be absent. `needed`: the sinks whose secrets must be there; `None`: all.
    pub fn read(
        sinks: Option<&Node>,
        routes: Option<&Node>,
        route: Option<&Node>,
        needed: Option<&[String]>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let general = General::read(route, problems);
        let systems = match &general.sinks_dir {
            Some(folder) => Systems::of_folder(folder),
            None => Systems::carried(),
        };
        let systems = match systems {
            Ok(systems) => systems,
            Err(more) => {
                problems.extend(more);
                return None;
            }
        };
        let mut read: BTreeMap<String, Option<SinkSettings>> = BTreeMap::new();
        if let Some(mut map) = sinks.and_then(|node| node.map(problems)) {
            for (key, name, value) in map.entries() {
                check_name(key, name, problems);
                let is_needed = needed.is_none_or(|needed| needed.iter().any(|one| one == name));
                let sink = problems.needed_if(is_needed, |problems| read_sink(name, value, &systems, problems));
                read.insert(name.to_owned(), sink);
            }
        }
        for (name, sink) in &read {
            if let (Some(sink), Some(node)) = (sink, sinks.and_then(|node| node.peek(name))) {
                check_awaited(sink, &read, node, problems);
            }
        }
        if let Some(mut map) = routes.and_then(|node| node.map(problems)) {
            for (key, name, value) in map.entries() {
                check_name(key, name, problems);
                read_route(name, value, &mut read, problems);
            }
        }
        let sinks = read.into_values().collect::<Option<Vec<_>>>()?;
        (problems.len() == before).then_some(Self { sinks, drain: general.drain })
    }

    /// Those sinks alone, and their routes.
    ///
    /// # Errors
    /// When one of the names is not a sink's.
    pub fn only(mut self, names: &[String]) -> Result<Self, UnknownSink> {
        let is_known = |name: &&String| self.sinks.iter().any(|sink| *sink.name == ***name);
        if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
            let known = self.sinks.iter().map(|sink| &*sink.name);
            return Err(UnknownSink { name: unknown.clone(), hint: did_you_mean(unknown, known) });
        }
        self.sinks.retain(|sink| names.iter().any(|name| **name == *sink.name));
        Ok(self)
    }

    /// What `sinks` and `route` are read from beside the configuration itself: the folder of systems, and certificates.
    /// Told of a configuration with mistakes too.
    #[must_use]
    pub fn files(sinks: Option<&Node>, route: Option<&Node>) -> Vec<PathBuf> {
        let folder = route.and_then(|node| node.peek("sinks_dir")?.path(&mut Problems::new()));
        folder.into_iter().chain(sinks.into_iter().flat_map(certificates)).collect()
    }

    /// The configured sinks: each has a dead-letter topic and a consumer group.
    #[must_use]
    pub fn sink_names(&self) -> Vec<String> {
        self.sinks.iter().map(|sink| sink.name.to_string()).collect()
    }

    /// The topics of other teams, in our own cluster, that sinks write.
    #[must_use]
    pub fn topics_of_others(&self) -> Vec<String> {
        let topic = |sink: &SinkSettings| match &sink.kind {
            Kind::Topic(topic) if topic.cluster.is_none() => Some(topic.topic.to_string()),
            _ => None,
        };
        self.sinks.iter().filter_map(topic).collect()
    }
}

/// `route:` itself.
struct General {
    drain: Duration,
    sinks_dir: Option<PathBuf>,
}

impl General {
    fn read(node: Option<&Node>, problems: &mut Problems) -> Self {
        let mut general = Self { drain: Duration::from_secs(5), sinks_dir: None };
        if let Some(mut map) = node.and_then(|node| node.map(problems)) {
            read_duration(&mut map, "drain", &mut general.drain, problems);
            // The group's session ends after 10 s, and the consumer waits a second longer than the engine.
            if general.drain > Duration::from_secs(8) {
                problems.add(map.node(), "`drain` can be at most 8s: the group's session ends after 10s", "write 5s");
            }
            general.sinks_dir = map.get("sinks_dir").and_then(|node| node.path(problems));
            map.finish(problems);
        }
        general
    }
}

/// That the sinks are there whose requests those of `sink` wait for.
fn check_awaited(
    sink: &SinkSettings,
    sinks: &BTreeMap<String, Option<SinkSettings>>,
    node: &Node,
    problems: &mut Problems,
) {
    for (after, entity) in sink.system.awaited() {
        let name = after.sink(&sink.told);
        let what = match sinks.get(name) {
            None => format!("there is no sink \"{name}\", for which it waits"),
            // It has mistakes of its own, which were told.
            Some(None) => continue,
            Some(Some(other)) if other.system.creates(&after.request, entity) => continue,
            Some(Some(_)) => format!("the sink \"{name}\" creates no \"{}\" of a {entity}", after.request),
        };
        problems.add(node, what, format!("mend `settings: {{{}: …}}`", after.setting));
    }
}

/// Names become parts of topics, groups and metrics.
fn check_name(key: &Node, name: &str, problems: &mut Problems) {
    let fine = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fine || name.is_empty() || name.len() > 60 {
        problems.add(key, format!("\"{name}\" cannot be a name here"), "use lower-case letters, digits and -");
    }
}

pub(crate) fn read_duration(map: &mut Map<'_>, key: &'static str, into: &mut Duration, problems: &mut Problems) {
    if let Some(read) = map.get(key).and_then(|node| duration(node, problems)) {
        *into = read;
    }
}

fn read_count(map: &mut Map<'_>, key: &'static str, default: usize, problems: &mut Problems) -> usize {
    let read = map.get(key).and_then(|node| node.whole(1, problems));
    read.map_or(default, |count| usize::try_from(count).unwrap_or(usize::MAX).min(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::OnRefusal;

    fn read(text: &str) -> Result<Settings, Problems> {
        let root = hirewire_yaml::parse("hirewire.yaml", text)?;
        let mut problems = Problems::new();
        let settings = Settings::read(root.peek("sinks"), root.peek("routes"), root.peek("route"), None, &mut problems);
        problems.into_result(settings)
    }

    #[test]
    fn a_full_configuration_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "t"] {
            std::fs::write(folder.path().join(name), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        }
        let text = r#"
route: {drain: 3s}
sinks:
  onboarding:
    http:
      url: https://hires.example.com/in
      signing: {secrets: [{file: DIR/a}, {file: DIR/b}]}
      auth: {bearer: {file: DIR/t}}
      timeout: 10s
    retry: {first: 100ms, longest: 1m, give_up_after: 12h, attempts: 9}
    concurrency: 64
    rate: {attempts: 600, per: 1m}
    breaker: {failures: 7, probe: 2s}
    dead_letters: {at_most: 5, within: 1h}
    probe: 1m
  pay:
    system: payroll
    http: {url: "http://127.0.0.1:9/pay", allow: {networks: ["127.0.0.0/8"]}}
  analytics: {sqlite: {path: a.sqlite}}
routes:
  onboarding: {entity: stage-change, sink: onboarding, from: now, when: {job_id: [x]}, requires_within: 1m, on_refusal: hold}
  pay: {sink: pay, from: 2026-01-31T08:00:00Z}
  everything: {sink: analytics, from: beginning}
"#;
        let settings = read(&text.replace("DIR", &folder.path().display().to_string()))
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(settings.sink_names(), ["analytics", "onboarding", "pay"]);
        assert_eq!(settings.drain, Duration::from_secs(3));
        assert!(settings.sinks.iter().all(|sink| sink.routes.len() == 1));
        let [analytics, onboarding, _] = settings.sinks.as_slice() else { panic!("three sinks") };
        let limits = format!("{:?}", onboarding.limits);
        for read in [
            "give_up_after: 43200s, attempts: Some(9)",
            "concurrency: 64",
            "RateLimit { attempts: 600, per: 60s }",
            "breaker: 7",
            "held: 60s, breaker: 2s",
            "most: 5, within: 3600s",
        ] {
            assert!(limits.contains(read), "{read}: {limits}");
        }
        assert_eq!(onboarding.routes[0].on_refusal, OnRefusal::Hold);
        assert_eq!((analytics.limits.concurrency, analytics.routes[0].on_refusal), (1_024, OnRefusal::Skip));
    }

    #[test]
    fn a_process_may_have_a_part_of_the_sinks() {
        let text = "sinks:\n  a: {system: analytics, sqlite: {path: a}}\n  b: {system: analytics, sqlite: {path: b}}\n";
        let only = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            read(text).unwrap().only(&names).map(|settings| settings.sink_names()).map_err(|error| error.to_string())
        };
        assert_eq!(only(&["b"]), Ok(vec!["b".to_owned()]));
        assert_eq!(only(&["b", "zzzzzz"]), Err("there is no sink \"zzzzzz\": known: a, b".to_owned()));
    }

    #[test]
    fn every_mistake_comes_at_once_with_its_line_and_a_hint() {
        let problems = read(
            "sinks:
  onboarding: {http: {url: 'ftp://x'}}
  Bad_Name: {sqlite: {path: p}, system: analytics}
  payrol: {http: {url: 'https://x.example'}, retries: {}}
  analytics: {http: {url: 'https://x.example'}}
  payroll: {http: {url: 'https://user:pw@x.example'}}
  assessment: {http: {url: 'https://x.example'}}
  records: {system: analytics, sqlite: {path: p}}
  plain: {system: assessment, http: {url: 'http://x.example'}}
  told: {system: payroll, settings: {channel: x}, http: {url: 'https://x.example'}}
  token: {system: payroll, http: {url: 'https://x.example', auth: {oauth: {token_url: 'https://id.example/t', client_id: x, client_secret: {env: PATH}}}, allow: {hosts: [x.example]}}}
  mixed: {system: payroll, http: {url: 'https://x.example', auth: {oauth: {token_url: 'http://10.0.0.1/t', client_id: x, client_secret: {env: PATH}}}, allow: {networks: [10.0.0.0/8]}}}
  half: {system: payroll, http: {url: 'https://x.example', key: {env: PATH}}}
  a-secret: {system: payroll, http: {url: 'https://x.example', auth: {bearer: {file: /no/such/file}}}}
routes:
  a: {sink: onbording}
  b: {sink: analytics, from: yesterday}
  c: {sinc: payroll}
  d: {sink: payroll, entity: job, requires_within: 5}
  e: {sink: assessment, when: {change_typ: HIRE}}
  f: {sink: records, when: {change_type: HIRED}}
  h: {sink: payroll, on_refusal: drop}
  g: {sink: records, entity: application, when: {status: HIRED, change_type: HIRE}}
",
        )
        .err()
        .unwrap()
        .to_string();
        for expected in [
            "hirewire.yaml:2: \"ftp://x\"",
            "hirewire.yaml:3: \"Bad_Name\" cannot be a name here",
            "hirewire.yaml:4: there is no system \"payrol\" (write `system: …`; did you mean \"payroll\"?)",
            "hirewire.yaml:4: unknown key \"retries\" (did you mean \"retry\"?)",
            "hirewire.yaml:5: the system \"analytics\" makes rows of tables",
            "hirewire.yaml:6: the URL holds a user name or password",
            "hirewire.yaml:9: a connection without TLS is for allowed networks only",
            "hirewire.yaml:10: the system \"payroll\" has no setting \"channel\"",
            "hirewire.yaml:11: the host is not in the allow-list (add the host to `allow.hosts`)",
            "hirewire.yaml:12: of `url` and `token_url` only one has TLS",
            "hirewire.yaml:13: a certificate of our own needs its key",
            "hirewire.yaml:14: secret file /no/such/file cannot be read; create it or mend its permissions",
            "hirewire.yaml:16: there is no sink \"onbording\" (did you mean \"onboarding\"?)",
            "hirewire.yaml:17: \"yesterday\" is no instant",
            "hirewire.yaml:18: `sink` is missing",
            "hirewire.yaml:18: unknown key \"sinc\"",
            "hirewire.yaml:19: \"5\" is not a duration",
            "hirewire.yaml:20: stage-change has no field \"change_typ\" (did you mean \"change_type\"?)",
            "hirewire.yaml:21: `change_type` is never \"HIRED\" (did you mean \"HIRE\"?)",
            "hirewire.yaml:21: application has no field \"change_type\"",
            "hirewire.yaml:22: \"drop\" is not known here",
            "hirewire.yaml:23: application has no field \"change_type\"",
        ] {
            assert!(problems.contains(expected), "{expected}\nnot in\n{problems}");
        }
        assert!(!problems.contains("pw@"), "a password is not repeated");
    }

    #[test]
    fn a_stream_reads_what_its_routes_name_and_each_has_to() {
        let text = "
sinks:
  moves: {system: stream, kafka: {topic: hr.moves}}
  hires: {system: onboarding, kafka: {topic: hr.hires}}
routes:
  moves: {sink: moves, entity: stage-change}
  offers: {sink: moves, entity: offer, when: {status: ACCEPTED}}
  hires: {sink: hires}
";
        let settings = read(text).unwrap_or_else(|problems| panic!("{problems}"));
        let [hires, moves] = settings.sinks.as_slice() else { panic!("two sinks") };
        assert_eq!(hires.entities(), [Entity::StageChange]);
        assert_eq!(moves.entities(), [Entity::Offer, Entity::StageChange]);

        let text = "
sinks:
  moves: {system: stream, kafka: {topic: hr.moves}}
  other: {system: stream, http: {url: 'https://x.example'}}
  rows: {system: analytics, kafka: {topic: hr.rows}}
routes:
  a: {sink: moves}
  b: {sink: moves, entity: eeoc}
  c: {sink: moves, entity: stage-change, from: now}
";
        let problems = read(text).err().unwrap().to_string();
        for expected in [
            "hirewire.yaml:4: the system \"stream\" hands on whole records (write `kafka: {…}` or `file: {…}`)",
            "hirewire.yaml:5: the system \"analytics\" makes rows of tables",
            "hirewire.yaml:7: a route to the system \"stream\" says which records are handed on",
            "hirewire.yaml:8: the system \"stream\" takes no eeoc",
            "hirewire.yaml:9: the system \"stream\" records everything, from the beginning",
        ] {
            assert!(problems.contains(expected), "{expected}\nnot in\n{problems}");
        }
    }
}
