//! What can be wrong with our own files: each named with its cause and the way out.

use std::collections::BTreeSet;
use std::fs;

use sudp_net::tls::{ClientOptions, Identity, ServerOptions, ServerTls, TlsError, Trust};

use crate::certs::{Authority, Files, HOST, client, pem, set_mode};
use crate::meeting::{Far, dial};

fn load(files: &Files) -> Result<ServerTls, TlsError> {
    let identity = Identity { chain: files.path("chain.pem"), key: files.path("key.pem") };
    ServerTls::load(ServerOptions::new(identity))
}

#[test]
fn every_fault_of_a_file_names_it_and_says_what_to_do() {
    let root = Authority::root("Root");
    let mut lines = BTreeSet::new();
    let mut case = |spoil: &dyn Fn(&Files), words: &str| {
        let files = Files::new();
        root.issue(&[HOST]).identity(&files);
        load(&files).expect("good until it is spoiled");
        spoil(&files);
        let line = load(&files).expect_err(words).to_string();
        let folder = files.path("").display().to_string();
        assert!(line.contains(&folder) && line.contains(words), "{words}: {line}");
        assert!(lines.insert(line.replace(&folder, "")), "{line}");
    };
    case(&|files| fs::remove_file(files.path("chain.pem")).unwrap(), "cannot read");
    case(&|files| fs::remove_file(files.path("key.pem")).unwrap(), "key.pem: No such file");
    case(&|files| drop(files.write("chain.pem", "")), "no certificate in");
    case(
        &|files| drop(files.write("chain.pem", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")),
        "cannot be read",
    );
    case(&|files| drop(files.write("chain.pem", &pem("CERTIFICATE", &[1, 2, 3]))), "cannot be read");
    case(&|files| drop(files.secret("key.pem", "")), "no private key in");
    case(&|files| drop(files.secret("key.pem", &pem("PRIVATE KEY", &[1, 2, 3]))), "cannot be used");
    case(&|files| drop(files.secret("key.pem", &pem("ENCRYPTED PRIVATE KEY", &[1, 2, 3]))), "openssl pkey -in");
    let other = root.issue(&["other.example"]);
    case(&|files| drop(files.secret("key.pem", &other.key.serialize_pem())), "is not that of the first certificate in");
    let expired = root.issue_with(&[HOST], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    case(&|files| drop(expired.identity(files)), "days ago; renew it");
    let future = root.issue_with(&[HOST], |params| params.not_before = rcgen::date_time_ymd(2999, 1, 1));
    case(&|files| drop(future.identity(files)), "not valid yet");
    if cfg!(unix) {
        case(&|files| set_mode(&files.path("key.pem"), 0o644), "every user (mode 644); run `chmod 600");
    }
}

#[test]
fn a_key_that_its_group_may_read_is_taken() {
    let files = Files::new();
    Authority::root("Root").issue(&[HOST]).identity(&files);
    set_mode(&files.path("key.pem"), 0o640);
    load(&files).unwrap();
}

#[test]
fn a_reload_takes_what_is_good_and_keeps_what_was_when_it_is_not() {
    let (files, roots) = (Files::new(), Files::new());
    let root = Authority::root("Root");
    let server = root.issue(&[HOST]).serve(&files);
    let (before, pin) = (server.current(), server.pin());
    files.write("chain.pem", "half a file");
    assert!(matches!(server.reload(), Err(TlsError::NoCertificate { .. })));
    assert!(std::sync::Arc::ptr_eq(&server.current(), &before) && server.pin() == pin);

    root.issue(&[HOST]).identity(&files);
    server.reload().unwrap();
    assert_ne!(server.pin(), pin);
    let only = client(Trust::Pins(vec![pin]));
    dial(only.clone(), Far::Tls(before)).assert_claimed();
    assert!(dial(only, Far::Tls(server.current())).failure.is_some(), "the new key is in use");
    dial(client(root.trust(&roots)), Far::Tls(server.current())).assert_claimed();
}

#[test]
fn a_client_that_trusts_nobody_or_asks_for_no_name_is_not_made() {
    let files = Files::new();
    let made = |options: ClientOptions| options.load().map(|_| ()).unwrap_err().to_string();
    let trusting = |trust| made(ClientOptions { trust, ..ClientOptions::default() });
    assert!(trusting(Trust::Pins(Vec::new())).contains("nobody is to be trusted"));
    assert!(trusting(Trust::Roots(Vec::new())).contains("nobody is to be trusted"));
    assert!(trusting(Trust::Roots(vec![files.path("ca.pem")])).contains("ca.pem: No such file"));
    let junk = files.write("ca.pem", &pem("CERTIFICATE", &[0x30, 0]));
    assert!(trusting(Trust::Roots(vec![junk])).contains("cannot be that of an authority"));
    let trust = Authority::root("Root").trust(&files);
    let name = Some("no name".to_owned());
    assert!(made(ClientOptions { trust, name, ..ClientOptions::default() }).contains("\"no name\" is neither"));
}

#[test]
fn configurations_are_shown_without_their_keys() {
    let files = Files::new();
    let root = Authority::root("Root");
    let server = root.issue(&[HOST]).serve(&files);
    let shown = format!("{:?} {:?}", server.link(), client(root.trust(&files)));
    assert!(shown.len() < 200, "{shown}");
}
