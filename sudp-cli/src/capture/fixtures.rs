//! Datagrams that never were, for tests.

use crate::instance::protocol::{Direction, Record};

pub(super) fn record() -> Record {
    Record {
        at: 1_800_000_000_123_456_789,
        session: "5e5510115e551011".into(),
        flow: 3,
        tunnel: Some("dns".into()),
        source: Some("127.0.0.1:40001".into()),
        destination: Some("10.0.0.1:53".into()),
        direction: Direction::Out,
        size: 5,
        fate: "taken".into(),
        payload: Some("68656c6c6f".into()),
        missed: 0,
    }
}
