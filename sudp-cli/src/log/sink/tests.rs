use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const NEVER: Rotation = Rotation { max_size: 0, daily: false, keep: 3 };

/// A folder of its own, which goes with it.
pub(in crate::log) struct Folder(pub(in crate::log) PathBuf);

impl Folder {
    pub(in crate::log) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sudp-log-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(in crate::log) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.0.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn write(sink: &mut Sink, now: SystemTime, lines: &str) {
    let written = sink.write(now, lines.as_bytes());
    assert_eq!((written.lost, written.trouble), (0, None), "{:?}", written.error);
}

#[test]
fn a_file_that_would_grow_too_large_begins_anew_and_the_oldest_go() {
    let folder = Folder::new();
    let rotation = Rotation { max_size: 10, daily: false, keep: 2 };
    let mut sink = Sink::open(&folder.0.join("a.log"), rotation, at(0)).unwrap();

    write(&mut sink, at(0), "1234\n5678\n");
    write(&mut sink, at(0), "a line longer than a file may be\n");
    write(&mut sink, at(0), "b\nc\n0123456\n");

    assert_eq!(folder.names(), ["a.log", "a.log.1", "a.log.2"]);
    assert_eq!(folder.read("a.log.2"), "a line longer than a file may be\n");
    assert_eq!(folder.read("a.log.1"), "b\nc\n");
    assert_eq!(folder.read("a.log"), "0123456\n");
}

#[test]
fn each_day_has_a_file_of_its_own_and_a_restart_does_not_change_that() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    let rotation = Rotation { daily: true, ..NEVER };
    const DAY: u64 = 86_400;
    let mut sink = Sink::open(&path, rotation, at(5 * DAY - 2)).unwrap();

    write(&mut sink, at(5 * DAY - 1), "last of the day\n");
    write(&mut sink, at(5 * DAY), "first of the next\n");
    write(&mut sink, at(5 * DAY - 1), "a clock set back begins nothing\n");
    assert_eq!(folder.names(), ["a.log", "a.log.1"]);
    assert_eq!(folder.read("a.log.1"), "last of the day\n");
    sink.file.set_modified(at(5 * DAY + 7)).unwrap();
    drop(sink);
    let mut sink = Sink::open(&path, rotation, at(6 * DAY + 9)).unwrap();
    write(&mut sink, at(6 * DAY + 9), "started again\n");

    assert_eq!(folder.names(), ["a.log", "a.log.1", "a.log.2"]);
    assert_eq!(folder.read("a.log.1"), "first of the next\na clock set back begins nothing\n");
    assert_eq!(folder.read("a.log"), "started again\n");
}

#[test]
fn an_empty_file_is_not_kept_for_being_of_yesterday() {
    let folder = Folder::new();
    let mut sink = Sink::open(&folder.0.join("a.log"), Rotation { daily: true, ..NEVER }, at(0)).unwrap();

    write(&mut sink, at(10 * 86_400), "first\n");

    assert_eq!(folder.names(), ["a.log"]);
}

#[test]
fn fewer_that_are_kept_from_now_on_remove_those_that_are_there() {
    let folder = Folder::new();
    for name in ["a.log.1", "a.log.2", "a.log.7", "a.log.10", "a.log.old", "a.log.02", "b.log.9"] {
        fs::write(folder.0.join(name), name).unwrap();
    }
    let mut sink = Sink::open(&folder.0.join("a.log"), Rotation { max_size: 4, daily: false, keep: 2 }, at(0)).unwrap();

    write(&mut sink, at(0), "one\ntwo\n");

    assert_eq!(folder.names(), ["a.log", "a.log.02", "a.log.1", "a.log.2", "a.log.old", "b.log.9"]);
    assert_eq!([folder.read("a.log.1"), folder.read("a.log.2")], ["one\n", "a.log.1"]);
}

#[test]
fn none_are_kept_where_none_is_wanted() {
    let folder = Folder::new();
    let mut sink = Sink::open(&folder.0.join("a.log"), Rotation { max_size: 4, daily: false, keep: 0 }, at(0)).unwrap();

    write(&mut sink, at(0), "one\ntwo\n");

    assert_eq!(folder.names(), ["a.log"]);
    assert_eq!(folder.read("a.log"), "two\n");
}

