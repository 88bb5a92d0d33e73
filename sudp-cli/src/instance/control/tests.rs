use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use super::*;
use crate::instance::call::Call;
use crate::instance::fixtures::status;
use crate::instance::lock::Held;
use crate::instance::protocol::{Direction, Request};
use crate::instance::scratch::Scratch;

#[test]
fn what_is_asked_is_answered() {
    let house = House::new();
    let mut call = house.call();
    assert_eq!(call.status(), Ok(status()));
    assert_eq!(call.flows(), Ok(Vec::new()));
    assert_eq!(call.tell(&Request::Cut { session: "s".into(), flow: 7 }), Ok(()));
    assert_eq!(call.tell(&Request::Reconnect {}), Ok(()));
    assert_eq!(call.tell(&Request::Stop {}), Ok(()));
    house.until(|fake| *fake.told.lock().expect("no panic") == ["cut s 7", "reconnect", "stop"]);
}

#[test]
fn why_it_fails_is_told_with_its_exit() {
    let house = House::new();
    let failure = Failure::new(Exit::Config, "config.yaml:3:5: server.liste: no such key");
    *house.fake.0.broken.lock().expect("no panic") = Some(failure.clone());
    assert_eq!(house.call().tell(&Request::Reload {}), Err(failure));
}

#[test]
fn a_call_without_an_instance_says_that_none_runs() {
    let scratch = Scratch::new();
    let files = scratch.files();
    let failure = Call::with(&files).expect_err("nothing runs");
    assert_eq!(failure.exit, Exit::NotRunning);

    fs::write(&files.pid, "1\n").expect("a stale file");
    assert_eq!(Call::with(&files).expect_err("nothing runs").exit, Exit::NotRunning);

    let _held = Held::take(&files).expect("nothing runs");
    let failure = Call::with(&files).expect_err("nobody listens");
    assert_eq!(failure.exit, Exit::Unknown);
    assert!(failure.message.contains("nobody listens"), "{failure}");
}

#[test]
fn the_socket_is_for_its_user_and_goes_with_the_instance() {
    let house = House::new();
    let found = fs::metadata(&house.files.socket).expect("a socket");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let socket = house.files.socket.clone();
    drop(house);
    assert!(!socket.exists());
}

#[test]
fn garbage_is_refused_in_words_and_harms_nobody() {
    let house = House::new();
    let mut silent = house.raw();
    let garbage: [&[u8]; 9] = [
        b"\n",
        b"{}\n",
        b"nonsense\n",
        b"\xff\xfe\0\n",
        b"{\"command\":\"self-destruct\"}\n",
        b"{\"command\":\"status\",\"more\":1}\n",
        b"{\"command\":\"cut\",\"session\":1}\n",
        b"{\"command\":\"cut\",\"session\":\"s\",\"flow\":-1}\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = house.raw();
        stream.write_all(bytes).expect("there is room");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and its end");
        assert!(answer.starts_with("{\"failed\":{\"exit\":2,") && answer.ends_with("}\n"), "{bytes:?}: {answer}");
    }
    let deep = [b"[".repeat(60_000), b"\n".to_vec()].concat();
    let mut stream = house.raw();
    stream.write_all(&deep).expect("it is read");
    assert!(lines(stream).next().is_some_and(|line| line.starts_with("{\"failed\"")));

    silent.write_all(b"{\"command\":").expect("there is room");
    assert_eq!(house.call().status(), Ok(status()));
    silent.write_all(b"\"status\"}\n").expect("it is still there");
    assert!(lines(silent).next().is_some_and(|line| line.starts_with("{\"status\"")));
}

#[test]
fn a_request_without_end_is_not_kept() {
    let house = House::new();
    let mut stream = house.raw();
    // The end comes while we write.
    let _ = stream.write_all(&vec![b'a'; 1024 * 1024]);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.contains("at most 65536 bytes"), "{answer}");
    assert_eq!(house.call().status(), Ok(status()));
}

#[test]
fn many_ask_at_once_while_others_are_silent_or_do_not_read() {
    let house = House::new();
    house.fake.0.large.store(true, Ordering::Relaxed);
    let _silent: Vec<_> = (0..60).map(|_| house.raw()).collect();
    let _deaf: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = house.raw();
            stream
                .write_all(b"{\"command\":\"status\"}\n{\"command\":\"watch\",\"every\":0.1}\n")
                .expect("there is room");
            stream
        })
        .collect();
    // What each of them is told is more than it leaves room for. The others are told less, so that a machine with
    // much else to do has the time for all of them.
    house.until(|fake| fake.asked.load(Ordering::Relaxed) >= 20);
    house.fake.0.large.store(false, Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| house.call().status().expect("an answer"));
        }
    });
}

#[test]
fn beyond_the_limit_a_caller_is_told_to_come_again() {
    let house = House::new();
    let _silent: Vec<_> = (0..CALLERS).map(|_| house.raw()).collect();
    let failure = house.call().status().expect_err("there is no room");
    assert_eq!(failure.exit, Exit::Temporary);
    drop(_silent);
    house.until(|_| house.call().status().is_ok());
}

#[test]
fn an_instance_that_hangs_is_told_of_and_others_are_answered() {
    let house = House::new();
    house.fake.0.hangs.store(true, Ordering::Relaxed);
    let mut call = house.call();
    let failure = call.status().expect_err("it hangs");
    assert_eq!(failure.exit, Exit::Temporary);
    assert!(failure.message.contains("hangs"), "{failure}");
    house.fake.0.hangs.store(false, Ordering::Relaxed);
    assert_eq!(call.status(), Ok(status()), "the conversation goes on");
}

