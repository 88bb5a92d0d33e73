//! One dial: look the host up, race its addresses, upgrade, hear the welcome.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answer::PERMANENT;
use super::dial::{DialId, Outcome, PathFailure, Purpose, Race, Start, State};
use super::showing::{AUTHORIZATION, Shown};
use super::{Client, DialError, DialFailure};
use crate::config::client::Scheme;
use crate::driver::{Key, Order};
use crate::event::LinkLoss;
use crate::link::{self, ClientUpgrade, Initiator, Link, LinkStage, UpgradeError};
use crate::rng::Seed;
use crate::wire::{Hello, Host, Ordinal, base64};

/// A dial under way.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) start: Start,
    pub(super) stage: Stage,
    /// The address that was tried last.
    to: Option<SocketAddr>,
    pub(super) shown: Shown,
    /// How often the credential had changed when this was shown.
    pub(super) changes: u64,
}

#[derive(Debug)]
pub(super) enum Stage {
    Resolving(Key),
    /// Streams by the number of their address in the race.
    Racing(Race, Vec<Runner>),
    /// Connected, and nothing more is wanted.
    Probed(Key),
    Upgrading(Key, Greeting),
}

/// The hello that was sent.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) ordinal: Ordinal,
    pub(super) raw: Bytes,
}

/// One of the addresses of a race.
#[derive(Debug)]
pub(super) struct Runner {
    to: SocketAddr,
    /// Its stream, until that fails.
    key: Option<Key>,
}

impl Attempt {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Racing(race, _) => race.poll_timeout(),
            Stage::Resolving(_) | Stage::Probed(_) | Stage::Upgrading(..) => None,
        }
    }

    fn keys(&self) -> Vec<Key> {
        match &self.stage {
            Stage::Resolving(_) => Vec::new(),
            Stage::Racing(_, runners) => runners.iter().filter_map(|runner| runner.key).collect(),
            Stage::Probed(key) | Stage::Upgrading(key, _) => vec![*key],
        }
    }
}

impl Client {
    pub(super) fn start(&mut self, now: Instant, start: Start) {
        let Some(server) = self.config.servers.get(start.server) else { return };
        let unprotected = server.scheme == Scheme::Wss && self.tls.is_none();
        let address = self.proxies.get(&start.server).map_or(&server.address, |(address, _)| address).clone();
        let key = self.carrier.draw();
        let attempt =
            Attempt { start, stage: Stage::Resolving(key), to: None, shown: Shown::Nothing, changes: self.changes };
        self.attempts.insert(start.dial, attempt);
        if unprotected {
            return self.fail(now, start.dial, Outcome::Refused(PERMANENT), DialError::TlsMissing);
        }
        match address.host {
            Host::Ip(ip) => self.resolved(now, key, &[SocketAddr::new(ip, address.port)]),
            Host::Name(host) => self.carrier.order(Order::Resolve { key, host, port: address.port }),
        }
    }

    pub(super) fn resolved(&mut self, now: Instant, key: Key, answers: &[SocketAddr]) {
        let waits = |attempt: &Attempt| matches!(attempt.stage, Stage::Resolving(waiting) if waiting == key);
        let Some((&dial, attempt)) = self.attempts.iter_mut().find(|(_, attempt)| waits(attempt)) else { return };
        if answers.is_empty() {
            return self.fail(now, dial, Outcome::PathFailed(PathFailure::Unresolved), DialError::Unresolved);
        }
        attempt.stage = Stage::Racing(Race::new(now, answers, CONNECT), Vec::new());
        self.race(now, dial);
    }

    /// Begins whatever connections of a race are due.
    pub(super) fn race(&mut self, now: Instant, dial: DialId) {
        let Some(Attempt { stage: Stage::Racing(race, runners), to: last, .. }) = self.attempts.get_mut(&dial) else {
            return;
        };
        while let Some(to) = race.poll_attempt(now) {
            let key = self.carrier.draw();
            runners.push(Runner { to, key: Some(key) });
            *last = Some(to);
            self.carrier.order(Order::Dial { key, to });
        }
        if let State::Lost(why) = race.state() {
            self.fail(now, dial, Outcome::PathFailed(why), DialError::Connect(io::ErrorKind::TimedOut));
        }
    }

