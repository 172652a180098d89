//! How a request's body is written: JSON, a form, XML, or a line of CSV.
//!
//! In: a template and the tree it reads. Out: bytes. JSON takes any template; the others take `{fields: …}` and keep the
//! order of its fields. What they cannot nest is written as JSON text; what is absent is left out, in CSV an empty cell.

use hirewire_yaml::{Node, Problems};
use serde_json::Value;

use super::path::{Scope, text_of};
use super::template::Template;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    /// Without the fields that are null.
    SparseJson,
    /// `application/x-www-form-urlencoded`; a list repeats its name.
    Form,
    /// Fields are elements, those that begin with `@` attributes; a list repeats its element.
    Xml {
        root: String,
    },
    /// One line by RFC 4180, without a header.
    Csv,
}

impl Format {
    /// `json`, `json-without-nulls`, `form`, `csv`, or `{xml: ROOT}`.
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if node.scalar().is_some() {
            let known = [
                ("json", Self::Json),
                ("json-without-nulls", Self::SparseJson),
                ("form", Self::Form),
                ("csv", Self::Csv),
            ];
            return node.choice(&known, problems);
        }
        let (_, root) = node.tagged(&["xml"], problems)?;
        let name = root.text(problems)?;
        if !is_xml_name(name) {
            problems.add(root, format!("\"{name}\" is no name of an XML element"), "letters, digits, `_`, `-`, `.`");
            return None;
        }
        Some(Self::Xml { root: name.to_owned() })
    }

    pub(crate) const fn content_type(&self) -> &'static str {
        match self {
            Self::Json | Self::SparseJson => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
            Self::Xml { .. } => "application/xml",
            Self::Csv => "text/csv",
        }
    }

    /// Whether the template can be written so; if not, a mistake at `node`.
    pub(crate) fn check(&self, template: &Template, node: &Node, problems: &mut Problems) {
        let flat = matches!(self, Self::Form | Self::Csv | Self::Xml { .. });
        if flat && !matches!(template, Template::Object(_)) {
            problems.add(node, "a body of this format is made of fields", "write {fields: {name: path, …}}");
        }
        if let Self::Xml { .. } = self {
            let mut names = Vec::new();
            template.names(&mut names);
            for name in names.into_iter().filter(|name| !is_xml_name(name.strip_prefix('@').unwrap_or(name))) {
                problems.add(node, format!("\"{name}\" is no name of an XML element or attribute"), "");
            }
        }
    }

    pub(crate) fn write(&self, template: &Template, scope: Scope<'_>) -> String {
        match self {
            Self::Json => template.render(scope).to_string(),
            Self::SparseJson => without_nulls(template.render(scope)).to_string(),
            Self::Form => pairs(template, scope),
            Self::Xml { root } => {
                let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned();
                element(root, template, scope, &mut xml);
                xml
            }
            Self::Csv => {
                let cells = template.fields().iter().map(|(_, field)| cell(&flat_text(field.render(scope))));
                format!("{}\r\n", cells.collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// `name=value&…` of a template's fields, as forms and queries have it.
pub(super) fn pairs(template: &Template, scope: Scope<'_>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, field) in template.fields() {
        match field.render(scope) {
            Value::Null => {}
            Value::Array(items) => {
                for item in items {
                    form.append_pair(name, &flat_text(item));
                }
            }
            value => {
                form.append_pair(name, &flat_text(value));
            }
        }
    }
    form.finish()
}

/// A scalar's text; nothing for null; of what is nested its JSON.
fn flat_text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| (name, without_nulls(v))).collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        scalar => scalar,
    }
}

fn element(name: &str, template: &Template, scope: Scope<'_>, xml: &mut String) {
    match template {
        Template::Object(fields) => {
            xml.push('<');
            xml.push_str(name);
            for (field, inside) in fields {
                if let Some(attribute) = field.strip_prefix('@')
                    && let Some(text) = text_of(&inside.render(scope))
                {
                    xml.push_str(&format!(" {attribute}=\"{}\"", escaped(&text)));
                }
            }
            xml.push('>');
            for (field, inside) in fields.iter().filter(|(field, _)| !field.starts_with('@')) {
                element(field, inside, scope, xml);
            }
            xml.push_str(&format!("</{name}>"));
        }
        Template::From(path, inside) => {
            if let Some(here) = path.find(scope) {
                element(name, inside, scope.at(here), xml);
            }
        }
        Template::Each(path, inside) => {
            for here in path.elements(scope) {
                element(name, inside, scope.at(here), xml);
            }
        }
        Template::List(items) => items.iter().for_each(|item| element(name, item, scope, xml)),
        scalar => text_element(name, scalar.render(scope), xml),
    }
}

