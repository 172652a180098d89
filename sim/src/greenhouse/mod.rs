//! The offline Greenhouse: its Harvest API (v3) over HTTP, and the shapes of its rows and webhooks. Other vendors tell the same
//! story by their `api.yaml` ([`crate::story`]).

pub(crate) mod api;
pub(crate) mod bodies;
pub(crate) mod company_rows;
pub(crate) mod query;
pub(crate) mod rows;
