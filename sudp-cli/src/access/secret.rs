//! Something that must never be seen again.

use std::fmt;

use zeroize::Zeroizing;

/// A text that is wiped when it is dropped, and that nothing prints: it is not in what `Debug` writes, and has
/// neither `Display` nor `Serialize`.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps a text to itself.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, for whoever checks or sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_what_is_printed_for_debugging() {
        let kept = Some(Secret::new("canary-4711"));
        assert_eq!(format!("{kept:?} {kept:#?}").matches("canary").count(), 0);
        assert_eq!(kept.as_ref().map(Secret::expose), Some("canary-4711"));
    }
}
