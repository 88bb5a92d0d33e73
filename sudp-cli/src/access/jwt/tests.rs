use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

/// Somebody who signs, by another way than what is tested.
enum Signer {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")))
    }

    fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().expect("a key"))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(key) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("it signs");
                signature
            }
            Self::P256(key) => key.sign(&random, message).expect("it signs").as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// Its public key as PEM; a secret as it is.
    fn pem(&self) -> String {
        let der = |der: Result<PublicKeyX509Der<'_>, _>| der.map(|der| der.as_ref().to_vec());
        let der = match self {
            Self::Secret(key) => return String::from_utf8(key.clone()).expect("text"),
            Self::Rsa(key) => der(key.public_key().as_der()),
            Self::P256(key) => der(key.public_key().as_der()),
            Self::Ed(key) => der(key.public_key().as_der()),
        };
        let text = base64::encode_usual(&der.expect("a key"));
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ascii")).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// Its public key as JSON.
    fn jwk(&self, id: &str) -> serde_json::Value {
        let text = base64::encode_url;
        match self {
            Self::Secret(key) => json!({"kty": "oct", "kid": id, "k": text(key)}),
            Self::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({"kty": "RSA", "kid": id, "alg": "RS256", "use": "sig", "n": text(n), "e": text(e)})
            }
            Self::P256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "x": text(x), "y": text(y)})
            }
            Self::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": text(key.public_key().as_ref())}),
        }
    }

    fn token(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64::encode_url(header.as_bytes()), base64::encode_url(claims.as_bytes()));
        let signature = base64::encode_url(&self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn good(&self) -> String {
        self.token(&format!(r#"{{"alg":"{}","typ":"JWT"}}"#, self.algorithm()), GOOD)
    }
}

const GOOD: &str = r#"{"iss":"https://idp","aud":"sudp","exp":1800000100,"sub":"alice","groups":["staff"]}"#;

fn jwt(keys: &str) -> Jwt {
    install();
    let wanted = Wanted {
        issuer: Some("https://idp".into()),
        audience: vec!["sudp".into()],
        must_end: true,
        leeway: Duration::from_secs(60),
        principal_claim: "sub".into(),
        groups_claim: "groups".into(),
    };
    let accepted = vec![Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    let keys = keys::read(keys, From::File).expect("they are keys");
    Jwt { wanted, accepted, keys: Keys::Fixed(Arc::new(keys)) }
}

fn judge(jwt: &Jwt, token: &str) -> Result<Claimed, Fault> {
    let Keys::Fixed(keys) = &jwt.keys else { panic!("they are in no file") };
    jwt.judge(&Parts::read(token)?, keys, UNIX_EPOCH + Duration::from_secs(NOW))
}

fn secret() -> Signer {
    Signer::Secret(b"0123456789abcdef0123456789abcdef".to_vec())
}

#[test]
fn cryptography_is_that_of_tls_and_is_installed_by_hand() {
    install();
    assert!(CryptoProvider::install_default(&aws_lc::DEFAULT_PROVIDER).is_err_and(|before| {
        std::ptr::eq(before.verifier_factory as *const (), aws_lc::DEFAULT_PROVIDER.verifier_factory as *const ())
    }));
}

#[test]
fn each_algorithm_lets_in_by_its_own_key() {
    for signer in [secret(), Signer::rsa(), Signer::p256(), Signer::ed()] {
        let name = signer.algorithm();
        let jwk = json!({"keys": [signer.jwk("one")]}).to_string();
        for keys in [signer.pem(), jwk, signer.jwk("one").to_string()] {
            let who = judge(&jwt(&keys), &signer.good()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!((who.principal.as_str(), &who.groups[..]), ("alice", &["staff".to_owned()][..]));
            assert_eq!(who.expires, Some(UNIX_EPOCH + Duration::from_secs(NOW + 160)));
        }
    }
}

#[test]
fn no_key_is_used_for_what_another_is_for() {
    let signers = [secret(), Signer::rsa(), Signer::p256(), Signer::ed()];
    for holder in &signers[1..] {
        let jwt = jwt(&holder.pem());
        // Who knows the public key, and uses it as a secret, in each form in which it might be taken.
        let pem = holder.pem();
        let der = base64::decode_usual(&pem.lines().filter(|line| !line.starts_with('-')).collect::<String>());
        for bytes in [pem.clone().into_bytes(), pem.trim().into(), der.expect("base64")] {
            assert_eq!(judge(&jwt, &Signer::Secret(bytes).good()), Err(Fault::Key), "{}", holder.algorithm());
        }
        for other in signers.iter().filter(|other| other.algorithm() != holder.algorithm()) {
            assert_eq!(judge(&jwt, &other.good()), Err(Fault::Key));
            // It says the algorithm of the key, and is signed by another.
            let lie = other.token(&format!(r#"{{"alg":"{}"}}"#, holder.algorithm()), GOOD);
            assert_eq!(judge(&jwt, &lie), Err(Fault::Signature));
        }
    }
}

#[test]
fn every_wrong_kind_of_token_is_refused_with_its_fault() {
    let (signer, header) = (secret(), r#"{"alg":"HS256"}"#);
    let (jwt, good) = (jwt(&signer.pem()), signer.good());
    assert!(judge(&jwt, &good).is_ok());
    let claims = |from: &str, to: &str| signer.token(header, &GOOD.replace(from, to));
    let none = format!("{}.{}.", base64::encode_url(br#"{"alg":"none"}"#), base64::encode_url(GOOD.as_bytes()));
    let (front, _) = good.rsplit_once('.').expect("a signature");
    for (what, token, fault) in [
        ("expired", claims("1800000100", "1799999940"), Fault::Expired),
        ("not yet valid", claims("}", r#","nbf":1800000061}"#), Fault::Early),
        ("wrong audience", claims(r#""sudp""#, r#""other""#), Fault::Audience),
        ("wrong issuer", claims("https://idp", "https://evil"), Fault::Issuer),
        ("no end", claims(r#""exp":1800000100,"#, ""), Fault::Missing("exp")),
        ("no audience", claims(r#""aud":"sudp","#, ""), Fault::Missing("aud")),
        ("no issuer", claims(r#""iss":"https://idp","#, ""), Fault::Missing("iss")),
        ("nobody", claims(r#""sub":"alice","#, ""), Fault::Principal),
        ("claims twice", claims("}", r#","sub":"root"}"#), Fault::Malformed),
        ("no object", signer.token(header, "[]"), Fault::Malformed),
        ("alg none", none, Fault::Algorithm),
        ("alg None, signed", signer.token(r#"{"alg":"None"}"#, GOOD), Fault::Algorithm),
        ("alg in small letters", signer.token(r#"{"alg":"hs256"}"#, GOOD), Fault::Algorithm),
        ("alg of no key", signer.token(r#"{"alg":"HS384"}"#, GOOD), Fault::Algorithm),
        ("alg twice", signer.token(r#"{"alg":"HS256","alg":"HS256"}"#, GOOD), Fault::Malformed),
        ("no alg", signer.token(r#"{"typ":"JWT"}"#, GOOD), Fault::Algorithm),
        ("crit", signer.token(r#"{"alg":"HS256","crit":["exp"]}"#, GOOD), Fault::Malformed),
        ("kid of another type", signer.token(r#"{"alg":"HS256","kid":1}"#, GOOD), Fault::Malformed),
        ("signature of another", Signer::Secret(vec![7; 32]).good(), Fault::Signature),
        ("no signature", format!("{front}."), Fault::Signature),
        ("signature cut", good[..good.len() - 3].to_owned(), Fault::Signature),
        (
            "claims of another",
            good.replace(&base64::encode_url(GOOD.as_bytes()), &base64::encode_url(b"{}")),
            Fault::Signature,
        ),
        ("cut", front.to_owned(), Fault::Malformed),
        ("five parts", format!("{good}.x.y"), Fault::Malformed),
        ("padded", format!("{good}="), Fault::Malformed),
        ("blank", format!("{good} "), Fault::Malformed),
        ("nothing", String::new(), Fault::Malformed),
        ("dots", "..".into(), Fault::Malformed),
    ] {
        assert_eq!(judge(&jwt, &token), Err(fault), "{what}");
    }
}

#[test]
fn a_key_is_asked_for_by_its_name() {
    let (one, two) = (Signer::ed(), Signer::ed());
    let jwt = jwt(&json!({"keys": [one.jwk("one"), two.jwk("two")]}).to_string());
    let asks =
        |signer: &Signer, id: &str| judge(&jwt, &signer.token(&format!(r#"{{"alg":"EdDSA","kid":"{id}"}}"#), GOOD));
    assert!(asks(&two, "two").is_ok() && judge(&jwt, &two.good()).is_ok());
    assert_eq!(asks(&two, "one"), Err(Fault::Signature));
    assert_eq!(asks(&two, "three"), Err(Fault::Key));
}

#[test]
fn only_what_is_accepted_is_taken() {
    let signer = Signer::p256();
    let jwt = Jwt { accepted: vec![Algorithm::EdDSA], ..jwt(&signer.pem()) };
    assert_eq!(judge(&jwt, &signer.good()), Err(Fault::Algorithm));
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_the_reason() {
    let (rsa, ed) = (Signer::rsa(), Signer::ed());
    let with = |mut key: serde_json::Value, name: &str, value: &str| {
        key[name] = value.into();
        key.to_string()
    };
    let private = ed.pem().replace("PUBLIC", "PRIVATE");
    for (text, says) in [
        (String::new(), "at least 32 bytes"),
        ("0123456789abcdef".into(), "openssl rand -hex 32"),
        (private, "private key"),
        (ed.pem().replace("PUBLIC KEY", "CERTIFICATE"), "wanted is a `PUBLIC KEY`"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n".into(), "has no end"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".into(), "what can be used"),
        ("{".into(), "no JSON"),
        (r#"{"keys": []}"#.into(), "no key in it"),
        (r#"{"keys": 1}"#.into(), "no list"),
        (with(ed.jwk("a"), "d", "x"), "private key"),
        (with(ed.jwk("a"), "use", "enc"), "not for signatures"),
        (with(ed.jwk("a"), "x", "AAAA"), "what can be used"),
        (with(ed.jwk("a"), "alg", "RS256"), "it is for RS256"),
        (with(rsa.jwk("a"), "alg", "PS256"), "it is for PS256"),
        (with(rsa.jwk("a"), "n", "AAAA"), "less than 2048 bits"),
        (with(secret().jwk("a"), "k", "AAAA"), "at least 32 bytes"),
        (r#"{"kty": "EC", "crv": "P-384", "x": "", "y": ""}"#.into(), "what can be used"),
    ] {
        let why = keys::read(&text, From::File).expect_err(&text);
        assert!(why.contains(says), "{text}: {why}");
    }
    // At an address others' keys are passed over, and a secret is none.
    let set = json!({"keys": [secret().jwk("s"), {"kty": "EC", "crv": "P-521"}, ed.jwk("a")]}).to_string();
    assert_eq!(keys::read(&set, From::Public).expect("one is left").len(), 1);
    for text in [json!({"keys": [secret().jwk("s")]}).to_string(), ed.pem(), "x".repeat(32)] {
        assert!(keys::read(&text, From::Public).is_err(), "{text}");
    }
}
