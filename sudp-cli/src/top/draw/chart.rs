//! A chart of bars, as high and wide as there is room for.

use std::collections::VecDeque;

use super::Look;

/// How many seconds a column stands for.
pub(crate) const SECONDS: usize = 3;

/// The chart line by line, the topmost first, the latest at the right.
pub(super) fn lines(history: &VecDeque<u64>, seen: usize, columns: usize, height: usize, look: Look) -> Vec<String> {
    let values = columns_of(history, seen, columns);
    let most = values.iter().copied().max().unwrap_or_default().max(1);
    let levels: &[char] = if look.unicode { &UNICODE } else { &ASCII };
    let steps = levels.len() - 1;
    let row = |below: usize| {
        let bar = |value: &u64| {
            let full = u128::from(*value) * (height * steps) as u128;
            // The least that there is leaves a trace.
            let filled = usize::try_from(full.div_ceil(u128::from(most))).unwrap_or(usize::MAX);
            levels[filled.saturating_sub(below * steps).min(steps)]
        };
        let bars: String = values.iter().map(bar).collect();
        format!("{}{bars}", " ".repeat(columns - values.len()))
    };
    (0..height).rev().map(row).collect()
}

/// The mean of each column's seconds. The last column is of the seconds it has had so far.
fn columns_of(history: &VecDeque<u64>, seen: usize, columns: usize) -> Vec<u64> {
    let mut values = Vec::new();
    let mut end = history.len();
    let mut size = match seen % SECONDS {
        0 => SECONDS,
        some => some,
    };
    while end > 0 && values.len() < columns {
        let begin = end.saturating_sub(size);
        let sum = history.range(begin..end).fold(0_u64, |sum, value| sum.saturating_add(*value));
        values.push(sum / (end - begin) as u64);
        end = begin;
        size = SECONDS;
    }
    values.reverse();
    values
}

const UNICODE: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 5] = [' ', '.', ':', '|', '#'];

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { color: false, unicode: false };
    const RICH: Look = Look { color: false, unicode: true };

    #[test]
    fn a_column_is_the_mean_of_its_seconds_and_stays_it() {
        let mut history: VecDeque<u64> = [3, 3, 3, 9, 9, 9].into();
        assert_eq!(columns_of(&history, 6, 9), [3, 9]);
        history.push_back(100);
        assert_eq!(columns_of(&history, 7, 9), [3, 9, 100]);
        assert_eq!(columns_of(&history, 7, 2), [9, 100]);
        history.pop_front();
        assert_eq!(columns_of(&history, 7, 9), [3, 9, 100]);
        assert_eq!(columns_of(&VecDeque::new(), 0, 9), [0_u64; 0]);
    }

    #[test]
    fn the_most_fills_the_chart_and_the_least_leaves_a_trace() {
        let history: VecDeque<u64> = [0, 0, 0, 1, 1, 1, 500, 500, 500, 1000, 1000, 1000].into();
        assert_eq!(lines(&history, 12, 6, 1, RICH), ["   ▁▄█"]);
        assert_eq!(lines(&history, 12, 6, 2, RICH), ["     █", "   ▁██"]);
        assert_eq!(lines(&history, 12, 4, 1, PLAIN), [" .:#"]);
        assert_eq!(lines(&VecDeque::from([0; 3]), 3, 3, 1, PLAIN), ["   "]);
        assert_eq!(lines(&VecDeque::from([u64::MAX; 9]), 9, 3, 1, PLAIN), ["###"]);
    }
}
