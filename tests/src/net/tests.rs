use std::io::ErrorKind;

use super::*;
use crate::clock::{at, epoch};
use crate::pipe::Line;

mod boxes;

struct World {
    net: Net,
    client: Host,
    server: Host,
    door: SocketAddr,
    now: Instant,
    seen: Vec<(Instant, Ready)>,
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl World {
    fn new(path: Path) -> Self {
        let mut net = Net::new(&Seed::from(9));
        let (client, server) = (net.host([10, 0, 0, 1].into()), net.host([10, 0, 0, 2].into()));
        let door = SocketAddr::new(net.address(server), 8080);
        net.listen(server, door, Listener::Open);
        net.set_paths(client, door, vec![path]);
        Self { net, client, server, door, now: epoch(), seen: Vec::new() }
    }

    fn direct(latency: u64) -> Self {
        Self::new(Path::direct(&Line::with_latency(ms(latency))))
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.net.next_at().filter(|next| *next <= end) {
            assert!(next >= self.now);
            self.now = next;
            self.net.advance(next);
            while let Some(ready) = self.net.poll_ready() {
                self.seen.push((next, ready));
            }
        }
        self.now = end;
        self.net.advance(end);
    }

    fn connect(&mut self) -> Conn {
        let conn = self.net.dial(self.now, self.client, self.door);
        self.run_for(ms(1_000));
        assert_eq!(self.net.dialled(conn), Dialled::Open);
        assert_eq!(self.net.accept(self.door), Some(conn));
        self.seen.clear();
        conn
    }

    fn read(&mut self, conn: Conn, side: Side) -> (Vec<u8>, Next) {
        let mut into = Vec::new();
        loop {
            match self.net.read(self.now, conn, side, &mut into, 64 << 10).next {
                Next::More => {}
                next @ (Next::Blocked | Next::End | Next::Reset) => return (into, next),
            }
        }
    }

    fn write(&mut self, conn: Conn, side: Side, bytes: &[u8]) -> Result<usize, Broken> {
        self.net.write(self.now, conn, side, bytes)
    }

    /// When, since `from`, the first notification of this kind came.
    fn first(&self, from: Instant, side: Side, way: Way) -> Option<Duration> {
        let wanted = |ready: &Ready| matches!(ready, Ready::Stream { side: s, way: w, .. } if *s == side && *w == way);
        self.seen.iter().find(|(_, ready)| wanted(ready)).map(|(when, _)| *when - from)
    }
}

#[test]
fn a_dial_takes_one_round_trip_and_the_server_hears_of_it_half_way() {
    let mut world = World::direct(40);
    let conn = world.net.dial(world.now, world.client, world.door);
    assert_eq!(world.net.dialled(conn), Dialled::Pending);
    world.run_for(ms(100));
    let out = Ready::Stream { conn, side: Side::Client, way: Way::Out };
    let accept = Ready::Accept { host: world.server, listener: world.door };
    assert_eq!(world.seen, [(at(ms(40)), accept), (at(ms(80)), out)]);
    let (own, other) = world.net.addresses(conn, Side::Server).unwrap();
    assert_eq!((own, other.ip()), (world.door, [10, 0, 0, 1].into()));
}

#[test]
fn a_refusal_takes_a_round_trip_and_a_black_hole_two_minutes() {
    let mut world = World::direct(40);
    world.net.listen(world.server, world.door, Listener::Refusing);
    let refused = world.net.dial(world.now, world.client, world.door);
    let closed = world.net.dial(world.now, world.client, SocketAddr::new(world.net.address(world.server), 1));
    world.run_for(ms(80));
    assert_eq!(world.net.dialled(refused), Dialled::Failed(ErrorKind::ConnectionRefused));
    assert_eq!(world.net.dialled(closed), Dialled::Failed(ErrorKind::ConnectionRefused));

    world.net.listen(world.server, world.door, Listener::BlackHole);
    let lost = world.net.dial(world.now, world.client, world.door);
    world.run_for(ms(127_000));
    assert_eq!(world.net.dialled(lost), Dialled::Pending);
    world.run_for(ms(40));
    assert_eq!(world.net.dialled(lost), Dialled::Failed(ErrorKind::TimedOut));
}

#[test]
fn a_dial_into_an_outage_connects_with_the_next_syn() {
    let mut world = World::direct(10);
    world.net.outage(world.now, world.client, world.server, Some(at(ms(2_500))));
    let conn = world.net.dial(world.now, world.client, world.door);
    world.run_for(ms(3_019));
    assert_eq!(world.net.dialled(conn), Dialled::Pending);
    world.run_for(ms(1));
    assert_eq!(world.net.dialled(conn), Dialled::Open);
}

#[test]
fn a_dial_given_up_half_way_resets_the_server() {
    let mut world = World::direct(40);
    let conn = world.net.dial(world.now, world.client, world.door);
    world.run_for(ms(50));
    assert_eq!(world.net.accept(world.door), Some(conn));
    world.net.close(world.now, conn, Side::Client);
    world.run_for(ms(40));
    assert_eq!(world.read(conn, Side::Server).1, Next::Reset);
    world.net.close(world.now, conn, Side::Server);
    assert_eq!(world.net.connections(), []);

    let unheard = world.net.dial(world.now, world.client, world.door);
    world.net.close(world.now, unheard, Side::Client);
    world.run_for(ms(100));
    assert_eq!((world.net.accept(world.door), world.net.connections()), (None, vec![]));
}

#[test]
fn bytes_arrive_after_the_latency_with_one_notification() {
    let mut world = World::direct(25);
    let conn = world.connect();
    let start = world.now;
    assert_eq!(world.write(conn, Side::Client, b"hello"), Ok(5));
    assert_eq!(world.write(conn, Side::Client, b" there"), Ok(6));
    world.run_for(ms(500));
    assert_eq!(world.seen.len(), 1);
    assert_eq!(world.first(start, Side::Server, Way::In), Some(ms(25)));
    assert_eq!(world.read(conn, Side::Server), (b"hello there".to_vec(), Next::Blocked));
}

#[test]
fn a_pushed_back_writer_is_called_when_the_reader_has_made_room() {
    let mut world = World::new(Path::direct(&Line::with_latency(ms(5)).capacity(10_000)));
    let conn = world.connect();
    assert_eq!(world.write(conn, Side::Client, &[1; 15_000]), Ok(10_000));
    world.run_for(ms(100));
    assert_eq!(world.first(epoch(), Side::Client, Way::Out), None);
    assert_eq!(world.read(conn, Side::Server).0.len(), 10_000);
    world.run_for(ms(1));
    assert!(world.first(epoch(), Side::Client, Way::Out).is_some());
    assert_eq!(world.write(conn, Side::Client, &[1; 5_000]), Ok(5_000));
}

#[test]
fn a_cut_gives_the_reader_exactly_so_many_bytes_and_both_a_reset() {
    for bytes in [0, 1, 7, 10] {
        let mut world = World::direct(25);
        let conn = world.connect();
        world.net.inject(world.now, conn, Leg::Near, Fault::Cut { direction: Direction::Up, bytes });
        let _ = world.write(conn, Side::Client, b"0123456789");
        world.run_for(ms(100));
        let (got, next) = world.read(conn, Side::Server);
        assert_eq!((got.len() as u64, next), (bytes, Next::Reset));
        assert_eq!(world.read(conn, Side::Client).1, Next::Reset);
        assert_eq!(world.write(conn, Side::Client, b"x"), Err(Broken));
        assert_eq!(world.write(conn, Side::Server, b"x"), Err(Broken));
        assert!(world.first(epoch(), Side::Client, Way::In).is_some(), "told without having asked again");
    }
}

#[test]
fn half_open_is_silence_in_one_direction_only() {
    let mut world = World::direct(25);
    let conn = world.connect();
    world.net.inject(world.now, conn, Leg::Near, Fault::HalfOpen(Direction::Up));
    assert_eq!(world.write(conn, Side::Client, b"lost"), Ok(4));
    assert_eq!(world.write(conn, Side::Server, b"found"), Ok(5));
    world.run_for(ms(60_000));
    assert_eq!(world.read(conn, Side::Server), (vec![], Next::Blocked));
    assert_eq!(world.read(conn, Side::Client), (b"found".to_vec(), Next::Blocked));
    world.net.close(world.now, conn, Side::Client);
    world.run_for(ms(60_000));
    assert_eq!(world.read(conn, Side::Server), (vec![], Next::Blocked), "not even the end comes through");
}

#[test]
fn late_bytes_of_a_reset_side_still_arrive() {
    let mut world = World::direct(25);
    let conn = world.connect();
    assert_eq!(world.write(conn, Side::Client, b"late"), Ok(4));
    let news = Some(ms(300));
    world.net.inject(world.now, conn, Leg::Near, Fault::Late { side: Side::Client, news });
    world.run_for(Duration::ZERO);
    assert_eq!(world.read(conn, Side::Client).1, Next::Reset);
    assert_eq!(world.write(conn, Side::Client, b"x"), Err(Broken));
    world.run_for(ms(100));
    assert_eq!(world.read(conn, Side::Server), (b"late".to_vec(), Next::Blocked));
    world.run_for(ms(200));
    assert_eq!(world.read(conn, Side::Server).1, Next::Reset);
}

#[test]
fn an_outage_is_over_when_tcp_tries_again() {
    let mut world = World::direct(10);
    let conn = world.connect();
    let start = world.now;
    world.net.outage(start, world.client, world.server, Some(start + ms(1_000)));
    assert_eq!(world.write(conn, Side::Client, b"x"), Ok(1));
    world.run_for(ms(5_000));
    assert_eq!(world.first(start, Side::Server, Way::In), Some(ms(1_410)), "tries at 200, 600 and 1,400 ms");
}

#[test]
fn healing_delivers_what_an_endless_outage_held_back() {
    let mut world = World::direct(10);
    let conn = world.connect();
    world.net.outage(world.now, world.client, world.server, None);
    assert_eq!(world.write(conn, Side::Server, b"x"), Ok(1));
    world.run_for(ms(100_000));
    assert_eq!(world.seen, []);
    world.net.heal(world.now, world.client, world.server);
    world.run_for(ms(10));
    assert_eq!(world.read(conn, Side::Client).0, b"x");
}

#[test]
fn a_close_delivers_everything_and_a_close_of_both_forgets_the_connection() {
    let mut world = World::direct(25);
    let conn = world.connect();
    assert_eq!(world.write(conn, Side::Server, b"bye"), Ok(3));
    world.net.close(world.now, conn, Side::Server);
    world.run_for(ms(25));
    assert_eq!(world.read(conn, Side::Client), (b"bye".to_vec(), Next::End));
    assert_eq!(world.write(conn, Side::Client, b"x"), Ok(1));
    world.run_for(ms(50));
    assert_eq!(world.write(conn, Side::Client, b"x"), Err(Broken));
    assert_eq!(world.net.connections(), [conn]);
    world.net.close(world.now, conn, Side::Client);
    world.net.close(world.now, conn, Side::Client);
    assert_eq!(world.net.connections(), []);
    let next = world.net.dial(world.now, world.client, world.door);
    assert_eq!((next.index, next.generation), (conn.index, conn.generation + 1));
    assert_eq!(world.read(conn, Side::Client).1, Next::Reset);
}

#[test]
fn a_finished_side_still_reads() {
    let mut world = World::direct(25);
    let conn = world.connect();
    world.net.finish(world.now, conn, Side::Client);
    world.run_for(ms(25));
    assert_eq!(world.read(conn, Side::Server).1, Next::End);
    assert_eq!(world.write(conn, Side::Server, b"answer"), Ok(6));
    world.run_for(ms(25));
    assert_eq!(world.read(conn, Side::Client), (b"answer".to_vec(), Next::Blocked));
}

#[test]
fn a_killed_process_resets_and_a_lost_machine_says_nothing() {
    let mut world = World::direct(25);
    let conn = world.connect();
    world.net.kill(world.now, world.server);
    world.run_for(ms(25));
    assert_eq!(world.read(conn, Side::Client).1, Next::Reset);
    let conn = world.net.dial(world.now, world.client, world.door);
    world.run_for(ms(50));
    assert_eq!(world.net.dialled(conn), Dialled::Failed(ErrorKind::ConnectionRefused));

    let mut world = World::direct(25);
    let conn = world.connect();
    world.net.vanish(world.now, world.server);
    world.run_for(ms(60_000));
    assert_eq!(world.read(conn, Side::Client), (vec![], Next::Blocked));
}

#[test]
fn a_suspended_machine_hears_everything_when_it_wakes() {
    let mut world = World::direct(25);
    let conn = world.connect();
    world.net.suspend(world.server);
    assert_eq!(world.write(conn, Side::Client, b"are you there"), Ok(13));
    let dial = world.net.dial(world.now, world.client, world.door);
    world.run_for(ms(30_000));
    assert_eq!(world.seen.len(), 1, "only the client, that it has connected");
    assert_eq!(world.net.dialled(dial), Dialled::Open);
    world.net.resume(world.now, world.server);
    world.run_for(Duration::ZERO);
    let way = Way::In;
    assert!(world.seen.iter().any(|(_, it)| *it == Ready::Stream { conn, side: Side::Server, way }));
    assert!(world.seen.iter().any(|(_, it)| matches!(it, Ready::Accept { .. })));
    assert_eq!(world.read(conn, Side::Server).0, b"are you there");
}

#[test]
fn paths_of_one_address_are_chosen_by_the_seed() {
    let mut world = World::direct(0);
    let paths = [10, 20, 30].map(|latency| Path::direct(&Line::with_latency(ms(latency))));
    world.net.set_paths(world.client, world.door, paths.to_vec());
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let start = world.now;
        let conn = world.net.dial(world.now, world.client, world.door);
        world.seen.clear();
        world.run_for(ms(100));
        assert_eq!(world.net.dialled(conn), Dialled::Open);
        times.insert(world.first(start, Side::Client, Way::Out).unwrap());
    }
    assert_eq!(times.into_iter().collect::<Vec<_>>(), [ms(20), ms(40), ms(60)]);
}

