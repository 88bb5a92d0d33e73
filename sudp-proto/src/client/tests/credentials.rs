//! What a client shows to be let in, to whom, and when.

use super::rig::{Rig, open_access};
use super::*;
use crate::event::Event;
use crate::testing::{ms, secs};
use crate::wire::Ticket;

fn bearer(token: &str) -> Option<Credential> {
    Some(Credential::bearer(token).unwrap())
}

fn ticket(words: &'static [u8]) -> Ticket {
    Ticket(Bytes::from_static(words))
}

/// A server that wants this, and a client that has something to show.
fn rig(wants: &'static str, shows: &str, links: usize) -> Rig {
    let mut rig = Rig::new(links);
    rig.hosts[0].wants = Some(wants);
    let now = rig.now;
    rig.client.set_credential(now, bearer(shows));
    rig
}

/// What the claims of a server have shown: the credential, and the ticket.
fn shown(rig: &Rig) -> Vec<(Option<&str>, &[u8])> {
    rig.hosts[0].claims.iter().map(|claim| (claim.head.header("Authorization"), &claim.hello.ticket.0[..])).collect()
}

fn renewals(rig: &Rig) -> Vec<Result<(), Code>> {
    let renewed = |event: &Event| if let Event::Renewed(outcome) = event { Some(*outcome) } else { None };
    rig.events.iter().filter_map(renewed).collect()
}

#[test]
fn a_credential_founds_a_session_and_no_link_that_attaches_carries_it() {
    let mut rig = rig("Bearer good", "good", 3);
    rig.run(secs(12));
    rig.cut_all();
    rig.run(secs(5));
    let shown = shown(&rig);
    assert!(shown.len() > 4, "{shown:?}");
    assert_eq!(shown[0], (Some("Bearer good"), &b""[..]));
    assert!(shown[1..].iter().all(|shown| *shown == (None, b"")), "{shown:?}");
}

#[test]
fn a_ticket_is_shown_to_a_server_that_forgot_the_session_and_the_credential_is_not() {
    let mut rig = rig("Bearer good", "good", 1);
    rig.hosts[0].ticket = ticket(b"come again");
    rig.run(secs(12));
    rig.restart_host(0);
    rig.send(b"one");
    rig.run(secs(5));
    let founding: Vec<_> = rig.hosts[0].claims.iter().filter(|claim| claim.hello.attach.is_none()).cloned().collect();
    assert_eq!(founding.len(), 1);
    assert_eq!((founding[0].head.header("Authorization"), &founding[0].hello.ticket), (None, &ticket(b"come again")));
    assert_eq!(rig.served(), ["one"]);
}

#[test]
fn a_ticket_that_is_refused_is_forgotten_and_the_credential_shown_at_once() {
    let mut rig = rig("Bearer good", "good", 1);
    rig.hosts[0].ticket = ticket(b"come again");
    rig.run(secs(12));
    rig.restart_host(0);
    rig.hosts[0].ticket = ticket(b"another key");
    rig.run(ms(1_600));
    let founding = rig.hosts[0].claims.iter().filter(|claim| claim.hello.attach.is_none());
    let founding: Vec<_> = founding.map(|claim| claim.head.header("Authorization").is_some()).collect();
    assert_eq!(founding, [false, true], "the ticket first, then what it stood for");
    assert_eq!(rig.hosts[0].standing().len(), 1);
    assert!(rig.client.poll_failure().is_none_or(|failure| !failure.to_string().contains("404")), "no word of it");
}

#[test]
fn a_new_credential_renews_a_session_that_stands_and_founds_the_next() {
    let mut rig = rig("Bearer one", "one", 1);
    rig.run(secs(12));
    let session = rig.hosts[0].standing();
    rig.hosts[0].wants = Some("Bearer two");
    let now = rig.now;
    rig.client.set_credential(now, bearer("two"));
    rig.run(secs(1));
    assert_eq!(renewals(&rig), [Ok(())]);
    assert_eq!((rig.hosts[0].standing(), rig.lost()), (session.clone(), Vec::new()));
    // The same once more is no news.
    let now = rig.now;
    rig.client.set_credential(now, bearer("two"));
    rig.run(secs(1));
    assert_eq!(renewals(&rig).len(), 1);
    // One that is not taken costs nothing as long as the grant lasts.
    let now = rig.now;
    rig.client.set_credential(now, bearer("three"));
    rig.run(secs(1));
    assert_eq!(renewals(&rig), [Ok(()), Err(Code::Denied)]);
    assert_eq!(rig.hosts[0].standing(), session);
    let now = rig.now;
    rig.client.set_credential(now, bearer("two"));
    rig.restart_host(0);
    rig.run(secs(3));
    assert_eq!(rig.hosts[0].standing().len(), 1);
}

#[test]
fn a_renewal_survives_the_link_it_was_sent_on() {
    let mut rig = rig("Bearer one", "one", 1);
    rig.run(secs(12));
    rig.hosts[0].wants = Some("Bearer two");
    let now = rig.now;
    rig.client.set_credential(now, bearer("two"));
    rig.cut_all();
    rig.run(secs(5));
    assert_eq!(renewals(&rig), [Ok(())]);
}

