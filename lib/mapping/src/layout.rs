//! All paths of a plan → a tree of places; a key of a payload finds its slot while it is read, and no rule searches again.
//!
//! A place is where paths meet an object or list: the payload, a member that a path names, the items of a list. An object
//! at a place has a slot for each key that any rule reads there. Every key of a path knows its place and slot
//! ([`Key`]); where an object turns out to stand at another place, the reader compares keys instead, so that the tree
//! decides how fast a value is found and never whether it is.

mod build;

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use build::build;

/// An object or list that no path speaks of.
pub(crate) const NOWHERE: u32 = 0;
/// The payload itself.
pub(crate) const ROOT: u32 = 1;

/// The letters of a key in two words: all of them, up to [`WHOLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Name {
    front: u64,
    back: u64,
    length: u32,
}

/// Names up to this length are equal if their words are.
const WHOLE: u32 = 16;

impl Name {
    #[inline]
    pub(crate) fn new(key: &[u8]) -> Self {
        let length = key.len() as u32;
        let (front, back) = if let (Some(front), Some(back)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
            (u64::from_le_bytes(*front), u64::from_le_bytes(*back))
        } else if let (Some(front), Some(back)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
            (u64::from(u32::from_le_bytes(*front)), u64::from(u32::from_le_bytes(*back)))
        } else {
            (key.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
        };
        Self { front, back, length }
    }

    /// Whether equal words mean equal names.
    #[inline]
    pub(crate) fn is_whole(self) -> bool {
        self.length <= WHOLE
    }

    #[inline]
    pub(crate) fn hash(self) -> u32 {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.front ^ self.back.rotate_left(29)).wrapping_add(u64::from(self.length)).wrapping_mul(SPREAD);
        (mixed >> 32) as u32
    }
}

#[derive(Debug, Clone)]
struct Entry {
    name: Name,
    /// Of its object; [`FREE`]: nothing stands here.
    slot: u32,
    /// Where its value stands.
    place: u32,
    /// Of names longer than [`WHOLE`].
    text: Box<str>,
}

const FREE: u32 = u32::MAX;

#[derive(Debug, Clone, Default)]
struct Place {
    /// Open addressing, of a power of two; empty if no key is known here.
    entries: Vec<Entry>,
    /// Slots of an object here.
    width: u32,
    /// Of the items of a list.
    items: u32,
    /// Of members whose keys are not known here.
    others: u32,
}

/// The places of a plan.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// No other layout of this process has it, but for those without places.
    number: u64,
    places: Vec<Place>,
}

static LAYOUTS: AtomicU64 = AtomicU64::new(1);

impl Layout {
    fn new(places: Vec<Place>) -> Self {
        Self { number: LAYOUTS.fetch_add(1, Ordering::Relaxed), places }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What no path names is nowhere.
    #[inline]
    fn place(&self, place: u32) -> Option<&Place> {
        self.places.get(place as usize)
    }

    #[inline]
    pub(crate) fn width(&self, place: u32) -> usize {
        self.place(place).map_or(0, |place| place.width as usize)
    }

    #[inline]
    pub(crate) fn items(&self, place: u32) -> u32 {
        self.place(place).map_or(NOWHERE, |place| place.items)
    }

    /// Slot and place of the member with this name; a slot only for keys that are known.
    #[inline]
    pub(crate) fn member(&self, place: u32, name: Name, key: &[u8]) -> (Option<u32>, u32) {
        let Some(here) = self.place(place) else { return (None, NOWHERE) };
        let mask = here.entries.len().wrapping_sub(1);
        let mut at = name.hash() as usize & mask;
        while let Some(entry) = here.entries.get(at) {
            if entry.slot == FREE {
                break;
            }
            if entry.name == name && (name.is_whole() || entry.text.as_bytes() == key) {
                return (Some(entry.slot), entry.place);
            }
            at = (at + 1) & mask;
        }
        (None, here.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_up_to_sixteen_letters_are_equal_only_if_their_letters_are() {
        let letters = b"abcdefghijklmnopq";
        for length in 0..=16 {
            let name = Name::new(&letters[..length]);
            assert!(name.is_whole());
            for other in 0..=17 {
                assert_eq!(name == Name::new(&letters[..other]), length == other);
            }
            for at in 0..length {
                let mut changed = letters[..length].to_vec();
                changed[at] ^= 1;
                assert_ne!(name, Name::new(&changed), "{length} {at}");
            }
        }
        assert!(!Name::new(letters).is_whole());
    }
}