fn answered(answer: Answer, wait: Duration) -> (Vec<u8>, Next) {
    let mut world = World::direct(10);
    world.net.listen(world.server, world.door, Listener::Answering(answer));
    let conn = world.net.dial(world.now, world.client, world.door);
    world.run_for(ms(20));
    assert_eq!(world.net.dialled(conn), Dialled::Open);
    assert_eq!(world.write(conn, Side::Client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), Ok(27));
    world.run_for(wait);
    assert_eq!(world.net.accept(world.door), None);
    world.read(conn, Side::Client)
}

#[test]
fn canned_answers_are_given_behind_the_head() {
    let (text, next) = answered(Answer::retry_after(429, "Too Many Requests", 7), ms(20));
    assert!(text.starts_with(b"HTTP/1.1 429 Too Many Requests\r\n") && text.ends_with(b"Retry-After: 7\r\n\r\n"));
    assert_eq!(next, Next::End);
    assert!(answered(Answer::redirect(302, "ws://evil/"), ms(20)).0.ends_with(b"Location: ws://evil/\r\n\r\n"));
    assert_eq!(answered(Answer::Greeting(b"SSH-2.0\r\n".to_vec()), ms(20)), (b"SSH-2.0\r\n".to_vec(), Next::End));
    assert_eq!(answered(Answer::Silent, ms(60_000)), (vec![], Next::Blocked));
}

