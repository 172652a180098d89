//! A folder that is right, broken in one way after the other: `check` and `test` must see each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use hirewire_conformance::{Checked, Folder, check, docs, test};
use jiff::civil::{Date, date};
use tempfile::TempDir;

/// A day, and not today: what was right when it was written stays right.
const TODAY: Date = date(2026, 11, 30);

/// A copy of Greenhouse's folder, the first that there was.
struct Broken {
    _root: TempDir,
    folder: Folder,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

impl Broken {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("greenhouse");
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors/greenhouse"), &folder);
        Self { folder: Folder::new(&folder), _root: root }
    }

    /// Puts `new` in the place of the first `old` of a file.
    fn change(&self, file: &str, old: &str, new: &str) -> &Self {
        let path = self.folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{file} does not hold {old}");
        std::fs::write(path, text.replacen(old, new, 1)).unwrap();
        self
    }

    fn remove(&self, file: &str) -> &Self {
        let path = self.folder.path().join(file);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        self
    }

    fn write(&self, file: &str, text: &str) -> &Self {
        std::fs::write(self.folder.path().join(file), text).unwrap();
        self
    }

    fn checked(&self) -> Checked {
        check(&self.folder, TODAY)
    }

    /// The one mistake that there must be.
    fn mistake(&self) -> String {
        let checked = self.checked();
        assert_eq!(checked.mistakes.iter().count(), 1, "{}", checked.mistakes);
        checked.mistakes.to_string()
    }

    /// The one difference that there must be.
    fn difference(&self) -> String {
        let outcome = test(&self.folder, false).unwrap();
        let [found] = outcome.differences.as_slice() else { panic!("{:#?}", outcome.differences) };
        format!("{}: {}", found.file, found.what)
    }
}

#[test]
fn a_folder_that_is_right_has_no_mistake_and_no_difference() {
    let whole = Broken::new();
    let checked = whole.checked();
    assert!(checked.mistakes.is_empty() && checked.warnings.is_empty(), "{}{}", checked.mistakes, checked.warnings);
    assert!(checked.summary.starts_with("29 events, 28 streams, "), "{}", checked.summary);
    let outcome = test(&whole.folder, false).unwrap();
    assert!(outcome.differences.is_empty(), "{:#?}", outcome.differences);
    assert!(outcome.vectors > 10 && outcome.invalid > 10 && outcome.coverage.len() > 50, "{outcome:?}");
}

#[test]
fn what_is_missing_is_told_with_what_it_is_for() {
    for (file, part) in [
        ("README.md", "README.md: the file is missing (oddities of the vendor, each with its source)"),
        ("fixtures/SOURCES.md", "SOURCES.md: the file is missing (where each fixture comes from)"),
        ("signature_vectors.yaml", "signature_vectors.yaml: the file is missing (deliveries, and whether their"),
        ("fixtures/invalid", "fixtures/invalid: no invalid fixture (add a payload that must become a dead letter"),
    ] {
        let found = Broken::new().remove(file).mistake();
        assert!(found.contains(part), "{file}: {found}");
    }
    for (file, part) in [
        ("fixtures/poll__jobs.json", "no fixture of the stream \"jobs\" (add fixtures/poll__jobs.json"),
        ("fixtures/webhook__job_created.json", "no fixture of the event \"job_created\" (add fixtures/webhook__"),
    ] {
        let found = Broken::new().remove(file).checked().mistakes.to_string();
        assert!(found.contains(part) && found.contains("is named, and is not there"), "{file}: {found}");
    }
    let both = Broken::new().remove("manifest.yaml").remove("mapping.yaml").checked();
    assert_eq!(both.mistakes.iter().count(), 2, "{}", both.mistakes);
}

#[test]
fn an_api_is_warned_of_ninety_days_before_its_end_and_is_a_mistake_from_then_on() {
    let broken = Broken::new();
    broken.change("manifest.yaml", "lifecycle: {", "lifecycle: {sunset: 2027-03-31, ");
    let on = |day: Date| {
        let checked = check(&broken.folder, day);
        (checked.mistakes.to_string(), checked.warnings.to_string())
    };
    assert_eq!(on(date(2026, 12, 30)), (String::new(), String::new()), "91 days");
    for (day, left) in [(date(2026, 12, 31), 90), (date(2027, 3, 30), 1)] {
        let (mistakes, warnings) = on(day);
        let part = format!(
            "manifest.yaml:3: the API Harvest v3 is not answered any more from 2027-03-31 on: {left} days are left \
             (bring manifest.yaml and mapping.yaml to what follows it until then: https://harvestdocs.greenhouse.io)"
        );
        assert!(mistakes.is_empty() && warnings.contains(&part), "{day}: {mistakes}{warnings}");
    }
    for day in [date(2027, 3, 31), date(2031, 1, 1)] {
        let (mistakes, warnings) = on(day);
        let part = "manifest.yaml:3: the API Harvest v3 is not answered any more since 2027-03-31 (bring manifest.yaml";
        assert!(mistakes.contains(part) && warnings.is_empty(), "{day}: {mistakes}{warnings}");
    }
    // A page is the same on any day.
    assert!(docs(&broken.folder).unwrap().contains("| `sunset` | `2027-03-31` |"));
    broken.change("manifest.yaml", "lifecycle: {", "# lifecycle: {");
    let warnings = on(TODAY).1;
    assert!(warnings.contains("nothing says which version of the vendor's API this is"), "{warnings}");
}

