//! Every vendor folder: its mapping compiles, its fixtures give the golden records, and no leaf of them is lost.
//!
//! `UPDATE=1 cargo test -p hirewire-mapping --test vendors` writes the golden files: read them before you commit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::string_slice, clippy::print_stdout)]

mod support;

use support::{fixtures, map_fixture, plan_of, pretty, vendors};

#[test]
fn fixtures_give_their_golden_records() {
    let update = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    let mut wrong = Vec::new();
    for vendor in vendors() {
        let plan = plan_of(&vendor, None);
        for fixture in fixtures(&vendor.join("fixtures")) {
            let report = map_fixture(&plan, &fixture);
            let mut golden = String::new();
            for line in &report.lines {
                pretty(&line.replace(plan.version(), "VERSION"), 0, &mut golden);
                golden.push('\n');
            }
            let path = vendor.join("golden").join(fixture.file_name().unwrap());
            if update {
                std::fs::write(&path, &golden).unwrap();
            } else if std::fs::read_to_string(&path).unwrap_or_default() != golden {
                wrong.push(fixture);
            }
        }
    }
    assert!(wrong.is_empty(), "not as in golden/ (UPDATE=1 rewrites it): {wrong:#?}");
}

#[test]
fn every_leaf_of_every_fixture_is_read_ignored_or_carried() {
    for vendor in vendors() {
        let plan = plan_of(&vendor, None);
        for fixture in fixtures(&vendor.join("fixtures")) {
            let report = map_fixture(&plan, &fixture);
            let name = fixture.file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(report.dead_letters, 0, "{name}: {:?}", report.lines);
            assert!(!report.unknown, "{name}: no rule");
            assert_eq!(report.coverage.unread, 0, "{name}: {:?}", report.coverage);
            println!("{name}: {:?}", report.coverage);
        }
    }
}

#[test]
fn invalid_fixtures_are_dead_letters_that_name_the_place_and_not_the_value() {
    for vendor in vendors() {
        let plan = plan_of(&vendor, None);
        let found = fixtures(&vendor.join("fixtures/invalid"));
        assert!(!found.is_empty());
        for fixture in found {
            let report = map_fixture(&plan, &fixture);
            let name = fixture.file_stem().unwrap().to_str().unwrap();
            // The last part of the name is the code that is expected.
            let code = name.rsplit("__").next().unwrap();
            assert_eq!(report.dead_letters, 1, "{name}: {:?}", report.lines);
            assert!(report.lines[0].contains(&format!("\"code\":\"{code}\"")), "{name}: {:?}", report.lines);
            for personal in ["SECRET", "secret@example.com"] {
                assert!(!report.lines[0].contains(personal), "{name}: {:?}", report.lines);
            }
        }
    }
}
