//! The dashboards against the code and against what Grafana expects of them: every query names metrics that the program
//! defines and variables that the dashboard has, every panel says what it shows and in which unit, and all of them fit
//! on the page.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::metrics::defined;
use crate::runbooks::names;
use crate::scan::{read, walk};

/// What a panel may be: one that shows something else needs rules of its own here.
const KINDS: [&str; 4] = ["row", "stat", "timeseries", "table"];
/// Of Grafana, besides the dashboard's own.
const INTERVALS: [&str; 3] = ["__rate_interval", "__interval", "__range"];

fn dashboards() -> Vec<(String, Value)> {
    let mut paths = Vec::new();
    walk(Path::new("helm/dashboards"), ".json", &mut paths);
    assert_eq!(paths.len(), 3, "{paths:?}");
    let parsed = |path: String| {
        let json = serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        (path, json)
    };
    paths.into_iter().map(parsed).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {value}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list `{key}` in {value}"))
}

/// All panels but rows.
fn shown(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

/// Every query of a dashboard, those of its variables too, with the place that has it.
pub(crate) fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for (path, dashboard) in dashboards() {
        for panel in shown(&dashboard) {
            let place = format!("{path}: “{}”", text(panel, "title"));
            queries
                .extend(list(panel, "targets").iter().map(|target| (place.clone(), text(target, "expr").to_owned())));
        }
        let variables = list(&dashboard["templating"], "list").iter().filter(|variable| variable["type"] == "query");
        queries.extend(variables.map(|variable| (path.clone(), text(variable, "definition").to_owned())));
    }
    assert!(queries.len() > 80, "the collection itself is broken: {}", queries.len());
    queries
}

#[test]
fn every_query_of_a_dashboard_names_metrics_that_the_program_defines() {
    let known = defined();
    for (place, query) in queries() {
        let metrics = [names(&query, "hirewire_"), names(&query, "broker_"), names(&query, "registry_")].concat();
        let of_prometheus = ["up{", "ALERTS{", "scrape_samples_scraped{"].iter().any(|name| query.contains(name));
        assert!(!metrics.is_empty() || of_prometheus, "{place}: a query of nothing: {query}");
        for metric in metrics {
            assert!(known.has_series(metric), "{place}: nothing measures {metric}");
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_where_from() {
    let mut uids = BTreeSet::new();
    for (path, dashboard) in dashboards() {
        assert!(uids.insert(text(&dashboard, "uid").to_owned()), "{path}: its uid is taken");
        assert!(
            text(&dashboard, "title").starts_with("Hirewire: ") && text(&dashboard, "description").len() > 40,
            "{path}"
        );
        assert!(
            list(&dashboard, "tags").contains(&Value::from("hirewire")),
            "{path}: without the tag others do not link to it"
        );
        let mut ids = BTreeSet::new();
        for panel in list(&dashboard, "panels") {
            let title = text(panel, "title");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{path}: “{title}” has an id that is taken");
            let kind = text(panel, "type");
            assert!(KINDS.contains(&kind), "{path}: “{title}” is a {kind}");
            if kind == "row" {
                continue;
            }
            assert!(panel["description"].as_str().is_some_and(|d| d.len() > 8), "{path}: what does “{title}” show?");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{path}: “{title}” has no unit");
            let mut refs = BTreeSet::new();
            for target in list(panel, "targets") {
                for place in [panel, target] {
                    assert_eq!(place["datasource"]["uid"], "${datasource}", "{path}: “{title}”");
                    assert_eq!(place["datasource"]["type"], "prometheus", "{path}: “{title}”");
                }
                assert!(refs.insert(text(target, "refId")), "{path}: “{title}” has two queries of one name");
                let legend = target["legendFormat"].as_str();
                assert!(
                    kind != "timeseries" || legend.is_some_and(|l| !l.is_empty()),
                    "{path}: “{title}” has no legend"
                );
            }
        }
    }
}

#[test]
fn every_variable_that_a_dashboard_uses_is_its_own() {
    for (path, dashboard) in dashboards() {
        let variables = list(&dashboard["templating"], "list");
        assert!(
            variables.iter().any(|v| v["name"] == "datasource" && v["type"] == "datasource"),
            "{path}: no datasource"
        );
        let own: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
        let whole = dashboard.to_string();
        let mut used = BTreeSet::new();
        for piece in whole.split('$').skip(1) {
            let name = piece.trim_start_matches('{').split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            used.insert(name);
            // `$__all` is the value of a variable that stands on everything.
            let known = own.contains(name) || INTERVALS.contains(&name) || name == "__all";
            assert!(known, "{path}: no variable ${name}");
        }
        let unused: Vec<_> = own.difference(&used).collect();
        assert!(unused.is_empty(), "{path}: variables that no query uses: {unused:?}");
    }
}

#[test]
fn panels_fit_on_the_page_and_cover_nothing() {
    for (path, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in list(&dashboard, "panels") {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{path}: “{}” is wider than the page", text(panel, "title"));
            for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
                assert!(taken.insert(cell), "{path}: “{}” covers another panel", text(panel, "title"));
            }
        }
    }
}

/// `docker-compose.yml` and the chart both take the whole folder; what provisions Grafana must name what is mounted.
#[test]
fn grafana_is_provisioned_with_the_folder_that_compose_mounts() {
    let compose = read("docker-compose.yml");
    let provider = read("deploy/compose/grafana/dashboards.yaml");
    let folder = provider.split_once("path: ").unwrap().1.split(['\n', '}']).next().unwrap().trim();
    assert!(compose.contains(&format!("./helm/dashboards:{folder}:ro")), "nothing is mounted at {folder}");
    let datasource = read("deploy/compose/grafana/datasource.yaml");
    assert!(datasource.contains("url: http://prometheus:9090") && compose.contains("\n  prometheus:\n"));
}
