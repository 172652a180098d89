//! Rules → places. All rules are walked twice: once to see which places there are, once to tell each key its slot.
//!
//! A rule is compiled once and may start at several roots, so that these roots become one place. Where a path takes
//! every member of an object, its members become one place too.

use std::collections::BTreeMap;

use super::{Entry, FREE, Layout, NOWHERE, Name, Place, ROOT};
use crate::path::{Key, Path, Step};
use crate::plan::{Condition, Emit, Op, Over, Owner, Part, Rule, Source};

/// Builds the layout of all `rules` and of the paths that are ignored everywhere, and tells their keys where they stand.
pub(crate) fn build(rules: &mut [Rule], ignored: &mut [Path]) -> Layout {
    let mut draft = Draft { places: vec![Sketch::default(), Sketch::default()] };
    walk(rules, ignored, &mut draft);
    draft.close();
    let mut numbers = Numbers::of(&draft);
    walk(rules, ignored, &mut numbers);
    numbers.layout
}

/// What a walk does at each step of each path.
trait Visit {
    fn key(&mut self, from: u32, key: &mut Key) -> u32;
    fn items(&mut self, from: u32) -> u32;
    /// Every member of an object, or every item of a list.
    fn all(&mut self, from: u32) -> u32;
    /// Two places that one rule begins at.
    fn join(&mut self, one: u32, other: u32);
}

fn walk(rules: &mut [Rule], ignored: &mut [Path], visit: &mut dyn Visit) {
    for rule in rules {
        let mut scope = None;
        for root in &mut rule.roots {
            let end = path(visit, NOWHERE, root);
            if let Some(scope) = scope {
                visit.join(scope, end);
            }
            scope = Some(end);
        }
        let scope = scope.unwrap_or(ROOT);
        if let Some(when) = &mut rule.when {
            condition(visit, scope, when);
        }
        source(visit, scope, &mut rule.id);
        if let Owner::Record(_, of) | Owner::Foreign(_, of) = &mut rule.owner {
            source(visit, scope, of);
        }
        let instants = [&mut rule.version, &mut rule.created_at, &mut rule.updated_at, &mut rule.deleted_at];
        for instant in instants.into_iter().flatten() {
            source(visit, scope, &mut instant.source);
        }
        for one in rule.url.iter_mut().chain(rule.hints.iter_mut().map(|(_, source)| source)) {
            source(visit, scope, one);
        }
        for (_, field) in &mut rule.fields {
            emit(visit, scope, field);
        }
        if let Some(element) = &mut rule.element {
            source(visit, scope, &mut element.row);
            emit(visit, scope, &mut element.item);
        }
        for custom in &mut rule.customs {
            let entries = path(visit, scope, &mut custom.entries);
            let keys = [&mut custom.name, &mut custom.kind, &mut custom.value];
            if keys.iter().any(|key| key.is_some()) {
                let entry = visit.all(entries);
                for key in keys.into_iter().flatten() {
                    visit.key(entry, key);
                }
            }
        }
        for ignored in &mut rule.ignored {
            path(visit, scope, ignored);
        }
    }
    for ignored in ignored {
        path(visit, ROOT, ignored);
    }
}

/// Where the path ends. Roots begin at the payload, whether they say so or not.
fn path(visit: &mut dyn Visit, scope: u32, path: &mut Path) -> u32 {
    let start = if path.absolute || scope == NOWHERE { ROOT } else { scope };
    path.steps.iter_mut().fold(start, |place, step| match step {
        Step::Key(key) => visit.key(place, key),
        Step::Index(_) | Step::Each => visit.items(place),
        Step::Any => visit.all(place),
        Step::Where { keys, .. } => {
            let item = visit.items(place);
            keys.iter_mut().fold(item, |place, key| visit.key(place, key));
            item
        }
    })
}

fn source(visit: &mut dyn Visit, scope: u32, from: &mut Source) {
    match from {
        Source::Path(one) => {
            path(visit, scope, one);
        }
        Source::First(parts) | Source::Join { parts, .. } => {
            parts.iter_mut().for_each(|part| source(visit, scope, part));
        }
        Source::Table { of, .. } => source(visit, scope, of),
        Source::Const(_)
        | Source::Event
        | Source::Stream
        | Source::Header(_)
        | Source::Param(_)
        | Source::Key
        | Source::Received => {}
    }
}

fn condition(visit: &mut dyn Visit, scope: u32, of: &mut Condition) {
    match of {
        Condition::Exists(one) | Condition::Contains { path: one, .. } => {
            path(visit, scope, one);
        }
        Condition::Is { source: from, .. } => source(visit, scope, from),
        Condition::Not(inner) => condition(visit, scope, inner),
        Condition::All(inner) | Condition::Any(inner) => {
            inner.iter_mut().for_each(|inner| condition(visit, scope, inner));
        }
    }
}

fn emit(visit: &mut dyn Visit, scope: u32, one: &mut Emit) {
    if let Some(when) = &mut one.when {
        condition(visit, scope, when);
    }
    match &mut one.op {
        Op::Const(_) | Op::Null => {}
        Op::Scalar { source: from, .. }
        | Op::Coded { source: from, .. }
        | Op::Enum { source: from, .. }
        | Op::Ref { source: from, .. }
        | Op::Lookup { source: from, .. } => source(visit, scope, from),
        Op::Record { scope: inner, fields } => {
            let scope = inner.as_mut().map_or(scope, |inner| path(visit, scope, inner));
            fields.iter_mut().filter_map(|field| field.emit.as_mut()).for_each(|field| emit(visit, scope, field));
        }
        Op::Array(parts) => parts.iter_mut().for_each(|one| part(visit, scope, one)),
        Op::First(choices) => choices.iter_mut().for_each(|choice| emit(visit, scope, choice)),
    }
}

