//! Local applications and far services: who sends datagrams through the tunnel, and who answers.
//!
//! An application sends to an address (the tunnel's local door) and listens for answers; a service is
//! bound to an address and answers whoever sends there. They are processes of their own: give them
//! machines that are not suspended with the client or the server.
//!
//! The world hands every [`Ready`] to [`Apps::handle`] first, and drains [`Apps::poll_seen`]: what was
//! sent, and what was received, is for the world to judge.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use sudp_proto::{Rng, Seed};

use crate::clock::{Nanos, instant, nanos, span};
use crate::net::{Net, Ready, Received, Sent, Socket, Way};

mod stamp;

pub use stamp::Stamp;

/// An application or a service.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AppId(pub u32);

/// Alarms of the applications have this bit; the world's own must not.
pub const APP_ALARM: u64 = 1 << 63;

/// How an application sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sending {
    /// The conversation, for stamps.
    pub flow: u32,
    /// Where to.
    pub to: SocketAddr,
    /// When.
    pub rhythm: Rhythm,
    /// The smallest and the largest payload; 0 sends empty datagrams, which carry no stamp.
    pub size: (usize, usize),
    /// How many datagrams in all; `None` is without end.
    pub limit: Option<u32>,
    /// What it does to its own datagrams.
    pub manners: Manners,
}

/// When an application sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rhythm {
    /// From one burst to the next; with `asks`, from an answer to the next burst.
    pub every: Duration,
    /// How many datagrams at once.
    pub burst: u32,
    /// Whether the pause is random between half of `every` and one and a half.
    pub loose: bool,
    /// Whether it waits for an answer, at most this long.
    pub asks: Option<Duration>,
}

impl Rhythm {
    /// One datagram at a time, evenly.
    pub fn steady(every: Duration) -> Self {
        Self { every, burst: 1, loose: false, asks: None }
    }

    /// Many at once, then a pause of random length.
    pub fn bursty(every: Duration, burst: u32) -> Self {
        Self { every, burst, loose: true, asks: None }
    }

    /// So many bytes per second, in bursts of eight datagrams of `size` bytes.
    pub fn flood(bytes_per_second: u64, size: usize) -> Self {
        let nanos = 8 * size as u64 * 1_000_000_000 / bytes_per_second.max(1);
        Self { every: Duration::from_nanos(nanos.max(1)), burst: 8, loose: false, asks: None }
    }

    /// One per second.
    pub fn sparse() -> Self {
        Self::steady(Duration::from_secs(1))
    }

    /// One at a time: asks, waits for the answer (at most 5 s), pauses, asks again.
    pub fn asking(pause: Duration) -> Self {
        Self { every: pause, burst: 1, loose: true, asks: Some(Duration::from_secs(5)) }
    }
}

/// What an application does to its datagrams before the tunnel sees them: so many of a thousand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Manners {
    /// Not sent at all; such a datagram is never seen.
    pub dropped: u16,
    /// Sent twice, and seen twice.
    pub doubled: u16,
    /// Sent behind the next one.
    pub reordered: u16,
}

/// What a service does with what it gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Service {
    /// Sends back as many bytes as came.
    Echo,
    /// Sends `count` datagrams of `size` bytes for each, `after` a while.
    Reply {
        /// Payload bytes of each answer.
        size: usize,
        /// How many answers; their sequence is the request's times this, plus their index.
        count: u32,
        /// How long it thinks.
        after: Duration,
    },
    /// Nothing.
    Silent,
}

/// One datagram at the edge of the tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// When.
    pub at: Nanos,
    /// By whom.
    pub app: AppId,
    /// What happened.
    pub what: What,
    /// Which datagram; `None` for empty and garbled ones.
    pub stamp: Option<Stamp>,
    /// Payload bytes.
    pub len: usize,
    /// Where to, or where from.
    pub peer: SocketAddr,
}

/// What happened to a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// It came, but not as anybody sent it.
    Garbled,
    /// It came.
    Received,
    /// It was handed to the network.
    Sent,
}

/// All applications and services of a world.
#[derive(Debug)]
pub struct Apps {
    apps: Vec<App>,
    by_socket: HashMap<Socket, usize, FixedState>,
    seen: VecDeque<Seen>,
    payload: Vec<u8>,
}

#[derive(Debug)]
struct App {
    socket: Socket,
    rng: Rng,
    role: Role,
    /// The one alarm that counts; others are stale.
    next_at: Nanos,
    refused: u64,
    /// What it sends is written here.
    payload: Vec<u8>,
}

#[derive(Debug)]
enum Role {
    Sender { sending: Sending, sequence: u32, held: Option<(Stamp, usize)> },
    Service { service: Service, answers: VecDeque<Answering> },
}

/// An answer being thought about.
#[derive(Debug)]
struct Answering {
    at: Nanos,
    to: SocketAddr,
    asked: Option<Stamp>,
}

