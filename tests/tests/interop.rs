//! Our links against `tungstenite::WebSocket`, an implementation that shares none of our rules, over
//! streams in memory, in both roles.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::result_large_err, reason = "their callbacks return whole responses")]

use std::io::{self, Read, Write};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::*;
use sudp_proto::Seed;
use sudp_proto::link::{
    Answer, ClientUpgrade, Link, LinkEnd, LinkEvent, LinkLimits, Refusal, RefusalKind, Scheme, ServerExpect,
};
use sudp_tests::clock::epoch;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response, ServerHandshake};
use tungstenite::handshake::{HandshakeError, HandshakeRole, MidHandshake};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Error, Message, WebSocket};

/// The other side's end of a stream.
#[derive(Debug, Default)]
struct Pipe {
    received: BytesMut,
    written: Vec<u8>,
    ended: bool,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.received.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = into.len().min(self.received.len());
        self.received.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

impl Write for Pipe {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What one side does.
#[derive(Clone, Debug)]
enum Op {
    OursSends(Vec<Vec<u8>>),
    TheirsFragments(Vec<Vec<u8>>, Vec<u8>),
    TheirsPings(Vec<u8>),
    TheirsSends(Vec<u8>),
    Pass(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..most);
    let long = prop_oneof![4 => bytes(300), 1 => (60_000_usize..67_000).prop_map(|length| vec![7; length])];
    prop_oneof![
        3 => prop::collection::vec(bytes(300), 0..4).prop_map(Op::OursSends),
        1 => (60_000_usize..67_000).prop_map(|length| Op::OursSends(vec![vec![8; length]])),
        3 => (prop::collection::vec(bytes(400), 2..6), bytes(126)).prop_map(|(parts, ping)| Op::TheirsFragments(parts, ping)),
        2 => bytes(126).prop_map(Op::TheirsPings),
        3 => long.prop_map(Op::TheirsSends),
        3 => (1_usize..5_000).prop_map(Op::Pass),
    ]
}

/// An open link, an open websocket, and what each has heard.
struct Duo {
    ours: Link,
    theirs: WebSocket<Pipe>,
    input: BytesMut,
    at_ours: Vec<Bytes>,
    at_theirs: Vec<Vec<u8>>,
    pongs: Vec<Vec<u8>>,
    end: Option<LinkEnd>,
    closed: Option<CloseFrame>,
    over: bool,
}

impl Duo {
    fn new(ours: Link, theirs: WebSocket<Pipe>) -> Self {
        Self {
            ours,
            theirs,
            input: BytesMut::new(),
            at_ours: Vec::new(),
            at_theirs: Vec::new(),
            pongs: Vec::new(),
            end: None,
            closed: None,
            over: false,
        }
    }

    /// Passes at most `most` bytes each way.
    fn pass(&mut self, most: usize) {
        let length = self.ours.output().len().min(most);
        self.theirs.get_mut().received.extend_from_slice(&self.ours.output()[..length]);
        self.ours.advance_output(length);
        self.theirs.get_mut().ended |= self.ours.wants_finish();
        self.read_theirs();

        let written = &mut self.theirs.get_mut().written;
        let rest = written.split_off(written.len().min(most));
        self.input.extend_from_slice(&std::mem::replace(written, rest));
        self.ours.handle_input(epoch(), &mut self.input);
        self.read_ours();
    }

    fn settle(&mut self) {
        while !self.ours.output().is_empty() || !self.theirs.get_mut().written.is_empty() {
            self.pass(usize::MAX);
        }
        self.pass(usize::MAX);
    }

    fn read_ours(&mut self) {
        while let Some(event) = self.ours.poll_event() {
            match event {
                LinkEvent::Message(ref bytes) => self.at_ours.push(bytes.clone()),
                LinkEvent::Ended(ref end) => self.end = Some(end.clone()),
                LinkEvent::Open { .. } | LinkEvent::Request(_) | LinkEvent::Stranger(_) | LinkEvent::Text(_) | _ => {
                    panic!("{event:?}")
                }
            }
        }
    }

