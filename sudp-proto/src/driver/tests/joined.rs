//! Two drivers over doors that block, dribble and ring at random: nothing stalls, nothing is lost.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use bytes::BufMut;
use proptest::prelude::*;

use super::*;
use crate::rng::{Rng, Seed};

/// One driver and its doors, as an edge-triggered loop would have them.
struct Side {
    driver: Driver<Machine>,
    doors: Wild,
    link: Token,
    again: bool,
}

/// Doors that do only a part of what they could.
struct Wild {
    bench: Bench,
    /// What rings when its time has come, and only then.
    armed: BTreeSet<(Token, Way)>,
    rng: Rng,
    /// The last datagram was kept by an error about an earlier one: so the next is not.
    refused: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_stalls_and_nothing_is_lost(seed: u64, sizes in prop::collection::vec(0..1_500_usize, 1..40)) {
        let mut now = epoch();
        let mut rng = Rng::new(&Seed::from(seed));
        let (mut client, server) = Machine::pair(now);
        client.session().add_tunnel(TUNNEL, forward(Some(at(5_005)))).unwrap();
        let mut sides = [client, server].map(|machine| Side::new(machine, Rng::new(&rng.fork())));
        sides[0].go(now);

        let (listener, plug) = sides[0].doors.bench.socket(Socket::Listener(at(5_005)));
        let sources = [7_000, 7_001, 7_002].map(at);
        let datagrams = sizes.iter().flat_map(|size| sources.map(|source| (source, vec![1; *size])));
        plug.incoming.extend(datagrams);
        let sent = sizes.len() * sources.len();
        for _ in 0..20_000 {
            sides.iter_mut().for_each(|side| side.go(now));
            if !exchange(&mut sides) {
                now += ms(1);
            }
            if sides[0].doors.bench.sockets[&listener].sent.len() == sent {
                break;
            }
        }

        let [client, server] = &mut sides;
        for side in [client, server] {
            let counters = side.driver.endpoint_mut().session().counters();
            prop_assert_eq!(counters.accepted, sent as u64);
            prop_assert_eq!(counters.delivered, sent as u64);
        }
        let back = &sides[0].doors.bench.sockets[&listener].sent;
        for source in sources {
            let lengths = back.iter().filter(|datagram| datagram.to == source).map(|it| it.payload.len());
            prop_assert!(lengths.eq(sizes.iter().copied()), "in order, and all of them");
        }
    }
}

/// Carries what was written to the other side, and answers at each socket of the server.
fn exchange([client, server]: &mut [Side; 2]) -> bool {
    let up = std::mem::take(&mut client.pipe().written);
    let down = std::mem::take(&mut server.pipe().written);
    let moved = !up.is_empty() || !down.is_empty();
    server.pipe().incoming.extend(up);
    client.pipe().incoming.extend(down);
    for plug in server.doors.bench.sockets.values_mut() {
        let echo = plug.sent.drain(..).map(|datagram| (datagram.to, datagram.payload.to_vec()));
        plug.incoming.extend(echo);
    }
    moved
}

impl Side {
    fn new(machine: Machine, rng: Rng) -> Self {
        let mut driver = Driver::new(machine);
        let mut bench = Bench::default();
        let link = driver.adopt(LINK, BytesMut::new());
        bench.stream(link);
        let doors = Wild { bench, armed: BTreeSet::new(), rng, refused: false };
        Self { driver, doors, link, again: true }
    }

    fn pipe(&mut self) -> &mut Pipe {
        self.doors.bench.stream(self.link)
    }

    /// Rings where something happened, and now and then where nothing did; then takes a turn if one is due.
    fn go(&mut self, now: Instant) {
        let mut due = self.again || self.driver.endpoint().poll_timeout().is_some_and(|due| due.at <= now);
        for (token, way) in self.doors.armed.clone() {
            if self.doors.happened(token, way) || self.doors.rng.chance(1, 64) {
                self.doors.armed.remove(&(token, way));
                self.driver.handle_ready(token, way);
                due = true;
            }
        }
        if due {
            self.again = self.driver.turn(now, &mut self.doors).again;
        }
    }
}

impl Wild {
    fn happened(&mut self, token: Token, way: Way) -> bool {
        match (way, self.bench.streams.get(&token), self.bench.sockets.get(&token)) {
            (Way::In, Some(pipe), _) => !pipe.incoming.is_empty(),
            (Way::In, None, Some(plug)) => !plug.incoming.is_empty(),
            (Way::In, None, None) => false,
            (Way::Out, _, _) => self.rng.chance(1, 2),
        }
    }

    fn arm(&mut self, at: Token, way: Way, step: Step) -> Step {
        if matches!(step, Step::Blocked(_)) {
            self.armed.insert((at, way));
        }
        step
    }

    fn up_to(&mut self, most: usize) -> usize {
        usize::try_from(self.rng.below(most as u64 + 1)).unwrap()
    }
}

impl Io for Wild {
    fn dial(&mut self, at: Token, to: SocketAddr) -> io::Result<Progress> {
        self.bench.dial(at, to)
    }

    fn read(&mut self, at: Token, into: &mut impl BufMut) -> io::Result<Step> {
        if self.rng.chance(1, 8) {
            return Ok(Step::More(0));
        }
        self.bench.stream(at).chunk = Some(1 + self.up_to(3_000));
        let step = self.bench.read(at, into)?;
        Ok(self.arm(at, Way::In, step))
    }

    fn write(&mut self, at: Token, from: &[u8]) -> io::Result<Step> {
        let room = self.up_to(3_000);
        self.bench.stream(at).room = self.rng.chance(1, 3).then_some(room);
        let step = self.bench.write(at, from)?;
        Ok(self.arm(at, Way::Out, step))
    }

    fn finish(&mut self, at: Token) -> io::Result<()> {
        self.bench.finish(at)
    }

    fn bind(&mut self, at: Token, socket: &Socket) -> io::Result<SocketAddr> {
        self.armed.insert((at, Way::In));
        self.bench.bind(at, socket)
    }

    fn recv(&mut self, at: Token, each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Step> {
        if self.rng.chance(1, 8) {
            return Ok(Step::More(0));
        }
        let step = self.bench.recv(at, each)?;
        Ok(self.arm(at, Way::In, step))
    }

    fn send(&mut self, at: Token, batch: &[Datagram]) -> io::Result<Step> {
        if !self.refused && self.rng.chance(1, 8) {
            self.refused = true;
            return Err(ErrorKind::ConnectionRefused.into());
        }
        self.refused = false;
        let blocks = self.rng.chance(1, 4);
        let count = self.up_to(batch.len()).max(usize::from(!blocks));
        self.bench.send(at, &batch[..count])?;
        Ok(self.arm(at, Way::Out, if blocks { Step::Blocked(count) } else { Step::More(count) }))
    }

    fn resolve(&mut self, at: Token, host: &str, port: u16, into: &mut Vec<SocketAddr>) -> io::Result<Progress> {
        self.bench.resolve(at, host, port, into)
    }

    fn close(&mut self, at: Token) {
        self.armed.retain(|(token, _)| *token != at);
        self.bench.close(at);
    }
}
