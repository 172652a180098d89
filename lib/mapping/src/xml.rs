//! XML → the tree that JSON of the same would be, as JSON text; and a page of XML → its rows.
//!
//! An element is a member with its local name; namespaces do not count. An element with attributes or elements inside is
//! an object: `@name` for an attribute, `#text` for text beside them. One with nothing but text is that text, one with
//! nothing at all, or with space alone, is null, as is one with `xsi:nil="true"`. Elements of one name are a list if
//! [`Forms`] say that the name is one of a list, also if there is but one; if they do not, two of them are a list, which
//! no path for a single value reads. Elements that an attribute tells apart (`<ID type="a">1</ID>`) are one object, with a
//! member for each, in whatever order they stand: `{"ID": {"a": "1"}}`.
//!
//! Written decisions: UTF-8 only. No document type, so no entity but the five that XML has and references to letters:
//! nothing is ever expanded or fetched. Elements nest up to [`MAX_DEPTH`], one has up to [`MAX_ATTRIBUTES`] attributes.
//! Comments and instructions are no data. Line ends are `\n`. Letters that XML 1.0 forbids are an error.

mod split;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::show::quote;
pub use split::{Split, split};
use tokens::{Token, Tokens};

/// Elements inside elements. In JSON twice as many, as each may be a list of one.
pub const MAX_DEPTH: usize = 60;
/// Of one element: they are compared with each other.
pub const MAX_ATTRIBUTES: usize = 256;

/// What cannot be seen in one payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forms {
    /// Names of elements that are always in a list.
    pub lists: BTreeSet<String>,
    /// Names of elements whose texts are members of an object, and the attribute that names each.
    pub keyed: BTreeMap<String, String>,
}

/// Why a text is not taken for XML. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XmlError {
    pub fault: XmlFault,
    /// The byte at which it was seen.
    pub at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XmlFault {
    Utf8,
    TooDeep,
    Syntax(&'static str),
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            XmlFault::Utf8 => write!(f, "not UTF-8 at byte {}", self.at),
            XmlFault::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} elements at byte {}", self.at),
            XmlFault::Syntax(what) => write!(f, "not XML at byte {}: {what}", self.at),
        }
    }
}

impl std::error::Error for XmlError {}

/// Whether a text can only be XML: no JSON begins so.
#[must_use]
pub fn is_xml(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
}

/// Appends the content of the outermost element as JSON.
///
/// # Errors
/// When it is no XML, or more than the limits allow. `out` holds nothing of use then.
pub fn to_json(xml: &[u8], forms: &Forms, out: &mut String) -> Result<(), XmlError> {
    let mut tree = Tree { nodes: Vec::new(), forms };
    tree.read(xml)?;
    tree.value(0, out);
    Ok(())
}

struct Node<'x> {
    name: &'x str,
    attributes: Vec<(&'x str, String)>,
    text: String,
    nil: bool,
    children: Vec<usize>,
}

struct Tree<'x, 'f> {
    /// In the order of the text; the first is the outermost.
    nodes: Vec<Node<'x>>,
    forms: &'f Forms,
}

