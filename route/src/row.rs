//! What a database sink stores: one canonical record and where it came from.

use std::sync::Arc;

use crate::event::Event;

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) event: Arc<Event>,
}
