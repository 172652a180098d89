//! `when:` of a route or a request: which records it is for.
//!
//! `{change_type: [HIRE, UNHIRE], to_stage.category: ASSESSMENT, not: {cause: MERGE}, differs: [from_stage.id,
//! to_stage.id], has: result_url}`. All lines must hold; a list is "one of". A condition is checked against the schemas of the entities
//! that it is for: what could never hold is a mistake.

use hirewire_schemas::Entity;
use hirewire_yaml::{Node, Problems, Value as Yaml, did_you_mean};
use serde_json::Value;

use super::path::{Path, Scope, is_one_of, text_of};
use super::place::{Place, place};

/// Empty: every record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    tests: Vec<Test>,
}

#[derive(Debug, Clone)]
enum Test {
    OneOf(Path, Vec<String>),
    Differs(Path, Path),
    /// There is something.
    Has(Path),
    Not(Condition),
}

impl Condition {
    /// For records of `entities`: each must have what the condition asks for. None: only the form is checked.
    pub(crate) fn read(node: &Node, entities: &[Entity], problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let mut tests = Vec::new();
        let before = problems.len();
        for (key, name, value) in map.entries() {
            let test = match name {
                "not" => Self::read(value, entities, problems).map(Test::Not),
                "differs" => differs(value, entities, problems),
                "has" => has(value, entities, problems),
                _ => one_of(key, name, value, entities, problems),
            };
            tests.extend(test);
        }
        (problems.len() == before).then_some(Self { tests })
    }

    pub(crate) fn holds(&self, record: &Value) -> bool {
        let scope = Scope::whole(record);
        self.tests.iter().all(|test| match test {
            Test::OneOf(path, values) => path.find(scope).is_some_and(|found| is_one_of(found, values)),
            Test::Differs(left, right) => left.find(scope) != right.find(scope),
            Test::Has(path) => path.find(scope).is_some(),
            Test::Not(condition) => !condition.holds(record),
        })
    }
}

impl Condition {
    /// The first line that does not hold, in words.
    pub(crate) fn why_not(&self, record: &Value) -> Option<String> {
        let scope = Scope::whole(record);
        self.tests.iter().find_map(|test| match test {
            Test::OneOf(path, values) => {
                let found = path.find(scope).and_then(text_of);
                let holds = found.as_ref().is_some_and(|text| values.contains(text));
                let found = found.unwrap_or_else(|| "absent".to_owned());
                (!holds).then(|| format!("`{path}` is {found}, not {}", values.join(" or ")))
            }
            Test::Differs(left, right) => {
                (left.find(scope) == right.find(scope)).then(|| format!("`{left}` and `{right}` are the same"))
            }
            Test::Has(path) => path.find(scope).is_none().then(|| format!("`{path}` is absent")),
            Test::Not(condition) => condition.holds(record).then(|| format!("`not` excludes it: {condition}")),
        })
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.tests.iter().map(|test| match test {
            Test::OneOf(path, values) => format!("{path} is {}", values.join(" or ")),
            Test::Differs(left, right) => format!("{left} differs from {right}"),
            Test::Has(path) => format!("{path} is there"),
            Test::Not(condition) => format!("not ({condition})"),
        });
        f.write_str(&shown.collect::<Vec<_>>().join(" and "))
    }
}

pub(crate) fn read_path(node: &Node, problems: &mut Problems) -> Option<Path> {
    let text = node.text(problems)?;
    let path = Path::parse(text);
    if path.is_none() {
        problems.add(node, format!("\"{text}\" is not a path"), "write names with dots, as in `to_stage.category`");
    }
    path
}

