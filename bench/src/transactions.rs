//! Transactions of a few records, one after the other: from the first record to the end of the commit.

use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use hirewire_kafka::{Record, Settings, TransactionalWriter};
use serde_json::json;

use crate::figures::{self, Times, table};
use crate::machine::Machine;

#[derive(Args)]
pub(crate) struct TransactionsArguments {
    #[arg(long, value_name = "HOST:PORT")]
    brokers: String,
    /// It must exist.
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 500)]
    count: usize,
    /// Of 200 bytes each.
    #[arg(long, default_value_t = 10)]
    records: usize,
}

/// Not counted: the first ones open connections.
const WARM_UP: usize = 20;

impl TransactionsArguments {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let before = Machine::now()?;
        let id = format!("bench-{}", uuid::Uuid::new_v4().simple());
        let writer = TransactionalWriter::new(&Settings::local(&self.brokers), &id).await?;
        let mut times = Vec::with_capacity(self.count);
        for transaction in 0..WARM_UP + self.count {
            let record = |index: usize| Record {
                topic: self.topic.clone().into(),
                partition: None,
                key: Some(Bytes::from(index.to_string())),
                value: Some(Bytes::from(vec![0; 200])),
                headers: Vec::new(),
                timestamp_ms: None,
            };
            let began = Instant::now();
            writer.write((0..self.records).map(record).collect()).await?;
            if transaction >= WARM_UP {
                times.push(began.elapsed());
            }
        }
        let commit = Times::of(times);
        let after = Machine::now()?;
        let head = ["ms", "count", "p50", "p99", "max"].map(str::to_owned).to_vec();
        let row =
            [vec![format!("{} records, committed", self.records)], Times::cells(commit.as_ref()).to_vec()].concat();
        let text = format!("{}{}\n", table(&[head, row]), figures::about(&before, &after));
        figures::result(&text, &json!({ "bench": "transactions", "commit": commit, "before": before, "after": after }));
        Ok(())
    }
}
