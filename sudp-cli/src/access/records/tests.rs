use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::access::passwords::hash;
use crate::access::secret::Secret;
use crate::access::users::User;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sudp-records-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.0.join("users.yaml");
        fs::write(&path, text).expect("a file");
        mode(&path, 0o600);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

fn user(groups: &[&str]) -> User {
    let groups = groups.iter().map(|it| (*it).to_owned()).collect();
    // Times are written in whole seconds.
    let created = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    User { created, ..User::new(hash(&Secret::new("x")).expect("a hash"), groups) }
}

fn add(path: &Path, name: &str, user: &User) {
    edit(path, |table: &mut Table<User>| Ok(table.insert(name.into(), user.clone()))).expect("it can be changed");
}

fn empty(table: &mut Table<User>) -> Outcome {
    table.clear();
    Ok(())
}

#[test]
fn what_is_written_is_read_again_whatever_its_name() {
    let folder = Folder::new();
    let path = folder.0.join("users.yaml");
    let (plain, disabled) = (user(&["ops", "1"]), User { disabled: true, ..user(&[]) });
    for name in ["alice", "a@b.c+d-e_f", "1", "1e3", "true", "null", "0x10", "no"] {
        add(&path, name, &plain);
    }
    add(&path, "zoe", &disabled);
    let table: Table<User> = load(&path).expect("it is ours");
    assert_eq!(table.len(), 9);
    assert_eq!((&table["1e3"], &table["zoe"]), (&plain, &disabled));
    edit(&path, empty).expect("it can be changed");
    assert_eq!(load::<User>(&path), Ok(Table::new()));
}

#[test]
fn a_change_keeps_mode_and_link_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let path = folder.0.join("users.yaml");
    add(&path, "alice", &user(&[]));
    assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
    mode(&path, 0o640);
    let link = folder.0.join("link");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    fs::write(folder.0.join("users.yaml.new"), "half").expect("one died while it wrote");
    add(&link, "bob", &user(&[]));
    assert_eq!(load::<User>(&path).expect("it is ours").len(), 2);
    assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).expect("a link").is_symlink() && !folder.0.join("users.yaml.new").exists());
}

#[test]
fn of_many_who_change_it_at_once_nobody_is_lost() {
    let folder = Folder::new();
    let (path, user) = (folder.0.join("users.yaml"), user(&[]));
    thread::scope(|scope| {
        for name in 0..8 {
            let (path, user) = (&path, &user);
            scope.spawn(move || add(path, &name.to_string(), user));
        }
    });
    assert_eq!(load::<User>(&path).expect("it is ours").len(), 8);
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let folder = Folder::new();
    let path = folder.0.join("users.yaml");
    add(&path, "alice", &user(&[]));
    let before = fs::read(&path).expect("a file");
    let refused = edit(&path, |table: &mut Table<User>| {
        table.clear();
        Err::<(), _>(Failure::new(Exit::Failed, "no"))
    });
    assert!(refused.is_err());
    assert_eq!(fs::read(&path).expect("a file"), before);
    // What is not understood is not overwritten.
    let path = folder.file("users: {alice: {hash: x, pasword: y}}");
    assert!(edit(&path, empty).is_err());
    assert!(fs::read_to_string(&path).expect("a file").contains("pasword"));
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_the_way_out() {
    let folder = Folder::new();
    let good = user(&[]).hash;
    for (text, says) in [
        (String::new(), "it has no `users:`"),
        ("# only words".into(), "it has no `users:`"),
        ("- a".into(), "found is a list"),
        ("tokens: {}".into(), "users.yaml:1:1: tokens: there is no `tokens` in such a file"),
        ("users: [a]".into(), "users: found is a list"),
        ("users:\n  a b: {}".into(), "users.yaml:2:3: users: `a b` cannot be a name"),
        ("users:\n  alice:\n".into(), "users.yaml:2:3: users.alice: found is nothing"),
        ("users:\n  alice: {}".into(), "users.alice: `hash` is missing"),
        ("users:\n  alice:\n    hash: plain".into(), "users.yaml:3:11: users.alice.hash: it is no argon2id hash"),
        (format!("users:\n  alice:\n    hash: {good}\n    disabeld: true"), "did you mean `disabled`?"),
        (format!("users:\n  alice:\n    hash: {good}\n    disabled: yes"), "users.yaml:4:15: users.alice.disabled"),
        (format!("users:\n  alice:\n    hash: {good}\n    groups: []"), "the list is empty"),
        (format!("users:\n  alice:\n    hash: {good}\n    groups: [a b]"), "`a b` cannot be a name"),
        (format!("users:\n  alice:\n    hash: {good}\n    created: today"), "`today` is no time"),
        (format!("users:\n  alice: {{hash: {good}}}\n  alice: {{}}"), "stands here a second time"),
        ("users: {a: ".into(), "users.yaml:"),
    ] {
        let problems = load::<User>(&folder.file(&text)).expect_err(&text);
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|problem| problem.contains(says)), "{text}: {shown:?}");
    }
    let missing = load::<User>(&folder.0.join("nobody")).expect_err("it is not there");
    assert!(missing[0].to_string().ends_with("there is no such file"));
}

#[test]
fn a_file_that_others_may_read_or_change_is_refused() {
    let folder = Folder::new();
    let path = folder.file("users: {}");
    for wrong in [0o644, 0o604, 0o660, 0o602] {
        mode(&path, wrong);
        let problems = load::<User>(&path).expect_err("others have it");
        assert!(problems[0].to_string().contains("run `chmod 600"), "{problems:?}");
    }
    for right in [0o600, 0o640, 0o400] {
        mode(&path, right);
        assert_eq!(load::<User>(&path), Ok(Table::new()));
    }
}
