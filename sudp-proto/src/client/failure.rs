//! Why a dial came to nothing, in words for whoever can change that.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::link::{AnswerFault, FrameFault, LinkEnd, LinkStage, ProxyEnd, RefusalKind, TlsEnd, UpgradeError};
use crate::wire::{Address, Code, Host};

/// A dial that came to nothing; the client dials again by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DialFailure {
    /// The server, as an index of the configuration.
    pub server: usize,
    /// Its host and port.
    pub address: Address,
    /// The proxy that was to be gone through.
    pub proxy: Option<Address>,
    /// The address of the server, or of the proxy, that was tried last; none if there was none to try.
    pub to: Option<SocketAddr>,
    /// Whether it has shown a credential, or a ticket in place of one.
    pub shown: bool,
    /// What went wrong.
    pub why: DialError,
}

impl fmt::Display for DialFailure {
    /// One line: the server, the way there, the cause, and the way out where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if let Some(proxy) = &self.proxy {
            write!(f, " through the proxy {}", proxy)?;
        }
        let asked = self.proxy.as_ref().unwrap_or(&self.address);
        match self.to {
            // An address that was configured as one is not said twice.
            Some(to) if asked.host != Host::Ip(to.ip()) => write!(f, " ({to}): ")?,
            Some(_) | None => f.write_str(": ")?,
        }
        // A server that is quiet to strangers says the same to a wrong path, user and password.
        if let DialError::Http { status: status @ (401 | 403 | 404), .. } = self.why
            && self.shown
        {
            return write!(
                f,
                "HTTP status {status}: either the credentials are not accepted there, or nothing of that path is; \
                 check user, password or token, and the path"
            );
        }
        self.why.fmt(f)
    }
}

/// What went wrong with a dial. Nothing was lost by it: what waits for a link goes on waiting.
///
/// Words of the remote appear escaped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// What answered speaks HTTP, and broke the rules of the upgrade.
    #[error("the answer is not that of a WebSocket server: {0}; check scheme, host and port")]
    Answer(AnswerFault),
    /// The stream broke while the session was being attached.
    #[error("the connection was lost before the session was attached ({0})")]
    Broken(io::ErrorKind),
    /// The server ended the WebSocket before its welcome.
    #[error("the server closed the WebSocket with code {code} {reason:?} before a welcome")]
    Closed {
        /// Its code; 1005 when it gave none.
        code: u16,
        /// Its words, escaped.
        reason: Box<str>,
    },
    /// No connection came about.
    #[error("{}", connect_words(*.0))]
    Connect(io::ErrorKind),
    /// An HTTP answer instead of the upgrade.
    #[error("{}{}", http_words(*.status), Again(*.retry_after))]
    Http {
        /// The status.
        status: u16,
        /// What may help.
        kind: RefusalKind,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// A stage took longer than it may.
    #[error("no answer in time ({0})")]
    Late(LinkStage),
    /// The proxy did not let us through.
    #[error("{}", proxy_words(*.0))]
    Proxy(ProxyEnd),
    /// A SUDP server refused the session.
    #[error("{}{}", code_words(*.code), Again(*.retry_after))]
    Refused {
        /// Why.
        code: Code,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The request cannot be written.
    #[error("the request cannot be written: {0}")]
    Request(UpgradeError),
    /// The sealed welcome was changed on the way, or is not of the server whose key was given.
    #[error("the welcome is not what the server with the configured key has sealed: somebody on the way changes it")]
    Sealing,
    /// The server chose a subprotocol that was not offered.
    #[error("the server speaks another subprotocol than {}; check the path", crate::link::SUBPROTOCOL)]
    Subprotocol,
    /// TLS with the server did not come about, or broke.
    #[error("{0}")]
    Tls(TlsEnd),
    /// A server of `wss` was configured for a client without TLS. It is not dialled.
    #[error("the server is to be reached by TLS, and none is configured: nothing is sent in clear instead")]
    TlsMissing,
    /// The name has no address, or no name server answers.
    #[error("the name does not resolve to an address; check its spelling, and that the name server answers")]
    Unresolved,
    /// The server answers in the clear a client that seals.
    #[error("{UNSEALED}")]
    Unsealed,
    /// The other side broke the rules of WebSocket.
    #[error("the other side broke the WebSocket protocol: {0}")]
    Violation(FrameFault),
    /// The WebSocket is open, and what came through it is no welcome that can be taken.
    #[error("the server does not greet as a SUDP server does; check the path")]
    Welcome,
}

impl DialError {
    /// Whether time alone will not change it: someone has to change a configuration, here or there.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Http { kind, .. } => !matches!(kind, RefusalKind::Transient),
            Self::Proxy(ProxyEnd::Credentials | ProxyEnd::Refused(403) | ProxyEnd::Reply(ProxyEnd::FORBIDDEN)) => true,
            Self::Request(_) | Self::Subprotocol | Self::TlsMissing | Self::Unsealed => true,
            Self::Tls(end) => end.is_permanent(),
            Self::Refused { code, .. } => {
                matches!(
                    code,
                    Code::Denied
                        | Code::Expired
                        | Code::Version
                        | Code::Malformed
                        | Code::Limit
                        | Code::Sealing
                        | Code::Stale
                        | Code::Unsealed
                )
            }
            Self::Answer(_)
            | Self::Broken(_)
            | Self::Closed { .. }
            | Self::Connect(_)
            | Self::Late(_)
            | Self::Proxy(_)
            | Self::Sealing
            | Self::Unresolved
            | Self::Violation(_)
            | Self::Welcome => false,
        }
    }
}

