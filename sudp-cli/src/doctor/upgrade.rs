//! The upgrade from HTTP to WebSocket, and what the answers of those in between mean.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use super::Plan;
use super::report::Step;
use super::secure::handshake;
use super::way::{PATIENCE, Timed, connect, host};
use crate::exit::Exit;
use crate::log::harmless;

/// Asks for the upgrade as a client does, and looks at what comes back.
pub(super) fn upgrade(plan: &Plan, hop: SocketAddr) -> Step {
    // Without a hello, a server of SUDP asks for it.
    let mut stream = match open(plan, hop) {
        Ok(stream) => stream,
        Err(error) => return lost(plan, &error, b""),
    };
    let head = match ask(plan, &mut *stream, None) {
        Ok(head) => head,
        Err(Trouble::Garbage(bytes)) => return garbage(plan, &bytes),
        Err(Trouble::Broken(error, bytes)) => return lost(plan, &error, &bytes),
    };
    if head.status != 101 {
        return refused(plan, &head);
    }
    if head.field("sec-websocket-accept") != Some(ACCEPT) {
        let says = "101, but not an answer to this request";
        let fix = "something in between answers with what it kept from others: have it not cache this path";
        return Step::fail("upgrade", Exit::Unreachable, says, fix);
    }
    match first_message(&mut *stream, head.rest) {
        Ok(message) if is_empty_hello(&message) => {}
        Ok(_) => return stranger("101, but what speaks there is not SUDP"),
        Err(error)
            if error.kind() == io::ErrorKind::UnexpectedEof || error.kind() == io::ErrorKind::ConnectionReset =>
        {
            let says = "101, and then the connection is closed";
            let fix = "what stands in front of the server agrees to WebSocket and does not carry it: check that it passes \
                       the connection on (nginx: proxy_http_version 1.1), and that it is this server behind it";
            return Step::fail("upgrade", Exit::Unreachable, says, fix);
        }
        Err(_) => return stranger("101, and then nothing: a WebSocket server, but not one of SUDP"),
    }
    drop(stream);
    header(plan, hop)
}

/// Whether our own header arrives: a hello that nobody can read is refused, unless it was taken away on the way.
fn header(plan: &Plan, hop: SocketAddr) -> Step {
    let answer = open(plan, hop).map_err(|error| Trouble::Broken(error, Vec::new()));
    match answer.and_then(|mut stream| ask(plan, &mut *stream, Some("AA"))) {
        Ok(head) if head.status == 101 => {
            let fix = "something in between removes the header Sudp-Hello: it works, and each dial takes one round trip \
                       more; have it pass on headers that it does not know";
            Step::warn("upgrade", "101, but our header does not arrive", fix).with("status", 101)
        }
        Ok(head) if head.field("sudp-code").is_some() => {
            Step::ok("upgrade", "101, a server of SUDP, and our header arrives").with("status", 101)
        }
        Ok(head) => {
            let says = format!("101, but status {} for a request with our header", head.status);
            let fix = "something in between minds the header Sudp-Hello: have it pass on headers that it does not know";
            Step::fail("upgrade", Exit::Unreachable, says, fix).with("status", head.status)
        }
        Err(_) => {
            let fix = "something in between closes what has the header Sudp-Hello: have it pass on headers that it does \
                       not know";
            Step::fail("upgrade", Exit::Unreachable, "101, but not with our header", fix)
        }
    }
}

fn stranger(says: &str) -> Step {
    Step::fail("upgrade", Exit::Unreachable, says, "check the path: that of the server is /sudp if nobody changed it")
}

/// A stream to the server.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn open(plan: &Plan, hop: SocketAddr) -> io::Result<Box<dyn Stream>> {
    match &plan.tls {
        Some(tls) => Ok(Box::new(handshake(plan, tls, hop)?)),
        None => {
            let stream = connect(plan, hop).map_err(io::Error::other)?;
            Ok(Box::new(Timed::new(stream, PATIENCE)))
        }
    }
}

