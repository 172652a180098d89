//! The outcome as a table, and as one line of JSON.

use std::collections::BTreeMap;
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
            "{}seed {}, {} applications, {:.1} s",
            summary.vendor.as_ref().map_or_else(String::new, |vendor| format!("{vendor}, ")),
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
        format!("dead letters   {}{}", summary.dead_letters, by_code(&summary.dead_letter_codes)),
        String::new(),
        format!(
            "stage changes  expected {}, found {}, missing {}, extra {}, wrong from {}, wrong to {}, wrong time {}, gaps {}",
            changes.expected,
            changes.found,
            changes.missing,
            changes.extra,
            changes.wrong_from,
            changes.wrong_to,
            changes.wrong_time,
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
            counts.not_applicable.as_ref().map_or_else(String::new, |why| format!("not applicable: {why}"))
        ));
    }
    if !kept.is_empty() {
        lines.push(format!("\n{kept}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// ` (INVALID_JSON 2, OUT_OF_RANGE 1)`; the codes stand in docs/errors.md.
fn by_code(codes: &BTreeMap<String, u64>) -> String {
    let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
    if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_of_normalize_fails_the_demo_and_the_table_names_its_code() {
        let mut outcome = Outcome { summary: Summary::default(), findings: Vec::new(), kept: String::new() };
        assert!(outcome.is_good());
        outcome.summary.dead_letters = 2;
        outcome.summary.dead_letter_codes.insert("INVALID_JSON".to_owned(), 2);
        assert!(!outcome.is_good());
        assert!(table(&outcome.summary, "").contains("dead letters   2 (INVALID_JSON 2)"));
    }
}
