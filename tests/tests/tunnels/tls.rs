//! `wss`: whom a client trusts, what a server shows, and what is told when that does not fit together.

use std::collections::BTreeMap;
use std::fs;
use std::future::ready;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sudp_net::proto::access::Grant;
use sudp_net::proto::client::DialError;
use sudp_net::proto::config::client::Scheme;
use sudp_net::proto::link::{CertificateFault, TlsEnd};
use sudp_net::tls::{ClientOptions as Trusting, Identity, Pin, ServerOptions as Showing, ServerTls, TlsError, Trust};
use sudp_net::{Admitted, Anyone, Client, ProxyRules, Server, Verdict, Visit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::outages::survives;
use crate::programs::tinyproxy;
use crate::relay::{Fate, Relay};
use crate::rig::{address, client_options, failure, forward, serve, server_options};
use crate::side::Side;
use crate::udp::{Echo, SOON, Source, anywhere};

/// Where every server of these stories is.
const HERE: &str = "127.0.0.1";

pub(crate) async fn a_tunnel_leads_to_a_server_that_a_root_vouches_for<C: Side, S: Side>() {
    let root = Authority::new("Root");
    let server = show::<S>(&load(root.issue(HERE)));
    passes(&trust::<C>(address(&server), root.trust())).await;
}

pub(crate) async fn a_tunnel_leads_to_a_server_whose_key_is_pinned_whatever_its_certificate_says<C: Side, S: Side>() {
    let tls = load(Authority::new("Nobody").issue("other.example"));
    let server = show::<S>(&tls);
    passes(&trust::<C>(address(&server), pinned(tls.pin()))).await;
}

pub(crate) async fn a_reset_under_tls_loses_nothing_and_doubles_nothing<C: Side, S: Side>() {
    let root = Authority::new("Root");
    let server = show::<S>(&load(root.issue(HERE)));
    let relay = Relay::to(address(&server)).await;
    survives(&trust::<C>(relay.at, root.trust()), &relay, &[Fate::Reset; 4]).await;
}

pub(crate) async fn a_certificate_is_renewed_under_a_session_that_goes_on<C: Side, S: Side>() {
    let (echo, root) = (Echo::new(), Authority::new("Root"));
    let identity = root.issue(HERE);
    let tls = load(identity.clone());
    let (server, old) = (show::<S>(&tls), tls.pin());
    let at = address(&server);
    let relay = Relay::to(at).await;
    let client = trust::<C>(relay.at, root.trust());
    let source = Source::to(forward(&client, echo.at).await).await;
    source.exchange(b"before").await;
    let session = client.attached().await.expect("a session");

    root.reissue(&identity, HERE);
    tls.reload().expect("a good certificate");
    let new = tls.pin();
    assert_ne!(new, old);
    passes(&trust::<C>(at, pinned(new))).await;
    let tap = Tap::to(at).await;
    let why = refusal(&tap, || trust::<C>(tap.at, pinned(old))).await;
    assert!(why.to_string().contains(&format!("its key is {new}, which is none that is pinned")), "{why}");
    source.exchange(b"on the connection that there was").await;
    relay.strike(Fate::Reset);
    source.exchange(b"on one that was met with the new certificate").await;

    // What is wrong with the files is told, and concerns nobody who connects.
    let good = fs::read(&identity.chain).expect("a file");
    fs::write(&identity.chain, "half a file").expect("a file");
    let broken = tls.reload().expect_err("a broken file");
    assert!(matches!(&broken, TlsError::NoCertificate { file } if *file == identity.chain), "{broken}");
    assert!(broken.to_string().contains(&identity.chain.display().to_string()), "{broken}");
    fs::write(&identity.chain, good).expect("a file");
    fs::remove_file(&identity.key).expect("a file");
    let broken = tls.reload().expect_err("a file that is gone");
    assert!(broken.to_string().contains(&identity.key.display().to_string()), "{broken}");
    assert_eq!(tls.pin(), new);
    passes(&trust::<C>(at, pinned(new))).await;
    relay.strike(Fate::Reset);
    source.exchange(b"still the same session").await;
    assert_eq!(client.attached().await, Ok(session));
}

pub(crate) async fn a_client_certificate_is_required_and_who_has_none_is_told_so<C: Side, S: Side>() {
    let (root, members) = (Authority::new("Root"), Authority::new("Members"));
    let showing = Showing { client_roots: vec![members.root.clone()], ..Showing::new(root.issue(HERE)) };
    let mut options = server_options(anywhere());
    options.tls = Some(Arc::new(ServerTls::load(showing).expect("a certificate")));
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&shown);
    let admit = move |visit: Visit| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(visit.certificate);
        ready(Verdict::Admit(Admitted::anyone(Grant::open())))
    };
    let server = S::bind(options, admit).expect("a server");
    let tap = Tap::to(address(&server)).await;
    let client = |identity| {
        let trusting = Trusting { trust: root.trust(), identity, ..Trusting::default() };
        dial::<C>(tap.at, Scheme::Wss, Some(&trusting), ProxyRules::none())
    };
    let name = "one-of-the-members";
    let member = client(Some(members.issue(name)));
    passes(&member).await;
    let seen: Vec<Option<_>> = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let [Some(leaf)] = &seen[..] else { panic!("one visit with a certificate: {seen:?}") };
    assert!(leaf.windows(name.len()).any(|bytes| bytes == name.as_bytes()), "who decides sees whom it names");
    for (identity, words) in [(None, "certificate_required"), (Some(root.issue("me")), "unknown_ca")] {
        let why = refusal(&tap, || client(identity)).await;
        assert!(matches!(why, DialError::Tls(TlsEnd::Alert(_))) && why.to_string().contains(words), "{why:?}: {why}");
    }
    assert_eq!(member.attached().await.map(|session| vec![session]), Ok(server.sessions()), "nobody else has one");
}

