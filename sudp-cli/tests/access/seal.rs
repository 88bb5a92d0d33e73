//! Links that are sealed end to end, and clients that are known by their keys.

use std::fs;

use rustix::process::Signal;

use super::rig::{Folder, Sudp, answers, echo, run};

/// Makes a key; its file, and its public half.
fn key(folder: &Folder, name: &str) -> (String, String) {
    let file = folder.path().join(name).display().to_string();
    let made = run(&["keygen", &file]);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let public = String::from_utf8(made.output).unwrap().trim().to_owned();
    (file, public)
}

#[test]
fn a_key_is_made_once_and_shown_as_often_as_wanted() {
    let folder = Folder::new();
    let (file, public) = key(&folder, "server.key");
    let again = run(&["keygen", &file]);
    assert_eq!(again.code, Some(73), "{again:#?}");
    assert!(again.errors.contains("exists already"), "{again:#?}");
    let shown = run(&["keygen", "--public", &file]);
    assert_eq!((shown.code, String::from_utf8(shown.output).unwrap().trim()), (Some(0), public.as_str()));
    let secret = fs::read_to_string(&file).unwrap();
    let secret = secret.lines().last().unwrap();
    assert!(secret.len() == 43 && secret != public && !shown.errors.contains(secret));
}

#[test]
fn a_client_that_knows_the_servers_key_is_sealed_and_others_are_told_why_not() {
    let (folder, service) = (Folder::new(), echo());
    let (file, public) = key(&folder, "server.key");
    let (mut server, url) = Sudp::server(&["--allow", "127.0.0.0/8", "--key-file", &file, "--sealed", "required"]);
    assert_eq!(server.word("links must be sealed, to its public key "), public);
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}"), "--server-key", &public]);
    answers(client.address("taking datagrams at "), b"hello");

    let end = run(&["client", &url, "-D", "0"]);
    assert_eq!(end.code, Some(77), "{end:#?}");
    assert!(end.errors.contains("takes sealed links only; configure its public key"), "{end:#?}");
    let (_, other) = key(&folder, "other.key");
    let end = run(&["client", &url, "-D", "0", "--server-key", &other]);
    assert_eq!(end.code, Some(77), "{end:#?}");
    assert!(end.errors.contains("it has another key, or none"), "{end:#?}");
}

#[test]
fn a_client_that_seals_says_nothing_to_a_server_that_does_not() {
    let folder = Folder::new();
    let (_, public) = key(&folder, "server.key");
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let end = run(&["client", &url, "-D", "0", "--server-key", &public]);
    assert_eq!(end.code, Some(77), "{end:#?}");
    assert!(end.errors.contains("it has another key, or none"), "{end:#?}");
}

#[test]
fn a_client_is_known_by_its_key_alone() {
    let (folder, service) = (Folder::new(), echo());
    let (file, public) = key(&folder, "server.key");
    let (client_file, client_public) = key(&folder, "client.key");
    let keys = folder.write("clients.keys", &format!("# who may come in\n{client_public} laptop\n"));
    let config = folder.write("sudp.yaml", &format!("server:\n  key_file: {file}\n  auth:\n    keys: {keys}\n"));
    let (mut server, url) = Sudp::server(&["-c", &config, "--allow", "127.0.0.0/8"]);
    let known = ["-L", &format!("0:{service}"), "--server-key", &public, "--key-file", &client_file];
    let mut client = Sudp::client(&url, &known);
    answers(client.address("taking datagrams at "), b"hello");
    server.line("key:laptop");

    for stranger in [&["--server-key", public.as_str()][..], &[]] {
        let end = run(&[&["client", &url, "-D", "0"], stranger].concat());
        assert_eq!(end.code, Some(77), "{end:#?}");
        assert!(end.errors.contains("nobody comes in without showing who it is"), "{end:#?}");
    }

    fs::write(&keys, "# nobody any more\n").unwrap();
    server.signal(Signal::HUP);
    client.line("the server has taken away the session (not allowed)");
}

#[test]
fn what_is_wrong_with_keys_is_said_before_anything_begins() {
    let folder = Folder::new();
    let (file, public) = key(&folder, "server.key");
    let keys = folder.write("clients.keys", &format!("{public} a\n{public} b\n"));
    let config = folder.write("sudp.yaml", &format!("server:\n  key_file: {file}\n  auth:\n    keys: {keys}\n"));
    for (arguments, says) in [
        (vec!["server", "--port", "0", "--key-file", "/nonexistent/key"], "/nonexistent/key"),
        (vec!["server", "--port", "0", "-c", &config], "clients.keys:2: this key is that of a already"),
        (vec!["client", "ws://127.0.0.1:1", "-D", "0", "--server-key", &public, "--key-file", &keys], "clients.keys"),
    ] {
        let end = run(&arguments);
        assert_eq!(end.code, Some(78), "{end:#?}");
        assert!(end.errors.contains(says), "{says}: {end:#?}");
    }
    let end = run(&["client", "ws://127.0.0.1:1", "-D", "0", "--server-key", "x"]);
    assert!(end.code == Some(64) || end.code == Some(2), "{end:#?}");
    assert!(end.errors.contains("43 characters"), "{end:#?}");
}
