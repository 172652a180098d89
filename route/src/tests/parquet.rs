//! Parquet tables as their readers see them: DuckDB and pyarrow, of the Python that `HIREWIRE_TEST_PYTHON` names
//! (`e2e/parquet/python` makes one), else of `python3`, if it has them.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::databases::id;
use crate::files::Folder;
use crate::files::parquet::tests::{rows, tables};
use crate::files::tests::pending;

/// `None`, and a word about it: this machine's Python has no such readers.
fn read(folder: &Path, table: &str) -> Option<Value> {
    let python = std::env::var("HIREWIRE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_both = Command::new(&python).args(["-c", "import duckdb, pyarrow"]).output();
    if !has_both.is_ok_and(|output| output.status.success()) {
        // Not by a macro: of a test that passes cargo shows nothing that they print.
        writeln!(std::io::stderr(), "LEFT OUT: DuckDB and pyarrow on Parquet tables: {python} has not both").unwrap();
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/parquet/read.py");
    let output = Command::new(&python).arg(script).arg(folder).arg(table).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn duckdb_and_pyarrow_read_the_tables_with_their_types_and_places() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = tables(folder.path());
    // More than enough to be made one, and a rest.
    for number in 0..11 {
        sink.write(&pending(0, rows(number * 3..number * 3 + 3))).unwrap();
        sink.tend().unwrap();
    }
    let Some(read) = read(&folder.path().join("out"), "stage_change") else { return };
    for (reader, instant, day) in
        [("duckdb", "TIMESTAMP WITH TIME ZONE", "DATE"), ("pyarrow", "timestamp[us, tz=UTC]", "string")]
    {
        let read = &read[reader];
        assert_eq!((&read["rows"], &read["named"]), (&json!(33), &json!(33)), "{reader}");
        let types = &read["types"];
        assert_eq!((&types["occurred_at"], &types["day"]), (&json!(instant), &json!(day)), "{reader}");
        let first = &read["first"];
        assert_eq!(first["event_id"], json!(id(0)), "{reader}");
        assert_eq!(first["occurred_at"], "2026-02-01T10:00:00.500000+00:00", "{reader}");
        assert_eq!((&first["inferred"], &first["sequence_no"]), (&json!(true), &json!(0)), "{reader}");
        assert_eq!((&first["reasons"], &first["supersedes"]), (&json!(["Said \"yes\""]), &json!([])), "{reader}");
        assert_eq!((&first["candidate_id"], &first["tenant"]), (&Value::Null, &json!("acme")), "{reader}");
        assert_eq!(read["partitions"], json!([["acme", "2026-02-01", 33]]), "{reader}");
    }
    assert_eq!(read["sum"], json!((0..33).sum::<i64>()));
}
