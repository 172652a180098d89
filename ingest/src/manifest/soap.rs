//! Lists that are asked for by SOAP: what all of them have in common, and the body of each request, element by element.

use std::collections::BTreeMap;

use hirewire_mapping::xml::Forms;
use hirewire_yaml::{Map, Node, Problems, Value, did_you_mean};

use super::values::{list_path, optional, required_path};
use crate::json::Path;

/// What all requests by SOAP have in common.
#[derive(Debug)]
pub struct Soap {
    /// Of the elements and attributes of a request.
    pub namespace: String,
    /// Behind the base URL, of lists that have no path of their own.
    pub(crate) path: String,
    /// Where an answer says how many rows it holds, below its payload.
    pub(crate) count: Path,
    /// The parameter that takes the instant up to which a list is read: the same for all its pages, so that none moves.
    pub(crate) as_of: Option<String>,
    /// How answers are read where an element is not all there is to say.
    pub forms: Forms,
    /// Codes of faults that mean that the login does not work, without their prefix.
    pub(crate) login: Vec<String>,
}

/// An element of a request, with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Text(String),
    /// The parameter of this name.
    Param(String),
    Elements(Vec<Element>),
}

impl Soap {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let namespace = map.require("namespace", problems).and_then(|node| node.name(problems));
        let at = map.require("path", problems).and_then(|node| list_path(node, &[], problems));
        let count = required_path(&mut map, "count", problems);
        let as_of = map.get("as_of").map(|node| node.name(problems).map(str::to_owned));
        let keyed = map.get("keyed").map_or(Some(BTreeMap::new()), |node| keyed(node, problems));
        let login = match map.get("login") {
            None => Some(Vec::new()),
            Some(node) => node
                .list(problems)
                .map(|codes| codes.iter().filter_map(|code| code.name(problems).map(str::to_owned)).collect()),
        };
        map.finish(problems);
        Some(Self {
            namespace: namespace?.to_owned(),
            path: at?.to_owned(),
            count: count?,
            as_of: optional(as_of)?,
            forms: Forms { keyed: keyed?, ..Forms::default() },
            login: login?,
        })
    }
}

/// `{ID: type}`: an element, and the attribute that tells several of it apart.
fn keyed(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let mut map = node.map(problems)?;
    map.entries().map(|(_, name, attribute)| Some((name.to_owned(), attribute.name(problems)?.to_owned()))).collect()
}

impl Element {
    /// Reads `{Get_Jobs_Request: {…}}`, the one element of a request.
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let mut entries = map.entries();
        let Some((key, name, content)) = entries.next() else {
            problems.add(node, "a request without an element", "write {Get_Jobs_Request: {…}}");
            return None;
        };
        if let Some((key, _, _)) = entries.next() {
            problems.add(key, "a second element", "a request has one, and all others in it");
        }
        Self::named(key, name, content, problems)
    }

    fn named(key: &Node, name: &str, node: &Node, problems: &mut Problems) -> Option<Self> {
        if !is_name(name) {
            problems.add(key, format!("\"{name}\" is no name of an element"), "letters, digits, `_`, `-`, `.`");
        }
        let (mut attributes, mut elements, mut text) = (Vec::new(), Vec::new(), None);
        let Value::Map(_) = &node.value else {
            let content = Content::scalar(node, problems)?;
            return Some(Self { name: name.to_owned(), attributes, content });
        };
        for (key, name, value) in node.map(problems)?.entries() {
            match name.strip_prefix('@') {
                Some(attribute) if is_name(attribute) => {
                    attributes.push((attribute.to_owned(), value.text(problems)?.to_owned()));
                }
                Some(attribute) => {
                    problems.add(key, format!("\"{attribute}\" is no name of an attribute"), "write @type");
                }
                None if name == "#text" => text = Content::scalar(value, problems),
                None => {
                    let items = if let Value::List(items) = &value.value {
                        items.as_slice()
                    } else {
                        std::slice::from_ref(value)
                    };
                    elements.extend(items.iter().filter_map(|item| Self::named(key, name, item, problems)));
                }
            }
        }
        let content = match text {
            None => Content::Elements(elements),
            Some(text) if elements.is_empty() => text,
            Some(_) => {
                problems.add(node, "text and elements in one element", "a request has the one or the other");
                return None;
            }
        };
        Some(Self { name: name.to_owned(), attributes, content })
    }

    /// The names of parameters in it.
    fn params(&self) -> Vec<&str> {
        match &self.content {
            Content::Text(_) => Vec::new(),
            Content::Param(name) => vec![name],
            Content::Elements(elements) => elements.iter().flat_map(Self::params).collect(),
        }
    }

    /// Each parameter of the list has its place, and each place a parameter.
    pub(super) fn check_params(&self, node: &Node, list: &str, sent: &[&str], problems: &mut Problems) {
        let placed = self.params();
        for name in placed.iter().filter(|name| !sent.contains(name)) {
            let hint = did_you_mean(name, sent.iter().copied());
            problems.add(node, format!("the list {list} sends no parameter \"{name}\""), hint);
        }
        for name in sent.iter().filter(|name| !placed.contains(name)) {
            let hint = format!("write \"{{{name}}}\" where the request takes it");
            problems.add(node, format!("the parameter \"{name}\" has no place in the request for {list}"), hint);
        }
    }

    /// Writes the element, if a constant or a parameter that is sent stands in it, each name with `prefix`.
    pub(crate) fn write(&self, prefix: &str, value_of: &dyn Fn(&str) -> Option<String>, out: &mut String) -> bool {
        let start = out.len();
        out.push_str(&format!("<{prefix}:{}", self.name));
        for (name, value) in &self.attributes {
            out.push_str(&format!(" {prefix}:{name}=\"{}\"", escaped(value)));
        }
        out.push('>');
        let written = match &self.content {
            Content::Text(text) => {
                out.push_str(&escaped(text));
                true
            }
            Content::Param(name) => value_of(name).map(|value| out.push_str(&escaped(&value))).is_some(),
            Content::Elements(elements) => {
                elements.iter().fold(false, |written, element| element.write(prefix, value_of, out) | written)
            }
        };
        match written {
            true => out.push_str(&format!("</{prefix}:{}>", self.name)),
            false => out.truncate(start),
        }
        written
    }

    /// The element that holds all others is there in any case.
    pub(crate) fn write_whole(&self, prefix: &str, value_of: &dyn Fn(&str) -> Option<String>, out: &mut String) {
        if !self.write(prefix, value_of, out) {
            out.push_str(&format!("<{prefix}:{}/>", self.name));
        }
    }
}