/// The head of an answer.
#[derive(Debug)]
struct Head {
    status: u16,
    fields: Vec<(String, String)>,
    /// What came behind it.
    rest: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
enum Trouble {
    Broken(io::Error, Vec<u8>),
    Garbage(Vec<u8>),
}

impl Head {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Who says so, if anybody puts a name to it.
    fn by(&self) -> String {
        let server = self.field("server").or_else(|| self.field("via"));
        server.map_or_else(String::new, |server| format!(" from {}", harmless(server)))
    }
}

fn ask(plan: &Plan, stream: &mut dyn Stream, hello: Option<&str>) -> Result<Head, Trouble> {
    let broken = |error| Trouble::Broken(error, Vec::new());
    stream.write_all(request(plan, hello).as_bytes()).map_err(broken)?;
    stream.flush().map_err(broken)?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > HEAD || !(b"HTTP/1.".starts_with(&bytes) || bytes.starts_with(b"HTTP/1.")) {
            return Err(Trouble::Garbage(bytes));
        }
        let mut chunk = [0; 4_096];
        match stream.read(&mut chunk) {
            Ok(0) => return Err(Trouble::Broken(io::ErrorKind::UnexpectedEof.into(), bytes)),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) => return Err(Trouble::Broken(error, bytes)),
        }
    };
    let rest = bytes.split_off(end + 4);
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
    let Some(status) = status else { return Err(Trouble::Garbage(bytes)) };
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Ok(Head { status, fields: lines.filter_map(field).collect(), rest })
}

fn request(plan: &Plan, hello: Option<&str>) -> String {
    let port = plan.server.address.port;
    let host = match host(plan) {
        host if host.contains(':') => format!("[{host}]"),
        host => host,
    };
    let usual = if plan.tls.is_some() { 443 } else { 80 };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let hello = hello.map_or_else(String::new, |hello| format!("Sudp-Hello: {hello}\r\n"));
    let own: String = plan.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \
         {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sudp.v1\r\n{hello}{own}\r\n",
        plan.server.path
    )
}

