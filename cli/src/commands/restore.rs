//! `hirewire restore`: a backup is read, checked, and made the data of a new folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::backup::tell;
use crate::backup::{Holding, Manifest, make_empty};
use crate::out;

#[derive(Args)]
pub(crate) struct RestoreArguments {
    /// A folder that `hirewire backup` has made.
    backup: PathBuf,
    /// Reads all of the backup, says what is in it, and changes nothing.
    #[arg(long)]
    verify: bool,
    /// The new data folder, not there yet: for `up --data`, or as `data_dir`.
    #[arg(long, required_unless_present = "verify", conflicts_with = "verify")]
    data: Option<PathBuf>,
}

impl RestoreArguments {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let manifest = Manifest::read(&self.backup)?;
        manifest.check(&self.backup)?;
        let code = tell(&Holding::of(&self.backup)?);
        out::line(&format!("begun     {}", manifest.begun));
        if let Some(data) = self.data {
            make_empty(&data)?;
            manifest.copy(&self.backup, &data)?;
            manifest.check(&data)?;
            out::line(&format!("restored  {}", data.display()));
        }
        Ok(code)
    }
}
