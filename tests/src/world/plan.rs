//! What a world is made of, drawn from its seed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use sudp_proto::session::{InDoubt, Treatment};
use sudp_proto::wire::Class;
use sudp_proto::{Rng, Seed};

use crate::app::{Manners, Rhythm, Service};
use crate::net::{Hop, Path};
use crate::op::Op;
use crate::pipe::Line;
use crate::proxy::Middlebox;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all of its randomness comes from.
    pub seed: u64,
    /// Whether every link is sealed, and somebody on the way may flip bits.
    pub sealed: bool,
    /// Whether clients are let in by tokens, which end, and are renewed.
    pub tokens: bool,
    /// How many servers there are, 1 to 3.
    pub servers: usize,
    /// How many links the client wants, 1 to 4.
    pub links: usize,
    /// The age at which links are replaced.
    pub max_link_age: Option<Duration>,
    /// The tunnels of the client.
    pub tunnels: Vec<TunnelPlan>,
    /// Ways to each server; every dial takes one of them at random.
    pub paths: Vec<Path>,
    /// Ways once all faults are over.
    pub sound_paths: Vec<Path>,
    /// How long a datagram travels outside of the tunnel.
    pub hop: Duration,
    /// What goes wrong, and when.
    pub ops: Vec<Op>,
    /// How long faults last, and the whole.
    pub times: Times,
}

/// When what ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Times {
    /// No fault begins after this, and all end.
    pub faults: Duration,
    /// Applications stop.
    pub traffic: Duration,
    /// Every tunnel is tried once more: 100 s after the faults, since a session that was left on another
    /// server may keep the port of a reverse tunnel until its link is known to be silent (25 s), its
    /// resume window is over (60 s) and the port is asked for again (10 s).
    pub probe: Duration,
    /// All must have settled.
    pub end: Duration,
}

impl Times {
    /// Ten minutes, of which faults have the first eight.
    pub const LONG: Self = Self::of(470, 510, 570, 600);
    /// Three minutes, for short scripts.
    pub const SHORT: Self = Self::of(60, 75, 160, 190);

    const fn of(faults: u64, traffic: u64, probe: u64, end: u64) -> Self {
        Self {
            faults: Duration::from_secs(faults),
            traffic: Duration::from_secs(traffic),
            probe: Duration::from_secs(probe),
            end: Duration::from_secs(end),
        }
    }
}

/// One tunnel, and who uses it.
#[derive(Clone, Debug)]
pub struct TunnelPlan {
    /// Whether it leads from the client to the server's side.
    pub forward: bool,
    /// How its flows are treated.
    pub treatment: Treatment,
    /// What becomes of datagrams in doubt.
    pub in_doubt: InDoubt,
    /// Whether its destination is a name.
    pub named: bool,
    /// What answers there.
    pub service: Service,
    /// Who sends.
    pub apps: Vec<AppPlan>,
}

/// One application.
#[derive(Clone, Debug)]
pub struct AppPlan {
    /// When it sends.
    pub rhythm: Rhythm,
    /// Smallest and largest payload.
    pub size: (usize, usize),
    /// What it does to its own datagrams.
    pub manners: Manners,
}

impl Plan {
    /// Draws a world of ten minutes. One in four is sealed, and in one of four tokens are needed; apart from that it is
    /// the world that it is without.
    pub fn draw(seed: u64) -> Self {
        let plan = Self::unsealed(seed);
        let tokens = Rng::new(&Seed::from(seed ^ 0x0074_6f6b_656e)).chance(1, 4);
        let plan = Self { tokens, ..plan };
        if Rng::new(&Seed::from(seed ^ 0x7365_616c)).chance(1, 4) { plan.seal() } else { plan }
    }

    /// This world with every link sealed.
    pub fn seal(mut self) -> Self {
        self.sealed = true;
        self.meddle(0);
        self
    }

    /// Draws a world of ten minutes in which nothing is sealed.
    pub fn unsealed(seed: u64) -> Self {
        let mut plan = Self::quiet(seed, Times::LONG);
        let mut rng = Rng::new(&Seed::from(seed ^ 0x6f70_7300));
        let apart = Duration::from_secs([4, 12, 30, 90][pick(&mut rng, 4)]);
        let mut at = Duration::from_secs(2);
        loop {
            let op = Op::draw(&mut rng, apart);
            at += op.after;
            if at >= plan.times.faults || plan.ops.len() >= OPS {
                return plan;
            }
            plan.ops.push(op);
        }
    }

