//! T18: wrong certificates and wrong servers, each refused, each with words of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    NameConstraints, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use sudp_net::tls::{ClientOptions, Identity, Oldest, Pin, Trust};
use sudp_proto::client::DialError;
use sudp_proto::config::client::Scheme;
use sudp_proto::link::{CertificateFault, ClientTls, LinkEnd, TlsEnd};
use sudp_proto::wire::Host;

use crate::certs::{Authority, Files, HOST, Leaf, client, self_signed, server_config};
use crate::meeting::{Far, Met, dial, dial_host};

/// All that a case may need.
struct Bench {
    files: Files,
    root: Authority,
}

impl Bench {
    fn new() -> Self {
        Self { files: Files::new(), root: Authority::root("Root") }
    }

    fn client(&self) -> ClientTls {
        client(self.root.trust(&self.files))
    }

    /// What becomes of a server with such a certificate.
    fn shown(&self, leaf: &Leaf) -> Met {
        dial(self.client(), Far::Tls(Arc::new(leaf.serve_blindly())))
    }

    /// What becomes of a server with a good certificate that is made otherwise.
    fn made(&self, change: impl FnOnce(Leaf) -> ServerConfig) -> Met {
        dial(self.client(), Far::Tls(Arc::new(change(self.root.issue(&[HOST])))))
    }

    /// A server that lets in clients of this authority alone.
    fn wants_clients_of(&self, authority: &Authority) -> Arc<ServerConfig> {
        let leaf = self.root.issue(&[HOST]);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(leaf.key.serialize_der()).into();
        let config = server_config(&[&TLS13]).with_client_cert_verifier(verifier);
        Arc::new(config.with_single_cert(leaf.chain, key).unwrap())
    }

    fn with_identity(&self, identity: Identity) -> ClientTls {
        let trust = self.root.trust(&self.files);
        ClientOptions { trust, identity: Some(identity), ..ClientOptions::default() }.load().unwrap()
    }
}