#[test]
fn what_one_file_names_the_other_knows() {
    let found = Broken::new().change("manifest.yaml", "    job_created:", "    job_creatd:").checked();
    let shown = found.mistakes.to_string();
    assert!(
        shown.contains("the manifest does not know the event \"job_created\" (add it to `webhook.subjects`"),
        "{shown}"
    );
    assert!(shown.contains("did you mean \"job_creatd\"?"), "{shown}");
    assert!(found.warnings.to_string().contains("no rule makes anything of the event \"job_creatd\""));
    let lines: Vec<usize> = found.mistakes.iter().map(|mistake| mistake.line).collect();
    assert!(lines.iter().all(|line| *line > 5), "{lines:?}");
    let found = Broken::new().change("manifest.yaml", "    notes: {", "    remarks: {").mistake();
    assert!(found.contains("does not know the stream \"notes\""), "{found}");
    let found = Broken::new().change("manifest.yaml", "vendor: greenhouse", "vendor: grenhouse").mistake();
    assert!(found.contains("manifest.yaml:2: `vendor` is \"grenhouse\" in the folder greenhouse"), "{found}");
    let found = Broken::new().change("mapping.yaml", "source: greenhouse\n", "").mistake();
    assert!(found.contains("`source` is missing (add `source: greenhouse`)"), "{found}");
    let found = Broken::new().change("fixtures/SOURCES.md", "`poll__jobs.json`", "`jobs`").mistake();
    assert!(found.contains("no source for `poll__jobs.json`"), "{found}");
    let found = Broken::new()
        .change("fixtures/SOURCES.md", "| `poll__jobs.json`", "| `poll__jbos.json` `poll__jobs.json`")
        .mistake();
    assert!(found.contains("`poll__jbos.json` is named, and is not there"), "{found}");
}

#[test]
fn mistakes_of_all_files_come_at_once() {
    let broken = Broken::new();
    broken.change("manifest.yaml", "algorithm: sha256", "algorithm: sha265").change(
        "mapping.yaml",
        "kind: {first",
        "knid: {first",
    );
    broken
        .write("README.md", " \n")
        .write("fixtures/hired.json", "{}")
        .write("overlay.example.yaml", "version: \"1\"\ntabels: {}\n");
    broken.change("signature_vectors.yaml", "proven: true", "proven: maybe");
    let shown = broken.checked().mistakes.to_string();
    for part in [
        "\"sha265\" is not known here (did you mean \"sha256\"?)",
        "did you mean \"kind\"?",
        "README.md: the file is empty",
        "hired.json: the name does not say what it is (webhook__<case>.json or poll__<stream>__<case>.json)",
    ] {
        assert!(shown.contains(part), "{part}\nis not in\n{shown}");
    }
    let broken = Broken::new();
    broken.write("overlay.example.yaml", "version: \"1\"\ntabels: {}\n");
    broken.change("signature_vectors.yaml", "proven: true", "proven: maybe");
    let shown = broken.checked().mistakes.to_string();
    for part in ["unknown key \"tabels\" (did you mean \"tables\"?)", "expected true or false, found `maybe`"] {
        assert!(shown.contains(part), "{part}\nis not in\n{shown}");
    }
    let broken = Broken::new();
    broken.change("overlay.example.yaml", "from: 2027-01-01T00:00:00+01:00", "from: 2027-01-01T00:00:00");
    broken.change("overlay.example.yaml", "skills day: INTERVIEW", "skills day: ASSESSMENT\n        lunch: INTERVEW");
    let shown = broken.checked().mistakes.to_string();
    for part in [
        "\"2027-01-01T00:00:00\" is neither a day nor a time with its zone (write 2026-09-01, which begins",
        "\"skills day\" is ASSESSMENT before this already",
        "has no symbol \"INTERVEW\" (did you mean \"INTERVIEW\"?)",
    ] {
        assert!(shown.contains(part), "{part}\nis not in\n{shown}");
    }
}

