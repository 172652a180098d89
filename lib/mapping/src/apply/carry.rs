//! What becomes of the leaves that no rule read: ignored on purpose, or carried as custom fields of a fact.
//!
//! A leaf is a text, number, boolean, null, or an empty list or object. It belongs to the innermost record that was
//! made around it, or to the payload's first fact. Rows that are one item of a list carry nothing.

use super::Run;
use crate::avro::{begin_array, end_array, put_bytes, put_long};
use crate::fact::{Coverage, FactSpan, Mark, Slot, Span};
use crate::json::{Kind, Word, letters, plain, span};
use crate::path::Key;
use crate::plan::{CustomRule, Rule};

/// Reused from payload to payload.
#[derive(Default)]
pub(crate) struct CarryBuffers {
    pub(super) nodes: Vec<u32>,
    /// Per node: 1 + the fact whose record begins there, or 0.
    owners: Vec<u32>,
    carried: Vec<Carried>,
    /// How many leaves custom fields have so far.
    leaves: usize,
    way: Way,
}

/// The path of a custom field.
#[derive(Default)]
struct Way {
    path: String,
    /// How it begins for the leaves of one container.
    begun: Option<Begun>,
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
    Named { custom: usize, key: Word, name: Option<u32>, kind: Option<u32> },
    /// A list or object that the rule carries as one.
    Whole { custom: usize },
    /// A leaf; its path begins at this node.
    Leaf { root: u32 },
}

