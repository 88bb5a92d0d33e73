//! Identities: users, tokens, tokens of others, and what strangers see of them.

mod issuer;
mod jwt;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustix::process::Signal;
use sudp_tokio::proto::wire::Frame;

use super::rig::{Folder, PATIENCE, Sudp, answers, echo, run};

/// Good enough for everybody.
const PASSWORD: &str = "correct horse battery";

/// What a server answers to a request for a session that shows these headers.
fn asked(url: &str, headers: &[&str]) -> String {
    asked_at(url, "/sudp", headers)
}

fn asked_at(url: &str, path: &str, headers: &[&str]) -> String {
    let host = url.trim_start_matches("ws://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Protocol: sudp.v1\r\nSudp-Hello: AQE\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut room = [0; 4_096];
    // One who is let in stays connected.
    while !answer.starts_with(b"HTTP/1.1 101") {
        match stream.read(&mut room).unwrap() {
            0 => break,
            length => answer.extend_from_slice(&room[..length]),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.lines().filter(|line| !line.starts_with("Date:")).collect::<Vec<_>>().join("\n")
}

fn is_in(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 101 ")
}

fn basic(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}", base64(format!("{name}:{password}").as_bytes()))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// Base64 as headers have it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * place) & 63]);
            text.push(if place <= group.len() { digit } else { '=' });
        }
    }
    text
}

