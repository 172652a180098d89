//! Data directories as each version of their format left them, in `tests/formats/`: opened, and all that is in them is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hirewire_broker::{Broker, OpenError, Settings};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use running::*;

const FOREVER: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

fn formats() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats")
}

/// Nothing of it expires, however old the directory is.
fn patient(dir: &Path) -> Settings {
    let mut settings = settings(dir);
    settings.offsets_retention = FOREVER;
    settings.transactional_id_expiration = FOREVER;
    settings
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != "lock") {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn transaction(broker: &str, value: &str, commit: bool) {
    let producer = transactional(broker, "p", 10_000);
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, value);
    producer.flush(PATIENCE).unwrap();
    if commit { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) }.unwrap();
}

#[test]
#[ignore = "writes the directory of the present format anew: once for each format"]
fn write() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.checkpoint_bytes = 1024;
    let broker = Running::with(settings, 0);
    let at = &broker.bootstrap();
    create_topic(at, "t", 1, &[("retention.ms", "-1")]);
    create_topic(at, "in", 1, &[("retention.ms", "-1"), ("cleanup.policy", "compact")]);
    transaction(at, "before the checkpoint", true);
    transaction(at, "aborted", false);
    let consumer: BaseConsumer = config(at).set("group.id", "g").create().unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition_offset("in", 0, Offset::Offset(7)).unwrap();
    consumer.commit(&place, CommitMode::Sync).unwrap();
    wait_for("a checkpoint", || dir.path().join("checkpoint").exists());
    transaction(at, "in the journal", true);
    let open = transactional(at, "open", 1_000);
    open.begin_transaction().unwrap();
    send(&open, "t", 0, "never ended");
    open.flush(PATIENCE).unwrap();
    // As a process that is killed now leaves it.
    let format = std::fs::read_to_string(dir.path().join("format")).unwrap();
    copy(dir.path(), &formats().join(format.split_whitespace().next().unwrap()));
}

#[test]
fn a_directory_of_each_format_has_all_that_was_in_it() {
    let mut seen = 0;
    for format in std::fs::read_dir(formats()).unwrap().map(Result::unwrap) {
        let dir = tempfile::tempdir().unwrap();
        copy(&format.path(), dir.path());
        let broker = Running::with(patient(dir.path()), 0);
        let at = &broker.bootstrap();
        let all = ["before the checkpoint", "aborted", "in the journal", "never ended"];
        assert_eq!(values(&read_all(at, "t", 0, false)), all, "format {}", format.path().display());
        assert_eq!(values(&read_all(at, "t", 0, true)), [all[0], all[2]]);
        assert_eq!(committed_offset(at), 7);
        transaction(at, "written now", true);
        // What was never ended is aborted after its time, and what came later is seen.
        wait_for("the record of now", || {
            values(&read_all(at, "t", 0, true)) == ["before the checkpoint", "in the journal", "written now"]
        });
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn a_format_that_is_not_known_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("format"), "99 cluster\n").unwrap();
    let error = Broker::open(Settings::new(dir.path())).err().unwrap();
    assert!(matches!(&error, OpenError::Format { found, .. } if found == "99"), "{error}");
    assert_eq!(std::fs::read_to_string(dir.path().join("format")).unwrap(), "99 cluster\n");
}
