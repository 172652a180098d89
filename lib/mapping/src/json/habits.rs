//! Which key came after which lately. Payloads of one kind have their keys in one order, so that most keys are known by one comparison
//! with the one that is expected; what is not as expected is read letter by letter, and expected from then on.
//!
//! A habit says what the letters of a key mean at a place. Both are compared before it is used, so that what is expected decides how
//! fast a key is read and never what it means.

use crate::layout::NOWHERE;

/// A key in quotes and the colon behind it, as long as it may be.
const LONGEST: usize = 32;

type Letters = [u64; LONGEST / 8];

/// What the layout says of a key, and which bit of 64 a hash of its letters chose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// `None`: no path names it.
    pub(super) slot: Option<u32>,
    pub(super) place: u32,
    pub(super) bit: u32,
}

/// One line of the processor's cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Habit {
    letters: Letters,
    /// With quotes and colon; those of the first are none.
    pub(super) length: u32,
    /// The place of the object.
    at: u32,
    pub(super) member: Member,
    next: Next,
}

/// The key that comes behind a value, and the first one inside it.
#[derive(Debug, Clone, Copy, Default)]
struct Next {
    behind: u32,
    inside: u32,
}

/// The habits of one layout. The first is what comes before all keys.
#[derive(Default)]
pub(super) struct Habits {
    keys: Vec<Habit>,
}

/// Where in the order of keys an object is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// The key before, or around, and whether it is around.
    habit: u32,
    inside: bool,
    /// What is expected.
    next: u32,
}

impl Turn {
    pub(super) const START: Self = Self { habit: 0, inside: true, next: 0 };
}

/// With more, all are forgotten: keys that are never the same are no habits.
const MOST: usize = 1_024;

/// Which bytes of letters count, by their length.
const MASKS: [Letters; LONGEST + 1] = {
    let mut masks = [[0; LONGEST / 8]; LONGEST + 1];
    let mut length = 1;
    while length <= LONGEST {
        masks[length] = masks[length - 1];
        masks[length][(length - 1) / 8] |= 0xff << ((length - 1) % 8 * 8);
        length += 1;
    }
    masks
};

impl Habits {
    /// In an object or list that is the value whose key was read last at `turn`, or the whole.
    #[inline(always)]
    pub(super) fn inside(&self, turn: Turn) -> Turn {
        let next = self.keys.get(turn.habit as usize).map_or(0, |habit| habit.next.inside);
        Turn { habit: turn.habit, inside: true, next }
    }

    /// The habit that the key at the front of `text` follows, and what is expected behind it. A key that is left out is stepped over.
    #[inline(always)]
    pub(super) fn expected(&self, turn: Turn, at: u32, text: &[u8]) -> Option<(&Habit, Turn)> {
        let found = text.first_chunk().map_or_else(|| padded(&[text]), words);
        let mut number = turn.next;
        for _ in 0..2 {
            let habit = self.keys.get(number as usize)?;
            let mask = MASKS.get(habit.length as usize)?;
            let differs =
                (0..LONGEST / 8).fold(0, |differs, word| differs | ((found[word] & mask[word]) ^ habit.letters[word]));
            if differs == 0 && habit.at == at {
                return Some((habit, Turn { habit: number, inside: false, next: habit.next.behind }));
            }
            number = habit.next.behind;
        }
        None
    }

    /// From now on this key is expected here, and behind it what was. Its letters have no escapes.
    #[inline(never)]
    pub(super) fn learn(&mut self, turn: Turn, at: u32, key: &[u8], member: Member) -> Turn {
        if self.keys.len() >= MOST {
            self.keys.clear();
        }
        if self.keys.is_empty() {
            // No text begins with its letters.
            let member = Member { slot: None, place: NOWHERE, bit: 0 };
            self.keys.push(Habit { letters: [1; 4], length: 0, at: NOWHERE, member, next: Next::default() });
        }
        let (number, length) = (self.keys.len() as u32, key.len() + 3);
        let Some(before) = self.keys.get_mut(turn.habit as usize).filter(|_| length <= LONGEST) else {
            return turn;
        };
        let place = if turn.inside { &mut before.next.inside } else { &mut before.next.behind };
        let behind = std::mem::replace(place, number);
        let next = Next { behind, inside: 0 };
        let letters = padded(&[b"\"", key, b"\":"]);
        self.keys.push(Habit { letters, length: length as u32, at, member, next });
        Turn { habit: number, inside: false, next: behind }
    }
}

/// Of what is shorter.
#[cold]
fn padded(parts: &[&[u8]]) -> Letters {
    let mut letters = [0; LONGEST];
    for (letter, byte) in letters.iter_mut().zip(parts.iter().copied().flatten()) {
        *letter = *byte;
    }
    words(&letters)
}

#[inline(always)]
fn words(letters: &[u8; LONGEST]) -> Letters {
    let (words, _) = letters.as_chunks::<8>();
    std::array::from_fn(|index| words.get(index).map_or(0, |word| u64::from_le_bytes(*word)))
}
