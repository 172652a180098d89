//! The store as a cache: what it keeps, finds, forgets and reads again.

use serde_json::json;

use super::*;

fn seen(entity: Entity, id: &str, tree: Option<Value>) -> Seen {
    Seen { entity: Some(entity), id: id.into(), tree, topic: "t".into(), partition: 0, next_offset: 1 }
}

fn hires() -> Condition {
    let mut problems = hirewire_yaml::Problems::new();
    Condition::read(&hirewire_yaml::parse("c", "{change_type: HIRE}").unwrap(), &[], &mut problems).unwrap()
}

fn change(sequence_no: i64, kind: &str) -> Seen {
    let tree = json!({"meta": {"event_id": format!("e{sequence_no}"), "observed_at": "2026-01-01T00:00:00Z"},
        "application_id": "a", "sequence_no": sequence_no, "change_type": kind});
    seen(Entity::StageChange, "a", Some(tree))
}

#[test]
fn the_newest_record_is_kept_and_found_by_its_owner_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("context.sqlite");
    let store = Store::open(&path, Vec::new()).unwrap();
    let offer = |version: i64| json!({"application_id": "a", "version": version});
    store.put(&[seen(Entity::Offer, "o", Some(offer(1))), seen(Entity::Offer, "o", Some(offer(2)))]).unwrap();
    drop(store);
    let store = Store::open(&path, Vec::new()).unwrap();
    assert_eq!(store.owned(Entity::Offer, Owner::Application, "a").unwrap(), [offer(2)]);
    assert_eq!(store.positions().unwrap(), BTreeMap::from([(("t".to_owned(), 0), 1)]));
    store.put(&[seen(Entity::Offer, "o", None)]).unwrap();
    assert_eq!(store.record(Entity::Offer, "o").unwrap(), None);
}

/// Two partitions are read in any order: the old one tells of the record and that it is gone, the new one has it.
#[test]
fn a_record_that_moved_to_another_owner_is_not_hidden_by_its_old_place() {
    let offer = |op: &str, owner: &str, second: i64| json!({"meta": {"op": op, "observed_at": format!("2026-01-01T00:00:0{second}Z")}, "application_id": owner});
    let told = [(0, offer("UPSERT", "old", 1)), (0, offer("DELETE", "old", 3)), (1, offer("UPSERT", "new", 2))];
    for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1]] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("c.sqlite"), Vec::new()).unwrap();
        let record = || store.record(Entity::Offer, "o").unwrap().unwrap();
        for at in order {
            let (partition, tree) = told[at].clone();
            store.put(&[Seen { partition, ..seen(Entity::Offer, "o", Some(tree)) }]).unwrap();
        }
        assert_eq!(record(), offer("UPSERT", "new", 2), "{order:?}");
        assert_eq!(store.owned(Entity::Offer, Owner::Application, "new").unwrap().len(), 1, "{order:?}");
        assert!(store.owned(Entity::Offer, Owner::Application, "old").unwrap().is_empty(), "{order:?}");
        // Deleted for good, in its place.
        let gone = offer("DELETE", "new", 4);
        store.put(&[Seen { partition: 1, ..seen(Entity::Offer, "o", Some(gone.clone())) }]).unwrap();
        assert_eq!(record(), gone);
        store.put(&[Seen { partition: 1, ..seen(Entity::Offer, "o", None) }]).unwrap();
        assert_eq!(store.record(Entity::Offer, "o").unwrap(), None, "erased everywhere");
    }
}

#[test]
fn earlier_changes_are_known_only_when_the_ledger_was_read_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("c.sqlite"), vec![hires()]).unwrap();
    let earlier = |sequence_no| match store.earlier("a", sequence_no).unwrap() {
        Earlier::Unknown => None,
        Earlier::Known(events) => Some(events.iter().map(|e| e.event_id().to_owned()).collect::<Vec<_>>().join(" ")),
    };
    store.put(&[change(1, "CREATED"), change(2, "HIRE")]).unwrap();
    assert_eq!(earlier(3), None);
    store.put(&[change(3, "UNHIRE"), change(4, "HIRE"), change(5, "STAGE")]).unwrap();
    assert_eq!(earlier(3).as_deref(), Some("e2"));
    assert_eq!(earlier(5).as_deref(), Some("e4 e2"));
    assert_eq!(earlier(2).as_deref(), Some(""));
}

#[test]
fn a_new_condition_of_what_is_kept_reads_the_ledger_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = |kept| Store::open(&folder.path().join("c.sqlite"), kept).unwrap();
    let ledger = || Seen { topic: format!("p-{LEDGER}"), ..change(1, "HIRE") };
    let store = open(Vec::new());
    store.put(&[ledger(), seen(Entity::Offer, "o", Some(json!({})))]).unwrap();
    drop(store);
    let others = BTreeMap::from([(("t".to_owned(), 0), 1)]);
    let store = open(vec![hires()]);
    assert_eq!(store.positions().unwrap(), others, "the hires before were not kept");
    store.put(&[ledger()]).unwrap();
    assert!(store.keeps(&[hires()]).unwrap() && !store.keeps(&[hires(), Condition::default()]).unwrap());
    assert!(!store.keep(vec![hires(), hires()]).unwrap(), "nothing new");
    drop(store);
    assert_eq!(open(vec![hires()]).positions().unwrap().len(), 2);
}

#[test]
fn a_condition_that_was_gone_for_a_while_reads_the_ledger_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("c.sqlite"), vec![hires()]).unwrap();
    assert!(!store.keep(Vec::new()).unwrap(), "nothing new");
    // Nobody wants the hires now: it is not among those that are kept.
    store.put(&[Seen { topic: format!("p-{LEDGER}"), ..change(1, "HIRE") }]).unwrap();
    assert!(!store.keeps(&[hires()]).unwrap());
    assert!(store.keep(vec![hires()]).unwrap() && store.positions().unwrap().is_empty());
}

#[test]
fn a_damaged_store_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sqlite");
    std::fs::write(&path, vec![7_u8; 9000]).unwrap();
    let store = Store::open(&path, Vec::new()).unwrap();
    assert!(store.positions().unwrap().is_empty());
}
