//! `test`: what the mapping makes of the fixtures, and what ingest says of the signature vectors.
//!
//! Every fixture gives its golden file, and each of its leaves is read, ignored with a reason or carried; every invalid
//! one becomes the dead letter that its name says, which repeats nothing of the payload.

use hirewire_mapping::Coverage;
use hirewire_yaml::Problems;
use similar::TextDiff;

use crate::fixture::Fixture;
use crate::folder::{Folder, files};
use crate::layout::pretty;
use crate::rules::Rules;
use crate::vectors;

/// Words that invalid fixtures have in the place of what is personal: a dead letter must not repeat them.
const PERSONAL: [&str; 2] = ["SECRET", "secret@example.com"];
/// Lines around a difference.
const CONTEXT: usize = 3;

/// What a run over one folder gave.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Empty when all is as it should be.
    pub differences: Vec<Difference>,
    /// By fixture, in the order of their names.
    pub coverage: Vec<(String, Coverage)>,
    /// How many were judged.
    pub invalid: usize,
    pub vectors: usize,
    /// Golden files that were written.
    pub written: usize,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The file that it was found in.
    pub file: String,
    /// May have several lines.
    pub what: String,
}

/// Runs the fixtures and vectors of a folder. With `update`, golden files are written and not compared.
///
/// # Errors
/// When manifest or mapping cannot be read: all their mistakes.
pub fn test(folder: &Folder, update: bool) -> Result<Outcome, Problems> {
    let rules = folder.rules(None)?;
    let mut outcome = Outcome::default();
    let mut names = Problems::new();
    let fixtures = folder.fixtures("fixtures", &mut names);
    let invalid = folder.fixtures("fixtures/invalid", &mut names);
    for problem in names.iter() {
        let what = format!("{} ({})", problem.what, problem.hint);
        outcome.differences.push(Difference { file: problem.file.clone(), what });
    }
    for fixture in &fixtures {
        outcome.golden(folder, &rules, fixture, update);
    }
    for path in files(&folder.path().join("golden")) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !fixtures.iter().any(|fixture| fixture.golden() == name) {
            outcome.differs(folder, &format!("golden/{name}"), "no fixture has this name: remove the file");
        }
    }
    for fixture in &invalid {
        outcome.dead_letter(folder, &rules, fixture);
    }
    outcome.signatures(folder, &rules);
    Ok(outcome)
}

impl Outcome {
    fn differs(&mut self, folder: &Folder, file: &str, what: impl Into<String>) {
        self.differences.push(Difference { file: folder.shown(file), what: what.into() });
    }

    fn golden(&mut self, folder: &Folder, rules: &Rules, fixture: &Fixture, update: bool) {
        let (file, golden) = (format!("fixtures/{}", fixture.name), format!("golden/{}", fixture.golden()));
        let body = match std::fs::read(&fixture.path) {
            Ok(body) => body,
            Err(error) => return self.differs(folder, &file, format!("cannot be read: {error}")),
        };
        let report = fixture.map(rules, &body);
        if report.unknown && fixture.names_only(rules, &body) {
            return;
        }
        self.coverage.push((fixture.name.clone(), report.coverage));
        if report.unknown {
            let what = match fixture.event(rules, &body).as_deref() {
                Some("") => {
                    "the body does not say which event it is, at the place that `webhook.event` names".to_owned()
                }
                Some(event) => format!("the mapping has no rule for the event \"{event}\""),
                None => "the mapping has no rule for this stream".to_owned(),
            };
            return self.differs(folder, &file, what);
        }
        if report.dead_letters > 0 {
            let letter =
                report.lines.iter().find(|line| line.starts_with("{\"dead_letter\"")).cloned().unwrap_or_default();
            return self.differs(folder, &file, format!("a dead letter: {letter}"));
        }
        if report.coverage.unread > 0 {
            let what = format!(
                "{} leaves are neither read, ignored nor carried, for no rule made a record of them (a rule's own `ignore` counts where it made one; the `ignore` at the top of the mapping counts always)",
                report.coverage.unread
            );
            self.differs(folder, &file, what);
        }
        let mut got = String::new();
        for line in &report.lines {
            pretty(&line.replace(rules.plan.version(), "VERSION"), 0, &mut got);
            got.push('\n');
        }
        if update {
            let path = folder.path().join(&golden);
            let written =
                std::fs::create_dir_all(folder.path().join("golden")).and_then(|()| std::fs::write(path, got));
            match written {
                Ok(()) => self.written += 1,
                Err(error) => self.differs(folder, &golden, format!("cannot be written: {error}")),
            }
            return;
        }
        match std::fs::read_to_string(folder.path().join(&golden)) {
            Err(error) => self.differs(folder, &golden, format!("cannot be read: {error}; --update writes it")),
            Ok(expected) if expected != got => {
                let diff = TextDiff::from_lines(&expected, &got);
                let shown = diff.unified_diff().context_radius(CONTEXT).header("golden", "what came out").to_string();
                self.differs(folder, &golden, format!("another record came out\n{}", shown.trim_end()));
            }
            Ok(_) => {}
        }
    }

    fn dead_letter(&mut self, folder: &Folder, rules: &Rules, fixture: &Fixture) {
        let file = format!("fixtures/invalid/{}", fixture.name);
        let body = match std::fs::read(&fixture.path) {
            Ok(body) => body,
            Err(error) => return self.differs(folder, &file, format!("cannot be read: {error}")),
        };
        self.invalid += 1;
        let Some(code) = fixture.code else { return };
        let report = fixture.map(rules, &body);
        let letters: Vec<&String> = report.lines.iter().filter(|line| line.starts_with("{\"dead_letter\"")).collect();
        match letters.as_slice() {
            [] if report.unknown => self.differs(folder, &file, "no dead letter: no rule knows its event or stream"),
            [] => self.differs(folder, &file, format!("no dead letter, where one of {} should be", code.as_str())),
            [letter] if !letter.contains(&format!("\"code\":\"{}\"", code.as_str())) => {
                self.differs(folder, &file, format!("another dead letter: {letter}"));
            }
            [letter] if PERSONAL.iter().any(|word| letter.contains(word)) => {
                self.differs(folder, &file, "the dead letter repeats what stands in the payload");
            }
            [_] => {}
            several => self.differs(folder, &file, format!("{} dead letters, where one should be", several.len())),
        }
    }

    fn signatures(&mut self, folder: &Folder, rules: &Rules) {
        let file = "signature_vectors.yaml";
        // That it is there where it must be is for `check` to say.
        if !folder.path().join(file).is_file() {
            return;
        }
        let mut problems = Problems::new();
        let vectors = folder.yaml(file, "", &mut problems).map(|node| vectors::read(&node, &mut problems));
        if !problems.is_empty() {
            return self.differs(folder, file, problems.to_string());
        }
        for vector in vectors.into_iter().flatten() {
            self.vectors += 1;
            let wrong = match vector.judge(&rules.manifest) {
                Ok(proven) if proven == vector.proven => continue,
                Ok(true) => "is proven, and must not be".to_owned(),
                Ok(false) => "is not proven, and must be".to_owned(),
                Err(why) => format!("cannot be judged: {why}"),
            };
            self.differences.push(Difference { file: vector.at, what: format!("\"{}\" {wrong}", vector.name) });
        }
    }
}
