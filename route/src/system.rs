//! A system that receives: one folder of data under `sinks/`, found by walking it.
//!
//! `sinks/<system>/sink.yaml` says what the system takes and how its requests look. The binary carries the folder;
//! the setting `route.sinks_dir` puts another in its place.

use std::sync::Arc;

use hirewire_schemas::Entity;
use hirewire_yaml::{Node, Problems, did_you_mean};
use include_dir::{Dir, include_dir};

use crate::request::{RequestPlan, read_entity};

static CARRIED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sinks");

#[derive(Debug)]
pub(crate) struct System {
    pub(crate) name: String,
    pub(crate) takes: Takes,
}

/// What a system takes of the stream.
#[derive(Debug)]
pub(crate) enum Takes {
    /// It does something in the world: LIVE changes from the route's start on, each by the first request that fits.
    WhatActs(Vec<RequestPlan>),
    /// It records: all records of these entities, corrections too.
    Everything(Vec<Entity>),
}

impl System {
    pub(crate) fn request(&self, name: &str) -> Option<&RequestPlan> {
        match &self.takes {
            Takes::WhatActs(requests) => requests.iter().find(|request| request.name == name),
            Takes::Everything(_) => None,
        }
    }

    /// The entities whose topics its routes read.
    pub(crate) fn entities(&self) -> Vec<Entity> {
        let mut entities = match &self.takes {
            Takes::WhatActs(requests) => requests.iter().map(|request| request.entity).collect(),
            Takes::Everything(entities) => entities.clone(),
        };
        entities.sort_unstable();
        entities.dedup();
        entities
    }

    fn read(root: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = root.map(problems)?;
        let name = map.require("system", problems).and_then(|node| node.text(problems)).map(str::to_owned);
        // For people; that it is there is all that is checked.
        map.require("summary", problems).and_then(|node| node.text(problems));
        let takes = match (map.get("requests"), map.get("records")) {
            (Some(requests), None) => read_requests(requests, problems).map(Takes::WhatActs),
            (None, Some(records)) => read_entities(records, problems).map(Takes::Everything),
            _ => {
                problems.add(root, "a system has either `requests` or `records`", "see the folders beside it");
                None
            }
        };
        map.finish(problems);
        Some(Self { name: name?, takes: takes? })
    }
}

fn read_requests(node: &Node, problems: &mut Problems) -> Option<Vec<RequestPlan>> {
    let mut map = node.map(problems)?;
    let read: Vec<(&Node, Option<RequestPlan>)> =
        map.entries().map(|(key, name, value)| (key, RequestPlan::read(name, value, problems))).collect();
    let names: Vec<String> = read.iter().filter_map(|(key, _)| key.scalar().map(str::to_owned)).collect();
    for (key, plan) in &read {
        if let Some(cancelled) = plan.as_ref().and_then(|plan| plan.cancels.as_ref())
            && !names.contains(cancelled)
        {
            let hint = did_you_mean(cancelled, names.iter().map(String::as_str));
            problems.add(key, format!("it cancels \"{cancelled}\", which is no request of this system"), hint);
        }
    }
    read.into_iter().map(|(_, plan)| plan).collect()
}

fn read_entities(node: &Node, problems: &mut Problems) -> Option<Vec<Entity>> {
    let read: Vec<Option<Entity>> = node.list(problems)?.iter().map(|item| read_entity(item, problems)).collect();
    read.into_iter().collect()
}

/// All systems there are, by name.
#[derive(Debug, Clone)]
pub(crate) struct Systems(Vec<Arc<System>>);

impl Systems {
    /// Those that the binary carries.
    ///
    /// # Errors
    /// All mistakes of all files.
    pub(crate) fn carried() -> Result<Self, Problems> {
        let files = CARRIED.dirs().filter_map(|folder| {
            let path = folder.path().join("sink.yaml");
            let text = CARRIED.get_file(&path)?.contents_utf8()?.to_owned();
            Some((format!("sinks/{}", path.display()), text))
        });
        Self::read(files)
    }

    /// Those of a folder.
    ///
    /// # Errors
    /// All mistakes of all files.
    pub(crate) fn of_folder(folder: &std::path::Path) -> Result<Self, Problems> {
        let unreadable = |error: std::io::Error| {
            let mut problems = Problems::new();
            problems.push(hirewire_yaml::Problem {
                file: folder.display().to_string(),
                line: 0,
                what: format!("the folder of sinks cannot be read: {error}"),
                hint: "mend `route.sinks_dir`".to_owned(),
            });
            problems
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path().join("sink.yaml");
            if path.exists() {
                let text = std::fs::read_to_string(&path).map_err(unreadable)?;
                files.push((path.display().to_string(), text));
            }
        }
        Self::read(files)
    }

    fn read(files: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut systems = Vec::new();
        for (file, text) in files {
            match hirewire_yaml::parse(&file, &text) {
                Ok(root) => systems.extend(System::read(&root, &mut problems).map(Arc::new)),
                Err(more) => problems.extend(more),
            }
        }
        problems.into_result(Some(Self(systems)))
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<System>> {
        self.0.iter().find(|system| system.name == name).cloned()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|system| system.name.as_str())
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<System>> {
        self.0.iter()
    }
}

/// A carried system, for tests.
#[cfg(test)]
pub(crate) fn carried(name: &str) -> Arc<System> {
    Systems::carried().unwrap_or_else(|problems| panic!("{problems}")).get(name).unwrap()
}
