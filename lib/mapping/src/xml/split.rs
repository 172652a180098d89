//! A page of XML → its rows, each a document of its own, and what stands around them.

use super::tokens::{Token, Tokens};
use super::{Forms, XmlError, local, to_json};

/// Around a payload (SOAP 1.1, section 4), if it is there.
const ENVELOPE: [&str; 2] = ["Envelope", "Body"];

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// The local name of the payload: of the outermost element, or of the first one in the envelope's body.
    pub name: String,
    /// The exact bytes of each row; namespaces that were declared around it stand in its first tag.
    pub rows: Vec<Vec<u8>>,
    /// The payload without its rows, as JSON.
    pub rest: String,
}

/// An element that is open.
struct Open<'x> {
    name: &'x str,
    namespaces: Vec<(&'x str, &'x str)>,
}

/// A row that is being read.
struct Row {
    depth: usize,
    from: usize,
    bytes: Vec<u8>,
    /// Up to where `bytes` go.
    to: usize,
    /// The depth of an element that is left out, and where it begins.
    left_out: Option<(usize, usize)>,
}

/// Splits a page whose rows stand at `place`, local names from the payload down. Elements with a name of `leave_out` are
/// taken out of the rows. An empty `place` is the payload itself.
///
/// A row may hold letters and entities that make it unreadable: it is a row all the same, and [`to_json`] refuses it.
///
/// # Errors
/// When its tags are not those of XML, it has a document type, or what is around the rows cannot be read.
pub fn split(xml: &[u8], place: &[&str], leave_out: &[String]) -> Result<Split, XmlError> {
    let mut tokens = Tokens::tags(xml)?;
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut found = Split::default();
    // Its depth.
    let mut payload: Option<usize> = None;
    let (mut row, mut rest, mut rest_from): (Option<Row>, Vec<u8>, usize) = (None, Vec::new(), 0);
    loop {
        match tokens.next()? {
            Token::Open { name, namespaces, from, to, .. } => {
                let depth = open.len();
                open.push(Open { name: local(name), namespaces });
                let names = open.iter().map(|one| one.name);
                let enveloped = open.first().is_some_and(|outermost| outermost.name == ENVELOPE[0]);
                let begins = match enveloped {
                    true => depth == ENVELOPE.len() && names.clone().take(depth).eq(ENVELOPE),
                    false => depth == 0,
                };
                if begins && payload.is_none() {
                    payload = Some(depth);
                    found.name = local(name).to_owned();
                    rest_from = from;
                }
                match (&mut row, payload) {
                    (Some(row), _) if row.left_out.is_none() && leave_out.iter().any(|out| out == local(name)) => {
                        row.left_out = Some((depth, from));
                    }
                    (None, Some(top)) if names.skip(top + 1).eq(place.iter().copied()) => {
                        let bytes = first_tag(xml, name, &open, from, to);
                        row = Some(Row { depth, from, bytes, to, left_out: None });
                    }
                    _ => {}
                }
            }
            Token::Close { to, .. } => {
                open.pop();
                let depth = open.len();
                if let Some(reading) = &mut row
                    && let Some((out, from)) = reading.left_out
                    && out == depth
                {
                    reading.bytes.extend_from_slice(xml.get(reading.to..from).unwrap_or_default());
                    (reading.to, reading.left_out) = (to, None);
                }
                if let Some(mut read) = row.take_if(|row| row.depth == depth) {
                    read.bytes.extend_from_slice(xml.get(read.to..to).unwrap_or_default());
                    found.rows.push(read.bytes);
                    rest.extend_from_slice(xml.get(rest_from..read.from).unwrap_or_default());
                    rest_from = to;
                }
                if payload == Some(depth) && found.rest.is_empty() {
                    rest.extend_from_slice(xml.get(rest_from..to).unwrap_or_default());
                    match rest.is_empty() {
                        true => found.rest.push_str("null"),
                        false => to_json(&rest, &Forms::default(), &mut found.rest)?,
                    }
                }
            }
            Token::Text(_) => {}
            Token::End => return Ok(found),
        }
    }
}