    /// A world in which nothing goes wrong yet.
    pub fn quiet(seed: u64, times: Times) -> Self {
        let mut rng = Rng::new(&Seed::from(seed));
        let links = [1, 1, 1, 2, 3, 4][pick(&mut rng, 6)];
        let line = line(&mut rng);
        let tunnels = (0..1 + pick(&mut rng, 4)).map(|_| tunnel(&mut rng, links)).collect();
        Self {
            seed,
            sealed: false,
            tokens: false,
            servers: 1 + [0, 0, 1, 2][pick(&mut rng, 4)],
            links,
            max_link_age: rng.chance(1, 8).then(|| Duration::from_secs(15 + rng.below(60))),
            tunnels,
            paths: paths(&mut rng, &line, true),
            sound_paths: paths(&mut rng, &line, false),
            hop: Duration::from_micros(rng.below(2_000)),
            ops: Vec::new(),
            times,
        }
    }

    /// Whether a sound way carries what comes of one datagram of `size` bytes in each tunnel within `age`,
    /// even when all of it comes at once.
    pub fn stays_fresh(&self, size: usize, age: Duration) -> bool {
        let (mut up, mut down) = (0, 0);
        for tunnel in &self.tunnels {
            let there = size + AROUND;
            let back = match tunnel.service {
                Service::Echo => there,
                Service::Reply { size, count, .. } => usize::try_from(count).unwrap_or(usize::MAX) * (size + AROUND),
                Service::Silent => 0,
            };
            let (upward, downward) = if tunnel.forward { (there, back) } else { (back, there) };
            up += upward;
            down += downward;
        }
        let time = |line: &Line, bytes: usize| {
            let sending = line.rate.map_or(0.0, |rate| bytes as f64 / rate as f64);
            line.jitter + Duration::from_secs_f64(sending)
        };
        self.sound_paths.iter().all(|path| {
            path.hops().map(|hop| time(&hop.up, up)).sum::<Duration>() <= age
                && path.hops().map(|hop| time(&hop.down, down)).sum::<Duration>() <= age
        })
    }

    /// Other ways than before, as bad as any.
    pub fn other_paths(&self, number: u64) -> Vec<Path> {
        let mut rng = Rng::new(&Seed::from(self.seed ^ number.rotate_left(17) ^ 0x7061));
        let line = line(&mut rng);
        let mut other = Self { paths: paths(&mut rng, &line, true), ..self.clone() };
        if self.sealed {
            other.meddle(number);
        }
        other.paths
    }

    /// Puts somebody who flips bits on some of the ways. Hellos and welcomes pass, for who changes
    /// those can keep a client away for as long as he likes.
    fn meddle(&mut self, number: u64) {
        let mut rng = Rng::new(&Seed::from(self.seed ^ number.rotate_left(17) ^ 0x666c_6970));
        for path in &mut self.paths {
            if rng.chance(1, 2) {
                let flip = Middlebox::Flip(3_000 << rng.below(6));
                path.boxes.push((flip, Hop::default()));
            }
        }
    }
}

/// Where a server listens.
pub fn server_address(server: usize) -> SocketAddr {
    address(2, server, 8_080)
}

/// Where a client's tunnel listens, or a server's for it.
pub fn listen_address(forward: bool, client: usize, tunnel: usize) -> SocketAddr {
    let port = 5_000 + u16::try_from(tunnel).unwrap_or(0);
    if forward { address(1, client, port) } else { address(9, 0, port) }
}

/// Where a tunnel's service is.
pub fn service_address(tunnel: usize) -> SocketAddr {
    address(4, 0, 7_000 + u16::try_from(tunnel).unwrap_or(0))
}

/// The name of a tunnel's service.
pub(super) fn service_name(tunnel: usize) -> String {
    format!("service{tunnel}.test")
}

/// An address of a machine of some sort.
pub fn address(net: u8, machine: usize, port: u16) -> SocketAddr {
    SocketAddr::new(ip(net, machine), port)
}

/// The address of a machine of some sort.
pub fn ip(net: u8, machine: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, net, 0, u8::try_from(machine + 1).unwrap_or(u8::MAX)))
}

