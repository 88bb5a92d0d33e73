//! What came of the demo, in words and as an exit code.

use std::time::Duration;

use super::ledger::Missing;
use super::show::{Show, batches, plural, short};
use crate::exit::{Exit, Failure, Outcome};

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) doubled: u64,
    pub(super) missing: Missing,
    pub(super) cuts: u64,
    pub(super) links: u64,
    pub(super) replayed: u64,
    pub(super) recognised: u64,
    /// What the tunnel says it dropped.
    pub(super) dropped: String,
    pub(super) half: Option<Duration>,
    pub(super) most: Option<Duration>,
    pub(super) egress: Vec<u16>,
    pub(super) seconds: f64,
}

impl Verdict {
    /// Says it.
    pub(super) fn tell(&self, show: &Show) {
        let Self { sent, answered, doubled, missing, cuts, links, replayed, recognised, .. } = self;
        let (datagrams, lost) = (plural(*sent, "datagram"), missing.count);
        show.say("", 0);
        let counts = format!("{answered} answered, {lost} lost, {doubled} doubled");
        show.say(&format!("{datagrams} sent in {:.1} s: {counts}.", self.seconds), 0);
        let again = match recognised {
            0 => String::new(),
            _ => format!("; {recognised} came twice, and were recognised"),
        };
        let (cuts, links) = (plural(*cuts, "cut"), plural(*links, "connection"));
        show.say(&format!("{cuts}, {links}; {} replayed{again}.", batches(*replayed)), 0);
        if let (Some(half), Some(most)) = (self.half, self.most) {
            let (half, most) = (short(half), short(most));
            show.say(&format!("Round trips: half within {half}, 99 % within {most}, the cuts included."), 0);
        }
        match self.egress.as_slice() {
            [] => {}
            [port] => show.say(&format!("The echo service saw them come from one port, {port}, all the time."), 0),
            ports => {
                let ports = ports.len();
                show.say(&format!("The echo service saw them come from {ports} ports: the session was lost."), 0);
            }
        }
    }

    /// Whether it is as it should be.
    pub(super) fn outcome(&self) -> Outcome {
        let Missing { count, answers, first } = &self.missing;
        let mut wrong = Vec::new();
        if self.sent == 0 {
            wrong.push("no datagram was sent".to_owned());
        }
        if *count > 0 {
            let numbers: Vec<_> = first.iter().map(u64::to_string).collect();
            let more = if first.len() as u64 == *count { "" } else { ", ..." };
            let there = count - answers;
            wrong.push(format!(
                "{count} of {} were not answered (numbers {}{more}): {there} did not reach the echo service, {answers} did",
                plural(self.sent, "datagram"), numbers.join(", "),
            ));
        }
        if self.doubled > 0 {
            wrong.push(format!("{} came twice", plural(self.doubled, "datagram")));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        if !self.dropped.is_empty() {
            wrong.push(format!("the tunnel dropped {}", self.dropped));
        }
        Err(Failure::new(Exit::Failed, wrong.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_answered_once_is_well_and_everything_else_is_named() {
        let good = Verdict { sent: 7, answered: 7, ..Verdict::default() };
        assert_eq!(good.outcome(), Ok(()));
        let words = |verdict: &Verdict| {
            let failure = verdict.outcome().unwrap_err();
            assert_eq!(failure.exit, Exit::Failed);
            failure.message
        };
        let missing = Missing { count: 7, answers: 2, first: vec![3, 4, 5, 6, 7] };
        let bad = Verdict { sent: 99, missing, doubled: 1, dropped: "5 age".to_owned(), ..good.clone() };
        assert_eq!(
            words(&bad),
            "7 of 99 datagrams were not answered (numbers 3, 4, 5, 6, 7, ...): 5 did not reach the echo service, 2 did; \
             1 datagram came twice; the tunnel dropped 5 age"
        );
        assert_eq!(words(&Verdict { doubled: 2, ..good }), "2 datagrams came twice");
        assert_eq!(words(&Verdict::default()), "no datagram was sent");
    }
}
