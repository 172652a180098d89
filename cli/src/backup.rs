//! A backup of embedded data: a folder like the data folder itself, and `backup.json`, which is written last and has the sum of every
//! file. In: a folder; out: the folder's files checked, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hirewire_broker::{Contents, GroupPosition, TopicContents};
use hirewire_registry::unframe;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "backup.json";
const FORMAT: u32 = 1;

/// Where a data folder keeps what, and a backup of it too.
pub(crate) const BROKER: &str = "broker";
pub(crate) const REGISTRY: &str = "registry";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    /// Of the program that made it.
    release: String,
    /// When it was begun: what was acknowledged before is in it.
    pub(crate) begun: String,
    /// By path below the folder.
    files: BTreeMap<String, Sum>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sum {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Of all files that are in a folder.
    pub(crate) fn of(folder: &Path, begun: String) -> anyhow::Result<Self> {
        let sum = |path: String| anyhow::Ok((sum(&folder.join(&path))?, path));
        let files = files(folder)?.into_iter().filter(|path| path != MANIFEST);
        let files = files.map(|path| sum(path).map(|(sum, path)| (path, sum))).collect::<anyhow::Result<_>>()?;
        Ok(Self { format: FORMAT, release: env!("CARGO_PKG_VERSION").to_owned(), begun, files })
    }

    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(MANIFEST);
        let write = || -> std::io::Result<()> {
            std::fs::write(&path, serde_json::to_vec_pretty(self)?)?;
            File::open(&path)?.sync_all()?;
            File::open(folder)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "{} cannot be read: {} is no backup, or one that was not finished",
                path.display(),
                folder.display()
            )
        })?;
        let manifest: Self = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        anyhow::ensure!(
            manifest.format == FORMAT,
            "{} has format {}, this program knows {FORMAT}: use release {}, which made it",
            path.display(),
            manifest.format,
            manifest.release
        );
        Ok(manifest)
    }

    /// Holds every file of a folder against its sum.
    pub(crate) fn check(&self, folder: &Path) -> anyhow::Result<()> {
        for (path, expected) in &self.files {
            let file = folder.join(path);
            let found = sum(&file)?;
            anyhow::ensure!(
                found == *expected,
                "{} is not as it was written: {} bytes with another sum, {} bytes expected; take another backup",
                file.display(),
                found.bytes,
                expected.bytes
            );
        }
        Ok(())
    }

    /// Copies every file to another folder, down to the disk.
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        let mut folders = BTreeSet::from([to.to_owned()]);
        for path in self.files.keys() {
            let (source, target) = (from.join(path), to.join(path));
            let folder = target.parent().unwrap_or(to);
            folders.extend(folder.ancestors().take_while(|above| above.starts_with(to)).map(Path::to_path_buf));
            let copied = std::fs::create_dir_all(folder).and_then(|()| std::fs::copy(&source, &target));
            copied
                .and_then(|_| File::open(&target)?.sync_all())
                .with_context(|| format!("cannot copy {} to {}", source.display(), target.display()))?;
        }
        for folder in folders {
            File::open(&folder)?.sync_all().with_context(|| format!("cannot write {}", folder.display()))?;
        }
        Ok(())
    }
}

/// Makes a folder that only its owner can read, or finds it empty.
pub(crate) fn make_empty(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let make = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let mut entries =
        make.and_then(|()| std::fs::read_dir(folder)).with_context(|| format!("cannot make {}", folder.display()))?;
    anyhow::ensure!(entries.next().is_none(), "{} is not empty: name a folder that is not there yet", folder.display());
    Ok(())
}

