//! Every vendor folder: its mapping compiles, its fixtures give the golden records, and no leaf of them is lost.
//!
//! `UPDATE=1 cargo test -p hirewire-normalize --test vendors` writes the golden files: read them before you commit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::string_slice, clippy::print_stdout)]

mod vendor_support;

use vendor_support::{fixtures, map_fixture, plan_of, pretty, vendors};

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

#[test]
fn the_example_overlay_of_a_vendor_compiles_and_routes_pay_into_the_offer() {
    for vendor in vendors() {
        let Ok(overlay) = std::fs::read_to_string(vendor.join("overlay.example.yaml")) else { continue };
        let plan = plan_of(&vendor, Some(&overlay));
        if !vendor.ends_with("greenhouse") {
            continue;
        }
        for (fixture, amount, currency) in [
            ("poll__offers", "80000.000000", "USD"),
            ("poll__offers", "78500.500000", "EUR"),
            ("webhook__hire_candidate", "80000.000000", "USD"),
        ] {
            let report = map_fixture(&plan, &vendor.join("fixtures").join(fixture).with_extension("json"));
            let lines = report.lines.join("\n");
            let pay = format!(
                "\"amount\":\"{amount}\",\"min_amount\":null,\"max_amount\":null,\"currency\":\"{currency}\",\"period\":{{\"value\":\"YEAR\""
            );
            assert!(lines.contains(&pay), "{fixture}: {lines}");
            assert!(!lines.contains("\"custom_fields.salary\""), "the routed field is carried too");
            assert_eq!(report.coverage.unread, 0);
        }
        let stages = map_fixture(&plan, &vendor.join("fixtures/poll__job_interview_stages.json"));
        assert!(stages.lines.join("").contains("overlay:1/stage_category/meet the founders"));
        // An offer that has no pay, or an unreadable one, is no dead letter.
        let report = map_fixture(&plan, &vendor.join("fixtures/webhook__offer_created.json"));
        assert_eq!(report.dead_letters, 0);
        assert!(report.lines[0].contains("\"compensation\":[]"));
    }
}
