//! `hirewire vendor new|check|test|prove|docs`: a vendor's folder, begun and held to what it says, wherever it stands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use hirewire_conformance::{Folder, Outcome, Part, Proof, check, docs, prove_and_tell, scaffold, test, vendors_in};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::out;
use crate::vendors::Vendors;

#[derive(Subcommand)]
pub(crate) enum VendorCommand {
    /// Makes the folder of a new vendor: it passes check and test, and says what to fill in.
    New(NewArguments),
    /// Holds the files of a vendor's folder against each other; exit code 1 when something must be mended.
    Check(CheckArguments),
    /// Runs fixtures and signature vectors; exit code 1 when something comes out differently.
    Test(TestArguments),
    /// Polls and receives from the vendor as api.yaml says it behaves; exit code 1 when something is lost or believed
    /// that must not be.
    Prove(ProveArguments),
    /// Prints the reference page of a vendor, made of its folder; with --out, writes it.
    Docs(DocsArguments),
}

#[derive(Args)]
pub(crate) struct NewArguments {
    /// Lower-case letters, digits and `-`: it becomes part of topic names.
    name: String,
    /// Where the folder is made [default: --vendors-dir, or `vendors`].
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CheckArguments {
    /// A vendor's folder, or one of such folders.
    folder: PathBuf,
    /// The day, as 2027-03-31, on which the vendor's API must be answered: 90 days before its end are a warning, from then
    /// on it is a mistake [default: today, UTC].
    #[arg(long, value_name = "DAY")]
    on: Option<Date>,
}

#[derive(Args)]
pub(crate) struct TestArguments {
    /// A vendor's folder, or one of such folders [default: --vendors-dir, or `vendors`].
    folder: Option<PathBuf>,
    /// Writes what comes out into `golden/`. Read it before you commit it.
    #[arg(long)]
    update: bool,
}

#[derive(Args)]
pub(crate) struct ProveArguments {
    /// A vendor's folder, or one of such folders [default: --vendors-dir, or `vendors`].
    folder: Option<PathBuf>,
    /// One list of the manifest, and nothing else.
    #[arg(long, conflicts_with_all = ["deliveries", "facts"])]
    list: Option<String>,
    /// Webhooks, and nothing else.
    #[arg(long, conflicts_with = "facts")]
    deliveries: bool,
    /// What becomes of rows and deliveries, and nothing else.
    #[arg(long)]
    facts: bool,
}

#[derive(Args)]
pub(crate) struct DocsArguments {
    /// A vendor's folder, or one of such folders [default: --vendors-dir, or `vendors`].
    folder: Option<PathBuf>,
    /// A folder that gets a page for each vendor, `<vendor>.md`.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl VendorCommand {
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        match self {
            Self::New(arguments) => arguments.run(vendors),
            Self::Check(arguments) => arguments.run(),
            Self::Test(arguments) => arguments.run(vendors),
            Self::Prove(arguments) => arguments.run(vendors).await,
            Self::Docs(arguments) => arguments.run(vendors),
        }
    }
}

/// The vendors' folders at `path`; none is a mistake of the caller.
fn folders(path: &Path) -> anyhow::Result<Vec<Folder>> {
    let found = vendors_in(path).with_context(|| format!("{} cannot be listed", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "{} holds no vendor's folder", path.display());
    Ok(found.iter().map(|path| Folder::new(path)).collect())
}

fn exit(right: bool) -> ExitCode {
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl NewArguments {
    fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let files = scaffold(&self.name).with_context(|| format!("\"{}\" cannot be a vendor", self.name))?;
        let path = self.dir.unwrap_or_else(|| vendors.folder()).join(&self.name);
        anyhow::ensure!(!path.exists(), "{} is there already: remove it, or take another name", path.display());
        for (file, text) in files {
            let target = path.join(file);
            let written =
                target.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&target, text));
            written.with_context(|| format!("{} cannot be written", target.display()))?;
        }
        let folder = Folder::new(&path);
        let outcome = test(&folder, true)?;
        anyhow::ensure!(outcome.differences.is_empty(), "the new folder is not right: {:?}", outcome.differences);
        let shown = path.display();
        out::line(&format!("{shown}: made. Every FILL IN is an example; docs/adding-a-vendor.md goes through them."));
        out::line(&format!("    grep -rn \"FILL IN\" {shown}"));
        out::line(&format!("    hirewire vendor check {shown}"));
        out::line(&format!("    hirewire vendor test {shown}"));
        Ok(ExitCode::SUCCESS)
    }
}

