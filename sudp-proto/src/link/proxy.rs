//! Upstream proxies: a dialogue in front of the upgrade.
//!
//! Names go to the proxy unresolved. Nothing but the proxy's own words is read here: bytes behind
//! them would be a server that speaks before it was asked.

use std::fmt;
use std::net::IpAddr;

use bytes::{Buf, BufMut, BytesMut};
use zeroize::Zeroizing;

use super::http::{self, HeadFault, Scan};
use super::upgrade::{Target, UpgradeError};
use super::{LinkLimits, answer};

/// An upstream proxy, which has been dialled instead of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proxy {
    kind: ProxyKind,
    credentials: Option<Credentials>,
}

/// Which words a proxy understands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyKind {
    /// HTTP's `CONNECT`.
    Connect,
    /// SOCKS version 5.
    Socks5,
}

#[derive(Clone, Eq, PartialEq)]
struct Credentials {
    user: Zeroizing<String>,
    password: Zeroizing<String>,
}

/// Why a proxy did not let us through.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyEnd {
    /// It wants credentials, or others than ours.
    #[error("credentials missing or wrong")]
    Credentials,
    /// Bytes behind its answer, before anything was asked of the server.
    #[error("bytes behind the answer")]
    Early,
    /// The syntax of its answer.
    #[error("{0}")]
    Head(#[from] HeadFault),
    /// An HTTP answer other than success.
    #[error("status {0}")]
    Refused(u16),
    /// A SOCKS answer other than success, by its number in RFC 1928.
    #[error("socks reply {0}")]
    Reply(u8),
    /// An answer that is not SOCKS 5.
    #[error("malformed socks answer")]
    Socks,
}

impl ProxyEnd {
    /// The SOCKS reply of a proxy whose rules do not allow the connection.
    pub const FORBIDDEN: u8 = 2;
}

impl Proxy {
    /// A proxy that asks for no credentials.
    pub const fn new(kind: ProxyKind) -> Self {
        Self { kind, credentials: None }
    }

