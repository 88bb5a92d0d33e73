use std::collections::BTreeMap;

use super::*;
use crate::clock::at;
use crate::net::Trouble;

const END: Duration = Duration::from_secs(10);

struct Edge {
    net: Net,
    apps: Apps,
    here: SocketAddr,
    there: SocketAddr,
}

impl Edge {
    /// Two machines, and a socket on each.
    fn new() -> (Self, Socket, Socket) {
        let mut net = Net::new(&Seed::from(1));
        let (local, far) = (net.host([127, 0, 0, 1].into()), net.host([10, 0, 0, 1].into()));
        net.set_hop(Duration::from_micros(200));
        let (one, here) = net.bind(local, "127.0.0.1:0".parse().unwrap()).unwrap();
        let (two, there) = net.bind(far, "10.0.0.1:53".parse().unwrap()).unwrap();
        (Self { net, apps: Apps::new(), here, there }, one, two)
    }

    fn sending(&self, rhythm: Rhythm) -> Sending {
        Sending { flow: 7, to: self.there, rhythm, size: (100, 100), limit: None, manners: Manners::default() }
    }

    fn run(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(now) = self.net.next_at().filter(|now| *now <= at(END)) {
            self.net.advance(now);
            while let Some(ready) = self.net.poll_ready() {
                self.apps.handle(now, &mut self.net, &ready);
            }
            seen.extend(std::iter::from_fn(|| self.apps.poll_seen()));
        }
        seen
    }
}

fn count(seen: &[Seen], app: AppId, what: What) -> usize {
    seen.iter().filter(|it| it.app == app && it.what == what).count()
}

#[test]
fn a_stamp_survives_and_any_change_is_noticed() {
    let stamp = Stamp { flow: 5, answer: true, sequence: 77, sent_micros: 600_000_000 };
    for size in [16, 17, 1_200, 65_507] {
        let mut payload = Vec::new();
        stamp.emit(size, &mut payload);
        assert_eq!(payload.len(), size);
        assert_eq!(Stamp::parse(&payload), Some(stamp));
        assert_eq!(Stamp::parse(&payload[..size - 1]), None);
        if size > 16 {
            payload[size / 2 + 8] ^= 1;
            assert_eq!(Stamp::parse(&payload), None);
        }
    }
}

#[test]
fn a_steady_application_keeps_its_rate_and_an_echo_answers_each() {
    let (mut edge, one, two) = Edge::new();
    let sending = edge.sending(Rhythm::steady(Duration::from_millis(20)));
    let app = edge.apps.send(at(Duration::ZERO), &mut edge.net, one, &Seed::from(2), sending);
    let echo = edge.apps.serve(two, &Seed::from(3), Service::Echo);
    let seen = edge.run();
    assert_eq!(count(&seen, app, What::Sent), 500);
    assert_eq!(count(&seen, echo, What::Received), 500);
    assert_eq!(count(&seen, app, What::Received), 500);
    let answers: Vec<_> = seen.iter().filter(|it| it.app == app && it.what == What::Received).collect();
    assert!(answers.iter().all(|it| it.stamp.unwrap().answer && it.peer == edge.there));
    assert!(answers.iter().zip(0..).all(|(it, number)| it.stamp.unwrap().sequence == number));
    assert!(seen.iter().filter(|it| it.app == echo).all(|it| it.peer == edge.here));
}

#[test]
fn a_flood_has_its_bytes_per_second() {
    let (mut edge, one, _) = Edge::new();
    let sending = Sending { size: (1_000, 1_000), ..edge.sending(Rhythm::flood(1_000_000, 1_000)) };
    let app = edge.apps.send(at(Duration::ZERO), &mut edge.net, one, &Seed::from(2), sending);
    let seen = edge.run();
    assert!((9_990..=10_000).contains(&count(&seen, app, What::Sent)), "{}", count(&seen, app, What::Sent));
}

#[test]
fn an_asking_application_waits_for_its_answer_and_does_not_wait_for_ever() {
    let (mut edge, one, two) = Edge::new();
    let sending = edge.sending(Rhythm::asking(Duration::from_millis(100)));
    let app = edge.apps.send(at(Duration::ZERO), &mut edge.net, one, &Seed::from(2), sending);
    let service = Service::Reply { size: 50, count: 2, after: Duration::from_millis(300) };
    edge.apps.serve(two, &Seed::from(3), service);
    let seen = edge.run();
    let (sent, received) = (count(&seen, app, What::Sent), count(&seen, app, What::Received));
    assert!((20..=30).contains(&sent), "{sent}");
    assert_eq!(received / 2 * 2, received);

    let (mut edge, one, _) = Edge::new();
    let sending = edge.sending(Rhythm::asking(Duration::from_millis(100)));
    let app = edge.apps.send(at(Duration::ZERO), &mut edge.net, one, &Seed::from(2), sending);
    assert_eq!(count(&edge.run(), app, What::Sent), 2, "one at the start, one after 5 s");
}

#[test]
fn bad_manners_double_reorder_and_drop() {
    let (mut edge, one, two) = Edge::new();
    let manners = Manners { dropped: 100, doubled: 100, reordered: 100 };
    let sending = Sending { manners, ..edge.sending(Rhythm::steady(Duration::from_millis(5))) };
    edge.apps.send(at(Duration::ZERO), &mut edge.net, one, &Seed::from(2), sending);
    let sink = edge.apps.serve(two, &Seed::from(3), Service::Silent);
    let seen = edge.run();
    let got: Vec<u32> = seen.iter().filter(|it| it.app == sink).map(|it| it.stamp.unwrap().sequence).collect();
    let mut times = BTreeMap::new();
    for sequence in &got {
        *times.entry(*sequence).or_insert(0) += 1;
    }
    assert!(times.values().filter(|times| **times == 2).count() > 100);
    assert!(times.len() < 1_900, "some were never sent");
    assert!(got.windows(2).filter(|two| two[0] > two[1]).count() > 100);
    assert!(times.values().all(|times| *times <= 2));
}

#[test]
fn empty_datagrams_and_one_shot_flows_work() {
    let (mut edge, one, two) = Edge::new();
    let sending = Sending { size: (0, 0), limit: Some(1), ..edge.sending(Rhythm::sparse()) };
    let app = edge.apps.send(at(Duration::ZERO), &mut edge.net, one, &Seed::from(2), sending);
    let echo = edge.apps.serve(two, &Seed::from(3), Service::Echo);
    let seen = edge.run();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|it| it.len == 0 && it.stamp.is_none() && it.what != What::Garbled));
    assert_eq!(count(&seen, app, What::Received), count(&seen, echo, What::Sent));
}

#[test]
fn what_the_network_refuses_is_counted_and_not_seen() {
    let (mut edge, one, _) = Edge::new();
    edge.net.set_trouble(edge.there, Some(Trouble::Full(at(Duration::from_secs(5)))));
    let sending = edge.sending(Rhythm::steady(Duration::from_millis(100)));
    let app = edge.apps.send(at(Duration::ZERO), &mut edge.net, one, &Seed::from(2), sending);
    let seen = edge.run();
    assert_eq!(count(&seen, app, What::Sent), 50);
    assert_eq!(edge.apps.refused(app), 50);
}

#[test]
fn a_stopped_application_is_silent() {
    let (mut edge, one, _) = Edge::new();
    let sending = edge.sending(Rhythm::sparse());
    let app = edge.apps.send(at(Duration::ZERO), &mut edge.net, one, &Seed::from(2), sending);
    edge.apps.stop(app);
    assert_eq!(edge.run(), []);
}