#[test]
fn what_was_refused_is_asked_again_at_once_with_another_credential() {
    let mut rig = rig("Bearer good", "bad", 1);
    rig.run(secs(40));
    assert_eq!(rig.hosts[0].standing(), []);
    let said = std::iter::from_fn(|| rig.client.poll_failure()).last().expect("it was refused").to_string();
    assert!(said.contains("either the credentials are not accepted there, or nothing of that path is"), "{said}");
    let now = rig.now;
    rig.client.set_credential(now, bearer("good"));
    rig.run(ms(500));
    assert_eq!(rig.hosts[0].standing().len(), 1);
}

#[test]
fn a_grant_that_ends_is_followed_by_a_session_with_what_the_client_has_by_then() {
    let mut rig = rig("Bearer one", "one", 1);
    rig.hosts[0].ticket = ticket(b"for one");
    rig.run(secs(12));
    let now = rig.now;
    let mut access = open_access();
    access.grant.expires = Some(now + secs(5));
    let session = rig.hosts[0].standing()[0];
    rig.hosts[0].sessions.get_mut(&session).unwrap().regrant(now, Some(access));
    rig.hosts[0].ticket = Ticket::default();
    rig.client.set_credential(now, bearer("two"));
    rig.run(secs(1));
    assert_eq!(renewals(&rig), [Err(Code::Denied)]);
    rig.hosts[0].wants = Some("Bearer two");
    rig.run(secs(5));
    assert_eq!(rig.lost(), [Code::Expired]);
    assert_ne!(rig.hosts[0].standing()[0], session);
    assert_eq!(rig.hosts[0].claims.last().unwrap().head.header("Authorization"), Some("Bearer two"));
}

#[test]
fn a_credential_and_a_header_of_the_same_name_do_not_go_together() {
    let servers = vec![ServerConfig::new(Scheme::Ws, Address::from(SocketAddr::from(([192, 0, 2, 1], 80))))];
    let mut setup = ClientSetup::new(ClientConfig::new(servers), Pool::memory(64 << 20, 128 << 10), Seed::from(1));
    setup.credential = bearer("a");
    assert_eq!(setup.validate(), Ok(()));
    setup.headers.push(("authorization".into(), "Basic b".into()));
    assert_eq!(setup.validate(), Err(SetupError::CredentialTwice));
}

#[test]
fn nothing_that_opens_doors_shows_in_any_debug_output() {
    let mut rig = rig("Bearer c4n4ry", "c4n4ry", 1);
    rig.hosts[0].ticket = ticket(b"t1ck3t");
    rig.run(secs(2));
    let raw = format!("{:?}", Bytes::from_static(b"t1ck3t"));
    let now = rig.now;
    rig.client.set_credential(now, bearer("c4n4ry2"));
    rig.run(ms(100));
    let mut shown = format!("{:?} {:?}", rig.client, rig.hosts[0].sessions);
    for claim in &rig.hosts[0].claims {
        shown += &format!("{claim:?}");
    }
    shown += &format!("{:?} {:?}", rig.events, rig.hosts[0].events);
    for secret in ["c4n4ry", "t1ck3t", &raw] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn a_client_whose_credential_is_still_to_come_dials_nobody() {
    let servers = vec![ServerConfig::new(Scheme::Ws, Address::from(SocketAddr::from(([192, 0, 2, 1], 80))))];
    let mut setup = ClientSetup::new(ClientConfig::new(servers), Pool::memory(64 << 20, 128 << 10), Seed::from(1));
    setup.awaits_credential = true;
    let now = crate::testing::epoch();
    let mut client = Client::new(now, setup);
    assert_eq!(client.poll_order(now), None);
    client.set_credential(now, None);
    assert_eq!(client.poll_order(now), None);
    client.set_credential(now, bearer("here it is"));
    assert!(matches!(client.poll_order(now), Some(Order::Dial { .. })));
}

/// How a refusal of what is no longer shown is taken, while its answer is still on its way.
fn refused_while_it_changes(first: Option<&str>, links: usize) {
    let mut rig = Rig::new(links);
    rig.hosts[0].wants = Some("Bearer good");
    rig.latency = ms(200);
    let now = rig.now;
    rig.client.set_credential(now, first.and_then(bearer));
    rig.run(ms(700));
    assert_eq!((rig.hosts[0].claims.len(), rig.client.poll_failure().is_none()), (1, true), "the answer is under way");
    let now = rig.now;
    rig.client.set_credential(now, bearer("good"));
    rig.run(secs(3));
    assert_eq!(rig.hosts[0].standing().len(), 1, "{first:?}");
    assert!(rig.client.poll_failure().is_none(), "nothing that is shown was refused");
}

#[test]
fn what_is_refused_after_it_was_replaced_says_nothing_of_what_is_shown_now() {
    refused_while_it_changes(Some("bad"), 1);
    refused_while_it_changes(None, 1);
}

#[test]
fn a_ticket_that_is_refused_after_its_credential_was_replaced_costs_no_time_either() {
    let mut rig = rig("Bearer one", "one", 1);
    rig.hosts[0].ticket = ticket(b"for one");
    rig.run(secs(12));
    rig.latency = ms(200);
    rig.restart_host(0);
    (rig.hosts[0].wants, rig.hosts[0].ticket) = (Some("Bearer two"), ticket(b"for two"));
    while rig.hosts[0].claims.iter().all(|claim| claim.hello.attach.is_some()) {
        rig.run(ms(10));
    }
    let now = rig.now;
    rig.client.set_credential(now, bearer("two"));
    rig.run(secs(3));
    assert_eq!(rig.hosts[0].standing().len(), 1);
}
