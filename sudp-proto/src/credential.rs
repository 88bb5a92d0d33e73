//! What a client shows of itself to be let in.

use std::fmt;
use std::sync::Arc;

/// The value of an `Authorization` header: a kind and its words, as in `Bearer abc`.
///
/// It is a secret: it shows in no log and no error, goes to configured servers only, and only to found a session
/// or to renew one that stands. Links attach by the proof of their session.
#[derive(Clone, Eq, PartialEq)]
pub struct Credential(Arc<str>);

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
        Ok(Self(value.into()))
    }

    /// A token: whoever has it is let in.
    pub fn bearer(token: &str) -> Result<Self, CredentialError> {
        if token.is_empty() {
            return Err(CredentialError::Empty);
        }
        Self::new(&format!("Bearer {token}"))
    }

    /// A user and a password.
    #[cfg(feature = "link")]
    pub fn basic(user: &str, password: &str) -> Result<Self, CredentialError> {
        if user.contains(':') || [user, password].iter().any(|text| text.contains(char::is_control)) {
            return Err(CredentialError::Characters);
        }
        Self::new(&format!("Basic {}", crate::link::base64(format!("{user}:{password}").as_bytes())))
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
