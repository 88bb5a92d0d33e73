//! What instances say of themselves is what the documents say.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

use serde_json::Value;

use crate::house::{House, after, until};

#[test]
fn every_field_of_a_status_is_documented_and_every_documented_one_is_there() {
    let house = House::new();
    let file = house.write("config.yaml", "server:\n  rules: [allow 127.0.0.0/8]\n");
    let out = house.well(&format!("server start --port 0 --config {file}"));
    let url = after(&out, "listening");
    let echo = UdpSocket::bind("127.0.0.1:0").expect("a port");
    echo.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let out = house.well(&format!("client start {url} -L 0:{}", echo.local_addr().expect("an address")));
    let at = after(&out, ", at").to_owned();
    until("it is connected", || house.status("client")["health"] == "ok");
    let source = UdpSocket::bind("127.0.0.1:0").expect("a port");
    source.send_to(b"hello", &at).expect("it is sent");
    echo.recv(&mut [0; 16]).expect("the way is open");
    house.well("server reload");
    house.well("client reload");

    let mut found = BTreeSet::new();
    fields("", &house.status("server"), &mut found);
    fields("", &house.status("client"), &mut found);
    assert_eq!(found, documented("### The status"));

    let list = serde_json::from_str(&house.well("list -o json")).expect("JSON");
    let mut found = BTreeSet::new();
    fields("", &list, &mut found);
    assert_eq!(found, documented("### The list"));
}

/// The paths of all fields: `sessions[].links[].rtt`.
fn fields(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        // By reason: what is in there is not the shape's.
        Value::Object(_) if path.ends_with("dropped_out") || path.ends_with("dropped_in") => {}
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                found.insert(path.clone());
                fields(&path, value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(&format!("{path}[]"), value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The fields in the tables of a section.
fn documented(section: &str) -> BTreeSet<String> {
    let (_, text) = DOCUMENT.split_once(section).expect("the section is there");
    let text = text.split("\n##").next().expect("it has an end");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(field, _)| field));
    // What both kinds of traffic have is written down once.
    let spelled = |field: &str| match field.strip_prefix("*.") {
        Some(name) => vec![format!("traffic.{name}"), format!("sessions[].traffic.{name}")],
        None => vec![field.to_owned()],
    };
    rows.flat_map(spelled).collect()
}

const DOCUMENT: &str = include_str!("../../../docs/operation.md");
