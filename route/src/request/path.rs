//! Where a value stands in a record: `offer.accepted.compensation[kind=SALARY|HOURLY].amount`.
//!
//! A step is a name, an index `[0]`, or a filter `[name=A|B]` that takes the first element whose `name` is one of
//! these; `[name=A|B,other=C]`: of which both holds. A leading `/` begins at the root. A coded value `{value, raw, rule}` stands for its `value`.

use std::fmt;

use serde_json::Value;

use super::parts::Parts;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    text: String,
    absolute: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
    /// Names, and the values that each may have.
    Filter(Vec<(String, Vec<String>)>),
}

/// What a path is read in: the whole, and the element that a surrounding `each` or `from` is at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    root: Ground<'a>,
    here: Ground<'a>,
}

/// Where a path begins.
#[derive(Debug, Clone, Copy)]
enum Ground<'a> {
    Value(&'a Value),
    /// The first name is that of a part.
    Parts(&'a Parts),
}

impl<'a> Scope<'a> {
    pub(crate) fn whole(root: &'a Value) -> Self {
        Self { root: Ground::Value(root), here: Ground::Value(root) }
    }

    pub(crate) fn of(parts: &'a Parts) -> Self {
        Self { root: Ground::Parts(parts), here: Ground::Parts(parts) }
    }

    pub(crate) fn at(self, here: &'a Value) -> Self {
        Self { here: Ground::Value(here), ..self }
    }
}

impl Path {
    /// `None` when the text is no path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (absolute, rest) = match text.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut steps = Vec::new();
        for part in split_outside_brackets(rest) {
            let (name, mut brackets) = part.split_at(part.find('[').unwrap_or(part.len()));
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
                return None;
            }
            steps.push(Step::Name(name.to_owned()));
            while let Some(inner) = brackets.strip_prefix('[') {
                let (inside, after) = inner.split_once(']')?;
                steps.push(bracket(inside)?);
                brackets = after;
            }
            if !brackets.is_empty() {
                return None;
            }
        }
        Some(Self { text: text.to_owned(), absolute, steps })
    }

    /// The first name: which part of the whole it begins in.
    pub(crate) fn part(&self) -> &str {
        match self.steps.first() {
            Some(Step::Name(name)) => name,
            _ => "",
        }
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// The value there; `None` when it or anything on the way is absent or null.
    pub(crate) fn find<'a>(&self, scope: Scope<'a>) -> Option<&'a Value> {
        let mut steps = self.steps.iter();
        let mut value = match if self.absolute { scope.root } else { scope.here } {
            Ground::Value(value) => value,
            Ground::Parts(parts) => match steps.next()? {
                Step::Name(part) => parts.get(part)?,
                Step::Index(_) | Step::Filter(_) => return None,
            },
        };
        for step in steps {
            value = match step {
                Step::Name(name) => value.get(name)?,
                Step::Index(index) => value.get(index)?,
                Step::Filter(tests) => value.as_array()?.iter().find(|element| {
                    tests
                        .iter()
                        .all(|(name, values)| element.get(name).is_some_and(|found| is_one_of(coded(found), values)))
                })?,
            };
        }
        Some(coded(value)).filter(|value| !value.is_null())
    }

    /// The elements of the list there; none when there is no list.
    pub(crate) fn elements<'a>(&self, scope: Scope<'a>) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.find(scope).and_then(Value::as_array).into_iter().flatten()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn bracket(inside: &str) -> Option<Step> {
    if let Ok(index) = inside.parse() {
        return Some(Step::Index(index));
    }
    let test = |test: &str| match test.split_once('=') {
        Some((name, values)) if !name.is_empty() && !values.is_empty() => {
            Some((name.to_owned(), values.split('|').map(str::to_owned).collect()))
        }
        _ => None,
    };
    inside.split(',').map(test).collect::<Option<_>>().map(Step::Filter)
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '.' && depth == 0
    })
    .collect()
}

/// A coded value's symbol; anything else is itself.
pub(crate) fn coded(value: &Value) -> &Value {
    match value.as_object() {
        Some(object) if object.len() == 3 && object.contains_key("raw") && object.contains_key("rule") => {
            object.get("value").unwrap_or(value)
        }
        _ => value,
    }
}

/// The text of a scalar, as conditions compare it.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether [`text_of`] is one of these; without making it, where it need not be made.
pub(crate) fn is_one_of(value: &Value, texts: &[String]) -> bool {
    match value {
        Value::String(text) => texts.contains(text),
        other => text_of(other).is_some_and(|text| texts.contains(&text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_indices_and_filters_lead_to_values() {
        let root = json!({"a": {"b": [{"kind": {"value": "BONUS", "raw": "x", "rule": null}, "n": 1},
                                     {"kind": {"value": "SALARY", "raw": "y", "rule": "r"}, "n": 2}]}, "z": null});
        let find = |text| Path::parse(text).unwrap().find(Scope::whole(&root)).cloned();
        assert_eq!(find("a.b[0].n"), Some(json!(1)));
        assert_eq!(find("/a.b[kind=HOURLY|SALARY].n"), Some(json!(2)));
        assert_eq!(find("a.b[kind=BONUS|SALARY,n=2].kind"), Some(json!("SALARY")));
        assert_eq!(find("a.b[kind=BONUS,n=2].kind"), None);
        assert_eq!(find("a.b[1].kind"), Some(json!("SALARY")));
        assert_eq!(find("a.b[1].kind.raw"), Some(json!("y")));
        for absent in ["z", "z.y", "a.b[7].n", "a.b[kind=EQUITY].n", "q"] {
            assert_eq!(find(absent), None, "{absent}");
        }
        for wrong in ["", "a..b", "a[", "a[x]", "a]b", "a b", "[0]", "a[=x]", "a[b=c,]", "a[b=c,d]"] {
            assert_eq!(Path::parse(wrong), None, "{wrong}");
        }
    }
}
