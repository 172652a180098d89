//! Every vendor's folder, found by walking `vendors/`: what `hirewire vendor check` and `hirewire vendor test` hold it to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use hirewire_conformance::{Fixture, Folder, check, docs, test, vendors_in};
use jiff::civil::{Date, date};

/// The day on which each vendor's API must be answered: one, and not today, so that no release goes red by growing old.
/// `ci/nightly` asks about today.
const TODAY: Date = date(2026, 11, 30);

fn vendors() -> Vec<Folder> {
    let found = vendors_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors")).unwrap();
    assert!(!found.is_empty());
    found.iter().map(|path| Folder::new(path)).collect()
}

#[test]
fn the_files_of_every_vendor_fit_together() {
    for folder in vendors() {
        let checked = check(&folder, TODAY);
        assert!(checked.mistakes.is_empty(), "{}", checked.mistakes);
        assert!(
            folder.rules(None).unwrap().manifest.lifecycle.is_some(),
            "{}: no `lifecycle`",
            folder.path().display()
        );
    }
}

#[test]
fn fixtures_and_vectors_of_every_vendor_give_what_they_say_and_no_leaf_is_lost() {
    for folder in vendors() {
        let outcome = test(&folder, false).unwrap_or_else(|problems| panic!("{problems}"));
        let differences: String =
            outcome.differences.iter().map(|found| format!("\n{}: {}\n", found.file, found.what)).collect();
        assert!(differences.is_empty(), "`hirewire vendor test` shows it too:{differences}");
        let shown = folder.path().display();
        // Who sends no webhooks signs none.
        let signs = folder.rules(None).unwrap().manifest.webhook.is_some();
        assert!(!outcome.coverage.is_empty() && outcome.invalid > 0, "{shown}: {outcome:?}");
        assert!(outcome.vectors >= 10 || !signs, "{shown}: {outcome:?}");
        assert!(outcome.coverage.iter().all(|(_, leaves)| leaves.unread == 0 && leaves.read > 0), "{shown}");
    }
}

#[test]
fn the_reference_page_of_every_vendor_is_as_its_folder_is() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/vendors");
    for folder in vendors() {
        let page = docs(&folder).unwrap_or_else(|problems| panic!("{problems}"));
        let path = pages.join(format!("{}.md", folder.name()));
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let shown = path.display();
        assert!(written == page, "{shown} is old: run `hirewire vendor docs --out docs/reference/vendors`");
    }
    let there = std::fs::read_dir(&pages).unwrap().count();
    assert_eq!(there, vendors().len(), "a page of no vendor");
}

/// A vendor is to be small. Where it is not, its README says what made it so.
#[test]
fn the_readme_of_every_vendor_says_how_large_it_is_and_why_it_is_large() {
    const SMALL: usize = 250;
    for folder in vendors() {
        let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
        let lines = read("manifest.yaml").lines().count() + read("mapping.yaml").lines().count();
        let readme = read("README.md");
        let says = format!("\nManifest and mapping are {lines} lines of YAML");
        let behind =
            readme.split_once(&says).unwrap_or_else(|| panic!("{} does not say:{says}", folder.path().display())).1;
        let why = behind.split("\n\n").next().unwrap().strip_prefix("; what makes them more than 250: ");
        assert_eq!(why.is_some_and(|why| why.len() > 40), lines > SMALL, "{}: {lines}", folder.path().display());
    }
}

/// Greenhouse's pay stands in custom fields only, which its example overlay names.
#[test]
fn the_example_overlay_of_a_vendor_routes_pay_into_the_offer() {
    let folder = vendors().into_iter().find(|folder| folder.name() == "greenhouse").unwrap();
    let rules = folder.rules(Some("overlay.example.yaml")).unwrap();
    let fixtures = folder.payloads();
    let map = |name: &str| {
        let fixture: &Fixture = fixtures.iter().find(|fixture| fixture.name == name).unwrap();
        fixture.map(&rules, &std::fs::read(&fixture.path).unwrap())
    };
    for (fixture, amount, currency) in [
        ("poll__offers.json", "80000.000000", "USD"),
        ("poll__offers.json", "78500.500000", "EUR"),
        ("webhook__hire_candidate.json", "80000.000000", "USD"),
    ] {
        let report = map(fixture);
        let lines = report.lines.join("\n");
        let pay = format!(
            "\"amount\":\"{amount}\",\"min_amount\":null,\"max_amount\":null,\"currency\":\"{currency}\",\"period\":{{\"value\":\"YEAR\""
        );
        assert!(lines.contains(&pay), "{fixture}: {lines}");
        assert!(!lines.contains("\"custom_fields.salary\""), "the routed field is carried too");
        assert_eq!(report.coverage.unread, 0);
    }
    assert!(
        map("poll__job_interview_stages.json").lines.join("").contains("overlay:1/stage_category/meet the founders")
    );
    // An offer that has no pay, or an unreadable one, is no dead letter.
    let report = map("webhook__offer_created.json");
    assert_eq!(report.dead_letters, 0);
    assert!(report.lines[0].contains("\"compensation\":[]"));
}
