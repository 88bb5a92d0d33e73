//! Tokens that somebody else has signed, or is asked about.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rustix::process::Signal;

use super::super::rig::{Folder, Sudp, answers, echo, is_answered, speaks_to};
use super::issuer::Issuer;
use super::{asked, base64, bearer, client, is_in, refused_alike, said, secret};

/// Somebody who signs, and its name.
struct Signer(Ed25519KeyPair, &'static str);

impl Signer {
    fn new(id: &'static str) -> Self {
        Self(Ed25519KeyPair::generate().unwrap(), id)
    }

    fn jwk(&self) -> String {
        let x = url(self.0.public_key().as_ref());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{}","x":"{x}"}}"#, self.1)
    }

    /// A token with these claims in place of others.
    fn token(&self, from: &str, to: &str) -> String {
        let claims = format!(
            r#"{{"iss":"https://idp","aud":["sudp"],"exp":{},"nbf":{},"sub":"alice","groups":["staff"]}}"#,
            now() + 600,
            now() - 10
        );
        self.sign(&format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, self.1), &claims.replace(from, to))
    }

    /// A token that is good until then.
    fn until(&self, end: SystemTime) -> String {
        let end = end.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let claims = format!(r#"{{"iss":"https://idp","aud":"sudp","exp":{end:.3},"sub":"alice"}}"#);
        self.sign(&format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, self.1), &claims)
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", url(header.as_bytes()), url(claims.as_bytes()));
        format!("{message}.{}", url(self.0.sign(message.as_bytes()).as_ref()))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn url(bytes: &[u8]) -> String {
    base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn set(signers: &[&Signer]) -> String {
    format!(r#"{{"keys":[{}]}}"#, signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>().join(","))
}

fn config(folder: &Folder, auth: &str) -> String {
    secret(folder, "config.yaml", &format!("server:\n  rules: ['127.0.0.0/8']\n  auth: {{{auth}}}\n"))
}

#[test]
fn a_token_of_the_issuer_lets_in_and_every_wrong_kind_looks_like_nobody() {
    let (folder, signer) = (Folder::new(), Signer::new("one"));
    let keys = secret(&folder, "keys.json", &set(&[&signer]));
    let auth = format!("jwt: {{keys: {keys}, issuer: 'https://idp', audience: sudp}}");
    let (mut server, url) = Sudp::server(&["--config", &config(&folder, &auth)]);
    let good = signer.token("", "");
    let (_client, at) = client(&folder, &url, &bearer(&good));
    answers(at, b"hello");
    server.line("begins, of alice");
    let (exp, nbf) = (format!("\"exp\":{}", now() + 600), format!("\"nbf\":{}", now() - 10));
    let near = |text: &str, by: u64| {
        text.rsplit_once(':').map(|(name, at)| format!("{name}:{}", at.parse::<u64>().unwrap() + by))
    };
    // A second may have begun since.
    let timed = |from: &str, to: &str| {
        let one = signer.token(from, to);
        if one == signer.token("", "") { signer.token(&near(from, 1).unwrap(), to) } else { one }
    };
    let none = format!("{}.{}.", super::super::ident::jwt::url(br#"{"alg":"none"}"#), good.split('.').nth(1).unwrap());
    let wrong = [
        ("expired", timed(&exp, "\"exp\":1000000000")),
        ("not yet valid", timed(&nbf, "\"nbf\":9999999999")),
        ("wrong audience", signer.token("sudp", "other")),
        ("wrong issuer", signer.token("https://idp", "https://evil")),
        ("alg none", none),
        ("truncated", good[..good.len() - 10].to_owned()),
        ("without signature", good.rsplit_once('.').unwrap().0.to_owned()),
        ("signed by another", Signer::new("one").token("", "")),
        ("unknown key", Signer::new("two").token("", "")),
        ("key confusion", signer.sign(r#"{"alg":"HS256","kid":"one"}"#, "{}")),
        ("claims twice", signer.token("\"sub\":", "\"sub\":\"root\",\"sub\":")),
        ("no end", timed(&exp, "\"end\":1")),
        ("nobody", signer.token("alice", "token:backup")),
        ("oversized", format!("{good}{}", "A".repeat(9_000))),
        ("of another kind", "opaque".into()),
        ("of ours", "sudp_AAAA".into()),
    ];
    refused_alike(&url, &wrong.map(|(what, token)| (what, bearer(&token))));
    assert!(is_in(&asked(&url, &[&bearer(&good)])));
    let said = said(server);
    for reason in ["it has expired", "it is not good yet", "another audience", "another issuer", "signature is wrong"] {
        assert!(said.contains(reason), "{reason}: {said}");
    }
    assert!(!said.contains(&good[good.len() - 40..]), "{said}");
}

#[test]
fn keys_at_an_address_are_asked_for_when_they_change_and_kept_while_it_fails() {
    let (folder, one, two) = (Folder::new(), Signer::new("one"), Signer::new("two"));
    let (issuer, at) = Issuer::new(&set(&[&one]));
    let auth = format!("jwt: {{jwks: 'http://{at}/keys', issuer: 'https://idp', audience: sudp}}");
    let file = config(&folder, &auth);
    let (mut server, url) = Sudp::server(&["--config", &file]);
    assert!(is_in(&asked(&url, &[&bearer(&one.token("", ""))])));
    assert_eq!(issuer.asked().len(), 1, "once, when it began");

    // They were asked for a moment ago: whoever makes up keys does not have them asked for again and again.
    issuer.say(200, "", &set(&[&two]));
    for _ in 0..5 {
        assert!(!is_in(&asked(&url, &[&bearer(&two.token("", ""))])));
    }
    assert_eq!(issuer.asked().len(), 1);

    // A reload has them asked for at once; and one that fails leaves all as it was.
    server.signal(Signal::HUP);
    server.line("is in force");
    assert!(is_in(&asked(&url, &[&bearer(&two.token("", ""))])));
    assert!(!is_in(&asked(&url, &[&bearer(&one.token("", ""))])));
    for (status, headers, body) in [
        (500, "", "{}"),
        (200, "", "{"),
        (200, "", r#"{"keys":[]}"#),
        (302, "Location: http://127.0.0.1:9/\r\n", ""),
        (200, "", &*format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(300_000))),
    ] {
        issuer.say(status, headers, body);
        server.forget();
        server.signal(Signal::HUP);
        server.line("what was in force stays");
        assert!(is_in(&asked(&url, &[&bearer(&two.token("", ""))])), "{status} {headers}");
    }
}

#[test]
fn an_opaque_token_is_asked_about_once_in_a_while() {
    let folder = Folder::new();
    let (issuer, at) = Issuer::new(r#"{"active":true,"sub":"alice","aud":"sudp","groups":"a b"}"#);
    let key = secret(&folder, "secret", "s e:cret\n");
    let auth = format!(
        "introspection: {{url: 'http://{at}/ask', client_id: 'my id', client_secret_file: {key}, audience: sudp}}"
    );
    let (mut server, url) = Sudp::server(&["--config", &config(&folder, &auth)]);
    let (_client, service) = client(&folder, &url, &bearer("opaque-1"));
    answers(service, b"hello");
    server.line("begins, of alice");
    assert!(is_in(&asked(&url, &[&bearer("opaque-1")])));
    let question = issuer.asked();
    assert_eq!(question.len(), 1, "{question:?}");
    assert!(question[0].starts_with("POST /ask "), "{question:?}");
    assert!(question[0].ends_with("token=opaque-1&token_type_hint=access_token"), "{question:?}");
    let expected = format!("Basic {}", base64(b"my%20id:s%20e%3Acret"));
    assert!(question[0].contains(&expected), "{question:?}");

    let answers = [
        (200, r#"{"active":false}"#.to_owned()),
        (200, r#"{"active":"true","sub":"alice","aud":"sudp"}"#.into()),
        (200, r#"{"active":true,"sub":"alice","aud":"other"}"#.into()),
        (200, r#"{"active":true,"sub":"alice"}"#.into()),
        (200, r#"{"active":true,"aud":"sudp"}"#.into()),
        (200, r#"{"active":true,"sub":"token:x","aud":"sudp"}"#.into()),
        (200, format!(r#"{{"active":true,"sub":"alice","aud":"sudp","exp":{}}}"#, now() - 100)),
        (200, "{".into()),
        (401, r#"{"active":true,"sub":"alice","aud":"sudp"}"#.into()),
        (500, String::new()),
    ];
    for (number, (status, body)) in answers.iter().enumerate() {
        issuer.say(*status, "", body);
        refused_alike(&url, &[(body, bearer(&format!("other-{number}")))]);
    }
    // What was refused is not asked about again at once, and what was let in goes on being so.
    let before = issuer.asked().len();
    refused_alike(&url, &[("inactive", bearer("other-0")), ("a password", super::basic("a", "b"))]);
    assert!(is_in(&asked(&url, &[&bearer("opaque-1")])));
    assert_eq!(issuer.asked().len(), before);
    let said = said(server);
    assert_eq!(said.matches("cannot be asked about tokens").count(), 1, "{said}");
    assert!(!said.contains("cret") && !said.contains("opaque-1"), "{said}");
}

/// A file with a new token of this signer for whoever reads it, until this is dropped.
struct Press {
    file: PathBuf,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Press {
    fn begin(folder: &Folder, signer: Signer, good_for: Duration) -> Self {
        let (file, stop) = (folder.path().join("token"), Arc::new(AtomicBool::new(false)));
        let (at, stopped) = (file.clone(), Arc::clone(&stop));
        let print = move || {
            // Whoever reads it finds a whole one.
            fs::write(at.with_extension("next"), signer.until(SystemTime::now() + good_for)).unwrap();
            fs::rename(at.with_extension("next"), &at).unwrap();
        };
        print();
        let worker = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                print();
                thread::sleep(Duration::from_millis(100));
            }
        });
        Self { file, stop, worker: Some(worker) }
    }

    fn command(&self) -> String {
        format!("cat {}", self.file.display())
    }
}

impl Drop for Press {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.worker.take().unwrap().join().unwrap();
    }
}

/// A service that says from which port it was asked.
fn ports() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut room = [0; 64];
        loop {
            let (_, from) = socket.recv_from(&mut room).unwrap();
            socket.send_to(from.port().to_string().as_bytes(), from).unwrap();
        }
    });
    at
}

/// A server that takes the tokens of this signer.
fn serve(folder: &Folder, signer: &Signer) -> (Sudp, String) {
    let keys = secret(folder, "keys.json", &set(&[signer]));
    let auth = format!("jwt: {{keys: {keys}, issuer: 'https://idp', audience: sudp, leeway: 0s}}");
    Sudp::server(&["--config", &config(folder, &auth)])
}

#[test]
fn a_session_outlives_the_tokens_of_a_command_and_no_datagram_is_lost() {
    let (folder, signer) = (Folder::new(), Signer::new("one"));
    let (server, url) = serve(&folder, &signer);
    // The next one is asked for a second before one ends.
    let good_for = Duration::from_secs(5);
    let press = Press::begin(&folder, signer, good_for);
    let begun = SystemTime::now();
    let tunnel = format!("0:{}", ports());
    let mut client = Sudp::client(&url, &["-v", "-L", &tunnel, "--token-command", &press.command()]);
    let at = client.address("taking datagrams at ");
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let source = thread::spawn(move || {
        let (socket, mut room) = (speaks_to(at), [0; 64]);
        let mut ports = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            socket.send(b"from where?").unwrap();
            let length = socket.recv(&mut room).expect("every datagram is answered");
            ports.push(String::from_utf8(room[..length].to_vec()).unwrap());
            thread::sleep(Duration::from_millis(5));
        }
        ports
    });
    while begun.elapsed().unwrap() < 2 * good_for {
        client.forget();
        client.line("is renewed");
    }
    done.store(true, Ordering::Relaxed);
    let ports = source.join().unwrap();
    assert!(ports.len() > 100 && ports.iter().all(|port| *port == ports[0]), "{} of {ports:?}", ports.len());
    client.signal(Signal::TERM);
    let told = client.end().errors;
    assert!(!told.contains("the server has"), "{told}");
    let told = said(server);
    assert_eq!(told.matches("begins, of alice").count(), 1, "{told}");
}

#[test]
fn a_command_that_gives_no_good_token_any_more_costs_the_session_when_the_last_one_ends() {
    let (folder, signer) = (Folder::new(), Signer::new("one"));
    let (mut server, url) = serve(&folder, &signer);
    let ends = SystemTime::now() + Duration::from_secs(6);
    let file = secret(&folder, "token", &signer.until(ends));
    let tunnel = format!("0:{}", echo());
    let mut client = Sudp::client(&url, &["-L", &tunnel, "--token-command", &format!("cat {file}")]);
    // From now on somebody signs whom nobody knows.
    secret(&folder, "token", &Signer::new("one").until(ends + Duration::from_secs(600)));
    client.line("the server does not take the new credential");
    let at = client.address("taking datagrams at ");
    let goes_on = is_answered(at, b"refused, and all goes on", Duration::from_millis(500));
    assert!(goes_on || SystemTime::now() > ends, "what is refused costs nothing yet");
    server.line("has ended: the grant has ended (this side says)");
    let late = SystemTime::now().duration_since(ends).expect("it does not end before its token");
    assert!(late < Duration::from_secs(1), "{late:?} after its end");
    client.line("404");
}
