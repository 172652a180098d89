//! The safe part of XML, one piece after the other: what is no data is left out, what is not allowed is an error.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{MAX_ATTRIBUTES, MAX_DEPTH, XmlError, XmlFault};

/// A piece of a document; places are bytes of it.
pub(super) enum Token<'x> {
    Open {
        /// With its prefix.
        name: &'x str,
        /// With their prefixes; declarations of namespaces are not among them.
        attributes: Vec<(&'x str, String)>,
        /// Declarations of namespaces, as they stand there: `xmlns:a="b"`.
        namespaces: Vec<(&'x str, &'x str)>,
        from: usize,
        to: usize,
    },
    /// Ends behind this byte.
    Close { to: usize },
    /// Of an element; what stands around the outermost one is none.
    Text(Cow<'x, str>),
    /// The document was whole.
    End,
}

pub(super) struct Tokens<'x> {
    text: &'x str,
    /// Bytes in front of `text`.
    skipped: usize,
    reader: Reader<&'x [u8]>,
    depth: usize,
    begun: bool,
    /// Whether letters and entities are judged. If not, what stands between tags is passed unread.
    strict: bool,
}

impl<'x> Tokens<'x> {
    pub(super) fn new(xml: &'x [u8]) -> Result<Self, XmlError> {
        let tokens = Self::tags(xml)?;
        if let Some(at) = tokens.text.bytes().position(|byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) {
            return Err(XmlError { fault: XmlFault::Syntax("a letter that XML forbids"), at: at + tokens.skipped });
        }
        Ok(Self { strict: true, ..tokens })
    }

    /// For the places of tags alone: a row that cannot be read does not spoil the page that it came in.
    pub(super) fn tags(xml: &'x [u8]) -> Result<Self, XmlError> {
        let text =
            std::str::from_utf8(xml).map_err(|error| XmlError { fault: XmlFault::Utf8, at: error.valid_up_to() })?;
        let whole = text;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_comments = true;
        Ok(Self { text, skipped: whole.len() - text.len(), reader, depth: 0, begun: false, strict: false })
    }

    fn at(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    fn wrong<T>(&self, what: &'static str) -> Result<T, XmlError> {
        Err(XmlError { fault: XmlFault::Syntax(what), at: self.at() + self.skipped })
    }

    pub(super) fn next(&mut self) -> Result<Token<'x>, XmlError> {
        loop {
            let from = self.at();
            let Ok(event) = self.reader.read_event() else { return self.wrong("its tags do not fit") };
            match event {
                Event::Start(tag) => return self.open(&tag, from),
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Token::Close { to: self.at() + self.skipped });
                }
                Event::Text(text) if self.depth == 0 => {
                    if !text.trim().is_empty() {
                        return self.wrong("text outside of the outermost element");
                    }
                }
                Event::Text(text) => return Ok(Token::Text(text.xml10_content())),
                Event::CData(_) | Event::GeneralRef(_) if self.depth == 0 => {
                    return self.wrong("text outside of the outermost element");
                }
                Event::CData(text) => return Ok(Token::Text(text.xml10_content())),
                Event::GeneralRef(_) if !self.strict => {}
                Event::GeneralRef(name) => {
                    let letter = match name.resolve_char_ref() {
                        Ok(Some(letter)) => Some(letter).filter(|letter| allowed(*letter)),
                        Ok(None) => predefined(&name),
                        Err(_) => None,
                    };
                    match letter {
                        Some(letter) => return Ok(Token::Text(Cow::Owned(letter.to_string()))),
                        None => return self.wrong("an entity that is not allowed"),
                    }
                }
                Event::DocType(_) => return self.wrong("a document type"),
                Event::Decl(declaration) => {
                    let encoding = match declaration.encoding() {
                        None => None,
                        Some(Ok(encoding)) => Some(encoding),
                        Some(Err(_)) => return self.wrong("a broken declaration"),
                    };
                    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("utf-8")) {
                        return self.wrong("an encoding other than UTF-8");
                    }
                }
                Event::Comment(_) | Event::PI(_) => {}
                Event::Empty(_) => return self.wrong("its tags do not fit"),
                Event::Eof if self.begun && self.depth == 0 => return Ok(Token::End),
                Event::Eof => return self.wrong("it ends too early"),
            }
        }
    }

    fn open(&mut self, tag: &BytesStart<'x>, from: usize) -> Result<Token<'x>, XmlError> {
        if self.depth == 0 && std::mem::replace(&mut self.begun, true) {
            return self.wrong("a second outermost element");
        }
        if self.depth == MAX_DEPTH {
            return Err(XmlError { fault: XmlFault::TooDeep, at: from + self.skipped });
        }
        self.depth += 1;
        // The tag's own views live no longer than it.
        let length = tag.name().0.len();
        let name = self.text.get(from + 1..from + 1 + length).filter(|name| is_name(name));
        let Some(name) = name else { return self.wrong("an element without a name") };
        let (mut attributes, mut namespaces) = (Vec::new(), Vec::new());
        for (index, attribute) in tag.attributes().enumerate() {
            if index == MAX_ATTRIBUTES {
                return self.wrong("an element with too many attributes");
            }
            let Ok(attribute) = attribute else {
                return self.wrong("a broken attribute, or one that stands there twice");
            };
            let Some(key) = within(self.text, attribute.key.0).filter(|key| is_name(key)) else {
                return self.wrong("an attribute without a name");
            };
            if key == "xmlns" || key.starts_with("xmlns:") {
                namespaces.push((key, within(self.text, &attribute.value).unwrap_or_default()));
                continue;
            }
            if !self.strict {
                continue;
            }
            let Ok(value) = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0) else {
                return self.wrong("an entity that is not allowed");
            };
            if !value.chars().all(allowed) {
                return self.wrong("a letter that XML forbids");
            }
            attributes.push((key, value.into_owned()));
        }
        Ok(Token::Open { name, attributes, namespaces, from: from + self.skipped, to: self.at() + self.skipped })
    }
}

/// `part` as a part of `whole`, which it points into.
fn within<'x>(whole: &'x str, part: &str) -> Option<&'x str> {
    let from = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    whole.get(from..from + part.len())
}

fn is_name(name: &str) -> bool {
    name.split(':').all(|part| !part.is_empty()) && !name.contains(['"', '\'', '<', '>', '&', '='])
}

/// Char of XML 1.0, section 2.2.
fn allowed(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}
