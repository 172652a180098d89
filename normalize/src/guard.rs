//! A bug of ours that one record sets off must cost that record only: panics are caught, and the records that caused them
//! are remembered until a transaction has carried them to the dead letters.
//!
//! A panic may leave half of a record's work behind. So the transaction is aborted as a whole and the same inputs are done
//! again, this time without the guilty. What a panic says may hold a value of the payload: only its place is kept, and
//! nothing of it is printed.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use hirewire_kafka::Inbound;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Guilty records remembered; then all are forgotten, and found again.
const MOST_REMEMBERED: usize = 100_000;

/// Does the work. If it panics: the place in our source.
///
/// # Errors
/// File and line of the panic.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    keep_quiet();
    GUARDED.set(true);
    // Whoever calls this throws away all that the work may have touched.
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    done.map_err(|_message| PLACE.take().unwrap_or_else(|| "an unknown place".to_owned()))
}

/// Guarded work prints no message; all other panics do as before.
fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                PLACE.set(info.location().map(|place| format!("{}:{}", place.file(), place.line())));
            } else {
                before(info);
            }
        }));
    });
}

#[derive(PartialEq, Eq, Hash)]
struct Position {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
}

impl Position {
    fn of(input: &Inbound) -> Self {
        Self { topic: Arc::clone(&input.topic), partition: input.partition, offset: input.offset }
    }
}

/// Records that made a panic, and partitions where one happened that no record could be blamed for yet. They outlive the
/// step: an abort may end with a new one.
#[derive(Default)]
pub struct Guilty {
    /// Whether there is anything to ask: else records cost nothing.
    some: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    records: HashMap<Position, String>,
    partitions: HashSet<i32>,
}

impl Guilty {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of the panic that this record made.
    #[must_use]
    pub fn place(&self, input: &Inbound) -> Option<String> {
        if !self.some.load(Ordering::Acquire) {
            return None;
        }
        self.known().records.get(&Position::of(input)).cloned()
    }

    pub fn blame(&self, input: &Inbound, place: String) {
        let mut known = self.known();
        if known.records.len() >= MOST_REMEMBERED {
            known.records.clear();
        }
        known.records.insert(Position::of(input), place);
        self.some.store(true, Ordering::Release);
    }

    /// The end of a transaction of this partition panicked: which record is to blame is to be found out.
    pub fn suspect(&self, partition: i32) {
        self.known().partitions.insert(partition);
        self.some.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_suspect(&self, partition: i32) -> bool {
        self.some.load(Ordering::Acquire) && self.known().partitions.contains(&partition)
    }

    /// A transaction of this partition is durable: what it left out needs no memory.
    pub fn absolve(&self, partition: i32) {
        if self.some.load(Ordering::Acquire) {
            let mut known = self.known();
            known.records.retain(|position, _| position.partition != partition);
            known.partitions.remove(&partition);
            self.some.store(!known.records.is_empty() || !known.partitions.is_empty(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarded_panic_is_told_by_its_place_alone_and_printed_nowhere() {
        static PRINTED: Mutex<Vec<String>> = Mutex::new(Vec::new());
        std::panic::set_hook(Box::new(|info| PRINTED.lock().unwrap().push(info.to_string())));
        let place = guarded(|| panic!("Jane Doe")).unwrap_err();
        assert!(place.starts_with("normalize/src/guard.rs:") && !place.contains("Jane"), "{place}");
        let _thrown = std::panic::catch_unwind(|| panic!("not guarded")).unwrap_err();
        let printed = PRINTED.lock().unwrap().join("\n");
        assert!(printed.contains("not guarded") && !printed.contains("Jane"), "{printed}");
        assert_eq!(guarded(|| 7), Ok(7));
    }
}
