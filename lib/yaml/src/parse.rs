//! Text → tree, on the events of `saphyr-parser`.
//!
//! One document a file. Anchors, aliases and tags are refused: a file says what it means where it says it.

use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::{Node, Problem, Problems, Value};

/// Deeper nesting is a mistake, and would cost stack.
const MAX_DEPTH: usize = 64;

/// Parses one document. `file` is the name that messages show.
///
/// # Errors
/// Broken syntax, more than one document, a duplicate key, an anchor, alias or tag; with line and hint.
pub fn parse(file: &str, text: &str) -> Result<Node, Problems> {
    let mut builder = Builder { file: file.into(), open: Vec::new(), root: None, problems: Problems::new() };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                builder.problem(error.marker().line(), format!("not valid YAML: {}", error.info()), "");
                break;
            }
        }
    }
    let empty = Node { file: builder.file.clone(), line: 1, column: 1, value: Value::Null };
    let root = builder.root.unwrap_or(empty);
    builder.problems.into_result(Some(root))
}

/// A list or mapping that is still open.
enum Open {
    List { at: (usize, usize), items: Vec<Node> },
    Map { at: (usize, usize), entries: Vec<(Node, Node)>, key: Option<Node> },
}

struct Builder {
    file: Arc<str>,
    open: Vec<Open>,
    root: Option<Node>,
    problems: Problems,
}

impl Builder {
    fn problem(&mut self, line: usize, what: impl Into<String>, hint: &str) {
        self.problems.push(Problem { file: self.file.to_string(), line, what: what.into(), hint: hint.to_owned() });
    }

    fn take(&mut self, event: Event<'_>, span: Span) {
        let at = (span.start.line(), span.start.col() + 1);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(at.0, anchor, tag.is_some());
                let value = match style {
                    ScalarStyle::Plain if matches!(&*text, "" | "~" | "null") => Value::Null,
                    ScalarStyle::Plain => Value::Plain(text.into_owned()),
                    _ => Value::Quoted(text.into_owned()),
                };
                self.put(at, value);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(at.0, anchor, tag.is_some());
                self.enter(Open::List { at, items: Vec::new() });
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(at.0, anchor, tag.is_some());
                self.enter(Open::Map { at, entries: Vec::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { at, items }) => self.put(at, Value::List(items)),
                Some(Open::Map { at, entries, .. }) => self.put(at, Value::Map(entries)),
                None => {}
            },
            Event::Alias(_) => {
                self.problem(at.0, "an alias (*name)", "write the value out: aliases are not supported");
                self.put(at, Value::Null);
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                self.problem(at.0, "a second document", "keep one document a file");
            }
            _ => {}
        }
    }

    fn refuse_extras(&mut self, line: usize, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.problem(line, "an anchor (&name)", "write the value out: anchors are not supported");
        }
        if tagged {
            self.problem(line, "a tag (!name)", "remove it: tags are not supported");
        }
    }

    fn enter(&mut self, open: Open) {
        if self.open.len() == MAX_DEPTH {
            let (Open::List { at, .. } | Open::Map { at, .. }) = &open;
            let line = at.0;
            self.problem(line, format!("nested deeper than {MAX_DEPTH} levels"), "flatten the file");
        }
        self.open.push(open);
    }

    fn put(&mut self, (line, column): (usize, usize), value: Value) {
        let node = Node { file: self.file.clone(), line, column, value };
        match self.open.last_mut() {
            None => {
                self.root.get_or_insert(node);
            }
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(first) => {
                    let twice = entries.iter().any(|(other, _)| other.scalar() == first.scalar());
                    let name = first.scalar().map(str::to_owned);
                    entries.push((first, node));
                    match name {
                        None => self.problem(line, "a key that is not a plain word", "keys are texts"),
                        Some(name) if twice => {
                            self.problem(line, format!("key \"{name}\" stands here twice"), "remove one of them");
                        }
                        Some(_) => {}
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let root = parse("a.yaml", "a: 1\nb:\n  - x\n  - {c: \"2\"}\n").unwrap();
        let b = root.peek("b").unwrap();
        let Value::List(items) = &b.value else { panic!("{b:?}") };
        assert_eq!(items[0].line, 3);
        assert_eq!(items[1].peek("c").unwrap().location(), "a.yaml:4");
        assert!(matches!(&items[1].peek("c").unwrap().value, Value::Quoted(text) if text == "2"));
    }

    #[test]
    fn mistakes_of_syntax_have_a_line_and_what_we_refuse_says_why() {
        assert!(parse("a.yaml", "a: [1\nb: 2").unwrap_err().to_string().starts_with("a.yaml:"));
        let problems = parse("a.yaml", "a: &x 1\nb: *x\na: 2\n").unwrap_err();
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 2, 3], "{problems}");
    }

    #[test]
    fn an_empty_file_is_nothing() {
        assert!(parse("a.yaml", "# only a comment\n").unwrap().is_null());
    }
}
