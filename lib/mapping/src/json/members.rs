//! Keys of large objects that no path names, in one hash table: a key that stands twice is refused in one step.

use super::Fault;

/// Keys by object and hash: open addressing, reused without clearing.
#[derive(Default)]
pub(super) struct Members {
    slots: Vec<Slot>,
    used: usize,
    /// Slots of other payloads are free.
    payload: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    payload: u32,
    object: u32,
    hash: u32,
    key: u32,
}

/// A longer search means keys that were made to collide.
const MAX_PROBES: usize = 256;

impl Members {
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.payload = self.payload.wrapping_add(1);
        if self.payload == 0 || self.slots.is_empty() {
            self.slots.clear();
            self.slots.resize(256, Slot::default());
            self.payload = 1;
        }
    }

    /// Positions to look at, one after the other.
    fn probe(&self, object: u32, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        let start = (hash ^ object.wrapping_mul(0x9e37_79b1)) as usize;
        (0..MAX_PROBES).map(move |step| start.wrapping_add(step) & mask)
    }

    pub(super) fn enter(&mut self, object: u32, hash: u32, key: u32, same: impl Fn(u32) -> bool) -> Result<(), Fault> {
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow()?;
        }
        for position in self.probe(object, hash) {
            let slot = self.slots[position];
            if slot.payload != self.payload {
                self.slots[position] = Slot { payload: self.payload, object, hash, key };
                self.used += 1;
                return Ok(());
            }
            if slot.object == object && slot.hash == hash && same(slot.key) {
                return Err(Fault::DuplicateKey);
            }
        }
        Err(ALIKE)
    }

    fn grow(&mut self) -> Result<(), Fault> {
        let larger = vec![Slot::default(); self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, larger);
        for slot in old.into_iter().filter(|slot| slot.payload == self.payload) {
            let free = self.probe(slot.object, slot.hash).find(|at| self.slots[*at].payload != self.payload);
            let Some(free) = free else { return Err(ALIKE) };
            self.slots[free] = slot;
        }
        Ok(())
    }
}

const ALIKE: Fault = Fault::Syntax("too many keys that were made to look alike");

/// A hash of all bytes of a key.
pub(super) fn key_hash(key: &[u8]) -> u32 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = key.len() as u64;
    let tail = if let Some(last) = key.last_chunk::<8>() {
        let (words, _) = key.as_chunks::<8>();
        for word in words {
            state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD);
            state ^= state >> 32;
        }
        u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) | (u64::from(u32::from_le_bytes(*last)) << 32)
    } else {
        key.iter().fold(0, |tail, byte| (tail << 8) | u64::from(*byte))
    };
    ((state ^ tail).wrapping_mul(SPREAD) >> 32) as u32
}
