//! The records of one partition that were taken in and not yet committed.

use std::collections::VecDeque;

/// Offsets in the order of the log, each finished or not. Offsets may have gaps (markers, compaction).
#[derive(Debug, Default)]
pub(super) struct Window {
    records: VecDeque<(i64, bool)>,
}

impl Window {
    pub(super) fn begin(&mut self, offset: i64) {
        self.records.push_back((offset, false));
    }

    /// The position to commit, if the finished head grew.
    pub(super) fn finish(&mut self, offset: i64) -> Option<i64> {
        let index = self.records.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
        self.records.get_mut(index)?.1 = true;
        let mut next_offset = None;
        while let Some((offset, true)) = self.records.front() {
            next_offset = Some(offset + 1);
            self.records.pop_front();
        }
        next_offset
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
        assert_eq!(window.finish(4), None);
        assert_eq!(window.finish(9), None);
        assert_eq!(window.finish(3), Some(5));
        assert_eq!(window.finish(7), Some(10));
        assert_eq!(window.len(), 0);
    }
}
