//! Each path that the manifest names, looked for in the fixtures of what it is read of.
//!
//! A path that no fixture of its event or list has is a mistake. Of several places that are tried in turn one must be
//! there, and of the others a warning is given, as of events and lists without a fixture. What no fixture shows, a login's
//! answer, a queue's batches, errors, headers, is for `prove`.

use std::collections::{BTreeMap, BTreeSet};

use hirewire_ingest::manifest::{Api, Stream};
use hirewire_yaml::{Node, Problems, Value as Yaml};
use serde_json::Value;

use crate::payloads::{List, Payloads};
use crate::places::{Holds, at, keys, near, nearest, text};
use crate::rules::Rules;

/// Payloads, and what they are of: the list jobs.
struct Of<'p> {
    kind: &'static str,
    name: &'p str,
    payloads: Vec<&'p Value>,
}

/// Looks for the paths of `manifest`, which `rules` were read of.
pub(crate) fn hold(
    manifest: &Node,
    rules: &Rules,
    payloads: &Payloads,
    mistakes: &mut Problems,
    warnings: &mut Problems,
) {
    let mut held = Held { rules, payloads, mistakes, warnings };
    for way in ["webhook", "queue"].into_iter().filter_map(|way| manifest.peek(way)) {
        held.events(way);
    }
    if let (Some(node), Some(api)) = (manifest.peek("api"), &rules.manifest.api) {
        held.api(node, api);
    }
}

struct Held<'a> {
    rules: &'a Rules,
    payloads: &'a Payloads,
    mistakes: &'a mut Problems,
    warnings: &'a mut Problems,
}

impl<'a> Held<'a> {
    fn events(&mut self, way: &Node) {
        let payloads = self.payloads;
        let all = payloads.events.values().flatten().chain(&payloads.nameless).collect();
        let deliveries = [Of { kind: "deliveries", name: "", payloads: all }];
        let hmac = ["signature", "hmac"];
        let places: [&[&str]; 7] = [
            &["event"],
            &["delivery_id", "field"],
            &["delivery_id", "fields"],
            &[hmac[0], hmac[1], "field"],
            &[hmac[0], hmac[1], "signed", "fields"],
            &[hmac[0], hmac[1], "sent_at", "epoch_ms"],
            &[hmac[0], hmac[1], "sent_at", "epoch_s"],
        ];
        // A map names a header, or a claim.
        let of_body = |node: &&Node| !matches!(node.value, Yaml::Map(_));
        for node in places.into_iter().filter_map(|keys| below(way, keys)).filter(of_body) {
            self.each(&places_of(node), Holds::Text, &deliveries);
        }
        let mut unseen = Vec::new();
        for (event, subject) in way.peek("subjects").into_iter().flat_map(Node::entries) {
            match payloads.events.get(event) {
                Some(bodies) => self.one_of(&places_of(subject), Holds::Text, &of_event(event, bodies)),
                None if !self.rules.plan.events().any(|known| known == event) => unseen.push(event),
                // That it has none is told of its rule.
                None => {}
            }
        }
        for (event, lists) in way.peek("fetch").into_iter().flat_map(Node::entries) {
            let Some(bodies) = payloads.events.get(event) else { continue };
            for (_, path) in lists.entries().filter(|(_, path)| path.scalar().is_some()) {
                self.each(&[path], Holds::Text, &[of_event(event, bodies)]);
            }
        }
        self.unseen("events", &unseen, way.peek("subjects").unwrap_or(way));
    }

    fn api(&mut self, node: &Node, api: &'a Api) {
        let payloads = self.payloads;
        let (mut windows, mut syncs, mut unseen) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for stream in &api.streams {
            let Some(own) = below(node, &["streams", &stream.name]) else { continue };
            let Some(list) = payloads.lists.get(&stream.name) else {
                let is_mapped = self.rules.plan.streams().any(|known| known == stream.name);
                if stream.sweep.is_none() && !is_mapped {
                    unseen.push(stream.name.as_str());
                }
                continue;
            };
            let own_rows = self.rows(own, node, stream, list);
            rows.insert(&stream.name, own_rows.clone());
            let of = Of { kind: "list", name: &stream.name, payloads: own_rows };
            self.own(own, &of);
            let answers = Of { kind: "list", name: &stream.name, payloads: list.answers.iter().collect() };
            for path in below(own, &["one", "row"]).into_iter().flat_map(places_of) {
                if path.scalar() != Some(".") && lacks(path, Holds::Rows, &answers) {
                    let what = format!("no fixture of the list {} has `{}`: one row", stream.name, shown(path));
                    self.warn(path, Holds::Rows, what, &answers);
                }
            }
            let parent = stream.per.as_ref().and_then(|per| api.streams.get(per.parent));
            if let Some((parent, rows)) = parent.and_then(|parent| Some((parent, rows.get(parent.name.as_str())?))) {
                self.of_parent(own, &Of { kind: "list", name: &parent.name, payloads: rows.clone() });
            }
            let is_own = own.peek("window").or(own.peek("sync")).is_some();
            match (&stream.window, &stream.sync) {
                (Some(_), _) if is_own => self.window(own, &[stream], &[of]),
                (Some(_), _) => windows.push((stream, of)),
                (None, Some(_)) if is_own => self.sync(own, &[of], answers.payloads),
                (None, Some(_)) => syncs.push((of, answers.payloads)),
                (None, None) => {}
            }
        }
        let (streams, rows): (Vec<_>, Vec<_>) = windows.into_iter().unzip();
        self.window(node, &streams, &rows);
        let (rows, answers): (Vec<_>, Vec<_>) = syncs.into_iter().unzip();
        self.sync(node, &rows, answers.concat());
        self.answers(node);
        self.unseen("lists", &unseen, node.peek("streams").unwrap_or(node));
    }

