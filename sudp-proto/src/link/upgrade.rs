//! The opening handshake of RFC 6455, as the client asks and as the server judges.

use std::fmt;
use std::net::IpAddr;

use bytes::BytesMut;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::Request;
use zeroize::Zeroizing;

use super::end::{AnswerFault, LinkEnd, RequestFault};
use super::http::{self, Count, Head, HeadFault, Scan};
use super::proxy::Proxy;
use super::tls::ClientTls;
use super::{LinkLimits, answer};
use crate::rng::Rng;

/// The subprotocol of SUDP on a link.
pub const SUBPROTOCOL: &str = "sudp.v1";

/// What a client asks for, and of whom.
#[derive(Clone)]
pub struct ClientUpgrade {
    scheme: Scheme,
    target: Target,
    path: String,
    /// What they say may be a secret, and is wiped.
    headers: Vec<(String, Zeroizing<String>)>,
    hello: Option<String>,
    owner: Option<String>,
    subprotocol: Subprotocol,
    pub(super) proxy: Option<Proxy>,
    pub(super) tls: Option<ClientTls>,
}

/// Whether TLS lies between the link and the server; it decides which port goes without saying.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// Port 80.
    Ws,
    /// Port 443.
    Wss,
}

/// Whether [`SUBPROTOCOL`] is spoken of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Subprotocol {
    /// A client does not offer it; a server does without it.
    Optional,
    /// A client offers it; a server wants it, or a `Sudp-Hello`, which no browser's page can send.
    #[default]
    Required,
}

/// What cannot be said in an upgrade, or in the answer that refuses one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// A user or password the proxy's words cannot carry.
    #[error(
        "a proxy's user and password must have 1 to 255 bytes each, without control characters or a colon in the user"
    )]
    Credentials,
    /// The name of a header.
    #[error("header name {0:?} is not a token, or one that the link writes itself")]
    HeaderName(String),
    /// The value of the named header.
    #[error("value of header {0:?} has control characters or space around it")]
    HeaderValue(String),
    /// The host.
    #[error("host {0:?} is not an address or a name of 1 to 253 bytes")]
    Host(String),
    /// The path.
    #[error("path {0:?} must begin with a slash and have neither space, control characters nor a fragment")]
    Path(String),
    /// The status of an answer that refuses.
    #[error("status {0} does not refuse: it must be 200 to 599")]
    Status(u16),
}

impl ClientUpgrade {
    /// Asks `host` for `path`, which may have a query.
    pub fn new(scheme: Scheme, host: &str, port: u16, path: &str) -> Result<Self, UpgradeError> {
        let proper = path.starts_with('/') && path.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#');
        if !proper {
            return Err(UpgradeError::Path(path.to_owned()));
        }
        Ok(Self {
            scheme,
            target: Target::new(host, port)?,
            path: path.to_owned(),
            headers: Vec::new(),
            hello: None,
            owner: None,
            subprotocol: Subprotocol::default(),
            proxy: None,
            tls: None,
        })
    }

    /// Adds a header, as for a reverse proxy that wants a password.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, UpgradeError> {
        if !http::is_token(name) || OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(UpgradeError::HeaderName(name.to_owned()));
        }
        self.headers.push((name.to_owned(), Zeroizing::new(proper_value(name, value)?)));
        Ok(self)
    }

    /// Sets the value of `Sudp-Hello`.
    pub fn with_hello(mut self, hello: &str) -> Result<Self, UpgradeError> {
        self.hello = Some(proper_value(HELLO, hello)?);
        Ok(self)
    }

    /// Sets the value of `Sudp-Owner`, by which a balancer finds the session's server.
    pub fn with_owner(mut self, owner: &str) -> Result<Self, UpgradeError> {
        self.owner = Some(proper_value(OWNER, owner)?);
        Ok(self)
    }

    /// Goes through a proxy; it is the proxy that must have been dialled.
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Speaks TLS with the server, unless given none: then `wss` says that the stream itself is inside TLS
    /// already.
    pub fn with_tls(mut self, tls: impl Into<Option<ClientTls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// Sets whether the subprotocol is offered, which it is unless said otherwise.
    pub fn with_subprotocol(mut self, subprotocol: Subprotocol) -> Self {
        self.subprotocol = subprotocol;
        self
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }
}