impl Content {
    /// `"{page}"` is a parameter, all else a text.
    fn scalar(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = node.text(problems)?;
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Some(Self::Param(name.to_owned())),
            None if !text.contains(['{', '}']) => Some(Self::Text(text.to_owned())),
            _ => {
                problems.add(node, format!("\"{text}\" is neither a text nor a parameter"), "write \"{page}\" alone");
                None
            }
        }
    }
}

/// A part of an XML name that needs no other alphabet.
fn is_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_') && name.bytes().all(rest)
}

/// A text as it stands in an element or attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\u{22}' => out.push_str("&quot;"),
            letter => out.push(letter),
        }
    }
    out
}

/// The keys of a list that are only for one that is asked for by SOAP: `request` and `leave_out`.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) request: Option<Element>,
    /// Names of elements that are taken out of a row before it is kept.
    pub(super) leave_out: Vec<String>,
}

impl Asked {
    pub(super) fn read(map: &mut Map<'_>, soap: Option<&Soap>, problems: &mut Problems) -> Option<Self> {
        let (request, leave_out) = (map.get("request"), map.get("leave_out"));
        let Some(request) = request else {
            if let Some(node) = leave_out {
                problems.add(node, "`leave_out` without `request`", "it is for rows of XML");
            }
            return leave_out.is_none().then(Self::default);
        };
        if soap.is_none() {
            problems.add(request, "`request` without `api.soap`", "say which namespace and path requests by SOAP have");
        }
        let names = |node: &Node, problems: &mut Problems| -> Option<Vec<String>> {
            node.list(problems)?.iter().map(|item| item.name(problems).map(str::to_owned)).collect()
        };
        let leave_out = leave_out.map_or(Some(Vec::new()), |node| names(node, problems));
        let request = Element::read(request, problems);
        Some(Self { request: Some(request?), leave_out: leave_out? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(text: &str) -> Result<Element, String> {
        let node = hirewire_yaml::parse("m.yaml", text).unwrap();
        let mut problems = Problems::new();
        let read = Element::read(&node, &mut problems);
        problems.into_result(read).map_err(|problems| problems.to_string())
    }

    fn written(text: &str, params: &[(&str, &str)]) -> String {
        let mut out = String::new();
        let value_of =
            |name: &str| params.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        element(text).unwrap().write_whole("r", &value_of, &mut out);
        out
    }

    #[test]
    fn a_request_holds_what_is_sent_in_the_order_written_and_nothing_else() {
        let request = "Get: {Where: {Range: {From: \"{from}\", To: \"{to}\"}}, Filter: {Page: \"{page}\", Count: 100}, Which: {ID: {\"@type\": WID, \"#text\": \"{id}\"}}, With: [{A: 1}, {B: \"<&\"}]}";
        assert_eq!(
            written(request, &[]),
            "<r:Get><r:Filter><r:Count>100</r:Count></r:Filter><r:With><r:A>1</r:A></r:With><r:With><r:B>&lt;&amp;</r:B></r:With></r:Get>"
        );
        let all = written(request, &[("from", "a"), ("to", "b"), ("page", "2"), ("id", "x\"</r:ID><r:Evil/>")]);
        assert_eq!(
            all,
            "<r:Get><r:Where><r:Range><r:From>a</r:From><r:To>b</r:To></r:Range></r:Where><r:Filter><r:Page>2</r:Page><r:Count>100</r:Count></r:Filter>\
             <r:Which><r:ID r:type=\"WID\">x&quot;&lt;/r:ID&gt;&lt;r:Evil/&gt;</r:ID></r:Which><r:With><r:A>1</r:A></r:With><r:With><r:B>&lt;&amp;</r:B></r:With></r:Get>"
        );
        assert_eq!(written("Get: {Page: \"{page}\"}", &[]), "<r:Get/>");
    }

    /// A manifest with these lines of `api` and of its list.
    fn manifest(soap: &str, list: &str) -> String {
        let text = format!(
            "vendor: x\napi:\n  base_url: {{per_connection: https://x.example}}\n  auth: {{username_token: {{}}}}\n  soap: {soap}\n  \
             paging: {{page_number: {{param: page, total: R.Pages}}}}\n  window: {{from: f, to: t, both: true, untold: true}}\n  lag: 0s\n  overlap: 0s\n  \
             streams:\n    jobs: {{subject: {{Job: ID.WID}}, {list}}}\n"
        );
        crate::manifest::Manifest::parse("m.yaml", &text).err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_request_has_a_place_for_each_parameter_and_no_other() {
        let soap =
            "{namespace: urn:x, path: a/v1, count: R.Count, as_of: at, keyed: {ID: type}, login: [Client.login]}";
        let all = "request: {Get: {F: \"{f}\", T: \"{t}\", At: \"{at}\", P: \"{page}\"}}, rows: D.J";
        assert_eq!(manifest(soap, all), "");
        assert_eq!(
            manifest(soap, "request: {Get: {F: \"{f}\", T: \"{t}\", At: \"{at}\"}}, paged: false, rows: D.J"),
            ""
        );
        for (soap, list, message) in [
            (
                soap,
                "request: {Get: {F: \"{f}\", T: \"{to}\", At: \"{at}\", P: \"{page}\"}}",
                "m.yaml:11: the list jobs sends no parameter \"to\" (did you mean \"t\"?)",
            ),
            (
                soap,
                "request: {Get: {F: \"{f}\", T: \"{t}\", At: \"{at}\"}}",
                "m.yaml:11: the parameter \"page\" has no place in the request for jobs (write \"{page}\"",
            ),
            (soap, "leave_out: [A]", "m.yaml:11: `leave_out` without `request`"),
            (soap, "url: {per_connection: https://x.example/a}, path: b", "`path` beside `url`"),
            (soap, "url: {per_connection: http://x.example/a}", "a URL that cannot be used here"),
            (
                "{namespace: urn:x, path: a, cout: R.Count}",
                "path: a",
                "m.yaml:5: unknown key \"cout\" (did you mean \"count\"?)",
            ),
            ("{namespace: urn:x, path: /a, count: R.Count}", "path: a", "\"/a\" is not the path of a list"),
            ("{namespace: urn:x, path: a, count: R.Count, keyed: {ID: [a]}}", "path: a", "expected"),
        ] {
            let found = manifest(soap, list);
            assert!(found.contains(message), "{soap} {list}: {found}");
        }
        let text = "vendor: x\napi:\n  base_url: https://x.example\n  auth: {username_token: {a: b}}\n  paging: {page_number: {param: page}}\n  lag: 0s\n  overlap: 0s\n  \
                    streams: {jobs: {subject: {Job: id}, whole: true, request: {Get: {}}}}\n";
        let told = crate::manifest::Manifest::parse("m.yaml", text).unwrap_err().to_string();
        for message in
            ["m.yaml:4: unknown key \"a\"", "m.yaml:5: `last` is missing", "m.yaml:8: `request` without `api.soap`"]
        {
            assert!(told.contains(message), "{message}: {told}");
        }
    }

    #[test]
    fn what_is_no_element_is_told() {
        for (text, message) in [
            ("{}", "a request without an element"),
            ("{a: 1, b: 2}", "a second element"),
            ("{\"a b\": 1}", "\"a b\" is no name of an element"),
            ("{a: {\"@x y\": 1}}", "\"x y\" is no name of an attribute"),
            ("{a: {\"#text\": x, b: 1}}", "text and elements in one element"),
            ("{a: {b: \"{page} of\"}}", "\"{page} of\" is neither a text nor a parameter"),
            ("{a: {b: \"{}\"}}", "neither a text nor a parameter"),
        ] {
            let found = element(text).unwrap_err();
            assert!(found.starts_with("m.yaml:1: ") && found.contains(message), "{text}: {found}");
        }
    }
}