fn one_of(key: &Node, name: &str, value: &Node, entities: &[Entity], problems: &mut Problems) -> Option<Test> {
    let Some(path) = Path::parse(name) else {
        problems.add(key, format!("\"{name}\" is not a path"), "write names with dots, as in `to_stage.category`");
        return None;
    };
    let nodes = match &value.value {
        Yaml::List(items) => items.iter().collect(),
        _ => vec![value],
    };
    if nodes.is_empty() {
        problems.add(value, "an empty list, which no record can meet", "name at least one value");
        return None;
    }
    let values: Vec<&str> = nodes.iter().map(|node| node.text(problems)).collect::<Option<_>>()?;
    for entity in entities {
        let Some(place) = find(*entity, &path, key, problems) else { continue };
        for (node, value) in nodes.iter().zip(&values) {
            can_be(&place, name, value, node, problems);
        }
    }
    Some(Test::OneOf(path, values.into_iter().map(str::to_owned).collect()))
}

fn has(value: &Node, entities: &[Entity], problems: &mut Problems) -> Option<Test> {
    let path = read_path(value, problems)?;
    for entity in entities {
        find(*entity, &path, value, problems);
    }
    Some(Test::Has(path))
}

/// What stands there in the entity's record; a path that leads nowhere is a mistake.
fn find(entity: Entity, path: &Path, node: &Node, problems: &mut Problems) -> Option<Place> {
    match place(entity, path) {
        Ok(place) => Some(place),
        Err(lost) => {
            problems.add(node, lost.what, did_you_mean(&lost.step, lost.known.iter().map(String::as_str)));
            None
        }
    }
}

fn can_be(place: &Place, name: &str, value: &str, node: &Node, problems: &mut Problems) {
    match place {
        Place::Symbols(symbols) if symbols.iter().any(|symbol| symbol == value) => {}
        Place::Symbols(symbols) => problems.add(
            node,
            format!("`{name}` is never \"{value}\""),
            did_you_mean(value, symbols.iter().map(String::as_str)),
        ),
        Place::Flag if !matches!(value, "true" | "false") => {
            problems.add(node, format!("`{name}` is never \"{value}\""), "write true or false");
        }
        Place::Whole if value.parse::<i64>().is_err() => {
            problems.add(node, format!("`{name}` is never \"{value}\""), "write a whole number");
        }
        Place::Group(fields) => {
            let hint = if fields.is_empty() { String::new() } else { format!("one of: {}", fields.join(", ")) };
            problems.add(node, format!("`{name}` is a group of fields: name one of them"), hint);
        }
        Place::List => {
            problems.add(
                node,
                format!("`{name}` is a list: say which element"),
                format!("`{name}[0]…`, `{name}[field=VALUE]…`"),
            );
        }
        Place::Flag | Place::Whole | Place::Instant | Place::Text => {}
    }
}

