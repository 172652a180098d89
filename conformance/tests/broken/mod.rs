//! Copies of vendors' folders that are broken on purpose.

use std::path::Path;

use hirewire_conformance::{Clause, Folder, Part, prove};
use tempfile::TempDir;

/// A copy of a vendor's folder, with `new` in the place of the first `old` of a file.
pub(crate) struct Broken {
    _root: TempDir,
    pub(crate) folder: Folder,
}

impl Broken {
    pub(crate) fn new(vendor: &str, file: &str, old: &str, new: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let places = ["../vendors", "tests/vendors"].map(|place| Path::new(env!("CARGO_MANIFEST_DIR")).join(place));
        let from = places.into_iter().map(|place| place.join(vendor)).find(|folder| folder.is_dir()).unwrap();
        let to = root.path().join(vendor);
        std::fs::create_dir_all(to.join("fixtures")).unwrap();
        for part in [".", "fixtures"] {
            for entry in std::fs::read_dir(from.join(part)).unwrap().map(Result::unwrap) {
                if entry.path().is_file() {
                    std::fs::copy(entry.path(), to.join(part).join(entry.file_name())).unwrap();
                }
            }
        }
        let text = std::fs::read_to_string(to.join(file)).unwrap();
        assert!(text.contains(old), "{vendor}/{file} does not hold {old}");
        std::fs::write(to.join(file), text.replacen(old, new, 1)).unwrap();
        Self { folder: Folder::new(&to), _root: root }
    }

    /// What is found of a clause.
    pub(crate) async fn found(&self, part: &Part, clause: Clause) -> String {
        let proof = prove(&self.folder, part).await.unwrap_or_else(|problems| panic!("{problems}"));
        let of_clause = proof.findings.iter().filter(|found| found.clause == clause);
        of_clause.map(|found| format!("{} of {}: {}\n", clause.as_str(), found.at, found.what)).collect()
    }
}
