//! What a client shows of itself in the head of its request.

use sudp_tokio::proto::link::RequestHead;

use super::Why;
use super::base64;
use super::secret::Secret;

/// What stands in `Authorization`.
#[derive(Debug)]
pub(crate) enum Credential {
    /// A name and a password.
    Basic(String, Secret),
    /// A token.
    Bearer(Secret),
}

impl Credential {
    /// What a request shows. Two of them are none that could be judged.
    pub(crate) fn of(head: &RequestHead) -> Result<Option<Self>, Why> {
        let mut all = head.headers("Authorization");
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Self::read(value).map(Some).ok_or(Why::Malformed),
            (Some(_), Some(_)) => Err(Why::Malformed),
        }
    }

    /// Reads the value of `Authorization`, as RFC 7617 and RFC 6750 have it.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let text = str::from_utf8(value).ok().filter(|text| text.len() <= LONGEST)?;
        let (scheme, rest) = text.split_once(' ')?;
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("Basic") {
            let pair = Secret::new(String::from_utf8(base64::decode_usual(rest)?).ok()?);
            let (name, password) = pair.expose().split_once(':')?;
            let plain = !pair.expose().chars().any(char::is_control);
            return plain.then(|| Self::Basic(name.to_owned(), Secret::new(password)));
        }
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let token = scheme.eq_ignore_ascii_case("Bearer") && !rest.is_empty() && rest.bytes().all(proper);
        token.then(|| Self::Bearer(Secret::new(rest)))
    }
}

/// Nobody's credential is longer.
const LONGEST: usize = 8_192;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<(String, String)> {
        match Credential::read(text.as_bytes())? {
            Credential::Basic(name, password) => Some((name, password.expose().to_owned())),
            Credential::Bearer(token) => Some((String::new(), token.expose().to_owned())),
        }
    }

    #[test]
    fn names_passwords_and_tokens_are_taken_as_the_standards_write_them() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        // The example of RFC 7617.
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(read("bAsIc  QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(read(&format!("Basic {}", base64::encode_usual("a:b:é".as_bytes()))), pair("a", "b:é"));
        assert_eq!(read("Bearer a.b-c_d~e+f/g=="), pair("", "a.b-c_d~e+f/g=="));
    }

    #[test]
    fn what_is_neither_is_nothing() {
        let long = format!("Bearer {}", "a".repeat(LONGEST));
        let nul = format!("Basic {}", base64::encode_usual(b"a:b\0"));
        let none = format!("Basic {}", base64::encode_usual(b"no colon"));
        let bytes = format!("Basic {}", base64::encode_usual(&[0xff, b':', 0xfe]));
        for bad in
            ["", "Basic", "Basic ", "Basic QQ", "Basic Qcg=", "Bearer", "Bearer ", "Bearer a b", "Bearer é", "Digest x"]
                .into_iter()
                .chain([&*long, &nul, &none, &bytes])
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(Credential::read(b"Bearer \xff").is_none());
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_or_is_not(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Credential::read(&value);
            let _ = Credential::read(&[b"Basic ", &value[..]].concat());
        }
    }
}
