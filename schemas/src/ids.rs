//! Canonical ids: UUIDv5 over names, so that the same thing has the same id after a retry, a restart and everywhere.
//!
//! The name is the parts joined by the unit separator 0x1f. Only the last part is free text from outside, so that two
//! different lists of parts never give one name.

use uuid::Uuid;

use crate::Entity;
use crate::topics::{Topic, table};

/// The namespace of all ids. Changing it changes every id of every installation: never.
const NAMESPACE: Uuid = Uuid::from_u128(0x4f8b_5a0e_3c57_5d0b_9a51_6f1d_2f0e_7c11);
const SEPARATOR: u8 = 0x1f;

/// Id of an entity: of its record, state and key. `record` is the record's name, e.g. `Application`.
#[must_use]
pub fn canonical_id(tenant: &str, connection: &str, record: &str, remote_id: &str) -> Uuid {
    v5(&[tenant.as_bytes(), connection.as_bytes(), record.as_bytes(), remote_id.as_bytes()])
}

/// The id that keys a record in its topic: its own, or that of the application that owns it, as the topic table says.
/// `owner` is the owner's record and remote id.
#[must_use]
pub fn record_key(tenant: &str, connection: &str, record: &str, remote_id: &str, owner: Option<(&str, &str)>) -> Uuid {
    let topic = Entity::from_record(record).and_then(|entity| table().of(entity));
    match owner.filter(|_| topic.is_some_and(Topic::is_keyed_by_application)) {
        Some((owner, owner_id)) => canonical_id(tenant, connection, owner, owner_id),
        None => canonical_id(tenant, connection, record, remote_id),
    }
}

/// Event id of one published version of an entity's state.
#[must_use]
pub fn state_event_id(tenant: &str, connection: &str, record: &str, remote_id: &str, revision: u64) -> Uuid {
    let entity = canonical_id(tenant, connection, record, remote_id);
    v5(&[b"state-event", entity.as_bytes(), revision.to_string().as_bytes()])
}

/// Event id of one change of an application's ledger.
#[must_use]
pub fn stage_change_event_id(application_id: Uuid, sequence_no: u64) -> Uuid {
    v5(&[b"stage-change", application_id.as_bytes(), sequence_no.to_string().as_bytes()])
}

/// Id of an issue: one for each thing that is wrong, however often it is seen.
#[must_use]
pub fn issue_id(tenant: &str, connection: &str, code: &str, about: &str) -> Uuid {
    v5(&[b"issue", tenant.as_bytes(), connection.as_bytes(), code.as_bytes(), about.as_bytes()])
}

/// A Kafka key: the id as lowercase hyphenated text, never framed, so that partitioning needs no registry.
#[must_use]
pub fn key(id: Uuid) -> [u8; 36] {
    let mut text = [0; 36];
    id.hyphenated().encode_lower(&mut text);
    text
}

fn v5(parts: &[&[u8]]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, &parts.join(&SEPARATOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        let application = canonical_id("acme", "acme-greenhouse", "Application", "265277");
        assert_eq!(application.to_string(), "35f5b310-9a70-5b4b-8a17-ed05da54aa7a");
        assert_eq!(
            state_event_id("acme", "acme-greenhouse", "Application", "265277", 1).to_string(),
            "5ad8e038-ae42-51f8-a665-abc5d8fe1f0f"
        );
        assert_eq!(stage_change_event_id(application, 1).to_string(), "11680f89-8532-5f49-9aa2-0de629b687e7");
        assert_eq!(
            issue_id("acme", "acme-greenhouse", "unmapped", "status").to_string(),
            "4ef968e2-32b7-5328-98bb-78229b50829d"
        );
        assert_eq!(key(application), application.to_string().as_bytes());
    }

    #[test]
    fn what_stands_for_an_application_is_keyed_by_it() {
        let key = |record, owner| record_key("acme", "ats", record, "7", owner);
        let (owner, own) = (Some(("Application", "9")), |record| canonical_id("acme", "ats", record, "7"));
        for record in ["Rejection", "Eeoc"] {
            assert_eq!(key(record, owner), canonical_id("acme", "ats", "Application", "9"), "{record}");
            assert_eq!(key(record, None), own(record), "{record}");
        }
        for record in ["Application", "Offer", "Interview", "no such record"] {
            assert_eq!(key(record, owner), own(record), "{record}");
        }
    }
}
