//! Several requests of a system as one: how their bodies are joined, and where the answer speaks of each.
//!
//! In: `batch` of a system. Out: the body of many, and of an answer the status of each item. Paths of the answer begin as those
//! of `answers` do; those inside an item begin there.

use hirewire_yaml::{Node, Problems};
use serde_json::{Value, json};

use super::condition::read_path;
use super::path::{Path, Scope, text_of};
use super::template::Template;

#[derive(Debug)]
pub(crate) struct BatchPlan {
    /// `None`: a list of the bodies.
    body: Option<Template>,
    /// Statuses of an answer that speaks of each item.
    on: Vec<u16>,
    items: Path,
    /// Where an item repeats our key; `None`: items come in our order.
    key: Option<Path>,
    status: Path,
}

impl BatchPlan {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let body_node = map.get("body");
        let body = body_node.map_or(Some(None), |node| Template::read(node, problems).map(Some));
        let on = map.get("on").map_or(Some(vec![207]), |node| {
            let statuses = node.list(problems)?.iter().map(|item| u16::try_from(item.whole(200, problems)?).ok());
            statuses.collect::<Option<Vec<u16>>>()
        });
        let items = map.require("items", problems).and_then(|node| read_path(node, problems));
        let key = map.get("key").map_or(Some(None), |node| read_path(node, problems).map(Some));
        let status = map.require("status", problems).and_then(|node| read_path(node, problems));
        map.finish(problems);
        let body = body?;
        if let (Some(body), Some(node)) = (&body, body_node) {
            let mut paths = Vec::new();
            body.root_paths(false, &mut paths);
            for path in paths.into_iter().filter(|path| path.part() != "items") {
                let hint = "as in {fields: {events: {each: items, value: body}}}";
                problems.add(
                    node,
                    format!("\"{path}\" is not of the batch's `items` (each has `key` and `body`)"),
                    hint,
                );
            }
        }
        Some(Self { body, on: on?, items: items?, key: key?, status: status? })
    }

    /// `items`: keys and JSON bodies.
    pub(crate) fn write(&self, items: &[(String, Value)]) -> String {
        match &self.body {
            None => Value::Array(items.iter().map(|(_, body)| body.clone()).collect()).to_string(),
            Some(template) => {
                let items: Vec<Value> = items.iter().map(|(key, body)| json!({"key": key, "body": body})).collect();
                template.render(Scope::whole(&json!({"items": items}))).to_string()
            }
        }
    }

    pub(crate) fn speaks_of_each(&self, status: u16) -> bool {
        self.on.contains(&status)
    }

    /// The status of one of `all` items, and what the answer says of it. `None`: no word.
    pub(crate) fn item<'a>(&self, answer: &'a Value, at: usize, key: &str, all: usize) -> Option<(u16, &'a Value)> {
        let items: Vec<&Value> = self.items.elements(Scope::whole(answer)).collect();
        let item = match &self.key {
            Some(path) => {
                let is_ours = |item: &&&Value| path.find(Scope::whole(item)).and_then(text_of).as_deref() == Some(key);
                items.iter().find(is_ours).copied()?
            }
            None if items.len() == all => items.get(at).copied()?,
            None => return None,
        };
        let status = self.status.find(Scope::whole(item)).and_then(text_of)?.parse().ok()?;
        Some((status, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BatchPlan, Problems> {
        let mut problems = Problems::new();
        let plan = BatchPlan::read(&hirewire_yaml::parse("b.yaml", text).unwrap(), &mut problems);
        problems.into_result(plan)
    }

    #[test]
    fn items_are_found_by_their_place_or_by_their_key() {
        let by_place = read("{items: body.results, status: code}").unwrap();
        let answer =
            json!({"status": 207, "body": {"results": [{"code": 200, "id": "y"}, {"code": "422", "id": "x"}]}});
        let status = |plan: &BatchPlan, at, key, all| plan.item(&answer, at, key, all).map(|(status, _)| status);
        assert_eq!((status(&by_place, 0, "x", 2), status(&by_place, 1, "y", 2)), (Some(200), Some(422)));
        assert_eq!(status(&by_place, 0, "x", 3), None, "fewer than were sent: which are they?");
        let by_key = read("{items: body.results, key: id, status: code}").unwrap();
        assert_eq!((status(&by_key, 0, "x", 3), status(&by_key, 1, "y", 3)), (Some(422), Some(200)));
        assert_eq!(status(&by_key, 2, "z", 3), None);
        assert_eq!(by_key.item(&json!({"body": "no JSON"}), 0, "x", 1), None);
    }

    #[test]
    fn bodies_are_a_list_or_as_the_system_has_it() {
        let items = [("k".to_owned(), json!({"a": 1})), ("l".to_owned(), json!({"a": 2}))];
        assert_eq!(read("{items: body, status: s}").unwrap().write(&items), r#"[{"a":1},{"a":2}]"#);
        let own = "body: {fields: {events: {each: items, fields: {id: key, data: body}}}}\nitems: body\nstatus: s\n";
        let written: Value = serde_json::from_str(&read(own).unwrap().write(&items)).unwrap();
        assert_eq!(written["events"][1], json!({"id": "l", "data": {"a": 2}}));
    }

    #[test]
    fn mistakes_come_with_their_lines() {
        let told = read("body: {fields: {x: candidate.name}}\non: [99]\nitems: a b\n").unwrap_err().to_string();
        for expected in [
            "b.yaml:1: \"candidate.name\" is not of",
            "b.yaml:2: 99 is too small",
            "b.yaml:3: \"a b\"",
            "`status` is missing",
        ] {
            assert!(told.contains(expected), "{expected} not in {told}");
        }
    }
}