#[test]
fn a_signature_that_does_not_cover_the_body_is_told() {
    let broken = Broken::new();
    broken.change("manifest.yaml", "signed: body", "signed: {fields: [action]}");
    let checked = broken.checked();
    assert!(checked.mistakes.is_empty(), "{}", checked.mistakes);
    assert!(checked.warnings.to_string().contains("does not cover the whole body"), "{}", checked.warnings);
    let broken = Broken::new();
    broken.change("manifest.yaml", "header: Signature, ", "field: signature, ");
    broken.change("manifest.yaml", "signed: body", "signed: {fields: [action]}");
    let outcome = test(&broken.folder, false).unwrap();
    assert!(outcome.differences.iter().any(|found| found.what.contains("leave `signatures` out")), "{outcome:?}");
}

#[test]
fn vectors_that_prove_nothing_are_a_mistake() {
    let broken = Broken::new();
    broken.write("signature_vectors.yaml", "- {name: a, secrets: [b], body: c, signatures: [d], proven: false}\n");
    assert!(broken.mistake().contains("no vector is proven"));
    let wrong = "- {name: a, secrets: [b], body: c, signatures: [d], proven: true}\n";
    broken.write("signature_vectors.yaml", wrong);
    assert!(broken.mistake().contains("every vector is proven"));
    let other = "- {name: e, secrets: [b], body: c, signatures: [d], proven: false}\n";
    broken.write("signature_vectors.yaml", &format!("{wrong}{other}"));
    assert!(broken.difference().contains("signature_vectors.yaml:1: \"a\" is not proven, and must be"));
}

#[test]
fn another_record_is_shown_line_by_line_and_update_writes_it() {
    let broken = Broken::new();
    broken.change("fixtures/webhook__department_deleted.json", "\"id\": 106", "\"id\": 107");
    let found = broken.difference();
    let (minus, plus) = (found.lines().filter(|l| l.starts_with('-')), found.lines().filter(|l| l.starts_with('+')));
    assert!(
        minus.clone().any(|line| line.contains("\"106\"")) && plus.clone().any(|line| line.contains("\"107\"")),
        "{found}"
    );
    assert!(minus.count() < 8 && plus.count() < 8, "only what differs is shown: {found}");
    let outcome = test(&broken.folder, true).unwrap();
    assert!(outcome.differences.is_empty() && outcome.written == outcome.coverage.len(), "{outcome:?}");
    assert!(test(&broken.folder, false).unwrap().differences.is_empty());
}

/// What normalize puts statements in order and in place by: no field of a record shows it.
#[test]
fn a_wrong_version_owner_completeness_or_hint_is_a_difference() {
    for (old, new, minus, plus) in [
        (
            "version: {first: [last_activity_at, updated_at]}",
            "version: created_at",
            "\"version\":\"20",
            "\"version\":\"20",
        ),
        ("    version: resolved_at\n", "", "\"version\":\"20", "\"version\":null"),
        ("    owner: unknown\n", "    owner: awaited\n", "\"owner\":\"unknown\"", "\"owner\":\"awaited\""),
        ("    completeness: whole\n", "    completeness: part\n", "\"whole\"", "\"part\""),
        (
            "candidate_stage_change: STAGE",
            "candidate_stage_change: HIRE",
            "\"change\":\"STAGE\"",
            "\"change\":\"HIRE\"",
        ),
    ] {
        let outcome = test(&Broken::new().change("mapping.yaml", old, new).folder, false).unwrap();
        let told: String = outcome.differences.iter().map(|found| format!("{}\n", found.what)).collect();
        let changed: Vec<&str> = told.lines().filter(|line| line.starts_with(['-', '+']) && line.len() > 12).collect();
        let has = |sign: char, part: &str| changed.iter().any(|line| line.starts_with(sign) && line.contains(part));
        assert!(has('-', minus) && has('+', plus), "{new}: {told}");
    }
}

#[test]
fn golden_files_and_fixtures_belong_together() {
    let found = Broken::new().remove("golden/poll__jobs.json").difference();
    assert!(
        found.contains("golden/poll__jobs.json: cannot be read") && found.contains("--update writes it"),
        "{found}"
    );
    let found = Broken::new().write("golden/poll__jbos.json", "").difference();
    assert!(found.contains("golden/poll__jbos.json: no fixture has this name"), "{found}");
}

