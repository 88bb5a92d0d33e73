//! Rules that no books show when they are broken, checked where they apply.

use std::time::Duration;

use sudp_proto::session::{Phase, Report};
use sudp_proto::wire::{Hello, Ordinal};

use super::{Class, Pair, SOURCES, TUNNELS};

impl Pair {
    /// What must hold when a server has accepted a hello.
    pub(super) fn judge_accepted(&mut self, index: usize, hello: &Hello) {
        let Some(server) = self.servers[index].as_ref() else { return };
        let Some(attach) = &hello.attach else { return };
        let Ordinal(ordinal) = hello.ordinal;
        let alive: Vec<u64> = attach.alive.iter().map(|alive| alive.0).collect();
        let stray = server.links().find(|link| link.0 < ordinal && !alive.contains(&link.0));
        if let Some(stray) = stray {
            self.breach(format!("link {} lives on although the hello of {ordinal} does not list it", stray.0));
        }
        if self.burnt.contains(&(index, ordinal)) {
            self.breach(format!("link {ordinal} was accepted, and had been ended before"));
        }
        if self.client.id() == Some(attach.session) && forgotten(&self.client.report(), hello.ordinal) {
            self.breach(format!("link {ordinal} was accepted, and both sides had forgotten it"));
        }
        self.burnt.extend((1..=ordinal).filter(|lower| !alive.contains(lower)).map(|lower| (index, lower)));
    }

    /// Leaves out of the healing what is sound: the links that both halves hold.
    pub(super) fn heal_gently(&mut self) {
        for index in 0..self.paths.len() {
            let path = &self.paths[index];
            let sound = path.welcomed && path.open == [true, true] && self.is_current(path.server);
            if !sound {
                self.cut(index, [true, true]);
            }
        }
    }

    /// With one of several links stuck, what waits takes another, and the stuck one is noticed.
    pub(super) fn settle_around_a_stuck_link(&mut self) -> Result<(), String> {
        let sound: Vec<usize> = (0..self.paths.len()).filter(|&index| self.paths[index].open == [true, true]).collect();
        let [stuck, _, ..] = sound[..] else { return Ok(()) };
        self.paths[stuck].stuck = true;
        // What is realtime may grow stale on it.
        let wanted: Vec<u32> =
            (0..).zip(TUNNELS).filter(|(_, tunnel)| tunnel.0 == Class::Reliable).map(|(at, _)| at).collect();
        let missing = |pair: &Self| -> u64 {
            let counts = wanted.iter().map(|&flow| pair.ledger.counts(flow, false));
            counts.map(|(sent, received)| u64::from(sent.saturating_sub(received))).sum()
        };
        let before = missing(self);
        (0..SOURCES).for_each(|source| self.send(source, 100));
        self.drain()?;
        let ordinal = self.paths[stuck].ordinal;
        let waited = self.client.link(ordinal).is_some_and(|link| link.unacked > 0);
        self.settle()?;
        if let Some(link) = self.client.link(ordinal).filter(|_| waited)
            && link.suspect.is_none()
        {
            return Err(format!("link {} is stuck for {STUCK:?}, and not suspect", ordinal.0));
        }
        if missing(self) > before && self.client.phase() == Phase::Established {
            return Err("a datagram waits for a stuck link while another is sound".to_owned());
        }
        self.paths[stuck].stuck = false;
        Ok(())
    }

    /// What the laws have found so far.
    pub(super) fn check_laws(&mut self) -> Result<(), String> {
        self.breach.take().map_or(Ok(()), Err)
    }

    pub(super) fn is_current(&self, server: usize) -> bool {
        self.servers[server].as_ref().is_some_and(|server| server.id() == self.client.id())
    }

    fn breach(&mut self, what: String) {
        self.breach.get_or_insert(what);
    }
}

/// Whether the client knows everything of a link, and so does the server.
fn forgotten(client: &Report, ordinal: Ordinal) -> bool {
    let alive = client.links.iter().any(|link| link.ordinal == ordinal);
    !alive && !client.dialling.contains(&ordinal) && !client.ended.contains(&ordinal)
}

/// How long a link is stuck: as long as one settling takes.
const STUCK: Duration = Duration::from_secs(6);
