//! What becomes of the leaves that no rule read: ignored on purpose, or carried as custom fields of a fact.
//!
//! A leaf is a text, number, boolean, null, or an empty list or object. It belongs to the innermost record that was
//! made around it, or to the payload's first fact. Rows that are one item of a list carry nothing.

use super::Run;
use crate::avro::{begin_array, end_array, put_bytes, put_long};
use crate::fact::{Coverage, FactSpan, Mark, Slot, Span};
use crate::json::{Kind, span};
use crate::path::Key;
use crate::plan::{CustomRule, Rule};

/// Reused from payload to payload.
#[derive(Default)]
pub(crate) struct CarryBuffers {
    pub(super) nodes: Vec<u32>,
    /// Per node: 1 + the fact whose record begins there, or 0.
    owners: Vec<u32>,
    carried: Vec<Carried>,
    path: String,
    /// How `path` begins for the leaves of one container.
    begun: Option<Begun>,
    value: String,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    root: u32,
    container: u32,
    length: usize,
}

/// One custom field to be written: all of one fact stand together.
#[derive(Debug, Clone, Copy)]
struct Carried {
    fact: usize,
    /// Of finding.
    order: usize,
    node: u32,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// A member of an object of the customer's own fields.
    Named { custom: usize, key: u32, name: Option<u32>, kind: Option<u32> },
    /// A list or object that the rule carries as one.
    Whole { custom: usize },
    /// A leaf; its path begins at this node.
    Leaf { root: u32 },
}

