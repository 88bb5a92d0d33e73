//! What applications sent and got, and what must hold between the two.

use std::fmt;

use crate::app::Stamp;
use crate::clock::Nanos;

/// Everything that was sent and received at the edges of a tunnel, by conversation and direction.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: Vec<Line>,
    empty_sent: u64,
    empty_received: u64,
    totals: Totals,
}

/// All conversations together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Datagrams handed to the network by applications and services.
    pub sent: u64,
    /// Datagrams that reached one.
    pub received: u64,
    /// Datagrams received more than once because a lost session's tunnel asked for it.
    pub repeated: u64,
}

/// How a conversation is allowed to treat its datagrams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// Its order is kept while one link lives.
    pub ordered: bool,
    /// What is in doubt when a session is lost is sent again.
    pub resends: bool,
}

/// Something that must not happen to a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breach {
    /// It came, but nobody sent it.
    Unsent(Stamp),
    /// It came more often than it was sent.
    Twice(Stamp),
    /// It came behind one that was sent later, although one link lived all the time.
    Order(Stamp),
    /// An empty datagram came that nobody sent.
    Empty,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, stamp) = match self {
            Self::Unsent(stamp) => ("nobody sent", stamp),
            Self::Twice(stamp) => ("delivered more often than sent:", stamp),
            Self::Order(stamp) => ("overtaken on one link:", stamp),
            Self::Empty => return f.write_str("more empty datagrams delivered than sent"),
        };
        let way = if stamp.answer { "answer" } else { "datagram" };
        write!(f, "{what} {way} {} of flow {}, sent at {} us", stamp.sequence, stamp.flow, stamp.sent_micros)
    }
}

/// One direction of one conversation.
#[derive(Debug, Default)]
struct Line {
    terms: Terms,
    /// How often a session was lost under it.
    losses: u8,
    marks: Vec<Mark>,
    /// How many were sent.
    count: u32,
    /// The latest that came, counted in the order of sending.
    top: u32,
    received: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    sent: u8,
    received: u8,
    /// How many were sent before it.
    position: u32,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Agrees on the terms of both directions of a conversation.
    pub fn agree(&mut self, flow: u32, terms: Terms) {
        self.line(flow, false).terms = terms;
        self.line(flow, true).terms = Terms { resends: false, ..terms };
    }

    /// The session under a conversation was lost: what is in doubt may be sent again.
    pub fn lose(&mut self, flow: u32) {
        for answer in [false, true] {
            let line = self.line(flow, answer);
            line.losses = line.losses.saturating_add(1);
        }
    }

    /// Takes note of what was sent.
    pub fn sent(&mut self, stamp: Option<Stamp>) {
        self.totals.sent += 1;
        let Some(stamp) = stamp else {
            self.empty_sent += 1;
            return;
        };
        let line = self.line(stamp.flow, stamp.answer);
        let position = line.count;
        line.count += 1;
        let mark = line.mark(stamp.sequence);
        mark.sent = mark.sent.saturating_add(1);
        mark.position = position;
    }

    /// Takes note of what was received, and judges it; `calm_since` is since when one link has lived.
    pub fn received(&mut self, stamp: Option<Stamp>, calm_since: Nanos) -> Result<(), Breach> {
        self.totals.received += 1;
        let Some(stamp) = stamp else {
            self.empty_received += 1;
            return if self.empty_received > self.empty_sent { Err(Breach::Empty) } else { Ok(()) };
        };
        let calm = stamp.sent_micros.saturating_mul(1_000) > calm_since;
        let line = self.line(stamp.flow, stamp.answer);
        line.received += 1;
        let most = if line.terms.resends { u16::from(line.losses) + 1 } else { 1 };
        let mark = line.mark(stamp.sequence);
        if mark.sent == 0 {
            return Err(Breach::Unsent(stamp));
        }
        mark.received = mark.received.saturating_add(1);
        let Mark { sent, received, position } = *mark;
        if u16::from(received) > u16::from(sent).saturating_mul(most) {
            return Err(Breach::Twice(stamp));
        }
        // Of one that was sent twice nobody can tell which it is.
        let overtaken = line.terms.ordered && calm && sent == 1 && position < line.top;
        if sent == 1 {
            line.top = line.top.max(position);
        }
        if received > sent {
            self.totals.repeated += 1;
        }
        if overtaken { Err(Breach::Order(stamp)) } else { Ok(()) }
    }

