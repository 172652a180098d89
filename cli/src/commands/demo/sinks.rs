//! Which sinks a vendor can feed: those whose requests ask for nothing that no rule of its mapping makes.

use std::collections::BTreeMap;

use hirewire_mapping::Plan;

use crate::config::Config;

/// Sink → the fields of an offer that its requests require (`route/sinks/<sink>/sink.yaml`).
const NEEDS: [(&str, &[&str]); 2] =
    [("onboarding", &["status", "start_date"]), ("payroll", &["status", "start_date", "compensation"])];

/// Sinks that the demo's connection cannot feed, each with the reason.
pub(super) fn not_applicable(config: &Config) -> BTreeMap<String, String> {
    let plans = config.connections.iter().map(|connection| &*connection.plan);
    plans
        .flat_map(|plan| NEEDS.iter().filter_map(|(sink, fields)| Some(((*sink).to_owned(), lacks(plan, fields)?))))
        .collect()
}

/// What the mapping does not make of an offer.
fn lacks(plan: &Plan, fields: &[&str]) -> Option<String> {
    if !plan.records().any(|record| record == "Offer") {
        return Some("no rule of the vendor's mapping makes an Offer".to_owned());
    }
    let absent = plan.absent_fields("Offer");
    let missing: Vec<&str> = fields.iter().copied().filter(|field| absent.iter().any(|known| known == field)).collect();
    (!missing.is_empty()).then(|| format!("no rule of the vendor's mapping says an Offer's {}", missing.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sinks_require_what_is_asked_of_the_mapping_here() {
        for (sink, fields) in NEEDS {
            let file = format!("{}/../route/sinks/{sink}/sink.yaml", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(file).unwrap();
            // An accepted offer is one of that status.
            assert!(text.contains("offer.accepted"), "{sink}");
            for field in fields.iter().filter(|field| **field != "status") {
                assert!(text.contains(&format!("offer.accepted.{field}")), "{sink} {field}");
            }
        }
    }
}