fn differs(value: &Node, entities: &[Entity], problems: &mut Problems) -> Option<Test> {
    let [left, right] = value.list(problems)? else {
        problems.add(value, "`differs` compares two paths", "write `differs: [from_stage.id, to_stage.id]`");
        return None;
    };
    let (left_path, right_path) = (read_path(left, problems)?, read_path(right, problems)?);
    for entity in entities {
        find(*entity, &left_path, left, problems);
        find(*entity, &right_path, right, problems);
    }
    Some(Test::Differs(left_path, right_path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Condition, Problems> {
        let mut problems = Problems::new();
        let node = hirewire_yaml::parse("w.yaml", text).unwrap();
        let condition = Condition::read(&node, &[Entity::StageChange], &mut problems);
        problems.into_result(condition)
    }

    #[test]
    fn all_lines_must_hold() {
        let condition = read(
            "{change_type: [STAGE, CREATED], to_stage.category: ASSESSMENT, differs: [from_stage.id, to_stage.id],
              not: {cause: [IMPORT]}}",
        )
        .unwrap();
        let change = |kind: &str, from: Option<&str>, category: &str, cause: &str| {
            json!({"change_type": kind, "from_stage": from.map(|id| json!({"id": id})), "cause": cause,
                   "to_stage": {"id": "s2", "category": {"value": category, "raw": null, "rule": "r"}}})
        };
        assert!(condition.holds(&change("STAGE", Some("s1"), "ASSESSMENT", "USER_ACTION")));
        assert!(condition.holds(&change("CREATED", None, "ASSESSMENT", "USER_ACTION")));
        assert!(!condition.holds(&change("STAGE", Some("s2"), "ASSESSMENT", "USER_ACTION")));
        assert!(!condition.holds(&change("HIRE", Some("s1"), "ASSESSMENT", "USER_ACTION")));
        assert!(!condition.holds(&change("STAGE", Some("s1"), "INTERVIEW", "USER_ACTION")));
        assert!(!condition.holds(&change("STAGE", Some("s1"), "ASSESSMENT", "IMPORT")));
    }

    #[test]
    fn the_first_line_that_does_not_hold_is_told() {
        let condition = read(
            "{change_type: [STAGE, CREATED], to_stage.category: ASSESSMENT, differs: [from_stage.id, to_stage.id],
              not: {cause: [IMPORT, MERGE], change_type: STAGE}}",
        )
        .unwrap();
        let change = |kind: &str, from: &str, category: &str, cause: &str| {
            json!({"change_type": kind, "from_stage": {"id": from}, "cause": cause,
                   "to_stage": {"id": "s2", "category": {"value": category, "raw": null, "rule": "r"}}})
        };
        for (record, told) in [
            (change("STAGE", "s1", "ASSESSMENT", "USER_ACTION"), None),
            (change("HIRE", "s1", "OFFER", "USER_ACTION"), Some("`change_type` is HIRE, not STAGE or CREATED")),
            (change("STAGE", "s1", "OFFER", "USER_ACTION"), Some("`to_stage.category` is OFFER, not ASSESSMENT")),
            (change("STAGE", "s2", "ASSESSMENT", "x"), Some("`from_stage.id` and `to_stage.id` are the same")),
            (
                change("STAGE", "s1", "ASSESSMENT", "MERGE"),
                Some("`not` excludes it: cause is IMPORT or MERGE and change_type is STAGE"),
            ),
            (json!({}), Some("`change_type` is absent, not STAGE or CREATED")),
        ] {
            assert_eq!(condition.why_not(&record).as_deref(), told);
            assert_eq!(condition.holds(&record), told.is_none());
        }
    }

    #[test]
    fn what_must_be_there_may_be_anything_but_null() {
        let condition = read("{has: to_stage.name}").unwrap();
        assert!(condition.holds(&json!({"to_stage": {"name": ""}})));
        for record in [json!({"to_stage": {"name": null}}), json!({})] {
            assert_eq!(condition.why_not(&record).as_deref(), Some("`to_stage.name` is absent"));
            assert!(!condition.holds(&record));
        }
    }

    #[test]
    fn mistakes_come_at_once() {
        let problems = read("a..b: x\nc: []\ndiffers: [a]\nnot: 7\n").unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [1, 2, 3, 4], "{problems}");
    }

    #[test]
    fn what_could_never_hold_is_refused_with_line_and_hint() {
        let problems = read(
            "change_type:\n  - HIRE\n  - HIRED\nto_stage.categry: OFFER\nto_stage: x\nevidence: x\nsequence_no: one\n\
             inferred: yes\nnot: {cause: IMPORTED}\ndiffers: [from_stage.id, too_stage.id]\njob_id: anything\nhas: sequence_nr\n",
        )
        .unwrap_err();
        assert_eq!(
            problems.to_string(),
            "w.yaml:3: `change_type` is never \"HIRED\" (did you mean \"HIRE\"?)\n\
             w.yaml:4: `to_stage` has no field \"categry\" (did you mean \"category\"?)\n\
             w.yaml:5: `to_stage` is a group of fields: name one of them (one of: id, name, category)\n\
             w.yaml:6: `evidence` is a list: say which element (`evidence[0]…`, `evidence[field=VALUE]…`)\n\
             w.yaml:7: `sequence_no` is never \"one\" (write a whole number)\n\
             w.yaml:8: `inferred` is never \"yes\" (write true or false)\n\
             w.yaml:9: `cause` is never \"IMPORTED\" (did you mean \"IMPORT\"?)\n\
             w.yaml:10: stage-change has no field \"too_stage\" (did you mean \"to_stage\"?)\n\
             w.yaml:12: stage-change has no field \"sequence_nr\" (did you mean \"sequence_no\"?)"
        );
    }
}