impl Apps {
    /// A world without applications.
    pub fn new() -> Self {
        Self { apps: Vec::new(), by_socket: HashMap::default(), seen: VecDeque::new(), payload: Vec::new() }
    }

    /// Starts an application on a socket of its own; it sends for the first time at `now` or later,
    /// within its first pause.
    pub fn send(&mut self, now: Instant, net: &mut Net, socket: Socket, seed: &Seed, sending: Sending) -> AppId {
        let mut rng = Rng::new(seed);
        let at = nanos(now) + rng.below(span(sending.rhythm.every).min(1_000_000_000));
        let app = self.add(socket, rng, Role::Sender { sending, sequence: 0, held: None });
        self.set_alarm(net, app, at);
        app
    }

    /// Starts a service on a socket.
    pub fn serve(&mut self, socket: Socket, seed: &Seed, service: Service) -> AppId {
        self.add(socket, Rng::new(seed), Role::Service { service, answers: VecDeque::new() })
    }

    /// Stops an application or a service; its socket stays open and takes in what comes.
    pub fn stop(&mut self, app: AppId) {
        let Some(app) = self.apps.get_mut(app.0 as usize) else { return };
        app.next_at = Nanos::MAX;
        match &mut app.role {
            Role::Sender { sending, .. } => sending.limit = Some(0),
            Role::Service { service, .. } => *service = Service::Silent,
        }
    }

    /// How many datagrams the network did not take from an application.
    pub fn refused(&self, app: AppId) -> u64 {
        self.apps.get(app.0 as usize).map_or(0, |app| app.refused)
    }

    /// Lets whom it concerns act; false if it concerns nobody here.
    pub fn handle(&mut self, now: Instant, net: &mut Net, ready: &Ready) -> bool {
        match *ready {
            Ready::Alarm(key) if key & APP_ALARM != 0 => {
                let index = usize::try_from(key & !APP_ALARM).unwrap_or(usize::MAX);
                self.on_alarm(nanos(now), net, index);
                true
            }
            Ready::Udp { socket, way } => {
                let Some(index) = self.by_socket.get(&socket).copied() else { return false };
                if way == Way::In {
                    self.on_readable(nanos(now), net, index);
                }
                true
            }
            Ready::Accept { .. } | Ready::Alarm(_) | Ready::Name(_) | Ready::Stream { .. } => false,
        }
    }