impl fmt::Debug for ClientUpgrade {
    /// Names the server only: headers and hello are secrets, and queries may be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientUpgrade({})", self.target.authority())
    }
}

/// A server, by name or address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    host: String,
    port: u16,
}

impl Target {
    fn new(host: &str, port: u16) -> Result<Self, UpgradeError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
        let proper = (1..=253).contains(&host.len()) && host.bytes().all(name);
        if !proper && bare.parse::<IpAddr>().is_err() {
            return Err(UpgradeError::Host(host.to_owned()));
        }
        Ok(Self { host: bare.to_owned(), port })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Host and port as HTTP writes them.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

/// What a client remembers of its question.
#[derive(Debug)]
pub(super) struct Question {
    accept: String,
    subprotocol: Subprotocol,
    scan: Scan,
    interim: usize,
}

impl Question {
    /// Writes the request.
    pub(super) fn put(asked: &ClientUpgrade, rng: &mut Rng, output: &mut BytesMut) -> Self {
        let key = http::base64(&rng.array::<16>());
        let default = match asked.scheme {
            Scheme::Ws => 80,
            Scheme::Wss => 443,
        };
        let target = &asked.target;
        let host = if target.port == default { target.bracketed() } else { target.authority() };
        http::put_line(output, &["GET ", &asked.path, " HTTP/1.1"]);
        http::put_line(output, &["Host: ", &host]);
        http::put_line(output, &["Connection: Upgrade"]);
        http::put_line(output, &["Upgrade: websocket"]);
        http::put_line(output, &["Sec-WebSocket-Version: 13"]);
        http::put_line(output, &["Sec-WebSocket-Key: ", &key]);
        if matches!(asked.subprotocol, Subprotocol::Required) {
            http::put_line(output, &["Sec-WebSocket-Protocol: ", SUBPROTOCOL]);
        }
        for (name, value) in [(HELLO, &asked.hello), (OWNER, &asked.owner)] {
            if let Some(value) = value {
                http::put_line(output, &[name, ": ", value]);
            }
        }
        for (name, value) in &asked.headers {
            http::put_line(output, &[name, ": ", value]);
        }
        http::put_line(output, &[]);
        Self {
            accept: derive_accept_key(key.as_bytes()),
            subprotocol: asked.subprotocol,
            scan: Scan::new(),
            interim: 0,
        }
    }

    /// Reads the answer; when it is a good one, says whether it confirmed the subprotocol.
    pub(super) fn read(&mut self, limits: &LinkLimits, input: &mut BytesMut) -> Result<Option<bool>, LinkEnd> {
        loop {
            let taken = self.scan.take(input, limits.head, limits.headers).map_err(AnswerFault::Head)?;
            let Some(head) = taken else { return Ok(None) };
            let status = answer::status(&head).map_err(AnswerFault::Head)?;
            match status.number {
                101 if status.modern => return Ok(self.judge(&head).map(Some)?),
                101 => return Err(AnswerFault::Head(HeadFault::Start).into()),
                100..=199 if self.interim == MAX_INTERIM => return Err(AnswerFault::Interim.into()),
                100..=199 => {
                    self.interim += 1;
                    self.scan = Scan::new();
                }
                number => return Err(LinkEnd::Refused(answer::refusal(number, &head))),
            }
        }
    }

    /// Judges a 101; says whether it confirmed the subprotocol.
    fn judge(&self, head: &Head) -> Result<bool, AnswerFault> {
        if !is_once(head, "Upgrade", "websocket") {
            return Err(AnswerFault::Field("Upgrade"));
        }
        if !head.lists("Connection", "upgrade") {
            return Err(AnswerFault::Field("Connection"));
        }
        if head.one("Sec-WebSocket-Accept") != Count::One(self.accept.as_bytes()) {
            return Err(AnswerFault::Accept);
        }
        if head.list("Sec-WebSocket-Extensions").any(|extension| !extension.is_empty()) {
            return Err(AnswerFault::Extension);
        }
        match (head.one("Sec-WebSocket-Protocol"), self.subprotocol) {
            (Count::None, _) => Ok(false),
            (Count::One(chosen), Subprotocol::Required) if chosen == SUBPROTOCOL.as_bytes() => Ok(true),
            (Count::One(_) | Count::Many, _) => Err(AnswerFault::Subprotocol),
        }
    }
}

/// Whom a server lets in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerExpect {
    /// The path, exactly; no query may follow.
    pub path: String,
    /// Pages that may come, as browsers write them: `https://example.org`. Requests of others that
    /// carry an `Origin` are refused.
    pub origins: Vec<String>,
    /// Whether the subprotocol is wanted.
    pub subprotocol: Subprotocol,
    /// Whether a request for the path that is not as it must be is one of a stranger, as one for another path is:
    /// then nobody finds out which path it is by asking badly.
    pub quiet: bool,
}

