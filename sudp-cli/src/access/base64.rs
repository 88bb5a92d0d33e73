//! Base64, in both alphabets of RFC 4648; of several ways to write the same bytes, one is right.

use ::base64::Engine as _;
use ::base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

/// The alphabet of URLs, without padding.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The usual alphabet, with padding.
pub(crate) fn encode_usual(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Reads the alphabet of URLs, without padding.
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

/// Reads the usual alphabet, with padding.
pub(crate) fn decode_usual(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode_url(&encode_url(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(decode_usual(&encode_usual(&bytes)), Some(bytes));
        }

        #[test]
        fn what_is_decoded_has_one_encoding(text in "[A-Za-z0-9_=+/-]{0,12}") {
            if let Some(bytes) = decode_url(&text) {
                prop_assert_eq!(encode_url(&bytes), text.clone());
            }
            if let Some(bytes) = decode_usual(&text) {
                prop_assert_eq!(encode_usual(&bytes), text);
            }
        }
    }

    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode_usual(bytes.as_bytes()), text);
            assert_eq!(decode_usual(text).as_deref(), Some(bytes.as_bytes()));
            assert_eq!(encode_url(bytes.as_bytes()), text.trim_end_matches('='));
        }
        assert_eq!((encode_url(&[0xfb, 0xff]), encode_usual(&[0xfb, 0xff])), ("-_8".into(), "+/8=".into()));
        assert_eq!(
            (decode_usual("Zg"), decode_usual("Zg="), decode_usual("Zg==="), decode_url("Zg==")),
            Default::default()
        );
    }
}
