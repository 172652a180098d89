//! What an answer to a request for a page or a row holds.

use bytes::Bytes;
use jiff::Timestamp;

use super::soap;

/// A page as it came.
#[derive(Debug)]
pub(super) struct Page {
    /// Of a page by SOAP what is around its rows, as JSON.
    pub(super) body: Bytes,
    /// Of a page by SOAP.
    pub(super) rows: Option<Vec<soap::Row>>,
    /// The vendor's cursor of the next page.
    pub(super) next: Option<String>,
    /// The token of the list's next run.
    pub(super) sync: Option<String>,
    pub(super) asked_at: Timestamp,
    pub(super) received_at: Timestamp,
    /// From when on the vendor will not answer this list any more, if it says so.
    pub(super) sunset: Option<Timestamp>,
}
