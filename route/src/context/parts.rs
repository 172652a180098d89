//! From a change to the parts of a request: which record is whose.
//!
//! In: a change and the wanted [`Part`]s. Out: those that are known. Deleted records are as good as absent.

use std::cell::OnceCell;

use hirewire_schemas::Entity;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::store::{Owner, Store};
use super::{Earlier, Join, JoinError, Part};
use crate::created::{CreatedKey, Known};
use crate::event::Event;
use crate::request::path::coded;

impl Join for Store {
    fn join(&self, event: &Event, wanted: &[Part]) -> Result<Map<String, Value>, JoinError> {
        let ids = Ids::of(self, event);
        let mut parts = Map::new();
        for part in wanted {
            let value = match part {
                // The caller's own.
                Part::Change
                | Part::Delivery
                | Part::Cancelled
                | Part::Created
                | Part::After
                | Part::Settings
                | Part::Steps => continue,
                Part::Application => ids.record()?.clone(),
                Part::Candidate => self.candidate(ids.candidate()?)?,
                Part::Job => one(self, Entity::Job, ids.job()?)?,
                Part::Opening => self.opening(ids.application)?,
                Part::Offer => json!({"accepted": self.accepted_offer(ids.application)?}),
                Part::Manager => self.manager(ids.job()?)?,
                Part::Documents => self.documents(&ids)?,
                Part::Departments => self.of_job(Entity::Department, "department_ids", ids.job()?)?,
                Part::Offices => self.of_job(Entity::Office, "office_ids", ids.job()?)?,
            };
            parts.insert(part.name().to_owned(), value);
        }
        Ok(parts)
    }

    fn is_gone(&self, event: &Event) -> Result<bool, JoinError> {
        let ids = Ids::of(self, event);
        let application = one_even_deleted(self, Entity::Application, ids.application)?;
        let candidate = self.last_candidate(ids.candidate()?)?;
        Ok(is_deleted(&application) || is_deleted(&candidate))
    }

    fn reached(&self, event: &Event) -> Result<bool, JoinError> {
        match (event.application_id(), event.sequence_no()) {
            (Some(application_id), Some(sequence_no)) => self.has_read(application_id, sequence_no),
            _ => Ok(true),
        }
    }

    fn created(&self, key: &CreatedKey<'_>) -> Result<Option<Known>, JoinError> {
        self.created_by(key)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.batches()
    }

    fn earlier(&self, event: &Event) -> Result<Earlier, JoinError> {
        match (event.application_id(), event.sequence_no()) {
            (Some(application_id), Some(sequence_no)) => self.earlier(application_id, sequence_no),
            _ => Ok(Earlier::Known(Vec::new())),
        }
    }
}

/// Whom a change is about: as it says itself, else as its application does, which is read only then.
struct Ids<'a> {
    store: &'a Store,
    event: &'a Event,
    application: Option<&'a str>,
    record: OnceCell<Value>,
}

impl<'a> Ids<'a> {
    fn of(store: &'a Store, event: &'a Event) -> Self {
        Self { store, event, application: event.subject(), record: OnceCell::new() }
    }

    fn candidate(&self) -> Result<Option<&str>, JoinError> {
        self.id("candidate_id")
    }

    fn job(&self) -> Result<Option<&str>, JoinError> {
        self.id("job_id")
    }

    fn id(&self, name: &str) -> Result<Option<&str>, JoinError> {
        if let Some(own) = self.event.tree.get(name).and_then(Value::as_str) {
            return Ok(Some(own));
        }
        Ok(self.record()?.get(name).and_then(Value::as_str))
    }

    /// The application.
    fn record(&self) -> Result<&Value, JoinError> {
        if let Some(record) = self.record.get() {
            return Ok(record);
        }
        let record = one(self.store, Entity::Application, self.application)?;
        Ok(self.record.get_or_init(|| record))
    }
}

impl Store {
    fn candidate(&self, id: Option<&str>) -> Result<Value, JoinError> {
        let candidate = self.last_candidate(id)?;
        Ok(if is_deleted(&candidate) { Value::Null } else { candidate })
    }

    /// A candidate that was merged into another is that other; a chain of merges is followed.
    fn last_candidate(&self, id: Option<&str>) -> Result<Value, JoinError> {
        let mut candidate = one_even_deleted(self, Entity::Candidate, id)?;
        for _ in 0..8 {
            let Some(into) = candidate.get("merged_into_id").and_then(Value::as_str) else { break };
            candidate = one_even_deleted(self, Entity::Candidate, Some(into))?;
        }
        Ok(candidate)
    }

