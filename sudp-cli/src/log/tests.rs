use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use tracing::{debug, error, info, trace, warn};

use super::sink::tests::Folder;
use super::*;

fn config(level: &str, format: LogFormat, file: Option<PathBuf>) -> Log {
    let level = level.to_owned();
    Log { level, format, file, max_size: 0, daily: false, keep: 3, figures: Duration::ZERO }
}

/// Logs to a file as configured, and gives what is in it in the end.
fn logged(level: &str, format: LogFormat, color: bool, log: impl FnOnce(&Guard, &Folder)) -> String {
    let folder = Folder::new();
    let config = config(level, format, Some(folder.0.join("a.log")));
    let clock = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_279_204_005));
    let (guard, subscriber) = begin(&config, color, clock, Sink::stderr).unwrap();
    tracing::subscriber::with_default(subscriber, || log(&guard, &folder));
    drop(guard);
    folder.read("a.log")
}

#[test]
fn a_line_for_people_has_time_level_target_message_and_fields() {
    let text = logged("trace", LogFormat::Text, false, |_, _| {
        info!(target: "sudp::link", peer = %"10.0.0.1:5", rtt = 0.5, links = 2_u32, name = "a b", up = true, "attached");
        error!(target: "sudp", "line\nbreak");
        trace!(target: "sudp", only = ?Some("field"));
    });

    let expected = "2026-11-21T16:40:04.005Z  INFO sudp::link: attached peer=10.0.0.1:5 rtt=0.5 links=2 name=\"a b\" up=true\n\
                    2026-11-21T16:40:04.005Z ERROR sudp: line\\nbreak\n\
                    2026-11-21T16:40:04.005Z TRACE sudp: only=\"Some(\\\"field\\\")\"\n";
    assert_eq!(text, expected);
}

#[test]
fn a_line_for_programs_is_an_object() {
    let text = logged("info", LogFormat::Json, true, |_, _| {
        warn!(target: "sudp::link", peer = "10.0.0.1:5", count = -3, share = f64::NAN, error = "\u{2028}\r\n", "slow");
        debug!(target: "sudp::link", "left out");
    });

    let expected = serde_json::json!({
        "time": "2026-11-21T16:40:04.005Z", "level": "warn", "target": "sudp::link", "message": "slow",
        "fields": { "peer": "10.0.0.1:5", "count": -3, "share": "NaN", "error": "\u{2028}\r\n" },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
}

#[test]
fn hostile_words_never_make_a_second_line_nor_reach_a_terminal() {
    let hostile = [
        "\r\n2026-11-21T16:40:04.005Z  INFO sudp: forged",
        "\x1b]0;title\x07\x1b[2J",
        "nul\0 separators\u{2028}\u{2029}\u{85}",
        "bidi \u{202e}\u{2066}\u{200f}",
        "\u{feff}\u{200b}\u{fffe}\u{10ffff}\u{e0001}",
        "\"},\"level\":\"error\",\"x\":{\"\\",
        &"long ".repeat(200_000),
    ];
    for format in [LogFormat::Text, LogFormat::Json] {
        let text = logged("info", format, true, |_, _| {
            for (index, words) in hostile.iter().enumerate() {
                let bytes: Vec<u8> = words.bytes().take(300).chain([0xff, 0xfe, 0xc3]).collect();
                let from = format!("10.0.0.{index}:1");
                info!(from = %from, plain = *words, shown = %words, debug = ?words, bytes = &bytes[..], "{words}");
            }
        });

        assert_eq!(text.lines().count(), hostile.len());
        for line in text.lines() {
            let escaped =
                |c: char| c.is_control() || c != '…' && ('\u{200b}'..='\u{206f}').contains(&c) || c == '\u{feff}';
            assert!(!line.contains(escaped), "{line:?}");
            assert!(line.len() < 5_000, "{} bytes", line.len());
            match format {
                LogFormat::Json => {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert_eq!(line["level"], "info");
                    assert_eq!(line["fields"].as_object().unwrap().len(), 5);
                }
                LogFormat::Text => assert!(line.starts_with("2026-11-21T16:40:04.005Z  INFO sudp_cli"), "{line}"),
            }
        }
    }
}

#[test]
fn levels_are_those_of_each_target_and_change_on_reload() {
    let text = logged("warn,sudp::link=debug", LogFormat::Text, false, |guard, folder| {
        let all = |round: u8| {
            info!(target: "sudp", round, "info");
            warn!(target: "sudp", round, "warn");
            debug!(target: "sudp::link", round, "debug");
            trace!(target: "sudp::link", round, "trace");
        };
        all(1);
        let file = Some(folder.0.join("a.log"));
        guard.reload(&config("info", LogFormat::Text, file.clone())).unwrap();
        all(2);
        let refused = guard.reload(&config("loud", LogFormat::Text, file)).unwrap_err();
        assert_eq!(refused.exit, Exit::Config);
        assert!(refused.message.starts_with("log.level: \"loud\" is not a level"), "{}", refused.message);
        all(3);
    });

    let said: Vec<_> = text.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(said, ["warn round=1", "debug round=1", "info round=2", "warn round=2", "info round=3", "warn round=3"]);
}

#[test]
fn a_reload_moves_to_another_file_in_order_or_stays_where_it_is() {
    let folder = Folder::new();
    let at = |name: &str| config("info", LogFormat::Text, Some(folder.0.join(name)));
    let (guard, subscriber) = begin(&at("a.log"), false, Arc::new(SystemTime::now), Sink::stderr).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        info!("one");
        guard.reload(&Log { format: LogFormat::Json, ..at("b.log") }).unwrap();
        info!("two");
        let refused = guard.reload(&at("missing/c.log")).unwrap_err();
        assert_eq!(refused.exit, Exit::CannotCreate);
        info!("three");
    });
    drop(guard);

    assert!(folder.read("a.log").ends_with("one\n"));
    let other = folder.read("b.log");
    let said: Vec<serde_json::Value> = other.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.iter().map(|line| line["message"].as_str().unwrap()).collect::<Vec<_>>(), ["two", "three"]);
}

