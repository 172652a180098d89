//! A vendor's folder in, what is wrong with it out.
//!
//! [`check`] holds the files of a folder against each other, [`test`](test()) runs its fixtures and signature
//! vectors, [`prove`](prove()) lets ingest poll and receive from the vendor as `api.yaml` says that it behaves, [`docs`](docs()) makes its reference page, and [`scaffold`](scaffold()) is the folder that a new vendor begins with. Folders are found by walking ([`vendors_in`]): nothing here knows a vendor, and none has to be named anywhere.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod check;
mod docs;
mod fixture;
mod folder;
mod layout;
mod lifecycle;
mod paths;
mod payloads;
mod places;
mod prove;
mod rules;
mod scaffold;
mod test;
mod vectors;

pub use check::{Checked, check};
pub use docs::docs;
pub use fixture::{Fixture, Kind};
pub use folder::{Folder, vendors_in};
pub use prove::{Clause, Finding, Part, Proof, prove, prove_and_tell};
pub use rules::Rules;
pub use scaffold::{BadName, scaffold};
pub use test::{Difference, Outcome, test};