impl<'x> Tree<'x, '_> {
    fn read(&mut self, xml: &'x [u8]) -> Result<(), XmlError> {
        let mut tokens = Tokens::new(xml)?;
        let mut open: Vec<usize> = Vec::new();
        loop {
            match tokens.next()? {
                Token::Open { name, attributes, .. } => {
                    let node = self.nodes.len();
                    if let Some(parent) = open.last().and_then(|parent| self.nodes.get_mut(*parent)) {
                        parent.children.push(node);
                    }
                    let mut own = Vec::with_capacity(attributes.len());
                    let mut nil = false;
                    for (qualified, value) in attributes {
                        match qualified.rsplit_once(':') {
                            Some((_, "nil")) if matches!(value.as_str(), "true" | "1") => nil = true,
                            Some((_, name)) => own.push((name, value)),
                            None => own.push((qualified, value)),
                        }
                    }
                    self.nodes.push(Node {
                        name: local(name),
                        attributes: own,
                        text: String::new(),
                        nil,
                        children: Vec::new(),
                    });
                    open.push(node);
                }
                Token::Close { .. } => {
                    open.pop();
                }
                Token::Text(text) => {
                    if let Some(node) = open.last().and_then(|node| self.nodes.get_mut(*node)) {
                        node.text.push_str(&text);
                    }
                }
                Token::End => return Ok(()),
            }
        }
    }

    /// As deep as the elements nest, which has a limit.
    fn value(&self, node: usize, out: &mut String) {
        let Some(node) = self.nodes.get(node) else { return };
        let has_text = !node.text.trim().is_empty();
        if node.attributes.is_empty() && node.children.is_empty() {
            match has_text && !node.nil {
                true => quote(&node.text, out),
                false => out.push_str("null"),
            }
            return;
        }
        out.push('{');
        let mut first = true;
        let mut key = |mark: &str, name: &str, out: &mut String| {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            quote(&format!("{mark}{name}"), out);
            out.push(':');
        };
        for (name, value) in &node.attributes {
            key("@", name, out);
            quote(value, out);
        }
        if has_text {
            key("#", "text", out);
            quote(&node.text, out);
        }
        for (name, same) in self.by_name(&node.children) {
            key("", name, out);
            if let Some(attribute) = self.forms.keyed.get(name)
                && self.members(attribute, &same, out)
            {
                continue;
            }
            let list = same.len() > 1 || self.forms.lists.contains(name);
            if list {
                out.push('[');
            }
            for (index, child) in same.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                self.value(*child, out);
            }
            if list {
                out.push(']');
            }
        }
        out.push('}');
    }

    /// Texts that nothing but an attribute stands beside, as an object. `false`: they are others, and nothing was written.
    fn members(&self, attribute: &str, same: &[usize], out: &mut String) -> bool {
        let member = |node: &usize| {
            let node = self.nodes.get(*node)?;
            let [(name, value)] = node.attributes.as_slice() else { return None };
            (*name == attribute && node.children.is_empty()).then_some((value.as_str(), node.text.as_str()))
        };
        let Some(members) = same.iter().map(member).collect::<Option<Vec<_>>>() else { return false };
        out.push('{');
        for (index, (name, text)) in members.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            quote(name, out);
            out.push(':');
            quote(text, out);
        }
        out.push('}');
        true
    }

    /// Elements of the same name together, in the order of the first of each.
    fn by_name(&self, children: &[usize]) -> Vec<(&'x str, Vec<usize>)> {
        let name = |child: &usize| self.nodes.get(*child).map_or("", |node| node.name);
        let mut sorted = children.to_vec();
        // Stable: those of one name stay in their order.
        sorted.sort_by_key(name);
        let mut groups: Vec<(&str, Vec<usize>)> = sorted
            .chunk_by(|one, other| name(one) == name(other))
            .map(|same| (same.first().map_or("", name), same.to_vec()))
            .collect();
        groups.sort_by_key(|(_, same)| same.first().copied());
        groups
    }
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms() -> Forms {
        let lists = ["ID".to_owned(), "Site".to_owned()].into();
        Forms { lists, keyed: [("Ref".to_owned(), "type".to_owned())].into() }
    }

    fn json(xml: &str) -> String {
        let mut out = String::new();
        to_json(xml.as_bytes(), &forms(), &mut out).unwrap();
        out
    }

    fn fault(xml: &str) -> XmlFault {
        to_json(xml.as_bytes(), &Forms::default(), &mut String::new()).unwrap_err().fault
    }

    #[test]
    fn an_element_is_a_member_by_its_local_name_and_what_is_a_list_is_said_and_not_counted() {
        assert_eq!(
            json(
                "<w:A xmlns:w='u'><w:Name>Zo\u{eb} &amp; \"Co\"</w:Name><w:Ref w:Descriptor='d'><w:ID w:type='WID'>1</w:ID></w:Ref><Empty/></w:A>"
            ),
            "{\"Name\":\"Zo\u{eb} & \\\"Co\\\"\",\"Ref\":{\"@Descriptor\":\"d\",\"ID\":[{\"@type\":\"WID\",\"#text\":\"1\"}]},\"Empty\":null}"
        );
        // Others stand between; one that no one declared is a list when there are two.
        assert_eq!(
            json("<A><Site>a</Site><B>1</B><Site>b</Site><B>2</B><C>x</C></A>"),
            r#"{"Site":["a","b"],"B":["1","2"],"C":"x"}"#
        );
        assert_eq!(json("<A><Site>a</Site></A>"), r#"{"Site":["a"]}"#);
        assert_eq!(json("<ID>1</ID>"), "\"1\"", "the outermost element has no name");
    }

    #[test]
    fn elements_that_an_attribute_tells_apart_are_one_object_in_any_order() {
        assert_eq!(json("<A><Ref w:type='a'>1</Ref><B/><Ref type='b'/></A>"), r#"{"Ref":{"a":"1","b":""},"B":null}"#);
        // The name alone does not make it so.
        assert_eq!(json("<A><Ref>1</Ref></A>"), r#"{"Ref":"1"}"#);
        assert_eq!(json("<A><Ref type='a' x='y'>1</Ref></A>"), r##"{"Ref":{"@type":"a","@x":"y","#text":"1"}}"##);
        assert_eq!(
            json("<A><Ref type='a'><B/></Ref><Ref type='b'>2</Ref></A>"),
            r##"{"Ref":[{"@type":"a","B":null},{"@type":"b","#text":"2"}]}"##
        );
    }

    #[test]
    fn text_is_kept_as_it_is_and_space_between_elements_is_nothing() {
        assert_eq!(
            json("<A>\n  <B> two  words </B>\n  <C>\n</C><D xmlns:i='u' i:nil='true'/><E x='1'/></A>"),
            r#"{"B":" two  words ","C":null,"D":null,"E":{"@x":"1"}}"#
        );
        assert_eq!(json("<A><B>a<!-- no --><![CDATA[<b>&amp;]]>c&#x41;&lt;</B></A>"), r#"{"B":"a<b>&amp;cA<"}"#);
        assert_eq!(json("<A>one<B>2</B>three</A>"), r##"{"#text":"onethree","B":"2"}"##);
        assert_eq!(
            json("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<A><B>x\r\ny</B></A>\n<!-- end -->"),
            r#"{"B":"x\ny"}"#
        );
    }

    #[test]
    fn nothing_is_expanded_and_nothing_is_fetched() {
        for bomb in [
            "<!DOCTYPE a [<!ENTITY x 'ha'><!ENTITY y '&x;&x;&x;&x;'>]><a>&y;</a>",
            "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
            "<!DOCTYPE a [<!ENTITY x SYSTEM 'http://127.0.0.1/'>]><a>&x;</a>",
            "<a><!DOCTYPE b></a>",
        ] {
            assert_eq!(fault(bomb), XmlFault::Syntax("a document type"), "{bomb}");
        }
        for entity in [
            "<a>&nbsp;</a>",
            "<a b='&x;'/>",
            "<a>&#0;</a>",
            "<a>&#xFFFE;</a>",
            "<a>&#x1;</a>",
            "<a>&;</a>",
            "<a b='&#1;'/>",
        ] {
            assert!(matches!(fault(entity), XmlFault::Syntax(_)), "{entity}");
        }
    }

    #[test]
    fn what_is_not_xml_is_refused_and_never_repeated() {
        for wrong in [
            "",
            " ",
            "text",
            "{}",
            "<",
            "<a",
            "<a>",
            "<a></b>",
            "<a><b></a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>text",
            "text<a/>",
            "<a>&</a>",
            "<a b='1' b='2'/>",
            "<a b=1/>",
            "<a b/>",
            "<a><![CDATA[x</a>",
            "<a><!-- x</a>",
            "<a>\u{1}</a>",
            "<a>\u{0}</a>",
            "<?xml version='1.0' encoding='latin-1'?><a/>",
            "<><a/></>",
            "<a:/>",
        ] {
            let error = to_json(wrong.as_bytes(), &Forms::default(), &mut String::new()).unwrap_err();
            assert!(matches!(error.fault, XmlFault::Syntax(_)), "{wrong}: {error}");
        }
        let error =
            to_json(b"<secret><SECRET></secret>", &Forms::default(), &mut String::new()).unwrap_err().to_string();
        assert!(!error.to_lowercase().contains("secret"), "{error}");
        assert_eq!(
            to_json(b"<a>\xff\xfe</a>", &Forms::default(), &mut String::new()).unwrap_err(),
            XmlError { fault: XmlFault::Utf8, at: 3 }
        );
        let utf16: Vec<u8> = "<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(to_json(&[b"\xff\xfe", utf16.as_slice()].concat(), &Forms::default(), &mut String::new()).is_err());
    }

    #[test]
    fn depth_attributes_and_siblings_have_a_bound_in_depth_and_in_time() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(to_json(nested(MAX_DEPTH).as_bytes(), &forms(), &mut String::new()).is_ok());
        assert_eq!(fault(&nested(MAX_DEPTH + 1)), XmlFault::TooDeep);
        assert_eq!(fault(&"<a>".repeat(1_000_000)), XmlFault::TooDeep);
        let attributes = |count: usize| format!("<a {}/>", (0..count).map(|n| format!("a{n}='' ")).collect::<String>());
        assert!(to_json(attributes(MAX_ATTRIBUTES).as_bytes(), &forms(), &mut String::new()).is_ok());
        assert!(matches!(fault(&attributes(100_000)), XmlFault::Syntax(_)));
        // Each with a name of its own: compared one with each other this would take hours.
        let siblings: String = (0..300_000).map(|n| format!("<a{n}/>")).collect();
        let mut out = String::new();
        to_json(format!("<r>{siblings}</r>").as_bytes(), &Forms::default(), &mut out).unwrap();
        assert!(out.starts_with("{\"a0\":null,\"a1\":null"));
    }

    #[test]
    fn the_first_byte_tells_xml_from_json() {
        for xml in ["<a/>", "\u{feff}<a/>", " \r\n\t<a/>", "<"] {
            assert!(is_xml(xml.as_bytes()), "{xml}");
        }
        for other in ["", "{\"a\":\"<\"}", "[]", "null", "\"<\"", "a<"] {
            assert!(!is_xml(other.as_bytes()), "{other}");
        }
    }
}
