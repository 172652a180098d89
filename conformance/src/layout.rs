//! JSON laid out for reading: what fits stays on one line. Keeps the order of the members.

/// Longest line of an object or list that is not broken up.
const WIDTH: usize = 150;

/// Appends `json`, which has no space between its tokens. `indent` is that of the line it begins on.
pub(crate) fn pretty(json: &str, indent: usize, out: &mut String) {
    let Some((open, inner, close)) = brackets(json).filter(|_| json.len() + indent > WIDTH) else {
        out.push_str(json);
        return;
    };
    out.push_str(open);
    let parts = members(inner);
    for (index, part) in parts.iter().enumerate() {
        out.push('\n');
        out.push_str(&" ".repeat(indent + 2));
        let (key, value) = part.split_at(if open == "{" { key_length(part) } else { 0 });
        out.push_str(key);
        if !key.is_empty() {
            out.push(' ');
        }
        pretty(value, indent + 2, out);
        if index + 1 < parts.len() {
            out.push(',');
        }
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push_str(close);
}

/// An object or list: its brackets, and what stands between them.
fn brackets(json: &str) -> Option<(&str, &str, &str)> {
    if !json.starts_with(['{', '[']) || json.len() < 2 {
        return None;
    }
    let (open, rest) = json.split_at(1);
    let (inner, close) = rest.split_at(rest.len() - 1);
    Some((open, inner, close))
}

/// The parts between the commas of one level.
fn members(inner: &str) -> Vec<&str> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let between = |letter: char| {
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' => return depth == 0,
            _ => {}
        }
        false
    };
    inner.split(between).collect()
}

/// The bytes of `"key":` in front of a member's value.
fn key_length(member: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in member.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 2,
            _ => {}
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_broken_up_and_commas_and_brackets_inside_of_texts_are_none() {
        let long = "x".repeat(WIDTH);
        let json = format!("{{\"a\":\"{long}\",\"b\\\",{{\":[1,2],\"c\":{{\"d\":\"],[\"}}}}");
        let mut out = String::new();
        pretty(&json, 0, &mut out);
        assert_eq!(out, format!("{{\n  \"a\": \"{long}\",\n  \"b\\\",{{\": [1,2],\n  \"c\": {{\"d\":\"],[\"}}\n}}"));
    }
}
