//! Base64, in both alphabets of RFC 4648; of several ways to write the same bytes, one is right.

/// The alphabet of URLs, without padding.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    encode(bytes, URL)
}

/// The usual alphabet, with padding.
pub(crate) fn encode_usual(bytes: &[u8]) -> String {
    let mut text = encode(bytes, USUAL);
    text.extend(std::iter::repeat_n('=', text.len().next_multiple_of(4) - text.len()));
    text
}

/// Reads the alphabet of URLs, without padding.
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
    decode(text, URL)
}

/// Reads the usual alphabet, with padding.
pub(crate) fn decode_usual(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let whole = digits.len().next_multiple_of(4) == text.len();
    whole.then(|| decode(digits, USUAL)).flatten()
}

fn encode(bytes: &[u8], last: [u8; 2]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for place in 0..=group.len() {
            text.push(char::from(digit(word >> (18 - 6 * place) & 0x3f, last)));
        }
    }
    text
}

fn decode(text: &str, last: [u8; 2]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut word = 0;
        for place in 0..4 {
            word = word << 6 | group.get(place).map_or(Some(0), |digit| value(*digit, last))?;
        }
        let [_, whole @ ..] = u32::to_be_bytes(word);
        let (whole, left) = whole.split_at(group.len() - 1);
        if whole.is_empty() || left.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(whole);
    }
    Some(bytes)
}

fn digit(value: u32, [plus, slash]: [u8; 2]) -> u8 {
    let value = u8::try_from(value).unwrap_or_default();
    match value {
        0..26 => b'A' + value,
        26..52 => b'a' + value - 26,
        52..62 => b'0' + value - 52,
        62 => plus,
        _ => slash,
    }
}

fn value(digit: u8, [plus, slash]: [u8; 2]) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        _ if digit == plus => 62,
        _ if digit == slash => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// The last two digits of an alphabet.
const URL: [u8; 2] = *b"-_";
const USUAL: [u8; 2] = *b"+/";

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
