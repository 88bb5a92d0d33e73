//! What middleboxes do with the head of a request: keep it, or take lines out of it.

use std::collections::VecDeque;

/// A head that grows longer than this is passed on as it is.
const LONGEST_HEAD: usize = 64 << 10;

/// Collects the bytes of a head.
#[derive(Debug, Default)]
pub(super) struct Keep {
    bytes: Vec<u8>,
}

impl Keep {
    /// Takes more bytes, and gives the head when it is complete.
    pub(super) fn head(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.bytes.extend_from_slice(bytes);
        let len = head_len(&self.bytes)?;
        let mut head = std::mem::take(&mut self.bytes);
        head.truncate(len);
        Some(head)
    }
}

/// Takes header lines away.
#[derive(Debug)]
pub(super) struct Strip {
    names: Vec<String>,
    /// The head so far; `None` behind it.
    head: Option<Vec<u8>>,
}

impl Strip {
    pub(super) fn new(names: &[String]) -> Self {
        Self { names: names.iter().map(|name| name.to_ascii_lowercase()).collect(), head: Some(Vec::new()) }
    }

    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut VecDeque<u8>) {
        let Some(head) = &mut self.head else { return out.extend(bytes) };
        head.extend_from_slice(bytes);
        let len = head_len(head);
        if len.is_none() && head.len() <= LONGEST_HEAD {
            return;
        }
        let (head, len) = (self.head.take().unwrap_or_default(), len.unwrap_or(0));
        for line in head[..len].split_inclusive(|byte| *byte == b'\n') {
            if !self.strips(line) {
                out.extend(line);
            }
        }
        out.extend(&head[len..]);
    }

    fn strips(&self, line: &[u8]) -> bool {
        self.names.iter().any(|name| line.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes())))
    }
}

fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}
