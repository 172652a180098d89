//! `hirewire vendor` as its users run it: exit codes, and what is printed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use hirewire_e2e::hirewire;

/// Exit code and standard output of a run in `folder`.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = hirewire(arguments).unwrap().current_dir(folder).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn replace(path: &Path, old: &str, new: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{}", path.display());
    std::fs::write(path, text.replacen(old, new, 1)).unwrap();
}

#[test]
fn a_new_vendor_passes_at_once_and_each_mistake_has_its_exit_code() {
    let root = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run(root.path(), arguments);
    let (code, made) = run(&["vendor", "new", "acme", "--dir", "mine"]);
    assert_eq!(code, 0, "{made}");
    let folder = root.path().join("mine/acme");
    assert!(std::fs::read_to_string(folder.join("manifest.yaml")).unwrap().contains("FILL IN"));
    assert_eq!(run(&["vendor", "new", "acme", "--dir", "mine"]).0, 2, "a folder that is there is not overwritten");
    assert_eq!(run(&["vendor", "new", "Acme Inc", "--dir", "mine"]).0, 2);

    let (code, text) = run(&["vendor", "check", "mine"]);
    assert!(
        code == 0 && text.contains("mine/acme: 1 events, 1 streams, 2 fixtures, 1 invalid ones, 6 signature vectors"),
        "{text}"
    );
    let (code, text) = run(&["vendor", "test", "mine/acme"]);
    assert!(code == 0 && text.contains("; 0 differences"), "{text}");
    let row = text.lines().find(|line| line.starts_with("webhook__application_stage_changed.json")).unwrap();
    let leaves: Vec<&str> = row.split_whitespace().skip(1).collect();
    assert_eq!(leaves, ["7", "1", "1", "100%"], "read, ignored, carried: {text}");
    // By its path the folder needs no name and no setting.
    let file = "mine/acme/fixtures/webhook__application_stage_changed.json";
    let (code, text) = run(&["map", "mine/acme", file]);
    assert!(code == 0 && text.contains("\"source_system\":\"acme\"") && text.contains("\"SCREEN\""), "{text}");
    assert_eq!(run(&["map", "mine/nobody", file]).0, 2);

    // The event happened on 8 March: a change counts from its day on.
    let overlay = root.path().join("acme.yaml");
    for (from, category) in [("2026-03-09", "SCREEN"), ("2026-03-08", "INTERVIEW")] {
        let changes = format!("[{{from: {from}, tables: {{stage_category: {{phone screen: INTERVIEW}}}}}}]");
        std::fs::write(&overlay, format!("version: \"2\"\nchanges: {changes}\n")).unwrap();
        let (code, text) = run(&["map", "mine/acme", file, "--overlay", "acme.yaml"]);
        assert!(code == 0 && text.contains(&format!("\"category\":{{\"value\":\"{category}\"")), "{from}: {text}");
    }
    let (code, text) = run(&["map", "mine/acme", file, "--received", "2026-03-10T00:00:00Z"]);
    assert!(code == 0 && text.contains("\"observed_at\":\"2026-03-10T00:00:00Z\""), "{text}");
    std::fs::copy(&overlay, folder.join("overlay.example.yaml")).unwrap();
    replace(&folder.join("overlay.example.yaml"), "2026-03-08", "2026-03-80");
    let (code, text) = run(&["vendor", "check", "mine"]);
    assert!(code == 1 && text.contains("overlay.example.yaml:2: \"2026-03-80\" is neither a day nor a time"), "{text}");
    std::fs::remove_file(folder.join("overlay.example.yaml")).unwrap();

    replace(&folder.join("mapping.yaml"), "\"*screen*\": SCREEN", "\"*screen*\": REVIEW");
    let (code, text) = run(&["vendor", "test", "mine/acme"]);
    assert!(
        code == 1 && text.contains("+") && text.contains("\"REVIEW\"") && text.contains("; 1 differences"),
        "{text}"
    );
    assert_eq!(run(&["vendor", "test", "mine/acme", "--update"]).0, 0);
    assert_eq!(run(&["vendor", "test", "mine/acme"]).0, 0);

    let (code, text) = run(&["vendor", "prove", "mine"]);
    assert!(code == 0 && text.contains("mine/acme: 1 lists, ") && text.contains(", 0 findings"), "{text}");
    replace(&folder.join("manifest.yaml"), "param: updated_at", "param: created_at");
    let (code, text) = run(&["vendor", "prove", "mine/acme", "--list", "applications"]);
    assert!(code == 1 && text.contains("cursor of applications: after a change of the oldest row: "), "{text}");
    assert_eq!(run(&["vendor", "prove", "mine/acme", "--deliveries"]).0, 0);
    assert_eq!(run(&["vendor", "prove", "mine/acme", "--list", "nobody"]).0, 1);

    // The end of the vendor's API: exit code and words depend on the day that is asked about.
    replace(&folder.join("manifest.yaml"), "lifecycle: {", "lifecycle: {sunset: 2027-03-31, ");
    for (day, code, part) in [
        ("2026-12-30", 0, "; 0 mistakes, 0 warnings"),
        (
            "2027-03-01",
            0,
            "warning: mine/acme/manifest.yaml:5: the API v1 is not answered any more from 2027-03-31 on: 30 days",
        ),
        ("2027-03-31", 1, "mine/acme/manifest.yaml:5: the API v1 is not answered any more since 2027-03-31"),
        ("soon", 2, "soon"),
    ] {
        let (exit, text) = run(&["vendor", "check", "mine/acme", "--on", day]);
        assert!(exit == code && text.contains(part), "{day}: {exit} {text}");
    }

    replace(&folder.join("mapping.yaml"), "INTERVIEW", "INTERVEW");
    replace(&folder.join("manifest.yaml"), "hex", "hax");
    let (code, text) = run(&["vendor", "check", "mine/acme"]);
    assert!(code == 1 && text.contains("manifest.yaml:"), "{text}");
    assert_eq!(run(&["vendor", "test", "mine/acme"]).0, 1);
    assert_eq!(run(&["vendor", "check", "nowhere"]).0, 2);
    std::fs::create_dir(root.path().join("empty")).unwrap();
    assert_eq!(run(&["vendor", "check", "empty"]).0, 2, "nothing to check is no success");
}
