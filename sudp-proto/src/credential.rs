//! What a client shows of itself to be let in.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// The value of an `Authorization` header: a kind and its words, as in `Bearer abc`.
///
/// It is a secret: it shows in no log and no error, goes to configured servers only, and only to found a session
/// or to renew one that stands. Links attach by the proof of their session. It is wiped with its last clone; what
/// was sent of it is in buffers, here and in the kernel, until something else takes its place there.
#[derive(Clone, Eq, PartialEq)]
pub struct Credential(Arc<Zeroizing<Box<str>>>);

/// Why a credential cannot be one. It is not shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// There is none.
    #[error("the credential is empty")]
    Empty,
    /// It has characters that no header may carry, or space around it.
    #[error("the credential has characters that no header can carry, or space around it")]
    Characters,
    /// It is too long.
    #[error("the credential has {0} bytes; at most {MAX_CREDENTIAL} are possible")]
    Length(usize),
}

impl Credential {
    /// One as it stands in the header.
    pub fn new(value: &str) -> Result<Self, CredentialError> {
        if value.is_empty() {
            return Err(CredentialError::Empty);
        }
        if value.len() > MAX_CREDENTIAL {
            return Err(CredentialError::Length(value.len()));
        }
        let proper = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !proper || value.trim() != value {
            return Err(CredentialError::Characters);
        }
        Ok(Self(Arc::new(Zeroizing::new(value.into()))))
    }

    /// A token: whoever has it is let in.
    pub fn bearer(token: &str) -> Result<Self, CredentialError> {
        if token.is_empty() {
            return Err(CredentialError::Empty);
        }
        Self::new(&Zeroizing::new(["Bearer ", token].concat()))
    }

    /// A user and a password.
    #[cfg(feature = "link")]
    pub fn basic(user: &str, password: &str) -> Result<Self, CredentialError> {
        if user.contains(':') || [user, password].iter().any(|text| text.contains(char::is_control)) {
            return Err(CredentialError::Characters);
        }
        let pair = Zeroizing::new(format!("{user}:{password}"));
        let encoded = Zeroizing::new(crate::link::base64(pair.as_bytes()));
        Self::new(&Zeroizing::new(["Basic ", &**encoded].concat()))
    }

    /// The value of the header.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    /// Leaves out everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// Longest credential: with everything else in a request's head it fits what servers take.
pub const MAX_CREDENTIAL: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_can_carry_is_no_credential() {
        assert_eq!(Credential::bearer("abc").unwrap().expose(), "Bearer abc");
        assert_eq!(Credential::bearer(""), Err(CredentialError::Empty));
        for wrong in ["a\r\nHost: b", " a", "a ", "\u{e9}", "a\tb", "a\0"] {
            assert_eq!(Credential::new(wrong), Err(CredentialError::Characters), "{wrong:?}");
        }
        assert!(Credential::new(&"a".repeat(MAX_CREDENTIAL)).is_ok());
        let long = Credential::new(&"a".repeat(MAX_CREDENTIAL + 1));
        assert_eq!(long, Err(CredentialError::Length(MAX_CREDENTIAL + 1)));
    }

    #[cfg(feature = "link")]
    #[test]
    fn a_user_and_a_password_are_written_as_basic() {
        let basic = Credential::basic("Aladdin", "open sesame").unwrap();
        assert_eq!(basic.expose(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(Credential::basic("a:b", "c"), Err(CredentialError::Characters), "the user would be a");
        assert!(Credential::basic("a", "b:c\u{e9}").is_ok());
    }

    #[test]
    fn nothing_of_it_shows() {
        let shown = format!("{:?}", Credential::new("Basic YWxpY2U6c2VjcmV0").unwrap());
        assert_eq!(shown, "Credential(..)");
    }
}
