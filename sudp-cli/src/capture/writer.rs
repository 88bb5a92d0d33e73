//! Where datagrams are written, and until when.

use std::io::{self, Write};
use std::ops::ControlFlow;

use super::ndjson;
use super::pcapng::Pcapng;
use crate::instance::protocol::Record;

/// How datagrams are written.
#[derive(Debug)]
pub(super) enum Shape {
    /// As lines of JSON.
    Ndjson,
    /// As blocks of pcapng.
    Pcapng(Box<Pcapng>),
}

/// How much is written at most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Datagrams.
    pub(super) count: Option<u64>,
    /// Bytes, everything that the format adds included.
    pub(super) size: Option<u64>,
}

/// What is written, and how much that was.
#[derive(Debug)]
pub(super) struct Writer<W: Write> {
    out: W,
    shape: Shape,
    bounds: Bounds,
    /// Bytes.
    written: u64,
    /// Datagrams.
    pub(super) captured: u64,
    /// Datagrams that were left out since we were too slow.
    pub(super) lost: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes what the format begins with, so that even a capture of nothing can be opened.
    pub(super) fn begin(out: W, shape: Shape, bounds: Bounds) -> io::Result<Self> {
        let mut writer = Self { out, shape, bounds, written: 0, captured: 0, lost: 0, buffer: Vec::new() };
        if let Shape::Pcapng(_) = writer.shape {
            Pcapng::begin(&mut writer.buffer);
        }
        writer.put()?;
        writer.flush()?;
        Ok(writer)
    }

    /// Writes a datagram, or finds that it would be one too many.
    pub(super) fn record(&mut self, record: &Record) -> io::Result<ControlFlow<()>> {
        if self.full() {
            return Ok(ControlFlow::Break(()));
        }
        self.lost = self.lost.saturating_add(record.missed);
        match &mut self.shape {
            Shape::Ndjson => ndjson::write(record, &mut self.buffer),
            Shape::Pcapng(pcapng) => pcapng.write(record, &mut self.buffer),
        }
        let size = self.written + self.buffer.len() as u64 + self.tail();
        if self.bounds.size.is_some_and(|most| size > most) {
            self.buffer.clear();
            return Ok(ControlFlow::Break(()));
        }
        self.put()?;
        self.captured += 1;
        Ok(if self.full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Whether no more may come.
    pub(super) fn full(&self) -> bool {
        self.bounds.count.is_some_and(|count| self.captured >= count)
    }

    /// Hands on what is written so far: who reads it live is not to wait for more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes what the format ends with.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let Shape::Pcapng(pcapng) = &self.shape {
            pcapng.end_with(self.captured, self.lost, &mut self.buffer);
        }
        self.put()?;
        self.flush()
    }

    fn put(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// How much is still to come at the end.
    fn tail(&self) -> u64 {
        match &self.shape {
            Shape::Ndjson => 0,
            Shape::Pcapng(_) => 52,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::fixtures::record;

    fn pcapng() -> Shape {
        Shape::Pcapng(Box::default())
    }

    fn written(shape: Shape, bounds: Bounds, records: usize) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        let mut writer = Writer::begin(&mut out, shape, bounds).expect("memory takes it");
        for _ in 0..records {
            if writer.record(&record()).expect("memory takes it").is_break() {
                break;
            }
        }
        writer.end().expect("memory takes it");
        let captured = writer.captured;
        (out, captured)
    }

    #[test]
    fn a_count_is_kept_and_known_as_soon_as_it_is_reached() {
        for most in [0, 1, 7] {
            let bounds = Bounds { count: Some(most), size: None };
            let (out, captured) = written(Shape::Ndjson, bounds, 20);
            assert_eq!((captured, out.iter().filter(|byte| **byte == b'\n').count() as u64), (most, most));
        }
        let mut writer = Writer::begin(Vec::new(), pcapng(), Bounds { count: Some(1), size: None }).expect("memory");
        assert!(writer.record(&record()).expect("memory").is_break(), "no second one has to come to end it");
    }

    #[test]
    fn a_size_holds_for_all_that_is_written_and_nothing_is_cut_in_two() {
        for (shape, size) in [(false, 1000), (false, 10), (true, 1000), (true, 300)] {
            let bounds = Bounds { count: None, size: Some(size) };
            let (out, captured) = written(if shape { pcapng() } else { Shape::Ndjson }, bounds, 20);
            assert!(out.len() as u64 <= size, "{} of {size}", out.len());
            let unbound = written(if shape { pcapng() } else { Shape::Ndjson }, Bounds::default(), 20).0;
            if !shape {
                assert!(
                    unbound.starts_with(&out) && out.iter().filter(|byte| **byte == b'\n').count() as u64 == captured
                );
            }
        }
        assert_eq!(written(pcapng(), Bounds::default(), 20).1, 20);
    }

    #[test]
    fn what_was_lost_is_added_up() {
        let mut writer = Writer::begin(Vec::new(), Shape::Ndjson, Bounds::default()).expect("memory");
        for missed in [0, 3, 4] {
            assert!(writer.record(&Record { missed, ..record() }).expect("memory").is_continue());
        }
        assert_eq!((writer.captured, writer.lost), (3, 7));
    }
}
