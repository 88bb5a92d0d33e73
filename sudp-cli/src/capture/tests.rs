use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;

use super::fixtures::record;
use super::*;
use crate::instance::protocol::Direction;

fn pumped(said: Vec<Said>, bounds: Bounds, deadline: Option<Instant>) -> (Vec<u8>, Option<Failure>, String) {
    let (tell, told) = sync_channel(QUEUE);
    said.into_iter().for_each(|said| tell.send(said).expect("there is room"));
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out, Shape::Ndjson, bounds).expect("memory takes it");
    // A source that says nothing more, but is still there.
    let failure = pump(&told, &mut writer, deadline).expect("memory takes it");
    let counts = counts(&writer);
    writer.end().expect("memory takes it");
    drop(tell);
    (out, failure, counts)
}

fn said(missed: u64) -> Said {
    Said::Record(Box::new(Record { missed, ..record() }))
}

fn lines(out: &[u8]) -> usize {
    out.iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn an_instance_that_ends_ends_the_capture_with_its_reason_and_all_that_came_before_is_written() {
    let failure = Failure::new(Exit::NotRunning, "the client home has ended");
    let (out, ended, counts) =
        pumped(vec![said(0), said(3), Said::End(Some(failure.clone()))], Bounds::default(), None);
    assert_eq!((lines(&out), ended), (2, Some(failure)));
    assert!(counts.starts_with("2 datagrams captured, 3 datagrams lost: "), "{counts}");
}

#[test]
fn bounds_end_it_without_anything_more_having_to_come() {
    let count = Bounds { count: Some(1), size: None };
    assert_eq!(lines(&pumped(vec![said(0), said(0)], count, None).0), 1);
    assert_eq!(lines(&pumped(Vec::new(), Bounds { count: Some(0), size: None }, None).0), 0);
    let soon = Some(Instant::now() + Duration::from_millis(30));
    let (out, failure, counts) = pumped(vec![said(0)], Bounds::default(), soon);
    assert_eq!((lines(&out), failure, counts.as_str()), (1, None, "1 datagram captured"));
}

#[test]
fn who_has_read_enough_ends_it_quietly_and_a_full_disk_does_not() {
    let is = |kind: io::ErrorKind| cannot_write(Some(Path::new("x.pcapng")), &kind.into());
    assert_eq!(is(io::ErrorKind::BrokenPipe), Ok(()));
    let failure = is(io::ErrorKind::StorageFull).expect_err("it cannot be written");
    assert!(failure.message.starts_with("cannot write to x.pcapng: "), "{failure}");
}

#[test]
fn a_file_that_cannot_be_made_is_told_with_its_code() {
    let failure = open(Some(Path::new("/nowhere/at/all"))).map(|_| ()).expect_err("there is no such folder");
    assert_eq!(failure.exit, Exit::CannotCreate);
    assert!(failure.message.contains("/nowhere/at/all"), "{failure}");
}

/// What Wireshark makes of it, where it is installed.
#[test]
fn wireshark_reads_addresses_names_payloads_fates_and_sums() {
    let file = std::env::temp_dir().join(format!("sudp-capture-{}.pcapng", std::process::id()));
    let mut writer =
        Writer::begin(open(Some(&file)).expect("a file"), Shape::Pcapng(Box::default()), Bounds::default())
            .expect("room on the disk");
    let answer = Record {
        source: Some("10.0.0.1:53".into()),
        destination: Some("127.0.0.1:40001".into()),
        direction: Direction::In,
        fate: "delivered".into(),
        ..record()
    };
    let records = [
        record(),
        answer,
        Record { destination: Some("game.example.com:27015".into()), tunnel: Some("game".into()), ..record() },
        Record { source: Some("[2001:db8::1]:5000".into()), destination: Some("[::1]:5060".into()), ..record() },
        Record { source: Some("[2001:db8::1]:5000".into()), fate: "age".into(), ..record() },
        Record { size: 1200, payload: None, missed: 4, ..record() },
    ];
    for record in &records {
        assert!(writer.record(record).expect("room on the disk").is_continue());
    }
    writer.end().expect("room on the disk");
    drop(writer);

    let fields = [
        "frame.len",
        "frame.cap_len",
        "frame.interface_name",
        "frame.time_epoch",
        "ip.src",
        "ip.dst",
        "ipv6.src",
        "ipv6.dst",
        "udp.srcport",
        "udp.dstport",
        "udp.length",
        "data.data",
        "frame.comment",
        "frame.p2p_dir",
    ];
    let mut command = Command::new("tshark");
    command.args(["-r"]).arg(&file).args(["-n", "-T", "fields", "-E", "separator=|"]);
    // What listens at these ports by custom is none of this test's business.
    command.args(["-d", "udp.port==1-65535,data"]);
    command.args(["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]);
    for field in fields {
        command.args(["-e", field]);
    }
    command.args(["-e", "_ws.expert.message"]);
    let Ok(read) = command.stdin(Stdio::null()).output() else {
        eprintln!("tshark is not installed: what it says was not checked");
        let _ = std::fs::remove_file(&file);
        return;
    };
    let _ = std::fs::remove_file(&file);
    let text = String::from_utf8_lossy(&read.stdout);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('|').collect()).collect();
    assert_eq!(rows.len(), records.len(), "{text}{}", String::from_utf8_lossy(&read.stderr));
    let column = |name: &str| fields.iter().position(|field| *field == name).expect("a field that was asked for");
    let all = |name: &str| rows.iter().map(|row| row[column(name)]).collect::<Vec<_>>();
    assert_eq!(all("frame.len"), ["33", "33", "33", "53", "53", "1228"]);
    assert_eq!(all("frame.cap_len"), ["33", "33", "33", "53", "53", "28"]);
    assert_eq!(all("frame.interface_name"), ["dns", "dns", "game", "dns", "dns", "dns"]);
    assert!(all("frame.time_epoch").iter().all(|time| time.contains("123456789")), "{text}");
    assert_eq!(all("ip.src")[..3], ["127.0.0.1", "10.0.0.1", "127.0.0.1"]);
    assert_eq!(all("ip.dst")[..3], ["10.0.0.1", "127.0.0.1", "198.18.0.1"]);
    assert_eq!(all("ipv6.src")[3..5], ["2001:db8::1", "2001:db8::1"]);
    assert_eq!(all("ipv6.dst")[3..5], ["::1", "::ffff:10.0.0.1"]);
    assert_eq!(all("udp.dstport"), ["53", "40001", "27015", "5060", "53", "53"]);
    assert_eq!(all("udp.length"), ["13", "13", "13", "13", "13", "1208"]);
    assert_eq!(all("data.data")[..5], ["68656c6c6f"; 5]);
    assert!(all("frame.comment")[4].starts_with("dropped: age; flow 3 of session 5e5510115e551011"), "{text}");
    assert!(
        rows.iter().all(|row| row.last().is_some_and(|expert| !expert.to_lowercase().contains("checksum"))),
        "{text}"
    );
}
