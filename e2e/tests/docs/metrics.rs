//! The metrics that the program defines: asked of the registries of its parts, so that no list is kept by hand; and what
//! a running process shows of them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hirewire_e2e::{Running, hirewire, http};
use prometheus::{IntGauge, Registry};

/// All parts' metrics in one registry.
pub(crate) struct Defined(Registry);

pub(crate) fn defined() -> Defined {
    let registry = Registry::new();
    hirewire_ingest::Metrics::new(&registry).unwrap();
    hirewire_normalize::metrics::Metrics::register(&registry).unwrap();
    hirewire_kafka::PartitionedMetrics::register("normalize", &registry).unwrap();
    hirewire_route::Metrics::register(&registry).unwrap();
    hirewire_broker::Metrics::register(&registry).unwrap();
    hirewire_registry::Metrics::register(&registry).unwrap();
    hirewire_service::spans::metrics(&registry).unwrap();
    hirewire_service::process::register(&registry, "0", Path::new(".")).unwrap();
    Defined(registry)
}

impl Defined {
    /// A registry takes no second metric of a name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let probe = Box::new(IntGauge::new(name, "Whether there is another of this name.").unwrap());
        let taken = self.0.register(probe.clone()).is_err();
        if !taken {
            self.0.unregister(probe).unwrap();
        }
        taken
    }
}

impl Defined {
    /// Whether a query's name is that of a metric, or of what a histogram is made of.
    pub(crate) fn has_series(&self, name: &str) -> bool {
        self.contains(["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name))
    }
}

#[test]
fn a_name_is_defined_when_a_part_registers_it() {
    let defined = defined();
    for name in
        ["hirewire_ingest_leases", "hirewire_normalize_rebalances_total", "hirewire_route_sink_held", "broker_groups"]
    {
        assert!(defined.contains(name), "{name}");
    }
    assert!(!defined.contains("hirewire_ingest_lease"));
    assert!(!defined.contains("hirewire_ingest_lease"), "asking defines nothing");
}

/// `/metrics` of a `hirewire up` that has just started.
fn scraped() -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = hirewire(&["up", "--data"]).unwrap();
    let command = command.arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut up = Running(command.spawn().unwrap());
    let lines = BufReader::new(up.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let admin = lines.into_iter().find_map(|line| Some(line.split_once("admin ")?.1.trim().to_owned()));
    let admin = admin.expect("it ended before it told its admin port");
    let address = admin.strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap();
    // A metric with labels shows once it counted something, and services still begin.
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = http::get(address, "/metrics").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        if answer.matches("# TYPE ").count() > 30 || Instant::now() > until {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What `helm/check --full` has promtool look at, as far as it needs no promtool; and that [`defined`] asks every part.
#[test]
fn a_running_process_shows_metrics_that_are_defined_and_named_as_is_the_custom() {
    let (defined, answer) = (defined(), scraped());
    let types = answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut seen = 0;
    for (name, kind) in types {
        assert!(defined.contains(name), "{name}: of a part that `defined` does not ask");
        assert!(["hirewire_", "broker_", "registry_"].iter().any(|of| name.starts_with(of)), "{name}: whose is it?");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        let help = format!("# HELP {name} ");
        assert!(answer.lines().any(|line| line.strip_prefix(&help).is_some_and(|h| h.len() > 8)), "{name}: no help");
        for unit in ["_ms", "_millis", "_milliseconds", "_minutes", "_kib", "_mib", "_percent"] {
            assert!(!name.contains(unit), "{name}: base units are seconds and bytes");
        }
        seen += 1;
    }
    assert!(seen > 30, "{answer}");
    // The other half of `a_thousand_accounts_in_every_trouble_are_less_than_twenty_thousand_series`.
    let series = answer.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 500, "{series} series of all parts without an account or a sink that failed");
}