/// A file that only we can read.
fn secret(folder: &Folder, name: &str, text: &str) -> String {
    let path = folder.write(name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A file of users with alice in it.
fn users(folder: &Folder) -> String {
    let file = folder.path().join("users.yaml").display().to_string();
    let password = secret(folder, "password", PASSWORD);
    let end = run(&["user", "add", "alice", "--group", "staff", "--file", &file, "--password-file", &password]);
    assert_eq!(end.code, Some(0), "{end:#?}");
    file
}

/// A token that was just made, and the file it is in.
fn token(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let file = folder.path().join("tokens.yaml").display().to_string();
    let end = run(&[&["token", "new"], arguments, &["--file", &file]].concat());
    assert_eq!(end.code, Some(0), "{end:#?}");
    (String::from_utf8(end.output).unwrap().trim().to_owned(), file)
}

/// A client that shows this, and how its service is reached.
fn client(folder: &Folder, url: &str, header: &str) -> (Sudp, std::net::SocketAddr) {
    let file = secret(folder, "header", header);
    let mut client = Sudp::client(url, &["-L", &format!("0:{}", echo()), "--header", &format!("@{file}")]);
    let at = client.address("taking datagrams at ");
    (client, at)
}

/// All that a server has said, until its end.
fn said(server: Sudp) -> String {
    server.signal(Signal::TERM);
    server.end().errors
}

/// All of what an anonymous stranger and whoever shows something wrong gets is the same.
fn refused_alike(url: &str, wrong: &[(&str, String)]) {
    let nobody = asked(url, &[]);
    assert!(nobody.starts_with("HTTP/1.1 404 "), "{nobody}");
    assert_eq!(asked_at(url, "/other", &[]), nobody);
    for (what, header) in wrong {
        assert_eq!(asked(url, &[header]), nobody, "{what}");
    }
}

#[test]
fn a_user_is_let_in_by_name_and_password_and_all_others_look_the_same() {
    let folder = Folder::new();
    let file = users(&folder);
    let (mut server, url) = Sudp::server(&["--users", &file, "--allow", "127.0.0.0/8"]);
    let right = basic("alice", PASSWORD);
    refused_alike(
        &url,
        &[
            ("wrong password", basic("alice", "correct horse batterz")),
            ("unknown user", basic("bob", PASSWORD)),
            ("no password", basic("alice", "")),
            ("another case", basic("Alice", PASSWORD)),
            ("no base64", "Authorization: Basic alice".into()),
            ("a token", bearer("sudp_abc")),
            ("another scheme", "Authorization: Digest alice".into()),
            ("nothing", "Authorization:".into()),
            ("two", format!("{right}\r\n{right}")),
            ("in another header", right.replace("Authorization", "Proxy-Authorization")),
        ],
    );
    assert!(is_in(&asked(&url, &[&right])));
    let (_client, at) = client(&folder, &url, &right);
    answers(at, b"hello");
    server.line("begins, of alice");
    server.line("the password of alice is wrong");
    server.line("there is no such user");
    let said = said(server);
    assert!(!said.contains("correct horse") && !said.contains("bob"), "{said}");
}

#[test]
fn a_user_who_is_removed_or_has_another_password_is_gone_within_a_second() {
    let folder = Folder::new();
    let file = users(&folder);
    let (mut server, url) = Sudp::server(&["--users", &file, "--allow", "127.0.0.0/8"]);
    let (other, right) = (secret(&folder, "other", "another horse battery"), basic("alice", PASSWORD));
    for change in [&["user", "passwd", "alice", "--password-file", &other][..], &["user", "remove", "alice"]] {
        let right = if change[1] == "remove" { basic("alice", "another horse battery") } else { right.clone() };
        let (mut client, at) = client(&folder, &url, &right);
        answers(at, b"hello");
        server.forget();
        let end = run(&[change, &["--file", &file]].concat());
        assert_eq!(end.code, Some(0), "{end:#?}");
        let since = Instant::now();
        server.line("users or tokens have changed");
        server.line("has ended: not allowed");
        assert!(since.elapsed() < Duration::from_secs(5), "half a second, and what a busy machine takes");
        client.line("not allowed");
        assert!(asked(&url, &[&right]).starts_with("HTTP/1.1 404 "));
    }
}

#[test]
fn a_file_that_breaks_while_it_is_used_changes_nothing_and_is_told_of_once() {
    let folder = Folder::new();
    let file = users(&folder);
    let good = fs::read_to_string(&file).unwrap();
    let (mut server, url) = Sudp::server(&["--users", &file, "--allow", "127.0.0.0/8"]);
    // As editors do, at one stroke or in place.
    let replace = |text: &str| fs::rename(secret(&folder, "new", text), &file).unwrap();
    replace("users: {alice: {hash: oops}}");
    let line = server.line("it has changed and is not used; what was in force stays");
    assert!(line.contains("users.yaml:1:"), "{line}");
    assert!(is_in(&asked(&url, &[&basic("alice", PASSWORD)])));
    // It is looked at several times meanwhile.
    std::thread::sleep(Duration::from_millis(1_500));
    fs::write(&file, &good).unwrap();
    server.line("users or tokens have changed");
    assert!(is_in(&asked(&url, &[&basic("alice", PASSWORD)])));
    assert_eq!(said(server).matches("is not used").count(), 1);
}

#[test]
fn a_token_lets_in_until_it_is_revoked_and_is_shown_only_once() {
    let folder = Folder::new();
    let (shown, file) = token(&folder, &["backup", "--expires", "30d"]);
    let (short, _) = token(&folder, &["short", "--expires", "1s"]);
    assert!(shown.starts_with("sudp_") && shown.len() == 59, "{shown}");
    assert!(!fs::read_to_string(&file).unwrap().contains(&shown[13..]));
    let list = run(&["token", "list", "--file", &file]);
    let list = String::from_utf8(list.output).unwrap();
    assert!(list.contains("backup") && !list.contains(&shown[13..]), "{list}");

    let (mut server, url) = Sudp::server(&["--tokens", &file, "--allow", "127.0.0.0/8"]);
    let (mut client, at) = client(&folder, &url, &bearer(&shown));
    answers(at, b"hello");
    server.line("begins, of token:backup");
    while is_in(&asked(&url, &[&bearer(&short)])) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut typed = shown.clone();
    typed.replace_range(20..21, if &shown[20..21] == "A" { "B" } else { "A" });
    refused_alike(
        &url,
        &[
            ("expired", bearer(&short)),
            ("typed wrongly", bearer(&typed)),
            ("cut", bearer(&shown[..58])),
            ("a password", basic("backup", &shown)),
            ("in the query", "X: y".into()),
        ],
    );
    assert!(!is_in(&asked_at(&url, &format!("/sudp?access_token={shown}"), &[])));
    let end = run(&["token", "revoke", "backup", "--file", &file]);
    assert_eq!(end.code, Some(0), "{end:#?}");
    client.line("not allowed");
    refused_alike(&url, &[("revoked", bearer(&shown))]);
    assert!(!said(server).contains(&shown[13..]));
}

#[test]
fn who_says_hello_in_a_message_is_shown_the_door_and_not_left_standing() {
    let folder = Folder::new();
    let (_server, url) = Sudp::server(&["--users", &users(&folder)]);
    let host = url.trim_start_matches("ws://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /sudp HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Protocol: sudp.v1\r\n{}\r\n\r\n",
        basic("alice", "wrong")
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut hello = Vec::new();
    Frame::Hello(vec![1, 1].into()).emit(&mut hello);
    let mut room = [0; 4_096];
    let length = stream.read(&mut room).unwrap();
    assert!(room[..length].starts_with(b"HTTP/1.1 101 "), "that much it is told");
    let message = [&[0x82, 0x80 | u8::try_from(hello.len()).unwrap(), 0, 0, 0, 0], &hello[..]].concat();
    stream.write_all(&message).unwrap();
    // It is told to close, does so, and is let go.
    let mut answer = Vec::new();
    while !answer.windows(2).any(|pair| pair[0] == 0x88) {
        let length = stream.read(&mut room).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&room[..length]);
    }
    stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    while stream.read(&mut room).unwrap() > 0 {}
}

#[test]
fn what_is_shown_and_wrong_is_refused_where_nothing_would_do() {
    let folder = Folder::new();
    let file = users(&folder);
    let (_server, url) = Sudp::server(&["--users", &file, "--anonymous", "--allow", "127.0.0.0/8"]);
    assert!(is_in(&asked(&url, &[])));
    assert!(is_in(&asked(&url, &[&basic("alice", PASSWORD)])));
    assert!(!is_in(&asked(&url, &[&basic("alice", "wrong")])));
    assert!(!is_in(&asked(&url, &["Authorization: Basic ?"])));
    // Where nobody is asked, it is meant for a gateway.
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    assert!(is_in(&asked(&url, &[&basic("alice", "whatever")])));
}

#[test]
fn a_certificate_says_who_it_is_and_a_wrong_password_beside_it_is_still_wrong() {
    let folder = Folder::new();
    let (ca, cert, key) = authority(&folder, "laptop.example");
    let out = folder.path().display().to_string();
    assert_eq!(run(&["cert", "--name", "127.0.0.1", "--out", &out]).code, Some(0));
    let own = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "server:\n  rules: ['127.0.0.0/8']\n  auth: {{certificates: true, users: {}}}\n  tls: {{cert: {}, key: {}, client_ca: {ca}}}\n",
        users(&folder),
        own("cert.pem"),
        own("key.pem")
    );
    let (mut server, url) = Sudp::server(&["--config", &secret(&folder, "config.yaml", &text)]);
    let shown = ["--tls-ca", &own("cert.pem"), "--tls-cert", &cert, "--tls-key", &key];
    let tunnel = format!("0:{}", echo());
    let with = |more: &[&str]| Sudp::start(&[&["client", &url, "-L", &tunnel], &shown[..], more].concat());
    let mut client = with(&[]);
    client.line("connected");
    answers(client.address("taking datagrams at "), b"hello");
    server.line("begins, of cert:laptop.example");
    for (header, reason) in
        [(basic("alice", "wrong"), "the password of alice is wrong"), (basic("alice", PASSWORD), "begins")]
    {
        server.forget();
        let header = format!("@{}", secret(&folder, "header", &header));
        let _client = with(&["--header", &header]);
        server.line(reason);
    }
}

/// The file of an authority, and those of a certificate of it for this name and its key.
fn authority(folder: &Folder, name: &str) -> (String, String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, key).unwrap();
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let cert = params.signed_by(&own, &ca).unwrap();
    let key = secret(folder, "client.key", &own.serialize_pem());
    (folder.write("clients.pem", &ca.pem()), folder.write("client.pem", &cert.pem()), key)
}

