//! What a world is judged by: events, books, ledgers, and the state in which it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use sudp_proto::driver::Endpoint as _;
use sudp_proto::event::{Event, LinkLoss};
use sudp_proto::session::{Phase, Session};
use sudp_proto::stats::Counters;
use sudp_proto::wire::{Class, Code};

use super::client::{PROBE, limits};
use super::{Role, Said, World};
use crate::app::What;
use crate::audit;
use crate::clock::{NEVER, Nanos, instant};
use crate::io::Machine;
use crate::ledger::Totals;
use crate::op::Kind;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed of its plan.
    pub seed: u64,
    /// What must not happen, and did.
    pub violations: Vec<String>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// What did happen.
    pub coverage: Coverage,
    /// The last of it in words.
    pub story: String,
    /// How long it took in the world.
    pub virtual_time: Duration,
}

/// How often what happened.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Faults, by kind.
    pub ops: [u64; Kind::ALL.len()],
    /// Everything else worth counting, by its word.
    pub words: BTreeMap<&'static str, u64>,
    /// Turns that drivers took.
    pub turns: u64,
    /// Processes that clients ran as.
    pub processes: u64,
    /// Sessions that servers began.
    pub sessions: u64,
    /// Datagrams at the edges.
    pub totals: Totals,
}

impl Coverage {
    /// Counts something that only happens sometimes.
    pub(super) fn sometimes(&mut self, word: &'static str) {
        *self.words.entry(word).or_default() += 1;
    }

    pub(super) fn refused(&mut self, code: Code) {
        self.sometimes(match code {
            Code::OrdinalBurnt => "refused: ordinal burnt",
            Code::UnknownSession => "refused: unknown session",
            Code::Stale => "refused: older incarnation",
            Code::Full => "refused: full",
            Code::GoingAway => "refused: going away",
            Code::BadProof => "refused: bad proof",
            Code::Denied => "refused: denied",
            _ => "refused: other",
        });
    }

    fn count(&mut self, counters: &Counters) {
        for (word, count) in [
            ("batches resent", counters.batches_resent),
            ("duplicates recognised", counters.duplicates),
            ("suspicions", counters.suspicions),
            ("in doubt", counters.in_doubt),
        ] {
            *self.words.entry(word).or_default() += count;
        }
        for (reason, count) in counters.dropped_out.iter() {
            *self.words.entry(dropped_word(reason.as_str(), true)).or_default() += count;
        }
        for (reason, count) in counters.dropped_in.iter() {
            *self.words.entry(dropped_word(reason.as_str(), false)).or_default() += count;
        }
    }

    /// Adds another run's counts.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.ops.iter_mut().zip(other.ops) {
            *mine += theirs;
        }
        for (word, count) in &other.words {
            *self.words.entry(word).or_default() += count;
        }
        self.turns += other.turns;
        self.processes += other.processes;
        self.sessions += other.sessions;
        self.totals.sent += other.totals.sent;
        self.totals.received += other.totals.received;
        self.totals.repeated += other.totals.repeated;
    }
}

impl World {
    /// Takes note of what applications sent and got.
    pub(super) fn note_seen(&mut self) {
        let now = instant(self.now);
        while let Some(seen) = self.apps.poll_seen() {
            let (flow, sequence) = seen.stamp.map_or((0, 0), |stamp| {
                (u64::from(stamp.flow) << 1 | u64::from(stamp.answer), u64::from(stamp.sequence))
            });
            match seen.what {
                What::Garbled => {
                    self.violate(format!("a datagram of {} bytes came altered from {}", seen.len, seen.peer));
                }
                What::Sent => {
                    self.trace.note(now, Said::Sent as u8, flow, sequence);
                    self.ledger.sent(seen.stamp);
                }
                What::Received => {
                    self.trace.note(now, Said::Received as u8, flow, sequence);
                    if let Err(breach) = self.ledger.received(seen.stamp, self.calm_since.max(self.mixed_until)) {
                        self.violate(breach.to_string());
                    }
                }
            }
        }
    }

