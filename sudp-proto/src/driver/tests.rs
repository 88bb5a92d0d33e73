//! Stories of one driver among doors that do as they are told.

mod bench;
mod datagrams;
mod errors;
mod faults;
mod joined;
mod machine;
mod streams;
mod words;

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::*;
use crate::session::{InDoubt, Tunnel, Way as TunnelWay};
use crate::testing::{epoch, ms};
use crate::wire::{Address, TunnelId};
use bench::{Bench, Pipe};
use machine::{LINK, Machine, Told};

const TUNNEL: TunnelId = TunnelId(1);

/// One driven half of a session, its doors, and the other half, which is moved by hand.
struct World {
    now: Instant,
    driver: Driver<Machine>,
    bench: Bench,
    remote: Machine,
    /// The stream that carries the link.
    link: Token,
}

impl World {
    /// The server is driven. The client has a tunnel to port 9, and opens flows by hand.
    fn server() -> Self {
        let now = epoch();
        let (mut client, server) = Machine::pair(now);
        client.session().add_tunnel(TUNNEL, forward(None)).unwrap();
        Self::new(now, server, client)
    }

    /// The client is driven, and listens at port 5005 if it is to.
    fn client(listen: Option<SocketAddr>) -> Self {
        let now = epoch();
        let (mut client, server) = Machine::pair(now);
        client.session().add_tunnel(TUNNEL, forward(listen)).unwrap();
        Self::new(now, client, server)
    }

    fn new(now: Instant, driven: Machine, remote: Machine) -> Self {
        let mut driver = Driver::new(driven);
        let mut bench = Bench::default();
        let link = driver.adopt(LINK, BytesMut::new());
        bench.stream(link);
        let mut world = Self { now, driver, bench, remote, link };
        world.settle();
        world
    }

    fn turn(&mut self) -> Turn {
        self.driver.turn(self.now, &mut self.bench)
    }

    /// Takes turns until one says that it was enough.
    fn turns(&mut self) -> usize {
        (1..10_000).find(|_| !self.turn().again).expect("the turns come to an end")
    }

    fn pipe(&mut self) -> &mut Pipe {
        self.bench.stream(self.link)
    }

    /// Puts on the link what the remote has to say, without a word to the driver.
    fn hear(&mut self) -> usize {
        let said = self.remote.say(self.now);
        self.pipe().incoming.extend(&said);
        said.len()
    }

    /// Lets both halves talk until neither has anything to say.
    fn settle(&mut self) {
        loop {
            self.turns();
            let mut written = BytesMut::from(&std::mem::take(&mut self.pipe().written)[..]);
            self.remote.handle_input(self.now, LINK, &mut written);
            while let Some(need) = self.remote.session().poll_need() {
                if let crate::session::Need::Socket { flow, .. } = need {
                    self.remote.session().handle_socket(self.now, flow, Ok(()));
                }
            }
            if self.hear() == 0 && self.pipe().written.is_empty() {
                return;
            }
            self.driver.handle_ready(self.link, Way::In);
        }
    }

    /// Lets seconds pass, with turns when they are due and none that does not end.
    fn wait(&mut self, seconds: u32) {
        for _ in 0..seconds * 10 {
            self.now += ms(100);
            self.remote.handle_timeout(self.now);
            self.hear();
            self.driver.handle_ready(self.link, Way::In);
            self.settle();
        }
    }

    /// Lets both halves talk, and acknowledge what they heard.
    fn settle_books(&mut self) {
        for _ in 0..3 {
            self.settle();
            self.now += ms(30);
            self.remote.handle_timeout(self.now);
        }
        self.settle();
    }

    /// A source of the remote sends a datagram.
    fn remote_sends(&mut self, port: u16, payload: &[u8]) -> FlowId {
        self.remote.session().handle_datagram(self.now, TUNNEL, at(port), payload).unwrap()
    }

    /// The driven session.
    fn session(&mut self) -> &mut crate::session::Session {
        self.driver.endpoint_mut().session()
    }

    fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.driver.endpoint_mut().told)
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn forward(listen: Option<SocketAddr>) -> Tunnel {
    let way = TunnelWay::Forward { listen, to: Some(Address::from(at(9))) };
    Tunnel { way, treatment: crate::session::Treatment::default(), in_doubt: InDoubt::Drop }
}