/// A well-formed request for an upgrade, which waits for [`Link::accept`](super::Link::accept) or
/// [`Link::refuse`](super::Link::refuse).
#[derive(Clone)]
pub struct UpgradeRequest {
    /// Everything it said.
    pub head: RequestHead,
    /// The value of `Sudp-Hello`.
    pub hello: Option<String>,
    /// The value of `Sudp-Owner`.
    pub owner: Option<String>,
    /// Whether it offered [`SUBPROTOCOL`].
    pub subprotocol: bool,
}

impl fmt::Debug for UpgradeRequest {
    /// Leaves out hello and owner: they hold proofs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpgradeRequest({} bytes)", self.head.raw().len())
    }
}

/// The head of a request, proper HTTP/1 but otherwise not judged.
#[derive(Clone)]
pub struct RequestHead(Head);

impl RequestHead {
    /// Reads a head that is complete, by the rules of the link.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = BytesMut::from(bytes);
        let head = Scan::new().take(&mut input, bytes.len(), bytes.len()).ok()??;
        (request_line(&head).is_ok() && input.is_empty()).then_some(Self(head))
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.0.start().split(' ').next().unwrap_or_default()
    }

    /// The target: the path, and a query if there is one.
    pub fn target(&self) -> &str {
        self.0.start().split(' ').nth(1).unwrap_or_default()
    }

    /// The values of all fields of this name, in order.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.all(name)
    }

    /// The value of the only field of this name, if it is text.
    ///
    /// A field that stands twice has none: who decides by it must not be fooled by a second one.
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.0.one(name) {
            Count::One(value) => str::from_utf8(value).ok(),
            Count::None | Count::Many => None,
        }
    }

    pub(super) fn raw(&self) -> &bytes::Bytes {
        self.0.raw()
    }
}

impl fmt::Debug for RequestHead {
    /// Says only how long it is: paths, queries and fields may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestHead({} bytes)", self.raw().len())
    }
}

/// What a server makes of a request.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Not for us: another path, another method, no upgrade.
    Stranger(RequestHead),
    /// For us.
    Upgrade(UpgradeRequest),
}

/// Judges a request.
pub(super) fn judge(head: Head, expect: &ServerExpect) -> Result<Verdict, RequestFault> {
    let (method, target, version) = request_line(&head)?;
    let ours = method == "GET" && target == expect.path && version == "HTTP/1.1";
    if !ours || !head.lists("Upgrade", "websocket") {
        return Ok(Verdict::Stranger(RequestHead(head)));
    }
    let stranger = expect.quiet.then(|| head.clone());
    match (upgrade(head, expect), stranger) {
        (Err(_), Some(head)) => Ok(Verdict::Stranger(RequestHead(head))),
        (verdict, _) => verdict.map(Verdict::Upgrade),
    }
}

/// Judges a request for the right path.
fn upgrade(head: Head, expect: &ServerExpect) -> Result<UpgradeRequest, RequestFault> {
    check_fields(&head)?;
    check_origin(&head, &expect.origins)?;
    let (hello, owner) = (text(&head, HELLO)?, text(&head, OWNER)?);
    let subprotocol = head.list("Sec-WebSocket-Protocol").any(|offered| offered == SUBPROTOCOL.as_bytes());
    if matches!(expect.subprotocol, Subprotocol::Required) && !subprotocol && hello.is_none() {
        return Err(RequestFault::Field("Sec-WebSocket-Protocol"));
    }
    second_opinion(&head)?;
    Ok(UpgradeRequest { head: RequestHead(head), hello, owner, subprotocol })
}

