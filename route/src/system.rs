//! A system that receives: one folder of data under `sinks/`, found by walking it.
//!
//! `sinks/<system>/sink.yaml` says what the system takes and how its requests look. The binary carries the folder;
//! the setting `route.sinks_dir` puts another in its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hirewire_schemas::Entity;
use hirewire_yaml::{Node, Problems, did_you_mean};
use include_dir::{Dir, include_dir};

use crate::event;
use crate::request::after::After;
use crate::request::batch::BatchPlan;
use crate::request::told::Setting;
use crate::request::{Common, RequestPlan, answer, read_entity};
use crate::row::TablePlan;

static CARRIED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sinks");

#[derive(Debug)]
pub(crate) struct System {
    pub(crate) name: String,
    pub(crate) takes: Takes,
    /// What each sink of the system must be told.
    pub(crate) settings: Vec<Setting>,
    /// Whether its requests may go several in one.
    pub(crate) batches: bool,
    migrations: Vec<Migration>,
    /// All that was read of its folder.
    pub(crate) said: String,
}

/// One step of a database's schema: `<system>/<kind>/<name>.sql`, applied in the order of names.
#[derive(Debug)]
pub(crate) struct Migration {
    kind: String,
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// What a system takes of the stream.
#[derive(Debug)]
pub(crate) enum Takes {
    /// It does something in the world: LIVE changes from the route's start on, each by the first request that fits.
    WhatActs(Vec<RequestPlan>),
    /// It records: all records of these entities, corrections too.
    Everything(Vec<Arc<TablePlan>>),
    /// It hands on all records of these entities as they are, corrections too.
    Copies(Vec<Entity>),
}

impl System {
    /// The requests that it makes; one that only records has none.
    pub(crate) fn requests(&self) -> &[RequestPlan] {
        match &self.takes {
            Takes::WhatActs(requests) => requests.as_slice(),
            Takes::Everything(_) | Takes::Copies(_) => &[],
        }
    }

    pub(crate) fn request(&self, name: &str) -> Option<&RequestPlan> {
        self.requests().iter().find(|request| request.name == name)
    }

    /// Whether it takes what was as well as what is new: from the beginning, corrections too.
    pub(crate) fn records(&self) -> bool {
        match &self.takes {
            Takes::WhatActs(_) => false,
            Takes::Everything(_) | Takes::Copies(_) => true,
        }
    }

    /// Whether it changes something at the source.
    pub(crate) fn writes_back(&self) -> bool {
        self.requests().iter().any(|request| request.writes_back.is_some())
    }

    /// What its requests wait for at other sinks, and of which entity.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = (&After, Entity)> {
        self.requests().iter().filter_map(|request| Some((request.after.as_ref()?, request.entity)))
    }

    /// Whether a request of that entity creates what is kept by that name.
    pub(crate) fn creates(&self, name: &str, entity: Entity) -> bool {
        self.requests().iter().any(|request| request.entity == entity && request.creates_as(name))
    }

    /// The entities whose topics its routes read.
    pub(crate) fn entities(&self) -> Vec<Entity> {
        let mut entities = match &self.takes {
            Takes::WhatActs(requests) => requests.iter().map(|request| request.entity).collect::<Vec<_>>(),
            Takes::Everything(tables) => tables.iter().map(|table| table.entity).collect::<Vec<_>>(),
            Takes::Copies(entities) => entities.clone(),
        };
        entities.sort_unstable();
        entities.dedup();
        entities
    }

    /// The steps for one kind of database, in order.
    pub(crate) fn migrations(&self, kind: &str) -> impl Iterator<Item = &Migration> {
        self.migrations.iter().filter(move |migration| migration.kind == kind)
    }

