//! What goes wrong in a world, and how it ends.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sudp_proto::wire::{FlowId, GoAwayReason};

use super::plan::{ip, server_address, service_address, service_name};
use super::{Chore, Role, Said, World};
use crate::app::{Manners, Rhythm};
use crate::io::Machine;
use crate::net::{Answer, Conn, Direction, Fault, Leg, Listener, Path, Side, Trouble};
use crate::op::{Kind, Op};

impl World {
    pub(super) fn do_chore(&mut self, now: Instant, chore: Chore) {
        match chore {
            Chore::Audit => {
                self.audit();
                self.later(Duration::from_secs(1), Chore::Audit);
            }
            Chore::Calm => self.calm(now),
            Chore::EndClient { client, machine } => {
                if self.clients[client].machine == Some(machine) {
                    self.net.kill(now, self.clients[client].host);
                    self.stop_client(client);
                    self.start_client(client);
                }
            }
            Chore::EndTwin => {
                self.net.kill(now, self.clients[1].host);
                self.stop_client(1);
                // Its name belonged to the other; whoever runs it starts it again.
                self.net.kill(now, self.clients[0].host);
                self.stop_client(0);
                self.start_client(0);
            }
            Chore::HealServer(server) => {
                if self.servers[server].up {
                    self.net.listen(self.servers[server].host, server_address(server), Listener::Open);
                }
            }
            Chore::Hush => {
                for sender in &self.senders {
                    self.apps.stop(sender.app);
                }
                // Those that answer are senders of their own, and go on.
            }
            Chore::Op(index) => self.go_wrong(now, self.plan.ops[index]),
            Chore::Probe => self.start_probes(),
            Chore::Regrant => {
                for server in 0..self.servers.len() {
                    self.servers[server].denies = false;
                    self.servers[server].ends_grants = false;
                    self.regrant(server);
                }
            }
            Chore::Release(host) => self.net.heal(now, self.clients[0].host, host),
            Chore::Renew(machine) => self.renew(machine),
            Chore::ResetOne => self.reset_one(now, 0),
            Chore::RestartClient(client) => self.start_client(client),
            Chore::RestartServer(server) => {
                self.stop_server(server);
                self.start_server(server);
            }
            Chore::Resume(host) => self.wake(now, host),
            Chore::SetName(tunnel) => self.set_name(tunnel, true),
            Chore::SetSocket(at) => self.net.set_trouble(at, None),
            Chore::ShowToken => self.show_token(),
            Chore::Token => self.next_token(),
        }
    }

    /// Something goes wrong.
    fn go_wrong(&mut self, now: Instant, op: Op) {
        self.coverage.ops[op.kind as usize] += 1;
        self.trace.note(now, Said::Op as u8, op.kind as u64, u64::from(op.pick) << 16 | u64::from(op.amount));
        let pick = usize::from(op.pick);
        let server = pick % self.servers.len();
        let tunnel = pick % self.plan.tunnels.len();
        let seconds = |least, most| op.time(Duration::from_millis(least), Duration::from_millis(most));
        match op.kind {
            Kind::BlackHole | Kind::Cut | Kind::HalfOpen | Kind::Late | Kind::Reset | Kind::Stall => {
                self.hurt_connection(now, op);
            }
            Kind::Burst => self.burst(op, tunnel),
            Kind::ClientDrain => self.drain_client(now),
            Kind::ClientKill => self.kill_client(now, seconds(50, 70_000), false),
            Kind::ClientVanish => self.kill_client(now, seconds(50, 70_000), true),
            Kind::CloseFlow => {
                if let Some(session) = self.client_session(0) {
                    let flows: Vec<FlowId> = session.flows().collect();
                    if !flows.is_empty() {
                        session.close_flow(now, flows[pick % flows.len()]);
                    }
                }
                self.dirty.extend(self.clients[0].machine);
                self.mix_flows();
            }
            Kind::Deny => {
                self.servers[server].denies = !op.amount.is_multiple_of(4);
                self.servers[server].ends_grants = op.amount.is_multiple_of(4);
                if let Some(tokens) = &mut self.tokens {
                    tokens.ended |= op.amount.is_multiple_of(4);
                }
                self.regrant(server);
                self.mix_flows();
                self.later(seconds(500, 20_000), Chore::Regrant);
            }
            Kind::Flap => {
                for reset in 0..3 + op.amount % 12 {
                    self.later(
                        Duration::from_millis(u64::from(reset) * (50 + u64::from(op.pick) * 8)),
                        Chore::ResetOne,
                    );
                }
            }
            Kind::Listener => {
                let listener = Listener::Answering(answer(op));
                self.change_listener(server, listener, seconds(500, 30_000));
            }
            Kind::Name => {
                self.set_name(tunnel, false);
                self.later(seconds(500, 30_000), Chore::SetName(tunnel));
            }
            Kind::Outage => {
                let host = self.servers[server].host;
                self.net.outage(now, self.clients[0].host, host, None);
                self.later(seconds(100, 70_000), Chore::Release(host));
            }
            Kind::Paths => {
                let paths = self.plan.other_paths(u64::from(op.amount));
                self.set_paths(&paths);
            }
            Kind::Refuse => {
                let listener = if op.amount.is_multiple_of(2) { Listener::Refusing } else { Listener::BlackHole };
                self.change_listener(server, listener, seconds(500, 60_000));
            }
            Kind::ServerDrain => self.drain_server(now, server, seconds(1_000, 20_000)),
            Kind::ServerFreeze => {
                if self.servers[server].up {
                    self.freeze_server(server);
                    self.later(seconds(10, 2_000), Chore::RestartServer(server));
                }
            }
            Kind::ServerKill => {
                self.stop_server(server);
                self.later(seconds(20, 40_000), Chore::RestartServer(server));
            }
            Kind::Socket => self.hurt_socket(now, op, tunnel),
            Kind::SuspendClient => self.suspend(self.clients[0].host, seconds(200, 90_000)),
            Kind::SuspendServer => self.suspend(self.servers[server].host, seconds(200, 90_000)),
            Kind::Twin => {
                if self.clients[1].machine.is_none() {
                    self.start_client(1);
                    self.later(seconds(2_000, 20_000), Chore::EndTwin);
                }
            }
            Kind::Wake => self.wake_client(now),
        }
    }

