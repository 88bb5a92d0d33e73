//! Certificates that clients show in TLS: whom they name. That they are good was found there.

use sudp_tokio::tls::About;

use super::claims::is_name;
use super::{Identity, Stamp, Via, Why};

/// Whom a certificate names: by the first of the names that count, or else by its common name.
pub(crate) fn check(certificate: &[u8]) -> Result<Identity, Why> {
    let About { subject, names, until, .. } = About::of(&certificate.into()).ok_or(Why::Nameless)?;
    let name = names.into_iter().next().or(subject).filter(|name| is_name(name)).ok_or(Why::Nameless)?;
    let principal = format!("cert:{name}");
    let stamp = stamp(&principal);
    Ok(Identity { principal, via: Via::Certificate, groups: Vec::new(), scope: None, expires: Some(until), stamp })
}

/// Nothing of a certificate is kept here: it is taken back by its authority.
pub(crate) fn stamp(principal: &str) -> Stamp {
    super::stamp("certificate", principal.as_bytes())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn named(common: Option<&str>, names: &[SanType]) -> Result<String, Why> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        check(made.der()).map(|identity| identity.principal)
    }

    #[test]
    fn a_certificate_names_by_its_first_name_that_counts_and_else_by_its_common_one() {
        let text = |text: &str| text.try_into().expect("ascii");
        let (host, mail) = (SanType::DnsName(text("laptop.example")), SanType::Rfc822Name(text("a@example")));
        let (uri, address) = (SanType::URI(text("spiffe://x/y")), SanType::IpAddress([10, 0, 0, 1].into()));
        assert_eq!(named(Some("cn"), &[address.clone(), uri, host.clone()]), Ok("cert:spiffe://x/y".into()));
        assert_eq!(named(Some("cn"), &[host, mail.clone()]), Ok("cert:laptop.example".into()));
        assert_eq!(named(None, &[mail]), Ok("cert:a@example".into()));
        assert_eq!(named(Some("my laptop"), &[address]), Ok("cert:my laptop".into()));
        assert_eq!(named(Some("laptop"), &[]), Ok("cert:laptop".into()));
    }

    #[test]
    fn a_certificate_that_names_nobody_lets_in_nobody() {
        for common in [None, Some(""), Some("*"), Some("a\nb"), Some(" a")] {
            assert_eq!(named(common, &[]), Err(Why::Nameless), "{common:?}");
        }
        for broken in [&b""[..], b"\x30", &[0x30, 0x80, 0, 0], b"certificate"] {
            assert_eq!(check(broken), Err(Why::Nameless));
        }
    }
}
