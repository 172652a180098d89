//! What stands at a path of an entity's record, by its schema: so that a condition that can never hold is refused.
//!
//! In: an entity and a path. Out: a [`Place`], or the step that leads nowhere with the names there are.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordSchema, ResolvedSchema};
use hirewire_schemas::Entity;

use super::path::{Path, Step};

/// What can be compared there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of these symbols; of a coded value, those of its `value`.
    Symbols(Vec<String>),
    Flag,
    Whole,
    /// A point in time: RFC 3339 text in a tree.
    Instant,
    Text,
    /// A record or a map: these are its fields.
    Group(Vec<String>),
    List,
}

/// A step that leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) what: String,
    pub(crate) step: String,
    /// What there is in its place.
    pub(crate) known: Vec<String>,
}

/// # Errors
/// The first step that the schema does not have.
pub(crate) fn place(entity: Entity, path: &Path) -> Result<Place, Lost> {
    let whole = &entity.schema().avro;
    let lost = |step: &str, what: String, known: Vec<String>| Lost { what, step: step.to_owned(), known };
    let Ok(resolved) = ResolvedSchema::try_from(whole) else {
        return Err(lost("", format!("the schema of {entity} names a type that it does not hold"), Vec::new()));
    };
    let names = resolved.get_names();
    let mut schema = inner(whole, names);
    let mut so_far = format!("{entity}");
    for step in path.steps() {
        schema = match (step, schema) {
            (Step::Name(name), Schema::Record(record)) => match field(record, name) {
                Some(found) => inner(found, names),
                None => {
                    return Err(lost(name, format!("{so_far} has no field \"{name}\""), fields(record)));
                }
            },
            (Step::Name(_), Schema::Map(map)) => inner(&map.types, names),
            (Step::Index(_), Schema::Array(array)) => inner(&array.items, names),
            (Step::Filter(tests), Schema::Array(array)) => {
                let items = inner(&array.items, names);
                for (name, values) in tests {
                    let found = match items {
                        Schema::Record(record) => field(record, name)
                            .ok_or_else(|| lost(name, format!("{so_far} has no field \"{name}\""), fields(record)))?,
                        _ => return Err(lost(name, format!("{so_far} holds no records"), Vec::new())),
                    };
                    if let Place::Symbols(symbols) = end(found, names)
                        && let Some(wrong) = values.iter().find(|value| !symbols.contains(value))
                    {
                        return Err(lost(wrong, format!("\"{name}\" is never \"{wrong}\""), symbols));
                    }
                }
                items
            }
            (Step::Name(name), _) => return Err(lost(name, format!("{so_far} has no fields"), Vec::new())),
            (Step::Index(_) | Step::Filter(_), _) => {
                return Err(lost("[", format!("{so_far} is no list"), Vec::new()));
            }
        };
        if let Step::Name(name) = step {
            so_far = format!("`{name}`");
        }
    }
    Ok(end(schema, names))
}

/// The type behind names and "or null".
fn inner<'a>(schema: &'a Schema, names: &NamesRef<'a>) -> &'a Schema {
    match schema {
        Schema::Ref { name } => names.get(name).map_or(schema, |found| inner(found, names)),
        Schema::Union(union) => {
            let first = union.variants().iter().find(|variant| !matches!(variant, Schema::Null));
            first.map_or(schema, |found| inner(found, names))
        }
        _ => schema,
    }
}

/// What is compared at the end of a path: a coded value stands for its `value`.
fn end<'a>(schema: &'a Schema, names: &NamesRef<'a>) -> Place {
    match inner(schema, names) {
        Schema::Record(record) => match field(record, "value") {
            Some(value) if fields(record) == ["value", "raw", "rule"] => end(value, names),
            _ => Place::Group(fields(record)),
        },
        Schema::Map(_) => Place::Group(Vec::new()),
        Schema::Array(_) => Place::List,
        Schema::Enum(found) => Place::Symbols(found.symbols.clone()),
        Schema::Boolean => Place::Flag,
        Schema::Int | Schema::Long => Place::Whole,
        Schema::TimestampMillis | Schema::TimestampMicros => Place::Instant,
        _ => Place::Text,
    }
}

fn field<'a>(record: &'a RecordSchema, name: &str) -> Option<&'a Schema> {
    record.fields.iter().find(|field| field.name == name).map(|field| &field.schema)
}

fn fields(record: &RecordSchema) -> Vec<String> {
    record.fields.iter().map(|field| field.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<Place, String> {
        place(Entity::StageChange, &Path::parse(text).unwrap()).map_err(|lost| lost.what)
    }

    #[test]
    fn a_path_leads_to_what_the_schema_says() {
        assert_eq!(at("job_id"), Ok(Place::Text));
        assert_eq!(at("occurred_at"), Ok(Place::Instant));
        assert_eq!(at("sequence_no"), Ok(Place::Whole));
        assert_eq!(at("inferred"), Ok(Place::Flag));
        assert_eq!(at("evidence"), Ok(Place::List));
        assert_eq!(at("evidence[provenance=WEBHOOK].raw_ref.topic"), Ok(Place::Text));
        for coded in ["to_stage.category", "to_stage.category.value"] {
            assert!(matches!(at(coded), Ok(Place::Symbols(symbols)) if symbols.contains(&"ASSESSMENT".to_owned())));
        }
        assert_eq!(at("to_stage.category.raw"), Ok(Place::Text));
        assert!(matches!(at("to_stage"), Ok(Place::Group(fields)) if fields == ["id", "name", "category"]));
    }

    #[test]
    fn a_step_that_leads_nowhere_is_named() {
        assert_eq!(at("to_stag.category"), Err("stage-change has no field \"to_stag\"".to_owned()));
        assert_eq!(at("to_stage.catgory"), Err("`to_stage` has no field \"catgory\"".to_owned()));
        assert_eq!(at("job_id.x"), Err("`job_id` has no fields".to_owned()));
        assert_eq!(at("job_id[0]"), Err("`job_id` is no list".to_owned()));
        assert_eq!(at("evidence[provenance=POLLL]"), Err("\"provenance\" is never \"POLLL\"".to_owned()));
        assert_eq!(at("evidence[kind=X]"), Err("`evidence` has no field \"kind\"".to_owned()));
    }
}