    pub(super) fn connected(&mut self, now: Instant, key: Key) {
        let Some((dial, number)) = self.racing(key) else { return self.carrier.order(Order::Close(key)) };
        let Some(attempt) = self.attempts.get_mut(&dial) else { return };
        let Stage::Racing(race, runners) = &mut attempt.stage else { return };
        if !race.handle_connected(number) {
            return self.carrier.order(Order::Close(key));
        }
        let others: Vec<Key> = runners.iter().filter_map(|runner| runner.key).filter(|other| *other != key).collect();
        attempt.to = Some(runners[number].to);
        let start = attempt.start;
        attempt.stage = Stage::Probed(key);
        for other in others {
            self.carrier.order(Order::Close(other));
        }
        self.dialer.handle_outcome(now, dial, Outcome::Connected);
        match start.purpose {
            Purpose::Probe => {}
            Purpose::Join | Purpose::NewSession => self.upgrade(now, start, key),
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, key: Key, why: io::ErrorKind) {
        let Some((dial, number)) = self.racing(key) else {
            // A probe's stream broke: it has shown what it was for.
            return self.forget_stream(key);
        };
        if let Some(Attempt { stage: Stage::Racing(race, runners), to, .. }) = self.attempts.get_mut(&dial) {
            race.handle_failed(number, failure(why));
            runners[number].key = None;
            *to = Some(runners[number].to);
            if let State::Lost(how) = race.state() {
                return self.fail(now, dial, Outcome::PathFailed(how), DialError::Connect(why));
            }
        }
        self.race(now, dial);
    }

    /// Asks for the upgrade; the hello is written now, with an ordinal and counts of this moment.
    fn upgrade(&mut self, now: Instant, start: Start, key: Key) {
        let Some(mut hello) = self.carrier.session.hello(now) else {
            return self.end_attempt(now, start.dial, Outcome::Abandoned);
        };
        let joins = hello.attach.is_some();
        if joins != (start.purpose == Purpose::Join) {
            // The session was made or lost while this dial connected.
            self.carrier.session.detach(now, hello.ordinal, LinkLoss::GivenUp);
            return self.end_attempt(now, start.dial, Outcome::Abandoned);
        }
        // Who attaches has proved more by that.
        let shown = if joins { Shown::Nothing } else { self.show(start.server, &mut hello) };
        let seed = self.rng.fork();
        let (raw, initiator) = self.hello_bytes(&hello, &seed);
        let request = match self.request(start.server, &raw, shown) {
            Ok(request) => request,
            Err(error) => {
                self.carrier.session.detach(now, hello.ordinal, LinkLoss::GivenUp);
                return self.fail(now, start.dial, Outcome::Refused(PERMANENT), DialError::Request(error));
            }
        };
        self.carrier.put(key, Link::client(now, request, self.link_limits, seed), None);
        if let Some(initiator) = initiator {
            self.carrier.expect_sealed(key, initiator);
        }
        if let Some(attempt) = self.attempts.get_mut(&start.dial) {
            attempt.stage = Stage::Upgrading(key, Greeting { ordinal: hello.ordinal, raw });
            (attempt.shown, attempt.changes) = (shown, self.changes);
        }
        // A link that cannot even begin has ended by now, and nothing that arrives would show it.
        while let Some(said) = self.carrier.poll_said(now, key) {
            self.handle_said(now, key, said);
        }
    }

    /// The bytes of a hello, and what opens the welcome that answers it if that is to be sealed.
    fn hello_bytes(&self, hello: &Hello, seed: &Seed) -> (Bytes, Option<Initiator>) {
        let mut raw = Vec::new();
        let Some(seal) = &self.seal else {
            hello.emit(&mut raw);
            return (raw.into(), None);
        };
        hello.emit_inside(&mut raw);
        let seed = seed.branch("seal");
        let (initiator, raw) = match (self.carrier.session.id(), self.carrier.session.secret()) {
            (Some(session), Some(secret)) => seal.join(session, &secret, &raw, seed),
            (None, _) | (_, None) => seal.found(&raw, seed),
        };
        (raw, Some(initiator))
    }

    fn request(&self, index: usize, hello: &[u8], shown: Shown) -> Result<ClientUpgrade, UpgradeError> {
        let server = &self.config.servers[index];
        let scheme = match server.scheme {
            Scheme::Ws => link::Scheme::Ws,
            Scheme::Wss => link::Scheme::Wss,
        };
        let host = match &server.address.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.to_string(),
        };
        let mut request = ClientUpgrade::new(scheme, &host, server.address.port, &server.path)?;
        request = request.with_hello(&base64::encode(hello))?;
        for (name, value) in &self.headers {
            request = request.with_header(name, value)?;
        }
        if let (Shown::Credential, Some(credential)) = (shown, &self.credential) {
            request = request.with_header(AUTHORIZATION, credential.expose())?;
        }
        if !self.owner.is_empty() {
            request = request.with_owner(&base64::encode(&self.owner))?;
        }
        request = request.with_tls(self.tls.clone().filter(|_| server.scheme == Scheme::Wss));
        if let Some((_, proxy)) = self.proxies.get(&index) {
            request = request.with_proxy(proxy.clone());
        }
        Ok(request)
    }

    /// The session no longer waits for the welcome of this ordinal.
    pub(super) fn fenced(&mut self, now: Instant, ordinal: Ordinal) {
        let is = |attempt: &Attempt| matches!(&attempt.stage, Stage::Upgrading(_, hello) if hello.ordinal == ordinal);
        let dial = self.attempts.iter().find(|(_, attempt)| is(attempt)).map(|(dial, _)| *dial);
        if let Some(dial) = dial {
            self.end_attempt(now, dial, Outcome::Burnt);
        }
    }