    /// A source whose flow closes goes on with another, and datagrams of both are under way for a while.
    fn mix_flows(&mut self) {
        self.mixed_until = self.now + crate::clock::span(Duration::from_secs(40));
    }

    fn hurt_connection(&mut self, now: Instant, op: Op) {
        let conns = self.net.connections();
        if conns.is_empty() {
            return;
        }
        let conn = conns[usize::from(op.pick) % conns.len()];
        let leg = if op.amount.is_multiple_of(2) { Leg::Near } else { Leg::Far };
        let direction = if op.amount % 4 < 2 { Direction::Up } else { Direction::Down };
        let side = if op.amount % 8 < 4 { Side::Client } else { Side::Server };
        let time = op.time(Duration::from_millis(50), Duration::from_secs(60));
        let fault = match op.kind {
            Kind::BlackHole => Fault::BlackHole,
            Kind::Cut => Fault::Cut { direction, bytes: self.cut_at(conn, op) },
            Kind::HalfOpen => Fault::HalfOpen(direction),
            Kind::Late => Fault::Late { side, news: (op.amount % 16 < 12).then_some(time) },
            Kind::Stall => Fault::Stall { direction, until: now + time },
            _ => Fault::Reset,
        };
        self.net.inject(now, conn, leg, fault);
    }

    /// Cuts within the handshake, or somewhere behind it.
    fn cut_at(&self, _conn: Conn, op: Op) -> u64 {
        if op.amount.is_multiple_of(3) {
            u64::from(op.amount) % 900
        } else {
            u64::from(op.amount) * u64::from(op.pick % 32)
        }
    }

    fn reset_one(&mut self, now: Instant, pick: usize) {
        let conns = self.net.connections();
        if let Some(conn) = conns.get(pick % conns.len().max(1)) {
            self.net.inject(now, *conn, Leg::Near, Fault::Reset);
        }
    }

    fn burst(&mut self, op: Op, tunnel: usize) {
        let count = u32::from(op.amount % 300) + 20;
        let size = [64, 400, 1_200][usize::from(op.pick) % 3];
        let rhythm = Rhythm::bursty(Duration::from_millis(50), count.min(64));
        self.open_app(tunnel, rhythm, (16, size), Some(count), Manners::default(), false);
    }

    fn drain_client(&mut self, now: Instant) {
        if self.clients[0].ending {
            return;
        }
        let Some(machine) = self.clients[0].machine else { return };
        let Some(session) = self.client_session(0) else { return };
        session.drain(now, GoAwayReason::Shutdown, Duration::ZERO);
        self.clients[0].ending = true;
        self.dirty.insert(machine);
        self.later(Duration::from_secs(5), Chore::EndClient { client: 0, machine });
    }

    fn kill_client(&mut self, now: Instant, down: Duration, silently: bool) {
        let host = self.clients[0].host;
        if silently {
            self.net.vanish(now, host);
        } else {
            self.net.kill(now, host);
        }
        self.stop_client(0);
        self.later(down, Chore::RestartClient(0));
    }

    fn drain_server(&mut self, now: Instant, server: usize, patience: Duration) {
        if !self.servers[server].up || self.servers[server].draining {
            return;
        }
        self.servers[server].draining = true;
        for machine in self.servers[server].sessions.values().copied().collect::<Vec<_>>() {
            if let Some(Role::Session { driver, .. }) = self.drivers.get_mut(&machine).map(|process| &mut process.role)
            {
                driver.endpoint_mut().session_mut().drain(now, GoAwayReason::Shutdown, Duration::from_secs(1));
                self.dirty.insert(machine);
            }
        }
        self.later(patience, Chore::RestartServer(server));
    }

    fn change_listener(&mut self, server: usize, listener: Listener, time: Duration) {
        if self.servers[server].up {
            self.net.listen(self.servers[server].host, server_address(server), listener);
            self.later(time, Chore::HealServer(server));
        }
    }

