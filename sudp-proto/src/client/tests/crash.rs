//! A crash at any byte of a hello or of a welcome, either way (SESSION 13.9).

use super::rig::*;
use crate::testing::secs;

/// Who may learn of a crash at this byte: both at every byte, else in turn.
fn sees(after: usize) -> [Sees; 2] {
    [Sees::Both, [Sees::Client, Sees::Server, Sees::Nobody][after % 3]]
}

/// How many bytes an attach takes, either way, up to the client's first frame.
fn lengths() -> [(Direction, usize); 2] {
    let mut rig = Rig::new(1);
    rig.run(secs(1));
    rig.cut_all();
    rig.run(secs(1));
    let wire = &rig.wires[0];
    let head = wire.up.passed.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let upgrade = wire.down.passed.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    // A short frame: its length stands in one byte, or in the two behind it.
    let welcome = match wire.down.passed[upgrade + 1] {
        126 => 4 + usize::from(u16::from_be_bytes([wire.down.passed[upgrade + 2], wire.down.passed[upgrade + 3]])),
        short => 2 + usize::from(short),
    };
    [(Direction::Up, head + 20), (Direction::Down, upgrade + welcome + 20)]
}

#[test]
pub(super) fn a_crash_at_any_byte_of_a_later_attach_keeps_the_session_and_every_count() {
    for (way, length) in lengths() {
        for after in 0..length {
            for sees in sees(after) {
                let mut rig = Rig::new(1);
                rig.hosts[0].echoes = true;
                rig.send(b"one");
                rig.run(secs(1));
                let session = rig.client.session().id();
                rig.faults.push_back(Fault { way, after, sees });
                rig.send(b"two");
                rig.cut_all();
                rig.send(b"three");
                rig.run(secs(60));
                assert_eq!(rig.client.session().id(), session, "{way:?} {after} {sees:?}");
                assert_eq!(rig.served(), ["one", "two", "three"], "{way:?} {after} {sees:?}");
                assert_eq!(rig.answers.len(), 3, "{way:?} {after} {sees:?}");
                rig.assert_settled();
            }
        }
    }
}

#[test]
pub(super) fn a_crash_at_any_byte_of_the_first_attach_leaves_one_session_and_delivers_once() {
    for (way, length) in lengths() {
        for after in 0..length {
            for sees in sees(after) {
                let mut rig = Rig::new(1);
                rig.hosts[0].echoes = true;
                rig.faults.push_back(Fault { way, after, sees });
                rig.send(b"one");
                rig.run(secs(60));
                assert_eq!(rig.served(), ["one"], "{way:?} {after} {sees:?}");
                assert_eq!(rig.answers, ["one"], "{way:?} {after} {sees:?}");
                assert_eq!(rig.hosts[0].standing().len(), 1, "{way:?} {after} {sees:?}");
                rig.assert_settled();
            }
        }
    }
}