impl CheckArguments {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut right = true;
        let today = self.on.unwrap_or_else(|| jiff::Timestamp::now().to_zoned_datetime(TimeZone::UTC).date());
        for folder in folders(&self.folder)? {
            let checked = check(&folder, today);
            for mistake in checked.mistakes.iter() {
                out::line(&mistake.to_string());
            }
            for warning in checked.warnings.iter() {
                out::line(&format!("warning: {warning}"));
            }
            let (mistakes, warnings) = (checked.mistakes.iter().count(), checked.warnings.iter().count());
            let summary = if checked.summary.is_empty() { String::new() } else { format!("{}; ", checked.summary) };
            out::line(&format!("{}: {summary}{mistakes} mistakes, {warnings} warnings", folder.path().display()));
            right &= mistakes == 0;
        }
        Ok(exit(right))
    }
}

impl DocsArguments {
    fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        for folder in folders(&self.folder.unwrap_or_else(|| vendors.folder()))? {
            let page = docs(&folder)?;
            let Some(out) = &self.out else {
                out::line(page.trim_end());
                continue;
            };
            let path = out.join(format!("{}.md", folder.name()));
            let written = std::fs::create_dir_all(out).and_then(|()| std::fs::write(&path, page));
            written.with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl TestArguments {
    fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let mut right = true;
        for folder in folders(&self.folder.unwrap_or_else(|| vendors.folder()))? {
            match test(&folder, self.update) {
                Ok(outcome) => {
                    show(&folder, &outcome);
                    right &= outcome.differences.is_empty();
                }
                Err(problems) => {
                    out::line(&problems.to_string());
                    let count = problems.iter().count();
                    out::line(&format!("{}: {count} mistakes; nothing was tested", folder.path().display()));
                    right = false;
                }
            }
        }
        Ok(exit(right))
    }
}

impl ProveArguments {
    async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let mut right = true;
        let part = match (self.list, self.deliveries, self.facts) {
            (Some(list), ..) => Part::List(list),
            (None, true, _) => Part::Deliveries,
            (None, false, true) => Part::Facts,
            (None, false, false) => Part::All,
        };
        let folders = folders(&self.folder.unwrap_or_else(|| vendors.folder()))?;
        for folder in &folders {
            let shown = folder.path().display();
            // Asked for alone, it is a mistake.
            if folders.len() > 1 && !folder.path().join("api.yaml").is_file() {
                out::line(&format!("{shown}: no api.yaml, so nothing was proven"));
                continue;
            }
            let begins = |what: &str| out::error_line(&format!("{shown}: {what} …"));
            match prove_and_tell(folder, &part, &begins).await {
                Ok(proof) => {
                    told(&proof);
                    let (lists, questions, findings) = (proof.lists, proof.questions, proof.findings.len());
                    out::line(&format!("{shown}: {lists} lists, {questions} questions, {findings} findings"));
                    right &= findings == 0;
                }
                Err(problems) => {
                    out::line(&problems.to_string());
                    out::line(&format!("{shown}: {} mistakes; nothing was proven", problems.iter().count()));
                    right = false;
                }
            }
        }
        Ok(exit(right))
    }
}

fn told(proof: &Proof) {
    for (clause, why) in &proof.left_out {
        out::line(&format!("{} does not apply: {why}", clause.as_str()));
    }
    for finding in &proof.findings {
        out::line(&format!("{} of {}: {}", finding.clause.as_str(), finding.at, finding.what));
    }
}

/// The table of coverage, what differs, and a line that sums up.
fn show(folder: &Folder, outcome: &Outcome) {
    let width = outcome.coverage.iter().map(|(name, _)| name.len()).max().unwrap_or_default().max("fixture".len());
    out::line(&format!("{:width$}  {:>6} {:>7} {:>7}  accounted", "fixture", "read", "ignored", "carried"));
    for (name, leaves) in &outcome.coverage {
        let accounted = leaves.read + leaves.ignored + leaves.carried;
        let percent = (accounted * 100).checked_div(accounted + leaves.unread).unwrap_or(100);
        out::line(&format!(
            "{name:width$}  {:>6} {:>7} {:>7}  {percent:>8}%",
            leaves.read, leaves.ignored, leaves.carried
        ));
    }
    for difference in &outcome.differences {
        out::line(&format!("\n{}: {}", difference.file, difference.what));
    }
    let written =
        if outcome.written > 0 { format!(", {} golden files written", outcome.written) } else { String::new() };
    out::line(&format!(
        "{}: {} fixtures, {} invalid ones, {} signature vectors{written}; {} differences",
        folder.path().display(),
        outcome.coverage.len(),
        outcome.invalid,
        outcome.vectors,
        outcome.differences.len()
    ));
}
