//! TLS, as far as the two ends say what is wrong with it.

use super::rig::{Folder, Sudp, answers, echo, run};

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_and_its_pin_is_the_way_out() {
    let (folder, service) = (Folder::new(), echo());
    let made = run(&["cert", "--out", &folder.path().display().to_string(), "--name", "127.0.0.1"]);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let find = |name: &str| {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        files.map(|file| file.display().to_string()).find(|file| file.ends_with(name)).unwrap()
    };
    let (cert, key) = (find("cert.pem"), find("key.pem"));
    let (mut server, url) = Sudp::server(&["--allow", "127.0.0.0/8", "--tls-cert", &cert, "--tls-key", &key]);
    assert!(url.starts_with("wss://"), "{url}");
    let pin = server.word("the pin of its key is ");

    let end = run(&["client", &url, "-D", "0"]);
    assert_eq!(end.code, Some(77), "{end:#?}");
    assert!(end.errors.contains("certificate"), "{end:#?}");
    let wrong = format!("sha256/{}=", "A".repeat(43));
    let end = run(&["client", &url, "-D", "0", "--tls-pin", &wrong]);
    assert_eq!(end.code, Some(77), "{end:#?}");

    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}"), "--tls-pin", &pin]);
    answers(client.address("taking datagrams at "), b"hello");
}

#[test]
fn files_of_tls_that_cannot_be_used_are_named() {
    let folder = Folder::new();
    let empty = folder.write("empty.pem", "");
    let end = run(&["server", "--port", "0", "--tls-cert", &empty, "--tls-key", &empty]);
    assert_eq!(end.code, Some(78), "{end:#?}");
    assert!(end.errors.contains("empty.pem"), "{end:#?}");
    let end = run(&["client", "wss://127.0.0.1:1", "-D", "0", "--tls-ca", "/nonexistent/ca.pem"]);
    assert_eq!(end.code, Some(78), "{end:#?}");
    assert!(end.errors.contains("/nonexistent/ca.pem"), "{end:#?}");
}
