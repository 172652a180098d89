//! `hirewire backup`: a copy of embedded data, also while it is in use.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::backup::{BROKER, Holding, Manifest, REGISTRY, make_empty};
use crate::out;

#[derive(Args)]
pub(crate) struct BackupArguments {
    /// The data folder of `hirewire up`, `broker` or `registry`, which may run.
    #[arg(long, default_value = "hirewire-data")]
    data: PathBuf,
    /// A folder that is not there yet. It holds personal data, as the data folder does.
    #[arg(long)]
    to: PathBuf,
}

impl BackupArguments {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (broker, registry) = (self.data.join(BROKER), self.data.join(REGISTRY));
        anyhow::ensure!(
            broker.exists() || registry.exists(),
            "{} holds neither a broker's data nor a registry's: name the folder given to `up`, `broker` or `registry` as --data, or `data_dir`",
            self.data.display()
        );
        make_empty(&self.to)?;
        let begun = jiff::Timestamp::now().to_string();
        if broker.exists() {
            hirewire_broker::backup(&broker, &self.to.join(BROKER))?;
        }
        // After the broker: an id is in the registry before it is in a record.
        if registry.exists() {
            hirewire_registry::backup(&registry, &self.to.join(REGISTRY))?;
        }
        Manifest::of(&self.to, begun)?.write(&self.to)?;
        let code = tell(&Holding::of(&self.to)?);
        out::line(&format!("backup    {}", self.to.display()));
        Ok(code)
    }
}

/// Says what there is, and what is wrong with it.
pub(super) fn tell(holding: &Holding) -> ExitCode {
    holding.describe().iter().for_each(|line| out::line(line));
    let problems = holding.problems();
    problems.iter().for_each(|problem| out::line(&format!("problem   {problem}")));
    ExitCode::from(u8::from(!problems.is_empty()))
}
