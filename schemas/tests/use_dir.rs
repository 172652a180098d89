//! A folder takes the place of what the binary carries, or is refused by name.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use hirewire_schemas::{SchemaError, schema, topics, use_dir};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

// One test: what is loaded is loaded for the whole process.
#[test]
fn a_folder_takes_the_place_of_the_carried_schemas() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    copy(&ours.join("avro"), &dir.path().join("avro"));
    assert!(matches!(use_dir(dir.path()), Err(SchemaError::Read { .. })), "no topic table");

    let table = fs::read_to_string(ours.join("topics.yaml")).unwrap();
    fs::write(dir.path().join("topics.yaml"), table.replace("embedded: 4", "embedded: 7")).unwrap();
    let stage = dir.path().join("avro/Stage.avsc");
    let text = fs::read_to_string(&stage).unwrap();
    fs::remove_file(&stage).unwrap();
    assert!(matches!(use_dir(dir.path()), Err(SchemaError::Missing { name: "Stage" })));

    fs::write(&stage, text.replace("\"doc\": \"Name.\"", "\"doc\": \"Its name.\"")).unwrap();
    use_dir(dir.path()).unwrap();
    assert!(schema("Stage").unwrap().text.contains("Its name."));
    assert_eq!(topics::table().partitions_embedded, 7);
    assert!(matches!(use_dir(dir.path()), Err(SchemaError::TooLate)));
}