#[test]
fn t04_every_source_asks_by_itself_wherever_it_is_named() {
    let folder = Folder::new();
    let (users, (_, tokens)) = (users(&folder), token(&folder, &["backup"]));
    let jwt = secret(&folder, "jwt.key", &"k".repeat(32));
    let named = "{keys: KEY, issuer: https://idp, audience: sudp}".replace("KEY", &jwt);
    let introspection = "{url: 'http://127.0.0.1:9/', client_id: sudp, client_secret: s}";
    let files = [
        format!("users: {users}"),
        format!("tokens: {tokens}"),
        format!("jwt: {named}"),
        format!("introspection: {introspection}"),
    ]
    .map(|auth| format!("server: {{auth: {{{auth}}}}}"));
    for (index, text) in files.iter().enumerate() {
        let file = secret(&folder, &format!("config{index}.yaml"), text);
        let (_server, url) = Sudp::server(&["--config", &file]);
        refused_alike(&url, &[("a password", basic("alice", "x")), ("a token", bearer("a.b.c"))]);
    }
    for (flag, file) in [("--users", &users), ("--tokens", &tokens)] {
        let (_server, url) = Sudp::server(&[flag, file]);
        refused_alike(&url, &[]);
    }
    for variables in [
        &[("SUDP_SERVER__AUTH__USERS", users.as_str())][..],
        &[("SUDP_SERVER__AUTH__TOKENS", &tokens)],
        &[
            ("SUDP_SERVER__AUTH__JWT__KEYS", &jwt),
            ("SUDP_SERVER__AUTH__JWT__ISSUER", "https://idp"),
            ("SUDP_SERVER__AUTH__JWT__AUDIENCE", "sudp"),
        ],
        &[
            ("SUDP_SERVER__AUTH__INTROSPECTION__URL", "http://127.0.0.1:9/"),
            ("SUDP_SERVER__AUTH__INTROSPECTION__CLIENT_ID", "sudp"),
            ("SUDP_SERVER__AUTH__INTROSPECTION__CLIENT_SECRET", "s"),
        ],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sudp"));
        command.env_clear().env("HOME", "/nonexistent").envs(variables.iter().copied());
        command.args(["server", "--port", "0"]);
        let mut server = Sudp::of(command);
        let url = server.word("listening on ");
        refused_alike(&url, &[]);
    }
}

