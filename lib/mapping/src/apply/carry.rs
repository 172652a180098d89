//! What becomes of the leaves that no rule read: ignored on purpose, or carried as custom fields of a fact.
//!
//! A leaf is a text, number, boolean, null, or an empty list or object. It belongs to the innermost record that was
//! made around it, or to the payload's first fact.

use super::{Run, source::is_scalar};
use crate::avro::{put_array, put_bytes, put_long};
use crate::fact::{Coverage, Mark, Span};
use crate::json::{Kind, span};
use crate::plan::{CustomRule, Rule};

/// Reused from payload to payload.
#[derive(Default)]
pub(crate) struct CarryBuffers {
    pub(super) nodes: Vec<u32>,
    /// Per node: 1 + the fact whose record begins there, or 0.
    owners: Vec<u32>,
    path: String,
    value: String,
}

impl<'p> Run<'_, 'p> {
    /// Accounts for every leaf and drops facts that say what an earlier one says.
    pub(super) fn settle(&mut self) -> Coverage {
        self.ignore();
        let mut owners = std::mem::take(&mut self.scratch.carry.owners);
        owners.clear();
        owners.resize(self.nodes.len(), 0);
        for (index, fact) in self.scratch.facts.iter().enumerate() {
            let owner = &mut owners[fact.root as usize];
            if *owner == 0 {
                *owner = u32::try_from(index + 1).unwrap_or(u32::MAX);
            }
        }
        let mut path = std::mem::take(&mut self.scratch.carry.path);
        // Facts that share a record with an earlier one take only their named fields, and take them first.
        for owning in [false, true] {
            for index in 0..self.scratch.facts.len() {
                let root = self.scratch.facts[index].root;
                if (owners[root as usize] as usize == index + 1) == owning {
                    self.carry(index, owning, &owners, &mut path);
                }
            }
        }
        self.scratch.carry.path = path;
        self.scratch.carry.owners = owners;
        self.drop_repeats();
        self.count()
    }

    fn carry(&mut self, index: usize, owning: bool, owners: &[u32], path: &mut String) {
        let (rule, root) = (self.scratch.facts[index].rule, self.scratch.facts[index].root);
        let rule: &'p Rule = &self.plan.rules[rule];
        if rule.element.is_some() {
            // An item of a list has no room for more: its mapping says what is left out.
            return;
        }
        let from = self.scratch.out.len();
        let mut count = 0;
        for custom in &rule.customs {
            count += self.customs(custom, root, path);
        }
        if owning {
            path.clear();
            count += self.leaves(root, root, owners, path);
        }
        if index == 0 && root != 0 {
            path.clear();
            path.push('/');
            count += self.leaves(0, root, owners, path);
        }
        if count > 0 {
            put_array(count, from, &mut self.scratch.out);
            self.scratch.facts[index].customs = Some(Span { from, to: self.scratch.out.len() });
        }
    }

    fn ignore(&mut self) {
        let mut nodes = std::mem::take(&mut self.scratch.carry.nodes);
        nodes.clear();
        for index in 0..self.scratch.facts.len() {
            let (rule, root) = (self.scratch.facts[index].rule, self.scratch.facts[index].root);
            let rule: &'p Rule = &self.plan.rules[rule];
            for path in &rule.ignored {
                let start = if path.absolute { 0 } else { root };
                // A path that does not fit this payload ignores nothing of it.
                let _fits = self.expand_steps(&path.steps, start, &mut nodes).is_ok();
            }
        }
        for path in &self.plan.ignored {
            let _fits = self.expand_steps(&path.steps, 0, &mut nodes).is_ok();
        }
        for root in &nodes {
            for node in *root..self.nodes[*root as usize].next {
                let mark = &mut self.scratch.marks[node as usize];
                if *mark == Mark::Unread {
                    *mark = Mark::Ignored;
                }
            }
        }
        nodes.clear();
        self.scratch.carry.nodes = nodes;
    }

    /// Carries the members of the customer's own fields, each with its name and type. Those whose value a rule has
    /// read are done.
    fn customs(&mut self, custom: &CustomRule, root: u32, path: &mut String) -> usize {
        let start = if custom.entries.absolute { 0 } else { root };
        let mut found = Vec::new();
        if self.expand_steps(&custom.entries.steps, start, &mut found).is_err() {
            return 0;
        }
        let mut count = 0;
        for object in found {
            if custom.whole {
                count += usize::from(self.whole(custom, object));
                continue;
            }
            if self.nodes[object as usize].kind != Kind::Object {
                continue;
            }
            let end = self.nodes[object as usize].next;
            let mut key = object + 1;
            while key < end {
                let value = key + 1;
                count += usize::from(self.custom(custom, key, value, path));
                key = self.nodes[value as usize].next;
            }
        }
        count
    }

    fn custom(&mut self, custom: &CustomRule, key: u32, entry: u32, path: &mut String) -> bool {
        let part = |run: &Self, name: &Option<String>| {
            name.as_ref().and_then(|name| run.step(&crate::path::Step::Key(name.clone()), entry).ok().flatten())
        };
        let value = match &custom.value {
            None => Some(entry),
            Some(_) => part(self, &custom.value),
        };
        let Some(value) = value else { return false };
        let value_nodes = value as usize..self.nodes[value as usize].next as usize;
        let (name, kind) = (part(self, &custom.name), part(self, &custom.kind));
        let labels = [name, kind];
        for label in labels.into_iter().flatten() {
            if is_scalar(self.nodes[label as usize].kind) {
                self.set_read(label);
            }
        }
        let taken = self.scratch.marks[value_nodes.clone()].iter().any(|mark| *mark != Mark::Unread);
        if taken {
            return false;
        }
        path.clear();
        path.push_str(&custom.entries.to_string());
        path.push('.');
        path.push_str(span(self.text, self.nodes[key as usize]));
        let mut buffer = self.buffer();
        let label = name.filter(|node| self.nodes[*node as usize].kind == Kind::Text).unwrap_or(key);
        put_bytes(self.node_text(label, &mut buffer).as_bytes(), &mut self.scratch.out);
        put_bytes(path.as_bytes(), &mut self.scratch.out);
        put_long(1, &mut self.scratch.out);
        match kind.filter(|node| self.nodes[*node as usize].kind == Kind::Text) {
            Some(node) => put_bytes(self.node_text(node, &mut buffer).as_bytes(), &mut self.scratch.out),
            None => put_bytes(json_type(self.nodes[value as usize].kind).as_bytes(), &mut self.scratch.out),
        }
        self.give_back(buffer);
        self.put_value(value);
        for node in value_nodes {
            self.scratch.marks[node] = Mark::Carried;
        }
        true
    }

    /// Carries a list or object as one field.
    fn whole(&mut self, custom: &CustomRule, node: u32) -> bool {
        let here = self.nodes[node as usize];
        let range = node as usize..here.next as usize;
        if self.scratch.marks[range.clone()].iter().any(|mark| *mark != Mark::Unread) {
            return false;
        }
        let path = custom.entries.to_string();
        put_bytes(path.rsplit('.').next().unwrap_or(&path).as_bytes(), &mut self.scratch.out);
        put_bytes(path.as_bytes(), &mut self.scratch.out);
        put_long(1, &mut self.scratch.out);
        put_bytes(json_type(here.kind).as_bytes(), &mut self.scratch.out);
        self.put_value(node);
        self.scratch.marks[range].fill(Mark::Carried);
        true
    }

    fn set_read(&mut self, node: u32) {
        let mark = &mut self.scratch.marks[node as usize];
        if *mark == Mark::Unread {
            *mark = Mark::Read;
        }
    }

    /// Carries the unread leaves under `node`, leaving out records of other facts.
    fn leaves(&mut self, node: u32, root: u32, owners: &[u32], path: &mut String) -> usize {
        let here = self.nodes[node as usize];
        let other_record = node != 0 && owners[node as usize] != 0 && owners[node as usize] != owners[root as usize];
        let own_root_again = node == root && path.starts_with('/') && root != 0;
        if other_record || own_root_again {
            return 0;
        }
        if is_scalar(here.kind) || here.kind == Kind::Null || here.next == node + 1 {
            if self.scratch.marks[node as usize] != Mark::Unread {
                return 0;
            }
            self.leaf(node, path);
            return 1;
        }
        let (mut count, length) = (0, path.len());
        let end = here.next;
        let mut child = node + 1;
        let mut position = 0;
        while child < end {
            let value = if here.kind == Kind::Object {
                if !path.is_empty() && !path.ends_with('/') {
                    path.push('.');
                }
                path.push_str(span(self.text, self.nodes[child as usize]));
                child + 1
            } else {
                use std::fmt::Write as _;
                // Writing into a String cannot fail.
                let _always = write!(path, "[{position}]").is_ok();
                position += 1;
                child
            };
            count += self.leaves(value, root, owners, path);
            path.truncate(length);
            child = self.nodes[value as usize].next;
        }
        count
    }

    fn leaf(&mut self, node: u32, path: &str) {
        let name = path.rsplit('.').next().unwrap_or(path);
        put_bytes(name.trim_start_matches('/').as_bytes(), &mut self.scratch.out);
        put_bytes(path.as_bytes(), &mut self.scratch.out);
        put_long(1, &mut self.scratch.out);
        put_bytes(json_type(self.nodes[node as usize].kind).as_bytes(), &mut self.scratch.out);
        self.put_value(node);
        self.scratch.marks[node as usize] = Mark::Carried;
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
        if here.kind == Kind::Text {
            self.node_text(node, &mut value);
        } else {
            value.clear();
            self.compact(node, &mut value);
        }
        put_bytes(value.as_bytes(), &mut self.scratch.out);
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
                    let mut value = child;
                    if here.kind == Kind::Object {
                        self.compact(child, out);
                        out.push(':');
                        value += 1;
                    }
                    self.compact(value, out);
                    child = self.nodes[value as usize].next;
                }
                out.push(close);
            }
        }
    }

    /// Embedded copies of one record often stand twice in a payload: what says the same is said once.
    fn drop_repeats(&mut self) {
        let mut facts = std::mem::take(&mut self.scratch.facts);
        let mut index = 0;
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

    fn same(&self, left: &crate::fact::FactSpan, right: &crate::fact::FactSpan) -> bool {
        use crate::fact::Slot;
        let scratch = &*self.scratch;
        if left.rule != right.rule
            || left.remote_id.text(&scratch.texts) != right.remote_id.text(&scratch.texts)
            || left.owner_id.text(&scratch.texts) != right.owner_id.text(&scratch.texts)
            || left.row_id.text(&scratch.texts) != right.row_id.text(&scratch.texts)
            || left.version != right.version
            || left.item.of(&scratch.out) != right.item.of(&scratch.out)
            || (right.customs.is_some()
                && left.customs.map(|span| span.of(&scratch.out)) != right.customs.map(|span| span.of(&scratch.out)))
        {
            return false;
        }
        let slots = |fact: &crate::fact::FactSpan| &scratch.slots[fact.slots.from..fact.slots.to];
        slots(left).iter().zip(slots(right)).all(|pair| match pair {
            (Slot::NotMapped, Slot::NotMapped) | (Slot::Absent, Slot::Absent) => true,
            (Slot::Bytes(left), Slot::Bytes(right)) => left.of(&scratch.out) == right.of(&scratch.out),
            _ => false,
        })
    }

    fn count(&self) -> Coverage {
        let mut coverage = Coverage::default();
        for (index, (node, mark)) in self.nodes.iter().zip(&self.scratch.marks).enumerate() {
            let leaf = node.kind != Kind::Key
                && (is_scalar(node.kind) || node.kind == Kind::Null || node.next as usize == index + 1);
            if !leaf {
                continue;
            }
            match mark {
                Mark::Read => coverage.read += 1,
                Mark::Ignored => coverage.ignored += 1,
                Mark::Carried => coverage.carried += 1,
                Mark::Unread => coverage.unread += 1,
            }
        }
        coverage
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
