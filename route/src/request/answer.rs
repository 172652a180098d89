//! What an answer means beyond its status, and the id of what it tells was created, as data.
//!
//! In: `answers` of a system and `creates` of a request. Out: a [`Meaning`] and an id of an [`Answer`]. Paths of both
//! begin with `status`, `location` (`id`: the last piece of its path) or `body`: JSON, or a short text.

use std::sync::Arc;

use hirewire_yaml::{Node, Problems};
use serde_json::{Value, json};

use super::body::pairs;
use super::condition::{Condition, read_path};
use super::path::{Path, Scope, text_of};
use super::template::Template;
use super::url_path::UrlPath;

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Delivered,
    /// Another try may succeed.
    Retry,
    /// This record will never be taken.
    Refused,
    Unauthorized,
    Forbidden,
    Gone,
}

/// One line of `answers`.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    when: Condition,
    pub(crate) meaning: Meaning,
    /// For people: what the receiver says without repeating it.
    pub(crate) says: Arc<str>,
}

/// An answer, as far as it was read.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) location: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// A longer text says nothing that a rule could look for.
const LONGEST_TEXT: usize = 256;
/// A longer one is no id.
const LONGEST_ID: usize = 256;

impl Answer<'_> {
    pub(crate) fn tree(&self) -> Value {
        let text = || std::str::from_utf8(self.body).ok().map(str::trim).filter(|text| text.len() <= LONGEST_TEXT);
        let body = serde_json::from_slice(self.body).unwrap_or_else(|_| text().map_or(Value::Null, Value::from));
        let path = self.location.map(|location| location.split(['?', '#']).next().unwrap_or_default());
        let id = path.and_then(|path| path.trim_end_matches('/').rsplit('/').next());
        json!({"status": self.status, "location": {"id": id}, "body": body})
    }
}

pub(crate) fn read_rules(node: &Node, problems: &mut Problems) -> Option<Vec<Rule>> {
    let read: Vec<Option<Rule>> = node.list(problems)?.iter().map(|item| Rule::read(item, problems)).collect();
    read.into_iter().collect()
}

impl Rule {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let when = map.require("when", problems).and_then(|node| Condition::read(node, &[], problems));
        let known = [
            ("delivered", Meaning::Delivered),
            ("retry", Meaning::Retry),
            ("refused", Meaning::Refused),
            ("unauthorized", Meaning::Unauthorized),
            ("forbidden", Meaning::Forbidden),
            ("gone", Meaning::Gone),
        ];
        let meaning = map.require("means", problems).and_then(|node| node.choice(&known, problems));
        let says = map.require("says", problems).and_then(|node| node.name(problems)).map(Arc::from);
        map.finish(problems);
        Some(Self { when: when?, meaning: meaning?, says: says? })
    }
}

/// The first rule that holds of an answer's tree.
pub(crate) fn rule<'a>(rules: &'a [Rule], tree: &Value) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.when.holds(tree))
}

/// Where a receiver tells the id of what it has created; and how to ask for it when it says that it was there already.
#[derive(Debug, Clone)]
pub(crate) struct Creates {
    id: Path,
    find: Option<Find>,
}

#[derive(Debug, Clone)]
struct Find {
    /// Statuses of an answer that say so.
    on: Vec<u16>,
    path: UrlPath,
    query: Template,
    id: Path,
}

impl Creates {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let id = map.require("id", problems).and_then(|node| read_path(node, problems));
        let find = map.get("find").map_or(Some(None), |node| Find::read(node, problems).map(Some));
        map.finish(problems);
        Some(Self { id: id?, find: find? })
    }

    /// The paths of the record that its search is made of.
    pub(super) fn root_paths<'a>(&'a self, found: &mut Vec<&'a Path>) {
        if let Some(find) = &self.find {
            found.extend(find.path.paths());
            find.query.root_paths(false, found);
        }
    }

    /// Those of its search's URL.
    pub(super) fn url_paths(&self) -> impl Iterator<Item = &Path> {
        self.find.iter().flat_map(|find| find.path.paths())
    }

    /// # Errors
    /// The paths of the search's URL that lead to nothing.
    pub(super) fn render(&self, scope: Scope<'_>) -> Result<Created, Vec<String>> {
        let search = |find: &Find| {
            let (path, query) = (find.path.render(scope)?, query(&find.query, scope));
            Ok::<_, Vec<String>>(Search { on: find.on.clone(), path, query, id: find.id.clone() })
        };
        Ok(Created { id: self.id.clone(), search: self.find.as_ref().map(search).transpose()? })
    }
}

impl Find {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let on = map.require("on", problems).and_then(|node| {
            let statuses = node.list(problems)?.iter().map(|item| u16::try_from(item.whole(400, problems)?).ok());
            statuses.collect::<Option<Vec<u16>>>()
        });
        let path = map.require("path", problems).and_then(|node| UrlPath::read(node, problems));
        let query = map.require("query", problems).and_then(|node| read_query(node, problems));
        let id = map.require("id", problems).and_then(|node| read_path(node, problems));
        map.finish(problems);
        Some(Self { on: on?, path: path?, query: query?, id: id? })
    }
}

