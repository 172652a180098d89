//! What stands around Kafka: the schema registry, clocks, the disk, vendors, sinks.

use std::path::Path;

use hirewire_ingest::Probed;
use hirewire_registry::{Codec, Standing, Subject};

use super::finding::{Findings, State};
use crate::commands::clock;
use crate::commands::topics::Wanted;
use crate::config::Config;

/// As the alert HirewireDiskFills.
const DISK_FREE_LEAST: f64 = 0.1;

pub(super) async fn registry(config: &Config, wanted: &Wanted, findings: &mut Findings) {
    let url = config.registry.url();
    let remedy = "mend `registry` in the configuration, or start the registry; docs/errors.md, registry-unavailable";
    let asked = match Codec::new(&config.registry) {
        Ok(codec) => Box::pin(codec.date()).await.map(|date| (codec, date)),
        Err(error) => Err(error),
    };
    let codec = match asked {
        Ok((codec, date)) => {
            findings.add(State::Well, "registry", url, "answers", "");
            compare("the registry's machine", date.and_then(|date| ahead_secs(&date)), findings);
            codec
        }
        Err(error) => {
            let what = format!("{:#}", anyhow::Error::from(error));
            findings.add(State::Failed, "registry", url, &what, remedy);
            findings.add(State::Skipped, "schemas", "", "not looked at: the registry does not answer", "");
            return;
        }
    };
    let (mut registered, mut to_come) = (0, 0);
    for Subject { name: subject, schema, .. } in wanted.subjects() {
        match codec.look(&subject, &schema).await {
            Ok(Standing::Registered) => registered += 1,
            Ok(Standing::Compatible | Standing::Absent) => to_come += 1,
            Ok(Standing::Incompatible) => {
                let remedy = "another release or another program registered there: docs/errors.md, schema-incompatible";
                findings.add(State::Failed, "schemas", &subject, "our schema does not fit what is registered", remedy);
            }
            Err(error) => {
                let what = format!("{:#}", anyhow::Error::from(error));
                findings.add(
                    State::Failed,
                    "schemas",
                    &subject,
                    &what,
                    "give the principal the right to read subjects",
                );
            }
        }
    }
    let what = format!("{registered} are registered, {to_come} will be when their service first starts");
    findings.add(State::Well, "schemas", "", &what, "");
}

/// How far a clock that was just told by HTTP is ahead of ours.
pub(super) fn ahead_secs(date: &str) -> Option<i64> {
    let told = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(told.as_second() - jiff::Timestamp::now().as_second())
}

pub(super) fn compare(whose: &str, ahead_secs: Option<i64>, findings: &mut Findings) {
    let Some(ahead) = ahead_secs else {
        return findings.add(State::Skipped, "clock", whose, "it does not tell the time", "");
    };
    let remedy = "synchronise the clocks (NTP): signatures of webhooks and windows of polls are made of time";
    let state = match ahead.abs() {
        off if off > clock::FAILS_SECS => State::Failed,
        off if off > clock::WARNS_SECS => State::Warned,
        _ => State::Well,
    };
    findings.add(state, "clock", whose, &clock::compared(ahead), remedy);
}

/// Room, and whether we may write there.
pub(super) fn disk(data_dir: &Path, findings: &mut Findings) {
    let shown = data_dir.display().to_string();
    if !data_dir.exists() {
        let parent = data_dir.ancestors().skip(1).find(|folder| folder.exists() || folder.as_os_str().is_empty());
        let what = format!("is not there yet; a service makes it{}", if parent.is_some() { "" } else { ", if it may" });
        return findings.add(
            State::Warned,
            "disk",
            &shown,
            &what,
            "nothing before the first start; else mend data_dir",
        );
    }
    match tempfile::Builder::new().prefix("doctor-").tempfile_in(data_dir) {
        Ok(_) => {}
        Err(error) => {
            let remedy = "give the user that Hirewire runs as the right to write there";
            findings.add(State::Failed, "disk", &shown, &format!("cannot be written: {error}"), remedy);
        }
    }
    let Some((free, size)) = hirewire_service::process::disk_of(data_dir) else {
        return findings.add(State::Skipped, "disk", &shown, "the system does not tell its size", "");
    };
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = free as f64 / size.max(1) as f64;
    let what = format!("{:.0} % free, {} MiB", share * 100.0, free / (1024 * 1024));
    let remedy = "docs/runbooks/HirewireDiskFills.md";
    let state = if share < DISK_FREE_LEAST { State::Failed } else { State::Well };
    findings.add(state, "disk", &shown, &what, remedy);
}

/// One page of each polled connection.
pub(super) async fn vendors(config: &Config, findings: &mut Findings) {
    let mut asked = 0;
    for connection in &config.connections {
        let name = &connection.ingest.name;
        let Some(outcome) = Box::pin(hirewire_ingest::probe(&connection.ingest)).await else { continue };
        asked += 1;
        match outcome {
            Probed::Answered { list, clock_ahead_secs } => {
                findings.add(State::Well, "vendors", name, &format!("{list} could be read"), "");
                if let Some(ahead) = clock_ahead_secs {
                    compare(&format!("the vendor of {name}"), Some(ahead), findings);
                }
            }
            Probed::Failed { code, what } => {
                let remedy = format!("docs/errors.md, {code}");
                findings.add(State::Failed, "vendors", name, &what, &remedy);
            }
            Probed::Untried(why) => findings.add(State::Skipped, "vendors", name, why, ""),
        }
    }
    if asked == 0 {
        findings.add(State::Skipped, "vendors", "", "no connection is polled", "");
    }
}

pub(super) async fn sinks(config: &Config, findings: &mut Findings) {
    let probed = Box::pin(hirewire_route::probe(&config.route, &config.kafka.with_role("doctor"))).await;
    if probed.is_empty() {
        findings.add(State::Skipped, "sinks", "", "none is configured", "");
    }
    for sink in probed {
        match sink.outcome {
            Ok(what) => findings.add(State::Well, "sinks", &sink.sink, &what, ""),
            Err(unwell) => {
                let remedy = format!("{} ({})", unwell.remedy, unwell.code);
                findings.add(State::Failed, "sinks", &sink.sink, &unwell.what, &remedy);
            }
        }
    }
}
