//! What lets a client in: shown once, renewed while the session goes on, and of no use to whoever overhears it.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sudp_net::proto::Credential;
use sudp_net::proto::access::Grant;
use sudp_net::proto::event::Event;
use sudp_net::proto::link::Answer;
use sudp_net::proto::server::Identification;
use sudp_net::proto::wire::{Attach, Code, Frame, Hello, Ordinal, Parameters, Ticket, Welcome, next_frame};
use sudp_net::{Admit, Admitted, Client, Renewal, Verdict, Visit};
use sudp_tokio::Tokio;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::rig::{address, client_options, forward, serve, server_options, told};
use crate::side::Side;
use crate::udp::{Echo, LONG, SOON, Source, anywhere};

/// A credential, and a ticket.
type Shown = (String, Vec<u8>);

/// Lets in who shows one of these, for as long as it is good, and remembers what it saw.
#[derive(Clone, Default)]
struct Doorman {
    /// What is shown, who that is, and for how long it is good.
    knows: Vec<(&'static str, &'static str, Option<Duration>)>,
    seen: Arc<Mutex<Vec<Shown>>>,
}

impl Doorman {
    fn of(knows: &[(&'static str, &'static str, Option<Duration>)]) -> Self {
        Self { knows: knows.to_vec(), ..Self::default() }
    }

    fn knows(&self, shown: &str, ticket: &[u8]) -> Option<Admitted> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((shown.to_owned(), ticket.to_vec()));
        let (words, who, good_for) =
            self.knows.iter().find(|(words, ..)| *words == shown || words.as_bytes() == ticket)?;
        let grant = Grant { expires: good_for.map(|time| sudp_net::now() + time), ..Grant::open() };
        let who = Identification { principal: (*who).to_owned() };
        Some(Admitted { who, ticket: Bytes::from_static(words.as_bytes()), ..Admitted::anyone(grant) })
    }

    fn seen(&self) -> Vec<Shown> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Admit for Doorman {
    fn admit(&self, visit: Visit) -> impl Future<Output = Verdict> + Send + 'static {
        let shown = visit.claim.head.header("Authorization").unwrap_or_default().to_owned();
        let known = self.knows(&shown, &visit.claim.hello.ticket.0);
        ready(known.map_or_else(|| Verdict::Answer(Answer::not_found()), Verdict::Admit))
    }

    fn renew(&self, renewal: Renewal) -> impl Future<Output = Option<Admitted>> + Send + 'static {
        let known = self.knows(renewal.credential.expose(), b"");
        // It takes a while, as a password does.
        async move {
            ready(()).await;
            known
        }
    }
}

fn bearer(token: &str) -> Option<Credential> {
    Some(Credential::bearer(token).expect("it can be shown"))
}

fn connect<C: Side>(server: SocketAddr, token: &str) -> Client<C> {
    let mut options = client_options(server);
    options.credential = bearer(token);
    C::connect(options).expect("a client")
}

fn renewed(event: Event) -> Option<Result<(), Code>> {
    if let Event::Renewed(outcome) = event { Some(outcome) } else { None }
}

pub(crate) async fn a_new_credential_takes_the_place_of_one_that_ends_and_the_session_goes_on<C: Side, S: Side>() {
    let short = Some(Duration::from_secs(2));
    let doorman =
        Doorman::of(&[("Bearer short", "alice", short), ("Bearer long", "alice", None), ("Bearer other", "bob", None)]);
    let server = S::bind(server_options(anywhere()), doorman.clone()).expect("a server");
    let echo = Echo::new();
    let client = connect::<C>(address(&server), "short");
    let source = Source::to(forward(&client, echo.at).await).await;
    let session = client.attached().await.expect("a session");
    source.exchange(b"before").await;
    let mut events = client.events();
    for (token, outcome) in [("wrong", Err(Code::Denied)), ("other", Err(Code::Denied)), ("long", Ok(()))] {
        client.set_credential(bearer(token)).await.expect("the client lives");
        assert_eq!(told(&mut events, renewed).await, outcome, "{token}");
    }
    sleep(Duration::from_secs(3)).await;
    source.exchange(b"long after").await;
    assert_eq!(client.attached().await, Ok(session));
    assert_eq!(echo.sources().len(), 1, "the flow has the port that it had");
    let shown: Vec<_> = doorman.seen().into_iter().map(|(shown, _)| shown).collect();
    assert_eq!(shown, ["Bearer short", "Bearer wrong", "Bearer other", "Bearer long"]);
}

pub(crate) async fn a_grant_that_ends_takes_its_session_with_it_within_a_second<C: Side, S: Side>() {
    let good_for = Duration::from_millis(1_500);
    let doorman = Doorman::of(&[("Bearer short", "alice", Some(good_for))]);
    let server = S::bind(server_options(anywhere()), doorman).expect("a server");
    let client = connect::<C>(address(&server), "short");
    let mut events = client.events();
    let session = client.attached().await.expect("a session");
    let begun = sudp_net::now();
    let code = told(&mut events, |event| if let Event::Lost { code, .. } = event { Some(code) } else { None }).await;
    assert_eq!(code, Code::Expired);
    assert!(begun.elapsed() < good_for + Duration::from_secs(1), "{:?}", begun.elapsed());
    // It does not give up: what it has to show is shown again.
    let another = async {
        while client.attached().await == Ok(session) {
            sleep(SOON).await;
        }
    };
    timeout(LONG, another).await.expect("another session");
}