    /// The rows of a list's fixtures. An object that is neither an answer nor a row says that rows stand elsewhere.
    fn rows(&mut self, own: &Node, api: &Node, stream: &Stream, list: &'a List) -> Vec<&'a Value> {
        let subject = own.peek("subject").into_iter().flat_map(places_of).map(shown);
        let ids: Vec<&str> = subject.chain([own.peek("id").map_or("id", shown)]).collect();
        let is_nameless = own.peek("id").or(own.peek("subject")).is_none();
        let is_row = |object: &&Value| is_nameless || ids.iter().any(|id| Holds::Text.stands_at(object, id));
        let (rows, others): (Vec<&Value>, Vec<&Value>) = list.alone.iter().partition(is_row);
        if !others.is_empty() {
            let node = own.peek("rows").or(own.peek("row")).or(api.peek("rows")).unwrap_or(own);
            let what = match node.scalar().unwrap_or(".") {
                "." => format!("a fixture of the list {} is no list, and no row", stream.name),
                place => format!("a fixture of the list {} has no rows at `{place}`, and is no row", stream.name),
            };
            self.mistakes.add(node, what, nearest(shown(node), Holds::Rows, &others));
        }
        rows.into_iter().chain(&list.rows).collect()
    }

    /// What a list's own keys name in its rows.
    fn own(&mut self, own: &Node, of: &Of<'_>) {
        let only = std::slice::from_ref(of);
        match own.peek("id") {
            Some(id) => self.each(&[id], Holds::Text, only),
            None if of.payloads.is_empty() || of.payloads.iter().any(|row| Holds::Text.stands_at(row, "id")) => {}
            None => {
                let what = format!("no row of the list {} has `id`: their bytes alone tell them apart", of.name);
                self.warn(own, Holds::Text, what, of);
            }
        }
        if let Some(subject) = own.peek("subject") {
            self.one_of(&places_of(subject), Holds::Text, of);
        }
        if let Some(but) = below(own, &["repeats", "bytes_but"]) {
            self.each(&places_of(but), Holds::Something, only);
        }
        if let Some(common) = own.peek("in_common") {
            self.each(&places_of(common), Holds::Text, only);
        }
        // What is not left out is kept.
        let mut names = BTreeSet::new();
        of.payloads.iter().for_each(|row| keys(row, &mut names));
        let elements = own.peek("leave_out").into_iter().flat_map(places_of);
        for element in elements.filter(|element| !names.is_empty() && !names.contains(shown(element))) {
            let what = format!("no row of the list {} has an element `{}`", of.name, shown(element));
            self.mistakes.add(element, what, near(shown(element), names.iter().copied()));
        }
    }

    /// What a list's own keys name in the rows of the list that it is asked for by.
    fn of_parent(&mut self, own: &Node, parent: &Of<'_>) {
        let only = std::slice::from_ref(parent);
        if let Some(values) = own.peek("each_in") {
            self.one_of(&places_of(values), Holds::Texts, parent);
        }
        for places in [own.peek("tell"), own.peek("in_common")].into_iter().flatten() {
            self.each(&places_of(places), Holds::Text, only);
        }
    }

    /// The window of these lists stands in `node`.
    fn window(&mut self, node: &Node, streams: &[&Stream], rows: &[Of<'_>]) {
        let Some(field) = below(node, &["window", "field"]) else { return };
        self.each(&[field], Holds::Text, rows);
        let is_unread = |(stream, of): &(&&Stream, &Of<'_>)| {
            let texts: Vec<String> = of.payloads.iter().filter_map(|row| text(at(row, shown(field))?)).collect();
            let reads = |text: &String| stream.window.as_ref().is_some_and(|window| window.format.read(text).is_some());
            !texts.is_empty() && !texts.iter().any(reads)
        };
        let unread: Vec<&Of<'_>> = streams.iter().zip(rows).filter(is_unread).map(|(_, of)| of).collect();
        if !unread.is_empty() {
            let format = below(node, &["window", "format"]).map_or("rfc3339", shown);
            let what = format!("`{}` of {} is no time of the format {format}", shown(field), whose(&unread));
            self.mistakes.add(field, what, "docs/manifest.md: `api.window.format`");
        }
    }

    /// The token of these lists stands in `node`.
    fn sync(&mut self, node: &Node, rows: &[Of<'_>], answers: Vec<&Value>) {
        let Some(sync) = node.peek("sync") else { return };
        if let Some(version) = sync.peek("version") {
            self.each(&[version], Holds::Text, rows);
        }
        self.answer(sync.peek("next"), Holds::Text, &answers);
    }

    /// What stands around the rows of any list.
    fn answers(&mut self, api: &Node) {
        let answers: Vec<&Value> = self.payloads.lists.values().flat_map(|list| &list.answers).collect();
        for (_, kind) in api.peek("paging").into_iter().flat_map(Node::entries) {
            let places =
                [("next", Holds::Something), ("more", Holds::Truth), ("last", Holds::Truth), ("total", Holds::Text)];
            for (key, holds) in places {
                self.answer(kind.peek(key), holds, &answers);
            }
        }
        self.answer(below(api, &["errors", "unless"]), Holds::Truth, &answers);
        self.answer(below(api, &["soap", "count"]), Holds::Text, &answers);
    }

    fn answer(&mut self, path: Option<&Node>, holds: Holds, answers: &[&Value]) {
        let Some(path) = path else { return };
        if answers.is_empty() {
            let what = format!("no fixture is a whole answer to a list: nothing holds `{}`", shown(path));
            self.warnings.add(path, what, "add one as the vendor sends it, with what stands around its rows");
        }
        self.each(&[path], holds, &[Of { kind: "answers", name: "", payloads: answers.to_vec() }]);
    }

    /// Each of the paths must be in a payload of each.
    fn each(&mut self, paths: &[&Node], holds: Holds, among: &[Of<'_>]) {
        for path in paths {
            let lacking: Vec<&Of<'_>> = among.iter().filter(|of| lacks(path, holds, of)).collect();
            if let Some(first) = lacking.first() {
                let what = format!("no fixture of {} has `{}`", whose(&lacking), shown(path));
                self.mistakes.add(path, what, nearest(shown(path), holds, &first.payloads));
            }
        }
    }

    /// One of the paths must be in a payload.
    fn one_of(&mut self, paths: &[&Node], holds: Holds, of: &Of<'_>) {
        let lacking: Vec<&Node> = paths.iter().copied().filter(|path| lacks(path, holds, of)).collect();
        let whose = whose(&[of]);
        if lacking.len() < paths.len() {
            for path in lacking {
                self.warn(path, holds, format!("no fixture of {whose} has `{}`, but another place", shown(path)), of);
            }
        } else if let Some(first) = lacking.first() {
            let all: Vec<String> = lacking.iter().map(|path| format!("`{}`", shown(path))).collect();
            let what = format!("no fixture of {whose} has {}", all.join(" or "));
            self.mistakes.add(first, what, nearest(shown(first), holds, &of.payloads));
        }
    }

    fn warn(&mut self, path: &Node, holds: Holds, what: String, of: &Of<'_>) {
        self.warnings.add(path, what, nearest(path.scalar().unwrap_or("id"), holds, &of.payloads));
    }

    fn unseen(&mut self, kind: &str, names: &[&str], at: &Node) {
        if !names.is_empty() {
            let what = format!("no fixture of the {kind} {}: nothing holds what is said of them", names.join(", "));
            self.warnings.add(at, what, "add documented ones");
        }
    }
}

fn of_event<'p>(event: &'p str, bodies: &'p [Value]) -> Of<'p> {
    Of { kind: "event", name: event, payloads: bodies.iter().collect() }
}

fn below<'n>(node: &'n Node, keys: &[&str]) -> Option<&'n Node> {
    keys.iter().try_fold(node, |node, key| node.peek(key))
}

/// A path, those of a list, or those that members name.
fn places_of(node: &Node) -> Vec<&Node> {
    match &node.value {
        Yaml::List(items) => items.iter().collect(),
        Yaml::Map(entries) => entries.iter().flat_map(|(_, value)| places_of(value)).collect(),
        _ => vec![node],
    }
}

/// A path as it is written.
fn shown(path: &Node) -> &str {
    path.scalar().unwrap_or(".")
}

/// There are payloads, and none has it.
fn lacks(path: &Node, holds: Holds, of: &Of<'_>) -> bool {
    !of.payloads.is_empty() && !of.payloads.iter().any(|payload| holds.stands_at(payload, shown(path)))
}

fn whose(all: &[&Of<'_>]) -> String {
    let names: Vec<&str> = all.iter().map(|of| of.name).collect();
    match all {
        [Of { kind, name: "", .. }] => (*kind).to_owned(),
        [of] => format!("the {} {}", of.kind, of.name),
        _ => format!("the {}s {}", all.first().map_or("", |of| of.kind), names.join(", ")),
    }
}
