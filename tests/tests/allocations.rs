//! What a session takes from the heap, counted by an allocator of our own; so this is the only test
//! of its program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sudp_proto::access::Pool;
use sudp_proto::config::Limits;
use sudp_proto::session::TapOptions;
use sudp_tests::rig::Rig;

#[test]
fn datagrams_allocate_nothing_idle_sessions_are_small_and_a_thousand_stay_inside_their_pool() {
    let mut sealed = Busy::on(Rig::sealed);
    sealed.run(2 * WARM_UP);
    (sealed.client, sealed.server) = (0, 0);
    sealed.run(DATAGRAMS);
    eprintln!(
        "{DATAGRAMS} sealed each way: {} allocations of the client, {} of the server",
        sealed.client, sealed.server
    );
    assert!(sealed.client * 50 <= DATAGRAMS && sealed.server * 50 <= DATAGRAMS, "sealing allocates nothing either");
    drop(sealed);

    let mut busy = Busy::on(Rig::new);
    // A tap takes from the heap while it is on, and leaves nothing of that behind.
    busy.tapped(|busy| busy.run(WARM_UP));
    assert!(busy.client + busy.server > WARM_UP, "it kept what it saw");
    busy.run(WARM_UP);
    (busy.client, busy.server) = (0, 0);
    busy.run(DATAGRAMS);
    let Busy { client, server, rig, .. } = busy;
    eprintln!("{DATAGRAMS} datagrams each way: {client} allocations of the client, {server} of the server");
    assert!(client * 50 <= DATAGRAMS, "one allocation of the client per 50 datagrams");
    assert!(server * 50 <= DATAGRAMS, "one allocation of the server per 50 datagrams");

    let (client, server) = idle(rig);
    eprintln!("an idle session: {client} bytes of the client, {server} of the server");
    assert!(client <= IDLE, "an idle client holds at most {IDLE} bytes");
    assert!(server <= IDLE, "an idle server's half holds at most {IDLE} bytes");

    let (held, total) = crowd();
    eprintln!("{SESSIONS} sessions under load: {held} bytes, with a pool of {total}");
    let idle = i64::try_from(SESSIONS).expect("a thousand") * IDLE;
    assert!(held <= total + idle, "beside what they hold when idle, all sessions hold no more than the pool");
}

/// A session with datagrams both ways.
struct Busy {
    rig: Rig,
    wire: Vec<u8>,
    /// Allocations of either half.
    client: u64,
    server: u64,
}

impl Busy {
    fn on(rig: fn(u64, &Pool, &Pool) -> Rig) -> Self {
        let pool = pool();
        Self { rig: rig(1, &pool, &pool), wire: Vec::with_capacity(1 << 20), client: 0, server: 0 }
    }

    /// Does it with a tap on either half.
    fn tapped(&mut self, what: impl FnOnce(&mut Self)) {
        let now = self.rig.now;
        self.rig.client.session().tap(now, TapOptions::default());
        self.rig.server.session().tap(now, TapOptions::default());
        what(self);
        self.rig.client.session().untap();
        self.rig.server.session().untap();
    }

    /// Sends so many datagrams each way, a few at a time.
    fn run(&mut self, datagrams: u64) {
        let Self { rig, wire, client, server } = self;
        let delivered = rig.server.session().counters().delivered + rig.client.session().counters().delivered;
        for turn in 0..datagrams / TURN {
            let source = u16::try_from(turn % FLOWS).expect("a few");
            for _ in 0..TURN {
                let flow = counted(client, || rig.client.send(rig.now, source, &PAYLOAD)).expect("the flow takes it");
                let before = rig.now;
                counted(server, || rig.server.answer(before, flow, &PAYLOAD)).ok();
            }
            wire.clear();
            counted(client, || rig.client.say(rig.now, wire));
            rig.now += HOP;
            counted(server, || rig.server.hear(rig.now, wire));
            wire.clear();
            counted(server, || rig.server.say(rig.now, wire));
            rig.now += HOP;
            counted(client, || rig.client.hear(rig.now, wire));
            counted(client, || rig.client.wait(rig.now));
            counted(server, || rig.server.wait(rig.now));
        }
        let after = rig.server.session().counters().delivered + rig.client.session().counters().delivered;
        assert!(after - delivered >= 2 * datagrams - FLOWS * TURN, "{} of {datagrams} arrived", after - delivered);
    }
}

/// What either half of a session holds when nothing has happened for a while.
fn idle(mut rig: Rig) -> (i64, i64) {
    rig.rest(QUIET);
    rig.client.release();
    rig.server.release();
    let Rig { client, server, .. } = rig;
    (held_by(client), held_by(server))
}

/// What the servers' halves of many sessions hold when more is sent than their links take, and the
/// total of their pool.
fn crowd() -> (i64, i64) {
    let limits = Limits::default();
    let pool = || Pool::memory(CROWD, limits.guaranteed as u64);
    let (clients, servers) = (pool(), pool());
    let mut rigs: Vec<Rig> = (0..SESSIONS).map(|seed| Rig::new(seed, &clients, &servers)).collect();
    let mut wire = Vec::new();
    for rig in &mut rigs {
        let flow = rig.client.send(rig.now, 0, &PAYLOAD).expect("the flow takes it");
        rig.settle();
        for _ in 0..CROWD_DATAGRAMS {
            rig.server.answer(rig.now, flow, &PAYLOAD).expect("what is too much is dropped later");
        }
        rig.server.release();
        // What is written is not read, so nothing is acknowledged.
        rig.server.say(rig.now, &mut wire);
        wire.clear();
        for _ in 0..CROWD_DATAGRAMS {
            rig.server.answer(rig.now, flow, &PAYLOAD).expect("what is too much is dropped later");
        }
    }
    let taken = servers.taken();
    assert!(taken > CROWD / 2, "the load fills the pool");
    let halves: Vec<_> = rigs.into_iter().map(|rig| rig.server).collect();
    (held_by(halves), i64::try_from(CROWD).expect("a pool of megabytes"))
}

fn pool() -> Pool {
    Pool::memory(64 << 20, 128 << 10)
}

/// Adds the allocations of `what` to `count`.
fn counted<T>(count: &mut u64, what: impl FnOnce() -> T) -> T {
    let before = ALLOCATIONS.load(Relaxed);
    let done = what();
    *count += ALLOCATIONS.load(Relaxed) - before;
    done
}

/// The bytes that are free once something is gone.
fn held_by<T>(what: T) -> i64 {
    let before = LIVE.load(Relaxed);
    drop(what);
    before - LIVE.load(Relaxed)
}

/// The system's allocator, and what was asked of it.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe by nature; this one passes every call on as it is")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(signed(layout.size()), Relaxed);
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Counts an allocation in place of one of `before` bytes.
fn count(bytes: usize, before: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    LIVE.fetch_add(signed(bytes) - signed(before), Relaxed);
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: u64 = 2_000;
const DATAGRAMS: u64 = 10_000;
const PAYLOAD: [u8; 1_200] = [7; 1_200];
/// Datagrams each way before bytes are moved.
const TURN: u64 = 16;
const FLOWS: u64 = 2;
/// How long bytes take one way.
const HOP: Duration = Duration::from_millis(1);
/// How long nothing happens before a session counts as idle.
const QUIET: Duration = Duration::from_secs(10);
const IDLE: i64 = 16 << 10;
const SESSIONS: u64 = 1_000;
const CROWD: u64 = 256 << 20;
/// More than a session's share of the pool.
const CROWD_DATAGRAMS: u32 = 400;
