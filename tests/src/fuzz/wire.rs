//! The words of the wire: whatever parses is written again as something that parses to the same.

use bytes::Bytes;
use sudp_proto::error::Violation;
use sudp_proto::wire::{Control, Frame, Hello, MAX_CONTROL, MAX_HELLO, MAX_WELCOME, Record, Records, Welcome};
use sudp_proto::wire::{batch, next_frame};

/// Reads a message to its end or first violation, and every record and control in it.
pub fn message(data: &[u8]) {
    let mut message = Bytes::copy_from_slice(data);
    while let Ok(Some(frame)) = next_frame(&mut message) {
        match &frame {
            Frame::Batch(_, body) => records(body.clone()),
            Frame::Hello(raw) => hello(raw),
            Frame::Welcome(raw) => welcome(raw),
            Frame::Ack(_) | Frame::Ask | Frame::Close(_) | Frame::GoAway(_) | Frame::LinkDown(_) => {}
            Frame::Ping(_) | Frame::Pong(_) | Frame::Refuse(_) | Frame::Settled => {}
        }
        let mut again = Bytes::from(written(|out| frame.emit(out)));
        assert_eq!(next_frame(&mut again), Ok(Some(frame)));
        assert_eq!(again, "", "a frame was written as more than itself");
    }
}

/// Reads the payload of a record of flow 0.
pub fn control(data: &[u8]) {
    let Ok(control) = Control::parse(data) else { return };
    let mut again = Records::new(written(|out| control.emit_record(out)).into());
    let Ok(Some(Record { payload, .. })) = again.next() else { panic!("{control:?} was not written as a record") };
    if payload.len() <= MAX_CONTROL {
        assert_eq!(Control::parse(&payload), Ok(control));
    }
}

/// Reads a hello, or the header that carries one.
pub fn hello(data: &[u8]) {
    let header = str::from_utf8(data).ok().and_then(|value| Hello::from_header(value).ok());
    let Some(mut hello) = header.map(|(hello, _)| hello).or_else(|| Hello::parse(data).ok()) else { return };
    hello.prove(&SECRET);
    let raw = written(|out| hello.emit(out));
    if raw.len() > MAX_HELLO {
        return;
    }
    let carried = Hello::from_header(&hello.to_header());
    assert_eq!(carried.as_ref().map(|(hello, _)| hello), Ok(&hello));
    assert_eq!(Hello::parse(&raw).as_ref(), Ok(&hello));
    assert!(hello.attach.is_none_or(|attach| attach.verify(&raw, &SECRET)), "a hello does not prove its own session");
}

/// Reads a welcome.
pub fn welcome(data: &[u8]) {
    let Ok(welcome) = Welcome::parse(&Bytes::copy_from_slice(data)) else { return };
    let again = written(|out| welcome.emit(out));
    if again.len() <= MAX_WELCOME {
        assert_eq!(Welcome::parse(&again.into()), Ok(welcome));
    }
}

fn records(body: Bytes) {
    let mut records = Records::new(body);
    while let Ok(Some(record)) = records.next() {
        control(&record.payload);
        assert_eq!(rewritten(&record).as_ref(), Ok(&Some(record)));
    }
    assert_eq!(records.next(), Ok(None), "something follows the end of a batch");
}

fn rewritten(record: &Record) -> Result<Option<Record>, Violation> {
    let Record { flow, address, extension, payload } = record;
    let raw = written(|out| batch::emit_record(out, *flow, address.as_ref(), *extension, payload));
    assert_eq!(raw.len(), batch::record_len(*flow, address.as_ref(), *extension, payload.len()));
    Records::new(raw.into()).next()
}

fn written(emit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    emit(&mut out);
    out
}

const SECRET: [u8; 32] = [7; 32];
