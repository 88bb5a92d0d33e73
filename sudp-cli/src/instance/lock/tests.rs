use std::os::unix::fs::symlink;
use std::sync::{Arc, Barrier};

use super::*;
use crate::instance::scratch::Scratch;

#[test]
fn who_holds_the_lock_is_told_to_others() {
    let scratch = Scratch::new();
    let files = scratch.files();
    assert_eq!(look(&files.pid), Found::Nothing);

    let held = Held::take(&files).expect("nobody has it");
    let own = Process::own();
    assert_eq!(look(&files.pid), Found::Running(Some(own)));
    assert!(own.lives());
    let failure = Held::take(&files).expect_err("it is taken");
    assert_eq!(failure.exit, Exit::CannotCreate);
    assert!(failure.message.contains(&format!("process {}", std::process::id())), "{failure}");
    assert!(failure.message.contains("server default"), "{failure}");

    drop(held);
    assert_eq!(look(&files.pid), Found::Nothing);
    assert!(!files.pid.exists());
}

#[test]
fn a_stale_file_is_recognised_by_its_lock() {
    let scratch = Scratch::new();
    let files = scratch.files();
    // The number is that of a process that lives: us.
    fs::write(&files.pid, format!("{}\n", std::process::id())).expect("a file");
    let left = Process { pid: std::process::id(), began: None };
    assert_eq!(look(&files.pid), Found::Dead(Some(left)));
    assert!(!left.lives(), "without its beginning it could be anybody");

    drop(std::os::unix::net::UnixListener::bind(&files.socket).expect("a socket"));
    clear(&files);
    assert!(!files.pid.exists() && !files.socket.exists());
}

#[test]
fn what_runs_is_not_cleared() {
    let scratch = Scratch::new();
    let files = scratch.files();
    let _held = Held::take(&files).expect("nobody has it");
    fs::write(&files.socket, "").expect("a file");
    clear(&files);
    assert!(files.pid.exists() && files.socket.exists());
}

#[test]
fn nothing_in_a_pid_file_is_believed_that_is_not_a_process() {
    let scratch = Scratch::new();
    let files = scratch.files();
    for text in ["", "0", "-1", "1 2", "99999999999", "2147483648", "abc", "\n1", "\0", "0x10", "1e3"] {
        fs::write(&files.pid, text).expect("a file");
        assert_eq!(look(&files.pid), Found::Dead(None), "{text:?}");
    }
    fs::write(&files.pid, [0xff, 0xfe]).expect("a file");
    assert_eq!(look(&files.pid), Found::Dead(None));
    fs::write(&files.pid, "7\nnonsense\nmore").expect("a file");
    assert_eq!(look(&files.pid), Found::Dead(Some(Process { pid: 7, began: None })));
    Held::take(&files).expect("whatever was in it");
}

#[test]
fn a_recycled_number_is_another_process() {
    let own = Process::own();
    assert!(own.lives());
    let before = Process { began: own.began.map(|began| began - 1), ..own };
    assert!(!before.lives());
}

#[test]
fn a_link_is_neither_read_nor_locked() {
    let scratch = Scratch::new();
    let files = scratch.files();
    let other = scratch.path().join("other");
    fs::write(&other, "1\n").expect("a file");
    symlink(&other, &files.pid).expect("a link");
    assert_eq!(look(&files.pid), Found::Unknown);
    Held::take(&files).expect_err("a link");
    assert_eq!(fs::read_to_string(&other).expect("a file"), "1\n");
}

#[test]
fn of_many_at_once_one_wins_whoever_looks() {
    let scratch = Scratch::new();
    let files = Arc::new(scratch.files());
    for _ in 0..8 {
        let start = Arc::new(Barrier::new(24));
        let begin = |number: usize| {
            let (files, start) = (files.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                if number >= 16 {
                    look(&files.pid);
                    return None;
                }
                Held::take(&files).ok()
            })
        };
        let all: Vec<_> = (0..24).map(begin).collect();
        let winners: Vec<_> = all.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(winners.len(), 1);
    }
}

#[test]
fn a_lock_on_a_file_that_was_removed_is_worth_nothing() {
    let scratch = Scratch::new();
    let files = scratch.files();
    let first = Held::take(&files).expect("nobody has it");
    fs::remove_file(&files.pid).expect("somebody tidies up");
    let second = Held::take(&files).expect("a new file");
    drop(first);
    assert!(files.pid.exists(), "the first one does not remove what is the second's");
    drop(second);
    assert!(!files.pid.exists());
}