    fn read_theirs(&mut self) {
        while !self.over {
            match self.theirs.read() {
                Ok(Message::Binary(bytes)) => self.at_theirs.push(bytes.to_vec()),
                Ok(Message::Pong(bytes)) => self.pongs.push(bytes.to_vec()),
                Ok(Message::Close(frame)) => self.closed = frame,
                Ok(message) => panic!("{message}"),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(Error::ConnectionClosed) => self.over = true,
                Err(error) => panic!("{error}"),
            }
        }
        match self.theirs.flush() {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Our client and their server, which confirms the subprotocol if told to.
fn as_client(confirm: bool) -> Duo {
    let upgrade = ClientUpgrade::new(Scheme::Ws, "sudp.example", 80, "/sudp").unwrap();
    let mut ours = Link::client(epoch(), upgrade, limits(), Seed::from(1));
    let callback = move |_: &Request, mut response: Response| {
        if confirm {
            response.headers_mut().insert("Sec-WebSocket-Protocol", "sudp.v1".parse().unwrap());
        }
        Ok(response)
    };
    let mut theirs = served(&mut ours, callback).unwrap();
    let answer = std::mem::take(&mut theirs.get_mut().written);
    ours.handle_input(epoch(), &mut BytesMut::from(&answer[..]));
    assert!(matches!(ours.poll_event(), Some(LinkEvent::Open { subprotocol }) if subprotocol == confirm));
    Duo::new(ours, theirs)
}

/// Lets their server read our request.
fn served(ours: &mut Link, callback: impl Callback) -> Result<WebSocket<Pipe>, Error> {
    let stream = Pipe { received: BytesMut::from(ours.output()), ..Pipe::default() };
    let written = ours.output().len();
    ours.advance_output(written);
    match ServerHandshake::start(stream, callback, None).handshake() {
        Ok(socket) => Ok(socket),
        Err(HandshakeError::Failure(error)) => Err(error),
        Err(HandshakeError::Interrupted(_)) => panic!("a whole request was there"),
    }
}

/// Their client, after its request was written.
fn asking() -> MidHandshake<ClientHandshake<Pipe>> {
    let mut request = "ws://sudp.example/sudp".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "sudp.v1".parse().unwrap());
    let start = ClientHandshake::start(Pipe::default(), request, None).unwrap();
    match start.handshake() {
        Err(HandshakeError::Interrupted(waiting)) => waiting,
        Err(HandshakeError::Failure(error)) => panic!("{error}"),
        Ok(_) => panic!("nobody answered yet"),
    }
}

/// Lets our server read a request.
fn asked<R: HandshakeRole<InternalStream = Pipe>>(theirs: &mut MidHandshake<R>) -> Link {
    let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
    let mut ours = Link::server(epoch(), expect, limits(), Seed::from(2));
    let request = std::mem::take(&mut theirs.get_mut().get_mut().written);
    ours.handle_input(epoch(), &mut BytesMut::from(&request[..]));
    assert!(matches!(ours.poll_event(), Some(LinkEvent::Request(_))));
    ours
}

fn as_server() -> Duo {
    let mut theirs = asking();
    let mut ours = asked(&mut theirs);
    ours.accept(epoch()).unwrap();
    theirs.get_mut().get_mut().received.extend_from_slice(ours.output());
    let written = ours.output().len();
    ours.advance_output(written);
    match theirs.handshake() {
        Ok((socket, _)) => Duo::new(ours, socket),
        Err(error) => panic!("{error}"),
    }
}

/// No ping goes without its own pong, however much is unsent.
fn limits() -> LinkLimits {
    LinkLimits { output: usize::MAX, ..LinkLimits::default() }
}

/// What was sent: messages each way, and their pings.
#[derive(Default)]
struct Sent {
    to_ours: Vec<Vec<u8>>,
    to_theirs: Vec<Vec<u8>>,
    pings: Vec<Vec<u8>>,
}

fn run(duo: &mut Duo, ops: &[Op]) -> Sent {
    let mut sent = Sent::default();
    for op in ops {
        match op {
            Op::OursSends(parts) => {
                let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                duo.ours.send(&slices).unwrap();
                sent.to_theirs.push(parts.concat());
            }
            Op::TheirsSends(bytes) => {
                duo.theirs.send(Message::binary(bytes.clone())).unwrap();
                sent.to_ours.push(bytes.clone());
            }
            Op::TheirsPings(payload) => {
                duo.theirs.send(Message::Ping(payload.clone().into())).unwrap();
                sent.pings.push(payload.clone());
            }
            Op::TheirsFragments(parts, ping) => {
                send_fragments(&mut duo.theirs, parts, ping);
                sent.to_ours.push(parts.concat());
                sent.pings.push(ping.clone());
            }
            Op::Pass(most) => duo.pass(*most),
        }
    }
    duo.settle();
    sent
}

/// Sends a message in fragments, and a ping within it.
fn send_fragments(theirs: &mut WebSocket<Pipe>, parts: &[Vec<u8>], ping: &[u8]) {
    for (at, part) in parts.iter().enumerate() {
        let data = if at == 0 { Data::Binary } else { Data::Continue };
        let frame = Frame::message(part.clone(), OpCode::Data(data), at + 1 == parts.len());
        theirs.send(Message::Frame(frame)).unwrap();
        if at == 0 {
            theirs.send(Message::Frame(Frame::ping(ping.to_vec()))).unwrap();
        }
    }
}

fn check(mut duo: Duo, ops: &[Op], ours_closes: bool) -> Result<(), TestCaseError> {
    let sent = run(&mut duo, ops);
    prop_assert_eq!(&duo.at_ours, &sent.to_ours);
    prop_assert_eq!(&duo.at_theirs, &sent.to_theirs);
    prop_assert_eq!(&duo.pongs, &sent.pings);

    if ours_closes {
        duo.ours.close(epoch(), 1001, "bye");
    } else {
        duo.theirs.close(Some(CloseFrame { code: 1001.into(), reason: "bye".into() })).unwrap();
    }
    duo.settle();
    prop_assert!(matches!(duo.end, Some(LinkEnd::Closed { code: 1001, .. })), "{:?}", duo.end);
    prop_assert_eq!(duo.closed.map(|frame| u16::from(frame.code)), Some(1001));
    duo.ours.handle_end(epoch());
    prop_assert!(duo.ours.is_finished());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn our_client_and_their_server_hear_each_other(
        ops in prop::collection::vec(op(), 0..20), confirm: bool, ours_closes: bool,
    ) {
        check(as_client(confirm), &ops, ours_closes)?;
    }

    #[test]
    fn our_server_and_their_client_hear_each_other(ops in prop::collection::vec(op(), 0..20), ours_closes: bool) {
        check(as_server(), &ops, ours_closes)?;
    }
}

#[test]
fn their_refusal_is_ours() {
    let upgrade = ClientUpgrade::new(Scheme::Ws, "sudp.example", 80, "/sudp").unwrap();
    let mut ours = Link::client(epoch(), upgrade, limits(), Seed::from(1));
    let refuse = |_: &Request, _: Response| {
        let response = tungstenite::http::Response::builder().status(429).header("Retry-After", "7");
        Err::<Response, ErrorResponse>(response.body(Some("later".to_owned())).unwrap())
    };
    let mut stream = Pipe { received: BytesMut::from(ours.output()), ..Pipe::default() };
    let failed = ServerHandshake::start(&mut stream, refuse, None).handshake();
    assert!(matches!(failed, Err(HandshakeError::Failure(Error::Http(_)))));
    drop(failed);

    ours.handle_input(epoch(), &mut BytesMut::from(&stream.written[..]));
    let wait = Some(Duration::from_secs(7));
    let expected = Refusal { status: 429, kind: RefusalKind::Transient, retry_after: wait, code: None, server: None };
    assert!(matches!(ours.poll_event(), Some(LinkEvent::Ended(LinkEnd::Refused(refusal))) if refusal == expected));
}

#[test]
fn our_refusal_is_theirs() {
    let mut theirs = asking();
    let mut ours = asked(&mut theirs);
    let answer = Answer::new(403).unwrap().with_body(b"no".to_vec());
    ours.refuse(epoch(), &answer).unwrap();
    theirs.get_mut().get_mut().received.extend_from_slice(ours.output());
    match theirs.handshake() {
        Err(HandshakeError::Failure(Error::Http(response))) => {
            assert_eq!(response.status(), 403);
            assert_eq!(response.body().as_deref(), Some(&b"no"[..]));
        }
        other => panic!("{:?}", other.err()),
    }
}