    /// What was sent or received since.
    pub fn poll_seen(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    fn add(&mut self, socket: Socket, rng: Rng, role: Role) -> AppId {
        let index = self.apps.len();
        self.apps.push(App { socket, rng, role, next_at: Nanos::MAX, refused: 0, payload: Vec::new() });
        self.by_socket.insert(socket, index);
        AppId(u32::try_from(index).expect("a world has few applications"))
    }

    fn set_alarm(&mut self, net: &mut Net, app: AppId, at: Nanos) {
        self.apps[app.0 as usize].next_at = at;
        net.alarm(instant(at), APP_ALARM | u64::from(app.0));
    }

    fn on_alarm(&mut self, now: Nanos, net: &mut Net, index: usize) {
        let Some(app) = self.apps.get_mut(index).filter(|app| app.next_at <= now) else { return };
        app.next_at = Nanos::MAX;
        match &app.role {
            Role::Sender { .. } => self.send_burst(now, net, index),
            Role::Service { .. } => self.answer_due(now, net, index),
        }
    }

    fn send_burst(&mut self, now: Nanos, net: &mut Net, index: usize) {
        let app = &mut self.apps[index];
        let Role::Sender { sending, .. } = &app.role else { return };
        let rhythm = sending.rhythm;
        let pause = rhythm.asks.map_or_else(|| pause(&mut app.rng, rhythm), span);
        for _ in 0..rhythm.burst {
            if !self.send_one(now, net, index) {
                return;
            }
        }
        self.set_alarm(net, id(index), now + pause);
    }

    /// Sends the next datagram as the application's manners are; false if there are no more.
    fn send_one(&mut self, now: Nanos, net: &mut Net, index: usize) -> bool {
        let App { rng, role, .. } = &mut self.apps[index];
        let Role::Sender { sending, sequence, held } = role else { return false };
        if sending.limit.is_some_and(|limit| *sequence >= limit) {
            return false;
        }
        let stamp = Stamp { flow: sending.flow, answer: false, sequence: *sequence, sent_micros: now / 1_000 };
        *sequence += 1;
        let (least, most) = sending.size;
        let size = least + usize::try_from(rng.below((most - least) as u64 + 1)).unwrap_or(0);
        let (to, manners) = (sending.to, sending.manners);
        let happens = |rng: &mut Rng, times: u16| times > 0 && rng.chance(u64::from(times), 1_000);
        if happens(rng, manners.dropped) {
            return true;
        }
        if held.is_none() && happens(rng, manners.reordered) {
            *held = Some((stamp, size));
            return true;
        }
        let (late, twice) = (held.take(), happens(rng, manners.doubled));
        self.hand_over(now, net, index, to, stamp, size);
        if twice {
            self.hand_over(now, net, index, to, stamp, size);
        }
        if let Some((stamp, size)) = late {
            self.hand_over(now, net, index, to, stamp, size);
        }
        true
    }

    fn on_readable(&mut self, now: Nanos, net: &mut Net, index: usize) {
        let mut payload = std::mem::take(&mut self.payload);
        loop {
            match net.receive(instant(now), self.apps[index].socket, &mut payload) {
                Received::Datagram { from, more } => {
                    self.on_datagram(now, net, index, from, &payload);
                    if !more {
                        break;
                    }
                }
                Received::Failed(std::io::ErrorKind::NotConnected) | Received::Blocked => break,
                Received::Failed(_) => {}
            }
        }
        self.payload = payload;
    }

    fn on_datagram(&mut self, now: Nanos, net: &mut Net, index: usize, from: SocketAddr, payload: &[u8]) {
        let stamp = Stamp::parse(payload);
        let what = if stamp.is_none() && !payload.is_empty() { What::Garbled } else { What::Received };
        self.seen.push_back(Seen { at: now, app: id(index), what, stamp, len: payload.len(), peer: from });
        let App { role, rng, .. } = &mut self.apps[index];
        match role {
            Role::Sender { sending, .. } => {
                if sending.rhythm.asks.is_some() {
                    let at = now + pause(rng, sending.rhythm);
                    self.set_alarm(net, id(index), at);
                }
            }
            Role::Service { service: Service::Silent, .. } => {}
            Role::Service { service: Service::Echo, .. } => {
                let (stamp, size) = (stamp.map(|asked| answer(asked, asked.sequence, now)), payload.len());
                self.reply(now, net, index, from, stamp, size);
            }
            Role::Service { service: Service::Reply { after, .. }, answers } => {
                let at = now + span(*after);
                answers.push_back(Answering { at, to: from, asked: stamp });
                if answers.len() == 1 {
                    self.set_alarm(net, id(index), at);
                }
            }
        }
    }

    fn answer_due(&mut self, now: Nanos, net: &mut Net, index: usize) {
        loop {
            let Role::Service { service: Service::Reply { size, count, .. }, answers } = &mut self.apps[index].role
            else {
                return;
            };
            let (size, count) = (*size, *count);
            match answers.front() {
                None => return,
                Some(first) if first.at > now => {
                    let at = first.at;
                    return self.set_alarm(net, id(index), at);
                }
                Some(_) => {}
            }
            let Some(first) = answers.pop_front() else { return };
            for number in 0..count {
                let stamp = first.asked.map(|it| answer(it, it.sequence.wrapping_mul(count).wrapping_add(number), now));
                self.reply(now, net, index, first.to, stamp, size);
            }
        }
    }

    /// Answers; what had no stamp gets an empty answer.
    fn reply(&mut self, now: Nanos, net: &mut Net, index: usize, to: SocketAddr, stamp: Option<Stamp>, size: usize) {
        let nobody = Stamp { flow: 0, answer: true, sequence: 0, sent_micros: 0 };
        let size = if stamp.is_some() { size } else { 0 };
        self.hand_over(now, net, index, to, stamp.unwrap_or(nobody), size);
    }

    fn hand_over(&mut self, now: Nanos, net: &mut Net, index: usize, to: SocketAddr, stamp: Stamp, size: usize) {
        let mut payload = std::mem::take(&mut self.apps[index].payload);
        stamp.emit(size, &mut payload);
        let socket = self.apps[index].socket;
        let mut sent = net.send(instant(now), socket, to, &payload);
        if matches!(sent, Sent::Failed(_)) {
            sent = net.send(instant(now), socket, to, &payload);
        }
        let (len, stamp) = (payload.len(), (!payload.is_empty()).then_some(stamp));
        self.apps[index].payload = payload;
        match sent {
            Sent::Taken => {
                self.seen.push_back(Seen { at: now, app: id(index), what: What::Sent, stamp, len, peer: to });
            }
            Sent::Blocked | Sent::Failed(_) => self.apps[index].refused += 1,
        }
    }
}

impl Default for Apps {
    fn default() -> Self {
        Self::new()
    }
}

fn id(index: usize) -> AppId {
    AppId(u32::try_from(index).unwrap_or(u32::MAX))
}

fn answer(asked: Stamp, sequence: u32, now: Nanos) -> Stamp {
    Stamp { answer: true, sequence, sent_micros: now / 1_000, ..asked }
}

fn pause(rng: &mut Rng, rhythm: Rhythm) -> Nanos {
    let every = span(rhythm.every).max(1);
    if rhythm.loose { every / 2 + rng.below(every) } else { every }
}

#[cfg(test)]
mod tests;