impl<'p> Run<'_, 'p> {
    /// Accounts for every leaf and drops facts that say what an earlier one says.
    pub(super) fn settle(&mut self) -> Coverage {
        let ignored = self.ignore();
        self.scratch.carry.leaves = 0;
        let mut carried = std::mem::take(&mut self.scratch.carry.carried);
        carried.clear();
        for fact in 0..self.scratch.facts.len() {
            let rule: &'p Rule = &self.plan.rules[self.scratch.facts[fact].rule];
            for custom in 0..rule.customs.len() {
                self.find_customs(fact, custom, &mut carried);
            }
        }
        let coverage = self.find_leaves(ignored, &mut carried);
        carried.sort_unstable_by_key(|one| (one.fact, one.order));
        let mut way = std::mem::take(&mut self.scratch.carry.way);
        way.begun = None;
        for group in carried.chunk_by(|left, right| left.fact == right.fact) {
            let from = begin_array(&mut self.scratch.out);
            for one in group {
                self.write(one, &mut way);
            }
            end_array(group.len(), from, &mut self.scratch.out);
            self.scratch.facts[group[0].fact].customs = Some(Span { from, to: self.scratch.out.len() });
        }
        (self.scratch.carry.carried, self.scratch.carry.way) = (carried, way);
        self.drop_repeats();
        coverage
    }

    /// Gives how many leaves that were.
    fn ignore(&mut self) -> usize {
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
        let ignored = nodes.iter().map(|node| self.remark(*node, Mark::Ignored)).sum();
        self.scratch.carry.nodes = nodes;
        ignored
    }

    /// Marks what is unread of a subtree; gives how many leaves that were.
    fn remark(&mut self, node: u32, mark: Mark) -> usize {
        let subtree = node as usize..self.nodes[node as usize].next as usize;
        let mut count = 0;
        for node in &mut self.nodes[subtree] {
            if node.mark == Mark::Unread {
                node.mark = mark;
                count += 1;
            }
        }
        count
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
                let mut entry = node + 1;
                while entry < here.next {
                    self.find_custom(fact, index, custom, entry, carried);
                    entry = self.nodes[entry as usize].next;
                }
            }
        }
        self.scratch.carry.nodes = found;
    }

    /// A member whose value a rule has read is done; its labels count as read then.
    fn find_custom(&mut self, fact: usize, index: usize, custom: &CustomRule, entry: u32, carried: &mut Vec<Carried>) {
        let part = |name: &Option<Key>| name.as_ref().and_then(|name| self.member_of(entry, name));
        let (name, kind) = (part(&custom.name), part(&custom.kind));
        let value = if custom.value.is_some() { part(&custom.value) } else { Some(entry) };
        let (Some(value), Some(key)) = (value, self.nodes[entry as usize].key()) else { return };
        for label in [name, kind].into_iter().flatten() {
            self.mark_read(label);
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
        if !self.nodes[subtree].iter().all(|node| matches!(node.mark, Mark::Unread | Mark::Inner)) {
            return false;
        }
        self.scratch.carry.leaves += self.remark(node, Mark::Carried);
        true
    }

    /// Carries what is left, and counts what became of every leaf.
    fn find_leaves(&mut self, ignored: usize, carried: &mut Vec<Carried>) -> Coverage {
        let read = self.scratch.reads.len();
        let mut coverage = Coverage { read, ignored, carried: self.scratch.carry.leaves, unread: 0 };
        coverage.unread = self.leaves - coverage.read - coverage.ignored - coverage.carried;
        if coverage.unread == 0 || self.scratch.facts.is_empty() {
            return coverage;
        }
        let mut owners = std::mem::take(&mut self.scratch.carry.owners);
        owners.clear();
        owners.resize(self.nodes.len(), 0);
        for (index, fact) in self.scratch.facts.iter().enumerate() {
            let owner = &mut owners[fact.root as usize];
            if *owner == 0 {
                *owner = u32::try_from(index + 1).unwrap_or(u32::MAX);
            }
        }
        let mut last = (u32::MAX, (0, 0));
        for node in 0..self.nodes.len() {
            let here = self.nodes[node];
            if here.mark != Mark::Unread {
                continue;
            }
            // Leaves of one object or list come one after the other.
            if here.parent != last.0 {
                last = (here.parent, self.owner_of(here.parent as usize, &owners));
            }
            let (fact, root) = match owners[node] {
                0 => last.1,
                owner => (owner as usize - 1, u32::try_from(node).unwrap_or(u32::MAX)),
            };
            let rule: &'p Rule = &self.plan.rules[self.scratch.facts[fact].rule];
            if rule.element.is_none() {
                self.nodes[node].mark = Mark::Carried;
                let node = u32::try_from(node).unwrap_or(u32::MAX);
                carried.push(Carried { fact, order: carried.len(), node, what: What::Leaf { root } });
                (coverage.carried, coverage.unread) = (coverage.carried + 1, coverage.unread - 1);
            }
        }
        self.scratch.carry.owners = owners;
        coverage
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

    fn write(&mut self, one: &Carried, way: &mut Way) {
        let rule: &'p Rule = &self.plan.rules[self.scratch.facts[one.fact].rule];
        let mut buffer = self.buffer();
        let mut label = None;
        match one.what {
            What::Named { custom, key, name, kind } => {
                let path = &mut way.path;
                (label, way.begun) = (kind, None);
                path.clear();
                path.push_str(&rule.customs[custom].text);
                path.push('.');
                path.push_str(letters(self.text, key));
                let word = name.map_or(key, |name| self.nodes[name as usize].word());
                put_bytes(plain(self.text, word, &mut buffer).as_bytes(), &mut self.scratch.out);
            }
            What::Whole { custom } => {
                way.begun = None;
                way.path.clear();
                way.path.push_str(&rule.customs[custom].text);
                put_bytes(last_step(&way.path), &mut self.scratch.out);
            }
            What::Leaf { root } => {
                self.path_from(root, one.node, way);
                put_bytes(last_step(&way.path), &mut self.scratch.out);
            }
        }
        put_bytes(way.path.as_bytes(), &mut self.scratch.out);
        match label {
            Some(label) => {
                put_long(1, &mut self.scratch.out);
                put_bytes(self.node_text(label, &mut buffer).as_bytes(), &mut self.scratch.out);
            }
            None => self.scratch.out.extend_from_slice(json_type(self.nodes[one.node as usize].kind)),
        }
        self.put_value(one.node, &mut buffer);
        self.give_back(buffer);
    }

    /// The path of a leaf as records show it. Beside all records it begins with `/`.
    fn path_from(&mut self, root: u32, leaf: u32, way: &mut Way) {
        let container = self.nodes[leaf as usize].parent;
        // Leaves of one object or list come one after the other.
        let known = way.begun.filter(|begun| (begun.root, begun.container) == (root, container));
        let begun = known.unwrap_or_else(|| {
            way.path.clear();
            if !self.scratch.facts.iter().any(|fact| fact.root == root) {
                way.path.push('/');
            }
            if leaf != root {
                self.path_steps(root, container, &mut way.path);
            }
            Begun { root, container, length: way.path.len() }
        });
        way.path.truncate(begun.length);
        way.begun = Some(begun);
        if leaf != root {
            self.path_step(leaf, &mut way.path);
        }
    }

    /// From the outermost step inwards: nesting is bounded by the tape.
    fn path_steps(&self, root: u32, node: u32, path: &mut String) {
        if node != root {
            self.path_steps(root, self.nodes[node as usize].parent, path);
            self.path_step(node, path);
        }
    }

    /// The last step to a node.
    fn path_step(&self, node: u32, path: &mut String) {
        let here = &self.nodes[node as usize];
        if let Some(key) = here.key() {
            if !path.is_empty() && !path.ends_with('/') {
                path.push('.');
            }
            path.push_str(letters(self.text, key));
            return;
        }
        const STEPS: [&str; 8] = ["[0]", "[1]", "[2]", "[3]", "[4]", "[5]", "[6]", "[7]"];
        let position = self.items(here.parent).take_while(|item| *item != node).count();
        match STEPS.get(position) {
            Some(step) => path.push_str(step),
            None => {
                use std::fmt::Write as _;
                // Writing into a String cannot fail.
                let _always = write!(path, "[{position}]").is_ok();
            }
        }
    }

    /// A text as it is, null as null, anything else as compact JSON.
    fn put_value(&mut self, node: u32, buffer: &mut String) {
        let here = self.nodes[node as usize];
        if here.kind == Kind::Null {
            put_long(0, &mut self.scratch.out);
            return;
        }
        put_long(1, &mut self.scratch.out);
        if matches!(here.kind, Kind::Object | Kind::Array) {
            buffer.clear();
            self.compact(node, buffer);
            put_bytes(buffer.as_bytes(), &mut self.scratch.out);
        } else {
            put_bytes(self.node_text(node, buffer).as_bytes(), &mut self.scratch.out);
        }
    }

    fn compact(&self, node: u32, out: &mut String) {
        let here = self.nodes[node as usize];
        match here.kind {
            Kind::Text => put_quoted(span(self.text, here), out),
            Kind::Number | Kind::True | Kind::False | Kind::Null => out.push_str(span(self.text, here)),
            Kind::Array | Kind::Object => {
                let (open, close) = if here.kind == Kind::Array { ('[', ']') } else { ('{', '}') };
                out.push(open);
                let mut child = node + 1;
                while child < here.next {
                    if child > node + 1 {
                        out.push(',');
                    }
                    if let Some(key) = self.nodes[child as usize].key() {
                        put_quoted(letters(self.text, key), out);
                        out.push(':');
                    }
                    self.compact(child, out);
                    child = self.nodes[child as usize].next;
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

/// With its escapes, as they came.
fn put_quoted(letters: &str, out: &mut String) {
    out.push('"');
    out.push_str(letters);
    out.push('"');
}

/// The end of a path, as a name.
fn last_step(path: &str) -> &[u8] {
    let start = path.bytes().rposition(|byte| byte == b'.' || byte == b'/').map_or(0, |dot| dot + 1);
    path.as_bytes().get(start..).unwrap_or_default()
}

/// The name of a JSON type as a text that could be null, encoded.
fn json_type(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Object => b"\x02\x0cobject",
        Kind::Array => b"\x02\x0aarray",
        Kind::Text => b"\x02\x0cstring",
        Kind::Number => b"\x02\x0cnumber",
        Kind::True | Kind::False => b"\x02\x0eboolean",
        Kind::Null => b"\x02\x08null",
    }
}
