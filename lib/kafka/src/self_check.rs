//! Does a broker keep the promises that exactly-once is built on, and what time is it there? Asked of every broker before its
//! use in tests, and by `hirewire check`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::record::now_ms;
use crate::transaction::TransactionalProducer;
use crate::{Admin, Isolation, NewTopic, Record, Settings, Stop, TransactionError, read_table};

/// What was found of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The promises that were broken; empty is good.
    pub broken: Vec<String>,
    /// How far the clock of the broker that leads the topic is ahead of ours at least, in milliseconds; 0 as far as can be told.
    pub clock_ahead_ms: i64,
}

/// Checks on a topic of its own, which it removes: aborted records are hidden, a zombie is fenced, an open
/// transaction holds back what comes after it. Kafka tells its time to who writes alone: the topic has records bear it.
///
/// # Errors
/// When the check itself could not be made.
pub async fn self_check(settings: &Settings, topic: &str) -> Result<Checked, Stop> {
    let admin = Admin::new(settings)?;
    let config = BTreeMap::from([("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())]);
    let fresh = NewTopic { name: topic.to_owned(), partitions: 1, replication: -1, config };
    admin.create_topics(&[fresh]).await?;
    let (settings, name) = (settings.clone(), topic.to_owned());
    let checked = tokio::task::spawn_blocking(move || check(&settings, &name)).await;
    admin.delete_topics(&[topic.to_owned()]).await?;
    checked.map_err(|error| Stop::retryable("worker-panicked", error.to_string()))?
}

fn check(settings: &Settings, topic: &str) -> Result<Checked, Stop> {
    let mut broken = Vec::new();
    let id = format!("{topic}-check");
    let failed = |error: TransactionError| Stop::retryable("self-check", error.to_string());
    let record = |text: &'static str| Record {
        topic: Arc::from(topic),
        partition: Some(0),
        value: Some(Bytes::from_static(text.as_bytes())),
        // The broker's is wanted, and this is nobody's.
        timestamp_ms: Some(0),
        ..Record::default()
    };
    let mut old = TransactionalProducer::new(settings, &id, Duration::from_secs(30))?;
    old.begin().map_err(failed)?;
    old.send(&record("aborted"), false).map_err(failed)?;
    old.abort().map_err(failed)?;
    old.begin().map_err(failed)?;
    old.send(&record("committed"), false).map_err(failed)?;
    old.commit(None).map_err(failed)?;
    old.begin().map_err(failed)?;
    old.send(&record("zombie"), false).map_err(failed)?;

    let mut new = TransactionalProducer::new(settings, &id, Duration::from_secs(30))?;
    match old.commit(None) {
        Err(_) => {}
        Ok(()) => broken.push("a fenced producer could still commit".to_owned()),
    }
    new.begin().map_err(failed)?;
    let before_ms = now_ms();
    new.send(&record("last"), false).map_err(failed)?;
    new.commit(None).map_err(failed)?;
    let after_ms = now_ms();

    let (mut seen, mut appended_ms) = (Vec::new(), before_ms);
    read_table(settings, topic, 0, 0, Isolation::Committed, &mut |inbound| {
        appended_ms = inbound.timestamp_ms;
        seen.push(String::from_utf8_lossy(inbound.value.as_deref().unwrap_or_default()).into_owned());
        Ok(())
    })?;
    if seen != ["committed", "last"] {
        broken.push(format!("a committed reader saw {seen:?}, not what was committed"));
    }
    Ok(Checked { broken, clock_ahead_ms: ahead_ms(before_ms, appended_ms, after_ms) })
}

/// How far a clock is ahead that told its time at some moment between two of ours.
fn ahead_ms(before: i64, told: i64, after: i64) -> i64 {
    told - told.clamp(before, after.max(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_told_its_time_within_the_call_agrees_with_ours() {
        let told = [990, 1_000, 1_005, 1_010, 1_017].map(|told| ahead_ms(1_000, told, 1_010));
        assert_eq!(told, [-10, 0, 0, 0, 7]);
        assert_eq!(ahead_ms(1_000, 1_003, 900), 3, "ours was set back meanwhile");
    }
}
