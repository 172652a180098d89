//! Conditions on the fields of a row, as a query language writes them: `id > 0 AND type = 'Interview' AND parent IS NULL`.

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) field: String,
    pub(super) test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// The value is this text.
    Is(String),
    Null,
    /// The value is a number, and stands so to this one.
    Number(Compared, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Above,
    AtLeast,
    Below,
    AtMost,
    Equal,
}

impl Compared {
    pub(super) fn holds(self, value: i64, than: i64) -> bool {
        match self {
            Self::Above => value > than,
            Self::AtLeast => value >= than,
            Self::Below => value < than,
            Self::AtMost => value <= than,
            Self::Equal => value == than,
        }
    }
}

/// All conditions of a text; `None`: it is none that the simulator knows, and so none that it lets pass.
pub(super) fn parse(text: &str) -> Option<Vec<Condition>> {
    text.split(" AND ").map(one).collect()
}

fn one(text: &str) -> Option<Condition> {
    let (field, rest) = text.trim().split_once(' ')?;
    let test = match rest.trim().split_once(' ')? {
        ("IS", "NULL") => Test::Null,
        ("=", value) if value.starts_with('\'') => {
            Test::Is(value.strip_prefix('\'')?.strip_suffix('\'').filter(|text| !text.contains('\''))?.to_owned())
        }
        (sign, value) => {
            let compared = match sign {
                ">" => Compared::Above,
                ">=" => Compared::AtLeast,
                "<" => Compared::Below,
                "<=" => Compared::AtMost,
                "=" => Compared::Equal,
                _ => return None,
            };
            Test::Number(compared, value.parse().ok()?)
        }
    };
    Some(Condition { field: field.to_owned(), test })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_what_is_none_is_refused() {
        let read = parse("id > 0 AND type = 'Interview' AND parent.id IS NULL AND changed <= 17").unwrap();
        let of = |field: &str, test| Condition { field: field.to_owned(), test };
        let wanted = [
            of("id", Test::Number(Compared::Above, 0)),
            of("type", Test::Is("Interview".to_owned())),
            of("parent.id", Test::Null),
            of("changed", Test::Number(Compared::AtMost, 17)),
        ];
        assert_eq!(read, wanted);
        for wrong in ["", "all", "id >", "id > x", "id ~ 3", "type = 'a' OR 'b'", "id > 0 AND "] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