#[test]
fn a_file_that_was_moved_is_made_anew_when_asked() {
    let folder = Folder::new();
    let (path, moved) = (folder.0.join("a.log"), folder.0.join("moved"));
    let configured = config("info", LogFormat::Text, Some(path.clone()));
    let (guard, subscriber) = begin(&configured, false, Arc::new(SystemTime::now), Sink::stderr).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        fs::rename(&path, &moved).unwrap();
        guard.reopen();
        guard.reopen();
        let until = Instant::now() + Duration::from_secs(10);
        while !path.exists() {
            assert!(Instant::now() < until, "it was not made anew");
            thread::sleep(Duration::from_millis(1));
        }
        info!("after");
    });
    drop(guard);

    assert_eq!(folder.read("moved"), "");
    assert!(folder.read("a.log").ends_with("after\n"));
}

#[test]
fn a_pipe_that_nobody_reads_holds_nobody_up_and_what_was_lost_is_told() {
    let folder = Folder::new();
    let path = folder.0.join("pipe");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    let flags = OFlags::NONBLOCK.bits().try_into().unwrap();
    let mut reader = File::options().read(true).custom_flags(flags).open(&path).unwrap();
    let pipe = File::options().write(true).open(&path).unwrap();
    let configured = config("info", LogFormat::Json, None);
    let clock = Arc::new(SystemTime::now);
    let (guard, subscriber) = begin(&configured, false, clock, move || Ok(Sink::stream(pipe))).unwrap();

    let begun = Instant::now();
    let filler = "x".repeat(200);
    const LINES: u64 = 5_000;
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..LINES {
            info!(number, filler, "line");
        }
    });
    let took = begun.elapsed();
    // Now somebody reads, until nothing comes any more.
    let closing = thread::spawn(move || drop(guard));
    let mut bytes = Vec::new();
    while !closing.is_finished() || reader.read_to_end(&mut bytes).is_err() {
        let _ = reader.read_to_end(&mut bytes);
        thread::sleep(Duration::from_millis(1));
    }
    closing.join().unwrap();

    assert!(took < Duration::from_secs(3), "{took:?}");
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (told, kept): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["target"] == TARGET);
    let lost: u64 = told.iter().map(|line| line["fields"]["lines"].as_u64().unwrap()).sum();
    assert!(lost > 0, "the pipe was never full");
    assert_eq!(kept.len() as u64 + lost, LINES);
    let numbers: Vec<_> = kept.iter().map(|line| line["fields"]["number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted());
}

#[test]
fn a_process_ends_though_its_pipe_is_blocked() {
    let folder = Folder::new();
    let path = folder.0.join("pipe");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    let flags = OFlags::NONBLOCK.bits().try_into().unwrap();
    let reader = File::options().read(true).custom_flags(flags).open(&path).unwrap();
    let pipe = File::options().write(true).open(&path).unwrap();
    let configured = config("info", LogFormat::Text, None);
    let clock = Arc::new(SystemTime::now);
    let (guard, subscriber) = begin(&configured, false, clock, move || Ok(Sink::stream(pipe))).unwrap();
    tracing::subscriber::with_default(subscriber, || (0..2_000).for_each(|number| info!(number, "{}", "x".repeat(99))));

    let begun = Instant::now();
    drop(guard);

    assert!(begun.elapsed() < FLUSH + Duration::from_secs(1));
    drop(reader);
}

#[test]
fn a_full_device_loses_lines_and_goes_on() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    let configured = config("info", LogFormat::Text, None);
    let full = || File::options().write(true).open("/dev/full").map(Sink::stream);
    let (guard, subscriber) = begin(&configured, false, Arc::new(SystemTime::now), full).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        info!("one");
        info!("two");
        guard.reload(&config("info", LogFormat::Text, Some(path))).unwrap();
        info!("three");
    });
    drop(guard);

    let text = folder.read("a.log");
    let said: Vec<_> = text.lines().map(|line| line.split_once(": ").unwrap().1).collect();
    assert!(said.contains(&"three"), "{text}");
    let lost = "lines of the log were lost lines=2 error=\"No space left on device (os error 28)\"";
    assert!(said.contains(&lost), "{text}");
}

