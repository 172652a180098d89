//! The outcome as a table, and as one line of JSON.

use std::process::ExitCode;

use hirewire_sim::judge::Summary;

use super::folder::Outcome;
use crate::out;

/// Prints the outcome. The exit code is 0 only when nothing is wrong.
pub(super) fn print(outcome: &Outcome, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        for finding in &outcome.findings {
            out::error_line(finding);
        }
        out::line(&serde_json::to_string(&outcome.summary)?);
    } else {
        out::line(&table(&outcome.summary, &outcome.kept));
        for finding in outcome.findings.iter().take(20) {
            out::line(&format!("  {finding}"));
        }
        out::line(if outcome.is_good() {
            "Everything arrived once, in order, as it truly happened."
        } else {
            "SOMETHING IS WRONG, see above."
        });
    }
    Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(summary: &Summary, kept: &str) -> String {
    let webhooks = &summary.webhooks;
    let changes = &summary.stage_changes;
    let mut lines = vec![
        String::new(),
        format!(
            "seed {}, {} applications, {:.1} s",
            summary.seed,
            summary.applications,
            summary.elapsed_ms as f64 / 1000.0
        ),
        String::new(),
        format!(
            "webhooks       sent {}, acknowledged {}, lost by the vendor {}, doubled {}",
            webhooks.sent, webhooks.acknowledged, webhooks.dropped_by_vendor, webhooks.duplicated
        ),
        format!("polled rows    {}", summary.polled_records),
        format!("raw events     {}", summary.raw_events),
        format!(
            "canonical      {}",
            summary.canonical.iter().map(|(entity, count)| format!("{entity} {count}")).collect::<Vec<_>>().join(", ")
        ),
        format!("dead letters   {}", summary.dead_letters),
        String::new(),
        format!(
            "stage changes  expected {}, found {}, missing {}, extra {}, wrong from {}, wrong to {}, gaps {}",
            changes.expected,
            changes.found,
            changes.missing,
            changes.extra,
            changes.wrong_from,
            changes.wrong_to,
            changes.sequence_gaps
        ),
        String::new(),
        format!(
            "{:<14} {:>8} {:>9} {:>10} {:>6} {:>12} {:>5}",
            "sink", "expected", "delivered", "duplicated", "resent", "out of order", "dead"
        ),
    ];
    for (sink, counts) in &summary.deliveries {
        lines.push(format!(
            "{sink:<14} {:>8} {:>9} {:>10} {:>6} {:>12} {:>5}  {}",
            counts.expected,
            counts.delivered,
            counts.duplicated,
            counts.resent,
            counts.out_of_order,
            counts.dead,
            counts.not_applicable.as_deref().unwrap_or_default()
        ));
    }
    if !kept.is_empty() {
        lines.push(format!("\n{kept}"));
    }
    lines.push(String::new());
    lines.join("\n")
}
