//! Parquet tables: `<table>/tenant=<tenant>/day=<day>/<number>.parquet`, each row once.
//!
//! In: rows. Out: files, and `manifest.json`, which names every file that counts and the offsets that they lead to, in
//! one step: a file that it does not name is not there for a reader of the manifest, and is removed at the next start.
//! Rows gather until `flush_after` has passed, half a partition's window is full, or a partition is full by its bytes.
//! Small files become one: eight of a
//! level make one of the next, so that a row is written again as often as a day has levels, not as it has files.

mod columns;
mod file;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;
use serde_json::{Map, Value, json};

use super::manifest::{Positions, lock, make, sync};
use super::{Folder, Pending};
use crate::deliver::{Content, Delivery};
use crate::row::Row;
use crate::system::{System, Takes};
use columns::{Column, columns};
pub(crate) use settings::TablesSettings;

/// So many files of one level become one of the next.
const TOGETHER: usize = 8;
/// More than that together stay apart: a column of them must go into memory.
const MOST_BYTES: u64 = 32 << 20;

/// The level of files with the columns of another release: they stay as they are.
const APART: u64 = u64::MAX;

/// The columns of a table, and the same in Parquet's words.
struct Shape {
    columns: Vec<Column>,
    schema: TypePtr,
}

/// By the table's name.
pub(crate) struct Shapes(HashMap<String, Shape>);

impl Shapes {
    /// # Errors
    /// When Parquet does not take a table's schema.
    pub(crate) fn of(system: &System) -> io::Result<Self> {
        let Takes::Everything(tables) = &system.takes else { return Ok(Self(HashMap::new())) };
        let shape = |plan: &Arc<crate::row::TablePlan>| {
            let columns = columns(plan);
            let schema = parse_message_type(&columns::schema(&plan.table, &columns)).map_err(io::Error::other)?;
            Ok((plan.table.clone(), Shape { columns, schema: Arc::new(schema) }))
        };
        tables.iter().map(shape).collect::<io::Result<_>>().map(Self)
    }

    /// Whether a row's values are of its table's types.
    pub(crate) fn takes(&self, delivery: &Delivery) -> bool {
        let Content::Row(row) = &delivery.content else { return false };
        self.0.get(&row.plan.table).is_some_and(|shape| shape.columns.iter().all(|column| column.takes(row)))
    }

    fn get(&self, table: &str) -> io::Result<&Shape> {
        self.0.get(table).ok_or_else(|| io::Error::other(format!("{table} is no table of the sink's system")))
    }
}

pub(crate) struct Tables {
    settings: TablesSettings,
    shapes: Arc<Shapes>,
    /// Records of a partition that may be in hand.
    window: usize,
    /// `None`: not open yet, or something failed and nobody knows what the disk has.
    open: Option<Open>,
}

struct Open {
    positions: Positions,
    /// Of the next file.
    number: u64,
    files: Vec<Entry>,
    _lock: File,
}

/// A file that counts.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// Below the folder.
    path: String,
    rows: u64,
    bytes: u64,
    level: u64,
}

impl Entry {
    fn to_json(&self) -> Value {
        json!({"path": self.path, "rows": self.rows, "bytes": self.bytes, "level": self.level})
    }

    fn read(value: &Value) -> Option<Self> {
        let number = |key: &str| value.get(key)?.as_u64();
        let path = value.get("path")?.as_str()?.to_owned();
        Some(Self { path, rows: number("rows")?, bytes: number("bytes")?, level: number("level")? })
    }