/// Writes the 101.
pub(super) fn put_accept(request: &UpgradeRequest, output: &mut BytesMut) {
    let key: &[u8] = match request.head.0.one("Sec-WebSocket-Key") {
        Count::One(key) => key,
        Count::None | Count::Many => unreachable!("a request without one key is refused"),
    };
    http::put_line(output, &["HTTP/1.1 101 Switching Protocols"]);
    http::put_line(output, &["Connection: Upgrade"]);
    http::put_line(output, &["Upgrade: websocket"]);
    http::put_line(output, &["Sec-WebSocket-Accept: ", &derive_accept_key(key)]);
    if request.subprotocol {
        http::put_line(output, &["Sec-WebSocket-Protocol: ", SUBPROTOCOL]);
    }
    http::put_line(output, &[]);
}

fn request_line(head: &Head) -> Result<(&str, &str, &str), RequestFault> {
    let mut words = head.start().split(' ');
    let line = (words.next(), words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = line else { return Err(HeadFault::Start.into()) };
    let proper = http::is_token(method) && !target.is_empty() && matches!(version, "HTTP/1.0" | "HTTP/1.1");
    proper.then_some((method, target, version)).ok_or(RequestFault::Head(HeadFault::Start))
}

fn check_fields(head: &Head) -> Result<(), RequestFault> {
    for name in ["Host", "Upgrade", "Sec-WebSocket-Key"] {
        if head.one(name) == Count::Many {
            return Err(RequestFault::Duplicate(name));
        }
    }
    for name in ["Content-Length", "Transfer-Encoding", "Expect"] {
        if head.one(name) != Count::None {
            return Err(RequestFault::Field(name));
        }
    }
    let checks = [
        ("Host", matches!(head.one("Host"), Count::One(host) if is_authority(host))),
        ("Upgrade", is_once(head, "Upgrade", "websocket")),
        ("Connection", head.lists("Connection", "upgrade")),
        ("Sec-WebSocket-Key", matches!(head.one("Sec-WebSocket-Key"), Count::One(key) if is_key(key))),
    ];
    if let Some((name, _)) = checks.into_iter().find(|(_, good)| !good) {
        return Err(RequestFault::Field(name));
    }
    match head.one("Sec-WebSocket-Version") {
        Count::One(b"13") => Ok(()),
        Count::None | Count::One(_) | Count::Many => Err(RequestFault::Version),
    }
}

fn check_origin(head: &Head, allowed: &[String]) -> Result<(), RequestFault> {
    match head.one("Origin") {
        Count::None => Ok(()),
        Count::One(origin) if allowed.iter().any(|allowed| allowed.as_bytes() == origin) => Ok(()),
        Count::One(_) | Count::Many => Err(RequestFault::Origin),
    }
}

/// Lets another parser read the same bytes: a head on which two readers differ is refused.
fn second_opinion(head: &Head) -> Result<(), RequestFault> {
    match Request::try_parse(head.raw()) {
        Ok(Some((used, _))) if used == head.raw().len() => Ok(()),
        Ok(_) | Err(_) => Err(HeadFault::Start.into()),
    }
}

fn text(head: &Head, name: &'static str) -> Result<Option<String>, RequestFault> {
    match head.one(name) {
        Count::None => Ok(None),
        Count::One(value) if value.is_ascii() => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        Count::One(_) => Err(RequestFault::Field(name)),
        Count::Many => Err(RequestFault::Duplicate(name)),
    }
}

fn is_once(head: &Head, name: &str, value: &str) -> bool {
    matches!(head.one(name), Count::One(found) if found.eq_ignore_ascii_case(value.as_bytes()))
}

/// Whether this is a host with or without a port.
fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        Some(_) | None => (text, "0"),
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    digits && port.parse::<u16>().is_ok() && Target::new(host, 0).is_ok()
}

/// Whether this is the base64 of sixteen bytes.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_last_chunk::<2>() else { return false };
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.len() == 22 && digits.iter().all(alphabet) && matches!(digits[21], b'A' | b'Q' | b'g' | b'w')
}

fn proper_value(name: &str, value: &str) -> Result<String, UpgradeError> {
    let proper = http::is_value(value);
    proper.then(|| value.to_owned()).ok_or_else(|| UpgradeError::HeaderValue(name.to_owned()))
}

const HELLO: &str = "Sudp-Hello";
const OWNER: &str = "Sudp-Owner";

/// Interim answers that are read over.
const MAX_INTERIM: usize = 4;

/// Headers that the link writes itself, or that would turn the request into another one.
const OWN: [&str; 13] = [
    "Connection",
    "Content-Length",
    "Expect",
    "Host",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    HELLO,
    OWNER,
    "Transfer-Encoding",
    "Upgrade",
];
