//! Lays two histories side by side so that as few places as possible differ.

/// One place of an alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    /// Index in the truth and in what was found.
    Both(usize, usize),
    Missing(usize),
    Extra(usize),
}

/// `cost` of laying true `i` beside found `j`: 0 equal, 1 alike but wrong, `None` not the same thing. A missing or an
/// extra one costs 1.
pub(super) fn align(truth: usize, found: usize, cost: impl Fn(usize, usize) -> Option<u32>) -> Vec<Pair> {
    // best[i][j]: the least cost of aligning what follows i and j.
    let mut best = vec![vec![0_u32; found + 1]; truth + 1];
    let at = |best: &Vec<Vec<u32>>, i: usize, j: usize| best.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    for i in (0..=truth).rev() {
        for j in (0..=found).rev() {
            let value = if i == truth {
                count(found - j)
            } else if j == found {
                count(truth - i)
            } else {
                let skip = 1 + at(&best, i + 1, j).min(at(&best, i, j + 1));
                cost(i, j).map_or(skip, |cost| skip.min(cost + at(&best, i + 1, j + 1)))
            };
            if let Some(cell) = best.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = value;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < truth || j < found {
        let both = if i < truth && j < found { cost(i, j) } else { None };
        if both.is_some_and(|cost| at(&best, i, j) == cost + at(&best, i + 1, j + 1)) {
            pairs.push(Pair::Both(i, j));
            i += 1;
            j += 1;
        } else if i < truth && (j == found || at(&best, i, j) == 1 + at(&best, i + 1, j)) {
            pairs.push(Pair::Missing(i));
            i += 1;
        } else {
            pairs.push(Pair::Extra(j));
            j += 1;
        }
    }
    pairs
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_alignment_is_found() {
        let (truth, found) = (b"abcd", b"abxd");
        let pairs = align(4, 4, |i, j| (truth[i] == found[j]).then_some(0));
        assert_eq!(pairs, [Pair::Both(0, 0), Pair::Both(1, 1), Pair::Missing(2), Pair::Extra(2), Pair::Both(3, 3)]);
        let (truth, found) = (b"abab", b"bab");
        let pairs = align(4, 3, |i, j| (truth[i] == found[j]).then_some(0));
        assert_eq!(pairs[0], Pair::Missing(0));
        assert_eq!(pairs.len(), 4);
    }
}