    /// How many were sent and received in one direction of a conversation.
    pub fn counts(&self, flow: u32, answer: bool) -> (u32, u32) {
        self.lines.get(index(flow, answer)).map_or((0, 0), |line| (line.count, line.received))
    }

    /// Which of a conversation were sent and never came, by their sequence.
    pub fn missing(&self, flow: u32, answer: bool) -> impl Iterator<Item = u32> + '_ {
        let marks = self.lines.get(index(flow, answer)).map_or(&[][..], |line| &line.marks);
        (0..).zip(marks).filter(|(_, mark)| mark.sent > 0 && mark.received == 0).map(|(sequence, _)| sequence)
    }

    /// All conversations together.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    fn line(&mut self, flow: u32, answer: bool) -> &mut Line {
        let index = index(flow, answer);
        if self.lines.len() <= index {
            self.lines.resize_with(index + 1, Line::default);
        }
        &mut self.lines[index]
    }
}

impl Line {
    fn mark(&mut self, sequence: u32) -> &mut Mark {
        let index = usize::try_from(sequence).unwrap_or(usize::MAX);
        if self.marks.len() <= index {
            self.marks.resize(index + 1, Mark::default());
        }
        &mut self.marks[index]
    }
}

fn index(flow: u32, answer: bool) -> usize {
    usize::try_from(flow).unwrap_or(usize::MAX) * 2 + usize::from(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(sequence: u32) -> Option<Stamp> {
        Some(Stamp { flow: 3, answer: false, sequence, sent_micros: 10 + u64::from(sequence) })
    }

    #[test]
    fn what_was_sent_may_come_once_and_what_was_not_never() {
        let mut ledger = Ledger::new();
        ledger.sent(stamp(1));
        assert_eq!(ledger.received(stamp(0), 0), Err(Breach::Unsent(stamp(0).unwrap())));
        assert_eq!(ledger.received(stamp(1), 0), Ok(()));
        assert_eq!(ledger.received(stamp(1), 0), Err(Breach::Twice(stamp(1).unwrap())));
        assert_eq!(ledger.received(None, 0), Err(Breach::Empty));
    }

    #[test]
    fn what_an_application_sends_twice_may_come_twice() {
        let mut ledger = Ledger::new();
        ledger.sent(stamp(1));
        ledger.sent(stamp(1));
        assert_eq!(ledger.received(stamp(1), 0), Ok(()));
        assert_eq!(ledger.received(stamp(1), 0), Ok(()));
        assert!(ledger.received(stamp(1), 0).is_err());
    }

    #[test]
    fn order_is_judged_by_sending_and_only_while_one_link_lives() {
        let mut ledger = Ledger::new();
        ledger.agree(3, Terms { ordered: true, resends: false });
        for sequence in [2, 0, 1] {
            ledger.sent(stamp(sequence));
        }
        assert_eq!(ledger.received(stamp(2), 0), Ok(()));
        assert_eq!(ledger.received(stamp(1), 0), Ok(()));
        assert_eq!(ledger.received(stamp(0), 50_000), Ok(()), "sent before the link changed");
        let mut again = ledger;
        again.sent(stamp(5));
        again.sent(stamp(6));
        assert_eq!(again.received(stamp(6), 0), Ok(()));
        assert_eq!(again.received(stamp(5), 0), Err(Breach::Order(stamp(5).unwrap())));
    }

    #[test]
    fn a_repetition_is_allowed_once_for_each_lost_session_where_it_was_asked_for() {
        let mut ledger = Ledger::new();
        ledger.agree(3, Terms { ordered: false, resends: true });
        ledger.sent(stamp(1));
        assert_eq!(ledger.received(stamp(1), 0), Ok(()));
        assert!(ledger.received(stamp(1), 0).is_err());
        ledger.lose(3);
        let mut ledger = Ledger { totals: Totals::default(), ..ledger };
        ledger.lines[6].marks[1].received = 1;
        assert_eq!(ledger.received(stamp(1), 0), Ok(()));
        assert!(ledger.received(stamp(1), 0).is_err());
        assert_eq!(ledger.missing(3, false).count(), 0);
    }
}
