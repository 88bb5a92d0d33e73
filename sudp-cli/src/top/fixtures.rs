//! Instances that never ran, for tests.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::Frame;
use super::draw::{Look, draw};
use super::model::Model;
use crate::status::{Flow, Health, Link, Role, SCHEMA, Session, Status, Traffic, Tunnel};

/// The looks of a terminal without colours.
pub(super) const RICH: Look = Look { color: false, unicode: true };

/// When the first frame is.
pub(super) fn epoch() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A client so many seconds after the first frame, with two links and three flows.
pub(super) fn client(second: u32) -> Frame {
    let flows = vec![
        flow(second, 1, "127.0.0.1:40001", "10.0.0.1:53", "dns", 120),
        flow(second, 2, "127.0.0.1:40002", "game.example.com:27015", "game", 64_000),
        flow(second, 3, "[::1]:40003", "voice.a-very-long-name.example.com:5060", "voice", 8_000),
    ];
    frame(second, Role::Client, vec![session(second, "5e551011", &flows)], flows)
}

/// A server with two sessions.
pub(super) fn server(second: u32) -> Frame {
    let mut flows = vec![flow(second, 1, "198.51.100.7:40001", "10.0.0.1:53", "dns", 500)];
    let first = session(second, "5e551011", &flows);
    let mut other = flow(second, 1, "203.0.113.9:5000", "10.0.0.2:5006", "echo", 9_000);
    other.session = "0dd5e550".into();
    let mut second_session = session(second, "0dd5e550", std::slice::from_ref(&other));
    second_session.principal = Some("alice".into());
    flows.push(other);
    frame(second, Role::Server, vec![first, second_session], flows)
}

fn frame(second: u32, role: Role, sessions: Vec<Session>, flows: Vec<Flow>) -> Frame {
    let sum = |part: fn(&Traffic) -> u64| flows.iter().map(|flow| part(&flow.traffic)).sum();
    let traffic = Traffic {
        out: sum(|traffic| traffic.out),
        out_bytes: sum(|traffic| traffic.out_bytes),
        in_: sum(|traffic| traffic.in_),
        in_bytes: sum(|traffic| traffic.in_bytes),
        dropped_out: BTreeMap::from([("age".into(), u64::from(second)), ("full".into(), 3)]),
        dropped_in: BTreeMap::new(),
        kernel_drops: 0,
        replayed: 7,
        duplicates: 2,
        links: 5,
    };
    let client = role == Role::Client;
    let tunnel = |name: &str, spec: &str, listening: Option<&str>, error: Option<&str>| Tunnel {
        name: name.into(),
        spec: spec.into(),
        listening: listening.map(Into::into),
        error: error.map(Into::into),
    };
    let status = Status {
        strangers: None,
        schema: SCHEMA,
        role,
        instance: Some("home".into()),
        pid: 4242,
        version: "0.1.0".into(),
        started: "2027-01-15T06:00:00Z".into(),
        uptime: 7_500.0 + f64::from(second),
        health: Health::Ok,
        reason: None,
        config: Vec::new(),
        reload: None,
        listening: if client { Vec::new() } else { vec!["wss://0.0.0.0:443/sudp".into()] },
        servers: if client {
            vec!["wss://tunnel.example.com/sudp".into(), "wss://backup.example.com/sudp".into()]
        } else {
            Vec::new()
        },
        tunnels: if client {
            vec![
                tunnel("dns", "udp://127.0.0.1:5353:10.0.0.1:53", Some("127.0.0.1:5353"), None),
                tunnel("game", "udp://127.0.0.1:27015:game.example.com:27015", None, Some("address in use")),
            ]
        } else {
            Vec::new()
        },
        sessions,
        traffic,
    };
    Frame { at: epoch() + Duration::from_secs(second.into()), status, flows, events: Vec::new(), missed: 0 }
}

fn session(second: u32, id: &str, flows: &[Flow]) -> Session {
    let link = |ordinal, rtt: f64, in_flight| Link {
        ordinal,
        rtt: Some(rtt),
        rtt_min: Some(rtt * 0.8),
        window: 128 << 10,
        in_flight,
        suspect: false,
    };
    Session {
        id: format!("{id}5e551011"),
        principal: None,
        peer: Some("wss://tunnel.example.com/sudp".into()),
        age: 7_200.0 + f64::from(second),
        sealed: false,
        links: vec![link(4, 0.0241, 30 << 10), link(5, 0.181, 1200)],
        flows: flows.len(),
        traffic: Traffic::default(),
    }
}

fn flow(second: u32, id: u64, source: &str, destination: &str, tunnel: &str, bytes: u64) -> Flow {
    // A rate that goes up and down, the same every time.
    let sum = |at: u32| (0..=u64::from(at)).map(|at| bytes * (1 + at % 7)).sum::<u64>();
    let traffic = Traffic {
        out: sum(second) / 100,
        out_bytes: sum(second),
        in_: sum(second) / 50,
        in_bytes: sum(second) * 2,
        ..Traffic::default()
    };
    Flow {
        session: "5e5510115e551011".into(),
        id,
        tunnel: Some(tunnel.into()),
        source: Some(source.into()),
        destination: Some(destination.into()),
        class: if tunnel == "dns" { "reliable" } else { "realtime" }.into(),
        age: f64::from(second) + 10.0,
        idle: 0.05 * f64::from(u32::try_from(id).unwrap_or_default()),
        queued: 300 * id,
        traffic,
    }
}

/// A model that has seen so many frames.
pub(super) fn seen(make: fn(u32) -> Frame, frames: u32) -> Model {
    let mut model = Model::new(false);
    (0..frames).for_each(|second| model.handle_frame(make(second)));
    model
}

/// What is on a screen of this size, line by line, without the blanks at their ends.
pub(super) fn shown(model: &Model, look: Look, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen in memory");
    terminal.draw(|screen| _ = draw(model, look, screen)).expect("drawing in memory");
    let buffer = terminal.backend().buffer();
    let line = |y: u16| -> String {
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(super::text::span(symbol)).unwrap_or(1).max(1);
        }
        line.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}
