//! `sudp cert`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use sudp_tokio::proto::access::Grant;
use sudp_tokio::proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_tokio::proto::session::Treatment;
use sudp_tokio::tls::{self, Identity, ServerTls, Trust};
use sudp_tokio::{Anyone, ClientEvent, ClientOptions, ServerOptions};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::{failure, run};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sudp-cert-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn identity(&self) -> Identity {
        Identity { chain: self.path("cert.pem"), key: self.path("key.pem") }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What the system keeps of it, it will sweep away itself.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes a certificate there, and gives its pin.
fn made(folder: &Path, more: &[&str]) -> String {
    let out = folder.to_str().unwrap();
    let arguments =
        [&["cert", "--name", "127.0.0.1", "--name", "host.example", "--out", out, "-o", "json"], more].concat();
    let output = run(&arguments);
    assert_eq!(failure(&output), (Some(0), String::new()));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["schema"], 1);
    assert_eq!(made["names"], serde_json::json!(["127.0.0.1", "host.example"]));
    made["pin"].as_str().unwrap().to_owned()
}

/// Speaks through a tunnel over TLS with this server. Gives what comes back, or why nothing does.
fn link(identity: Identity, trust: Trust, name: Option<&str>) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let service = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut options = ServerOptions::new(vec!["127.0.0.1:0".parse().unwrap()]);
        options.tls = Some(Arc::new(ServerTls::load(tls::ServerOptions::new(identity)).unwrap()));
        let server = sudp_tokio::bind(options, Anyone(Grant::open())).unwrap();
        let config = ServerConfig::new(Scheme::Wss, server.local_addrs()[0].into());
        let mut options = ClientOptions::new(ClientConfig::new(vec![config]));
        let tls = tls::ClientOptions { trust, name: name.map(ToOwned::to_owned), ..tls::ClientOptions::default() };
        options.tls = Some(tls.load().unwrap());
        let client = sudp_tokio::connect(options).unwrap();
        let mut events = client.events();
        let flow = client.open(service.local_addr().unwrap(), Treatment::default()).await.unwrap();
        flow.send("hello").await.unwrap();
        let mut buffer = [0; 100];
        let refused = async {
            loop {
                if let Some(ClientEvent::DialFailed(failure)) = events.next().await {
                    return failure.to_string();
                }
            }
        };
        let met = async {
            tokio::select! {
                received = service.recv(&mut buffer) => Ok(received.unwrap()),
                why = refused => Err(why),
            }
        };
        let length = timeout(Duration::from_secs(20), met).await.unwrap()?;
        Ok(buffer[..length].to_vec())
    })
}

#[test]
fn clients_trust_it_by_its_pin_by_a_copy_and_by_each_of_its_names() {
    let folder = Folder::new();
    let pin = made(&folder.0, &[]).parse().unwrap();
    let copy = || Trust::Roots(vec![folder.path("cert.pem")]);
    assert_eq!(link(folder.identity(), Trust::Pins(vec![pin]), None).unwrap(), b"hello");
    assert_eq!(link(folder.identity(), copy(), None).unwrap(), b"hello");
    assert_eq!(link(folder.identity(), copy(), Some("host.example")).unwrap(), b"hello");
    let why = link(folder.identity(), copy(), Some("other.example")).unwrap_err();
    assert!(why.contains("not for \"other.example\", but for"), "{why}");
}

#[test]
fn another_key_is_not_trusted() {
    let (one, other) = (Folder::new(), Folder::new());
    let (pin, stranger) = (made(&one.0, &[]), made(&other.0, &[]));
    let why = link(one.identity(), Trust::Pins(vec![stranger.parse().unwrap()]), None).unwrap_err();
    assert!(why.contains(&pin), "{why}");
    let copy = Trust::Roots(vec![other.path("cert.pem")]);
    assert!(link(one.identity(), copy, None).is_err());
}

#[test]
fn a_certificate_as_openssl_makes_them_is_refused_and_this_way_out_is_named() {
    let folder = Folder::new();
    made(&folder.0, &[]);
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    fs::write(folder.path("key.pem"), key.serialize_pem()).unwrap();
    fs::write(folder.path("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let why = link(folder.identity(), Trust::Roots(vec![folder.path("cert.pem")]), None).unwrap_err();
    assert!(why.contains("`openssl req -x509`") && why.contains("`sudp cert`"), "{why}");
}

#[test]
fn nothing_is_overwritten_unasked() {
    let folder = Folder::new();
    let pin = made(&folder.0, &[]);
    let before = (folder.read("cert.pem"), folder.read("key.pem"));
    let out = folder.0.to_str().unwrap();
    let (code, error) = failure(&run(&["cert", "--name", "host.example", "--out", out]));
    assert_eq!(code, Some(73));
    assert!(
        error.contains("cert.pem exists already") && error.contains("--renew") && error.contains("--force"),
        "{error}"
    );
    fs::remove_file(folder.path("cert.pem")).unwrap();
    let (code, error) = failure(&run(&["cert", "--name", "host.example", "--out", out]));
    assert_eq!(code, Some(73));
    assert!(error.contains("key.pem exists already"), "{error}");
    assert!(!folder.path("cert.pem").exists());
    assert_eq!(folder.read("key.pem"), before.1);

    assert_eq!(made(&folder.0, &["--renew"]), pin, "a renewed certificate has the same key");
    assert_eq!(folder.read("key.pem"), before.1);
    assert_ne!(folder.read("cert.pem"), before.0);
    assert_ne!(made(&folder.0, &["--force"]), pin);
    assert_ne!(folder.read("key.pem"), before.1);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "nothing else is left there");
}

#[test]
#[cfg(unix)]
fn only_the_owner_can_read_the_key_whoever_overwrites_what() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = Folder::new();
    let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    made(&folder.0, &[]);
    assert_eq!(mode("key.pem"), 0o600);
    // A link that somebody has put there is replaced, not followed.
    let elsewhere = folder.path("elsewhere");
    fs::write(&elsewhere, "untouched").unwrap();
    fs::remove_file(folder.path("key.pem")).unwrap();
    symlink(&elsewhere, folder.path("key.pem")).unwrap();
    made(&folder.0, &["--force"]);
    assert_eq!(mode("key.pem"), 0o600);
    assert_eq!(folder.read("elsewhere"), "untouched");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = Folder::new();
    fs::write(folder.path("file"), "").unwrap();
    let out = folder.path("file").join("below");
    let (code, error) = failure(&run(&["cert", "--name", "host.example", "--out", out.to_str().unwrap()]));
    assert_eq!(code, Some(73));
    assert!(error.contains(out.to_str().unwrap()), "{error}");
}
