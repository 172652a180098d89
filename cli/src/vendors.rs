//! The vendors' folders: carried in the binary, or a directory in their place.

use std::path::{Path, PathBuf};

use anyhow::Context;
use include_dir::{Dir, include_dir};

static CARRIED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../vendors");

/// Where vendors' files are read from.
#[derive(Clone)]
pub(crate) struct Vendors {
    folder: Option<PathBuf>,
}

impl Vendors {
    pub(crate) fn open(folder: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(folder) = &folder {
            anyhow::ensure!(folder.is_dir(), "the vendors folder {} is not a folder", folder.display());
        }
        Ok(Self { folder })
    }

    /// The folder that was named, or the one that a checkout has.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| PathBuf::from("vendors"))
    }

    /// The vendors beside the folder that `vendor` is the path of, and its name; `None` if it is a plain name.
    pub(crate) fn outside(&self, vendor: &str) -> anyhow::Result<Option<(Self, String)>> {
        if !vendor.contains(std::path::MAIN_SEPARATOR) && vendor != "." && vendor != ".." {
            return Ok(None);
        }
        let whole = std::fs::canonicalize(vendor).with_context(|| format!("{vendor} is no vendor's folder"))?;
        let name = whole.file_name().and_then(|name| name.to_str()).with_context(|| format!("{vendor} has no name"))?;
        let beside = whole.parent().map(Path::to_path_buf);
        Ok(Some((Self::open(beside)?, name.to_owned())))
    }

    /// All vendors: every folder with a `manifest.yaml`, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.folder {
            None => CARRIED
                .dirs()
                .filter(|dir| dir.get_file(dir.path().join("manifest.yaml")).is_some())
                .filter_map(|dir| Some(dir.path().file_name()?.to_str()?.to_owned()))
                .collect(),
            Some(folder) => std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.path().join("manifest.yaml").is_file())
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect(),
        };
        names.sort();
        names
    }

    /// A vendor's folder on disk; what the binary carries is written below `into` first.
    pub(crate) fn on_disk(&self, vendor: &str, into: &Path) -> anyhow::Result<PathBuf> {
        self.read(vendor, "manifest.yaml")?;
        if let Some(folder) = &self.folder {
            return Ok(folder.join(vendor));
        }
        let carried = CARRIED.get_dir(vendor).with_context(|| format!("{vendor} is not carried"))?;
        let written = std::fs::create_dir_all(into.join(vendor)).and_then(|()| carried.extract(into));
        written.with_context(|| format!("{} cannot be written", into.display()))?;
        Ok(into.join(vendor))
    }

    /// A file of a vendor's folder: the name to show in messages, and its text.
    pub(crate) fn read(&self, vendor: &str, file: &str) -> anyhow::Result<(String, String)> {
        let path = Path::new(vendor).join(file);
        let shown = Path::new("vendors").join(&path).display().to_string();
        match &self.folder {
            None => {
                let found = CARRIED.get_file(&path).and_then(|file| file.contents_utf8());
                let text = found
                    .with_context(|| format!("{shown} does not exist; known vendors: {}", self.names().join(", ")))?;
                Ok((shown, text.to_owned()))
            }
            Some(folder) => {
                let path = folder.join(path);
                let text =
                    std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
                Ok((path.display().to_string(), text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_carries_its_vendors() {
        let vendors = Vendors::open(None).unwrap();
        assert!(vendors.names().contains(&"greenhouse".to_owned()));
        assert!(vendors.read("greenhouse", "manifest.yaml").unwrap().0.ends_with("greenhouse/manifest.yaml"));
        assert!(vendors.read("nobody", "manifest.yaml").unwrap_err().to_string().contains("greenhouse"));
    }
}
