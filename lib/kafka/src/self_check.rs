//! Does a broker keep the promises that exactly-once is built on? Asked of every broker before its use in tests, and
//! by `hirewire check`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::transaction::TransactionalProducer;
use crate::{Admin, Isolation, NewTopic, Record, Settings, Stop, TransactionError, read_table};

/// Checks on a topic of its own, which it removes: aborted records are hidden, a zombie is fenced, an open
/// transaction holds back what comes after it. Returns the promises that were broken; empty is good.
///
/// # Errors
/// When the check itself could not be made.
pub async fn self_check(settings: &Settings, topic: &str) -> Result<Vec<String>, Stop> {
    let admin = Admin::new(settings)?;
    let fresh = NewTopic { name: topic.to_owned(), partitions: 1, replication: -1, config: BTreeMap::new() };
    admin.create_topics(&[fresh]).await?;
    let (settings, name) = (settings.clone(), topic.to_owned());
    let checked = tokio::task::spawn_blocking(move || check(&settings, &name)).await;
    admin.delete_topics(&[topic.to_owned()]).await?;
    checked.map_err(|error| Stop::retryable("worker-panicked", error.to_string()))?
}

fn check(settings: &Settings, topic: &str) -> Result<Vec<String>, Stop> {
    let mut broken = Vec::new();
    let id = format!("{topic}-check");
    let failed = |error: TransactionError| Stop::retryable("self-check", error.to_string());
    let record = |text: &'static str| Record {
        topic: Arc::from(topic),
        partition: Some(0),
        value: Some(Bytes::from_static(text.as_bytes())),
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
    new.send(&record("last"), false).map_err(failed)?;
    new.commit(None).map_err(failed)?;

    let mut seen = Vec::new();
    read_table(settings, topic, 0, 0, Isolation::Committed, &mut |inbound| {
        seen.push(String::from_utf8_lossy(inbound.value.as_deref().unwrap_or_default()).into_owned());
        Ok(())
    })?;
    if seen != ["committed", "last"] {
        broken.push(format!("a committed reader saw {seen:?}, not what was committed"));
    }
    Ok(broken)
}