    fn read(root: &Node, text: &str, migrations: Vec<Migration>, problems: &mut Problems) -> Option<Self> {
        let said = migrations.iter().fold(text.to_owned(), |said, step| said + &step.name + &step.sql);
        let mut map = root.map(problems)?;
        let name = map.require("system", problems).and_then(|node| node.text(problems)).map(str::to_owned);
        // For people; that it is there is all that is checked.
        map.require("summary", problems).and_then(|node| node.text(problems));
        let settings = map.get("settings").map_or(Some(Vec::new()), |node| Setting::read_all(node, problems));
        let rules = map.get("answers").map_or(Some(Vec::new()), |node| answer::read_rules(node, problems));
        let batch = map.get("batch");
        let plan = batch.map_or(Some(None), |node| BatchPlan::read(node, problems).map(|plan| Some(Arc::new(plan))));
        let common = settings.zip(rules).zip(plan);
        let common = common.map(|((settings, rules), batch)| Common { rules: rules.into(), settings, batch });
        let takes = match (map.get("requests"), map.get("records"), map.get("copies")) {
            (Some(requests), None, None) => {
                common.as_ref().and_then(|common| read_requests(requests, common, problems)).map(Takes::WhatActs)
            }
            (None, Some(records), None) => read_tables(records, problems).map(Takes::Everything),
            (None, None, Some(copies)) => read_entities(copies, problems).map(Takes::Copies),
            _ => {
                let what = "a system has one of `requests`, `records` and `copies`";
                problems.add(root, what, "see the folders beside it");
                None
            }
        };
        map.finish(problems);
        if let (Some(node), Some(Takes::WhatActs(requests))) = (batch, &takes) {
            for request in requests.iter().filter(|request| !request.is_for_batches()) {
                let what = format!(
                    "the request {} cannot go in a batch: it tells an id, has steps, holds a secret or is not JSON",
                    request.name
                );
                problems.add(node, what, "remove `batch`");
            }
        }
        let common = common?;
        let batches = common.batch.is_some();
        Some(Self { name: name?, takes: takes?, settings: common.settings, batches, migrations, said })
    }
}

fn read_requests(node: &Node, common: &Common, problems: &mut Problems) -> Option<Vec<RequestPlan>> {
    let mut map = node.map(problems)?;
    let mut nodes = Vec::new();
    let mut plans = Vec::new();
    for (key, name, value) in map.entries() {
        nodes.push(key);
        plans.push(RequestPlan::read(name, value, common, problems));
    }
    let plans: Vec<RequestPlan> = plans.into_iter().collect::<Option<_>>()?;
    for (plan, key) in plans.iter().zip(nodes) {
        let mut check = |other: &String, does: &str, known: &[String]| {
            if !known.contains(other) {
                let hint = did_you_mean(other, known.iter().map(String::as_str));
                problems.add(key, format!("it {does} \"{other}\", which is no such request of this system"), hint);
            }
        };
        let names: Vec<String> = plans.iter().map(|plan| plan.name.clone()).collect();
        let created: Vec<String> = plans.iter().flat_map(RequestPlan::created).collect();
        plan.cancels.iter().for_each(|other| check(other, "cancels", &names));
        plan.updates.iter().for_each(|other| check(other, "updates what is created by", &created));
        let creator = plan.updates.as_ref().and_then(|other| plans.iter().find(|plan| plan.creates_as(other)));
        if let Some(creator) = creator.filter(|creator| !kept_alike(creator.entity, plan.entity)) {
            let what = format!(
                "what is created of a {} is not known of a {}: {}",
                creator.entity, plan.entity, "ids are kept by application, or by the record itself"
            );
            problems.add(key, what, "use stage-change and application together, and any other entity alone");
        }
        if plan.once && !plan.is_kept() {
            let what = format!("the request {} is made once, and it is not kept that it was", plan.name);
            problems.add(key, what, "add `creates: {id: …}`, or `steps`");
        }
    }
    Some(plans)
}

/// Whether what is created of the one is known of the other.
fn kept_alike(one: Entity, other: Entity) -> bool {
    one == other || [one, other].iter().all(|entity| event::IN_LANE.contains(entity))
}

fn read_tables(node: &Node, problems: &mut Problems) -> Option<Vec<Arc<TablePlan>>> {
    let mut map = node.map(problems)?;
    let read: Vec<Option<Arc<TablePlan>>> = map
        .entries()
        .map(|(key, _, value)| {
            let entity = read_entity(key, problems);
            TablePlan::read(entity?, value, problems).map(Arc::new)
        })
        .collect();
    read.into_iter().collect()
}