fn text_element(name: &str, value: Value, xml: &mut String) {
    match value {
        Value::Null => {}
        Value::Array(items) => items.into_iter().for_each(|item| text_element(name, item, xml)),
        value => xml.push_str(&format!("<{name}>{}</{name}>", escaped(&flat_text(value)))),
    }
}

/// For text and attributes. What XML 1.0 cannot hold becomes the replacement character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // As they are, parsers would read them as a space or a line's end.
            '\t' | '\n' | '\r' => escaped.push_str(&format!("&#{};", u32::from(c))),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn cell(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

fn is_xml_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write(format: &str, body: &str) -> Result<String, String> {
        let mut problems = Problems::new();
        let parse = |text: &str| hirewire_yaml::parse("b.yaml", text).unwrap();
        let (format, node) = (Format::read(&parse(format), &mut problems), parse(body));
        let template = Template::read(&node, &mut problems);
        if let (Some(format), Some(template)) = (&format, &template) {
            format.check(template, &node, &mut problems);
        }
        let root = json!({"name": "Zoë \"Z\" <O'Neil> & Co", "note": "a\tb\r\nc\u{1}", "list": ["x", "y,z"], "none": null,
            "deep": {"n": 1}, "items": [{"n": 1}, {"n": 2}], "flag": true});
        let (format, template) = problems.into_result(format.zip(template)).map_err(|problems| problems.to_string())?;
        Ok(format.write(&template, Scope::whole(&root)))
    }

    /// Fields that are not in the order of their names: the order is the template's.
    const FIELDS: &str = "fields: {z: name, list: list, a: flag, none: none, deep: deep}";

    #[test]
    fn each_format_keeps_the_order_and_escapes_what_it_must() {
        assert_eq!(
            write("form", FIELDS).unwrap(),
            "z=Zo%C3%AB+%22Z%22+%3CO%27Neil%3E+%26+Co&list=x&list=y%2Cz&a=true&deep=%7B%22n%22%3A1%7D"
        );
        assert_eq!(
            write("csv", FIELDS).unwrap(),
            "\"Zoë \"\"Z\"\" <O'Neil> & Co\",\"[\"\"x\"\",\"\"y,z\"\"]\",true,,\"{\"\"n\"\":1}\"\r\n"
        );
        let xml = write(
            "{xml: person}",
            "fields: {'@xmlns': {const: 'urn:x'}, '@id': name, z: name, list: list, note: note, none: none, gone: {from: none, \
             fields: {x: x}}, item: {each: items, fields: {'@n': n, m: n}}, deep: {from: deep, fields: {n: n}}}",
        );
        assert_eq!(
            xml.unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><person xmlns=\"urn:x\" id=\"Zoë &quot;Z&quot; &lt;O'Neil&gt; &amp; Co\">\
             <z>Zoë &quot;Z&quot; &lt;O'Neil&gt; &amp; Co</z><list>x</list><list>y,z</list><note>a&#9;b&#13;&#10;c\u{fffd}</note>\
             <item n=\"1\"><m>1</m></item><item n=\"2\"><m>2</m></item><deep><n>1</n></deep></person>"
        );
        assert_eq!(
            write("json-without-nulls", "fields: {a: flag, none: none, in: {fields: {none: none}}}").unwrap(),
            "{\"a\":true,\"in\":{}}"
        );
        assert_eq!(write("json", "fields: {none: none}").unwrap(), "{\"none\":null}");
    }

    #[test]
    fn what_a_format_cannot_write_is_refused_when_it_is_read() {
        for (format, body, told) in [
            ("form", "name", "a body of this format is made of fields"),
            ("yaml", FIELDS, "\"yaml\" is not known here"),
            ("{xml: a b}", FIELDS, "\"a b\" is no name of an XML element"),
            ("{xml: a}", "fields: {x: {fields: {'y z': name}}}", "\"y z\" is no name of an XML element or attribute"),
        ] {
            let refused = write(format, body).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
    }
}