#[test]
fn a_file_that_was_moved_away_is_noticed() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    let mut sink = Sink::open(&path, NEVER, at(0)).unwrap();
    write(&mut sink, at(0), "before\n");

    fs::rename(&path, folder.0.join("moved")).unwrap();
    write(&mut sink, at(0), "after\n");

    assert_eq!(folder.read("moved"), "before\n");
    assert_eq!(folder.read("a.log"), "after\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_was_emptied_is_measured_anew() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    let mut sink = Sink::open(&path, Rotation { max_size: 10, ..NEVER }, at(0)).unwrap();
    write(&mut sink, at(0), "12345678\n");

    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    write(&mut sink, at(0), "abc\n");

    assert_eq!(folder.names(), ["a.log"]);
    assert_eq!(folder.read("a.log"), "abc\n");
}

#[test]
fn what_is_no_file_of_its_own_is_refused() {
    let folder = Folder::new();
    let victim = folder.0.join("victim");
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, folder.0.join("link.log")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.0.join("pipe.log"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .unwrap();
    fs::create_dir(folder.0.join("folder.log")).unwrap();
    let refused = |name: &str| Sink::open(&folder.0.join(name), NEVER, at(0)).unwrap_err().to_string();

    assert_eq!(refused("link.log"), "it is a symbolic link, which is not followed");
    assert_eq!(refused("pipe.log"), "it is not a regular file");
    assert!(refused("folder.log").contains("directory"), "{}", refused("folder.log"));
    assert!(refused("missing/a.log").contains("No such file"), "{}", refused("missing/a.log"));
    assert_eq!(fs::read_to_string(victim).unwrap(), "untouched");
}

#[test]
fn a_link_in_the_place_of_a_moved_file_is_not_followed_and_what_was_open_is_written_on() {
    let folder = Folder::new();
    let (path, moved, victim) = (folder.0.join("a.log"), folder.0.join("moved"), folder.0.join("victim"));
    let mut sink = Sink::open(&path, NEVER, at(0)).unwrap();
    fs::rename(&path, &moved).unwrap();
    symlink(&victim, &path).unwrap();

    let first = sink.write(at(0), b"one\n");
    let second = sink.write(at(1), b"two\n");
    fs::remove_file(&path).unwrap();
    let third = sink.write(at(61), b"three\n");

    assert!(first.trouble.unwrap().contains("symbolic link"));
    assert_eq!((second.trouble, third.trouble), (None, None), "it is said once");
    assert_eq!((first.lost, second.lost, third.lost), (0, 0, 0));
    assert!(!victim.exists());
    assert_eq!(folder.read("moved"), "one\ntwo\n");
    assert_eq!(folder.read("a.log"), "three\n");
}

#[test]
fn a_file_that_cannot_begin_anew_goes_on_and_says_so_once() {
    let folder = Folder::new();
    // What is in the way of the shift cannot be removed as a file can.
    fs::create_dir(folder.0.join("a.log.9")).unwrap();
    let mut sink = Sink::open(&folder.0.join("a.log"), Rotation { max_size: 4, ..NEVER }, at(0)).unwrap();

    let written = sink.write(at(0), b"one\ntwo\nthree\n");

    assert_eq!(written.lost, 0);
    assert!(written.trouble.unwrap().contains("cannot begin"));
    assert_eq!(sink.write(at(1), b"four\n").trouble, None);
    assert_eq!(folder.read("a.log"), "one\ntwo\nthree\nfour\n");
}

#[test]
fn a_full_disk_loses_whole_lines_and_says_which() {
    let folder = Folder::new();
    let disk = folder.0.join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "sudp-test"])
        .arg(&disk)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("SKIPPED: a small file system cannot be mounted here; this needs root");
        return;
    }
    let _unmount = Unmount(&disk);
    let path = disk.join("a.log");
    let mut sink = Sink::open(&path, NEVER, at(0)).unwrap();
    let (line, mut lost, mut count) = (format!("{}\n", "x".repeat(99)), 0, 0);

    while lost == 0 {
        let written = sink.write(at(0), line.repeat(10).as_bytes());
        (lost, count) = (lost + written.lost, count + 10);
        assert_eq!(written.error.is_some(), lost > 0);
        assert!(count < 10_000);
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept.lines().all(|line| line.len() == 99), "every line is whole");
    assert_eq!(kept.lines().count() as u64 + lost, count);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    write(&mut sink, at(0), "room again\n");

    assert_eq!(fs::read_to_string(&path).unwrap(), "room again\n");
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_stream_that_broke_within_a_line_goes_on_with_a_line_of_its_own() {
    let folder = Folder::new();
    let mut file = File::options().create_new(true).read(true).append(true).open(folder.0.join("stream")).unwrap();
    let mut sink = Sink::stream(file.try_clone().unwrap());
    sink.take_back(3);

    write(&mut sink, at(0), "whole\n");

    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "\nwhole\n");
}
