//! The comparison: the same loop of transactions as normalize, with a step that only copies. What it reaches is what
//! input, output and transactions leave for the work itself.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hirewire_kafka::{
    Inbound, Outbox, PartitionedMetrics, PartitionedOptions, Record, Settings, Step, Stop, run_partitioned,
};
use hirewire_service::{Health, Metrics, Shutdown};

use crate::figures;

#[derive(Args)]
pub(crate) struct CopyArguments {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    input: String,
    #[arg(long)]
    output: String,
    #[arg(long)]
    group: String,
}

struct CopyStep {
    output: Arc<str>,
    /// Header names, which are few.
    names: Vec<Arc<str>>,
}

impl CopyStep {
    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.iter().find(|known| ***known == *name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.names.push(Arc::clone(&new));
        new
    }
}

impl Step for CopyStep {
    fn restore(&mut self, _: &Settings) -> Result<(), Stop> {
        Ok(())
    }

    fn process(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop> {
        let headers = input.headers.iter().map(|(name, value)| (self.name(name), value.clone())).collect();
        out.send(Record {
            topic: Arc::clone(&self.output),
            partition: Some(input.partition),
            key: input.key.clone(),
            value: input.value.clone(),
            headers,
            timestamp_ms: Some(input.timestamp_ms),
        });
        Ok(())
    }

    fn before_commit(&mut self, _: &mut Outbox) -> Result<(), Stop> {
        Ok(())
    }

    fn committed(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    fn aborted(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

impl CopyArguments {
    /// Runs until SIGTERM. Prints a line when it is ready.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let shutdown = Shutdown::new();
        shutdown.on_signal()?;
        let health = Health::new();
        let component = health.component("copy");
        component.waiting("its start");
        // As normalize's defaults.
        let options = PartitionedOptions {
            group: self.group.clone(),
            inputs: vec![self.input.clone()],
            anchor: self.input,
            transactional_prefix: self.group,
            commit_interval: Duration::from_millis(20),
            commit_max_records: 2000,
            drain_deadline: Duration::from_secs(10),
        };
        let metrics = PartitionedMetrics::register("copy", &Metrics::default())?;
        let output: Arc<str> = self.output.into();
        let make = move |_| Ok(Box::new(CopyStep { output: Arc::clone(&output), names: Vec::new() }) as Box<dyn Step>);
        std::thread::spawn(move || {
            while !health.waiting().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            figures::line("ready");
        });
        Ok(run_partitioned(&Settings::local(&self.brokers), options, metrics, component, &shutdown, make)?)
    }
}
