//! What instances say, for tests.

use std::collections::BTreeMap;

use crate::status::{Health, Link, Reload, Role, SCHEMA, Session, Status, Traffic, Tunnel};

/// A client with everything.
pub(super) fn status() -> Status {
    let traffic = Traffic {
        out: 12_345,
        out_bytes: 1_234_567,
        in_: 54_321,
        in_bytes: 7_654_321,
        dropped_out: BTreeMap::from([("expired".into(), 10), ("queue_full".into(), 2)]),
        dropped_in: BTreeMap::new(),
        kernel_drops: 3,
        replayed: 4,
        duplicates: 5,
        links: 6,
    };
    Status {
        schema: SCHEMA,
        role: Role::Client,
        instance: Some("game".into()),
        pid: 4242,
        version: "0.1.0".into(),
        started: "2026-11-21T10:00:00Z".into(),
        uptime: 11_527.0,
        health: Health::Ok,
        reason: None,
        config: vec!["/etc/sudp/config.yaml".into()],
        reload: Some(Reload { at: "2026-11-21T12:00:00Z".into(), error: None }),
        listening: Vec::new(),
        servers: vec!["wss://example.com/sudp".into()],
        tunnels: vec![Tunnel {
            name: "dns".into(),
            spec: "udp://127.0.0.1:5005:10.0.0.1:53".into(),
            listening: Some("127.0.0.1:5005".into()),
            error: None,
        }],
        strangers: None,
        sessions: vec![Session {
            id: "5f3a".into(),
            principal: None,
            peer: Some("wss://example.com/sudp".into()),
            age: 11_500.0,
            sealed: true,
            links: vec![Link {
                ordinal: 6,
                rtt: Some(0.0241),
                rtt_min: Some(0.02),
                window: 65_536,
                in_flight: 1_200,
                suspect: false,
            }],
            flows: 17,
            traffic: traffic.clone(),
        }],
        traffic,
    }
}