impl<'p> Run<'_, 'p> {
    /// Accounts for every leaf and drops facts that say what an earlier one says.
    pub(super) fn settle(&mut self) -> Coverage {
        self.ignore();
        self.scratch.carry.begun = None;
        let mut carried = std::mem::take(&mut self.scratch.carry.carried);
        carried.clear();
        for fact in 0..self.scratch.facts.len() {
            let rule: &'p Rule = &self.plan.rules[self.scratch.facts[fact].rule];
            for custom in 0..rule.customs.len() {
                self.find_customs(fact, custom, &mut carried);
            }
        }
        let coverage = self.find_leaves(&mut carried);
        carried.sort_unstable_by_key(|one| (one.fact, one.order));
        for group in carried.chunk_by(|left, right| left.fact == right.fact) {
            let from = begin_array(&mut self.scratch.out);
            for one in group {
                self.write(one);
            }
            end_array(group.len(), from, &mut self.scratch.out);
            self.scratch.facts[group[0].fact].customs = Some(Span { from, to: self.scratch.out.len() });
        }
        self.scratch.carry.carried = carried;
        self.drop_repeats();
        coverage
    }

    fn ignore(&mut self) {
        let mut nodes = std::mem::take(&mut self.scratch.carry.nodes);
        nodes.clear();
        for index in 0..self.scratch.facts.len() {
            let (rule, root) = (self.scratch.facts[index].rule, self.scratch.facts[index].root);
            let rule: &'p Rule = &self.plan.rules[rule];
            for path in &rule.ignored {
                let start = if path.absolute { 0 } else { root };
                // What does not fit is not ignored.
                let _fits = self.expand_steps(&path.steps, start, &mut nodes).is_ok();
            }
        }
        for path in &self.plan.ignored {
            let _fits = self.expand_steps(&path.steps, 0, &mut nodes).is_ok();
        }
        for root in &nodes {
            let subtree = *root as usize..self.nodes[*root as usize].next as usize;
            for node in &mut self.nodes[subtree] {
                if node.mark == Mark::Unread {
                    node.mark = Mark::Ignored;
                }
            }
        }
        self.scratch.carry.nodes = nodes;
    }

    fn find_customs(&mut self, fact: usize, index: usize, carried: &mut Vec<Carried>) {
        let (rule, root) = (self.scratch.facts[fact].rule, self.scratch.facts[fact].root);
        let custom: &'p CustomRule = &self.plan.rules[rule].customs[index];
        let mut found = std::mem::take(&mut self.scratch.carry.nodes);
        found.clear();
        let start = if custom.entries.absolute { 0 } else { root };
        let _fits = self.expand_steps(&custom.entries.steps, start, &mut found).is_ok();
        for node in &found {
            let here = self.nodes[*node as usize];
            if custom.whole {
                if self.take(*node) {
                    carried.push(Carried {
                        fact,
                        order: carried.len(),
                        node: *node,
                        what: What::Whole { custom: index },
                    });
                }
            } else if here.kind == Kind::Object {
                let mut key = node + 1;
                while key < here.next {
                    self.find_custom(fact, index, custom, key, carried);
                    key = self.nodes[key as usize].next;
                }
            }
        }
        self.scratch.carry.nodes = found;
    }

    /// A member whose value a rule has read is done; its labels count as read then.
    fn find_custom(&mut self, fact: usize, index: usize, custom: &CustomRule, key: u32, carried: &mut Vec<Carried>) {
        let entry = key + 1;
        let part = |name: &Option<Key>| name.as_ref().and_then(|name| self.member_of(entry, name));
        let (name, kind) = (part(&custom.name), part(&custom.kind));
        let value = if custom.value.is_some() { part(&custom.value) } else { Some(entry) };
        let Some(value) = value else { return };
        for label in [name, kind].into_iter().flatten() {
            let mark = &mut self.nodes[label as usize].mark;
            if *mark == Mark::Unread {
                *mark = Mark::Read;
            }
        }
        if self.take(value) {
            let text = |node: &u32| self.nodes[*node as usize].kind == Kind::Text;
            let what = What::Named { custom: index, key, name: name.filter(text), kind: kind.filter(text) };
            carried.push(Carried { fact, order: carried.len(), node: value, what });
        }
    }

    fn member_of(&self, object: u32, name: &Key) -> Option<u32> {
        match self.nodes[object as usize].kind {
            Kind::Object => self.member(object, name),
            _ => None,
        }
    }

    /// Marks all of a subtree as carried; `false` if some of it is read or carried already.
    fn take(&mut self, node: u32) -> bool {
        let subtree = node as usize..self.nodes[node as usize].next as usize;
        let nodes = &mut self.nodes[subtree];
        if !nodes.iter().all(|node| matches!(node.mark, Mark::Unread | Mark::Inner)) {
            return false;
        }
        for node in nodes {
            if node.mark == Mark::Unread {
                node.mark = Mark::Carried;
            }
        }
        true
    }

    /// Carries what is left, and counts what became of every leaf.
    fn find_leaves(&mut self, carried: &mut Vec<Carried>) -> Coverage {
        let mut owners = std::mem::take(&mut self.scratch.carry.owners);
        owners.clear();
        owners.resize(self.nodes.len(), 0);
        for (index, fact) in self.scratch.facts.iter().enumerate() {
            let owner = &mut owners[fact.root as usize];
            if *owner == 0 {
                *owner = u32::try_from(index + 1).unwrap_or(u32::MAX);
            }
        }
        let mut counts = [0; 5];
        for node in 0..self.nodes.len() {
            if self.nodes[node].mark == Mark::Unread && !self.scratch.facts.is_empty() {
                let (fact, root) = self.owner_of(node, &owners);
                let rule: &'p Rule = &self.plan.rules[self.scratch.facts[fact].rule];
                if rule.element.is_none() {
                    self.nodes[node].mark = Mark::Carried;
                    let node = u32::try_from(node).unwrap_or(u32::MAX);
                    carried.push(Carried { fact, order: carried.len(), node, what: What::Leaf { root } });
                }
            }
            counts[self.nodes[node].mark as usize] += 1;
        }
        self.scratch.carry.owners = owners;
        let [_, unread, read, ignored, carried] = counts;
        Coverage { read, ignored, carried, unread }
    }

    /// The innermost record around a leaf: its fact and its root. Beside all records: the first fact and the payload.
    fn owner_of(&self, leaf: usize, owners: &[u32]) -> (usize, u32) {
        let mut node = leaf;
        loop {
            if owners[node] != 0 {
                return (owners[node] as usize - 1, u32::try_from(node).unwrap_or(0));
            }
            if node == 0 {
                return (0, 0);
            }
            node = self.nodes[node].parent as usize;
        }
    }

    fn write(&mut self, one: &Carried) {
        let rule: &'p Rule = &self.plan.rules[self.scratch.facts[one.fact].rule];
        let json_type = json_type(self.nodes[one.node as usize].kind);
        let mut path = std::mem::take(&mut self.scratch.carry.path);
        // Whatever else is written there ends what leaves share of it.
        let begun = self.scratch.carry.begun.take();
        match one.what {
            What::Named { custom, key, .. } => {
                path.clear();
                path.push_str(&rule.customs[custom].text);
                path.push('.');
                path.push_str(span(self.text, self.nodes[key as usize]));
            }
            What::Whole { custom } => {
                path.clear();
                path.push_str(&rule.customs[custom].text);
            }
            What::Leaf { root } => self.path_from(root, one.node, begun, &mut path),
        }
        let mut buffer = self.buffer();
        let name = match one.what {
            What::Named { key, name, .. } => self.node_text(name.unwrap_or(key), &mut buffer).as_bytes(),
            What::Whole { .. } | What::Leaf { .. } => {
                let start = path.bytes().rposition(|byte| byte == b'.' || byte == b'/').map_or(0, |dot| dot + 1);
                path.as_bytes().get(start..).unwrap_or_default()
            }
        };
        put_bytes(name, &mut self.scratch.out);
        put_bytes(path.as_bytes(), &mut self.scratch.out);
        put_long(1, &mut self.scratch.out);
        let kind = match one.what {
            What::Named { kind: Some(kind), .. } => self.node_text(kind, &mut buffer),
            What::Named { kind: None, .. } | What::Whole { .. } | What::Leaf { .. } => json_type,
        };
        put_bytes(kind.as_bytes(), &mut self.scratch.out);
        self.give_back(buffer);
        self.scratch.carry.path = path;
        self.put_value(one.node);
    }

    /// The path of a leaf as records show it. Beside all records it begins with `/`. `begun`: what `path` holds.
    fn path_from(&mut self, root: u32, leaf: u32, begun: Option<Begun>, path: &mut String) {
        let container = self.container_of(leaf);
        // Leaves of one object or list come one after the other.
        let known = begun.filter(|begun| (begun.root, begun.container) == (root, container));
        let begun = known.unwrap_or_else(|| {
            path.clear();
            if !self.scratch.facts.iter().any(|fact| fact.root == root) {
                path.push('/');
            }
            if leaf != root {
                self.path_steps(root, container, path);
            }
            Begun { root, container, length: path.len() }
        });
        path.truncate(begun.length);
        self.scratch.carry.begun = Some(begun);
        if leaf != root {
            self.path_step(leaf, path);
        }
    }

    /// From the outermost step inwards: nesting is bounded by the tape.
    fn path_steps(&self, root: u32, node: u32, path: &mut String) {
        if node != root {
            self.path_steps(root, self.container_of(node), path);
            self.path_step(node, path);
        }
    }

    /// The object or list that a value stands in.
    fn container_of(&self, node: u32) -> u32 {
        let parent = self.nodes[node as usize].parent;
        let above = self.nodes[parent as usize];
        if above.kind == Kind::Key { above.parent } else { parent }
    }

    /// The last step to a node.
    fn path_step(&self, node: u32, path: &mut String) {
        let parent = self.nodes[node as usize].parent;
        let above = self.nodes[parent as usize];
        if above.kind == Kind::Key {
            if !path.is_empty() && !path.ends_with('/') {
                path.push('.');
            }
            path.push_str(span(self.text, above));
            return;
        }
        let position = self.items(parent).take_while(|item| *item != node).count();
        if let Some(digit) = u32::try_from(position).ok().and_then(|position| char::from_digit(position, 10)) {
            path.extend(['[', digit, ']']);
        } else {
            use std::fmt::Write as _;
            // Writing into a String cannot fail.
            let _always = write!(path, "[{position}]").is_ok();
        }
    }

    /// A text as it is, null as null, anything else as compact JSON.
    fn put_value(&mut self, node: u32) {
        let here = self.nodes[node as usize];
        if here.kind == Kind::Null {
            put_long(0, &mut self.scratch.out);
            return;
        }
        put_long(1, &mut self.scratch.out);
        let mut value = std::mem::take(&mut self.scratch.carry.value);
        if matches!(here.kind, Kind::Object | Kind::Array) {
            value.clear();
            self.compact(node, &mut value);
            put_bytes(value.as_bytes(), &mut self.scratch.out);
        } else {
            put_bytes(self.node_text(node, &mut value).as_bytes(), &mut self.scratch.out);
        }
        self.scratch.carry.value = value;
    }

    fn compact(&self, node: u32, out: &mut String) {
        let here = self.nodes[node as usize];
        match here.kind {
            Kind::Text | Kind::Key => {
                out.push('"');
                out.push_str(span(self.text, here));
                out.push('"');
            }
            Kind::Number | Kind::True | Kind::False | Kind::Null => out.push_str(span(self.text, here)),
            Kind::Array | Kind::Object => {
                let (open, close) = if here.kind == Kind::Array { ('[', ']') } else { ('{', '}') };
                out.push(open);
                let mut child = node + 1;
                while child < here.next {
                    if child > node + 1 {
                        out.push(',');
                    }
                    let next = self.nodes[child as usize].next;
                    if here.kind == Kind::Object {
                        self.compact(child, out);
                        out.push(':');
                        self.compact(child + 1, out);
                    } else {
                        self.compact(child, out);
                    }
                    child = next;
                }
                out.push(close);
            }
        }
    }

    /// Embedded copies of one record often stand twice in a payload: what says the same is said once.
    fn drop_repeats(&mut self) {
        let mut facts = std::mem::take(&mut self.scratch.facts);
        let mut index = 1;
        while index < facts.len() {
            let (before, rest) = facts.split_at(index);
            let repeated = rest.first().is_some_and(|fact| before.iter().any(|other| self.same(other, fact)));
            if repeated {
                facts.remove(index);
            } else {
                index += 1;
            }
        }
        self.scratch.facts = facts;
    }

    /// Whether `right` says nothing that `left` does not say.
    fn same(&self, left: &FactSpan, right: &FactSpan) -> bool {
        let scratch = &*self.scratch;
        let customs = |fact: &FactSpan| fact.customs.map(|span| span.of(&scratch.out));
        if left.rule != right.rule
            || left.remote_id.text(&scratch.texts) != right.remote_id.text(&scratch.texts)
            || left.owner_id.text(&scratch.texts) != right.owner_id.text(&scratch.texts)
            || left.row_id.text(&scratch.texts) != right.row_id.text(&scratch.texts)
            || left.version != right.version
            || left.item.of(&scratch.out) != right.item.of(&scratch.out)
            || (right.customs.is_some() && customs(left) != customs(right))
        {
            return false;
        }
        let slots = |fact: &FactSpan| &scratch.slots[fact.slots.from..fact.slots.to];
        slots(left).iter().zip(slots(right)).all(|pair| match pair {
            (Slot::NotMapped, Slot::NotMapped) | (Slot::Absent, Slot::Absent) => true,
            (Slot::Bytes(left), Slot::Bytes(right)) => left.of(&scratch.out) == right.of(&scratch.out),
            _ => false,
        })
    }
}

fn json_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Object => "object",
        Kind::Array => "array",
        Kind::Key | Kind::Text => "string",
        Kind::Number => "number",
        Kind::True | Kind::False => "boolean",
        Kind::Null => "null",
    }
}
