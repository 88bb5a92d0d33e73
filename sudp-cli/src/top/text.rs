//! Texts that are safe to show and that fit where they are shown.

use std::fmt::Write;

use ratatui::text::Span;

/// What others have sent, as it may be shown: whatever could move the cursor, turn the direction of writing or
/// hide is written as an escape.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        let hidden = char.is_control() || width(char) == 0 || bidirectional(char) || !graphic(char);
        if hidden {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", char.escape_unicode());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// The text in exactly this many columns, blanks added at its right; what is too long loses its end.
pub(crate) fn left(text: &str, columns: usize) -> String {
    let mut fitted = if span(text) <= columns { text.to_owned() } else { cut(text, columns, 0) };
    fitted.extend(std::iter::repeat_n(' ', columns.saturating_sub(span(&fitted))));
    fitted
}

/// As [`left`], but what is too long loses its middle: of an address, both host and port say something.
pub(crate) fn both_ends(text: &str, columns: usize) -> String {
    if span(text) <= columns {
        return left(text, columns);
    }
    left(&cut(text, columns, columns.saturating_sub(1) / 2), columns)
}

/// The text in exactly this many columns, blanks added at its left.
pub(crate) fn right(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(span(text));
    let mut fitted = " ".repeat(blanks);
    fitted.push_str(&left(text, columns - blanks));
    fitted
}

/// How many columns a text takes.
pub(crate) fn span(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { Span::raw(text).width() }
}

/// A size in bytes, in at most five columns: `17`, `1.2K`, `340M`.
pub(crate) fn size(bytes: u64) -> String {
    scaled(bytes, 1024)
}

/// A count, in at most five columns: `17`, `1.2k`, `340M`.
pub(crate) fn count(number: u64) -> String {
    scaled(number, 1000).replace('K', "k")
}

/// A rate, given in bytes a second, as bits a second, in at most five columns.
pub(crate) fn bits(bytes: f64) -> String {
    count(whole(bytes * 8.0))
}

/// A time, in at most seven columns: `0.31 ms`, `24.1 ms`, `3.4 s`, `2m 05s`, `3h 07m`, `12d 3h`.
pub(crate) fn time(seconds: f64) -> String {
    let whole = whole(seconds);
    match whole {
        _ if seconds < 0.00995 => format!("{:.2} ms", seconds.max(0.0) * 1000.0),
        _ if seconds < 0.0995 => format!("{:.1} ms", seconds * 1000.0),
        _ if seconds < 0.9995 => format!("{:.0} ms", seconds * 1000.0),
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {:02}m", whole / 3600, whole / 60 % 60),
        _ if whole < 999 * 86_400 => format!("{}d {}h", whole / 86_400, whole / 3600 % 24),
        _ => format!("{}d", whole / 86_400),
    }
}

/// A number of seconds, bytes or the like that is not below zero, without what is behind the point.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and what is not a number becomes 0")]
#[expect(clippy::cast_sign_loss, reason = "what is below zero becomes 0")]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

fn scaled(number: u64, base: u64) -> String {
    let mut divisor = 1;
    for unit in ["", "K", "M", "G", "T", "P"] {
        // What would be rounded to a fifth column goes to the next unit.
        let tenths = u128::from(number) * 10 / u128::from(divisor);
        if unit.is_empty() && number < 1000 {
            return number.to_string();
        }
        if !unit.is_empty() && tenths < 100 {
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
        if !unit.is_empty() && tenths < 10_000 {
            return format!("{}{unit}", tenths / 10);
        }
        divisor *= base;
    }
    format!("{}E", number / divisor)
}

/// As many columns as there are: the beginning, a mark, and the end as far as it is wanted.
fn cut(text: &str, columns: usize, tail: usize) -> String {
    let Some(head) = columns.checked_sub(tail + 1) else { return String::new() };
    let mut used = 0;
    let mut kept: String = text.chars().take_while(|char| fits(&mut used, *char, head)).collect();
    let mut used = 0;
    let end: Vec<_> = text.chars().rev().take_while(|char| fits(&mut used, *char, tail)).collect();
    kept.push('~');
    kept.extend(end.into_iter().rev());
    kept
}

fn fits(used: &mut usize, char: char, columns: usize) -> bool {
    *used += width(char);
    *used <= columns
}

fn width(char: char) -> usize {
    Span::raw(char.encode_utf8(&mut [0; 4]) as &str).width()
}

/// Marks that turn the direction of writing: they would show an address backwards.
fn bidirectional(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character has a shape of its own: not one of a private area, a separator of lines, or none at all.
fn graphic(char: char) -> bool {
    char == ' ' || char.escape_debug().len() == 1 || matches!(char, '\'' | '"' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_sends_cannot_reach_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\n"), "a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(clean("\u{202e}moc\u{200b}\u{9b}31m"), "\\u{202e}moc\\u{200b}\\u{9b}31m");
        assert_eq!(clean("e\u{301} \u{e000} \u{2028}"), "e\\u{301} \\u{e000} \\u{2028}");
        assert_eq!(clean("日本 'x' \"y\" \\z"), "日本 'x' \"y\" \\z");
    }

    #[test]
    fn a_text_takes_the_columns_it_is_given_whatever_its_characters() {
        for text in ["", "a", "abcdefghijkl", "日本語日本語", "a日b本c語", "10.0.0.1:5353"] {
            for columns in 0..14 {
                assert_eq!(span(&left(text, columns)), columns, "{text} {columns}");
                assert_eq!(span(&right(text, columns)), columns, "{text} {columns}");
                assert_eq!(span(&both_ends(text, columns)), columns, "{text} {columns}");
            }
        }
        assert_eq!(both_ends("a.very.long.name.example.com:5353", 15), "a.very.~om:5353");
        assert_eq!(left("abcdef", 4), "abc~");
        assert_eq!(left("日本語", 4), "日~ ");
        assert_eq!(right("7", 3), "  7");
    }

    #[test]
    fn numbers_stay_narrow() {
        let sizes = [0, 999, 1000, 1023, 1024, 10_239, 10_240, 1_048_575, 1_048_576, 5_000_000_000, u64::MAX];
        let shown = ["0", "999", "0.9K", "0.9K", "1.0K", "9.9K", "10K", "0.9M", "1.0M", "4.6G", "15E"];
        for (bytes, text) in sizes.into_iter().zip(shown) {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        assert_eq!(count(999_949), "999k");
        assert_eq!(bits(1_250_000.0), "10M");
        assert_eq!(bits(f64::NAN), "0");
        assert!((0..64).all(|bit| size(1 << bit).len() <= 5 && count(1 << bit).len() <= 5));
    }

    #[test]
    fn times_are_told_in_two_units_at_most() {
        let times = [-1.0, 0.00031, 0.0241, 0.35, 0.9999, 3.42, 9.96, 59.9, 125.0, 11_220.0, 1_047_600.0, 1e9];
        let shown = [
            "0.00 ms", "0.31 ms", "24.1 ms", "350 ms", "1.0 s", "3.4 s", "9 s", "59 s", "2m 05s", "3h 07m", "12d 3h",
            "11574d",
        ];
        for (seconds, text) in times.into_iter().zip(shown) {
            assert_eq!(time(seconds), text, "{seconds}");
        }
    }
}
