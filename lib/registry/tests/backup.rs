//! A copy of a registry that is made while it answers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hirewire_registry::{OpenError, Registry, backup, inspect};

fn submitted(number: u32) -> hirewire_registry::Submitted {
    let schema = format!(r#"{{"type":"record","name":"r{number}","fields":[{{"name":"a","type":"string"}}]}}"#);
    hirewire_registry::Submitted { schema, ..Default::default() }
}

/// A thread that works until then ends, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_copy_holds_every_id_that_was_answered_before() {
    let (source, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = Registry::open(source.path()).unwrap();
    let (stop, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let id = registry.register(&format!("subject-{number}"), &submitted(number), None).unwrap();
                assert_eq!(id, i64::from(number));
                answered.store(number, Ordering::SeqCst);
            }
        });
        let _ends = Ends(&stop);
        for copy in 0..5 {
            let before = answered.load(Ordering::SeqCst);
            while answered.load(Ordering::SeqCst) < before + 20 {
                std::thread::yield_now();
            }
            let (before, copy) = (answered.load(Ordering::SeqCst), copies.path().join(copy.to_string()));
            backup(source.path(), &copy).unwrap();
            let contents = inspect(&copy).unwrap();
            let last = contents.ids.last().copied().unwrap();
            assert!(last >= before, "{before} was answered, the copy has {last}");
            assert_eq!(contents.ids, (1..=last).collect());
            assert_eq!((contents.versions, contents.subjects.len()), (last, last as usize));
            let copied = Registry::open(&copy).unwrap();
            assert_eq!(copied.schema_by_id(i64::from(last)).unwrap().0, submitted(last).schema);
            // The ids go on behind those that were given.
            let next = copied.register("next", &submitted(0), None).unwrap();
            assert_eq!(next, i64::from(last) + 1);
        }
    });
}

#[test]
fn an_id_that_was_given_is_given_to_no_other_schema_by_a_copy() {
    let (source, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = Registry::open(source.path()).unwrap();
    registry.register("s", &submitted(1), None).unwrap();
    registry.delete_subject("s", false).unwrap();
    registry.delete_subject("s", true).unwrap();
    backup(source.path(), &copy.path().join("c")).unwrap();
    let copied = Registry::open(&copy.path().join("c")).unwrap();
    assert_eq!(copied.register("s", &submitted(2), None).unwrap(), 2);
}

#[test]
fn a_damaged_file_is_found_and_a_missing_one_is_told() {
    let (source, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(matches!(inspect(source.path()), Err(OpenError::Sqlite { .. })));
    let registry = Registry::open(source.path()).unwrap();
    for number in 1..=200 {
        registry.register("s", &submitted(number), None).ok();
        registry.register(&format!("s{number}"), &submitted(number), None).unwrap();
    }
    backup(source.path(), &copy.path().join("c")).unwrap();
    let file = copy.path().join("c/registry.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 4096].fill(0);
    std::fs::write(&file, bytes).unwrap();
    let told = inspect(&copy.path().join("c")).unwrap_err();
    assert!(matches!(told, OpenError::Damaged { .. } | OpenError::Sqlite { .. }), "{told}");
}