fn read_entities(node: &Node, problems: &mut Problems) -> Option<Vec<Entity>> {
    let read: Vec<Option<Entity>> = node.list(problems)?.iter().map(|item| read_entity(item, problems)).collect();
    read.into_iter().collect()
}

/// The files of systems' folders, in the order of their paths below the folder of all.
pub(crate) struct Files {
    /// The folder, for messages.
    shown: String,
    pub(crate) texts: Vec<(PathBuf, String)>,
}

impl Files {
    pub(crate) fn carried() -> Self {
        let mut texts = Vec::new();
        let mut folders: Vec<&Dir<'_>> = vec![&CARRIED];
        while let Some(folder) = folders.pop() {
            folders.extend(folder.dirs());
            let found = folder.files().filter_map(|file| Some((file.path(), file.contents_utf8()?)));
            texts.extend(found.map(|(path, text)| (path.to_path_buf(), text.to_owned())));
        }
        texts.sort();
        Self { shown: "sinks".to_owned(), texts }
    }

    /// Of these kinds.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn of_folder(folder: &Path, kinds: &[&str]) -> Result<Self, Problems> {
        let shown = folder.display().to_string();
        let unreadable = |error: std::io::Error| {
            let mut problems = Problems::new();
            problems.push(hirewire_yaml::Problem {
                file: shown.clone(),
                line: 0,
                what: format!("the folder of sinks cannot be read: {error}"),
                hint: "mend `route.sinks_dir`".to_owned(),
            });
            problems
        };
        let mut texts = Vec::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(current) = folders.pop() {
            for entry in std::fs::read_dir(&current).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|kind| kinds.iter().any(|known| kind == *known)) {
                    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
                    texts.push((path.strip_prefix(folder).unwrap_or(&path).to_path_buf(), text));
                }
            }
        }
        texts.sort();
        Ok(Self { shown, texts })
    }

    /// # Errors
    /// All mistakes of the text of one of them.
    pub(crate) fn parse(&self, path: &Path, text: &str) -> Result<Node, Problems> {
        hirewire_yaml::parse(&format!("{}/{}", self.shown, path.display()), text)
    }
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
        Self::read(&Files::carried())
    }

    /// Those of a folder.
    ///
    /// # Errors
    /// All mistakes of all files.
    pub(crate) fn of_folder(folder: &Path) -> Result<Self, Problems> {
        Self::read(&Files::of_folder(folder, &["yaml", "sql"])?)
    }

    /// Of `<system>/sink.yaml` and `<system>/<kind>/<name>.sql`.
    ///
    /// # Errors
    /// All mistakes of all files.
    pub(crate) fn read(files: &Files) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut systems = Vec::new();
        for (path, text) in &files.texts {
            let Some(folder) = path.parent().filter(|_| path.ends_with("sink.yaml")) else { continue };
            let migrations = migrations(folder, &files.texts);
            match files.parse(path, text) {
                Ok(root) => systems.extend(System::read(&root, text, migrations, &mut problems).map(Arc::new)),
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<System>> {
        self.0.iter()
    }
}

fn migrations(folder: &Path, files: &[(PathBuf, String)]) -> Vec<Migration> {
    let of_folder = files.iter().filter(|(path, _)| path.parent().and_then(Path::parent) == Some(folder));
    let named = of_folder.filter_map(|(path, sql)| {
        let name = path.file_name()?.to_str()?.strip_suffix(".sql")?;
        let kind = path.parent()?.file_name()?.to_str()?;
        Some(Migration { kind: kind.to_owned(), name: name.to_owned(), sql: sql.clone() })
    });
    named.collect()
}

/// A carried system, for tests.
#[cfg(test)]
pub(crate) fn carried(name: &str) -> Arc<System> {
    Systems::carried().unwrap_or_else(|problems| panic!("{problems}")).get(name).unwrap()
}
