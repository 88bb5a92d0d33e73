//! What goes wrong with sealing, in a build with it or without.

/// Why something sealed was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[cfg_attr(not(feature = "seal"), expect(dead_code, reason = "nothing is sealed, so little can be wrong with it"))]
pub(crate) enum SealFault {
    /// It does not open: another key, or bytes that were changed, left out, repeated or moved.
    #[error("it does not open")]
    Changed,
    /// It is not sealed.
    #[error("it is not sealed")]
    Plain,
    /// The link has sealed as much as one may.
    #[error("the link has sealed as much as one may")]
    Spent,
}

/// The text is no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a key is 43 characters of base64url, without padding")]
pub struct KeyError;
