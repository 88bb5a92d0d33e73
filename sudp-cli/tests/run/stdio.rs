//! Standard input and output.

use std::io::Write as _;

use super::rig::{Sudp, echo, run};

#[test]
fn a_line_is_a_datagram_and_its_answer_is_written() {
    let service = echo().to_string();
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let mut client = Sudp::start(&["client", &url, "-W", &service]);
    let mut input = client.input();

    for line in ["one\n", "two\n"] {
        input.write_all(line.as_bytes()).unwrap();
        assert_eq!(client.output(), line.as_bytes());
    }
    input.write_all(b"three").unwrap();
    drop(input);
    let end = client.end();
    end.with(0, "");
    assert_eq!(end.output, b"three", "what comes after the end of the input is waited for");
    assert_eq!(end.errors, "", "nothing stands among the answers");
}

#[test]
fn what_the_server_does_not_allow_is_said() {
    let (mut server, url) = Sudp::server(&["--allow", "127.0.0.1:1"]);
    let mut client = Sudp::start(&["client", &url, "-W", "127.0.0.1:5006"]);
    client.input().write_all(b"hello").unwrap();
    client.end().with(77, "the server does not allow 127.0.0.1:5006");
    // The server need not keep a session for it.
    server.line("its work is done");
}

#[test]
fn without_input_there_is_nothing_to_wait_for() {
    let service = echo().to_string();
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    run(&["client", &url, "-W", &service]).with(0, "");
}
