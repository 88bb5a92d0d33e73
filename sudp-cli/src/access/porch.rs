//! In front of the gate: who has guessed wrong waits here, and whoever is not let in leaves from here, all of them alike.
//!
//! A stranger learns nothing from what it gets, and nothing from how long that takes. Whatever it asked for (another
//! path, no upgrade, our path with a wrong password or with none), the answer is the same, and comes at the same
//! moments: when so much time has passed, or twice as much where finding out took longer. That costs no work, unlike a
//! password checked for every request to no path at all. Whoever shows credentials where nobody asked for them is taken
//! for one who guesses, for otherwise what becomes of guesses would tell which path is ours.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sudp_tokio::proto::link::RequestHead;
use sudp_tokio::{Stranger, Visit};

use super::Identity;
use super::audit::{Audit, Entry, What};
use super::penalty::{Judgement, Penalties};
use super::sessions::Sessions;
use super::stranger::Answers;
use crate::config::Config;
use crate::exit::Outcome;
use crate::run::lock;

/// What stands in front of the gate.
#[derive(Debug)]
pub(crate) struct Porch {
    penalties: Penalties,
    audit: Audit,
    pub(super) sessions: Sessions,
    answers: Mutex<Arc<Answers>>,
    refused: AtomicU64,
    delayed: AtomicU64,
}

/// What has happened there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Counts {
    /// Who was not let in.
    pub(crate) refused: u64,
    /// Who had to wait, since its source had guessed wrong.
    pub(crate) delayed: u64,
    /// How many sources are penalised at the moment.
    pub(crate) penalised: usize,
}

impl Porch {
    /// As it is configured.
    pub(crate) fn new(config: &Config) -> Outcome<Self> {
        let settings = &config.server;
        Ok(Self {
            penalties: Penalties::new(config.limits.auth_deadline),
            audit: Audit::open(settings.audit.as_deref(), &config.log)?,
            sessions: Sessions::default(),
            answers: Mutex::new(Arc::new(Answers::load(&settings.strangers)?)),
            refused: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        })
    }

    /// From now on strangers get this.
    pub(crate) fn change(&self, answers: Answers) {
        *lock(&self.answers) = Arc::new(answers);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            refused: self.refused.load(Ordering::Relaxed),
            delayed: self.delayed.load(Ordering::Relaxed),
            penalised: self.penalties.count(Instant::now()),
        }
    }

    /// One was not let in, and leaves by itself.
    pub(super) fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether what is of no harm is written down, too.
    pub(super) fn is_thorough(&self) -> bool {
        self.audit.is_thorough()
    }

    /// Writes down what happened.
    pub(crate) fn say(&self, entry: &Entry<'_>) {
        self.audit.say(entry);
    }

    /// Lets one wait whose source has guessed wrong, until it is its turn. Says whether it has one.
    ///
    /// Who has proved who it is by a key has nothing to guess.
    pub(crate) async fn wait(&self, visit: &Visit) -> bool {
        let proved = visit.certificate.is_some() || visit.key.is_some();
        if proved && !shows_something(&visit.claim.head) { true } else { self.wait_from(visit.from).await }
    }

    async fn wait_from(&self, from: SocketAddr) -> bool {
        match self.penalties.judge(Instant::now(), from.ip()) {
            Judgement::Now => return true,
            Judgement::After(wait) => {
                self.delayed.fetch_add(1, Ordering::Relaxed);
                let mut turn = Turn { penalties: &self.penalties, from: from.ip(), taken: false };
                tokio::time::sleep(wait).await;
                turn.taken = true;
                return true;
            }
            Judgement::Never => {}
        }
        self.refused(from, "too many of its source wait");
        false
    }

    /// Writes down that somebody is let in.
    pub(crate) fn let_in(&self, from: SocketAddr, who: &Identity) {
        let via = format!("{:?}", who.via).to_lowercase();
        let (from, principal) = (Some(from), &*who.principal);
        self.say(&Entry { from, principal, via: &via, ..Entry::of(What::Admitted) });
    }

    /// Counts and writes down that one is not let in, for no fault of its own.
    pub(crate) fn refused(&self, from: SocketAddr, reason: &str) {
        self.count_refusal();
        self.say(&Entry { from: Some(from), reason, ..Entry::of(What::Refused) });
    }

    /// Somebody who is in has shown a credential that is not good: it stays, and is one that guesses.
    pub(crate) fn not_renewed(&self, from: SocketAddr, principal: &str, why: &str) {
        self.penalties.failed(Instant::now(), from.ip());
        let reason = format!("its new credential: {why}");
        self.say(&Entry { from: Some(from), principal, reason: &reason, ..Entry::of(What::Refused) });
    }

    /// What one gets to see who came at this moment and is not let in, for a reason that nobody is told but the audit.
    pub(crate) async fn turn_away(&self, since: Instant, from: SocketAddr, head: &RequestHead, why: &str) -> Stranger {
        if shows_something(head) {
            self.penalties.failed(Instant::now(), from.ip());
        }
        self.refused(from, why);
        let answer = lock(&self.answers).answer(head);
        tokio::time::sleep(left(since.elapsed())).await;
        answer
    }

    /// What one gets to see who asked for something that is not ours.
    pub(crate) async fn see_off(&self, since: Instant, from: SocketAddr, head: &RequestHead) -> Stranger {
        if !self.wait_from(from).await {
            return Stranger::Drop;
        }
        if shows_something(head) {
            return self.turn_away(since, from, head, "credentials for something that is not here").await;
        }
        let answer = lock(&self.answers).answer(head);
        tokio::time::sleep(left(since.elapsed())).await;
        answer
    }
}

/// The turn of one that waits. Whoever hangs up meanwhile is not waited for any more, and gives it back.
struct Turn<'a> {
    penalties: &'a Penalties,
    from: IpAddr,
    taken: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.taken {
            self.penalties.give_back(self.from);
        }
    }
}

/// Whether a request shows credentials.
fn shows_something(head: &RequestHead) -> bool {
    head.headers("Authorization").next().is_some()
}

/// How long it is to the next moment at which strangers are answered.
fn left(passed: Duration) -> Duration {
    let moments = passed.as_nanos() / MOMENT.as_nanos() + 1;
    MOMENT.saturating_mul(u32::try_from(moments).unwrap_or(u32::MAX)) - passed
}

/// Between two moments at which strangers are answered: more than it takes to check a password, and less than anybody
/// minds.
const MOMENT: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t29_strangers_are_answered_at_the_same_moments_whatever_it_took_to_know_them() {
        let at = |millis: u64| Duration::from_millis(millis) + left(Duration::from_millis(millis));
        assert_eq!([0, 1, 90, 299].map(at), [MOMENT; 4]);
        assert_eq!([300, 301, 450].map(at), [MOMENT * 2; 3]);
    }
}
