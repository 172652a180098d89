//! What an event tells of a row: its body and its link.

use serde_json::Value;

use super::body::{at, insert, scalar};
use super::delivery::Message;
use crate::rules::{Claim, Event, Rules};

/// The delivery of an event about `row`: `base`, with what stands in the row put where the event has it. Its link leads
/// to the vendor at `origin`.
#[must_use]
pub fn message(rules: &Rules, event: &Event, base: Option<&Value>, row: &Value, origin: &str) -> Message {
    let mut body = base.cloned().unwrap_or_else(|| serde_json::json!({}));
    let delivered = rules.webhook.as_ref().and_then(|webhook| match &webhook.event {
        Claim::Field(place) => Some(place),
        Claim::Header(_) => None,
    });
    if let Some(place) = delivered.or(rules.queue.as_ref().map(|queue| &queue.name)) {
        insert(&mut body, place, event.name.as_str().into());
    }
    for (place, field) in &event.body {
        let value = match field.strip_prefix('=') {
            Some(constant) => Some(constant.into()),
            None if field == "." => Some(row.clone()),
            None => at(row, field).cloned(),
        };
        insert(&mut body, place, value.unwrap_or_default());
    }
    let link = event.link.as_ref().map(|path| format!("<{origin}{}/{}>; rel=self", rules.base_path, filled(path, row)));
    Message { event: event.name.clone(), body, link, id: None }
}

/// The event that a body says it is; `case` is what the header says where a header does.
#[must_use]
pub fn event_of(rules: &Rules, case: &str, body: &Value) -> Option<String> {
    match (rules.webhook.as_ref().map(|webhook| &webhook.event), &rules.queue) {
        (Some(Claim::Header(_)), _) => Some(case.to_owned()),
        (Some(Claim::Field(place)), _) => at(body, place).and_then(scalar),
        (None, Some(queue)) => at(body, &queue.name).and_then(scalar),
        (None, None) => None,
    }
}

/// The path with the fields of the row in the place of their names.
fn filled(path: &str, row: &Value) -> String {
    let mut parts = path.split(['{', '}']);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    while let Some(field) = parts.next() {
        filled.push_str(&at(row, field).and_then(scalar).unwrap_or_default());
        filled.push_str(parts.next().unwrap_or_default());
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_fields_of_the_row() {
        let row = serde_json::json!({"id": "p-1", "main": {"job": {"id": 7}}});
        assert_eq!(filled("people/{id}/jobs/{main.job.id}/offers", &row), "people/p-1/jobs/7/offers");
        assert_eq!(filled("people", &row), "people");
    }
}
