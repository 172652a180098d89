//! `when:` of a route or a request: which records it is for.
//!
//! `{change_type: [HIRE, UNHIRE], to_stage.category: ASSESSMENT, not: {cause: MERGE}, differs: [from_stage.id,
//! to_stage.id]}`. All lines must hold; a list is "one of".

use hirewire_yaml::{Node, Problems, Value as Yaml};
use serde_json::Value;

use super::path::{Path, Scope, text_of};

/// Empty: every record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    tests: Vec<Test>,
}

#[derive(Debug, Clone)]
enum Test {
    OneOf(Path, Vec<String>),
    Differs(Path, Path),
    Not(Condition),
}

impl Condition {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let mut tests = Vec::new();
        let before = problems.len();
        for (key, name, value) in map.entries() {
            let test = match name {
                "not" => Self::read(value, problems).map(Test::Not),
                "differs" => differs(value, problems),
                _ => one_of(key, name, value, problems),
            };
            tests.extend(test);
        }
        (problems.len() == before).then_some(Self { tests })
    }

    pub(crate) fn holds(&self, record: &Value) -> bool {
        let scope = Scope::whole(record);
        self.tests.iter().all(|test| match test {
            Test::OneOf(path, values) => path.find(scope).and_then(text_of).is_some_and(|text| values.contains(&text)),
            Test::Differs(left, right) => left.find(scope) != right.find(scope),
            Test::Not(condition) => !condition.holds(record),
        })
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

fn one_of(key: &Node, name: &str, value: &Node, problems: &mut Problems) -> Option<Test> {
    let Some(path) = Path::parse(name) else {
        problems.add(key, format!("\"{name}\" is not a path"), "write names with dots, as in `to_stage.category`");
        return None;
    };
    let values = match &value.value {
        Yaml::List(items) => items.iter().map(|item| item.text(problems).map(str::to_owned)).collect::<Option<_>>()?,
        _ => vec![value.text(problems)?.to_owned()],
    };
    if values.is_empty() {
        problems.add(value, "an empty list, which no record can meet", "name at least one value");
        return None;
    }
    Some(Test::OneOf(path, values))
}

fn differs(value: &Node, problems: &mut Problems) -> Option<Test> {
    let [left, right] = value.list(problems)? else {
        problems.add(value, "`differs` compares two paths", "write `differs: [from_stage.id, to_stage.id]`");
        return None;
    };
    Some(Test::Differs(read_path(left, problems)?, read_path(right, problems)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Condition, Problems> {
        let mut problems = Problems::new();
        let condition = Condition::read(&hirewire_yaml::parse("w.yaml", text).unwrap(), &mut problems);
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
    fn mistakes_come_at_once() {
        let problems = read("a..b: x\nc: []\ndiffers: [a]\nnot: 7\n").unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [1, 2, 3, 4], "{problems}");
    }
}