/// All files below a folder, by their path in it.
fn files(folder: &Path) -> anyhow::Result<Vec<String>> {
    let (mut found, mut waiting) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = waiting.pop() {
        let at = folder.join(&below);
        for entry in std::fs::read_dir(&at).with_context(|| format!("cannot list {}", at.display()))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                waiting.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    Ok(found)
}

fn sum(file: &Path) -> anyhow::Result<Sum> {
    let read = || -> std::io::Result<Sum> {
        let (mut file, mut sha256, mut bytes) = (File::open(file)?, Sha256::new(), 0);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(Sum { bytes, sha256: hex::encode(sha256.finalize()) });
            }
            sha256.update(buffer.get(..count).unwrap_or_default());
            bytes += count as u64;
        }
    };
    read().with_context(|| format!("{} cannot be read", file.display()))
}

/// What a data folder or a backup holds.
pub(crate) struct Holding {
    broker: Option<Contents>,
    registry: Option<hirewire_registry::Contents>,
    /// Ids of schemas in the records of each topic that has such.
    ids: BTreeMap<String, BTreeSet<u32>>,
}

impl Holding {
    /// Reads all of it. Blocks.
    pub(crate) fn of(folder: &Path) -> anyhow::Result<Self> {
        let (broker, registry) = (folder.join(BROKER), folder.join(REGISTRY));
        let registry = registry.exists().then(|| hirewire_registry::inspect(&registry)).transpose()?;
        let mut ids: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        let subjects: BTreeSet<&str> = registry.iter().flat_map(|found| &found.subjects).map(String::as_str).collect();
        let is_framed = |topic: &str| {
            let rows = &hirewire_schemas::topics::table().topics;
            // Of ours, whatever prefix stands in front, or of whoever registered a schema for it.
            rows.iter().any(|row| row.record.is_some() && topic.ends_with(&row.name))
                || subjects.contains(format!("{topic}-value").as_str())
        };
        let visit = |topic: &str, value: &[u8]| {
            if let (true, Ok((id, _))) = (is_framed(topic), unframe(value)) {
                ids.entry(topic.to_owned()).or_default().insert(id);
            }
        };
        let broker = broker.exists().then(|| hirewire_broker::inspect(&broker, visit)).transpose()?;
        Ok(Self { broker, registry, ids })
    }

    /// One line for each topic, group and part.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(broker) = &self.broker {
            lines.extend(broker.topics.iter().map(describe_topic));
            let mut groups: BTreeMap<&str, Vec<&GroupPosition>> = BTreeMap::new();
            broker.positions.iter().for_each(|at| groups.entry(&at.group).or_default().push(at));
            lines.extend(
                groups.iter().map(|(group, positions)| format!("group     {group}: {} positions", positions.len())),
            );
            let records: u64 = broker.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.records).sum();
            lines.push(format!(
                "broker    cluster {}: {} topics, {records} records, {} groups, {} open transactions",
                broker.cluster_id,
                broker.topics.len(),
                groups.len(),
                broker.open_transactions
            ));
        }
        if let Some(registry) = &self.registry {
            let (subjects, ids) = (registry.subjects.len(), registry.ids.len());
            lines.push(format!("registry  {subjects} subjects, {} versions, {ids} schemas", registry.versions));
        }
        lines
    }

    /// What does not belong together.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for at in self.broker.iter().flat_map(Contents::ahead) {
            problems.push(format!(
                "group {} stands at {} of {} partition {}, where there is no record yet: whoever committed that skips records",
                at.group, at.offset, at.topic, at.partition
            ));
        }
        let known = self.registry.as_ref().map(|registry| &registry.ids);
        for (topic, ids) in &self.ids {
            for id in ids.iter().filter(|id| known.is_none_or(|known| !known.contains(id))) {
                problems.push(format!("{topic} has records of schema {id}, which the registry does not know"));
            }
        }
        problems
    }
}

fn describe_topic(topic: &TopicContents) -> String {
    let records: u64 = topic.partitions.iter().map(|partition| partition.records).sum();
    let ranges = topic.partitions.iter().map(|partition| format!("{}..{}", partition.start, partition.end));
    format!("topic     {}: {records} records, offsets {}", topic.name, ranges.collect::<Vec<_>>().join(" "))
}
