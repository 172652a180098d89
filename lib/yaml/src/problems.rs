//! Mistakes of a file, collected and shown together.

use std::fmt;

use crate::Node;

/// One mistake: where it stands, what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// Counted from 1; 0, and then not shown, when the mistake is the file itself.
    pub line: usize,
    pub what: String,
    /// What the reader of the message should do. May be empty.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what)?,
            line => write!(f, "{}:{line}: {}", self.file, self.what)?,
        }
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

/// All mistakes found so far, in the order of finding. Displays one a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<Problem>,
    absent: Vec<Problem>,
}

impl Problems {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a mistake at `node`.
    pub fn add(&mut self, node: &Node, what: impl Into<String>, hint: impl Into<String>) {
        self.push(Problem { file: node.file.to_string(), line: node.line, what: what.into(), hint: hint.into() });
    }

    pub fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Records that what `node` names, rightly, is not there. Whoever needs it cannot go on; for others it is none:
    /// see [`Self::needed_if`]. The value that was read is whole.
    pub fn add_absent(&mut self, node: &Node, what: impl Into<String>, hint: impl Into<String>) {
        let file = node.file.to_string();
        self.absent.push(Problem { file, line: node.line, what: what.into(), hint: hint.into() });
    }

    /// How many absences there are so far.
    #[must_use]
    pub fn absences(&self) -> usize {
        self.absent.len()
    }

    /// Reads a part. Unless it is `needed`, its absences are forgotten: this process has no use for what is not there.
    pub fn needed_if<T>(&mut self, needed: bool, read: impl FnOnce(&mut Self) -> T) -> T {
        let known = self.absent.len();
        let value = read(self);
        if !needed {
            self.absent.truncate(known);
        }
        value
    }

    pub fn extend(&mut self, other: Self) {
        self.found.extend(other.found);
        self.absent.extend(other.absent);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.absent.is_empty()
    }

    /// Mistakes of the text itself: absences are not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.found.iter().chain(&self.absent)
    }

    /// The value if nothing was wrong, else all that was.
    ///
    /// # Errors
    /// `self`, if it holds a problem. A missing value without a problem is one too: it cannot be told from a bug.
    pub fn into_result<T>(mut self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => {
                if self.is_empty() {
                    self.push(Problem {
                        file: String::new(),
                        line: 0,
                        what: "nothing could be read and no reason was given".to_owned(),
                        hint: "please report this message".to_owned(),
                    });
                }
                Err(self)
            }
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The known word nearest to `word`, as a hint `did you mean "x"?`, or the list of what is known.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known.iter().map(|candidate| (distance(word, candidate), *candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= 1 + word.len() / 3 => format!("did you mean \"{candidate}\"?"),
        _ if known.is_empty() => String::new(),
        _ => format!("known: {}", known.join(", ")),
    }
}

/// Levenshtein distance over characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_a_mistake_until_it_is_forgotten() {
        let node = crate::parse("s.yaml", "a").unwrap();
        let mut problems = Problems::new();
        problems.add_absent(&node, "the first is not there", "");
        let second = |problems: &mut Problems| problems.add_absent(&node, "the second is not there", "");
        let mut both = problems.clone();
        both.needed_if(true, second);
        assert_eq!((both.len(), both.is_empty()), (0, false));
        assert_eq!(both.into_result(Some(1)).unwrap_err().iter().count(), 2);
        problems.needed_if(false, second);
        assert_eq!(problems.to_string(), "s.yaml:1: the first is not there");
        let mut problems = Problems::new();
        problems.needed_if(false, second);
        assert_eq!(problems.into_result(Some(1)), Ok(1));
    }

    #[test]
    fn a_near_word_is_proposed_and_a_far_one_gets_the_list() {
        assert_eq!(did_you_mean("listn", ["listen", "path"]), "did you mean \"listen\"?");
        assert_eq!(did_you_mean("zzzzzz", ["listen", "path"]), "known: listen, path");
    }
}