    /// Ends a dial that took too long.
    pub(super) fn late(&mut self, now: Instant, dial: DialId) {
        let why = match self.attempts.get(&dial).map(|attempt| &attempt.stage) {
            Some(Stage::Resolving(_)) => DialError::Unresolved,
            Some(Stage::Racing(..)) => DialError::Connect(io::ErrorKind::TimedOut),
            Some(Stage::Upgrading(..)) => DialError::Late(LinkStage::Answer),
            Some(Stage::Probed(_)) | None => return self.give_up(now, dial),
        };
        self.note(dial, why);
        self.give_up(now, dial);
    }

    /// Ends a dial that is not needed any more.
    pub(super) fn give_up(&mut self, now: Instant, dial: DialId) {
        match self.attempts.get(&dial) {
            // Its server is about to make a session, or has: it is to be told that nobody wants it.
            Some(Attempt { stage: Stage::Upgrading(key, hello), .. }) if hello.ordinal == Ordinal::FIRST => {
                self.declined.insert(*key, now + DECLINE);
                self.attempts.remove(&dial);
            }
            Some(_) | None => self.drop_attempt(now, dial),
        }
    }

    /// Ends a dial that came to nothing, and says why.
    pub(super) fn fail(&mut self, now: Instant, dial: DialId, outcome: Outcome, why: DialError) {
        self.note(dial, why);
        self.end_attempt(now, dial, outcome);
    }

    /// Keeps why a dial came to nothing, for whoever asks.
    pub(super) fn note(&mut self, dial: DialId, why: DialError) {
        let Some(Attempt { start, to, shown, .. }) = self.attempts.get(&dial) else { return };
        let Some(server) = self.config.servers.get(start.server) else { return };
        let proxy = self.proxies.get(&start.server).map(|(address, _)| address.clone());
        let address = server.address.clone();
        let shown = *shown != Shown::Nothing;
        self.failures.push(DialFailure { server: start.server, address, proxy, to: *to, shown, why });
    }

    /// Ends a dial and says what came of it.
    pub(super) fn end_attempt(&mut self, now: Instant, dial: DialId, outcome: Outcome) {
        self.drop_attempt(now, dial);
        self.dialer.handle_outcome(now, dial, outcome);
    }

    fn drop_attempt(&mut self, now: Instant, dial: DialId) {
        for key in self.take_attempt(now, dial) {
            self.carrier.abort(key);
        }
    }

    /// Ends a dial, and names the streams it had.
    pub(super) fn take_attempt(&mut self, now: Instant, dial: DialId) -> Vec<Key> {
        let Some(attempt) = self.attempts.remove(&dial) else { return Vec::new() };
        if let Stage::Upgrading(_, hello) = &attempt.stage
            && hello.ordinal != Ordinal::FIRST
        {
            self.carrier.session.detach(now, hello.ordinal, LinkLoss::GivenUp);
            self.carrier.part(now);
        }
        attempt.keys()
    }

    /// A stream is gone that no link is on any more.
    pub(super) fn forget_stream(&mut self, key: Key) {
        self.declined.remove(&key);
        let probed = |attempt: &Attempt| matches!(attempt.stage, Stage::Probed(probed) if probed == key);
        self.attempts.retain(|_, attempt| !probed(attempt));
    }

    fn racing(&self, key: Key) -> Option<(DialId, usize)> {
        self.attempts.iter().find_map(|(dial, attempt)| match &attempt.stage {
            Stage::Racing(_, runners) => {
                runners.iter().position(|runner| runner.key == Some(key)).map(|number| (*dial, number))
            }
            Stage::Resolving(_) | Stage::Probed(_) | Stage::Upgrading(..) => None,
        })
    }

    pub(super) fn upgrading(&self, key: Key) -> Option<DialId> {
        let is = |attempt: &Attempt| matches!(attempt.stage, Stage::Upgrading(upgrading, _) if upgrading == key);
        self.attempts.iter().find(|(_, attempt)| is(attempt)).map(|(dial, _)| *dial)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours, and there are many")]
fn failure(why: io::ErrorKind) -> PathFailure {
    match why {
        io::ErrorKind::ConnectionRefused => PathFailure::Refused,
        io::ErrorKind::TimedOut => PathFailure::TimedOut,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::NetworkDown => PathFailure::Unreachable,
        _ => PathFailure::Broken,
    }
}

/// The dialler gives a dial up after this long; the race need not be shorter.
const CONNECT: Duration = Duration::from_secs(10);
/// A welcome that nobody waits for is awaited for this long, to be declined.
const DECLINE: Duration = Duration::from_secs(10);