pub(crate) async fn every_wrong_server_and_certificate_is_told_in_words_of_its_own<C: Side, S: Side>() {
    let (root, other) = (Authority::new("Root"), Authority::new("Other"));
    let showing = |identity| show::<S>(&load(identity));
    let marked = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pin = load(root.issue(HERE)).pin();
    let (wss, ws) = (Scheme::Wss, Scheme::Ws);
    let cases = [
        (wss, root.trust(), serve::<S>(), "the other side does not speak TLS; check scheme and port"),
        (ws, root.trust(), showing(root.issue(HERE)), "400"),
        (wss, root.trust(), showing(root.issue("other.example")), "not for \"127.0.0.1\", but for other.example;"),
        (wss, root.trust(), showing(other.issue(HERE)), "signed by \"Other\", who is not trusted here"),
        (wss, root.trust(), showing(root.issue_with(HERE, marked)), "marked as that of an authority"),
        (wss, pinned(pin), showing(root.issue(HERE)), "none that is pinned"),
    ];
    let mut said = BTreeMap::new();
    for (scheme, trust, server, words) in cases {
        let tap = Tap::to(address(&server)).await;
        let trusting = Trusting { trust, ..Trusting::default() };
        tap.gate.send_replace(false);
        let client = dial::<C>(tap.at, scheme, Some(&trusting), ProxyRules::none());
        let mut events = client.events();
        let source = Source::to(forward(&client, anywhere()).await).await;
        source.send(SECRET).await;
        tap.gate.send_replace(true);
        let why = failure(&mut events).await;
        let line = why.to_string();
        assert!(line.contains(words) && !line.contains('\n'), "{words}: {line}");
        assert_eq!(said.insert(line, words), None, "they are told apart");
        assert_eq!(client.stats().await.expect("the client lives").session, None);
        // Who was told to speak in clear asks for the upgrade, and says nothing else.
        assert_eq!(tap.heard(b"GET "), scheme == ws, "{words}");
        assert!(!tap.heard(SECRET) && !tap.heard(b"SUDP"), "{words}");
        assert!(server.sessions().is_empty(), "{words}");
    }
}

pub(crate) async fn a_certificate_that_expires_while_it_serves_is_told_as_such<C: Side, S: Side>() {
    let (echo, root) = (Echo::new(), Authority::new("Root"));
    // It has to be good when it is read; how long that takes is not known.
    let mut life = Duration::from_secs(2);
    let (tls, end) = loop {
        let end = time_of_day() + life;
        let soon = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(1970, 1, 1) + end;
        match ServerTls::load(Showing::new(root.issue_with(HERE, soon))) {
            Ok(tls) => break (Arc::new(tls), end),
            Err(TlsError::Expired { .. }) => life *= 2,
            Err(error) => panic!("{error}"),
        }
    };
    let server = show::<S>(&tls);
    let tap = Tap::to(address(&server)).await;
    let client = trust::<C>(tap.at, root.trust());
    let source = Source::to(forward(&client, echo.at).await).await;
    while time_of_day() <= end + Duration::from_secs(1) {
        sleep(SOON).await;
    }
    // Who came in time stays, unless that took too long.
    if client.stats().await.expect("the client lives").session.is_some() {
        source.exchange(b"connected before").await;
    }
    let why = refusal(&tap, || trust::<C>(tap.at, root.trust())).await;
    assert!(matches!(why, DialError::Tls(TlsEnd::Certificate(CertificateFault::Expired(_)))), "{why:?}");
    assert!(why.to_string().contains("the certificate expired ("), "{why}");
    assert!(!tap.heard(b"GET "));
    assert!(matches!(tls.reload(), Err(TlsError::Expired { .. })));
}

pub(crate) async fn tls_leads_through_a_proxy<C: Side, S: Side>() {
    let (root, other) = (Authority::new("Root"), Authority::new("Other"));
    let server = show::<S>(&load(root.issue(HERE)));
    let tap = Tap::to(address(&server)).await;
    let Some(proxy) = tinyproxy(tap.at, None) else { return };
    let through = |trust| {
        let rules = ProxyRules::all(proxy.url("http", None).parse().expect("a URL"));
        let trusting = Trusting { trust, ..Trusting::default() };
        dial::<C>(tap.at, Scheme::Wss, Some(&trusting), rules)
    };
    passes(&through(root.trust())).await;
    let why = refusal(&tap, || through(other.trust())).await;
    assert!(why.to_string().contains("signed by \"Root\", who is not trusted here"), "{why}");
    assert!(!tap.heard(b"GET ") && !tap.heard(b"CONNECT "), "what goes through the proxy is TLS alone");
}