impl From<&LinkEnd> for DialError {
    fn from(end: &LinkEnd) -> Self {
        match end {
            LinkEnd::Aborted | LinkEnd::Request { .. } => Self::Broken(io::ErrorKind::ConnectionAborted),
            LinkEnd::Answer(AnswerFault::Subprotocol) => Self::Subprotocol,
            LinkEnd::Answer(fault) => Self::Answer(*fault),
            LinkEnd::Closed { code, reason } => Self::Closed { code: *code, reason: reason.clone() },
            LinkEnd::Proxy(end) => Self::Proxy(*end),
            LinkEnd::Refused(refusal) => match refusal.code.map(Code::from_u64) {
                Some(code) => Self::Refused { code, retry_after: refusal.retry_after },
                None => {
                    let (status, kind) = (refusal.status, refusal.kind);
                    Self::Http { status, kind, retry_after: refusal.retry_after }
                }
            },
            LinkEnd::Tls(end) => Self::Tls(end.clone()),
            LinkEnd::Timeout(stage) => Self::Late(*stage),
            LinkEnd::Truncated | LinkEnd::Spent => Self::Broken(io::ErrorKind::UnexpectedEof),
            LinkEnd::Violation(fault) => Self::Violation(*fault),
        }
    }
}

/// The newest failures, until they are asked for.
#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<DialFailure>);

impl Failures {
    pub(super) fn push(&mut self, failure: DialFailure) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(failure);
    }

    pub(super) fn pop(&mut self) -> Option<DialFailure> {
        self.0.pop_front()
    }
}

/// How long we were asked to wait.
struct Again(Option<Duration>);

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |wait| write!(f, "; it asks to come back after {} s", wait.as_secs()))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours, and there are many")]
fn connect_words(kind: io::ErrorKind) -> String {
    let words = match kind {
        io::ErrorKind::ConnectionRefused => "connection refused; check the port, and that the server runs",
        io::ErrorKind::TimedOut => "no answer to the connection; check the host, and firewalls on the way",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "there is no route to the host; check the address and this machine's network"
        }
        io::ErrorKind::NetworkDown => "this machine's network is down",
        io::ErrorKind::AddrNotAvailable => "this machine has no address, or no port left, to connect from",
        io::ErrorKind::PermissionDenied => "this machine does not permit the connection; check its firewall",
        kind => return format!("cannot connect: {kind}"),
    };
    words.to_owned()
}