    /// Takes the events of a session, and judges them.
    pub(super) fn drain_events(&mut self, machine: Machine) {
        loop {
            let Some(process) = self.drivers.get_mut(&machine) else { return };
            let (session, client, home) = match &mut process.role {
                Role::Client { driver, client } => (driver.endpoint_mut().session(), Some(*client), None),
                Role::Session { driver, server, id, .. } => {
                    (driver.endpoint_mut().session(), None, Some((*server, *id)))
                }
                Role::Incoming { .. } => return,
            };
            let Some(event) = session.and_then(Session::poll_event) else { return };
            self.judge(machine, client, &event);
            if let Some((server, id)) = home {
                self.tell_registry(server, id, &event);
            }
        }
    }

    fn judge(&mut self, machine: Machine, client: Option<usize>, event: &Event) {
        let word = word_of(event);
        self.coverage.sometimes(word.1);
        self.trace.note(instant(self.now), Said::Event as u8, u64::from(machine.0), word.0);
        let name = client.map_or_else(|| format!("server machine {}", machine.0), |client| format!("client {client}"));
        self.judge_tokens(machine, client, event);
        match event {
            Event::BooksDiffer { .. } => self.violate(format!("{name}: {event:?}")),
            Event::LinkEnded { why, .. } => {
                self.unsettle();
                self.cuts += u32::from(client == Some(0));
                // Somebody who flips bits of a sealed link shall be noticed.
                let meddled = self.plan.sealed && *why == LinkLoss::Violation(Code::Sealing);
                if matches!(why, LinkLoss::Violation(_)) && !meddled {
                    self.violate(format!("{name}: {event:?}"));
                }
            }
            Event::LinkUp { .. } | Event::LinkSuspect { .. } | Event::LinkCleared { .. } => self.unsettle(),
            // A source whose flow closes goes on with another one, and datagrams of both are under way.
            Event::FlowClosed { .. } | Event::FlowOpened { .. } => self.unsettle(),
            Event::RenewalAsked => self.renewal_asked(machine),
            Event::Closed { code, .. } => self.judge_end(&name, *code, event),
            Event::Lost { code, .. } => {
                self.unsettle();
                for sender in self.senders.clone() {
                    self.ledger.lose(sender.flow);
                }
                self.judge_end(&name, *code, event);
            }
            _ => {}
        }
    }

    /// Links have changed: what was sent before may be overtaken, and so may all while there are several.
    pub(super) fn unsettle(&mut self) {
        let several = |session: &Session| session.links().nth(1).is_some();
        let several = self.drivers.values().any(|process| match &process.role {
            Role::Client { driver, .. } => several(driver.endpoint().session()),
            Role::Session { driver, .. } => several(driver.endpoint().session()),
            Role::Incoming { .. } => false,
        });
        // What was put off stays put off.
        self.calm_since = match (several, self.calm_since) {
            (true, _) => NEVER,
            (false, NEVER) => self.now,
            (false, since) => since.max(self.now),
        };
    }

    /// A session may end for these reasons; others mean that one side misunderstood the other.
    fn judge_end(&mut self, name: &str, code: Code, event: &Event) {
        let harmless = matches!(
            code,
            Code::Done
                | Code::GoingAway
                | Code::Silent
                | Code::Evicted
                | Code::Stale
                | Code::Denied
                | Code::UnknownSession
                | Code::Poison
        );
        if !harmless && (code != Code::Expired || self.tokens.is_none()) {
            self.violate(format!("{name}: {event:?}"));
        }
    }

    /// The laws of every session, and those between the halves of one.
    pub(super) fn audit(&mut self) {
        self.audited_at = self.now;
        let mut found = Vec::new();
        let mut reports = BTreeMap::new();
        for process in self.drivers.values() {
            let (session, half) = match &process.role {
                Role::Client { driver, .. } => (driver.endpoint().session(), 0),
                Role::Session { driver, .. } => (driver.endpoint().session(), 1),
                Role::Incoming { .. } => continue,
            };
            match audit::half(session) {
                Ok(report) => {
                    if let (Some(id), false) = (session.id(), matches!(session.phase(), Phase::Closed(_))) {
                        reports.insert((id, half), report);
                    }
                }
                Err(breach) => found.push(breach),
            }
        }
        for ((id, half), report) in &reports {
            if *half == 0
                && let Some(other) = reports.get(&(*id, 1))
                && let Err(breach) = audit::pair(report, other)
            {
                found.push(breach);
            }
        }
        self.violations.extend(found);
        self.audit_tokens();
    }

