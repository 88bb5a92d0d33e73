//! When to send a PING, so that a silent path is noticed and a quiet one costs little.

use std::time::Duration;
use std::time::Instant;

/// The schedule of one link's PINGs.
///
/// It counts from the last *proof* that what we sent was read, never from the last byte received: a
/// busy download would otherwise starve the PING and hide a dead upward path.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    proof: Instant,
    step: usize,
    /// When data first arrived since the proof.
    heard: Option<Instant>,
    waiting: Option<(u64, Instant)>,
    next: u64,
}

impl Heartbeat {
    /// A schedule that begins with a proof: the welcome, or the hello.
    pub fn new(now: Instant) -> Self {
        Self { proof: now, step: 0, heard: None, waiting: None, next: 1 }
    }

    /// The remote acknowledged something.
    pub fn handle_ack(&mut self, now: Instant) {
        self.proof = now;
        self.step = 0;
        self.heard = None;
    }

    /// Data arrived, which proves nothing about what we send.
    pub fn handle_data(&mut self, now: Instant) {
        self.heard.get_or_insert(now);
    }

    /// A PONG came; returns when its PING was sent.
    pub fn handle_pong(&mut self, now: Instant, number: u64) -> Option<Instant> {
        let (_, sent) = self.waiting.take_if(|(waiting, _)| *waiting == number)?;
        self.proof = now;
        // While data comes the PINGs must not thin out: whoever only receives has no other way to learn of a cut.
        self.step = if self.heard.is_some() { 0 } else { (self.step + 1).min(STEPS.len() - 1) };
        self.heard = None;
        Some(sent)
    }

    /// Sends a PING now; returns its number.
    pub fn ping(&mut self, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting = Some((number, now));
        number
    }

    /// When the next PING is due; none while one is unanswered.
    pub fn due(&self) -> Option<Instant> {
        let due = match self.heard {
            // Never before the data that brings it forward: a deadline in the past would look like a pause of ours.
            Some(heard) => heard.max(self.proof + STEPS[0]).min(self.proof + STEPS[self.step]),
            None => self.proof + STEPS[self.step],
        };
        self.waiting.is_none().then_some(due)
    }

    /// When the unanswered PING was sent.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting.map(|(_, sent)| sent)
    }
}

/// Waits after a proof, each after a PONG that followed the one before; traffic begins anew.
const STEPS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(10),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{epoch, secs};

    #[test]
    fn pings_thin_out_on_a_quiet_link_and_stay_at_ten_seconds() {
        let mut now = epoch();
        let mut beat = Heartbeat::new(now);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let due = beat.due().unwrap();
            waits.push((due - now).as_secs());
            now = due;
            let number = beat.ping(now);
            assert_eq!(beat.due(), None, "one PING at a time");
            assert_eq!(beat.handle_pong(now, number), Some(now));
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10, 10]);
    }

    #[test]
    fn data_that_arrives_brings_the_ping_forward_but_does_not_put_it_off() {
        let start = epoch();
        let mut beat = Heartbeat::new(start);
        for _ in 0..4 {
            let number = beat.ping(start);
            beat.handle_pong(start, number);
        }
        assert_eq!(beat.due(), Some(start + secs(10)));
        beat.handle_data(start);
        beat.handle_data(start + secs(5));
        assert_eq!(beat.due(), Some(start + secs(1)));
    }

    #[test]
    fn data_that_arrives_late_asks_for_a_ping_then_and_not_in_the_past() {
        let start = epoch();
        let mut beat = Heartbeat::new(start);
        for _ in 0..4 {
            let number = beat.ping(start);
            beat.handle_pong(start, number);
        }
        beat.handle_data(start + secs(7));
        assert_eq!(beat.due(), Some(start + secs(7)));
    }

    #[test]
    fn pings_do_not_thin_out_while_data_arrives_between_them() {
        let mut now = epoch();
        let mut beat = Heartbeat::new(now);
        for _ in 0..7 {
            beat.handle_data(now);
            now += secs(1);
            assert_eq!(beat.due(), Some(now));
            let number = beat.ping(now);
            beat.handle_pong(now, number);
            assert_eq!(beat.due(), Some(now + secs(1)), "even if nothing more comes");
        }
    }

    #[test]
    fn a_pong_nobody_waits_for_proves_nothing() {
        let now = epoch();
        let mut beat = Heartbeat::new(now);
        let number = beat.ping(now);
        assert_eq!(beat.handle_pong(now, number + 1), None);
        assert_eq!(beat.waiting_since(), Some(now));
        assert_eq!(beat.handle_pong(now, number), Some(now));
        assert_eq!(beat.handle_pong(now, number), None);
    }
}