/// Why a dial came to nothing, of which nothing comes before somebody listens.
async fn refusal<C: Side>(tap: &Tap, dialled: impl FnOnce() -> Client<C>) -> DialError {
    tap.gate.send_replace(false);
    let client = dialled();
    let mut events = client.events();
    tap.gate.send_replace(true);
    failure(&mut events).await
}

/// A tunnel carries datagrams of every size.
async fn passes<C: Side>(client: &Client<C>) {
    let echo = Echo::new();
    let source = Source::to(forward(client, echo.at).await).await;
    for payload in [&[7; 1_200][..], b"", &[9; 65_507], SECRET] {
        source.exchange(payload).await;
    }
}

/// A server that lets everybody do everything, by TLS.
fn show<S: Side>(tls: &Arc<ServerTls>) -> Server<S> {
    let mut options = server_options(anywhere());
    options.tls = Some(Arc::clone(tls));
    S::bind(options, Anyone(Grant::open())).expect("a server")
}

fn load(identity: Identity) -> Arc<ServerTls> {
    Arc::new(ServerTls::load(Showing::new(identity)).expect("a certificate"))
}

fn trust<C: Side>(server: SocketAddr, trust: Trust) -> Client<C> {
    dial(server, Scheme::Wss, Some(&Trusting { trust, ..Trusting::default() }), ProxyRules::none())
}

fn dial<C: Side>(server: SocketAddr, scheme: Scheme, tls: Option<&Trusting>, proxies: ProxyRules) -> Client<C> {
    let mut options = client_options(server);
    options.config.servers[0].scheme = scheme;
    options.tls = tls.map(|tls| tls.load().expect("good files"));
    options.headers.push(("authorization".into(), "Bearer abc".into()));
    options.proxies = proxies;
    C::connect(options).expect("a client")
}

fn pinned(pin: Pin) -> Trust {
    Trust::Pins(vec![pin])
}

/// Who may sign, and the folder with what was signed, gone at the end.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    /// The file of its own certificate.
    root: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sudp-tunnels-{}-{}", std::process::id(), number()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (key, root) = (KeyPair::generate().expect("a key"), folder.join("root.pem"));
        fs::write(&root, params.self_signed(&key).expect("a certificate").pem()).expect("a file");
        Self { issuer: Issuer::new(params, key), folder, root }
    }

    fn trust(&self) -> Trust {
        Trust::Roots(vec![self.root.clone()])
    }

    fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| {})
    }

    fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let number = number();
        let file = |kind| self.folder.join(format!("{kind}-{number}.pem"));
        let identity = Identity { chain: file("chain"), key: file("key") };
        self.sign(&identity, name, change);
        identity
    }

    /// Another key and certificate in the same files.
    fn reissue(&self, identity: &Identity, name: &str) {
        self.sign(identity, name, |_| {});
    }

    fn sign(&self, identity: &Identity, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, "leaf");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(&identity.chain, certificate.pem()).expect("a file");
        fs::write(&identity.key, key.serialize_pem()).expect("a file");
        only_ours(&identity.key);
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // What the system keeps of it, it will sweep away itself.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(unix)]
fn only_ours(key: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("a file of ours");
}

#[cfg(not(unix))]
fn only_ours(_key: &std::path::Path) {}

fn number() -> u32 {
    static NUMBERS: AtomicU32 = AtomicU32::new(0);
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

/// Since 1970.
#[expect(clippy::disallowed_methods, reason = "certificates go by the clock on the wall")]
fn time_of_day() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970")
}

/// Passes connections on to a server, and remembers what clients say.
struct Tap {
    at: SocketAddr,
    said: Arc<Mutex<Vec<u8>>>,
    /// Whether connections may begin.
    gate: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Tap {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(anywhere()).await.expect("an address for a tap");
        let (at, said) = (listener.local_addr().expect("an address for a tap"), Arc::default());
        let gate = watch::Sender::new(true);
        let task = tokio::spawn(accept(listener, server, Arc::clone(&said), gate.subscribe()));
        Self { at, said, gate, task }
    }

    /// Whether this was said, in clear, by anybody.
    fn heard(&self, words: &[u8]) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!said.is_empty(), "something was said");
        said.windows(words.len()).any(|window| window == words)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, said: Arc<Mutex<Vec<u8>>>, mut gate: watch::Receiver<bool>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if gate.wait_for(|open| *open).await.is_err() {
            return;
        }
        connections.spawn(pass(client, server, Arc::clone(&said)));
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, said: Arc<Mutex<Vec<u8>>>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let length = from_client.read(&mut buffer).await?;
            if length == 0 {
                return to_server.shutdown().await;
            }
            said.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
            to_server.write_all(&buffer[..length]).await?;
        }
    };
    let down = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down).map(drop)
}

/// What an application says, and nobody else may hear.
const SECRET: &[u8] = b"what an application says";