fn tunnel(rng: &mut Rng, links: usize) -> TunnelPlan {
    let realtime = rng.chance(2, 5);
    let copies = if links > 1 && rng.chance(1, 3) { 2 + pick(rng, links - 1) } else { 1 };
    let treatment = Treatment {
        class: if realtime { Class::Realtime } else { Class::Reliable },
        copies: u8::try_from(copies).unwrap_or(1),
        spread: rng.chance(1, 6),
        idle: Duration::from_secs(120 + rng.below(120)),
    };
    let service = match rng.below(8) {
        0 => Service::Silent,
        1 => Service::Reply {
            size: 16 + pick(rng, 1_200),
            count: 1 + u32::try_from(rng.below(3)).unwrap_or(0),
            after: Duration::from_millis(rng.below(50)),
        },
        _ => Service::Echo,
    };
    TunnelPlan {
        forward: rng.chance(2, 3),
        treatment,
        in_doubt: if rng.chance(1, 4) { InDoubt::Resend } else { InDoubt::Drop },
        named: rng.chance(1, 3),
        service,
        apps: (0..1 + pick(rng, 2)).map(|_| app(rng)).collect(),
    }
}

fn app(rng: &mut Rng) -> AppPlan {
    let every = Duration::from_millis([300, 700, 1_500, 4_000][pick(rng, 4)]);
    let rhythm = match rng.below(5) {
        0 | 1 => Rhythm::steady(every),
        2 => Rhythm::bursty(every * 8, 8 + u32::try_from(rng.below(56)).unwrap_or(0)),
        3 => Rhythm::asking(every / 2),
        _ => Rhythm::sparse(),
    };
    let size = match rng.below(6) {
        0 => (0, 40),
        1 => (16, 64),
        2 => (1_200, 1_200),
        3 => (16, 9_000),
        _ => (64, 400),
    };
    let often = |rng: &mut Rng| if rng.chance(1, 6) { u16::try_from(rng.below(60)).unwrap_or(0) } else { 0 };
    let manners = Manners { dropped: often(rng), doubled: often(rng), reordered: often(rng) };
    AppPlan { rhythm, size, manners }
}

fn line(rng: &mut Rng) -> Line {
    let latency = Duration::from_millis([1, 5, 10, 25, 50, 100, 150][pick(rng, 7)]);
    let rate = [None, None, Some(12_500_000), Some(1_250_000), Some(125_000), Some(32_000), Some(8_000)][pick(rng, 7)];
    let mut line = Line::with_latency(latency).jitter(latency.mul_f64([0.0, 0.0, 0.1, 0.4][pick(rng, 4)]));
    line.rate = rate;
    line.capacity = [64 << 10, 256 << 10, 4 << 20][pick(rng, 3)];
    line.unsent = rng.chance(2, 3).then(|| [16 << 10, 32 << 10, 128 << 10][pick(rng, 3)]);
    line.chunk = rng.chance(1, 3).then(|| [1_460, 512, 4_096, 100][pick(rng, 4)]);
    line
}

fn paths(rng: &mut Rng, line: &Line, bad: bool) -> Vec<Path> {
    (0..1 + pick(rng, 3)).map(|_| path(rng, line, bad)).collect()
}

fn path(rng: &mut Rng, line: &Line, bad: bool) -> Path {
    let mut line = line.clone();
    if rng.chance(1, 4) {
        line.latency = line.latency.mul_f64([0.5, 1.5, 2.0][pick(rng, 3)]);
    }
    let mut path = Path::direct(&line);
    if rng.chance(1, 2) {
        return path;
    }
    let kinds = if bad { 8 } else { 3 };
    for _ in 0..1 + pick(rng, 2) {
        let middlebox = match rng.below(kinds) {
            0 => Middlebox::Buffer(4 << 20),
            1 => Middlebox::Reframe(1_024),
            2 => Middlebox::strip_ours(),
            3 => Middlebox::AgeLimit(Duration::from_secs(5 + rng.below(90))),
            4 => Middlebox::IdleCutOff(Duration::from_secs(3 + rng.below(60))),
            5 => Middlebox::AnswerPings(Duration::from_secs(1 + rng.below(20))),
            6 => Middlebox::Replay {
                to: rng.chance(1, 2).then(|| server_address(pick(rng, 3))),
                after: Duration::from_millis(rng.below(3_000)),
                hold: Duration::from_millis(rng.below(20_000)),
            },
            // The first bytes of a stamp: one datagram of the second flow or of its answers.
            _ => Middlebox::KillOn(vec![0, 0, 0, 2, 0, 0, 0, u8::try_from(rng.below(40)).unwrap_or(0)]),
        };
        path = path.through(middlebox, Hop::both(&Line::with_latency(Duration::from_millis(rng.below(5)))));
    }
    path
}

fn pick(rng: &mut Rng, of: usize) -> usize {
    usize::try_from(rng.below(of as u64)).unwrap_or(0)
}

/// What stands around a datagram on its way: heads, an OPEN, acknowledgements.
const AROUND: usize = 160;
/// Faults of one world at the most.
const OPS: usize = 400;
