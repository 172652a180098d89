//! The records of one partition that were taken in and not yet committed.

use std::collections::VecDeque;

/// Offsets in the order of the log, each with what came of it if it is finished. Offsets may have gaps (markers,
/// compaction).
#[derive(Debug)]
pub(super) struct Window<T> {
    records: VecDeque<(i64, Option<T>)>,
}

/// The finished records that no other stands before any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<T> {
    /// The position to commit.
    pub(super) next_offset: i64,
    /// In the order of the log.
    pub(super) came: Vec<(i64, T)>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { records: VecDeque::new() }
    }
}

impl<T> Window<T> {
    pub(super) fn begin(&mut self, offset: i64) {
        self.records.push_back((offset, None));
    }

    /// `Some` if the finished head grew.
    pub(super) fn finish(&mut self, offset: i64, came: T) -> Option<Head<T>> {
        let index = self.records.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
        self.records.get_mut(index)?.1 = Some(came);
        let mut head = Vec::new();
        while let Some((offset, Some(came))) = self.records.pop_front_if(|(_, came)| came.is_some()) {
            head.push((offset, came));
        }
        let next_offset = head.last()?.0 + 1;
        Some(Head { next_offset, came: head })
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_contiguous_finished_head_is_committed() {
        let mut window = Window::default();
        for offset in [3, 4, 7, 9] {
            window.begin(offset);
        }
        assert_eq!(window.finish(4, "d"), None);
        assert_eq!(window.finish(9, "i"), None);
        assert_eq!(window.finish(3, "c"), Some(Head { next_offset: 5, came: vec![(3, "c"), (4, "d")] }));
        assert_eq!(window.finish(7, "g"), Some(Head { next_offset: 10, came: vec![(7, "g"), (9, "i")] }));
        assert_eq!(window.len(), 0);
    }
}