    /// The folder of its table, tenant and day.
    fn place(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(place, _)| place)
    }

    fn table(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

/// Until the manifest names it, a file has this behind its name.
const NEW: &str = ".new";

impl Tables {
    pub(crate) fn new(settings: TablesSettings, shapes: Arc<Shapes>, window: usize) -> Self {
        Self { settings, shapes, window, open: None }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.settings.path.join(path)
    }

    /// As the manifest says.
    fn opened(&self) -> io::Result<Open> {
        let folder = &self.settings.path;
        make(folder)?;
        let _lock = lock(folder)?;
        let (positions, beside) = Positions::read(folder)?.unwrap_or_default();
        let number = beside.get("next").and_then(Value::as_u64).unwrap_or_default();
        let entries = beside.get("files").and_then(Value::as_array).into_iter().flatten();
        let mut files: Vec<Entry> = entries.filter_map(Entry::read).collect();
        for path in self.found()? {
            let name = path.trim_end_matches(NEW);
            let counts = files.iter().any(|entry| entry.path == name);
            match (counts, path.ends_with(NEW)) {
                (true, true) => std::fs::rename(self.at(&path), self.at(name))?,
                (true, false) => {}
                (false, _) => std::fs::remove_file(self.at(&path))?,
            }
        }
        // Whoever removes old days may do so.
        files.retain(|entry| self.at(&entry.path).exists());
        Ok(Open { positions, number, files, _lock })
    }

    /// All files that we may have written, below the folder.
    fn found(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![self.settings.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(below) = path.strip_prefix(&self.settings.path) {
                    found.extend(below.to_str().filter(|below| is_ours(below)).map(str::to_owned));
                }
            }
        }
        Ok(found)
    }

    fn flush(&self, open: &mut Open, pending: &Pending) -> io::Result<()> {
        let mut places: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
        for staged in open.positions.new_of(pending) {
            if let Content::Row(row) = &staged.delivery.content {
                places.entry(place_of(row)).or_default().push(row);
            }
        }
        let mut fresh = Vec::new();
        for (place, rows) in &places {
            let (path, table) = (format!("{place}/{:010}.parquet", open.number), place.split('/').next());
            open.number += 1;
            let shape = self.shapes.get(table.unwrap_or_default())?;
            let values = shape.columns.iter().map(|column| Ok(column.values(rows)));
            std::fs::create_dir_all(self.at(place))?;
            let bytes = file::write(&self.at(&format!("{path}{NEW}")), &shape.schema, values)?;
            fresh.push(Entry { path, rows: rows.len() as u64, bytes, level: 0 });
        }
        let positions = open.positions.after(pending);
        self.replace(open, positions, &[], fresh)
    }

    /// The one step by which `fresh` files count, `old` ones do so no more, and the positions are others.
    fn replace(&self, open: &mut Open, positions: Positions, old: &[Entry], fresh: Vec<Entry>) -> io::Result<()> {
        for entry in &fresh {
            self.sync_up(entry.place())?;
        }
        let mut files: Vec<Entry> = open.files.iter().filter(|entry| !old.contains(entry)).cloned().collect();
        files.extend(fresh.iter().cloned());
        let mut beside = Map::new();
        beside.insert("next".to_owned(), json!(open.number));
        beside.insert("files".to_owned(), files.iter().map(Entry::to_json).collect());
        positions.write(&self.settings.path, beside)?;
        (open.positions, open.files) = (positions, files);
        for entry in &fresh {
            std::fs::rename(self.at(&format!("{}{NEW}", entry.path)), self.at(&entry.path))?;
        }
        for entry in old {
            std::fs::remove_file(self.at(&entry.path))?;
        }
        Ok(())
    }

    /// The names on the way to a place are on the disk when it returns.
    fn sync_up(&self, place: &str) -> io::Result<()> {
        let mut below = Some(Path::new(place));
        while let Some(folder) = below {
            sync(&self.settings.path.join(folder))?;
            below = folder.parent();
        }
        Ok(())
    }

    /// Makes one file of the first small ones of a place that are enough.
    fn merge(&self, open: &mut Open) -> io::Result<()> {
        let mut together: BTreeMap<(&str, u64), Vec<&Entry>> = BTreeMap::new();
        for entry in &open.files {
            together.entry((entry.place(), entry.level)).or_default().push(entry);
        }
        let enough = |entries: &Vec<&Entry>| {
            let apart = entries.first().is_none_or(|entry| entry.level == APART);
            !apart
                && entries.len() >= TOGETHER
                && entries.iter().take(TOGETHER).map(|entry| entry.bytes).sum::<u64>() <= MOST_BYTES
        };
        let Some(entries) = together.into_values().find(enough) else { return Ok(()) };
        let old: Vec<Entry> = entries.into_iter().take(TOGETHER).cloned().collect();
        let Some(first) = old.first() else { return Ok(()) };
        let path = format!("{}/{:010}.parquet", first.place(), open.number);
        let schema = &self.shapes.get(first.table())?.schema;
        let from: Vec<PathBuf> = old.iter().map(|entry| self.at(&entry.path)).collect();
        let fresh = match file::merge(&from, &self.at(&format!("{path}{NEW}")), schema)? {
            Some(bytes) => {
                Entry { path, rows: old.iter().map(|entry| entry.rows).sum(), bytes, level: first.level + 1 }
            }
            None => {
                open.files.iter_mut().filter(|entry| old.contains(entry)).for_each(|entry| entry.level = APART);
                return Ok(());
            }
        };
        open.number += 1;
        let positions = open.positions.clone();
        self.replace(open, positions, &old, vec![fresh])
    }
}