/// The first tag of a row, with the namespaces that were declared around it.
fn first_tag(xml: &[u8], name: &str, open: &[Open<'_>], from: usize, to: usize) -> Vec<u8> {
    let name_to = from + 1 + name.len();
    let mut bytes = xml.get(from..name_to).unwrap_or_default().to_vec();
    let (own, around) = open.split_last().map_or((None, open), |(own, around)| (Some(own), around));
    let mut known: Vec<&str> = own.iter().flat_map(|own| &own.namespaces).map(|(name, _)| *name).collect();
    // The innermost declaration counts.
    for (declared, namespace) in around.iter().rev().flat_map(|one| &one.namespaces) {
        if !known.contains(declared) {
            known.push(declared);
            // A value has no quotes of the kind that it stood in.
            let quotes = if namespace.contains('"') { '\'' } else { '"' };
            bytes.extend_from_slice(format!(" {declared}={quotes}{namespace}{quotes}").as_bytes());
        }
    }
    bytes.extend_from_slice(xml.get(name_to..to).unwrap_or_default());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<?xml version=\"1.0\"?>\n<s:Envelope xmlns:s='soap' xmlns:w=\"old\"><s:Header><w:Row/></s:Header><s:Body xmlns:w='u&amp;v'>\
        <w:Answer w:version='1'><w:Total>2</w:Total><w:Data>\n <w:Row x='1' ><w:A>\u{e4}</w:A><w:File>b<w:File/></w:File><w:B/></w:Row>\
        <w:Other><w:Row/></w:Other><w:Row xmlns:w='own'/></w:Data></w:Answer></s:Body></s:Envelope>";

    fn rows(split: &Split) -> Vec<&str> {
        split.rows.iter().map(|row| std::str::from_utf8(row).unwrap()).collect()
    }

    #[test]
    fn a_row_is_its_exact_bytes_with_the_namespaces_around_it() {
        let split = split(PAGE.as_bytes(), &["Data", "Row"], &[]).unwrap();
        assert_eq!(
            rows(&split),
            [
                "<w:Row xmlns:w=\"u&amp;v\" xmlns:s=\"soap\" x='1' ><w:A>\u{e4}</w:A><w:File>b<w:File/></w:File><w:B/></w:Row>",
                "<w:Row xmlns:s=\"soap\" xmlns:w='own'/>"
            ]
        );
        assert_eq!(split.name, "Answer");
        assert_eq!(split.rest, r#"{"@version":"1","Total":"2","Data":{"Other":{"Row":null}}}"#);
    }

    #[test]
    fn what_is_left_out_leaves_nothing_and_all_else_as_it_was() {
        let split = split(PAGE.as_bytes(), &["Data", "Row"], &["File".to_owned()]).unwrap();
        assert_eq!(
            rows(&split)[0],
            "<w:Row xmlns:w=\"u&amp;v\" xmlns:s=\"soap\" x='1' ><w:A>\u{e4}</w:A><w:B/></w:Row>"
        );
    }

    #[test]
    fn a_row_that_cannot_be_read_is_a_row_and_the_others_are_none_the_worse() {
        for bad in ["\u{1}", "&nbsp;", "&#0;", "<A x='&y;'/>"] {
            let page = PAGE.replace("<w:B/>", bad);
            let split = split(page.as_bytes(), &["Data", "Row"], &[]).unwrap();
            assert_eq!(split.rows.len(), 2, "{bad}");
            let read = |row: &[u8]| to_json(row, &Forms::default(), &mut String::new());
            assert!(
                rows(&split)[0].contains(bad) && read(&split.rows[0]).is_err() && read(&split.rows[1]).is_ok(),
                "{bad}"
            );
            // Around the rows it is another thing.
            let around = PAGE.replace("<w:Total>", &format!("<w:Total>{bad}"));
            assert!(super::split(around.as_bytes(), &["Data", "Row"], &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_envelope_may_be_missing_and_the_payload_may_be_the_row() {
        let bare = "<w:Answer xmlns:w='u'><Data><Row>1</Row></Data></w:Answer>";
        assert_eq!(rows(&split(bare.as_bytes(), &["Data", "Row"], &[]).unwrap()), ["<Row xmlns:w=\"u\">1</Row>"]);
        let whole = split(PAGE.as_bytes(), &[], &[]).unwrap();
        assert_eq!((whole.rows.len(), whole.rest.as_str()), (1, "null"));
        assert!(rows(&whole)[0].starts_with("<w:Answer xmlns:w=\"u&amp;v\" xmlns:s=\"soap\" w:version='1'>"));
        assert_eq!(split(b"<s:Envelope xmlns:s='u'><s:Body/></s:Envelope>", &["a"], &[]).unwrap(), Split::default());
    }

    #[test]
    fn a_page_that_is_cut_off_anywhere_has_no_rows() {
        for end in (0..PAGE.len()).filter(|end| PAGE.is_char_boundary(*end)) {
            assert!(split(PAGE.get(..end).unwrap().as_bytes(), &["Data", "Row"], &[]).is_err(), "{end}");
        }
    }
}
