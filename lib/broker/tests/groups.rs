//! Consumer groups as clients see them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use running::*;

fn member(bootstrap: &str, strategy: &str, more: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(bootstrap);
    config
        .set("group.id", "g")
        .set("partition.assignment.strategy", strategy)
        .set("session.timeout.ms", "2000")
        .set("heartbeat.interval.ms", "200")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    for (name, value) in more {
        config.set(*name, *value);
    }
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&["t"]).unwrap();
    consumer
}

fn assigned(consumer: &BaseConsumer) -> BTreeSet<i32> {
    consumer.assignment().unwrap().elements().iter().map(|element| element.partition()).collect()
}

fn poll(consumers: &[&BaseConsumer]) {
    for consumer in consumers {
        if let Some(Err(error)) = consumer.poll(Duration::from_millis(20)) {
            panic!("{error}");
        }
    }
}

fn shares_of_two_members(strategy: &str) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 4, &[]);
    let first = member(&broker.bootstrap(), strategy, &[]);
    wait_for("the first to have all", || {
        poll(&[&first]);
        assigned(&first).len() == 4
    });
    let second = member(&broker.bootstrap(), strategy, &[]);
    wait_for("both to have half", || {
        poll(&[&first, &second]);
        assigned(&first).len() == 2 && assigned(&second).len() == 2 && assigned(&first).is_disjoint(&assigned(&second))
    });
    drop(second);
    wait_for("the first to have all again", || {
        poll(&[&first]);
        assigned(&first).len() == 4
    });
}

#[test]
fn two_members_share_by_range() {
    shares_of_two_members("range");
}

#[test]
fn two_members_share_cooperatively() {
    shares_of_two_members("cooperative-sticky");
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 4, &[]);
    let long = [("session.timeout.ms", "20000")];
    let one = member(&broker.bootstrap(), "range", &[("group.instance.id", "one"), long[0]]);
    let two = member(&broker.bootstrap(), "range", &[("group.instance.id", "two"), long[0]]);
    wait_for("both to have half", || {
        poll(&[&one, &two]);
        assigned(&one).len() == 2 && assigned(&two).len() == 2
    });
    let had = assigned(&two);
    drop(two);
    let two = member(&broker.bootstrap(), "range", &[("group.instance.id", "two"), long[0]]);
    wait_for("the second to be back", || {
        poll(&[&one, &two]);
        assert_eq!(assigned(&one).len(), 2, "the other member was rebalanced");
        assigned(&two) == had
    });
}

#[test]
fn commits_are_kept_over_a_restart_and_members_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    let port = broker.address.port();
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let producer = idempotent(&broker.bootstrap());
    let send = |value: &str| {
        let record: rdkafka::producer::FutureRecord<'_, str, str> =
            rdkafka::producer::FutureRecord::to("t").payload(value);
        runtime().block_on(producer.send(record, PATIENCE)).unwrap();
    };
    send("one");
    let consumer = member(&broker.bootstrap(), "range", &[]);
    let next = || {
        let mut value = None;
        wait_for("a record", || {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                value = Some(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
                consumer.commit_message(&message, CommitMode::Async).unwrap();
            }
            value.is_some()
        });
        value.unwrap()
    };
    assert_eq!(next(), "one");
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(broker);
    let broker = Running::with(settings(dir.path()), port);
    send("two");
    assert_eq!(next(), "two");
    let committed = || {
        let mut place = TopicPartitionList::new();
        place.add_partition("t", 0);
        consumer.committed_offsets(place, PATIENCE).unwrap().elements()[0].offset()
    };
    // The members' group began anew with the broker: what is committed before they are back in it is refused.
    wait_for("the commit", || {
        poll(&[&consumer]);
        consumer.commit_consumer_state(CommitMode::Sync).ok();
        committed() == Offset::Offset(2)
    });
    drop(broker);
}

#[test]
fn groups_are_listed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let consumer = member(&broker.bootstrap(), "range", &[]);
    wait_for("the assignment", || {
        poll(&[&consumer]);
        assigned(&consumer).len() == 1
    });
    let groups = consumer.fetch_group_list(Some("g"), PATIENCE).unwrap();
    assert_eq!(groups.groups()[0].state(), "Stable");
    assert_eq!(groups.groups()[0].members().len(), 1);
    let delete = || {
        let admin = admin(&broker.bootstrap());
        runtime().block_on(admin.delete_groups(&["g"], &AdminOptions::new())).unwrap().remove(0)
    };
    assert!(delete().is_err());
    drop(consumer);
    assert_eq!(delete(), Ok("g".to_owned()));
    assert!(delete().is_err());
}
