//! A request that waits for what another sink has created of the same record.
//!
//! In: `after: {sink: settings.NAME, request: …}`. Out: whose id it waits for, which the request names as `after.id`.

use hirewire_yaml::{Node, Problems};
use serde_json::Value;

use super::Common;
use super::parts::Parts;
use super::path::Path;

#[derive(Debug, Clone)]
pub(crate) struct After {
    /// The setting that names the other sink.
    pub(crate) setting: String,
    /// The other sink's request, or `request.step`, that creates.
    pub(crate) request: String,
}

impl After {
    pub(super) fn read(node: &Node, common: &Common, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let sink = map.require("sink", problems);
        let setting = sink.and_then(|node| {
            let text = node.text(problems)?;
            let known = Path::parse(text).and_then(|path| common.setting(&path));
            if known.is_none_or(|setting| setting.is_secret) {
                let what = format!("\"{text}\" is none of the system's `settings`");
                problems.add(node, what, "name the setting that names the other sink: settings.NAME");
            }
            known.map(|setting| setting.name.clone())
        });
        let request = map.require("request", problems).and_then(|node| node.name(problems)).map(str::to_owned);
        map.finish(problems);
        Some(Self { setting: setting?, request: request? })
    }

    /// The other sink, by what ours was told.
    pub(crate) fn sink<'a>(&self, told: &'a Value) -> &'a str {
        told.get(&self.setting).and_then(Value::as_str).unwrap_or_default()
    }

    /// What is missing as long as the other has told no id.
    pub(super) fn missing(&self, of: &Parts) -> Option<String> {
        let known = of.get("after").and_then(|after| after.get("id")).is_some_and(|id| !id.is_null());
        (!known).then(|| format!("after.id (of the other sink's {})", self.request))
    }
}