#[test]
fn who_is_wrong_too_often_is_summed_up() {
    let text = logged("info", LogFormat::Text, false, |_, _| {
        for port in 0..1_000 {
            info!(from = %format_args!("10.0.0.1:{port}"), "refused");
            info!("not because of anybody");
        }
        info!(peer = "10.0.0.2:1", "somebody else");
    });

    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("not because of anybody"), 1_000);
    assert_eq!(count("somebody else"), 1);
    let refused = count(": refused from=10.0.0.1:");
    assert!((10..100).contains(&refused), "{refused}");
    let summed: usize = text
        .lines()
        .filter_map(|line| line.split_once("from=10.0.0.1 lines="))
        .map(|(_, lines)| lines.parse::<usize>().unwrap())
        .sum();
    assert_eq!(refused + summed, 1_000, "{text}");
}

#[test]
fn the_summary_comes_by_itself() {
    let begun = Instant::now();
    let text = logged("info", LogFormat::Text, false, |_, folder| {
        (0..20).for_each(|_| info!(from = "10.0.0.1:1", "refused"));
        while !folder.read("a.log").contains("left out") {
            assert!(begun.elapsed() < Duration::from_secs(10), "no summary");
            thread::sleep(Duration::from_millis(10));
        }
    });

    assert!(text.contains("from=10.0.0.1 lines=10\n"), "{text}");
}

#[test]
fn a_journal_is_recognised_by_its_device_and_inode() {
    let folder = Folder::new();
    let file = File::create(folder.0.join("journal")).unwrap();
    let about = rustix::fs::fstat(&file).unwrap();
    let named = format!("{}:{}", about.st_dev, about.st_ino);

    assert!(is_journal(Some(&named), &file));
    assert!(!is_journal(Some("1:2"), &file));
    assert!(!is_journal(Some("nonsense"), &file));
    assert!(!is_journal(None, &file));
}

#[test]
fn colours_are_for_terminals_and_the_journal_has_the_time_itself() {
    let line = |shape| {
        let about = About { at: SystemTime::UNIX_EPOCH, level: Level::INFO, target: "sudp" };
        Line::new(shape, about, |fields| fields.words("message", format_args!("hi"))).text
    };

    let plain = Shape { json: false, color: false, time: true };
    assert_eq!(line(plain), "1970-01-01T00:00:00.000Z  INFO sudp: hi\n");
    assert_eq!(line(Shape { time: false, ..plain }), " INFO sudp: hi\n");
    let colored = "\x1b[2m1970-01-01T00:00:00.000Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2msudp:\x1b[0m hi\n";
    assert_eq!(line(Shape { color: true, ..plain }), colored);
    assert!([plain, Shape { json: true, color: true, time: false }].iter().all(|shape| unpack(pack(*shape)) == *shape));
}
