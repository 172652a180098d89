//! Named parts of a mapping file that rules use as `$name`: each must be used, each use must name one.

use std::collections::BTreeMap;

use hirewire_yaml::{Node, Problems, did_you_mean};

#[derive(Debug, Default)]
pub(super) struct Named {
    what: &'static str,
    parts: BTreeMap<String, Part>,
}

#[derive(Debug)]
struct Part {
    at: Node,
    node: Node,
    used: bool,
}

impl Named {
    pub(super) fn read(node: Option<&Node>, what: &'static str, problems: &mut Problems) -> Self {
        let mut parts = BTreeMap::new();
        if let Some(mut map) = node.and_then(|node| node.map(problems)) {
            for (key, name, node) in map.entries() {
                parts.insert(name.to_owned(), Part { at: key.clone(), node: node.clone(), used: false });
            }
        }
        Self { what, parts }
    }

    /// The part that `node` names, if it is a `$name`; `Err`: there is no such part.
    pub(super) fn resolve(&mut self, node: &Node, problems: &mut Problems) -> Result<Option<Node>, ()> {
        let Some(name) = node.scalar().and_then(|text| text.strip_prefix('$')) else { return Ok(None) };
        if let Some(part) = self.parts.get_mut(name) {
            part.used = true;
            return Ok(Some(part.node.clone()));
        }
        let hint = did_you_mean(name, self.parts.keys().map(String::as_str));
        problems.add(node, format!("there is no {} \"{name}\"", self.what), hint);
        Err(())
    }

    pub(super) fn report_unused(&self, problems: &mut Problems) {
        for (name, part) in self.parts.iter().filter(|(_, part)| !part.used) {
            let what = format!("no rule uses the {} \"{name}\"", self.what);
            problems.add(&part.at, what, "remove it, or use it as $name");
        }
    }
}