    /// Links are replaced at times of their own, so that a moment may be the wrong one.
    pub(super) fn wait_settled(&mut self, end: Nanos) {
        for moment in 1..=MOMENTS {
            if self.settled().is_ok() {
                return;
            }
            while self.step(end + moment * MOMENT) {}
        }
    }

    /// All is sound for a while: both halves agree, nothing is left over, and every probe came through.
    pub(super) fn check_settled(&mut self) {
        self.audit();
        if let Err(breach) = self.settled() {
            self.violate(breach);
        }
        self.check_probes();
        self.check_tokens();
    }

    fn settled(&self) -> Result<(), String> {
        let machine = self.clients[0].machine.ok_or("there is no client")?;
        let Some(Role::Client { driver, .. }) = self.drivers.get(&machine).map(|process| &process.role) else {
            return Err("the client's process is none".to_owned());
        };
        let session = driver.endpoint().session();
        if session.phase() != Phase::Established || session.links().next().is_none() {
            let (phase, deadline) = (session.phase(), driver.endpoint().poll_timeout());
            return Err(format!("the client is not connected after all faults: {phase:?}, waits for {deadline:?}"));
        }
        let other = session.id().and_then(|id| {
            let server = self.servers.iter().find_map(|server| server.sessions.get(&id))?;
            match self.drivers.get(server).map(|process| &process.role) {
                Some(Role::Session { driver, .. }) => Some(driver.endpoint().session().report()),
                Some(Role::Client { .. } | Role::Incoming { .. }) | None => None,
            }
        });
        let other = other.ok_or("no server has the client's session")?;
        audit::settled(&session.report(), &other)?;
        let links = session.links().count();
        if links == self.plan.links {
            Ok(())
        } else {
            Err(format!("{links} links live, {} are wanted", self.plan.links))
        }
    }

    fn check_probes(&mut self) {
        let probes: Vec<_> = self.senders.iter().filter(|sender| sender.probe).copied().collect();
        for probe in probes {
            let (sent, received) = self.ledger.counts(probe.flow, false);
            let (answered, answers) = self.ledger.counts(probe.flow, true);
            let each = self.answers(probe.tunnel);
            let plan = &self.plan.tunnels[probe.tunnel];
            // What a slow line cannot carry while it is fresh is dropped, and the books have it.
            if plan.treatment.class == Class::Realtime && !self.plan.stays_fresh(PROBE.1, limits(1).realtime_age) {
                continue;
            }
            // Links are replaced at their age at any time. What of class realtime was under way on one that
            // ended is sent again only while it is fresh; no two probes are under way at once.
            let cuts = if plan.treatment.class == Class::Realtime { self.cuts } else { 0 };
            // Before a source has spoken twice, what it is answered with has a budget for all flows of its address.
            let withheld = u64::from(each).min(self.withheld().saturating_sub(self.withheld));
            let withheld = u32::try_from(withheld).expect("no more than one question is answered with");
            let came = received <= sent && received + cuts >= sent && answered == received * each;
            if sent == 0 || !came || answers > answered || answers + cuts * each + withheld < answered {
                let way = if plan.forward { "forward" } else { "reverse" };
                let treatment = plan.treatment;
                self.violate(format!(
                    "tunnel {} ({way}, {treatment:?}) is not sound at the end: {sent} sent, {received} came, \
                     {answered} answered, {answers} answers came",
                    probe.tunnel + 1
                ));
            }
        }
    }

