//! `hirewire backup` and `hirewire restore` as their users run them: a copy of a deployment that works, and a deployment made of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hirewire_e2e::deployment::{Deployment, Ends, Moved, stop};

const SECTIONS: &str = "sinks: {analytics: {sqlite: {path: analytics.sqlite}}}\n\
                        routes: {analytics: {sink: analytics, from: beginning}}\n";

fn moved(application: u64, stage: &str) -> Moved<'_> {
    let stage_id = u64::from(stage.bytes().next().unwrap());
    Moved { application, stage_id, stage, at: "2026-02-09T16:00:00Z", traceparent: None }
}

#[test]
fn a_deployment_made_of_a_backup_goes_on_where_it_was_copied() {
    let first = Deployment::lay(SECTIONS);
    let up = first.up();
    let (enough, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let (copied, said) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for application in 1.. {
                if enough.load(Ordering::SeqCst) {
                    return;
                }
                first.send(&moved(application, "Assessment"));
                acknowledged.store(application, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let _ends = Ends(&enough);
        let reached = |count: u64| acknowledged.load(Ordering::SeqCst) >= count;
        first.until("some webhooks", || reached(60));
        let copied = acknowledged.load(Ordering::SeqCst);
        let backup = first.run(&["backup", "--data", "data", "--to", "backup"]);
        first.until("webhooks after the backup", || reached(copied + 20));
        (copied, backup)
    });
    assert_eq!(said.0, 0, "{said:?}");
    let all = acknowledged.load(Ordering::SeqCst);
    first.until("all changes", || first.ledger().len() as u64 == all);
    let expected = first.ledger();
    stop(up);

    let backup = first.folder.path().join("backup");
    let (code, told, error) = first.run(&["restore", "--verify", "backup"]);
    assert_eq!(code, 0, "{error}");
    for part in [
        "topic     ats.stage-change.v1: ",
        "group     hirewire-normalize: ",
        "broker    cluster ",
        "registry  ",
        "begun     ",
    ] {
        assert!(told.contains(part) && (said.1.contains(part) || part.starts_with("begun")), "{part}: {told}");
    }
    let second = Deployment::lay(SECTIONS);
    let (code, _, error) = second.run(&["restore", backup.to_str().unwrap(), "--data", "data"]);
    assert_eq!(code, 0, "{error}");
    let up = second.up();
    // What was acknowledged before is there; what came while it was copied may be.
    second.until("the changes of all that was acknowledged", || second.ledger().len() as u64 >= copied);
    let again = second.ledger();
    assert!((again.len() as u64) <= all);
    for (application, changes) in &again {
        assert_eq!(Some(changes), expected.get(application), "{application}");
    }
    // And it goes on: the same application moves, and nothing is told again.
    second.send(&moved(1, "Offer"));
    second.until("the next change", || {
        second.ledger().values().any(|changes| changes.len() > expected.values().next().unwrap().len())
    });
    assert_eq!(
        second.ledger().values().filter(|changes| !expected.values().any(|before| before == *changes)).count(),
        1
    );
    stop(up);
    ids_that_the_registry_lost_are_told(&second);
    damage_is_found(&second, &backup);
}

/// A backup of it says so; the data is still what it is.
fn ids_that_the_registry_lost_are_told(deployment: &Deployment) {
    let registry = deployment.folder.path().join("data/registry/registry.sqlite");
    let database = rusqlite::Connection::open(registry).unwrap();
    let subject = "ats.stage-change.v1-value";
    let id: i64 =
        database.query_row("SELECT schema_id FROM versions WHERE subject = ?", [subject], |row| row.get(0)).unwrap();
    database.execute("DELETE FROM versions WHERE schema_id = ?", [id]).unwrap();
    database.execute("DELETE FROM schemas WHERE id = ?", [id]).unwrap();
    drop(database);
    let (code, told, error) = deployment.run(&["backup", "--data", "data", "--to", "with-a-hole"]);
    assert_eq!(code, 1, "{error}");
    let problem = format!("problem   ats.stage-change.v1 has records of schema {id}, which the registry does not know");
    assert!(told.contains(&problem), "{told}");
}

fn damage_is_found(deployment: &Deployment, backup: &Path) {
    let refused = |arguments: &[&str]| {
        let (code, told, error) = deployment.run(arguments);
        assert_eq!(code, 2, "{told}");
        error
    };
    let (path, target) = (backup.to_str().unwrap(), "elsewhere");
    assert!(refused(&["restore", path, "--data", "data"]).contains("data is not empty"));
    assert!(refused(&["backup", "--data", "data", "--to", "with-a-hole"]).contains("with-a-hole is not empty"));
    assert!(
        refused(&["backup", "--data", "nowhere", "--to", target])
            .contains("holds neither a broker's data nor a registry's")
    );
    let manifest = std::fs::read(backup.join("backup.json")).unwrap();
    for file in [largest(&backup.join("broker")), backup.join("broker/format"), backup.join("registry/registry.sqlite")]
    {
        let good = std::fs::read(&file).unwrap();
        let mut bytes = good.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let error = refused(&["restore", path, "--data", target]);
        assert!(error.contains(&format!("{} is not as it was written", file.display())), "{error}");
        assert!(!deployment.folder.path().join(target).exists(), "nothing is made of a damaged backup");
        std::fs::write(&file, good).unwrap();
    }
    std::fs::remove_file(backup.join("backup.json")).unwrap();
    assert!(refused(&["restore", "--verify", path]).contains("is no backup, or one that was not finished"));
    std::fs::write(backup.join("backup.json"), manifest).unwrap();
    assert_eq!(deployment.run(&["restore", "--verify", path]).0, 0);
}

/// The largest file below a folder.
fn largest(folder: &Path) -> PathBuf {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                waiting.push(entry.path());
            } else {
                found.push((entry.metadata().unwrap().len(), entry.path()));
            }
        }
    }
    found.into_iter().max().unwrap().1
}
