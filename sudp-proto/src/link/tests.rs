//! Links under test: one end alone against bytes, or two ends against each other.

mod chunks;
mod frames;
mod life;
mod out;
mod proxies;
mod request;
mod response;

use std::time::Duration;

use super::*;

/// The one instant from which all others count, a day late, so that nothing before it is missing.
#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
fn epoch() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

fn expect() -> ServerExpect {
    ServerExpect {
        path: "/sudp".into(),
        origins: vec!["https://ok.example".into()],
        subprotocol: Subprotocol::Required,
        quiet: false,
    }
}

fn upgrade() -> ClientUpgrade {
    ClientUpgrade::new(Scheme::Ws, "sudp.example", 80, "/sudp").unwrap()
}

fn client() -> Link {
    Link::client(epoch(), upgrade(), LinkLimits::default(), Seed::from(1))
}

fn server() -> Link {
    Link::server(epoch(), expect(), LinkLimits::default(), Seed::from(2))
}

/// Everything that comes out of a link.
#[derive(Debug, Default)]
struct Seen {
    events: Vec<LinkEvent>,
    output: Vec<u8>,
}

impl Seen {
    fn end(&self) -> Option<&LinkEnd> {
        match self.events.last() {
            Some(LinkEvent::Ended(end)) => Some(end),
            _ => None,
        }
    }

    fn messages(&self) -> Vec<&[u8]> {
        let messages = self.events.iter().filter_map(|event| match event {
            LinkEvent::Message(bytes) | LinkEvent::Text(bytes) => Some(&bytes[..]),
            LinkEvent::Ended(_) | LinkEvent::Open { .. } | LinkEvent::Request(_) | LinkEvent::Stranger(_) => None,
        });
        messages.collect()
    }
}

/// Feeds a link in pieces of at most `piece` bytes and takes all that comes out, accepting requests if
/// told to.
fn feed(link: &mut Link, bytes: &[u8], piece: usize, accept: bool) -> Seen {
    let mut seen = Seen::default();
    let mut input = BytesMut::new();
    drain(link, accept, &mut seen);
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        loop {
            let before = input.len();
            link.handle_input(epoch(), &mut input);
            drain(link, accept, &mut seen);
            if input.len() == before {
                break;
            }
        }
    }
    seen
}

fn drain(link: &mut Link, accept: bool, seen: &mut Seen) {
    while let Some(event) = link.poll_event() {
        if accept && matches!(event, LinkEvent::Request(_)) {
            link.accept(epoch()).unwrap();
        }
        seen.events.push(event);
    }
    seen.output.extend_from_slice(link.output());
    let written = link.output().len();
    link.advance_output(written);
}

/// Passes what one link wrote to the other, both ways, until both are silent.
fn exchange(client: &mut Link, server: &mut Link) -> (Seen, Seen) {
    let (mut at_client, mut at_server) = (Seen::default(), Seen::default());
    loop {
        let up = client.output().to_vec();
        client.advance_output(up.len());
        let seen = feed(server, &up, usize::MAX, true);
        at_server.events.extend(seen.events);
        let quiet = up.is_empty() && seen.output.is_empty();
        let seen = feed(client, &seen.output, usize::MAX, true);
        at_client.events.extend(seen.events);
        client.output.extend_from_slice(&seen.output);
        if quiet && client.output().is_empty() {
            return (at_client, at_server);
        }
    }
}

/// Two open ends.
fn pair() -> (Link, Link) {
    pair_with(LinkLimits::default())
}

fn pair_with(limits: LinkLimits) -> (Link, Link) {
    let mut client = Link::client(epoch(), upgrade(), limits, Seed::from(1));
    let mut server = Link::server(epoch(), expect(), limits, Seed::from(2));
    exchange(&mut client, &mut server);
    assert!(client.is_open() && server.is_open());
    (client, server)
}