/// The first message of a server, which is short.
fn first_message(stream: &mut dyn Stream, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    loop {
        if let [kind, length, rest @ ..] = bytes.as_slice() {
            let length = usize::from(*length);
            if *kind != 0x82 || length > 125 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if let Some(message) = rest.get(..length) {
                return Ok(message.to_vec());
            }
        }
        let mut chunk = [0; 256];
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// A frame HELLO without a body asks for ours.
fn is_empty_hello(message: &[u8]) -> bool {
    use sudp_tokio::proto::wire::{Frame, next_frame};
    let mut message = bytes::Bytes::copy_from_slice(message);
    matches!(next_frame(&mut message), Ok(Some(Frame::Hello(body))) if body.is_empty())
}

fn garbage(plan: &Plan, bytes: &[u8]) -> Step {
    let begins = harmless(&String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    let (says, fix) = match bytes {
        [0x15 | 0x16, 3, ..] if plan.tls.is_none() => {
            let fix = "write wss:// instead of ws://".to_owned();
            ("the server speaks TLS on this port".to_owned(), fix)
        }
        [b'S', b'S', b'H', b'-', ..] => {
            ("an SSH server answers".to_owned(), "check the port: this is that of SSH".to_owned())
        }
        _ => {
            let fix = "check host and port, and that no other service is there".to_owned();
            (format!("what answers does not speak HTTP: it begins with \"{begins}\""), fix)
        }
    };
    Step::fail("upgrade", Exit::Unreachable, says, fix)
}

fn lost(plan: &Plan, error: &io::Error, bytes: &[u8]) -> Step {
    let late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    let says = match (late, bytes.is_empty()) {
        (true, _) => "no answer to the request".to_owned(),
        (false, true) => format!("the connection is closed without an answer ({error})"),
        (false, false) => format!("the connection is closed in the middle of the answer ({error})"),
    };
    let fix = match (late, plan.tls.is_none()) {
        (true, _) => "what listens there is no web server, or it hangs: check port and server",
        (false, true) => {
            "if the port is one of TLS, write wss://; otherwise something on the way forbids WebSocket in the clear: \
             use wss:// on port 443"
        }
        (false, false) => "something on the way, or in front of the server, forbids WebSocket: check its rules",
    };
    Step::fail("upgrade", Exit::Unreachable, says, fix)
}

fn refused(plan: &Plan, head: &Head) -> Step {
    let Head { status, .. } = head;
    let by = head.by();
    if let Some(code) = head.field("sudp-code") {
        let says = format!("the SUDP server refuses the request with status {status}, code {}", harmless(code));
        return Step::fail("upgrade", Exit::Denied, says, "check headers and credentials, and the server's log")
            .with("status", *status);
    }
    let (meaning, fix, exit) = meaning(plan, head);
    Step::fail("upgrade", exit, format_args!("status {status}{by}: {meaning}"), fix).with("status", *status)
}

fn meaning(plan: &Plan, head: &Head) -> (&'static str, String, Exit) {
    let path = &plan.server.path;
    let front =
        format!("if a proxy stands in front of the server, have it pass the upgrade on; nginx:\n{}", nginx(plan));
    let other = Exit::Unreachable;
    match head.status {
        200..=299 => {
            let fix = format!(
                "check the path {path}: that of the server is /sudp if nobody changed it, and no login page may be in \
                 the way\n{front}"
            );
            ("a web page instead of the upgrade", fix, other)
        }
        300..=399 => {
            let to = head.field("location").map_or_else(|| "elsewhere".into(), harmless);
            let fix = format!("redirects are not followed; give the URL it leads to: {}", websocket(&to));
            ("a redirect", fix, other)
        }
        400 => {
            let fix = format!(
                "the request does not arrive as it was sent, or arrives at the wrong port (TLS: write wss://)\n{front}"
            );
            ("it does not understand the request", fix, other)
        }
        401 => {
            let fix =
                "give credentials in a header: --header @FILE, with a line as `Authorization: Basic …` in it".into();
            ("it wants credentials", fix, Exit::Denied)
        }
        403 => {
            let fix =
                "check the credentials (--header), and the rules of what stands in front of the server: some want an \
                       Origin (--header 'Origin: https://HOST'), some forbid WebSocket or this network"
                    .into();
            ("it does not let us in", fix, Exit::Denied)
        }
        404 | 410 => {
            let fix = format!(
                "check the path {path}: it must be that of the server (--path, /sudp if nobody changed it), and what \
                 stands in front must pass it on\n{front}"
            );
            ("nothing of this path is there", fix, other)
        }
        407 => {
            let fix = "a proxy on the way wants credentials: give it with --proxy, or in the variable all_proxy".into();
            ("a proxy wants credentials", fix, Exit::Denied)
        }
        426 => ("it wants an upgrade, and saw none", front, other),
        429 => {
            let fix = "wait, and check how often this network dials; what stands in front of the server may allow more";
            ("it has had too many requests", fix.into(), other)
        }
        502 => {
            let fix = "what stands in front of the server does not reach it: check that the server runs, and that the \
                       address behind it (nginx: proxy_pass) is where it listens (127.0.0.1:8080 if nobody changed it)";
            ("the front is up, and the server behind it is not", fix.into(), other)
        }
        503 => ("it is busy, or about to restart", "wait, and look at the server's log".into(), other),
        504 => {
            let fix = format!("what stands in front of the server waits in vain for it: check that server\n{front}");
            ("the front has no answer from the server behind it", fix, other)
        }
        500.. => ("it is in trouble itself", "look at the log of what answers there".into(), other),
        _ => ("it refuses the request", "look at the log of what answers there".into(), other),
    }
}

/// What nginx must be told.
fn nginx(plan: &Plan) -> String {
    let path = plan.server.path.split('?').next().unwrap_or_default();
    format!(
        "  location {path} {{\n    proxy_pass http://127.0.0.1:8080;\n    proxy_http_version 1.1;\n    proxy_set_header Host \
         $host;\n    proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Connection \"upgrade\";\n    \
         proxy_read_timeout 1h;\n  }}"
    )
}

/// The URL of a web page, as one of WebSocket.
fn websocket(url: &str) -> String {
    let swap = |from: &str, to: &str| url.strip_prefix(from).map(|rest| format!("{to}{rest}"));
    swap("https://", "wss://").or_else(|| swap("http://", "ws://")).unwrap_or_else(|| url.to_owned())
}

/// The example of RFC 6455, §1.3: nobody's secret, and its answer is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Bytes of an answer that are looked at.
const HEAD: usize = 16 << 10;
