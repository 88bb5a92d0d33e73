//! From which of a host's addresses each peer is answered.

use std::collections::HashMap;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// To which of our addresses each peer's last datagram came.
///
/// An answer from another address of the same host is one that no peer has asked for: it would be dropped. Peers
/// that were neither heard nor answered for long are forgotten, for anybody can make up peers.
#[derive(Debug, Default)]
pub(super) struct Sources {
    young: HashMap<SocketAddr, IpAddr>,
    /// The generation before: who is met again moves to the young one, the others go with it.
    old: HashMap<SocketAddr, IpAddr>,
    /// Datagrams of one peer stand together.
    last: Option<(SocketAddr, IpAddr)>,
}

impl Sources {
    pub(super) fn remember(&mut self, peer: SocketAddr, local: IpAddr) {
        if self.last == Some((peer, local)) || !can_send(local) {
            return;
        }
        self.insert(peer, local);
    }

    pub(super) fn forget(&mut self, peer: SocketAddr) {
        self.last = None;
        self.young.remove(&peer);
        self.old.remove(&peer);
    }

    pub(super) fn of(&mut self, peer: SocketAddr) -> Option<IpAddr> {
        match self.last {
            Some((last, local)) if last == peer => return Some(local),
            Some(_) | None => {}
        }
        if let Some(&local) = self.young.get(&peer) {
            self.last = Some((peer, local));
            return Some(local);
        }
        let local = self.old.remove(&peer)?;
        self.insert(peer, local);
        Some(local)
    }

    fn insert(&mut self, peer: SocketAddr, local: IpAddr) {
        self.last = Some((peer, local));
        if self.young.len() >= GENERATION && !self.young.contains_key(&peer) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(peer, local);
    }
}

/// What was sent to a group or to everyone is not answered from there.
fn can_send(local: IpAddr) -> bool {
    let local = local.to_canonical();
    !local.is_unspecified() && !local.is_multicast() && local != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Peers in one generation.
const GENERATION: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_peer_is_answered_from_where_it_last_spoke_to() {
        let mut sources = Sources::default();
        sources.remember(peer(1), HOME);
        sources.remember(peer(2), AWAY);
        sources.remember(peer(1), AWAY);
        sources.remember(peer(2), HOME);

        assert_eq!([sources.of(peer(1)), sources.of(peer(2)), sources.of(peer(3))], [Some(AWAY), Some(HOME), None]);
    }

    #[test]
    fn peers_without_end_fill_two_generations_and_no_more() {
        let mut sources = Sources::default();
        for number in 0..3 * count() + 5 {
            sources.remember(peer(number), HOME);
            assert!(sources.young.len() <= GENERATION && sources.old.len() <= GENERATION);
        }
        assert_eq!(sources.young.len() + sources.old.len(), GENERATION + 5);
    }

    #[test]
    fn a_peer_that_is_answered_outlives_those_that_only_came() {
        let mut sources = Sources::default();
        sources.remember(peer(0), AWAY);
        for number in 1..4 * count() {
            sources.remember(peer(number), HOME);
            if number % 1_000 == 0 {
                assert_eq!(sources.of(peer(0)), Some(AWAY), "after {number}");
            }
        }
        assert_eq!(sources.of(peer(1)), None);
    }

    #[test]
    fn a_group_is_no_address_to_answer_from() {
        let mut sources = Sources::default();
        for group in ["224.0.0.251", "255.255.255.255", "0.0.0.0", "ff02::fb", "::ffff:224.0.0.251"] {
            sources.remember(peer(1), group.parse().expect("an address"));
        }
        assert_eq!(sources.of(peer(1)), None);
    }

    #[test]
    fn what_is_forgotten_stays_so_in_both_generations() {
        let mut sources = Sources::default();
        sources.remember(peer(0), HOME);
        for number in 1..=count() {
            sources.remember(peer(number), HOME);
        }
        sources.forget(peer(0));
        sources.forget(peer(count()));
        assert_eq!([sources.of(peer(0)), sources.of(peer(count()))], [None, None]);
    }

    fn count() -> u32 {
        u32::try_from(GENERATION).expect("fits")
    }

    fn peer(number: u32) -> SocketAddr {
        (Ipv4Addr::from(number), 4_000).into()
    }
}