#[test]
fn an_endless_head_goes_on_and_a_slow_one_trickles() {
    let (text, next) = answered(Answer::EndlessHead, ms(1_000));
    assert!(text.len() > 300_000 && next == Next::Blocked, "{}", text.len());
    assert!(text.split(|byte| *byte == b'\n').rev().skip(1).all(|line| line.starts_with(b"X-Filler")));
    let (text, next) = answered(Answer::SlowHead(ms(1_000)), ms(10_000));
    assert_eq!((text.as_slice(), next), (&b"HTTP/1.1 101"[..text.len()], Next::Blocked));
    assert!((9..=10).contains(&text.len()));
}

#[test]
fn names_are_found_after_their_time_or_not_at_all() {
    let mut world = World::direct(10);
    world.net.set_name("slow.test", vec![[1, 2, 3, 4].into()], ms(5_000));
    world.net.set_name("hangs.test", vec![[1, 2, 3, 4].into()], Duration::MAX);
    let queries = ["slow.test", "hangs.test", "none.test"].map(|name| world.net.resolve(world.now, world.client, name));
    world.run_for(ms(4_999));
    assert_eq!(queries.map(|it| world.net.resolved(it)), [Lookup::Pending, Lookup::Pending, Lookup::Failed]);
    world.run_for(ms(1));
    assert_eq!(world.net.resolved(queries[0]), Lookup::Found(vec![[1, 2, 3, 4].into()]));
    assert_eq!(world.seen.len(), 2);
}

