//! Words of others, made harmless: no line they are in can be taken for two, none colours a terminal or
//! turns its direction round, and none is long.

use std::fmt::{self, Write};

/// Collects what is displayed, up to a bound; what displays itself is stopped there.
#[derive(Debug)]
pub(super) struct Words {
    text: String,
    max: usize,
    cut: bool,
}

impl Words {
    pub(super) fn of(value: fmt::Arguments<'_>, max: usize) -> Self {
        let mut words = Self { text: String::new(), max, cut: false };
        // The only error is our own, which stops what is too long.
        let _ = words.write_fmt(value);
        words
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// For people, as a message: what is not printable is escaped.
    pub(super) fn write_message(&self, out: &mut String) {
        self.write(out, |out, c| if printable(c) { out.push(c) } else { out.extend(c.escape_debug()) });
    }

    /// For people, as a value: with quotation marks where it would otherwise not be told where it ends.
    pub(super) fn write_value(&self, out: &mut String) {
        let plain = |c: char| printable(c) && !c.is_whitespace() && !matches!(c, '"' | '\\' | '=');
        if !self.text.is_empty() && !self.cut && self.text.chars().all(plain) {
            out.push_str(&self.text);
            return;
        }
        out.push('"');
        self.write(out, |out, c| match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if printable(c) => out.push(c),
            c => out.extend(c.escape_debug()),
        });
        out.push('"');
    }

    /// For programs, as a string of JSON, which means the very same text.
    pub(super) fn write_json(&self, out: &mut String) {
        out.push('"');
        self.write(out, |out, c| match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if printable(c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // A string takes everything.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        });
        out.push('"');
    }

    /// The bound holds for what is written, too: an escaped character is up to ten.
    fn write(&self, out: &mut String, mut put: impl FnMut(&mut String, char)) {
        let begun = out.len();
        for c in self.text.chars() {
            let whole = out.len();
            put(out, c);
            if out.len() - begun > self.max {
                out.truncate(whole);
                out.push('…');
                return;
            }
        }
        if self.cut {
            out.push('…');
        }
    }
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.max - self.text.len();
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        let whole = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.text.push_str(&text[..whole]);
        self.cut = true;
        Err(fmt::Error)
    }
}

/// Whether a character is shown as itself: none that moves a cursor, hides, joins, or turns the direction.
fn printable(c: char) -> bool {
    let mut escaped = c.escape_debug();
    matches!(c, '"' | '\'' | '\\') || escaped.next() == Some(c) && escaped.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, write: fn(&Words, &mut String)) -> String {
        let mut out = String::new();
        write(&Words::of(format_args!("{text}"), 256), &mut out);
        out
    }

    #[test]
    fn plain_words_stay_bare_and_others_get_quotation_marks() {
        let value = |text| written(text, Words::write_value);

        assert_eq!(value("10.0.0.1:5005"), "10.0.0.1:5005");
        assert_eq!(value("größe"), "größe");
        assert_eq!(value(""), "\"\"");
        assert_eq!(value("a b"), "\"a b\"");
        assert_eq!(value("a=b"), "\"a=b\"");
        assert_eq!(value("say \"a\\b\""), r#""say \"a\\b\"""#);
    }

    #[test]
    fn nothing_that_controls_a_terminal_or_breaks_a_line_survives() {
        let hostile = "a\r\nb\x1b[31mc\0d\u{2028}e\u{202e}f\u{200b}g\u{feff}h\u{85}i\u{7f}j\u{fffd}\u{e0041}";
        let (value, message) = (written(hostile, Words::write_value), written(hostile, Words::write_message));
        let json = written(hostile, Words::write_json);

        for text in [&value, &message, &json] {
            assert!(text.chars().all(printable), "{text:?}");
        }
        assert!(value.starts_with(r#""a\r\nb\u{1b}[31mc\0d\u{2028}e\u{202e}f\u{200b}g"#), "{value}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
    }

    #[test]
    fn a_long_word_is_cut_whatever_it_is_made_of() {
        for piece in ["x", "ä", "\u{1f600}", "\x1b", "\u{e0041}", "\""] {
            let long = piece.repeat(1 << 20);
            for write in [Words::write_value, Words::write_message, Words::write_json] {
                let text = written(&long, write);
                assert!(text.len() <= 256 + "\"…\"".len(), "{} bytes of {piece:?}", text.len());
                assert!(text.trim_end_matches('"').ends_with('…'), "{text}");
            }
        }
        assert_eq!(written(&"x".repeat(256), Words::write_message), "x".repeat(256));
    }
}