impl Folder for Tables {
    fn is_due(&self, pending: &Pending) -> bool {
        let aged = pending.heads.age().is_some_and(|age| age >= self.settings.flush_after);
        aged || pending.heads.records() * 2 >= self.window
    }

    fn write(&mut self, pending: &Pending) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.opened()?,
        };
        self.flush(&mut open, pending)?;
        self.open = Some(open);
        Ok(())
    }

    fn tend(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        self.merge(&mut open)?;
        self.open = Some(open);
        Ok(())
    }
}

fn place_of(row: &Row) -> String {
    format!("{}/tenant={}/day={}", row.plan.table, escaped(&row.tenant), row.day)
}

/// As Hive writes what cannot stand in a folder's name, and its readers read it.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn is_ours(below: &str) -> bool {
    let name = below.rsplit('/').next().unwrap_or_default();
    let number = name.trim_end_matches(NEW).strip_suffix(".parquet");
    number.is_some_and(|number| number.len() == 10 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ops::Range;
    use std::time::Duration;

    use parquet::data_type::ByteArray;

    use super::super::tests::pending;
    use super::*;
    use crate::deliver::OnRefusal;
    use crate::source::{Origin, Staged};
    use crate::system::carried;
    use crate::tests::databases::{change, id};
    use crate::tests::support::slot;

    /// Stage changes as rows, each with its number as offset.
    pub(crate) fn rows(numbers: Range<i64>) -> Vec<Staged> {
        let system = carried("analytics");
        let Takes::Everything(tables) = &system.takes else { panic!("analytics records") };
        let plan = tables.iter().find(|plan| plan.table == "stage_change").unwrap();
        let staged = |number: i64| {
            let event = change(number, "STAGE", Some(1), Some(2), number % 60, &[]);
            let delivery = Delivery {
                idempotency_key: uuid::Uuid::nil(),
                key: None,
                trace: hirewire_service::TraceParent::new_root(),
                content: Content::Row(plan.row(&event, &Origin { slot: slot(0), offset: number })),
                on_refusal: OnRefusal::Skip,
            };
            Staged { offset: number, delivery }
        };
        numbers.map(staged).collect()
    }

    pub(crate) fn tables(folder: &Path) -> Tables {
        let settings = TablesSettings { path: folder.join("out"), flush_after: Duration::from_secs(60) };
        Tables::new(settings, Arc::new(Shapes::of(&carried("analytics")).unwrap()), 1_000)
    }

    /// The first column of a table, the event's id, of the files that the manifest names, and how many these are; nothing
    /// else may be there.
    pub(crate) fn ids(folder: &Path, table: &str) -> (Vec<String>, usize) {
        let (_, beside) = Positions::read(folder).unwrap().unwrap();
        let entries: Vec<Entry> =
            beside["files"].as_array().unwrap().iter().map(|one| Entry::read(one).unwrap()).collect();
        let of_table: Vec<&Entry> = entries.iter().filter(|entry| entry.table() == table).collect();
        let paths: Vec<PathBuf> = of_table.iter().map(|entry| folder.join(&entry.path)).collect();
        let ids = file::tests::first_column(&paths);
        assert_eq!(ids.len() as u64, of_table.iter().map(|entry| entry.rows).sum::<u64>());
        let text = |id: &ByteArray| String::from_utf8(id.data().to_vec()).unwrap();
        (ids.iter().map(text).collect(), of_table.len())
    }

    fn all(numbers: Range<i64>) -> Vec<String> {
        numbers.map(id).collect()
    }

    fn names(sink: &Tables) -> Vec<String> {
        let mut names = sink.found().unwrap();
        names.sort();
        names
    }

    #[test]
    fn a_crash_leaves_no_row_twice_and_no_file_that_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut sink = tables(folder.path());
        sink.write(&pending(0, rows(0..10))).unwrap();
        let [first] = names(&sink).try_into().unwrap();
        assert_eq!(first, "stage_change/tenant=acme/day=2026-02-01/0000000000.parquet");
        drop(sink);

        // Killed before the manifest named the next file: it goes, and its rows come again, with some from before.
        std::fs::copy(out.join(&first), out.join(first.replace("0.parquet", "1.parquet.new"))).unwrap();
        let mut sink = tables(folder.path());
        sink.write(&pending(0, rows(7..13))).unwrap();
        assert_eq!(ids(&out, "stage_change"), (all(0..13), 2));
        assert_eq!(names(&sink).len(), 2);
        drop(sink);

        // Killed after that, before the file had its name: it gets it. What a merge had replaced goes.
        let second = first.replace("0.parquet", "1.parquet");
        std::fs::rename(out.join(&second), out.join(format!("{second}.new"))).unwrap();
        std::fs::copy(out.join(&first), out.join(first.replace("0.parquet", "9.parquet"))).unwrap();
        std::fs::write(out.join("stage_change/README"), "not ours").unwrap();
        let mut sink = tables(folder.path());
        sink.write(&pending(0, rows(10..13))).unwrap();
        assert_eq!(ids(&out, "stage_change"), (all(0..13), 2));
        assert_eq!(names(&sink), [first.clone(), second]);
        assert!(out.join("stage_change/README").exists());
        drop(sink);

        // An old day that somebody removed is gone, and nothing else.
        std::fs::remove_file(out.join(&first)).unwrap();
        let mut sink = tables(folder.path());
        sink.write(&pending(0, rows(13..14))).unwrap();
        assert_eq!(ids(&out, "stage_change"), (all(10..14), 2));
    }

    #[test]
    fn many_small_files_become_few_with_the_same_rows() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = tables(folder.path());
        for number in 0..70 {
            sink.write(&pending(0, rows(number * 2..number * 2 + 2))).unwrap();
            sink.tend().unwrap();
            sink.tend().unwrap();
        }
        // 64 in one, and 6.
        let (found, files) = ids(&folder.path().join("out"), "stage_change");
        assert_eq!((found, files), (all(0..140), 7));
        assert_eq!(names(&sink).len(), 7, "what was made one is gone");
    }

    #[test]
    fn files_of_other_columns_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = tables(folder.path());
        for number in 0..9 {
            if number == 8 {
                let fewer = "message stage_change { optional binary event_id (STRING); }";
                let shapes = Arc::get_mut(&mut sink.shapes).unwrap();
                shapes.0.get_mut("stage_change").unwrap().schema = Arc::new(parse_message_type(fewer).unwrap());
                shapes.0.get_mut("stage_change").unwrap().columns.truncate(1);
            }
            sink.write(&pending(0, rows(number..number + 1))).unwrap();
        }
        sink.tend().unwrap();
        let levels: Vec<u64> = sink.open.as_ref().unwrap().files.iter().map(|entry| entry.level).collect();
        assert_eq!(levels, [APART, APART, APART, APART, APART, APART, APART, APART, 0]);
        assert_eq!(ids(&folder.path().join("out"), "stage_change"), (all(0..9), 9));
    }

    #[test]
    fn what_is_due_is_what_is_old_or_half_a_window() {
        let mut sink = tables(Path::new("nowhere"));
        let waiting = pending(0, rows(0..2));
        assert!(!sink.is_due(&waiting));
        sink.window = 4;
        assert!(sink.is_due(&waiting));
        (sink.window, sink.settings.flush_after) = (1_000, Duration::ZERO);
        assert!(sink.is_due(&waiting));
    }

    #[test]
    fn a_value_of_another_type_is_refused_before_it_is_staged() {
        let shapes = Shapes::of(&carried("analytics")).unwrap();
        let mut staged = rows(0..1).remove(0);
        assert!(shapes.takes(&staged.delivery));
        if let Content::Row(row) = &mut staged.delivery.content {
            row.values.insert("occurred_at".to_owned(), json!("yesterday"));
        }
        assert!(!shapes.takes(&staged.delivery));
    }

    #[test]
    fn a_tenant_s_name_stays_in_its_folder() {
        assert_eq!(escaped("acme-2_x"), "acme-2_x");
        assert_eq!(escaped("../a/b=ü"), "%2E%2E%2Fa%2Fb%3D%C3%BC");
    }
}
