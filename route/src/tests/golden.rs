//! Every `sinks/<system>/fixtures/<case>.json` makes the request of `golden/<case>.json`, or misses what it says.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::system::Systems;

fn cases(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join("fixtures")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn json_of(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_fixture_makes_its_golden_request() {
    let sinks = Path::new(env!("CARGO_MANIFEST_DIR")).join("sinks");
    let mut checked = 0;
    for system in Systems::carried().unwrap().iter() {
        for case in cases(&sinks.join(&system.name)) {
            let fixture = json_of(&case);
            let golden = json_of(&sinks.join(&system.name).join("golden").join(case.file_name().unwrap()));
            let plan = system.request(fixture["request"].as_str().unwrap()).unwrap();
            assert!(plan.when.holds(&fixture["tree"]["change"]), "{}: `when` does not hold", case.display());
            let made = match plan.render(&fixture["tree"]) {
                Err(missing) => json!({ "missing": missing }),
                Ok(request) => {
                    let body: Value = serde_json::from_slice(&request.body).unwrap();
                    json!({"method": request.method.as_str(), "path": request.path, "body": body})
                }
            };
            assert_eq!(made, golden, "{}", case.display());
            checked += 1;
        }
    }
    assert!(checked >= 7, "only {checked} cases were found");
}