    /// Sets what to say when asked: 1 to 255 bytes each, no control characters, no colon in a user for `CONNECT`.
    ///
    /// With `CONNECT` the password may be empty, as where the user is a token.
    pub fn with_credentials(mut self, user: &str, password: &str) -> Result<Self, UpgradeError> {
        let proper = |text: &str| (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
        let colon = matches!(self.kind, ProxyKind::Connect) && user.contains(':');
        let without = password.is_empty() && matches!(self.kind, ProxyKind::Connect);
        if !proper(user) || !(proper(password) || without) || colon {
            return Err(UpgradeError::Credentials);
        }
        let [user, password] = [user, password].map(|text| Zeroizing::new(text.to_owned()));
        self.credentials = Some(Credentials { user, password });
        Ok(self)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// The client's half of the dialogue.
#[derive(Debug)]
pub(super) struct Dialogue {
    credentials: Option<Credentials>,
    target: Target,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Connect(Scan),
    Method,
    Password,
    Reply,
    Through,
}

impl Dialogue {
    /// Says the first words.
    pub(super) fn new(proxy: Proxy, target: Target, output: &mut BytesMut) -> Self {
        let step = match proxy.kind {
            ProxyKind::Connect => {
                put_connect(&target, proxy.credentials.as_ref(), output);
                Step::Connect(Scan::new())
            }
            ProxyKind::Socks5 => {
                let methods: &[u8] = if proxy.credentials.is_some() { &[NONE, PASSWORD] } else { &[NONE] };
                output.put_slice(&[VERSION, u8::try_from(methods.len()).unwrap_or(0)]);
                output.put_slice(methods);
                Step::Method
            }
        };
        Self { credentials: proxy.credentials, target, step }
    }

    /// Takes what the proxy said; true when the server may be spoken to.
    pub(super) fn handle_input(
        &mut self,
        limits: &LinkLimits,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<bool, ProxyEnd> {
        loop {
            let next = match &mut self.step {
                Step::Connect(scan) => match scan.take(input, limits.head, limits.headers)? {
                    None => None,
                    Some(head) => connected(answer::status(&head)?.number)?,
                },
                Step::Method => self.choose(input, output)?,
                Step::Password => self.authenticated(input, output)?,
                Step::Reply => replied(input)?,
                Step::Through if input.is_empty() => return Ok(true),
                Step::Through => return Err(ProxyEnd::Early),
            };
            let Some(next) = next else { return Ok(false) };
            self.step = next;
        }
    }

    fn choose(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Option<Step>, ProxyEnd> {
        let Some([version, method]) = input.first_chunk().copied() else { return Ok(None) };
        input.advance(2);
        match (version, method, &self.credentials) {
            (VERSION, NONE, _) => {
                put_request(&self.target, output);
                Ok(Some(Step::Reply))
            }
            (VERSION, PASSWORD, Some(credentials)) => {
                output.put_u8(PASSWORD_VERSION);
                for text in [&credentials.user, &credentials.password] {
                    put_short(text, output);
                }
                Ok(Some(Step::Password))
            }
            (VERSION, NO_METHOD, _) => Err(ProxyEnd::Credentials),
            _ => Err(ProxyEnd::Socks),
        }
    }

    fn authenticated(&self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Option<Step>, ProxyEnd> {
        let Some([version, status]) = input.first_chunk().copied() else { return Ok(None) };
        input.advance(2);
        match (version, status) {
            (PASSWORD_VERSION, 0) => {
                put_request(&self.target, output);
                Ok(Some(Step::Reply))
            }
            (PASSWORD_VERSION, _) => Err(ProxyEnd::Credentials),
            _ => Err(ProxyEnd::Socks),
        }
    }
}

fn connected(status: u16) -> Result<Option<Step>, ProxyEnd> {
    match status {
        200..=299 => Ok(Some(Step::Through)),
        // Of wrong credentials some say 401, as if they were the server.
        401 | 407 => Err(ProxyEnd::Credentials),
        status => Err(ProxyEnd::Refused(status)),
    }
}

fn replied(input: &mut BytesMut) -> Result<Option<Step>, ProxyEnd> {
    let Some([version, reply, _, kind, length]) = input.first_chunk().copied() else {
        return match input.first_chunk() {
            Some([VERSION, 0]) | None => Ok(None),
            Some([VERSION, reply]) => Err(ProxyEnd::Reply(*reply)),
            Some(_) => Err(ProxyEnd::Socks),
        };
    };
    let address = match (version, reply, kind) {
        (VERSION, 0, IPV4) => 4,
        (VERSION, 0, IPV6) => 16,
        (VERSION, 0, NAME) => 1 + usize::from(length),
        (VERSION, 1.., _) => return Err(ProxyEnd::Reply(reply)),
        _ => return Err(ProxyEnd::Socks),
    };
    let whole = 4 + address + 2;
    if input.len() < whole {
        return Ok(None);
    }
    input.advance(whole);
    Ok(Some(Step::Through))
}

fn put_connect(target: &Target, credentials: Option<&Credentials>, output: &mut BytesMut) {
    let authority = target.authority();
    http::put_line(output, &["CONNECT ", &authority, " HTTP/1.1"]);
    http::put_line(output, &["Host: ", &authority]);
    if let Some(Credentials { user, password }) = credentials {
        let pair = Zeroizing::new([user.as_str(), ":", password].concat());
        let pair = Zeroizing::new(http::base64(pair.as_bytes()));
        http::put_line(output, &["Proxy-Authorization: Basic ", &pair]);
    }
    http::put_line(output, &[]);
}

fn put_request(target: &Target, output: &mut BytesMut) {
    output.put_slice(&[VERSION, CONNECT, 0]);
    match target.address() {
        Some(IpAddr::V4(address)) => {
            output.put_u8(IPV4);
            output.put_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            output.put_u8(IPV6);
            output.put_slice(&address.octets());
        }
        None => {
            output.put_u8(NAME);
            put_short(target.host(), output);
        }
    }
    output.put_u16(target.port());
}

fn put_short(text: &str, output: &mut BytesMut) {
    output.put_u8(u8::try_from(text.len()).expect("constructors keep names and credentials below 256 bytes"));
    output.put_slice(text.as_bytes());
}

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const NONE: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