    pub(super) fn finish(mut self) -> Outcome {
        let mut all = Vec::new();
        for process in self.drivers.values() {
            match &process.role {
                Role::Client { driver, .. } => all.push(driver.endpoint().session().counters()),
                Role::Session { driver, .. } => all.push(driver.endpoint().session().counters()),
                Role::Incoming { .. } => {}
            }
        }
        all.iter().for_each(|counters| self.coverage.count(counters));
        self.coverage.totals = self.ledger.totals();
        Outcome {
            seed: self.plan.seed,
            hash: self.trace.hash(),
            story: self.trace.story(Said::tell),
            violations: self.violations,
            coverage: self.coverage,
            virtual_time: Duration::from_nanos(self.now),
        }
    }

    /// The story so far.
    pub fn story(&self) -> String {
        self.trace.story(Said::tell)
    }

    /// When the laws were last looked at.
    pub fn audited_at(&self) -> Nanos {
        self.audited_at
    }
}

/// A number and a word for an event.
fn word_of(event: &Event) -> (u64, &'static str) {
    let number = match event {
        Event::BooksDiffer { .. } => 0,
        Event::Closed { .. } => 1,
        Event::Detached => 2,
        Event::FlowClosed { .. } => 3,
        Event::FlowOpened { .. } => 4,
        Event::FlowJudged { decision, .. } if decision.allowed => 25,
        Event::FlowJudged { .. } => 24,
        Event::GoAway(_) => 5,
        Event::LinkCleared { .. } => 6,
        Event::LinkEnded { why, .. } => match why {
            LinkLoss::Ended => 7,
            LinkLoss::Fenced => 8,
            LinkLoss::GivenUp => 9,
            LinkLoss::Replaced => 10,
            LinkLoss::Silent => 11,
            LinkLoss::Suspect => 12,
            LinkLoss::Violation(Code::Sealing) => 23,
            _ => 13,
        },
        Event::LinkSuspect { .. } => 14,
        Event::LinkUp { .. } => 15,
        Event::Lost { .. } => 16,
        Event::Paused => 17,
        Event::Poisoned { .. } => 18,
        Event::Started { .. } => 19,
        Event::TunnelBound { outcome: Ok(_), .. } => 20,
        Event::TunnelBound { outcome: Err(_), .. } => 21,
        _ => 22,
    };
    (number, event_word(number))
}

/// The word for an event's number.
pub(super) fn event_word(number: u64) -> &'static str {
    const WORDS: [&str; 26] = [
        "books differ",
        "session closed",
        "detached",
        "flow closed",
        "flow opened",
        "go away heard",
        "link cleared",
        "link ended by the stream",
        "link fenced",
        "dial given up",
        "link replaced",
        "link silent",
        "link suspect for too long",
        "link ended otherwise",
        "link suspect",
        "link up",
        "session lost",
        "pause noticed",
        "batch poisoned",
        "session started",
        "tunnel bound",
        "tunnel not bound",
        "other event",
        "link meddled with",
        "flow denied",
        "flow allowed",
    ];
    usize::try_from(number).ok().and_then(|number| WORDS.get(number)).copied().unwrap_or("?")
}

/// The word under which drops of a reason are counted.
fn dropped_word(reason: &str, out: bool) -> &'static str {
    match (reason, out) {
        ("age", true) => "dropped out: age",
        ("closed", true) => "dropped out: closed",
        ("codel", true) => "dropped out: codel",
        ("denied", true) => "dropped out: denied",
        ("full", true) => "dropped out: full",
        ("poison", true) => "dropped out: poison",
        ("stale", true) => "dropped out: stale",
        (_, true) => "dropped out: other",
        ("age", false) => "dropped in: age",
        ("closed", false) => "dropped in: closed",
        ("denied", false) => "dropped in: denied",
        ("full", false) => "dropped in: full",
        ("late", false) => "dropped in: late",
        ("rate", false) => "dropped in: rate",
        ("unconfirmed", false) => "dropped in: unconfirmed",
        ("unreachable", false) => "dropped in: unreachable",
        (_, false) => "dropped in: other",
    }
}

/// How long, and how often, the end waits for a moment at which no link is being replaced.
const MOMENT: Nanos = 250_000_000;
const MOMENTS: u64 = 60;
