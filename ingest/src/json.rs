//! Finding single values and list elements in JSON text without parsing the rest of it.
//!
//! Bytes in, byte ranges out: a range is exactly what stands in the source, so that nothing is ever re-serialised.
//! The scan checks what finding needs (strings, brackets, separators on the way) and leaves the rest to the mapping,
//! which dead-letters what it cannot read: one bad row must not stop the list it came in. Never recursive, so that
//! deep nesting costs no stack. Of duplicate keys the first counts.

use std::borrow::Cow;
use std::ops::Range;

/// More open brackets than this are refused.
const MAX_DEPTH: usize = 100_000;

/// The answer is not a whole JSON document with a list where one should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAList {
    #[error("the body ends before its JSON does, or is not JSON")]
    Broken,
    #[error("there is no list at the place that the manifest names")]
    Absent,
}

/// Keys from the document's root to a value, written `payload.application.id`; empty is the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<String>);

impl Path {
    /// Parses keys separated by dots. `None` when a key is empty.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let keys: Vec<String> = text.split('.').map(str::to_owned).collect();
        keys.iter().all(|key| !key.is_empty()).then_some(Self(keys))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// The text of the string or number at `path`; `None` if there is none, or it is empty, null or a boolean.
#[must_use]
pub(crate) fn scalar(body: &[u8], path: &Path) -> Option<String> {
    let raw = find(body, path)?;
    match raw.first()? {
        b'"' => unquote(raw).map(Cow::into_owned).filter(|text| !text.is_empty()),
        b'-' | b'0'..=b'9' => std::str::from_utf8(raw).ok().map(str::to_owned),
        _ => None,
    }
}

/// Whether nothing stands at `path`, or null.
#[must_use]
pub(crate) fn is_null(body: &[u8], path: &Path) -> bool {
    find(body, path).is_none_or(|raw| raw == b"null")
}

/// Whether null stands at `path` of a document that is whole.
#[must_use]
pub(crate) fn says_null(body: &[u8], path: &Path) -> bool {
    starting_with(b'n', body, path).is_ok()
}

/// The boolean at `path`; `None` if there is none.
#[must_use]
pub(crate) fn truth(body: &[u8], path: &Path) -> Option<bool> {
    match find(body, path)? {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// The byte range of each element of the list at `path`.
///
/// # Errors
/// When the document is cut off or not JSON, or when there is no list at `path`.
pub(crate) fn elements(body: &[u8], path: &Path) -> Result<Vec<Range<usize>>, NotAList> {
    let list = starting_with(b'[', body, path)?;
    let mut scanner = Scanner { bytes: body, at: list.start + 1 };
    let mut ranges = Vec::new();
    if scanner.take(b']') {
        return Ok(ranges);
    }
    loop {
        ranges.push(scanner.value().ok_or(NotAList::Broken)?);
        if scanner.take(b']') {
            return Ok(ranges);
        }
        if !scanner.take(b',') {
            return Err(NotAList::Broken);
        }
    }
}

/// The byte range of the value of each member of the object at `path`.
///
/// # Errors
/// When the document is cut off or not JSON, or when there is no object at `path`.
pub(crate) fn members(body: &[u8], path: &Path) -> Result<Vec<Range<usize>>, NotAList> {
    // What PHP makes of an object without members.
    if let Ok(list) = elements(body, path)
        && list.is_empty()
    {
        return Ok(list);
    }
    let object = starting_with(b'{', body, path)?;
    let mut scanner = Scanner { bytes: body, at: object.start + 1 };
    let mut ranges = Vec::new();
    if scanner.take(b'}') {
        return Ok(ranges);
    }
    loop {
        scanner.space();
        scanner.string().ok_or(NotAList::Broken)?;
        if !scanner.take(b':') {
            return Err(NotAList::Broken);
        }
        ranges.push(scanner.value().ok_or(NotAList::Broken)?);
        if scanner.take(b'}') {
            return Ok(ranges);
        }
        if !scanner.take(b',') {
            return Err(NotAList::Broken);
        }
    }
}

/// The texts and numbers at `path`, of each element where a list stands on the way. None twice.
#[must_use]
pub(crate) fn scalars(body: &[u8], path: &Path) -> Vec<String> {
    let mut places = vec![body];
    for key in &path.0 {
        let step = Path(vec![key.clone()]);
        places = places.into_iter().flat_map(each).filter_map(|place| find(place, &step)).collect();
    }
    let mut found: Vec<String> = Vec::new();
    for text in places.into_iter().flat_map(each).filter_map(|place| scalar(place, &Path::default())) {
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

/// The elements of a list, or what is none.
fn each(value: &[u8]) -> Vec<&[u8]> {
    match elements(value, &Path::default()) {
        Ok(ranges) => ranges.into_iter().filter_map(|range| value.get(range)).collect(),
        Err(_) => vec![value],
    }
}

/// The byte ranges of the values at `paths`, in their order in `body`. None lies in another.
#[must_use]
pub(crate) fn places(body: &[u8], paths: &[Path]) -> Vec<Range<usize>> {
    let mut ranges: Vec<_> = paths.iter().filter_map(|path| range_of(body, 0..body.len(), path)).collect();
    ranges.sort_by_key(|range| range.start);
    let mut end = 0;
    ranges.retain(|range| {
        let apart = range.start >= end;
        end = end.max(range.end);
        apart
    });
    ranges
}

/// The byte range of the object at `path`.
///
/// # Errors
/// When the document is cut off or not JSON, or when there is no object at `path`.
pub(crate) fn object(body: &[u8], path: &Path) -> Result<Range<usize>, NotAList> {
    starting_with(b'{', body, path)
}

/// The byte range of the value at `path` of a document that is whole, if it begins with `first`.
fn starting_with(first: u8, body: &[u8], path: &Path) -> Result<Range<usize>, NotAList> {
    let mut whole = Scanner { bytes: body, at: 0 };
    let document = whole.value().ok_or(NotAList::Broken)?;
    whole.space();
    if whole.at != body.len() {
        return Err(NotAList::Broken);
    }
    let range = range_of(body, document, path).ok_or(NotAList::Absent)?;
    if body.get(range.start) == Some(&first) { Ok(range) } else { Err(NotAList::Absent) }
}

fn find<'a>(body: &'a [u8], path: &Path) -> Option<&'a [u8]> {
    body.get(range_of(body, 0..body.len(), path)?)
}

/// Walks down from the value in `from`. Looks only at what stands before the wanted value.
fn range_of(body: &[u8], from: Range<usize>, path: &Path) -> Option<Range<usize>> {
    let mut scanner = Scanner { bytes: body, at: from.start };
    for key in &path.0 {
        scanner.member(key)?;
    }
    scanner.value()
}

/// The text of a JSON string with its quotes. Borrowed where it has no escapes.
fn unquote(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.get(1..raw.len().checked_sub(1)?)?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(raw).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes `byte` if it comes next, after spaces.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Moves to the value of `key` in the object that starts here.
    fn member(&mut self, key: &str) -> Option<()> {
        if !self.take(b'{') {
            return None;
        }
        loop {
            self.space();
            let start = self.at;
            self.string()?;
            let found = unquote(self.bytes.get(start..self.at)?).is_some_and(|name| name == key);
            if !self.take(b':') {
                return None;
            }
            if found {
                return Some(());
            }
            self.value()?;
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// Passes a string, quotes included.
    fn string(&mut self) -> Option<()> {
        if self.peek() != Some(b'"') {
            return None;
        }
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..)?;
            self.at += memchr::memchr2(b'"', b'\\', rest)?;
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 2,
            }
        }
    }

    /// Passes one value and says where it stands.
    fn value(&mut self) -> Option<Range<usize>> {
        self.space();
        let start = self.at;
        let mut open = Vec::new();
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                bracket @ (b'{' | b'[') if open.len() < MAX_DEPTH => {
                    open.push(bracket);
                    self.at += 1;
                    continue;
                }
                bracket @ (b'}' | b']') => {
                    // '{' and '}' are two apart in ASCII, as are '[' and ']'.
                    if open.pop() != Some(bracket - 2) {
                        return None;
                    }
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if !open.is_empty() => {
                    self.at += 1;
                    continue;
                }
                b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                    self.at += self.bytes.get(self.at..)?.iter().take_while(|byte| word(byte)).count();
                    // A number or word at the very end of the bytes may have been cut off, but only as a whole
                    // document, which no list is.
                }
                _ => return None,
            }
            if open.is_empty() {
                return Some(start..self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn texts(body: &str, at: &Path) -> Vec<String> {
        let ranges = elements(body.as_bytes(), at).unwrap();
        ranges.into_iter().map(|range| body.get(range).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_scalar_is_found_wherever_it_stands() {
        let body = br#"{"action":"x","n":null,"payload":{"other":{"id":1},"application":{"id":4031896006, "name":"a\u003cb"}}}"#;
        assert_eq!(scalar(body, &path("payload.application.id")).unwrap(), "4031896006");
        assert_eq!(scalar(body, &path("payload.application.name")).unwrap(), "a<b");
        assert_eq!(scalar(body, &path("action")).unwrap(), "x");
        for absent in ["n", "payload", "payload.id", "action.id", "payload.application.id.x"] {
            assert_eq!(scalar(body, &path(absent)), None, "{absent}");
        }
    }

    #[test]
    fn null_is_said_by_a_document_that_is_whole() {
        assert!(says_null(b"{\"data\":{\"job\":null}}", &path("data.job")));
        for other in ["{\"data\":{\"job\":null}", "{\"data\":{}}", "{\"data\":{\"job\":{}}}", "null"] {
            assert!(!says_null(other.as_bytes(), &path("data.job")), "{other}");
        }
    }

    #[test]
    fn a_boolean_is_no_word_and_no_number() {
        let body = br#"{"a":true,"b":false,"c":"true","d":1,"e":null,"f":trueish}"#;
        let read = |at: &str| truth(body, &path(at));
        assert_eq!((read("a"), read("b")), (Some(true), Some(false)));
        for none in ["c", "d", "e", "f", "g"] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn a_key_written_with_escapes_is_the_same_key_and_of_two_the_first_counts() {
        assert_eq!(scalar(br#"{"\u0069d":7,"id":8}"#, &path("id")).unwrap(), "7");
    }

    #[test]
    fn what_is_not_json_has_no_scalars_and_no_panic() {
        for body in [
            "",
            "{",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "a=b&c=d",
            "\u{0}",
            "[1]",
            "{]",
            "{\"b\":1 \"a\":2}",
        ] {
            assert_eq!(scalar(body.as_bytes(), &path("a")), None, "{body}");
        }
        assert_eq!(scalar(b"{\"a\":\"\xff\xfe\"}", &path("a")), None);
    }

    #[test]
    fn elements_are_exact_byte_ranges() {
        let body = " [ {\"a\" : 1.50},\n[1, 2],\t\"x,]\\\"\" , null,-1e5 ,{\"u\":\"\\u003c\"}] \n";
        assert_eq!(
            texts(body, &Path::default()),
            ["{\"a\" : 1.50}", "[1, 2]", "\"x,]\\\"\"", "null", "-1e5", "{\"u\":\"\\u003c\"}"]
        );
        assert!(texts("[]", &Path::default()).is_empty());
        assert_eq!(texts("{\"next\":\"x\",\"data\":[1,{}],\"more\":[]}", &path("data")), ["1", "{}"]);
    }

    #[test]
    fn an_object_is_found_whole_or_not_at_all() {
        let body = r#"{"data": {"id": 1, "t": "a}"}, "n": null, "l": [1]}"#;
        let found = |at: &str| object(body.as_bytes(), &path(at)).map(|range| body.get(range).unwrap());
        assert_eq!(found("data"), Ok(r#"{"id": 1, "t": "a}"}"#));
        assert_eq!(object(body.as_bytes(), &Path::default()), Ok(0..body.len()));
        for absent in ["n", "l", "x", "data.id"] {
            assert_eq!(found(absent), Err(NotAList::Absent), "{absent}");
        }
        for end in 0..body.len() {
            assert_eq!(object(body.get(..end).unwrap().as_bytes(), &path("data")), Err(NotAList::Broken));
        }
    }

    #[test]
    fn members_are_exact_byte_ranges_and_a_cut_object_has_none() {
        let body = r#" {"u": {"7": {"id": 7}, "8" :{"id":8 }}, "e": {}, "p": [], "l": [1]}"#;
        let found = |at: &str| -> Result<Vec<&str>, NotAList> {
            Ok(members(body.as_bytes(), &path(at))?.into_iter().map(|range| body.get(range).unwrap()).collect())
        };
        assert_eq!(found("u"), Ok(vec![r#"{"id": 7}"#, r#"{"id":8 }"#]));
        assert_eq!((found("e"), found("p")), (Ok(Vec::new()), Ok(Vec::new())));
        assert_eq!((found("l"), found("x")), (Err(NotAList::Absent), Err(NotAList::Absent)));
        assert_eq!(members(body.as_bytes(), &Path::default()).unwrap().len(), 4);
        for end in 0..body.len() {
            assert_eq!(members(body.get(..end).unwrap().as_bytes(), &path("u")), Err(NotAList::Broken), "{end}");
        }
    }

    #[test]
    fn scalars_are_found_through_lists_and_none_twice() {
        let body = br#"{"main":{"job":{"id":"a"}},"others":[{"job":{"id":"b"}},{"job":null},{"job":{"id":"a"}},7],"n":[1,[2]]}"#;
        assert_eq!(scalars(body, &path("main.job.id")), ["a"]);
        assert_eq!(scalars(body, &path("others.job.id")), ["b", "a"]);
        assert_eq!(scalars(body, &path("n")), ["1"]);
        assert_eq!(scalars(br#"{"b":["y",1,null,{"c":2},"z"]}"#, &path("b")), ["y", "1", "z"]);
        assert!(scalars(body, &path("none.job.id")).is_empty());
    }

    #[test]
    fn places_stand_in_their_order_and_not_in_one_another() {
        let body = br#"{"a":{"b":"x"},"c":[1],"d":2}"#;
        let found = |paths: &[&str]| -> Vec<String> {
            let paths: Vec<Path> = paths.iter().map(|text| path(text)).collect();
            let text = |range: Range<usize>| String::from_utf8(body.get(range).unwrap().to_vec()).unwrap();
            places(body, &paths).into_iter().map(text).collect()
        };
        assert_eq!(found(&["d", "c", "e"]), ["[1]", "2"]);
        assert_eq!(found(&["a.b", "a"]), [r#"{"b":"x"}"#]);
    }

    #[test]
    fn a_body_cut_anywhere_is_broken() {
        let body = r#"{"data": [{"id": 1, "t": "a\"]"}, {"id": 2}], "next": "z"}"#;
        assert_eq!(elements(body.as_bytes(), &path("data")).unwrap().len(), 2);
        for end in 0..body.len() {
            let cut = body.get(..end).unwrap();
            assert_eq!(elements(cut.as_bytes(), &path("data")), Err(NotAList::Broken), "{cut}");
        }
        assert_eq!(elements(b"[1,2]]", &Path::default()), Err(NotAList::Broken));
        assert_eq!(elements(b"[1 2]", &Path::default()), Err(NotAList::Broken));
        assert_eq!(elements(b"[1,]", &Path::default()), Err(NotAList::Broken));
        assert_eq!(elements(b"<html>", &Path::default()), Err(NotAList::Broken));
        assert_eq!(elements(br#"{"errors":["no"]}"#, &Path::default()), Err(NotAList::Absent));
    }

    #[test]
    fn ten_thousand_levels_cost_no_stack_and_too_many_are_refused() {
        let nested = |levels: usize| format!("[{}{}]", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(elements(nested(10_000).as_bytes(), &Path::default()).unwrap().len(), 1);
        assert!(elements(nested(MAX_DEPTH + 1).as_bytes(), &Path::default()).is_err());
    }

    #[test]
    fn a_row_that_is_not_utf8_stays_a_row() {
        assert_eq!(elements(b"[{\"a\":\"\xff\"},{\"a\":1}]", &Path::default()).unwrap().len(), 2);
    }
}