#[test]
fn udp_goes_by_address_and_troubles_speak_as_kernels_do() {
    let mut world = World::direct(10);
    let (one, from) = world.net.bind(world.client, "10.0.0.1:0".parse().unwrap()).unwrap();
    let (two, to) = world.net.bind(world.server, "10.0.0.2:53".parse().unwrap()).unwrap();
    assert_eq!(world.net.bind(world.server, to).unwrap_err().kind(), ErrorKind::AddrInUse);
    let (mut into, t) = (Vec::new(), world.now);
    assert_eq!(world.net.send(t, one, to, b"a"), Sent::Taken);
    assert_eq!(world.net.send(t, one, to, b""), Sent::Taken);
    world.run_for(ms(1));
    assert_eq!(world.seen.len(), 1);
    assert_eq!(world.net.receive(world.now, two, &mut into), Received::Datagram { from, more: true });
    assert_eq!(into, b"a");
    assert_eq!(world.net.receive(world.now, two, &mut into), Received::Datagram { from, more: false });
    assert_eq!(into, b"");
    assert_eq!(world.net.receive(world.now, two, &mut into), Received::Blocked);

    world.net.set_trouble(to, Some(Trouble::Refusing));
    assert_eq!(world.net.send(world.now, one, to, b"b"), Sent::Taken);
    world.run_for(ms(1));
    assert_eq!(world.net.send(world.now, one, to, b"c"), Sent::Failed(ErrorKind::ConnectionRefused));
    world.net.set_trouble(to, Some(Trouble::Failing(ErrorKind::NetworkUnreachable)));
    assert_eq!(world.net.send(world.now, one, to, b"d"), Sent::Failed(ErrorKind::NetworkUnreachable));
    world.net.set_trouble(to, Some(Trouble::Full(world.now + ms(50))));
    assert_eq!(world.net.send(world.now, one, to, b"e"), Sent::Blocked);
    world.seen.clear();
    world.run_for(ms(50));
    assert_eq!(world.seen, [(world.now, Ready::Udp { socket: one, way: Way::Out })]);
    assert_eq!(world.net.send(world.now, one, to, b"e"), Sent::Taken);
    world.net.unbind(two);
    assert_eq!(world.net.socket_at(to), None);
}

#[test]
fn a_full_receive_buffer_drops_and_counts() {
    let mut world = World::direct(10);
    let (one, _) = world.net.bind(world.client, "10.0.0.1:0".parse().unwrap()).unwrap();
    let (two, to) = world.net.bind(world.server, "10.0.0.2:53".parse().unwrap()).unwrap();
    for _ in 0..100 {
        assert_eq!(world.net.send(world.now, one, to, &[0; 60_000]), Sent::Taken);
    }
    let fit = RECEIVE_BUFFER / 60_000;
    assert_eq!(world.net.overflowed(two), 100 - fit as u64);
}
