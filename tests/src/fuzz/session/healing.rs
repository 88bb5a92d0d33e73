//! Behind the script: everything heals, and then the halves must agree and carry on.

use sudp_proto::event::LinkLoss;
use sudp_proto::session::{Phase, Session};
use sudp_proto::wire::{FlowId, Ordinal};

use super::{Pair, SOURCES};
use crate::audit;
use crate::clock::instant;

impl Pair {
    /// Everything is cut, or all that is not sound; one link is made, and all that is left over must settle.
    pub(super) fn heal(&mut self, gently: bool) -> Result<(), String> {
        if gently {
            self.heal_gently();
        } else {
            (0..self.paths.len()).for_each(|path| self.cut(path, [true, true]));
        }
        self.hellos.clear();
        self.welcomes.clear();
        for flow in self.report_dialling() {
            self.client.detach(instant(self.now), flow, LinkLoss::GivenUp);
        }
        for server in self.servers.iter_mut().flatten() {
            let flows: Vec<FlowId> = server.flows().collect();
            flows.into_iter().for_each(|flow| server.unblock(instant(self.now), flow));
        }
        self.drain()?;
        self.connect()?;
        let over = |client: &Session| matches!(client.phase(), Phase::Closed(_));
        if over(&self.client) {
            return self.check();
        }
        if self.client.links().next().is_none() {
            return Err("no link can be made any more".to_owned());
        }
        self.settle()?;
        if !over(&self.client) && !self.draining {
            self.settle_around_a_stuck_link()?;
            self.settle()?;
        }
        if over(&self.client) || self.draining {
            return self.check();
        }
        self.probe()
    }

    fn report_dialling(&self) -> Vec<Ordinal> {
        self.client.report().dialling
    }

    /// The client dials until it has a link.
    fn connect(&mut self) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            if matches!(self.client.phase(), Phase::Closed(_)) || self.client.links().next().is_some() {
                break;
            }
            self.dial();
            if let Some(hello) = self.hellos.pop() {
                self.attach(&hello);
            }
            self.welcome(0);
            self.drain()?;
        }
        Ok(())
    }

    /// Messages flow without delay for some seconds. After a hang each half may find another of two links
    /// the worse one, and both end; then the client dials again.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..SETTLING {
            self.connect()?;
            self.advance(10);
            for index in 0..self.paths.len() {
                self.paths[index].room = 65_536;
                if !self.paths[index].stuck {
                    self.flow(index);
                }
            }
            self.drain()?;
            self.check()?;
        }
        Ok(())
    }

    fn flow(&mut self, index: usize) {
        let now = instant(self.now);
        let path = &mut self.paths[index];
        let Some(server) = self.servers[path.server].as_mut() else { return };
        while path.open[1]
            && let Some(message) = path.up.pop_front()
        {
            server.handle_message(now, path.ordinal, message);
        }
        while path.open[0]
            && let Some(message) = path.down.pop_front()
        {
            self.client.handle_message(now, path.ordinal, message);
        }
        // Behind all that was said, one end reads that the other has closed.
        if path.open[0] != path.open[1] {
            self.cut(index, [true, true]);
        }
    }

    /// The two halves agree, and what is sent now arrives.
    fn probe(&mut self) -> Result<(), String> {
        let client = self.client.report();
        let server = self.servers.iter().flatten().find(|server| server.id() == self.client.id());
        let server = server.ok_or("the session has no server")?.report();
        audit::settled(&client, &server)?;
        let before = self.ledger.totals();
        for source in 0..SOURCES {
            self.send(source, 100);
        }
        let sent = self.ledger.totals().sent - before.sent;
        self.drain()?;
        self.settle()?;
        let received = self.ledger.totals().received - before.received;
        if sent != received { Err(format!("{received} of {sent} datagrams arrived on a sound link")) } else { Ok(()) }
    }
}

const ATTEMPTS: usize = 16;
const SETTLING: usize = 600;
