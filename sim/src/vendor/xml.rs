//! Rows, requests and faults as XML: what stands in a row, told as the tree that JSON of the same would be.

use quick_xml::Reader;
use quick_xml::XmlVersion::Implicit1_0;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::body::{at, scalar};
use crate::rules::{Rules, SoapRules, Stream};

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// The exact text of a row.
pub(super) fn text(rules: &Rules, stream: &Stream, row: &Value) -> String {
    let Some(soap) = rules.soap.as_ref().filter(|_| stream.operation.is_some()) else { return row.to_string() };
    // Both namespaces are declared in the row's own tag, so that it stays as it is when it is taken out of its answer.
    let mut out = String::new();
    let declared = format!(" xmlns:wd=\"{}\" xmlns:env=\"{ENVELOPE}\"", escaped(&soap.namespace));
    element(name(rules, stream), &declared, row, &mut out);
    out
}

/// The name of a row's element: the last of its place.
fn name<'r>(rules: &'r Rules, stream: &'r Stream) -> &'r str {
    stream.place(rules).as_deref().and_then(|place| place.rsplit('.').next()).unwrap_or("Row")
}

/// An answer by SOAP: `rest` around the rows, which stand at the stream's place. Without rows there is no such place.
pub(super) fn answer(rules: &Rules, stream: &Stream, rest: &Value, rows: &[Value]) -> String {
    let Some(soap) = &rules.soap else { return String::new() };
    let operation = stream.operation.as_deref().unwrap_or_default();
    let mut out = envelope();
    out.push_str(&format!("<wd:{operation}_Response xmlns:wd=\"{}\">", escaped(&soap.namespace)));
    for (name, value) in rest.as_object().into_iter().flatten() {
        element(name, "", value, &mut out);
    }
    let place = stream.place(rules).as_deref().unwrap_or_default();
    let around: Vec<&str> = place.rsplit_once('.').map_or(Vec::new(), |(around, _)| around.split('.').collect());
    if !rows.is_empty() {
        around.iter().for_each(|name| out.push_str(&format!("<wd:{name}>")));
        rows.iter().for_each(|row| out.push_str(&text(rules, stream, row)));
        around.iter().rev().for_each(|name| out.push_str(&format!("</wd:{name}>")));
    }
    out.push_str(&format!("</wd:{operation}_Response></env:Body></env:Envelope>"));
    out
}

/// A fault with this code.
pub(super) fn fault(code: &str) -> String {
    let code = escaped(code);
    format!(
        "{}<env:Fault><faultcode>SOAP-ENV:{code}</faultcode><faultstring>a fault</faultstring></env:Fault></env:Body></env:Envelope>",
        envelope()
    )
}

fn envelope() -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><env:Envelope xmlns:env=\"{ENVELOPE}\"><env:Body>")
}