pub(crate) async fn a_ticket_that_is_handed_out_later_is_the_one_that_is_shown<C: Side, S: Side>() {
    let doorman = Doorman::of(&[("Bearer good", "alice", None), ("fresh ticket", "alice", None)]);
    let server = S::bind(server_options(anywhere()), doorman.clone()).expect("a server");
    let at = address(&server);
    let client = connect::<C>(at, "good");
    let mut events = client.events();
    let session = client.attached().await.expect("a session");
    server.hand_ticket(session, Bytes::from_static(b"fresh ticket")).expect("the session lives");
    assert_eq!(told(&mut events, renewed).await, Ok(()));
    server.kick(session).await.expect("the session lives");
    let again = async {
        while doorman.seen().len() < 2 {
            sleep(SOON).await;
        }
    };
    timeout(LONG, again).await.expect("it comes again");
    assert_eq!(doorman.seen()[1], (String::new(), b"fresh ticket".to_vec()));
}

/// A session that is founded by hand: its stream, its name, and what it can be attached to by.
async fn found(at: SocketAddr, authorization: &str) -> (TcpStream, Welcome) {
    let hello = Hello {
        ordinal: Ordinal::FIRST,
        client: String::new(),
        incarnation: (0, 0),
        attach: None,
        ticket: Ticket::default(),
        parameters: Parameters::default(),
    };
    let mut stream = TcpStream::connect(at).await.expect("a server");
    stream.write_all(&request(&hello, authorization)).await.expect("a server");
    let mut heard = Vec::new();
    loop {
        assert!(stream.read_buf(&mut heard).await.expect("an answer") > 0, "{}", String::from_utf8_lossy(&heard));
        let Some(end) = heard.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let [0x82, length @ 0..126, body @ ..] = &heard[end + 4..] else { continue };
        let Some(message) = body.get(..usize::from(*length)) else { continue };
        let Ok(Some(Frame::Welcome(raw))) = next_frame(&mut Bytes::copy_from_slice(message)) else {
            panic!("a welcome comes first")
        };
        return (stream, Welcome::parse(&raw).expect("a welcome"));
    }
}

fn request(hello: &Hello, authorization: &str) -> Vec<u8> {
    format!(
        "GET /sudp HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sudp.v1\r\nSudp-Hello: {}\r\n{}\r\n",
        hello.to_header(),
        if authorization.is_empty() { String::new() } else { format!("Authorization: {authorization}\r\n") }
    )
    .into_bytes()
}

/// Sends the same bytes on so many streams at once, and says how many of them became links.
async fn replay(at: SocketAddr, request: &[u8], streams: usize) -> usize {
    let links = Arc::new(AtomicUsize::new(0));
    let mut open = Vec::new();
    for _ in 0..streams {
        open.push(TcpStream::connect(at).await.expect("a server"));
    }
    let heard = open.into_iter().map(|mut stream| {
        let (request, links) = (request.to_vec(), Arc::clone(&links));
        tokio::spawn(async move {
            let mut head = Vec::new();
            // One that the server has hung up on has its answer.
            let _ = stream.write_all(&request).await;
            while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                match timeout(LONG, stream.read_buf(&mut head)).await.expect("it is answered") {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => break,
                }
            }
            links.fetch_add(usize::from(head.starts_with(b"HTTP/1.1 101")), Ordering::SeqCst);
            // It stays open until all were answered: links that end make room for others.
            (stream, head)
        })
    });
    let heard: Vec<_> = heard.collect();
    let mut kept = Vec::new();
    for task in heard {
        kept.push(task.await.expect("it is answered"));
    }
    assert!(kept.iter().all(|(_, head)| head.is_empty() || head.starts_with(b"HTTP/1.1 ")));
    drop(kept);
    links.load(Ordering::SeqCst)
}

/// T08: who overhears the proof of one attachment has nothing.
#[test]
fn t08_a_proof_of_attachment_that_is_replayed_a_thousand_times_at_once_makes_one_link_at_most() {
    crate::tell(async {
        let mut options = server_options(anywhere());
        (options.limits.strangers, options.limits.strangers_per_source) = (4_096, 4_096);
        options.limits.strangers_early = 4_096;
        let good_for = Some(Duration::from_secs(20));
        let doorman = Doorman::of(&[("Bearer alice", "alice", good_for), ("Bearer bob", "bob", None)]);
        let server = Tokio::bind(options, doorman.clone()).expect("a server");
        let at = address(&server);
        let (stream, welcome) = found(at, "Bearer alice").await;
        let attach = |ordinal| {
            let attach =
                Attach { session: welcome.session, alive: vec![Ordinal::FIRST], ended: Vec::new(), proof: [0; 32] };
            let mut hello = Hello {
                ordinal: Ordinal(ordinal),
                client: String::new(),
                incarnation: (0, 0),
                attach: Some(attach),
                ticket: Ticket::default(),
                parameters: Parameters::default(),
            };
            hello.prove(&welcome.secret.expect("the first welcome has it"));
            hello
        };
        assert_eq!(replay(at, &request(&attach(2), ""), 1_000).await, 1, "it was good for one");
        assert_eq!(replay(at, &request(&attach(2), ""), 50).await, 0, "and is worn out now");
        // Whoever else says the same is nobody else: it is the proof that counts, and it is worn out.
        assert_eq!(replay(at, &request(&attach(2), "Bearer bob"), 50).await, 0);
        // One that was made with another secret is none.
        let mut forged = attach(3);
        forged.prove(&[7; 32]);
        assert_eq!(replay(at, &request(&forged, "Bearer bob"), 50).await, 0);
        assert_eq!(doorman.seen().len(), 1, "nobody is asked who it is for an attachment");
        server.regrant(welcome.session, None).await.expect("the session lives");
        assert_eq!(replay(at, &request(&attach(4), ""), 50).await, 0, "the grant has ended");
        drop(stream);
        let other = serve::<Tokio>();
        assert_eq!(replay(address(&other), &request(&attach(5), ""), 50).await, 0, "it is another server's");
    });
}
