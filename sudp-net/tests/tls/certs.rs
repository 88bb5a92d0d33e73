//! Authorities, what they sign, and the files that hold it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sudp_net::tls::{ClientOptions, Identity, ServerOptions, ServerTls, Trust};
use sudp_proto::link::ClientTls;

/// The host that clients ask for.
pub(crate) const HOST: &str = "sudp.example";

/// Who may sign.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub(crate) certificate: Certificate,
    /// The certificates between what it signs and the root.
    between: Vec<CertificateDer<'static>>,
}

/// A certificate of a server or client, with those in between.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    pub(crate) fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let params = authority(name, change);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, certificate, between: Vec::new() }
    }

    /// One that this one vouches for.
    pub(crate) fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let params = authority(name, change);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        let between = [&[certificate.der().clone()], &self.between[..]].concat();
        Self { params, key, certificate, between }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Leaf {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let params = leaf(names, change);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        Leaf { chain: [&[certificate.der().clone()], &self.between[..]].concat(), key }
    }

    pub(crate) fn trust(&self, files: &Files) -> Trust {
        Trust::Roots(vec![files.write("root.pem", &self.certificate.pem())])
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    params
}

fn leaf(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "leaf");
    change(&mut params);
    params
}

/// One that vouches for itself.
pub(crate) fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Leaf {
    let key = KeyPair::generate().unwrap();
    let certificate = leaf(&[HOST], change).self_signed(&key).unwrap();
    Leaf { chain: vec![certificate.der().clone()], key }
}

impl Leaf {
    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub(crate) fn pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    pub(crate) fn identity(&self, files: &Files) -> Identity {
        Identity {
            chain: files.write("chain.pem", &self.pem()),
            key: files.secret("key.pem", &self.key.serialize_pem()),
        }
    }

    /// A server that shows it, read from files as a real one is.
    pub(crate) fn serve(&self, files: &Files) -> ServerTls {
        ServerTls::load(ServerOptions::new(self.identity(files))).unwrap()
    }

    /// A server that shows it, whatever is wrong with it.
    pub(crate) fn serve_blindly(&self) -> ServerConfig {
        let key = aws_lc_rs::sign::any_supported_type(&self.key_der()).unwrap();
        let shown = Arc::new(Shown(Arc::new(CertifiedKey::new(self.chain.clone(), key))));
        server_config(&[&rustls::version::TLS13]).with_no_client_auth().with_cert_resolver(shown)
    }
}

/// The beginning of a configuration without any of the product's code.
pub(crate) fn server_config(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap()
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

pub(crate) fn client(trust: Trust) -> ClientTls {
    ClientOptions { trust, ..ClientOptions::default() }.load().unwrap()
}

/// A folder of its own, gone at the end.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sudp-net-tls-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, text);
        set_mode(&path, 0o600);
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What the system keeps of it, it will sweep away itself.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(unix)]
pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
pub(crate) fn set_mode(_path: &Path, _mode: u32) {}

/// DER as files have it.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | usize::from(three.get(index).copied().unwrap_or(0)));
        for digit in 0..4 {
            let shown = ALPHABET[bits >> (18 - 6 * digit) & 63];
            text.push(if digit <= three.len() { char::from(shown) } else { '=' });
        }
    }
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
