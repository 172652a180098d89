//! For the fuzz test alone: all that is made of a schema's text before it is stored.
//!
//! In: a text, and texts that it may refer to; out: whether they were taken.

use crate::compatibility::{Level, check};
use crate::parse::{normal_form, parse};

pub fn schema(text: &str, references: &[String], earlier: &str) -> bool {
    let normal = normal_form(text);
    let Ok(new) = parse(text, references) else { return false };
    if let Ok(old) = parse(earlier, &[]) {
        check(Level::FullTransitive, &new.avro, &[(1, old.avro)]);
    }
    // A text that Avro takes has a form to be found by.
    normal.is_some() && !new.identity.is_empty()
}
