//! Positions that stand inside records, brought to the new side.
//!
//! Three kinds tell of places: dead letters (of the record that they are), what `hirewire dlq` did with them, and the cursor of what is to be
//! fetched. All else has no positions but `raw_refs`, which stay as they are: the table resolves them.

use anyhow::Context;
use bytes::Bytes;
use hirewire_kafka::Inbound;
use hirewire_registry::{Codec, frame};
use hirewire_route::replay::{self, Place};
use hirewire_schemas::records::{Cursor, Put};
use hirewire_schemas::{Names, schema};

use super::table::Table;

/// The names of Kafka Connect that dead letters have.
const ERROR_TOPIC: &str = "__connect.errors.topic";
const ERROR_PARTITION: &str = "__connect.errors.partition";
const ERROR_OFFSET: &str = "__connect.errors.offset";

/// What a topic's records tell of other places; what it tells of is moved before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tells {
    Nothing,
    DeadLetters,
    Replays,
    Cursors,
}

impl Tells {
    pub(super) fn of(topic: &str, names: &Names) -> Self {
        if topic == names.internal(replay::TOPIC) {
            Self::Replays
        } else if topic == names.internal("cursor") {
            Self::Cursors
        } else if topic.starts_with(&names.full("ats.dlq.")) {
            Self::DeadLetters
        } else {
            Self::Nothing
        }
    }
}

/// Brings a record's own statements to the new side.
pub(super) async fn rewrite(
    mut record: Inbound,
    tells: Tells,
    table: &Table,
    names: &Names,
    codec: &Codec,
) -> anyhow::Result<Inbound> {
    match tells {
        Tells::Nothing => {}
        Tells::DeadLetters => move_origin(&mut record, table),
        Tells::Replays => {
            move_origin(&mut record, table);
            move_replay(&mut record, table);
        }
        Tells::Cursors => move_cursor(&mut record, table, names, codec).await?,
    }
    Ok(record)
}

fn set(record: &mut Inbound, header: &str, value: String) {
    for (_, found) in record.headers.iter_mut().filter(|(name, _)| name == header) {
        *found = Bytes::from(value.clone());
    }
}

/// The place that a dead letter came from.
fn move_origin(record: &mut Inbound, table: &Table) {
    let place = || {
        Some(Place {
            topic: record.header_str(ERROR_TOPIC)?.to_owned(),
            partition: record.header_str(ERROR_PARTITION)?.parse().ok()?,
            offset: record.header_str(ERROR_OFFSET)?.parse().ok()?,
        })
    };
    if let Some(new) = place().and_then(|place| table.position(&place)) {
        set(record, ERROR_OFFSET, new.to_string());
    }
}

/// The dead letter that was replayed, its origin, and how far that was looked at.
fn move_replay(record: &mut Inbound, table: &Table) {
    let place = |header: &str| record.header_str(header)?.parse::<Place>().ok();
    let (of, origin) = (place(replay::OF), place(replay::ORIGIN));
    let checked = record.header_str(replay::CHECKED_TO).and_then(|text| text.parse().ok());
    let moved = |place: &Place| table.position(place).map(|offset| Place { offset, ..place.clone() });
    if let (Some(origin), Some(offset)) = (&origin, checked)
        && let Some(new) = moved(&Place { offset, ..origin.clone() })
    {
        set(record, replay::CHECKED_TO, new.offset.to_string());
    }
    for (header, place) in [(replay::OF, of), (replay::ORIGIN, origin)] {
        if let Some(new) = place.as_ref().and_then(moved) {
            set(record, header, new.to_string());
        }
    }
}

/// Of the cursors only the one of fetches is an offset: of the partition of its own number.
async fn move_cursor(record: &mut Inbound, table: &Table, names: &Names, codec: &Codec) -> anyhow::Result<()> {
    let is_fetch = record.key.as_ref().is_some_and(|key| key.ends_with(b"/@fetch"));
    let (true, Some(value)) = (is_fetch, &record.value) else { return Ok(()) };
    let schema = schema("Cursor").context("the program has no schema Cursor")?;
    let mut cursor: Cursor = codec.decode_into(value, &schema.avro).await.context("a cursor cannot be read")?;
    let old = cursor.next_page.as_ref().and_then(|text| text.parse().ok());
    let place = old.map(|offset| Place { topic: names.internal("fetch"), partition: record.partition, offset });
    let Some(new) = place.and_then(|place| table.position(&place)) else { return Ok(()) };
    cursor.next_page = Some(new.to_string());
    let id = codec.id_for(&Names::value_subject(&names.internal("cursor")), &schema.text).await?;
    let mut moved = Vec::with_capacity(128);
    frame(id, &mut moved);
    cursor.put(&mut moved);
    record.value = Some(moved.into());
    Ok(())
}
