//! Answers other than 101: how a client reads them, and how a server writes them.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tungstenite::http::StatusCode;

use super::end::{Refusal, RefusalKind, RequestFault};
use super::http::{self, Count, Head, HeadFault};
use super::upgrade::UpgradeError;

/// A plain HTTP answer that refuses a request.
///
/// It holds no words of the requester, no name and no version of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    retry_after: Option<Duration>,
    code: Option<u64>,
    server: Option<u64>,
    /// It says of a body how long it would be, as one to HEAD does.
    bodiless: bool,
}

impl Answer {
    /// An answer with an empty body.
    pub fn new(status: u16) -> Result<Self, UpgradeError> {
        if !(200..=599).contains(&status) {
            return Err(UpgradeError::Status(status));
        }
        Ok(Self::plain(status))
    }

    /// 404, the answer to strangers and to whoever should not know better.
    pub const fn not_found() -> Self {
        Self::plain(404)
    }

    /// 503, with a time after which it may be otherwise.
    pub const fn unavailable(retry_after: Duration) -> Self {
        let mut answer = Self::plain(503);
        answer.retry_after = Some(retry_after);
        answer
    }

    /// 400, to a request in clear where TLS is spoken.
    pub(super) fn lost() -> Self {
        Self::plain(400).with_body(b"TLS is spoken on this port: use https or wss\n".to_vec())
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, UpgradeError> {
        let own = ["Connection", "Content-Length", "Retry-After", CODE, SERVER, "Transfer-Encoding"];
        if !http::is_token(name) || own.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(UpgradeError::HeaderName(name.to_owned()));
        }
        if !http::is_value(value) {
            return Err(UpgradeError::HeaderValue(name.to_owned()));
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Sets the body; a `Content-Type` goes among the headers.
    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// Leaves the body out, and nothing of what is said of it: an answer to HEAD.
    pub fn without_body(mut self) -> Self {
        self.bodiless = true;
        self
    }

    /// Sets after how many seconds, rounded up, it may be otherwise.
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// Sets the number of a [`Code`](crate::wire::Code), so that a SUDP client knows what to do.
    pub fn with_code(mut self, code: u64) -> Self {
        self.code = Some(code);
        self
    }

    /// Sets the id of this server, so that a client knows whether its session's owner speaks.
    pub fn with_server(mut self, server: u64) -> Self {
        self.server = Some(server);
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    const fn plain(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            retry_after: None,
            code: None,
            server: None,
            bodiless: false,
        }
    }

    pub(super) fn put(&self, output: &mut BytesMut) {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        http::put_line(output, &["HTTP/1.1 ", &self.status.to_string(), " ", reason.unwrap_or_default()]);
        http::put_line(output, &["Connection: close"]);
        http::put_line(output, &["Content-Length: ", &self.body.len().to_string()]);
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            http::put_line(output, &["Retry-After: ", &seconds.to_string()]);
        }
        if let Some(code) = self.code {
            http::put_line(output, &[CODE, ": ", &code.to_string()]);
        }
        if let Some(server) = self.server {
            http::put_line(output, &[SERVER, ": ", &server.to_string()]);
        }
        for (name, value) in &self.headers {
            http::put_line(output, &[name, ": ", value]);
        }
        http::put_line(output, &[]);
        if !self.bodiless {
            output.put_slice(&self.body);
        }
    }
}

/// What a faulty request is told.
impl From<RequestFault> for Answer {
    fn from(fault: RequestFault) -> Self {
        match fault {
            RequestFault::Denied | RequestFault::Origin => Self::plain(403),
            RequestFault::Head(HeadFault::Length | HeadFault::Number) => Self::plain(431),
            RequestFault::Version => Self {
                headers: vec![
                    ("Sec-WebSocket-Version".to_owned(), "13".to_owned()),
                    ("Upgrade".to_owned(), "websocket".to_owned()),
                ],
                ..Self::plain(426)
            },
            RequestFault::Duplicate(_) | RequestFault::Early | RequestFault::Field(_) | RequestFault::Head(_) => {
                Self::plain(400)
            }
        }
    }
}

/// The first line of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) number: u16,
    /// Whether it speaks HTTP/1.1, as a 101 must.
    pub(super) modern: bool,
}

/// Reads the first line of an answer.
pub(super) fn status(head: &Head) -> Result<Status, HeadFault> {
    let (version, rest) = head.start().split_once(' ').ok_or(HeadFault::Start)?;
    let digits = rest.split(' ').next().unwrap_or_default();
    let proper = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|number| proper && (100..=599).contains(number));
    match (version, number) {
        ("HTTP/1.1", Some(number)) => Ok(Status { number, modern: true }),
        ("HTTP/1.0", Some(number)) => Ok(Status { number, modern: false }),
        _ => Err(HeadFault::Start),
    }
}

/// Judges an answer that is neither a 101 nor an interim one.
pub(super) fn refusal(status: u16, head: &Head) -> Refusal {
    let kind = match status {
        300..=399 => RefusalKind::Redirect,
        408 | 425 | 429 | 500..=599 => RefusalKind::Transient,
        _ => RefusalKind::Permanent,
    };
    let retry_after = number(head, "Retry-After").map(|seconds| Duration::from_secs(seconds).clamp(SOONEST, LATEST));
    Refusal { status, kind, retry_after, code: number(head, CODE), server: number(head, SERVER) }
}

/// A field that is nothing but digits; a date needs a clock that the core does not have.
fn number(head: &Head, name: &str) -> Option<u64> {
    let Count::One(digits) = head.one(name) else { return None };
    let proper = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = str::from_utf8(digits).ok().filter(|_| proper)?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

const CODE: &str = "Sudp-Code";
const SERVER: &str = "Sudp-Server";
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(300);