fn plain(leaf: Leaf, versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&[u8]]) -> ServerConfig {
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(leaf.key.serialize_der()).into();
    let mut config = server_config(versions).with_no_client_auth().with_single_cert(leaf.chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

fn expired(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2020, 1, 1);
}

fn is_ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// Each case by its name: what becomes of it, and what its words must have.
fn cases(bench: &Bench) -> Vec<(&'static str, Met, &'static str)> {
    let root = &bench.root;
    let mut cases: Vec<(&str, Met, &str)> = Vec::new();
    let mut case = |name, met, words| cases.push((name, met, words));

    // The certificate.
    case("expired", bench.shown(&root.issue_with(&[HOST], expired)), "the certificate expired (");
    let future = |params: &mut CertificateParams| params.not_before = date_time_ymd(2999, 1, 1);
    case("not yet valid", bench.shown(&root.issue_with(&[HOST], future)), "not valid yet");
    case(
        "another name",
        bench.shown(&root.issue(&["other.example", "www.other.example", "192.0.2.7"])),
        "not for \"sudp.example\", but for other.example, www.other.example, 192.0.2.7;",
    );
    case("no name", bench.shown(&root.issue(&[])), "for \"sudp.example\", but for no name at all");
    let ip = Host::Ip([192, 0, 2, 1].into());
    let far = Far::Tls(Arc::new(root.issue(&["192.0.2.2"]).serve_blindly()));
    case(
        "another address",
        dial_host(ip, Scheme::Wss, Some(bench.client()), far),
        "for \"192.0.2.1\", but for 192.0.2.2",
    );
    case(
        "unknown authority",
        bench.shown(&Authority::root("Other").issue(&[HOST])),
        "signed by \"Other\", who is not trusted",
    );
    case("self-signed", bench.shown(&self_signed(|_| {})), "signed by itself alone; pin its key");
    case("made by openssl req -x509", bench.shown(&self_signed(is_ca)), "openssl req -x509");
    let mut cut = root.below("Between", |_| {}).issue(&[HOST]);
    cut.chain.truncate(1);
    case("chain cut short", bench.shown(&cut), "signed by \"Between\"");
    let purpose = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    case("a client's purpose", bench.shown(&root.issue_with(&[HOST], purpose)), "another purpose");
    let mut forged = root.issue(&[HOST]);
    let mut der = forged.chain[0].to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    forged.chain[0] = der.into();
    case("forged", bench.shown(&forged), "a signature");
    let narrow = root.below("Narrow", |params| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("other.example".into())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    });
    case("name constraints", bench.shown(&narrow.issue(&[HOST])), "name constraints");
    let short = root.below("Short", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    case("path too long", bench.shown(&short.below("Longer", |_| {}).issue(&[HOST])), "chain is too long");
    let no_authority = root.below("No authority", |params| params.is_ca = IsCa::ExplicitNoCa);
    case("signed by a leaf", bench.shown(&no_authority.issue(&[HOST])), "may not sign others");
    let critical = |params: &mut CertificateParams| {
        let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions.push(unknown);
    };
    case("unknown critical extension", bench.shown(&root.issue_with(&[HOST], critical)), "critical extension");
    let mut garbage = root.issue(&[HOST]);
    garbage.chain[0] = vec![0x30, 3, 2, 1, 1].into();
    case("no certificate at all", bench.shown(&garbage), "cannot be read");
    let mut stolen = root.issue(&[HOST]);
    stolen.key = KeyPair::generate().unwrap();
    case("another's certificate", bench.shown(&stolen), "signature");
    let pin = Pin::of(&root.issue(&[HOST]).chain[0]).unwrap();
    let far = Far::Tls(Arc::new(root.issue(&[HOST]).serve_blindly()));
    case("another key than the pinned", dial(client(Trust::Pins(vec![pin])), far), "none that is pinned");

    // The server.
    case("tls 1.2 only", bench.made(|leaf| plain(leaf, &[&TLS12], &[])), "protocol_version");
    case("http/2 only", bench.made(|leaf| plain(leaf, &[&TLS13], &[b"h2"])), "no_application_protocol");
    let members = Authority::root("Members");
    let far = || Far::Tls(bench.wants_clients_of(&members));
    case("wants a certificate", dial(bench.client(), far()), "certificate_required");
    let stranger = Authority::root("Strangers").issue(&["me"]).identity(&bench.files);
    case("does not know our authority", dial(bench.with_identity(stranger), far()), "unknown_ca");
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let server = members.issue_with(&["me"], server).identity(&bench.files);
    case("our certificate is a server's", dial(bench.with_identity(server), far()), "unsupported_certificate");
    case(
        "in clear",
        dial(bench.client(), Far::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
        "does not speak TLS",
    );
    case("hangs up", dial(bench.client(), Far::Says(Vec::new())), "middle of the TLS handshake");
    let alert = |number| Far::Says(vec![21, 3, 3, 0, 2, 2, number]);
    case("knows no such name", dial(bench.client(), alert(112)), "unrecognized_name");
    case("finds nothing in common", dial(bench.client(), alert(40)), "handshake_failure");
    case("is in trouble", dial(bench.client(), alert(80)), "internal_error");
    let hello = |version: u8| {
        let body = [&[3, version][..], &[7; 32], &[0], &[0x00, 0x2f], &[0]].concat();
        let record = [
            &[22, 3, version, 0, u8::try_from(body.len() + 4).unwrap()][..],
            &[2, 0, 0],
            &[u8::try_from(body.len()).unwrap()],
            &body,
        ];
        Far::Says(record.concat())
    };
    case("tls 1.0", dial(bench.client(), hello(1)), "no version of TLS that is allowed here; update it");
    case(
        "breaks the rules",
        dial(bench.client(), Far::Says(vec![22, 3, 3, 0, 4, 9, 0, 0, 0])),
        "broke the rules of TLS",
    );
    let far = Far::Answers(Arc::new(root.issue(&[HOST]).serve_blindly()), 301);
    case("redirects to ws", dial(bench.client(), far), "a redirect, which is not followed");
    let name = Host::Name("sudp~example".into());
    case("a host without a name", dial_host(name, Scheme::Wss, Some(bench.client()), Far::Clear), "configure the name");
    case(
        "no tls configured",
        dial_host(Host::Name(HOST.into()), Scheme::Wss, None, Far::Clear),
        "nothing is sent in clear instead",
    );
    cases
}

#[test]
fn t18_every_wrong_certificate_and_server_is_refused_with_words_of_its_own() {
    let bench = Bench::new();
    let mut said = BTreeMap::new();
    for (name, met, words) in cases(&bench) {
        let failure = met.failure.as_ref().unwrap_or_else(|| panic!("{name} is let in"));
        let line = failure.why.to_string();
        assert!(line.contains(words) && !line.contains('\n'), "{name}: {line}");
        // The signature of a chain and that of a handshake are one fault to whoever looks at it.
        if let Some(other) = said.insert(line.clone(), name) {
            assert_eq!((other, name), ("forged", "another's certificate"), "{line}");
        }
        let redirected = name == "redirects to ws";
        assert_eq!(met.claimed, redirected, "{name}: a hello reaches nobody who is not trusted");
        let secret = met.up.windows(4).any(|window| window == b"GET " || window == b"Sudp");
        assert!(!secret, "{name}: nothing is said in clear");
    }
    assert!(said.len() >= 30, "{} cases", said.len());
}

#[test]
fn t18_the_other_side_hears_why_it_was_refused() {
    let bench = Bench::new();
    let met = bench.shown(&bench.root.issue_with(&[HOST], expired));
    assert_eq!(met.end, Some(LinkEnd::Tls(TlsEnd::Alert(45))));
    let far = Far::Tls(bench.wants_clients_of(&Authority::root("Members")));
    let met = dial(bench.client(), far);
    assert_eq!(met.end, Some(LinkEnd::Tls(TlsEnd::NoCertificate)));
    let stranger = Authority::root("Strangers").issue(&["me"]).identity(&bench.files);
    let far = Far::Tls(bench.wants_clients_of(&Authority::root("Members")));
    let met = dial(bench.with_identity(stranger), far);
    assert_eq!(met.end, Some(LinkEnd::Tls(TlsEnd::Certificate(CertificateFault::UnknownIssuer))));
}

#[test]
fn a_request_in_clear_on_a_port_of_tls_is_answered_in_clear() {
    let bench = Bench::new();
    let far = Far::Tls(Arc::new(bench.root.issue(&[HOST]).serve_blindly()));
    let met = dial_host(Host::Name(HOST.into()), Scheme::Ws, None, far);
    assert_eq!(met.end, Some(LinkEnd::Tls(TlsEnd::NotTls)));
    assert!(met.down.starts_with(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"), "{:?}", met.down);
    assert!(matches!(met.why(), DialError::Http { status: 400, .. }), "{:?}", met.why());
}

#[test]
fn a_client_hello_on_a_port_in_clear_ends_as_a_bad_request() {
    let bench = Bench::new();
    let met = dial(bench.client(), Far::Clear);
    assert!(matches!(met.end, Some(LinkEnd::Request { status: 400, .. }) | None), "{:?}", met.end);
    assert!(!met.claimed);
}

#[test]
fn tls_1_2_is_spoken_only_by_a_client_that_was_told_so() {
    let bench = Bench::new();
    let trust = bench.root.trust(&bench.files);
    let old = ClientOptions { trust, oldest: Oldest::Tls12, ..ClientOptions::default() }.load().unwrap();
    let config = Arc::new(plain(bench.root.issue(&[HOST]), &[&TLS12], &[]));
    dial(old, Far::Tls(config)).assert_claimed();
}
