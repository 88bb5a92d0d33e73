//! What of a certificate `rustls` does not tell: its times and its names.

/// Parts of a certificate, each the content of its element.
pub(super) struct Fields<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) validity: &'a [u8],
    pub(super) subject: &'a [u8],
}

/// Takes a certificate apart, as far as its subject.
pub(super) fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    split(certificate).map(|(fields, _)| fields)
}

/// The names that count in a certificate, in their order: those of hosts, addresses of mail, and URIs.
pub(super) fn alternative_names(certificate: &[u8]) -> Option<Vec<String>> {
    let (_, mut rest) = split(certificate)?;
    // The key comes first, then perhaps numbers that nobody uses, then the extensions.
    while !rest.is_empty() {
        let (kind, content, next) = element(rest)?;
        rest = next;
        if kind == EXTENSIONS {
            let (_, all, _) = element(content)?;
            return names_among(all);
        }
    }
    Some(Vec::new())
}

fn names_among(mut extensions: &[u8]) -> Option<Vec<String>> {
    while !extensions.is_empty() {
        let (_, extension, next) = element(extensions)?;
        extensions = next;
        let (_, kind, mut rest) = element(extension)?;
        if kind != ALTERNATIVE_NAMES {
            continue;
        }
        if let (BOOLEAN, _, value) = element(rest)? {
            rest = value;
        }
        let (_, value, _) = element(rest)?;
        let (_, mut list, _) = element(value)?;
        let mut names = Vec::new();
        while !list.is_empty() {
            let (kind, name, next) = element(list)?;
            list = next;
            if [MAIL, HOST, URI].contains(&kind) {
                names.push(String::from_utf8(name.to_vec()).ok()?);
            }
        }
        return Some(names);
    }
    Some(Vec::new())
}

/// A certificate as far as its subject, and what follows that.
fn split(certificate: &[u8]) -> Option<(Fields<'_>, &[u8])> {
    let (_, whole, _) = element(certificate)?;
    let (_, mut body, _) = element(whole)?;
    if let (VERSION, _, rest) = element(body)? {
        body = rest;
    }
    let (_, _serial, body) = element(body)?;
    let (_, _algorithm, body) = element(body)?;
    let (_, issuer, body) = element(body)?;
    let (_, validity, body) = element(body)?;
    let (_, subject, rest) = element(body)?;
    Some((Fields { issuer, validity, subject }, rest))
}

/// Issuer and subject.
pub(super) fn names(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    fields(certificate).map(|fields| (fields.issuer, fields.subject))
}

/// The common name in a name, if it is text.
pub(super) fn common_name(mut name: &[u8]) -> Option<String> {
    while !name.is_empty() {
        let (_, set, rest) = element(name)?;
        name = rest;
        let (_, pair, _) = element(set)?;
        let (_, kind, value) = element(pair)?;
        if kind == COMMON_NAME {
            let (_, text, _) = element(value)?;
            return String::from_utf8(text.to_vec()).ok();
        }
    }
    None
}

/// The type, the content and what follows of the first element of DER.
pub(super) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((kind, content, rest))
}

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const BOOLEAN: u8 = 1;
const MAIL: u8 = 0x81;
const HOST: u8 = 0x82;
const URI: u8 = 0x86;
/// 2.5.29.17
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 17];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_that_is_cut_or_lies_about_its_length_is_no_element() {
        for bad in [
            &[0x30][..],
            &[0x30, 3, 1, 2],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x82, 1],
        ] {
            assert_eq!(element(bad), None, "{bad:?}");
        }
        assert_eq!(element(&[2, 1, 7, 9]), Some((2, &[7][..], &[9][..])));
    }
}
