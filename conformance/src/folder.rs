//! A vendor's folder on disk: its files, by what they are for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hirewire_ingest::manifest::Manifest;
use hirewire_mapping::Plan;
use hirewire_schemas::avro_schema;
use hirewire_yaml::{Node, Problem, Problems, parse};

use crate::fixture::Fixture;
use crate::rules::Rules;

/// The folders below `folder`, each of which is a vendor's; `folder` itself, if it is one.
///
/// # Errors
/// When it cannot be listed.
pub fn vendors_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_vendor = |path: &Path| path.join("manifest.yaml").is_file() || path.join("mapping.yaml").is_file();
    if is_vendor(folder) {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_dir() && !hidden {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The folder of one vendor.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The vendor's name. `.` is resolved first.
    #[must_use]
    pub fn name(&self) -> String {
        let whole = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The path of a file, as messages show it.
    #[must_use]
    pub fn shown(&self, file: &str) -> String {
        self.path.join(file).display().to_string()
    }

    /// The text of a file that must be there.
    pub(crate) fn text(&self, file: &str, why: &str, problems: &mut Problems) -> Option<String> {
        match std::fs::read_to_string(self.path.join(file)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.problem(file, 0, "the file is missing", why, problems);
                None
            }
            Err(error) => {
                self.problem(file, 0, format!("cannot be read: {error}"), "", problems);
                None
            }
        }
    }

    pub(crate) fn yaml(&self, file: &str, why: &str, problems: &mut Problems) -> Option<Node> {
        let text = self.text(file, why, problems)?;
        keep(parse(&self.shown(file), &text), problems)
    }

    pub(crate) fn manifest(&self, problems: &mut Problems) -> Option<Arc<Manifest>> {
        let text = self.text("manifest.yaml", "it says how ingest receives and polls the vendor", problems)?;
        keep(Manifest::parse(&self.shown("manifest.yaml"), &text), problems)
    }

    /// The mapping as a tree, and compiled with the overlay of that name.
    pub(crate) fn plan(&self, overlay: Option<&str>, problems: &mut Problems) -> (Option<Node>, Option<Plan>) {
        let Some(mapping) = self.yaml("mapping.yaml", "it says what payloads become", problems) else {
            return (None, None);
        };
        let overlay = match overlay {
            None => None,
            Some(file) => match self.yaml(file, "", problems) {
                None => return (Some(mapping), None),
                read => read,
            },
        };
        let plan = keep(Plan::compile(&mapping, overlay.as_ref(), &avro_schema), problems);
        (Some(mapping), plan)
    }

    /// Manifest and mapping, with an overlay of that name in the folder.
    ///
    /// # Errors
    /// All mistakes of these files.
    pub fn rules(&self, overlay: Option<&str>) -> Result<Rules, Problems> {
        let mut problems = Problems::new();
        let manifest = self.manifest(&mut problems);
        let (_, plan) = self.plan(overlay, &mut problems);
        let rules = manifest.zip(plan).map(|(manifest, plan)| Rules { manifest, plan });
        problems.into_result(rules)
    }

    /// The valid fixtures, sorted by name. A file whose name says nothing is left out here; [`crate::check`] tells it.
    #[must_use]
    pub fn payloads(&self) -> Vec<Fixture> {
        self.fixtures("fixtures", &mut Problems::new())
    }

    /// The fixtures of `fixtures/` or `fixtures/invalid/`, sorted by name. Names that say nothing are mistakes.
    pub(crate) fn fixtures(&self, folder: &str, problems: &mut Problems) -> Vec<Fixture> {
        let mut found = Vec::new();
        for path in files(&self.path.join(folder)) {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_none_or(|extension| extension != "json" && extension != "xml") {
                continue;
            }
            match Fixture::of(&path, folder.ends_with("invalid")) {
                Ok(fixture) => found.push(fixture),
                Err(hint) => {
                    self.problem(&format!("{folder}/{file}"), 0, "the name does not say what it is", hint, problems);
                }
            }
        }
        found
    }

    pub(crate) fn problem(
        &self,
        file: &str,
        line: usize,
        what: impl Into<String>,
        hint: impl Into<String>,
        problems: &mut Problems,
    ) {
        problems.push(Problem { file: self.shown(file), line, what: what.into(), hint: hint.into() });
    }
}

/// The files of a folder, sorted; none if it is not there.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    found.sort();
    found
}

pub(crate) fn keep<T>(result: Result<T, Problems>, problems: &mut Problems) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(more) => {
            problems.extend(more);
            None
        }
    }
}