fn http_words(status: u16) -> String {
    let why = match status {
        200..=299 => "a web page, and no upgrade; check the path, and that no login page is in the way",
        300..=399 => "a redirect, which is not followed; configure the address it points to",
        400 => "it does not understand the request; check that scheme and port belong together",
        401 | 403 => "it does not let us in; check the credentials",
        404 => "nothing of that path is there, or nobody comes in without showing who it is; check the path",
        407 => "a proxy on the way wants credentials",
        426 => "it wants another version of the protocol; check that path and port are those of a SUDP server",
        429 => "it has had too many requests",
        502..=504 => "it is up, and the SUDP server behind it is busy or not there",
        500.. => "it is in trouble itself",
        _ => "it refuses the request",
    };
    format!("HTTP status {status}: {why}")
}

fn proxy_words(end: ProxyEnd) -> String {
    let words = match end {
        ProxyEnd::Credentials => "the proxy wants credentials, or others than these; check user and password",
        ProxyEnd::Early => "the proxy sent bytes of its own behind its answer",
        ProxyEnd::Head(fault) => return format!("the proxy does not answer as an HTTP proxy does: {fault}"),
        ProxyEnd::Refused(403) => "the proxy forbids this server or its port (status 403); ask who runs the proxy",
        ProxyEnd::Refused(status @ 502..=504) => {
            return format!("the proxy cannot reach the server (status {status})");
        }
        ProxyEnd::Refused(status) => return format!("the proxy answers with status {status}"),
        ProxyEnd::Reply(reply) => {
            let why = match reply {
                1 => "general failure",
                ProxyEnd::FORBIDDEN => "its rules forbid this server or its port",
                3 => "network unreachable",
                4 => "host unreachable; its name may not resolve there",
                5 => "the server refused the connection",
                6 => "the server did not answer",
                7 => "it does not know the command",
                8 => "it does not know this type of address",
                _ => "a reason without a name",
            };
            return format!("the proxy cannot connect to the server: {why} (socks reply {reply})");
        }
        ProxyEnd::Socks => "the proxy does not speak SOCKS 5; check its port and kind",
    };
    words.to_owned()
}

fn code_words(code: Code) -> String {
    let words = match code {
        Code::BadProof => "the server does not accept the proof for the session; a new one will be asked for",
        Code::Denied => "the server denies access; check credentials and the server's rules",
        Code::Expired => "the grant has ended; a credential that is good for longer is needed",
        Code::Evicted => "a newer client of the same name has taken over; give this one a name of its own",
        Code::Full => "the server has no room for the session",
        Code::GoingAway => "the server is about to stop or restart",
        Code::Limit => "the server says that this client exceeds a limit",
        Code::Malformed => "the server does not understand this client; check the versions of both",
        Code::OrdinalBurnt => "the server has seen this dial before; a fresh one follows",
        Code::Sealing => {
            "the server cannot open what is sealed for the configured key: it has another key, or none; \
             compare the server key with what the server says at its start"
        }
        Code::Stale => "a client of the same name that was started later is there; give this one a name of its own",
        Code::UnknownSession => "the server does not know the session; a new one will be asked for",
        Code::Unsealed => "the server takes sealed links only; configure its public key as the server key",
        Code::Version => "the server speaks another version of SUDP; update the older of the two",
        Code::Count
        | Code::Done
        | Code::Idle
        | Code::Other(_)
        | Code::Poison
        | Code::Silent
        | Code::Unknown
        | Code::Unreachable => return format!("the server refuses the session with code {}", code.to_u64()),
    };
    words.to_owned()
}

const UNSEALED: &str = "the server does not seal, and a server key is configured: nothing is sent in the clear instead; \
    give the server a key, or leave the server key out";
/// Failures kept for a caller that does not ask.
const KEPT: usize = 64;
