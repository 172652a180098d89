//! The record schemas, ready to use: name in, [`RecordSchema`] out.
//!
//! They are loaded once per process, from the binary or, if [`use_dir`] was called first, from a folder. Whatever is
//! loaded holds every record of [`Entity`], so that looking one up cannot fail later.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use apache_avro::Schema;
use hirewire_yaml::Problems;
use include_dir::{Dir, include_dir};

use crate::assemble::{SourceFile, Sources};
use crate::topics::Table;
use crate::{Entity, defaults};

static CARRIED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/avro");
static LOADED: OnceLock<Loaded> = OnceLock::new();

/// Why schemas could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("schema file {path}: {what}")]
    File { path: String, what: String },
    #[error("schema {name} is not a valid Avro schema")]
    Avro { name: String, source: Box<apache_avro::Error> },
    #[error("schema {name}: the default of field {field} does not fit its type")]
    Default { name: String, field: String },
    #[error("the schema folder has no record {name}: put its .avsc file there")]
    Missing { name: &'static str },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Topics(Problems),
    #[error("schemas are already in use: name the folder before anything reads a schema")]
    TooLate,
}

/// One record of the contract.
#[derive(Debug)]
pub struct RecordSchema {
    /// Without namespace, e.g. `JobPosting`.
    pub name: String,
    /// `ats` of what is published, `hirewire.internal` of what only we read.
    pub namespace: String,
    /// Self-contained JSON: what is registered.
    pub text: String,
    pub avro: Schema,
    /// In the order of the schema: the index is the field's identity for mappings and state.
    pub fields: Vec<FieldSchema>,
    by_name: HashMap<String, usize>,
}

/// One top-level field of a record.
#[derive(Debug)]
pub struct FieldSchema {
    pub name: String,
    /// The field's default as Avro bytes. Empty: the field has no default and must always be written.
    pub default_bytes: Vec<u8>,
    /// `confluent:tags`, e.g. `PII`.
    pub tags: Vec<String>,
}

impl RecordSchema {
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// Position of the field in [`Self::fields`].
    #[must_use]
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    fn parse(full_name: &str, text: String) -> Result<Self, SchemaError> {
        let avro = Schema::parse_str(&text)
            .map_err(|source| SchemaError::Avro { name: full_name.to_owned(), source: Box::new(source) })?;
        let mut fields = Vec::new();
        if let Schema::Record(record) = &avro {
            let mut named = HashMap::new();
            collect_named(&avro, &mut named);
            for field in &record.fields {
                let mut default_bytes = Vec::new();
                if let Some(default) = &field.default {
                    let find = |name: &str| named.get(name).copied();
                    defaults::encode(&field.schema, default, &find, &mut default_bytes).ok_or_else(|| {
                        SchemaError::Default { name: full_name.to_owned(), field: field.name.clone() }
                    })?;
                }
                let tags = field.custom_attributes.get("confluent:tags").and_then(|tags| tags.as_array());
                let tags = tags.into_iter().flatten().filter_map(|tag| tag.as_str()).map(str::to_owned).collect();
                fields.push(FieldSchema { name: field.name.clone(), default_bytes, tags });
            }
        }
        let (namespace, name) = full_name.rsplit_once('.').unwrap_or(("", full_name));
        let by_name = fields.iter().enumerate().map(|(index, field)| (field.name.clone(), index)).collect();
        Ok(Self { name: name.to_owned(), namespace: namespace.to_owned(), text, avro, fields, by_name })
    }
}

/// The record of this name (without namespace); pseudo-entities and internal records too.
#[must_use]
pub fn schema(record: &str) -> Option<&'static RecordSchema> {
    loaded().records.iter().find(|schema| schema.name == record)
}

/// The Avro schema of the record of this name, as mappings are compiled against it.
#[must_use]
pub fn avro_schema(record: &str) -> Option<&'static apache_avro::Schema> {
    schema(record).map(|schema| &schema.avro)
}

/// All records, ordered by full name.
pub fn schemas() -> impl Iterator<Item = &'static RecordSchema> {
    loaded().records.iter()
}

