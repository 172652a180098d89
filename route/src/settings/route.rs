//! One route of `routes`: which records go to which sink, and from when on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hirewire_schemas::Entity;
use hirewire_yaml::{Node, Problems, did_you_mean};
use jiff::Timestamp;

use super::said::said;
use super::{SinkSettings, read_duration};
use crate::deliver::OnRefusal;
use crate::request::condition::Condition;
use crate::request::read_entity;
use crate::system::Takes;

#[derive(Clone)]
pub(crate) struct RouteSettings {
    pub(crate) name: Arc<str>,
    /// `None`: all that the system takes.
    pub(crate) entity: Option<Entity>,
    pub(crate) when: Condition,
    pub(crate) from: From,
    pub(crate) corrections: bool,
    pub(crate) requires_within: Duration,
    pub(crate) on_refusal: OnRefusal,
}

/// From when on a route acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// When it is first enabled.
    Now,
    At(Timestamp),
    Beginning,
}

pub(super) fn read_route(
    name: &str,
    node: &Node,
    sinks: &mut BTreeMap<String, Option<SinkSettings>>,
    problems: &mut Problems,
) {
    let Some(mut map) = node.map(problems) else { return };
    let sink_node = map.require("sink", problems);
    let sink = sink_node.and_then(|node| node.text(problems));
    let entity = map.get("entity").map(|node| (node, read_entity(node, problems)));
    let of_system = sink.and_then(|name| sinks.get(name)?.as_ref()).map(|sink| sink.system.entities());
    let entities = match entity {
        Some((_, entity)) => entity.into_iter().collect(),
        None => of_system.unwrap_or_default(),
    };
    let when = map.get("when").map_or(Some(Condition::default()), |node| Condition::read(node, &entities, problems));
    let from_node = map.get("from");
    let from = from_node.map_or(Some(From::Now), |node| read_from(node, problems));
    let corrections = map.get("corrections").map_or(Some(false), |node| node.boolean(problems));
    let mut requires_within = Duration::from_secs(15 * 60);
    read_duration(&mut map, "requires_within", &mut requires_within, problems);
    let on_refusal = map.get("on_refusal").map_or(Some(OnRefusal::Skip), |node| {
        node.choice(&[("skip", OnRefusal::Skip), ("hold", OnRefusal::Hold)], problems)
    });
    map.finish(problems);
    let (Some(sink_node), Some(sink)) = (sink_node, sink) else { return };
    if !sinks.contains_key(sink) {
        let hint = did_you_mean(sink, sinks.keys().map(String::as_str));
        let hint = if hint.is_empty() { "add it under `sinks`".to_owned() } else { hint };
        problems.add(sink_node, format!("there is no sink \"{sink}\""), hint);
        return;
    }
    // A sink with mistakes of its own was reported already.
    let Some(Some(sink)) = sinks.get_mut(sink) else { return };
    if let Some((node, Some(entity))) = entity
        && !sink.system.entities().contains(&entity)
    {
        let known: Vec<&str> = sink.system.entities().iter().map(|entity| entity.kebab()).collect();
        let what = format!("the system \"{}\" takes no {entity}", sink.system.name);
        problems.add(node, what, format!("it takes: {}", known.join(", ")));
    }
    if let (Takes::Copies(_), None) = (&sink.system.takes, &entity) {
        let what = format!("a route to the system \"{}\" says which records are handed on", sink.system.name);
        problems.add(sink_node, what, "write `entity: stage-change`, or another entity");
    }
    if let (true, Some(node), Some(From::Now | From::At(_))) = (sink.system.records(), from_node, from) {
        let what = format!("the system \"{}\" records everything, from the beginning", sink.system.name);
        problems.add(node, what, "remove `from`, or write `from: beginning`");
    }
    if let (Some(when), Some(from), Some(corrections), Some(on_refusal)) = (when, from, corrections, on_refusal) {
        let entity = entity.and_then(|(_, entity)| entity);
        sink.said += &format!("\n{name}: {}", said(node));
        let name = name.into();
        sink.routes.push(RouteSettings { name, entity, when, from, corrections, requires_within, on_refusal });
    }
}

fn read_from(node: &Node, problems: &mut Problems) -> Option<From> {
    match node.text(problems)? {
        "now" => Some(From::Now),
        "beginning" => Some(From::Beginning),
        text => {
            let at = text.parse().ok().map(From::At);
            if at.is_none() {
                problems.add(
                    node,
                    format!("\"{text}\" is no instant"),
                    "write now, beginning, or a time with its zone: 2026-01-31T08:00:00Z",
                );
            }
            at
        }
    }
}
