//! An API by GraphQL: a list is a field of the query, its parameters are the field's arguments.

use hirewire_yaml::{Map, Problems};

use super::read::text;

#[derive(Debug, Clone)]
pub(crate) struct GraphqlRules {
    /// Behind the base path.
    pub(crate) path: String,
    /// The code of the error that a wrong login is answered with.
    pub(crate) login: String,
}

impl GraphqlRules {
    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        Some(Self { path: text(map, "path", problems)?, login: text(map, "login", problems)? })
    }
}
