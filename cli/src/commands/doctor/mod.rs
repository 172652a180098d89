//! `hirewire doctor`: what is wrong with a deployment, and what to do about it.
//!
//! Configuration in, findings out, each with a remedy if it is not well. Looks and asks; changes nothing, joins no group,
//! writes no record. What cannot be looked at because something before it failed is said, not left out.

mod around;
mod finding;
mod kafka;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Args;

use crate::commands::topics::Wanted;
use crate::config::{Config, ConfigFile, Secrets, read};
use crate::out;
use crate::vendors::Vendors;
use finding::{Findings, State};

#[derive(Args)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// Ask neither vendors nor sinks: nothing outside of Kafka and the registry is called.
    #[arg(long)]
    inside: bool,
}

impl DoctorArguments {
    /// 0: nothing is wrong; 1: something is; warnings alone are 0.
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let mut findings = Findings::default();
        if let Some(config) = self.configuration(vendors, &mut findings)? {
            let wanted = Wanted::of(&config, vendors);
            Box::pin(kafka::look(&config, &wanted, &mut findings)).await;
            Box::pin(around::registry(&config, &wanted, &mut findings)).await;
            around::disk(&config.data_dir, &mut findings);
            if self.inside {
                findings.add(State::Skipped, "vendors", "", "not asked: --inside", "");
                findings.add(State::Skipped, "sinks", "", "not asked: --inside", "");
            } else {
                Box::pin(around::vendors(&config, &mut findings)).await;
                Box::pin(around::sinks(&config, &mut findings)).await;
            }
        }
        if self.json {
            out::line(&findings.json().to_string());
        } else {
            findings.lines().iter().for_each(|line| out::line(line));
        }
        Ok(if findings.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// `None` when nothing can be looked at by it. A secret that is not there is a finding, and the rest goes on.
    fn configuration(&self, vendors: &Vendors, findings: &mut Findings) -> anyhow::Result<Option<Config>> {
        let file = self.config.config.display().to_string();
        let text = match std::fs::read_to_string(&self.config.config) {
            Ok(text) => text,
            Err(error) => {
                let what = format!("cannot be read: {error}");
                findings.add(State::Failed, "configuration", &file, &what, "name the file with --config");
                return Ok(None);
            }
        };
        let whole = read(&file, &text, vendors, Secrets::ALL);
        let config = match whole {
            Ok(config) => {
                let what = format!(
                    "{} connections, {} sinks, every secret is there",
                    config.connections.len(),
                    config.route.sink_names().len()
                );
                findings.add(State::Well, "configuration", &file, &what, "");
                return Ok(Some(config));
            }
            Err(problems) => {
                for problem in problems.iter() {
                    let place = format!("{}:{}", problem.file, problem.line);
                    findings.add(State::Failed, "configuration", &place, &problem.what, &problem.hint);
                }
                read(&file, &text, vendors, Secrets::NONE)
            }
        };
        if config.is_err() {
            let what = "not looked at: the configuration has mistakes";
            for area in ["kafka", "registry", "disk", "vendors", "sinks"] {
                findings.add(State::Skipped, area, "", what, "mend the configuration first");
            }
        }
        Ok(config.ok())
    }
}
