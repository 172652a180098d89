//! What a request is made of: the change itself, what was joined to it, and what the delivery adds.
//!
//! The change and what the sink is told are shared, not copied: as many deliveries are made as there are changes and routes.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::context::Part;
use crate::event::Event;

#[derive(Debug, Clone)]
pub(crate) struct Parts {
    change: Arc<Event>,
    settings: Arc<Value>,
    /// All others that there are, by name.
    joined: Map<String, Value>,
}

impl Parts {
    pub(crate) fn new(change: &Arc<Event>, settings: &Arc<Value>, joined: Map<String, Value>) -> Self {
        Self { change: Arc::clone(change), settings: Arc::clone(settings), joined }
    }

    pub(crate) fn get(&self, part: &str) -> Option<&Value> {
        if part == Part::Change.name() {
            Some(&self.change.tree)
        } else if part == Part::Settings.name() {
            Some(&self.settings)
        } else {
            self.joined.get(part)
        }
    }

    pub(crate) fn put(&mut self, part: Part, value: Value) {
        self.joined.insert(part.name().to_owned(), value);
    }

    /// The ids that steps have told, by their names.
    pub(crate) fn steps(&mut self) -> Option<&mut Map<String, Value>> {
        let steps = self.joined.entry(Part::Steps.name()).or_insert_with(|| Value::Object(Map::new()));
        steps.as_object_mut()
    }

    /// The same, told these settings.
    pub(crate) fn told(&self, settings: Value) -> Self {
        Self { settings: Arc::new(settings), ..self.clone() }
    }
}
