//! Control frames: the words of a close, and pongs that do not pile up.

use bytes::{BufMut, Bytes, BytesMut};

use super::end::FrameFault;

/// A close frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Close {
    /// Absent when it says nothing.
    pub(super) code: Option<u16>,
    pub(super) reason: Box<str>,
}

impl Close {
    /// A close of our own: a code that may not be sent is left out, a long reason is cut.
    pub(super) fn new(code: u16, reason: &str) -> Self {
        let code = Some(code).filter(|code| is_sendable(*code));
        Self { code, reason: shortened(reason).into() }
    }

    pub(super) fn parse(body: &[u8]) -> Result<Self, FrameFault> {
        match body {
            [] => Ok(Self { code: None, reason: "".into() }),
            [_] => Err(FrameFault::CloseCode),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !is_sendable(code) {
                    return Err(FrameFault::CloseCode);
                }
                let reason = str::from_utf8(reason).map_err(|_| FrameFault::Utf8)?;
                Ok(Self { code: Some(code), reason: reason.into() })
            }
        }
    }

    /// What stands in the frame.
    pub(super) fn body(&self) -> Bytes {
        let Some(code) = self.code else { return Bytes::new() };
        let mut body = BytesMut::with_capacity(2 + self.reason.len());
        body.put_u16(code);
        body.put_slice(self.reason.as_bytes());
        body.freeze()
    }
}

/// The answer to a ping that could not be sent at once, if any: only the newest.
#[derive(Debug, Default)]
pub(super) struct Pong(Option<Box<[u8]>>);

impl Pong {
    /// Keeps the answer to the newest ping, copied, so that it does not hold a whole buffer.
    pub(super) fn put(&mut self, payload: &[u8]) {
        self.0 = Some(payload.into());
    }

    pub(super) fn take(&mut self) -> Option<Box<[u8]>> {
        self.0.take()
    }
}

/// Whether a code may stand in a close frame: RFC 6455 §7.4 and its registry.
fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// As much of `reason` as a close frame has room for.
fn shortened(reason: &str) -> &str {
    let end = (0..=MAX_REASON.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
    &reason[..end.unwrap_or(0)]
}

const MAX_REASON: usize = 123;
