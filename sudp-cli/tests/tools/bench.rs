//! `sudp bench`.

use std::collections::BTreeSet;
use std::net::TcpListener;

use crate::{Running, failure, run};

#[test]
fn a_tunnel_is_measured_beside_plain_udp() {
    let arguments = ["bench", "--for", "100ms", "--rounds", "1", "--size", "64", "--rate", "2000", "-o", "json"];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["schema"].as_u64(), report["rounds"].as_u64()), (Some(1), Some(1)));
    assert!(report["cores"].as_u64().unwrap() >= 1);
    let results = report["results"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for result in results {
        let (test, path) = (result["test"].as_str().unwrap(), result["path"].as_str().unwrap());
        seen.insert((test, path));
        let number = |name: &str| result[name].as_f64().unwrap();
        assert!(number("answered") > 0.0 && number("answered") <= number("sent"), "{result}");
        assert_eq!(number("lost"), number("sent") - number("answered"));
        assert!(number("round_trip") > 0.0 && number("round_trip") <= number("round_trip_p99"), "{result}");
        assert!(number("cpu") > 0.0, "{result}");
        if path == "tunnel" {
            let ends = number("cpu_client") + number("cpu_server");
            assert!(ends > 0.0 && ends < number("cpu"), "{result}");
        }
    }
    let wanted = ["flood", "quiet", "window"].into_iter().flat_map(|test| [(test, "plain"), (test, "tunnel")]);
    assert_eq!(seen, wanted.collect());
}

#[test]
fn a_server_that_is_not_there_is_said_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    drop(taken);
    let (code, error) = failure(&run(&["bench", &format!("ws://{at}")]));
    assert_eq!(code, Some(69));
    assert!(error.contains(&format!("sudp: {at}: connection refused")), "{error}");
}

#[test]
fn a_given_server_is_measured_with_the_echo_service_behind_it() {
    let mut demo = Running::start(&["demo", "--no-cuts", "--port", "0", "--rate", "1"]);
    let ports = demo.line("On 127.0.0.1");
    let port = |name: &str| ports.split(name).nth(1).unwrap().split(['.', ',']).next().unwrap().trim().to_owned();
    let (url, echo) = (format!("ws://127.0.0.1:{}", port("server TCP")), format!("127.0.0.1:{}", port("service UDP")));
    let common = ["bench", &url, "--to", &echo, "--for", "60ms", "--rounds", "1", "--size", "64", "--window", "4"];
    let alone = run(&[&common[..], &["--rate", "1000"]].concat());
    let said = String::from_utf8_lossy(&alone.stdout);
    assert_eq!(alone.status.code(), Some(0), "{alone:?}");
    assert!(said.contains("answered a second") && said.contains("--plain ADDR"), "{said}");
    let beside = run(&[&common[..], &["--plain", &echo]].concat());
    assert_eq!(beside.status.code(), Some(0), "{beside:?}");
    assert!(!String::from_utf8_lossy(&beside.stdout).contains("--plain ADDR"));

    // The demo's server allows nothing but its echo service.
    let (code, error) = failure(&run(&["bench", &url, "--to", "127.0.0.1:9", "--for", "50ms"]));
    assert_eq!(code, Some(69), "{error}");
    assert!(error.contains("nothing comes back through the tunnel from 127.0.0.1:9"), "{error}");
}