    /// The accepted offer; of several, the current one with the highest version.
    fn accepted_offer(&self, application_id: Option<&str>) -> Result<Value, JoinError> {
        let Some(application_id) = application_id else { return Ok(Value::Null) };
        let offers = self.owned(Entity::Offer, Owner::Application, application_id)?;
        let accepted = offers.into_iter().filter(|offer| {
            let status = offer.get("status").map(coded).and_then(Value::as_str);
            !is_deleted(offer) && matches!(status, Some("ACCEPTED" | "SIGNED"))
        });
        let rank = |offer: &Value| {
            let current = offer.get("is_current").and_then(Value::as_bool).unwrap_or(false);
            (current, offer.get("version").and_then(Value::as_i64).unwrap_or_default())
        };
        Ok(accepted.max_by_key(rank).unwrap_or(Value::Null))
    }

    /// The opening that the application fills, else the one that its accepted offer is for.
    fn opening(&self, application_id: Option<&str>) -> Result<Value, JoinError> {
        let filled = first(self, Entity::Opening, application_id)?;
        if !filled.is_null() {
            return Ok(filled);
        }
        let offer = self.accepted_offer(application_id)?;
        one(self, Entity::Opening, offer.get("opening_id").and_then(Value::as_str))
    }

    /// The job's hiring manager, with what the user's own record adds.
    fn manager(&self, job_id: Option<&str>) -> Result<Value, JoinError> {
        let job = one(self, Entity::Job, job_id)?;
        let team = job.get("hiring_team").and_then(Value::as_array);
        let managers = team
            .into_iter()
            .flatten()
            .filter(|member| member.get("role").map(coded).and_then(Value::as_str) == Some("HIRING_MANAGER"));
        let responsible = |member: &&Value| member.get("responsible").and_then(Value::as_bool) == Some(true);
        let all: Vec<&Value> = managers.collect();
        let chosen = all.iter().find(|member| responsible(member)).or_else(|| all.first());
        let Some(user) = chosen.and_then(|member| member.get("user")).filter(|user| !user.is_null()) else {
            return Ok(Value::Null);
        };
        let id = user.get("id").and_then(Value::as_str);
        let record = one(self, Entity::User, id)?;
        let either = |name: &str| {
            let own = user.get(name).filter(|value| !value.is_null());
            own.or_else(|| record.get(name)).cloned().unwrap_or(Value::Null)
        };
        Ok(json!({"id": id, "name": either("name"), "email": either("email"), "employee_id": either("employee_id")}))
    }

    /// The application's files, and those of the candidate that belong to no application.
    fn documents(&self, ids: &Ids<'_>) -> Result<Value, JoinError> {
        let mut documents = Vec::new();
        if let Some(application) = ids.application {
            documents.extend(self.owned(Entity::Attachment, Owner::Application, application)?);
        }
        if let Some(candidate) = ids.candidate()? {
            let all = self.owned(Entity::Attachment, Owner::Candidate, candidate)?;
            documents.extend(all.into_iter().filter(|one| one.get("application_id").is_none_or(Value::is_null)));
        }
        documents.retain(|document| !is_deleted(document));
        Ok(Value::Array(documents))
    }

    fn of_job(&self, entity: Entity, list: &str, job_id: Option<&str>) -> Result<Value, JoinError> {
        let job = one(self, Entity::Job, job_id)?;
        let mut found = Vec::new();
        for id in job.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            let record = one(self, entity, Some(id))?;
            if !record.is_null() {
                found.push(record);
            }
        }
        Ok(Value::Array(found))
    }
}

fn one_even_deleted(store: &Store, entity: Entity, id: Option<&str>) -> Result<Value, JoinError> {
    let Some(id) = id else { return Ok(Value::Null) };
    Ok(store.record(entity, id)?.unwrap_or(Value::Null))
}

fn one(store: &Store, entity: Entity, id: Option<&str>) -> Result<Value, JoinError> {
    let record = one_even_deleted(store, entity, id)?;
    Ok(if is_deleted(&record) { Value::Null } else { record })
}

fn first(store: &Store, entity: Entity, application_id: Option<&str>) -> Result<Value, JoinError> {
    let Some(application_id) = application_id else { return Ok(Value::Null) };
    let mut all = store.owned(entity, Owner::Application, application_id)?;
    all.retain(|record| !is_deleted(record));
    Ok(all.into_iter().next().unwrap_or(Value::Null))
}

fn is_deleted(record: &Value) -> bool {
    let op = record.get("meta").and_then(|meta| meta.get("op"));
    matches!(op.and_then(Value::as_str), Some("DELETE" | "ERASE"))
}

#[cfg(test)]
mod tests {
    use super::super::store::Seen;
    use super::*;