#[test]
fn watching_tells_what_happened_since_the_frame_before() {
    let house = House::new();
    let mut stream = house.call().stream(&Request::Watch { every: 0.1 }).expect("it runs");
    let Some(Ok(Answer::Frame { events, missed, .. })) = stream.next() else { panic!("a frame") };
    assert_eq!((events.len(), missed), (0, 0));
    for number in 0..EVENTS + 3 {
        house.fake.0.happens(number);
    }
    let mut texts = Vec::new();
    let mut lost = 0;
    while texts.last().map(String::as_str) != Some("10") {
        let Some(Ok(Answer::Frame { events, missed, status: now, .. })) = stream.next() else { panic!("a frame") };
        assert_eq!(*now, status());
        texts.extend(events.into_iter().map(|event| event.text));
        lost += missed;
    }
    assert_eq!(texts.len() + usize::try_from(lost).expect("few"), EVENTS + 3, "{texts:?}");
}

#[test]
fn hanging_up_ends_a_stream_on_both_sides() {
    let house = House::new();
    let mut stream = house.call().stream(&Request::Capture(Wanted::default())).expect("it runs");
    assert!(matches!(stream.next(), Some(Ok(Answer::Record(_)))));
    let hang_up = stream.hang_up().expect("it can be ended");
    let reader = thread::spawn(move || stream.find_map(Result::err));
    hang_up.now();
    let end = reader.join().expect("no panic").expect("it ended");
    assert_eq!(end.exit, Exit::NotRunning);
    house.until(|fake| fake.captures.load(Ordering::Relaxed) == 0);
}

#[test]
fn a_capture_brings_every_record_in_order() {
    let house = House::new();
    let wanted = Wanted { flow: Some(500), ..Wanted::default() };
    let stream = house.call().stream(&Request::Capture(wanted)).expect("it runs");
    let flows: Vec<u64> = stream
        .map(|answer| match answer {
            Ok(Answer::Record(record)) => record.flow,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(flows, (0..500).collect::<Vec<_>>());
}

/// A fake that is served.
struct House {
    fake: Fake,
    files: Files,
    control: Option<Control>,
    _held: Held,
    /// Its home, while this is held.
    _home: oneshot::Sender<()>,
    _scratch: Scratch,
}

impl House {
    fn new() -> Self {
        let scratch = Scratch::new();
        let files = scratch.files();
        let held = Held::take(&files).expect("nothing runs");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let fake = Fake::default();
        let within = runtime.enter();
        let control = Control::open(&files, fake.clone()).expect("a socket");
        drop(within);
        let (home, ended) = oneshot::channel::<()>();
        thread::spawn(move || runtime.block_on(ended));
        Self { fake, files, control: Some(control), _held: held, _home: home, _scratch: scratch }
    }

    fn call(&self) -> Call {
        Call::with(&self.files).expect("it runs")
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.files.socket).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream
    }

    fn until(&self, done: impl Fn(&Inner) -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !done(&self.fake.0) {
            assert!(Instant::now() < limit, "it never came");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.control.take();
    }
}

#[derive(Clone, Default)]
struct Fake(Arc<Inner>);

struct Inner {
    told: Mutex<Vec<String>>,
    broken: Mutex<Option<Failure>>,
    hangs: AtomicBool,
    large: AtomicBool,
    asked: AtomicU32,
    captures: AtomicU32,
    events: broadcast::Sender<Event>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            told: Mutex::default(),
            broken: Mutex::default(),
            hangs: AtomicBool::default(),
            large: AtomicBool::default(),
            asked: AtomicU32::default(),
            captures: AtomicU32::default(),
            events: broadcast::Sender::new(EVENTS),
        }
    }
}

impl Inner {
    fn tell(&self, what: String) {
        self.told.lock().expect("no panic").push(what);
    }

    fn happens(&self, number: usize) {
        let _ = self.events.send(Event { at: String::new(), text: number.to_string() });
    }
}

impl Served for Fake {
    async fn status(&self) -> Status {
        if self.0.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let mut status = status();
        if self.0.large.load(Ordering::Relaxed) {
            status.config = vec!["/etc/sudp/a-rather-long-name.yaml".into(); 20_000];
        }
        status
    }

    async fn flows(&self) -> Vec<Flow> {
        Vec::new()
    }

    async fn cut(&self, session: &str, flow: u64) -> Outcome {
        self.0.tell(format!("cut {session} {flow}"));
        Ok(())
    }

    async fn reload(&self) -> Outcome {
        self.0.broken.lock().expect("no panic").take().map_or(Ok(()), Err)
    }

    async fn reconnect(&self) -> Outcome {
        self.0.tell("reconnect".into());
        Ok(())
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    async fn capture(&self, wanted: Wanted) -> Outcome<mpsc::Receiver<Record>> {
        let (give, take) = mpsc::channel(16);
        let inner = Arc::clone(&self.0);
        inner.captures.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            for flow in 0..wanted.flow.unwrap_or(u64::MAX) {
                if give.send(record(flow)).await.is_err() {
                    break;
                }
            }
            inner.captures.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(take)
    }

    fn stop(&self) {
        self.0.tell("stop".into());
    }
}

fn record(flow: u64) -> Record {
    Record {
        at: 0,
        session: "s".into(),
        flow,
        tunnel: None,
        source: None,
        destination: None,
        direction: Direction::Out,
        size: 3,
        fate: "taken".into(),
        payload: Some("616263".into()),
        missed: 0,
    }
}

fn lines(stream: UnixStream) -> impl Iterator<Item = String> {
    BufReader::new(stream).lines().map_while(Result::ok)
}

/// How many events are kept for who is late.
const EVENTS: usize = 8;