    fn hurt_socket(&mut self, now: Instant, op: Op, tunnel: usize) {
        let time = op.time(Duration::from_millis(50), Duration::from_secs(20));
        let trouble = match op.amount % 5 {
            0 | 1 => Trouble::Full(now + time),
            2 => Trouble::Lossy,
            3 => Trouble::Refusing,
            _ => Trouble::Failing(ErrorKind::NetworkUnreachable),
        };
        // An answer's way is as bad as the way there, when it concerns the applications.
        let at = service_address(tunnel);
        self.net.set_trouble(at, Some(trouble));
        self.later(time, Chore::SetSocket(at));
    }

    pub(super) fn set_name(&mut self, tunnel: usize, good: bool) {
        let name = service_name(tunnel);
        if good {
            self.net.set_name(&name, vec![ip(4, 0)], Duration::from_millis(20));
        } else if tunnel.is_multiple_of(2) {
            self.net.set_name(&name, Vec::new(), Duration::from_millis(300));
        } else {
            self.net.set_name(&name, vec![ip(4, 0)], Duration::from_secs(7));
        }
    }

    fn suspend(&mut self, host: crate::net::Host, time: Duration) {
        if !self.net.is_suspended(host) {
            self.net.suspend(host);
            self.later(time, Chore::Resume(host));
        }
    }

    fn wake(&mut self, now: Instant, host: crate::net::Host) {
        self.net.resume(now, host);
        let of = self.drivers.iter().filter(|(_, process)| process.host == host);
        let of: Vec<Machine> = of.map(|(machine, _)| *machine).collect();
        self.dirty.extend(of);
    }

    fn wake_client(&mut self, now: Instant) {
        let Some(machine) = self.clients[0].machine else { return };
        if let Some(Role::Client { driver, .. }) = self.drivers.get_mut(&machine).map(|process| &mut process.role) {
            driver.endpoint_mut().handle_wake(now);
            self.dirty.insert(machine);
        }
    }

    /// Everything is as it should be again, but for what has happened.
    fn calm(&mut self, now: Instant) {
        self.trace.note(now, Said::Calm as u8, 0, 0);
        self.chores.retain(|_, chore| match chore {
            Chore::Audit | Chore::Hush | Chore::Probe | Chore::Renew(_) => true,
            Chore::Calm
            | Chore::EndClient { .. }
            | Chore::EndTwin
            | Chore::HealServer(_)
            | Chore::Op(_)
            | Chore::Regrant
            | Chore::Release(_)
            | Chore::ResetOne
            | Chore::RestartClient(_)
            | Chore::RestartServer(_)
            | Chore::Resume(_)
            | Chore::SetName(_)
            | Chore::SetSocket(_)
            | Chore::ShowToken
            | Chore::Token => false,
        });
        let paths = self.plan.sound_paths.clone();
        self.set_paths(&paths);
        for host in self
            .clients
            .iter()
            .map(|client| client.host)
            .chain(self.servers.iter().map(|server| server.host))
            .collect::<Vec<_>>()
        {
            self.wake(now, host);
        }
        let twin = self.clients[1].machine.is_some();
        if twin {
            self.do_chore(now, Chore::EndTwin);
        }
        for server in 0..self.servers.len() {
            self.net.heal(now, self.clients[0].host, self.servers[server].host);
            if self.servers[server].draining {
                self.stop_server(server);
            }
            self.start_server(server);
            self.do_chore(now, Chore::HealServer(server));
        }
        self.do_chore(now, Chore::Regrant);
        for tunnel in 0..self.plan.tunnels.len() {
            self.set_name(tunnel, true);
            self.net.set_trouble(service_address(tunnel), None);
        }
        if self.clients[0].ending {
            self.net.kill(now, self.clients[0].host);
            self.stop_client(0);
        }
        self.start_client(0);
        // Middleboxes that end or kill connections stand only in the ways of before.
        for conn in self.net.connections() {
            self.net.inject(now, conn, Leg::Near, Fault::Reset);
        }
        self.last_token();
        // Whoever was told to stay away for minutes is told that all is well.
        self.wake_client(now);
    }

    pub(super) fn set_paths(&mut self, paths: &[Path]) {
        for client in 0..self.clients.len() {
            for server in 0..self.servers.len() {
                self.net.set_paths(self.clients[client].host, server_address(server), paths.to_vec());
            }
        }
    }
}

/// What a dial meets that meets no server.
fn answer(op: Op) -> Answer {
    let other: SocketAddr = server_address(usize::from(op.pick) % 3);
    match op.amount % 10 {
        0 => Answer::status(502, "Bad Gateway"),
        1 => Answer::redirect(302, &format!("http://{other}/sudp")),
        2 => Answer::retry_after(429, "Too Many Requests", 2),
        3 => Answer::Greeting(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        4 => Answer::SlowHead(Duration::from_millis(700)),
        5 => Answer::EndlessHead,
        6 => Answer::Silent,
        7 => Answer::status(404, "Not Found"),
        8 => Answer::Raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec()),
        _ => Answer::retry_after(503, "Service Unavailable", 1),
    }
}