#[test]
fn a_payload_that_makes_nothing_is_never_taken_for_one_that_is_right() {
    let file = "fixtures/webhook__job_deleted.json";
    let found = Broken::new().change(file, "\"action\": \"job_deleted\"", "\"action\": \"job_removed\"").difference();
    assert!(found.contains("the mapping has no rule for the event \"job_removed\""), "{found}");
    let found = Broken::new().change(file, "\"action\":", "\"axion\":").difference();
    assert!(found.contains("does not say which event it is"), "{found}");
    let broken = Broken::new();
    broken.write("fixtures/poll__jbos.json", "[{\"id\": 1}]");
    assert!(broken.difference().contains("the mapping has no rule for this stream"));
    let found = Broken::new().change("fixtures/poll__jobs.json", "\"id\":", "\"idd\":").difference();
    assert!(found.contains("a dead letter: {\"dead_letter\":{\"code\":\"REQUIRED_MISSING\""), "{found}");
}

#[test]
fn a_leaf_that_no_rule_accounts_for_is_a_difference() {
    // The only rule of the event makes no record of it: nothing carries its leaves.
    let broken = Broken::new();
    let rule = "interview_deleted: {record: Interview, events: [interview_deleted], root: payload.interview,";
    broken.change("mapping.yaml", rule, &format!("{rule} when: {{exists: nothing}},"));
    let outcome = test(&broken.folder, false).unwrap();
    let told: Vec<&str> = outcome.differences.iter().map(|found| found.what.as_str()).collect();
    assert!(told.iter().any(|what| what.contains("neither read, ignored nor carried")), "{told:?}");
}

#[test]
fn an_invalid_payload_becomes_the_dead_letter_that_its_name_says() {
    let invalid = "fixtures/invalid/webhook__cut_off__INVALID_JSON.json";
    let broken = Broken::new();
    let body = std::fs::read_to_string(broken.folder.path().join(invalid)).unwrap();
    broken.write("fixtures/invalid/webhook__cut_off__TOO_DEEP.json", &body);
    assert!(broken.difference().contains("another dead letter: {\"dead_letter\":{\"code\":\"INVALID_JSON\""));
    let broken = Broken::new();
    let right = std::fs::read_to_string(broken.folder.path().join("fixtures/webhook__office_deleted.json")).unwrap();
    broken.write(invalid, &right);
    assert!(broken.difference().contains("no dead letter, where one of INVALID_JSON should be"));
    broken.write(invalid, "{\"action\": \"ping\"}");
    assert!(broken.difference().contains("no dead letter: no rule knows its event"));
}

#[test]
fn folders_are_found_by_walking_and_what_is_none_is_not_passed_over() {
    let root = tempfile::tempdir().unwrap();
    for name in ["b", "a", ".hidden"] {
        std::fs::create_dir(root.path().join(name)).unwrap();
    }
    std::fs::write(root.path().join("README.md"), "").unwrap();
    let found = hirewire_conformance::vendors_in(root.path()).unwrap();
    assert_eq!(found, [root.path().join("a"), root.path().join("b")]);
    assert!(check(&Folder::new(&found[0]), TODAY).mistakes.iter().count() > 3);
    std::fs::write(root.path().join("a/manifest.yaml"), "").unwrap();
    assert_eq!(hirewire_conformance::vendors_in(&found[0]).unwrap(), [found[0].clone()]);
    assert!(hirewire_conformance::vendors_in(&root.path().join("nothing")).is_err());
}

#[test]
fn the_scaffold_is_right_from_the_first_minute_and_only_names_that_topics_carry_are_taken() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("acme-2");
    for (file, text) in hirewire_conformance::scaffold("acme-2").unwrap() {
        std::fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
        std::fs::write(path.join(file), text).unwrap();
    }
    let folder = Folder::new(&path);
    let checked = check(&folder, TODAY);
    assert!(checked.mistakes.is_empty() && checked.warnings.is_empty(), "{}{}", checked.mistakes, checked.warnings);
    assert!(test(&folder, true).unwrap().differences.is_empty());
    assert!(test(&folder, false).unwrap().differences.is_empty());
    for wrong in ["", "Acme", "acme_2", "2acme", "a.b", "a/b", "é", &"a".repeat(61)] {
        assert!(hirewire_conformance::scaffold(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_only_names_something_that_is_read_in_its_place_needs_no_rule() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors/smartrecruiters");
    let warnings = check(&Folder::new(&folder), TODAY).warnings.to_string();
    for thin in ["\"application.created\"", "\"interview.updated\"", "\"candidates\"", "\"jobs\""] {
        assert!(!warnings.contains(thin), "{thin}: {warnings}");
    }
    assert!(warnings.contains("\"application.screening-answers.created\""), "{warnings}");
}
