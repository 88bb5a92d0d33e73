//! What a link bears with, and for how long.

use std::time::Duration;

use crate::config::Limits;

/// What a link bears with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkLimits {
    /// Whether text messages are taken; they end a link otherwise. Default: no.
    pub text: bool,
    /// Bytes of a message, seen in the heads of its frames. Default: 66 KiB.
    pub message: usize,
    /// Fragments of less than 256 bytes in a message. Default: 16.
    pub small_fragments: usize,
    /// Bytes of a request or of an answer before its body. Default: 16 KiB.
    pub head: usize,
    /// Fields of a request or of an answer. Default: 64.
    pub headers: usize,
    /// Bytes of unsent output above which only the newest ping is answered. Default: 64 KiB.
    pub output: usize,
    /// How long each stage may take.
    pub deadlines: LinkDeadlines,
}

/// How long each stage of a link may take, in total.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkDeadlines {
    /// Until an upstream proxy has let us through. Default: 10 s.
    pub proxy: Duration,
    /// Until the handshake of TLS is over. Default: 10 s.
    pub tls: Duration,
    /// Until a server has read the head of a request. Default: 5 s. While its caller decides, none runs.
    pub head: Duration,
    /// Until a client has read the answer to its request. Default: 10 s.
    pub answer: Duration,
    /// From the first byte of a message to its last. Default: 90 s, at which 66 KiB move at 1 KiB/s.
    pub message: Duration,
    /// Until the other side's close frame, and again until its stream ends. Default: 3 s.
    pub close: Duration,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            text: false,
            message: 66 << 10,
            small_fragments: 16,
            head: 16 << 10,
            headers: 64,
            output: 64 << 10,
            deadlines: LinkDeadlines::default(),
        }
    }
}

/// What the caps of a client or a server mean for their links.
impl From<&Limits> for LinkLimits {
    fn from(limits: &Limits) -> Self {
        let Limits { message, small_fragments, head, head_lines, head_deadline, tls_deadline, .. } = *limits;
        let deadlines = LinkDeadlines { tls: tls_deadline, head: head_deadline, ..LinkDeadlines::default() };
        Self { message, small_fragments, head, headers: head_lines, deadlines, ..Self::default() }
    }
}

impl Default for LinkDeadlines {
    fn default() -> Self {
        Self {
            proxy: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            head: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            message: Duration::from_secs(90),
            close: Duration::from_secs(3),
        }
    }
}