#[test]
fn t04_a_source_that_cannot_be_used_stops_the_start_with_its_place() {
    let folder = Folder::new();
    let users = users(&folder);
    let good = fs::read_to_string(&users).unwrap();
    let broken = secret(&folder, "broken.yaml", &good.replace("argon2id", "argon2x"));
    let empty = secret(&folder, "empty.yaml", "users: {}\n");
    let exposed = folder.write("exposed.yaml", &good);
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    let short = secret(&folder, "short.key", "too short");
    let folder_itself = folder.path().display().to_string();
    for (auth, says) in [
        ("users: /nonexistent/users.yaml".into(), "there is no such file"),
        (format!("users: {broken}"), "broken.yaml:4:11: users.alice.hash"),
        (format!("users: {empty}"), "sudp user add NAME"),
        (format!("users: {exposed}"), "chmod 600"),
        (format!("users: {folder_itself}"), "it is a directory"),
        ("tokens: /nonexistent/tokens.yaml".into(), "there is no such file"),
        (format!("tokens: {users}"), "there is no `users` in such a file"),
        (format!("jwt: {{keys: {short}, issuer: i, audience: a}}"), "openssl rand -hex 32"),
        (format!("jwt: {{keys: {short}, issuer: i}}"), "server.auth.jwt.audience"),
        (format!("jwt: {{keys: {short}, audience: a}}"), "server.auth.jwt.issuer"),
        ("jwt: {issuer: i, audience: a}".into(), "server.auth.jwt.keys"),
        ("jwt: {jwks: 'http://idp.example/', issuer: i, audience: a}".into(), "must be https://"),
        ("introspection: {url: 'http://127.0.0.1:9'}".into(), "client_id"),
        ("certificates: true".into(), "server.tls.client_ca"),
        ("user: x".into(), "did you mean `server.auth.users`"),
    ] {
        let text = format!("server:\n  auth: {{{auth}}}\n");
        let end = run(&["server", "--port", "0", "--config", &secret(&folder, "config.yaml", &text)]);
        end.with(78, says);
        assert!(end.errors.contains("config.yaml:2:") || end.errors.contains(".yaml:"), "{end:#?}");
    }
    // An issuer that does not answer may do so later.
    let text = "server: {auth: {jwt: {jwks: 'http://127.0.0.1:9/', issuer: i, audience: a}}}\n";
    run(&["server", "--port", "0", "--config", &secret(&folder, "config.yaml", text)]).with(75, "jwks");
}

