//! Write-backs: what route is about to change at a source, so that the change that comes of it is known to be ours.
//!
//! In: records of `hirewire.internal.write-back.v1`, in the application's partition. They are kept in the application's state
//! ([`Intent`]). Out: [`explain`] names the cause of the events that they explain, and tells one anew that was told before its
//! intent was read: as a correction, by which nothing acts.

use hirewire_mapping::avro::{read_bytes, read_long};

use crate::claim::Id;
use crate::ledger::{Cause, Event, Ledger, Micros, Move, SECOND, Status};
use crate::wire::{Damaged, Reader, put_bytes, put_int};

/// How much earlier than our own clock said a source may place what we did.
const CLOCKS_DIFFER: Micros = 2 * 60 * SECOND;
/// Intents kept of one application; then the oldest go.
const MOST_KEPT: usize = 16;

/// One intent of one application.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The delivery's idempotency key: what is sent again intends the same.
    pub delivery: String,
    /// Key of the stage that it moves to.
    pub stage: Option<Id>,
    pub status: Option<Status>,
    pub intended_at: Micros,
    /// After this it explains no change any more.
    pub expires_at: Micros,
    /// An event was explained by it: no second one is, but the same told anew.
    pub spent: bool,
}

/// An intent and whose it is.
pub struct Told {
    pub application: Id,
    pub intent: Intent,
}

impl Told {
    /// Of a framed `hirewire.internal.WriteBack`.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let rest = &mut value.get(5..)?;
        for _ in ["tenant_id", "connection_id"] {
            let _skipped = read_bytes(rest)?;
        }
        let application = Id::try_from(read_bytes(rest)?).ok()?;
        let _route = read_bytes(rest)?;
        let delivery = std::str::from_utf8(read_bytes(rest)?).ok()?.to_owned();
        let _action = read_bytes(rest)?;
        let stage = optional(rest, |rest| Id::try_from(read_bytes(rest)?).ok())?;
        let status = optional(rest, |rest| Status::from_word(std::str::from_utf8(read_bytes(rest)?).ok()?))?;
        let _event = optional(rest, |rest| read_bytes(rest).map(<[u8]>::len))?;
        let intended_at = read_long(rest)?;
        let expires_at = optional(rest, read_long)?.unwrap_or(intended_at);
        let intent = Intent { delivery, stage, status, intended_at, expires_at, spent: false };
        Some(Self { application, intent })
    }
}

/// A union of null and something.
#[expect(clippy::option_option, reason = "unreadable, null and there are three things")]
fn optional<T>(rest: &mut &[u8], read: impl FnOnce(&mut &[u8]) -> Option<T>) -> Option<Option<T>> {
    match read_long(rest)? {
        0 => Some(None),
        _ => read(rest).map(Some),
    }
}

impl Intent {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.delivery.as_bytes());
        put_bytes(out, self.stage.as_ref().map_or(&[][..], |id| &id[..]));
        put_int(out, self.status.map_or(-1, Status::index));
        put_int(out, self.intended_at);
        put_int(out, self.expires_at);
        out.push(u8::from(self.spent));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let delivery = from.text()?.to_owned();
        let stage = match from.bytes()? {
            [] => None,
            id => Some(Id::try_from(id).map_err(|_| Damaged)?),
        };
        let status = match from.int()? {
            -1 => None,
            index => Some(Status::from_index(index).ok_or(Damaged)?),
        };
        Ok(Self { delivery, stage, status, intended_at: from.int()?, expires_at: from.int()?, spent: from.flag()? })
    }

    /// Whether the move leads where this intends to, in its time.
    fn fits(&self, ledger: &Ledger, what: &Move) -> bool {
        if (self.stage.is_none() && self.status.is_none()) || what.cause != Cause::Unknown {
            return false;
        }
        let stage = self.stage.as_ref().is_none_or(|id| {
            what.from.stage != what.to.stage && what.to.stage.is_some_and(|ix| *ledger.stage_key(ix) == id[..])
        });
        let status =
            self.status.is_none_or(|status| what.to.status == status && what.from.status.class() != status.class());
        let (earliest, latest) = (what.not_before.unwrap_or(what.at), what.not_after.unwrap_or(what.at));
        stage && status && latest >= self.intended_at - CLOCKS_DIFFER && earliest <= self.expires_at
    }
}

/// Keeps an intent. False: it is known.
pub fn keep(intents: &mut Vec<Intent>, intent: Intent) -> bool {
    if intents.iter().any(|known| known.delivery == intent.delivery) {
        return false;
    }
    intents.push(intent);
    let surplus = intents.len().saturating_sub(MOST_KEPT);
    intents.drain(..surplus);
    true
}

/// Names the cause of new events, and tells anew what was told before the intent that explains it was known.
pub fn explain(intents: &mut [Intent], ledger: &mut Ledger, events: &mut Vec<Event>) {
    for event in events.iter_mut() {
        let again = !event.supersedes.is_empty();
        let known = intents.iter_mut().find(|intent| (again || !intent.spent) && intent.fits(ledger, &event.what));
        if let Some(intent) = known {
            intent.spent = true;
            event.what.cause = Cause::WriteBack;
        }
    }
    for intent in intents.iter_mut().filter(|intent| !intent.spent) {
        if let Some(mut event) = ledger.tell_again(|ledger, what| intent.fits(ledger, what)) {
            intent.spent = true;
            event.what.cause = Cause::WriteBack;
            events.push(event);
        }
    }
}