    fn store(records: &[(Entity, &str, Value)]) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("c.sqlite"), Vec::new()).unwrap();
        let seen: Vec<Seen> = records
            .iter()
            .map(|(entity, id, tree)| Seen {
                entity: Some(*entity),
                id: (*id).to_owned(),
                tree: Some(tree.clone()),
                topic: "t".to_owned(),
                partition: 0,
                next_offset: 0,
            })
            .collect();
        store.put(&seen).unwrap();
        (folder, store)
    }

    fn hire() -> Event {
        let tree = json!({"meta": {"event_id": "e", "observed_at": "2026-01-01T00:00:00Z"}, "application_id": "a"});
        Event::new(Entity::StageChange, tree).unwrap()
    }

    /// The store is asked for what is wanted and nothing more: it is the hot path of every sink.
    #[test]
    fn what_joins_nothing_reads_nothing() {
        let (folder, store) = store(&[]);
        let other = rusqlite::Connection::open(folder.path().join("c.sqlite")).unwrap();
        other.execute_batch("DROP TABLE record").unwrap();
        let own = [Part::Change, Part::Delivery, Part::Cancelled, Part::Created, Part::Settings, Part::Steps];
        assert!(store.join(&hire(), &own).unwrap().is_empty());
        assert!(store.join(&hire(), &[Part::Job]).is_err(), "whose job it is, its application knows");
    }

    #[test]
    fn the_parts_of_a_hire_are_found() {
        let coded = |value: &str| json!({"value": value, "raw": null, "rule": null});
        let (_folder, store) = store(&[
            (Entity::Application, "a", json!({"candidate_id": "c", "job_id": "j"})),
            (Entity::Candidate, "c", json!({"merged_into_id": "c2", "meta": {"op": "DELETE"}})),
            (Entity::Candidate, "c2", json!({"name": {"given": "Ada"}})),
            (
                Entity::Job,
                "j",
                json!({"name": "Engineer", "department_ids": ["d", "gone"], "hiring_team": [
                    {"role": coded("RECRUITER"), "user": {"id": "u0"}},
                    {"role": coded("HIRING_MANAGER"), "user": {"id": "u1", "name": "Grace", "email": null}}]}),
            ),
            (Entity::User, "u1", json!({"name": "G.", "email": "g@example.com"})),
            (Entity::Department, "d", json!({"name": "Research"})),
            (Entity::Offer, "o1", json!({"application_id": "a", "status": coded("ACCEPTED"), "version": 1})),
            (
                Entity::Offer,
                "o2",
                json!({"application_id": "a", "status": coded("ACCEPTED"), "version": 2, "opening_id": "p"}),
            ),
            (Entity::Opening, "p", json!({"code": "7-1", "application_id": null})),
            (Entity::Offer, "o3", json!({"application_id": "a", "status": coded("DRAFT"), "version": 3})),
            (Entity::Attachment, "f1", json!({"application_id": "a", "candidate_id": "c"})),
            (Entity::Attachment, "f2", json!({"application_id": "b", "candidate_id": "c"})),
            (Entity::Attachment, "f3", json!({"application_id": null, "candidate_id": "c"})),
        ]);
        let parts = Value::Object(store.join(&hire(), &Part::ALL).unwrap());
        assert_eq!(parts.pointer("/candidate/name/given"), Some(&json!("Ada")));
        assert_eq!(parts.pointer("/offer/accepted/version"), Some(&json!(2)));
        let manager = json!({"id": "u1", "name": "Grace", "email": "g@example.com", "employee_id": null});
        assert_eq!(parts.pointer("/manager"), Some(&manager));
        assert_eq!(parts.pointer("/opening/code"), Some(&json!("7-1")));
        assert_eq!(parts.pointer("/departments"), Some(&json!([{"name": "Research"}])));
        assert_eq!(parts.pointer("/documents").and_then(Value::as_array).map(Vec::len), Some(2));
    }

    #[test]
    fn who_was_deleted_is_gone_and_who_was_merged_is_not() {
        let deleted = || json!({"meta": {"op": "DELETE"}, "candidate_id": "c"});
        let (_folder, store) = store(&[(Entity::Application, "a", deleted())]);
        assert!(store.is_gone(&hire()).unwrap());
        let (_folder, store) = self::store(&[
            (Entity::Application, "a", json!({"candidate_id": "c"})),
            (Entity::Candidate, "c", json!({"merged_into_id": "c2", "meta": {"op": "DELETE"}})),
            (Entity::Candidate, "c2", json!({"name": {"given": "Ada"}})),
        ]);
        assert!(!store.is_gone(&hire()).unwrap());
        let (_folder, store) = self::store(&[]);
        assert!(!store.is_gone(&hire()).unwrap(), "not known yet is not gone");
    }

    #[test]
    fn what_is_not_known_is_null_and_not_an_error() {
        let (_folder, store) = store(&[]);
        let parts = store.join(&hire(), &Part::ALL).unwrap();
        assert_eq!(parts.get("candidate"), Some(&Value::Null));
        assert_eq!(parts.get("offer"), Some(&json!({"accepted": null})));
    }
}