/// Takes schemas and topic table from `dir` (`avro/**/*.avsc`, `topics.yaml`) instead of the binary's own.
///
/// # Errors
/// A file that cannot be read or is wrong, a record that is missing, or a call after the first use.
pub fn use_dir(dir: &Path) -> Result<(), SchemaError> {
    let mut files = Vec::new();
    read_dir(&dir.join("avro"), "", &mut files)?;
    let path = dir.join("topics.yaml");
    let topics = std::fs::read_to_string(&path).map_err(|source| SchemaError::Read { path: path.clone(), source })?;
    let loaded = load(files, topics, &path.display().to_string())?;
    LOADED.set(loaded).map_err(|_| SchemaError::TooLate)?;
    let (file, text) = topics_source();
    Table::read(file, text).map(drop).map_err(SchemaError::Topics)
}

/// File name and text of the topic table in use.
pub(crate) fn topics_source() -> (&'static str, &'static str) {
    (&loaded().topics_path, &loaded().topics)
}

struct Loaded {
    records: Vec<RecordSchema>,
    topics: String,
    topics_path: String,
}

fn loaded() -> &'static Loaded {
    LOADED.get_or_init(|| {
        let mut files = Vec::new();
        collect_carried(&CARRIED, &mut files);
        match load(files, include_str!("../topics.yaml").to_owned(), "schemas/topics.yaml") {
            Ok(loaded) => loaded,
            // A test of this crate loads them: it cannot happen in a released binary.
            Err(error) => panic!("the binary's own schemas are broken: {error}"),
        }
    })
}

fn load(files: Vec<SourceFile>, topics: String, topics_path: &str) -> Result<Loaded, SchemaError> {
    let sources = Sources::new(files)?;
    let mut records = Vec::new();
    for (full_name, path) in sources.iter() {
        // What stands in a folder `types/` is a part of records, not a record.
        if !path.split('/').any(|part| part == "types") {
            let text = sources.expand(full_name).unwrap_or_default();
            records.push(RecordSchema::parse(full_name, text)?);
        }
    }
    for entity in Entity::ALL {
        let name = entity.record();
        if !records.iter().any(|record| record.name == name) {
            return Err(SchemaError::Missing { name });
        }
    }
    Ok(Loaded { records, topics, topics_path: topics_path.to_owned() })
}

fn collect_carried(dir: &Dir<'_>, files: &mut Vec<SourceFile>) {
    for file in dir.files() {
        if let Some(text) = file.contents_utf8() {
            let path = file.path().to_string_lossy().replace('\\', "/");
            files.push(SourceFile { path, text: text.to_owned() });
        }
    }
    for dir in dir.dirs() {
        collect_carried(dir, files);
    }
}

fn read_dir(dir: &Path, under: &str, files: &mut Vec<SourceFile>) -> Result<(), SchemaError> {
    let wrong = |path: &Path, source| SchemaError::Read { path: path.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(|source| wrong(dir, source))? {
        let path = entry.map_err(|source| wrong(dir, source))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            read_dir(&path, &format!("{under}{name}/"), files)?;
        } else if name.ends_with(".avsc") {
            let text = std::fs::read_to_string(&path).map_err(|source| wrong(&path, source))?;
            files.push(SourceFile { path: format!("{under}{name}"), text });
        }
    }
    Ok(())
}

/// Finds the definitions of named types inside `schema`, by full name.
fn collect_named<'a>(schema: &'a Schema, named: &mut HashMap<String, &'a Schema>) {
    if let Some(name) = schema.name()
        && !matches!(schema, Schema::Ref { .. })
    {
        named.insert(name.to_string(), schema);
    }
    match schema {
        Schema::Record(record) => record.fields.iter().for_each(|field| collect_named(&field.schema, named)),
        Schema::Array(array) => collect_named(&array.items, named),
        Schema::Map(map) => collect_named(&map.types, named),
        Schema::Union(union) => union.variants().iter().for_each(|variant| collect_named(variant, named)),
        _ => {}
    }
}