#[test]
fn a_reload_takes_other_sources_all_of_them_or_none() {
    let folder = Folder::new();
    let users = users(&folder);
    let (shown, tokens) = token(&folder, &["backup"]);
    let config =
        |auth: &str| secret(&folder, "config.yaml", &format!("server: {{rules: ['127.0.0.0/8'], auth: {{{auth}}}}}\n"));
    let file = config(&format!("users: {users}"));
    let (mut server, url) = Sudp::server(&["--config", &file]);
    let (mut client, at) = client(&folder, &url, &basic("alice", PASSWORD));
    answers(at, b"hello");

    config(&format!("tokens: {tokens}, users: /nonexistent"));
    server.signal(Signal::HUP);
    server.line("is not used; what was in force stays");
    answers(at, b"still");
    assert!(!is_in(&asked(&url, &[&bearer(&shown)])));

    config(&format!("tokens: {tokens}"));
    server.signal(Signal::HUP);
    server.line("is in force");
    assert!(is_in(&asked(&url, &[&bearer(&shown)])));
    assert!(!is_in(&asked(&url, &[&basic("alice", PASSWORD)])));
    client.line("not allowed");
}

#[test]
fn passwords_come_from_files_and_inputs_and_weak_ones_are_refused() {
    let folder = Folder::new();
    let file = folder.path().join("users.yaml").display().to_string();
    let mut adding = Sudp::start(&["user", "add", "alice", "--file", &file]);
    adding.input().write_all(b"correct horse battery\n").unwrap();
    adding.end().with(0, "");
    let weak = secret(&folder, "weak", "password1234");
    run(&["user", "add", "bob", "--file", &file, "--password-file", &weak]).with(2, "tried first");
    run(&["user", "add", "alice", "--file", &file, "--generate"]).with(73, "sudp user passwd alice");
    run(&["user", "add", "carol", "--file", &file]).with(2, "ended before");
    run(&["user", "passwd", "bob", "--file", &file, "--generate"]).with(1, "no user bob");
    run(&["user", "remove", "bob", "--file", &file]).with(1, "no user bob");
    run(&["user", "list"]).with(2, "server.auth.users");
    let made = run(&["user", "passwd", "alice", "--file", &file, "--generate"]);
    made.with(0, "not shown again");
    let made = String::from_utf8(made.output).unwrap();
    let (_server, url) = Sudp::server(&["--users", &file]);
    assert!(is_in(&asked(&url, &[&basic("alice", made.trim())])));
    let list = run(&["user", "list", "--file", &file, "--output", "json"]);
    let list = String::from_utf8(list.output).unwrap();
    assert!(list.contains("\"alice\"") && !list.contains("argon2") && !list.contains("bob"), "{list}");
}