fn part(visit: &mut dyn Visit, scope: u32, one: &mut Part) {
    if let Some(when) = &mut one.when {
        condition(visit, scope, when);
    }
    let scope = match &mut one.over {
        Over::Once => scope,
        Over::Items(list) => {
            let list = path(visit, scope, list);
            visit.items(list)
        }
        Over::Entries(object) => {
            let object = path(visit, scope, object);
            visit.all(object)
        }
    };
    if let Some(filter) = &mut one.filter {
        condition(visit, scope, filter);
    }
    emit(visit, scope, &mut one.item);
}

/// A place that is still being drawn.
#[derive(Default)]
struct Sketch {
    /// The place that took it in.
    now: Option<u32>,
    keys: BTreeMap<String, u32>,
    items: Option<u32>,
    /// Some path takes all members.
    all: bool,
}

struct Draft {
    places: Vec<Sketch>,
}

impl Draft {
    fn real(&self, mut place: u32) -> u32 {
        while let Some(now) = self.places[place as usize].now {
            place = now;
        }
        place
    }

    fn fresh(&mut self) -> u32 {
        self.places.push(Sketch::default());
        u32::try_from(self.places.len() - 1).unwrap_or(NOWHERE)
    }

    /// Makes one place of two, and of what stands below them under the same key.
    fn merge(&mut self, one: u32, other: u32) {
        let mut pairs = vec![(one, other)];
        while let Some((one, other)) = pairs.pop() {
            let (one, other) = (self.real(one), self.real(other));
            if one == other {
                continue;
            }
            // The lower number stays: the payload is never taken in.
            let (stays, goes) = (one.min(other), one.max(other));
            let gone = std::mem::take(&mut self.places[goes as usize]);
            self.places[goes as usize].now = Some(stays);
            let kept = &mut self.places[stays as usize];
            kept.all |= gone.all;
            for (key, below) in gone.keys {
                match kept.keys.get(&key) {
                    Some(known) => pairs.push((*known, below)),
                    None => {
                        kept.keys.insert(key, below);
                    }
                }
            }
            match (kept.items, gone.items) {
                (Some(known), Some(items)) => pairs.push((known, items)),
                (known, items) => kept.items = known.or(items),
            }
        }
    }

    /// Where all members are taken, each of them stands where the others do.
    fn close(&mut self) {
        loop {
            let open = |sketch: &Sketch| -> Option<(u32, u32)> {
                let items = sketch.items.filter(|_| sketch.all)?;
                let apart = sketch.keys.values().find(|below| self.real(**below) != self.real(items))?;
                Some((items, *apart))
            };
            let Some((items, apart)) = self.places.iter().find_map(open) else { return };
            self.merge(items, apart);
        }
    }
}

impl Visit for Draft {
    fn key(&mut self, from: u32, key: &mut Key) -> u32 {
        let from = self.real(from);
        if let Some(known) = self.places[from as usize].keys.get(&key.text) {
            return self.real(*known);
        }
        let below = self.fresh();
        self.places[from as usize].keys.insert(key.text.clone(), below);
        below
    }

    fn items(&mut self, from: u32) -> u32 {
        let from = self.real(from);
        match self.places[from as usize].items {
            Some(items) => self.real(items),
            None => {
                let items = self.fresh();
                self.places[from as usize].items = Some(items);
                items
            }
        }
    }

    fn all(&mut self, from: u32) -> u32 {
        let from = self.real(from);
        self.places[from as usize].all = true;
        self.items(from)
    }

    fn join(&mut self, one: u32, other: u32) {
        self.merge(one, other);
    }
}

/// The finished places.
struct Numbers {
    layout: Layout,
}

impl Numbers {
    fn of(draft: &Draft) -> Self {
        let number = |place: u32| draft.real(place);
        let places = draft.places.iter().map(|sketch| Place {
            entries: entries(sketch, number),
            width: u32::try_from(sketch.keys.len()).unwrap_or(0),
            items: sketch.items.map_or(NOWHERE, number),
            others: sketch.items.filter(|_| sketch.all).map_or(NOWHERE, number),
        });
        Self { layout: Layout::new(places.collect()) }
    }
}

fn entries(sketch: &Sketch, number: impl Fn(u32) -> u32) -> Vec<Entry> {
    let free = Entry { name: Name::default(), slot: FREE, place: NOWHERE, text: Box::default() };
    if sketch.keys.is_empty() {
        return Vec::new();
    }
    let size = (sketch.keys.len() * 2).next_power_of_two();
    let mut entries = vec![free; size];
    for (slot, (text, below)) in (0_u32..).zip(&sketch.keys) {
        let name = Name::new(text.as_bytes());
        let mut at = name.hash() as usize & (size - 1);
        while entries[at].slot != FREE {
            at = (at + 1) & (size - 1);
        }
        let text = if name.is_whole() { Box::default() } else { text.as_str().into() };
        entries[at] = Entry { name, slot, place: number(*below), text };
    }
    entries
}

impl Visit for Numbers {
    fn key(&mut self, from: u32, key: &mut Key) -> u32 {
        let (slot, below) = self.layout.member(from, Name::new(key.text.as_bytes()), key.text.as_bytes());
        if let Some(slot) = slot {
            (key.place, key.slot) = (from, slot);
        }
        below
    }

    fn items(&mut self, from: u32) -> u32 {
        self.layout.items(from)
    }

    fn all(&mut self, from: u32) -> u32 {
        self.layout.items(from)
    }

    fn join(&mut self, _: u32, _: u32) {}
}
