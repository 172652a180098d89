//! How many series a process may show.

use prometheus::TextEncoder;

use super::*;
use crate::manifest::Manifest;

/// Of a process: issues of a Prometheus begin with more.
const GOAL: usize = 20_000;
/// What all other parts of a process may show; `e2e/tests/docs/metrics.rs` holds them to it.
const OTHERS: usize = 1_000;
const CONNECTIONS: usize = 1_000;

const OUTCOMES: [Outcome; 5] =
    [Outcome::Kept, Outcome::Forged, Outcome::SecretNotLoaded, Outcome::NotKept, Outcome::Unreadable];
const REASONS: [&str; 3] = ["poll-limited", "poll-forbidden", "poll-vendor-busy"];

fn series(registry: &Registry) -> Vec<String> {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Names of all lists of a vendor as its manifest has them.
fn lists(vendor: &str) -> Vec<String> {
    let path = format!("{}/../vendors/{vendor}/manifest.yaml", env!("CARGO_MANIFEST_DIR"));
    let manifest = Manifest::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    manifest.api.as_ref().unwrap().streams.iter().map(|stream| stream.name.clone()).collect()
}

/// Everything that can become of an account does.
fn everything(metrics: &Metrics, connection: &str, vendor: &str, lists: &[String]) -> Polled {
    metrics.webhooks_begin(connection);
    for outcome in OUTCOMES {
        let reason = (outcome != Outcome::Kept).then(|| outcome.as_str());
        metrics.webhook(connection, outcome, reason, Duration::from_millis(3));
    }
    metrics.webhook_unidentified(vendor);
    let polled = metrics.polled(connection, vendor, None);
    let long_ago = Timestamp::from_second(1_700_000_000).unwrap();
    polled.credential_ends(long_ago);
    polled.fetches(std::sync::Arc::new(std::sync::atomic::AtomicI64::new(long_ago.as_second())));
    polled.waits(true);
    for (index, list) in lists.iter().enumerate() {
        for answer in [Answer::Ok, Answer::Limited, Answer::Failed] {
            polled.request(answer);
        }
        for origin in [Origin::Poll, Origin::Backfill] {
            polled.rows(list, origin, Rows { kept: 5, repeats: 1, outside: 1, unidentified: 1 });
        }
        polled.page(list, list, Some(long_ago), Some(long_ago));
        polled.settled(list, long_ago);
        polled.failed(list, REASONS[index % REASONS.len()]);
    }
    polled
}

#[test]
fn a_thousand_accounts_in_every_trouble_are_less_than_twenty_thousand_series() {
    let vendors = [("greenhouse", lists("greenhouse")), ("lever", lists("lever"))];
    assert!(vendors[0].1.len() > 25, "the lists are those of the manifest");
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let mut polled = Vec::new();
    for number in 0..CONNECTIONS {
        let (vendor, lists) = &vendors[usize::from(number % 10 == 9)];
        polled.push(everything(&metrics, &format!("account-{number}"), vendor, lists));
    }
    let series = series(&registry);
    assert!(series.len() <= GOAL - OTHERS, "{} series of ingest alone", series.len());
    // Of each account all the same: what its alerts ask for.
    for alerted in [
        "webhooks_total{connection=\"account-777\",outcome=\"forged\"}",
        "poll_settled_seconds{connection=\"account-777\"}",
        "poll_failing_lists{connection=\"account-777\"}",
        "poll_backing_off{connection=\"account-777\"}",
        "poll_credential_ends_seconds{connection=\"account-777\"}",
        "fetch_waiting_since_seconds{connection=\"account-777\"}",
        "poll_records_total{connection=\"account-777\",origin=\"poll\"}",
    ] {
        let name = format!("hirewire_ingest_{alerted} ");
        assert_eq!(series.iter().filter(|line| line.starts_with(&name)).count(), 1, "{name}");
    }
}

/// The other side of the bound: whoever looks for the list that stands still among thousands finds it.
#[test]
fn of_many_lists_those_in_trouble_are_shown_the_worst_first_and_of_few_all() {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let lists = lists("greenhouse");
    let now = Timestamp::now();
    let begin = |name: &str| {
        let polled = metrics.polled(name, "greenhouse", None);
        for list in &lists {
            polled.page(list, list, Some(now), None);
            polled.settled(list, now);
        }
        polled
    };
    let of_lists = |series: &[String]| -> Vec<String> {
        let start = "hirewire_ingest_poll_list_settled_seconds{connection=\"";
        series.iter().filter_map(|line| Some(line.strip_prefix(start)?.replace('"', ""))).collect()
    };
    let mut polled = vec![begin("a"), begin("b")];
    assert_eq!(of_lists(&series(&registry)).len(), 2 * lists.len(), "few: all");

    polled.extend((0..48).map(|number| begin(&format!("more-{number}"))));
    assert_eq!(of_lists(&series(&registry)), [""; 0], "many, and all is well");
    let hours_ago = |hours: i64| Timestamp::from_second(now.as_second() - hours * 3600).unwrap();
    polled[3].failed("jobs", "poll-forbidden");
    polled[4].settled("users", hours_ago(2));
    let shown = of_lists(&series(&registry));
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0].starts_with("more-1,stream=jobs}") && shown[1].starts_with("more-2,stream=users}"), "{shown:?}");

    for one in &polled {
        lists.iter().for_each(|list| one.settled(list, hours_ago(1)));
    }
    polled[4].settled("users", hours_ago(2));
    let shown = of_lists(&series(&registry));
    assert_eq!(shown.len(), lists::SHOWN, "never more");
    assert!(shown.iter().any(|line| line.starts_with("more-2,stream=users}")), "the oldest is among them");
}

#[test]
fn a_list_of_two_accounts_has_the_sooner_day_of_sunset() {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let (first, second) = (metrics.polled("a", "v", None), metrics.polled("b", "v", None));
    let day = |seconds| Some(Timestamp::from_second(seconds).unwrap());
    first.page("jobs?x=1", "jobs", None, day(2_000));
    first.page("jobs?x=2", "jobs", None, day(3_000));
    second.page("jobs?x=1", "jobs", None, day(1_000));
    let sunset = || {
        let series = series(&registry);
        series.into_iter().find(|line| line.contains("poll_sunset_seconds")).unwrap()
    };
    assert!(sunset().ends_with("{stream=\"jobs\",vendor=\"v\"} 1000"), "{}", sunset());
    drop(second);
    assert!(sunset().ends_with(" 2000"), "{}", sunset());
}

#[test]
fn of_the_manifest_s_day_and_the_header_s_the_sooner_is_told_and_the_manifest_s_before_any_answer() {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let day = |seconds| Some(Timestamp::from_second(seconds).unwrap());
    let polled = metrics.polled("a", "v", day(2_000));
    let sunset = || -> Vec<String> {
        let shown = series(&registry).into_iter().filter(|line| line.contains("poll_sunset_seconds"));
        shown.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(sunset(), [""; 0]);
    polled.begins("jobs?x=1", "jobs");
    assert_eq!(sunset(), ["2000"]);
    for (header, told) in [(None, "2000"), (day(1_000), "1000"), (day(3_000), "2000"), (None, "2000")] {
        polled.page("jobs?x=1", "jobs", None, header);
        assert_eq!(sunset(), [told], "{header:?}");
    }
}