/// `{name: template, …}`.
pub(super) fn read_query(node: &Node, problems: &mut Problems) -> Option<Template> {
    Template::read_fields(node, problems)
}

/// The query of a URL: a space is `%20`, which every receiver reads.
pub(super) fn query(template: &Template, scope: Scope<'_>) -> String {
    pairs(template, scope).replace('+', "%20")
}

/// [`Creates`] for one request.
#[derive(Debug, Clone)]
pub(crate) struct Created {
    id: Path,
    pub(crate) search: Option<Search>,
}

#[derive(Debug, Clone)]
pub(crate) struct Search {
    on: Vec<u16>,
    pub(crate) path: String,
    pub(crate) query: String,
    id: Path,
}

impl Created {
    pub(crate) fn id(&self, tree: &Value) -> Option<String> {
        id_at(&self.id, tree)
    }
}

impl Search {
    pub(crate) fn is_for(&self, status: u16) -> bool {
        self.on.contains(&status)
    }

    pub(crate) fn id(&self, tree: &Value) -> Option<String> {
        id_at(&self.id, tree)
    }
}

/// A text that can be an id: printable, without anything that would have to be undone first.
fn id_at(path: &Path, tree: &Value) -> Option<String> {
    let id = path.find(Scope::whole(tree)).and_then(text_of)?;
    let fine = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_graphic() && b != b'%');
    fine.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(status: u16, location: Option<&str>, body: &str) -> Value {
        Answer { status, location, body: body.as_bytes() }.tree()
    }

    #[test]
    fn the_first_rule_that_holds_says_what_an_answer_means() {
        let text = "[{when: {status: 200, body.ok: true}, means: delivered, says: taken},
            {when: {body.error: [ratelimited, fatal_error]}, means: retry, says: busy},
            {when: {status: 200}, means: refused, says: no},
            {when: {body: maintenance}, means: retry, says: closed}]";
        let mut problems = Problems::new();
        let rules = read_rules(&hirewire_yaml::parse("a.yaml", text).unwrap(), &mut problems);
        let rules = problems.into_result(rules).unwrap();
        let meaning = |status, body: &str| rule(&rules, &tree(status, None, body)).map(|rule| rule.meaning);
        assert_eq!(meaning(200, r#"{"ok": true}"#), Some(Meaning::Delivered));
        assert_eq!(meaning(200, r#"{"ok": false, "error": "ratelimited"}"#), Some(Meaning::Retry));
        assert_eq!(meaning(200, r#"{"ok": "tr"#), Some(Meaning::Refused), "half an answer is no success");
        assert_eq!(meaning(200, ""), Some(Meaning::Refused));
        assert_eq!(meaning(503, " maintenance\n"), Some(Meaning::Retry));
        assert_eq!(meaning(503, &"maintenance".repeat(100)), None);
        assert_eq!(meaning(500, r#"{"ok": true}"#), None, "the status decides");
    }

    #[test]
    fn an_id_stands_in_the_body_or_at_the_end_of_a_location() {
        let id = |path: &str, tree: &Value| id_at(&Path::parse(path).unwrap(), tree);
        let scim =
            tree(201, Some("https://x.example/v2/Users/2819c223?a=/b#/c"), r#"{"id": 7, "list": [{"id": "x"}]}"#);
        assert_eq!(id("location.id", &scim).as_deref(), Some("2819c223"));
        assert_eq!(id("body.id", &scim).as_deref(), Some("7"));
        assert_eq!(id("body.list[0].id", &scim).as_deref(), Some("x"));
        let named = |location: &str| id("location.id", &tree(201, Some(location), ""));
        assert_eq!(named("/api/v1/employees/123/").as_deref(), Some("123"));
        for none in ["/", "", "/users/a%2Fb", "/users/a b", &format!("/users/{}", "x".repeat(300))] {
            assert_eq!(named(none), None, "{none}");
        }
        assert_eq!(id("location.id", &tree(201, None, "{}")), None);
    }

    #[test]
    fn mistakes_come_with_their_lines() {
        let mut problems = Problems::new();
        let text = "- {when: {status: 200}, means: ok, says: x}\n- {when: {}, means: retry}\n";
        assert!(read_rules(&hirewire_yaml::parse("a.yaml", text).unwrap(), &mut problems).is_none());
        let text = "id: body.id\nfind: {on: [200], path: Users, query: {filter: 'a b'}, id: body.id}\n";
        assert!(Creates::read(&hirewire_yaml::parse("c.yaml", text).unwrap(), &mut problems).is_none());
        let told = problems.to_string();
        for expected in [
            "a.yaml:1: \"ok\" is not known",
            "a.yaml:2: `says` is missing",
            "c.yaml:2: 200 is too small",
            "\"Users\" is not a path of a URL",
            "\"a b\" is not a path",
        ] {
            assert!(told.contains(expected), "{expected} not in {told}");
        }
    }
}
