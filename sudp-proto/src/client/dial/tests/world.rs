//! A virtual clock, a dialler, and what comes of each of its dials.

use std::collections::BTreeMap;

use super::*;

/// What comes of a dial, and how long after it began.
pub(super) type Fate = Vec<(Duration, Outcome)>;

pub(super) struct World {
    pub(super) dialer: Dialer,
    /// What was started, and when.
    pub(super) starts: Vec<(Duration, Start)>,
    pub(super) lost: Vec<(Duration, Lost)>,
    pub(super) attached: usize,
    pub(super) first_attached: Option<Duration>,
    pub(super) given_up: usize,
    pub(super) most_open: usize,
    /// Where time begins: after the session was made, if there is one.
    began: Instant,
    now: Instant,
    due: BTreeMap<(Instant, u64), (DialId, Outcome)>,
    count: u64,
    /// The number of links kept while a session lives.
    keeps: Option<usize>,
    fate: Box<dyn FnMut(Duration, Start) -> Fate>,
}

impl World {
    /// Servers `0..count`, preferred in this order, and nothing wanted yet.
    pub(super) fn new(count: u16, fate: impl FnMut(Duration, Start) -> Fate + 'static) -> Self {
        Self::seeded(7, count, fate)
    }

    pub(super) fn seeded(seed: u64, count: u16, fate: impl FnMut(Duration, Start) -> Fate + 'static) -> Self {
        let servers = (0..count).map(|index| ServerConfig { priority: index, ..server(&format!("s{index}")) });
        Self {
            dialer: Dialer::new(servers.collect(), DialPolicy::default(), &Seed::from(seed)),
            starts: Vec::new(),
            lost: Vec::new(),
            attached: 0,
            first_attached: None,
            given_up: 0,
            most_open: 0,
            began: *EPOCH,
            now: *EPOCH,
            due: BTreeMap::new(),
            count: 0,
            keeps: None,
            fate: Box::new(fate),
        }
    }

    /// A session on server 0 of one, with id 1, with one link.
    pub(super) fn joined(fate: impl FnMut(Duration, Start) -> Fate + 'static) -> Self {
        Self::joined_seeded(7, fate)
    }

    pub(super) fn joined_seeded(seed: u64, fate: impl FnMut(Duration, Start) -> Fate + 'static) -> Self {
        Self::joined_of(seed, 1, fate)
    }

    pub(super) fn joined_of(seed: u64, count: u16, fate: impl FnMut(Duration, Start) -> Fate + 'static) -> Self {
        let mut world = Self::seeded(seed, count, |_, _| attach(1));
        world.want(Want::NewSession);
        world.run_until(secs(1));
        world.began = world.now;
        world.starts.clear();
        world.keeps = Some(1);
        world.fate = Box::new(fate);
        world
    }

    pub(super) fn want(&mut self, want: Want) {
        self.dialer.want(self.now, want);
        self.drain();
    }

    pub(super) fn outcome(&mut self, dial: DialId, outcome: Outcome) {
        self.dialer.handle_outcome(self.now, dial, outcome);
        match outcome {
            Outcome::Attached { .. } if self.dialer.links.contains_key(&dial) => {
                self.attached += 1;
                self.first_attached.get_or_insert(self.now - self.began);
            }
            Outcome::LinkEnded { .. } if self.keeps.is_some() && self.lost.is_empty() => {
                self.dialer.want(self.now, Want::Join { server: 0, links: 1 });
            }
            Outcome::Abandoned
            | Outcome::Attached { .. }
            | Outcome::Burnt
            | Outcome::Connected
            | Outcome::Evicted
            | Outcome::LinkEnded { .. }
            | Outcome::PathFailed(_)
            | Outcome::Refused(_)
            | Outcome::UnknownSession { .. } => {}
        }
        self.drain();
    }

    /// The one link there is ends.
    pub(super) fn link_ends(&mut self, lived: Duration, acknowledged: bool) {
        let dial = *self.dialer.links.keys().next().unwrap();
        self.outcome(dial, Outcome::LinkEnded { lived, acknowledged });
    }

    pub(super) fn wake(&mut self) {
        self.dialer.handle_wake(self.now);
        self.drain();
    }

    pub(super) fn go_away(&mut self, server: usize, after: Option<Duration>, instead: Option<usize>) {
        self.dialer.handle_go_away(self.now, server, after, instead);
        self.drain();
    }

    /// Lets time pass until this long after the beginning.
    pub(super) fn run_until(&mut self, end: Duration) {
        let end = self.began + end;
        loop {
            let timeout = self.dialer.poll_timeout();
            let event = self.due.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = timeout.into_iter().chain(event).min().filter(|next| *next <= end) else { break };
            self.now = next;
            if event == Some(next) {
                let (_, (dial, outcome)) = self.due.pop_first().unwrap();
                self.outcome(dial, outcome);
            } else {
                self.drain();
            }
        }
        self.now = end;
    }

    pub(super) fn starts_at(&self) -> Vec<Duration> {
        self.starts.iter().map(|(at, _)| *at).collect()
    }

    pub(super) fn started(&self) -> Vec<usize> {
        self.starts.iter().map(|(_, start)| start.server).collect()
    }

    fn drain(&mut self) {
        for _ in 0..100 {
            let Some(action) = self.dialer.poll(self.now) else {
                assert!(self.dialer.poll_timeout().is_none_or(|at| at > self.now), "{}", self.dialer.cause());
                return;
            };
            self.most_open = self.most_open.max(self.dialer.open.len());
            match action {
                Action::GiveUp(dial) | Action::Late(dial) => {
                    self.given_up += 1;
                    self.due.retain(|_, (of, _)| *of != dial);
                }
                Action::Lose(lost) => self.lost.push((self.now - self.began, lost)),
                Action::Start(start) => self.begin(start),
            }
        }
        panic!("the dialler never has enough");
    }

    fn begin(&mut self, start: Start) {
        let at = self.now - self.began;
        self.starts.push((at, start));
        for (after, outcome) in (self.fate)(at, start) {
            self.count += 1;
            self.due.insert((self.now + after, self.count), (start.dial, outcome));
        }
    }
}

/// Two round trips of 50 ms to the welcome of this server.
pub(super) fn attach(id: u64) -> Fate {
    vec![(millis(50), Outcome::Connected), (millis(100), attached(id))]
}

pub(super) fn refuse() -> Fate {
    vec![(millis(1), Outcome::PathFailed(PathFailure::Refused))]
}

pub(super) fn swallow() -> Fate {
    Vec::new()
}
