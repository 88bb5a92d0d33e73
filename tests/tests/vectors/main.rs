//! Every vector of `tests/vectors` is read as it says, and written back as it stands.

#![expect(clippy::unwrap_used, reason = "a test whose vectors cannot be read fails")]

mod describe;

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use sudp_proto::error::Violation;
use sudp_proto::wire::{Attach, Code, Control, Frame, Hello, Welcome, next_frame, varint};

#[test]
fn vectors_of_varints_hold() {
    check("varint.txt", 20);
}

#[test]
fn vectors_of_frames_hold() {
    check("frames.txt", 140);
}

#[test]
fn vectors_of_controls_hold() {
    check("controls.txt", 40);
}

#[test]
fn vectors_of_hellos_hold() {
    check("hello.txt", 50);
}

#[test]
fn vectors_of_welcomes_hold() {
    check("welcome.txt", 15);
}

/// One block of a file: `key: value` lines up to an empty one.
struct Vector<'a> {
    name: &'a str,
    kind: &'a str,
    input: Vec<u8>,
    secret: Option<[u8; 32]>,
    expected: Expected<'a>,
}

/// What must come of a vector's bytes.
enum Expected<'a> {
    /// They are read as this, and it is written as them.
    Value(&'a str),
    /// They are read as this, which is written otherwise.
    ReadsAs(&'a str),
    /// They are refused with the code of this name.
    Error(&'a str),
}

/// A reading of the input: what it says, and how it is written.
struct Reading {
    value: String,
    written: Vec<u8>,
    attach: Option<Attach>,
}

fn check(file: &str, at_least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.lines().filter(|line| !line.starts_with('#')).fold(String::new(), |mut text, line| {
        writeln!(text, "{}", line.trim_end()).unwrap();
        text
    });
    let blocks: Vec<_> = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()).collect();
    assert!(blocks.len() >= at_least, "{file} has {} vectors", blocks.len());
    for block in blocks {
        check_one(&Vector::parse(block));
    }
}

fn check_one(vector: &Vector<'_>) {
    let name = vector.name;
    match (&vector.expected, read(vector)) {
        (Expected::Value(value), Ok(reading)) => {
            assert_eq!(reading.value, *value, "{name}");
            assert_eq!(hex(&reading.written), hex(&vector.input), "{name}");
            check_proof(vector, &reading);
        }
        (Expected::ReadsAs(value), Ok(reading)) => {
            assert_eq!(reading.value, *value, "{name}");
            assert_ne!(hex(&reading.written), hex(&vector.input), "{name}");
        }
        (Expected::Error(code), Err(violation)) => assert_eq!(name_of(violation.code), *code, "{name}: {violation}"),
        (Expected::Error(code), Ok(reading)) => panic!("{name}: {} instead of {code}", reading.value),
        (Expected::Value(_) | Expected::ReadsAs(_), Err(violation)) => panic!("{name}: {violation}"),
    }
}

fn check_proof(vector: &Vector<'_>, reading: &Reading) {
    let Some(secret) = vector.secret else { return };
    let attach = reading.attach.as_ref().expect("a vector with a secret has a proof");
    assert!(attach.verify(&vector.input, &secret), "{}", vector.name);
    assert!(!attach.verify(&vector.input, &[0; 32]), "{}", vector.name);
}

fn read(vector: &Vector<'_>) -> Result<Reading, Violation> {
    let input = &vector.input;
    let mut written = Vec::new();
    let mut attach = None;
    let value = match vector.kind {
        "varint" => {
            let (number, size) = varint::read(input)?;
            assert_eq!(size, input.len(), "{}", vector.name);
            varint::put(&mut written, number);
            number.to_string()
        }
        "message" => {
            let frames = read_frames(input)?;
            frames.iter().for_each(|frame| frame.emit(&mut written));
            describe::message(&frames)?
        }
        "control" => {
            let control = Control::parse(input)?;
            written = written_payload(&control);
            describe::control(&control)
        }
        "hello" => {
            let hello = Hello::parse(input)?;
            hello.emit(&mut written);
            attach = hello.attach.clone();
            describe::hello(&hello)
        }
        "header" => {
            let (hello, _) = Hello::from_header(str::from_utf8(input).unwrap())?;
            written = hello.to_header().into_bytes();
            describe::hello(&hello)
        }
        "welcome" => {
            let welcome = Welcome::parse(&Bytes::copy_from_slice(input))?;
            welcome.emit(&mut written);
            describe::welcome(&welcome)
        }
        kind => panic!("{}: unknown kind {kind}", vector.name),
    };
    Ok(Reading { value, written, attach })
}

fn read_frames(input: &[u8]) -> Result<Vec<Frame>, Violation> {
    let mut message = Bytes::copy_from_slice(input);
    let mut frames = Vec::new();
    while let Some(frame) = next_frame(&mut message)? {
        frames.push(frame);
    }
    Ok(frames)
}

/// The payload of the record that carries a control.
fn written_payload(control: &Control) -> Vec<u8> {
    let mut record = Vec::new();
    control.emit_record(&mut record);
    let (_, flow_size) = varint::read(&record).unwrap();
    let (_, length_size) = varint::read(&record[flow_size..]).unwrap();
    record.split_off(flow_size + length_size)
}

impl<'a> Vector<'a> {
    fn parse(block: &'a str) -> Self {
        let field = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
        let name = field("name").unwrap_or_else(|| panic!("a vector without a name:\n{block}"));
        let expected = match (field("value"), field("reads-as"), field("error")) {
            (Some(value), None, None) => Expected::Value(value),
            (None, Some(value), None) => Expected::ReadsAs(value),
            (None, None, Some(code)) => Expected::Error(code),
            _ => panic!("{name} needs one of value, reads-as and error"),
        };
        let input = match (field("hex"), field("text")) {
            (Some(hex), None) => unhex(hex),
            (None, Some(text)) => text.as_bytes().to_vec(),
            _ => panic!("{name} needs one of hex and text"),
        };
        let secret = field("secret").map(|secret| unhex(secret).try_into().unwrap());
        Self { name, kind: field("kind").unwrap(), input, secret, expected }
    }
}

fn name_of(code: Code) -> String {
    format!("{code:?}").to_lowercase()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half a byte in {text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