fn element(name: &str, declared: &str, value: &Value, out: &mut String) {
    if let Value::Array(items) = value {
        return items.iter().for_each(|item| element(name, declared, item, out));
    }
    out.push_str(&format!("<wd:{name}{declared}"));
    let members = value.as_object();
    for (key, value) in members.into_iter().flatten() {
        if let Some(attribute) = key.strip_prefix('@') {
            out.push_str(&format!(" wd:{attribute}=\"{}\"", escaped(&scalar(value).unwrap_or_default())));
        }
    }
    out.push('>');
    match members {
        None => out.push_str(&escaped(&scalar(value).unwrap_or_default())),
        Some(members) => {
            for (key, value) in members.iter().filter(|(key, _)| !key.starts_with('@')) {
                match key.as_str() {
                    "#text" => out.push_str(&escaped(&scalar(value).unwrap_or_default())),
                    name => element(name, "", value, out),
                }
            }
        }
    }
    out.push_str(&format!("</wd:{name}>"));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The rows of an answer by SOAP; `None`: it is none.
pub(super) fn rows(answer: &[u8], place: &str) -> Option<Vec<Value>> {
    let (name, tree) = tree(answer)?;
    let payload = match name.as_str() {
        "Envelope" => at(&tree, "Body")?.as_object()?.values().next()?.clone(),
        name if place.rsplit('.').next() == Some(name) => return Some(vec![tree]),
        _ => tree,
    };
    Some(match at(&payload, place)?.clone() {
        Value::Array(rows) => rows,
        row => vec![row],
    })
}

/// An element that is open.
struct Open {
    name: String,
    members: Map<String, Value>,
    text: String,
}

/// The name of the outermost element, and the tree that JSON of the same would be: `@name` for an attribute, `#text` for text
/// beside them, a list of several elements of one name. Names are local ones. The simulator's own reading, for it shares no
/// code with what it judges.
fn tree(document: &[u8]) -> Option<(String, Value)> {
    let mut reader = Reader::from_str(std::str::from_utf8(document).ok()?);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Open> = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => open.push(Open::of(&tag)?),
            Event::Text(text) => {
                if let Some(inner) = open.last_mut() {
                    inner.text.push_str(&text.xml10_content());
                }
            }
            Event::GeneralRef(name) => {
                let letter = match name.as_ref() {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ => return None,
                };
                open.last_mut()?.text.push(letter);
            }
            Event::End(_) => {
                let ended = open.pop()?;
                let (name, value) = (ended.name.clone(), ended.value());
                match open.last_mut() {
                    None => return Some((name, value)),
                    Some(around) => around.add(name, value),
                }
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

impl Open {
    fn of(tag: &BytesStart<'_>) -> Option<Self> {
        let local = |name: &str| name.rsplit(':').next().map(str::to_owned);
        let mut members = Map::new();
        for attribute in tag.attributes() {
            let attribute = attribute.ok()?;
            if !attribute.key.as_ref().starts_with("xmlns") {
                let value = attribute.normalized_value(Implicit1_0).ok()?;
                members.insert(format!("@{}", local(attribute.key.as_ref())?), value.as_ref().into());
            }
        }
        Some(Self { name: local(tag.name().as_ref())?, members, text: String::new() })
    }

    fn add(&mut self, name: String, value: Value) {
        match self.members.get_mut(&name) {
            None => {
                self.members.insert(name, value);
            }
            Some(Value::Array(items)) => items.push(value),
            Some(first) => *first = vec![first.take(), value].into(),
        }
    }

    fn value(mut self) -> Value {
        let text = self.text.trim();
        match (self.members.is_empty(), text.is_empty()) {
            (true, true) => Value::Null,
            (true, false) => self.text.into(),
            (false, true) => self.members.into(),
            (false, false) => {
                let text = text.to_owned();
                self.members.insert("#text".to_owned(), text.into());
                self.members.into()
            }
        }
    }
}

/// A request by SOAP.
pub(super) struct Request {
    pub(super) operation: String,
    /// User and password, if the envelope has them.
    pub(super) login: Option<(String, String)>,
    /// Path in the request → text.
    pub(super) params: Vec<(String, String)>,
    /// Whether its elements stand in the order of the rules.
    pub(super) ordered: bool,
}

impl Request {
    /// `None`: it is no request by SOAP.
    pub(super) fn read(soap: &SoapRules, body: &[u8]) -> Option<Self> {
        let (_, envelope) = tree(body)?;
        let (name, content) = at(&envelope, "Body")?.as_object()?.iter().next()?;
        let token = at(&envelope, "Header.Security.UsernameToken");
        let login = token.and_then(|token| {
            Some((at(token, "Username").and_then(scalar)?, at(token, "Password.#text").and_then(scalar)?))
        });
        let mut params = Vec::new();
        leaves(content, "", &mut params);
        let operation = name.strip_suffix("_Request")?.to_owned();
        Some(Self { operation, login, params, ordered: is_ordered(body, &soap.order) })
    }
}

fn leaves(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match scalar(value) {
            Some(text) => found.push((path, text)),
            None => leaves(value, &path, found),
        }
    }
}

/// Whether the elements of `order` that are there stand one behind the other.
fn is_ordered(body: &[u8], order: &[String]) -> bool {
    let body = String::from_utf8_lossy(body);
    let found = order.iter().filter_map(|name| body.find(&format!(":{name}>")));
    found.is_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let row = serde_json::json!({
            "Ref": {"@Descriptor": "A \"&\" <B>", "ID": [{"@type": "WID", "#text": "a"}, {"@type": "Code", "#text": "b"}]},
            "Empty": null,
            "Name": "Zo\u{eb}",
        });
        let mut out = String::new();
        element("Row", " xmlns:wd=\"urn:x\"", &row, &mut out);
        assert_eq!(tree(out.as_bytes()), Some(("Row".to_owned(), row)));
    }

    #[test]
    fn a_request_is_its_leaves_and_who_asks() {
        let soap = SoapRules {
            namespace: "urn:x".to_owned(),
            count: "R.Count".to_owned(),
            as_of: None,
            order: ["Page", "Count"].map(str::to_owned).into(),
            login: "Client.login".to_owned(),
        };
        let body = |inner: &str| {
            format!(
                "<s:Envelope xmlns:s=\"e\" xmlns:w=\"u\"><s:Header><o:Security xmlns:o=\"o\"><o:UsernameToken><o:Username>me</o:Username>\
                 <o:Password Type=\"t\">secret</o:Password></o:UsernameToken></o:Security></s:Header><s:Body><w:Get_Jobs_Request>{inner}</w:Get_Jobs_Request></s:Body></s:Envelope>"
            )
        };
        let read = Request::read(&soap, body("<w:F><w:Page>2</w:Page><w:Count>9</w:Count></w:F>").as_bytes()).unwrap();
        assert_eq!((read.operation.as_str(), read.ordered), ("Get_Jobs", true));
        assert_eq!(read.login, Some(("me".to_owned(), "secret".to_owned())));
        assert_eq!(
            read.params,
            [("F.Page", "2"), ("F.Count", "9")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
        );
        let wrong = Request::read(&soap, body("<w:F><w:Count>9</w:Count><w:Page>2</w:Page></w:F>").as_bytes()).unwrap();
        assert!(!wrong.ordered);
        assert!(Request::read(&soap, b"{}").is_none());
    }
}
