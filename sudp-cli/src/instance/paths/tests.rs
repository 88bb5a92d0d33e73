use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::instance::scratch::Scratch;
use crate::status::Role;

fn folders(root: bool, home: Option<&str>, vars: &[(&str, &str)]) -> [String; 3] {
    let vars: HashMap<_, _> = vars.iter().copied().collect();
    let found = Folders::from(root, 1000, home.map(PathBuf::from), |name| vars.get(name).map(OsString::from));
    [found.state, found.logs, found.run].map(|path| path.display().to_string())
}

fn temporary(rest: &str) -> String {
    std::env::temp_dir().join("sudp-1000").join(rest).display().to_string().trim_end_matches('/').into()
}

#[test]
fn root_has_the_folders_of_the_system() {
    let expected = ["/var/lib/sudp", "/var/log/sudp", "/run/sudp"];
    assert_eq!(folders(true, Some("/root"), &[("XDG_STATE_HOME", "/x")]), expected);
}

#[test]
fn a_user_has_folders_of_their_own() {
    let vars = [("XDG_RUNTIME_DIR", "/run/user/1000")];
    let expected = ["/h/.local/state/sudp", "/h/.local/state/sudp/log", "/run/user/1000/sudp"];
    assert_eq!(folders(false, Some("/h"), &vars), expected);

    let vars = [("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r")];
    assert_eq!(folders(false, Some("/h"), &vars), ["/s/sudp", "/s/sudp/log", "/r/sudp"]);
}

#[test]
fn nobody_needs_a_home() {
    let expected = [temporary("state"), temporary("state/log"), temporary("")];
    assert_eq!(folders(false, None, &[]), expected);
}

#[test]
fn a_relative_folder_is_no_folder() {
    let vars = [("XDG_STATE_HOME", ""), ("XDG_RUNTIME_DIR", "./r"), ("STATE_DIRECTORY", "s")];
    let expected = ["/h/.local/state/sudp", "/h/.local/state/sudp/log"];
    let found = folders(false, Some("/h"), &vars);
    assert_eq!(found[..2], expected.map(String::from));
    assert_eq!(found[2], temporary(""));
}

#[test]
fn what_systemd_gives_goes_before_everything() {
    let vars = [
        ("STATE_DIRECTORY", "/var/lib/sudp/a:/var/lib/other"),
        ("LOGS_DIRECTORY", "/var/log/sudp/a"),
        ("RUNTIME_DIRECTORY", "/run/sudp/a"),
        ("XDG_RUNTIME_DIR", "/r"),
    ];
    let expected = ["/var/lib/sudp/a", "/var/log/sudp/a", "/run/sudp/a"];
    assert_eq!(folders(true, None, &vars), expected);
    assert_eq!(folders(false, None, &vars), expected);
}

#[test]
fn an_instance_of_a_unit_is_found_in_its_folder() {
    let scratch = Scratch::new();
    let id = Id { role: Role::Server, name: "eu".parse().expect("a name") };
    let folders = scratch.folders();
    assert_eq!(folders.find(&id), folders.files(&id));

    let own = scratch.path().join("run/eu");
    fs::create_dir_all(&own).expect("a folder");
    fs::write(own.join("server-eu.pid"), "1\n").expect("a file");
    assert_eq!(folders.find(&id).pid, own.join("server-eu.pid"));
    assert_eq!(folders.all(), [folders.find(&id)]);

    fs::write(scratch.path().join("run/server-eu.pid"), "1\n").expect("a file");
    assert_eq!(folders.find(&id), folders.files(&id), "a common one goes first");
    assert_eq!(folders.all().len(), 1);
}

#[test]
fn folders_are_made_for_us_alone() {
    let scratch = Scratch::new();
    let files = scratch.files();
    for folder in ["run", "state", "logs"] {
        let found = fs::metadata(scratch.path().join(folder)).expect("a folder");
        assert_eq!(found.mode() & 0o777, 0o700, "{folder}");
    }
    assert!(files.trusted());
    drop(open(&files.log, OFlags::APPEND).expect("a file"));
    assert_eq!(fs::metadata(&files.log).expect("a file").mode() & 0o777, 0o600);
}

#[test]
fn a_folder_that_others_can_write_is_not_trusted() {
    let scratch = Scratch::new();
    let files = scratch.files();
    let run = scratch.path().join("run");
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        fs::set_permissions(&run, fs::Permissions::from_mode(mode)).expect("ours");
        assert!(!files.trusted(), "{mode:o}");
        let failure = files.prepare().expect_err("it can be written by others");
        assert_eq!(failure.exit, Exit::CannotCreate);
        assert!(failure.message.contains("chmod go-w"), "{failure}");
    }
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("ours");
    files.prepare().expect("reading does no harm");
}

#[test]
fn a_file_in_the_place_of_a_folder_is_told() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("run"), "").expect("a file");
    let failure = scratch.folders().files(&Id { role: Role::Client, name: Name::default() }).prepare();
    let failure = failure.expect_err("a file is in the way");
    assert_eq!(failure.exit, Exit::CannotCreate);
    assert!(failure.message.contains("run"), "{failure}");
}

#[test]
fn a_socket_path_that_no_system_takes_is_told_with_a_way_out() {
    let scratch = Scratch::new();
    let mut folders = scratch.folders();
    let id = Id { role: Role::Server, name: Name::default() };
    let rest = folders.files(&id).socket.as_os_str().len();
    folders.run = folders.run.join("d".repeat(SOCKET - rest - 1));
    folders.files(&id).prepare().expect("it just fits");

    folders.run = scratch.path().join("run").join("d".repeat(SOCKET - rest));
    let failure = folders.files(&id).prepare().expect_err("one byte too long");
    assert_eq!(failure.exit, Exit::CannotCreate);
    assert!(failure.message.contains(&format!("has {} bytes", SOCKET + 1)), "{failure}");
    assert!(failure.message.contains("RUNTIME_DIRECTORY"), "{failure}");
    assert!(!folders.run.exists(), "nothing is made");
}

#[test]
fn nothing_is_written_to_what_is_not_a_file_of_ours() {
    let scratch = Scratch::new();
    let files = scratch.files();
    let victim = scratch.path().join("victim");
    fs::write(&victim, "precious").expect("a file");
    let refused = |what: &str| {
        let failure = open(&files.pid, OFlags::empty()).map(drop).expect_err(what);
        assert_eq!(failure.exit, Exit::CannotCreate, "{what}");
        assert!(failure.message.contains("server-default.pid"), "{what}: {failure}");
    };

    symlink(&victim, &files.pid).expect("a symbolic link");
    refused("a symbolic link");
    fs::remove_file(&files.pid).expect("a link");
    fs::hard_link(&victim, &files.pid).expect("a hard link");
    refused("a hard link");
    fs::remove_file(&files.pid).expect("a link");
    fs::create_dir(&files.pid).expect("a folder");
    refused("a folder");
    fs::remove_dir(&files.pid).expect("a folder");
    rustix::fs::mknodat(rustix::fs::CWD, &files.pid, rustix::fs::FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    refused("a pipe");
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "precious");
}

#[test]
fn only_a_socket_is_cleared_from_the_place_of_a_socket() {
    let scratch = Scratch::new();
    let files = scratch.files();
    clear_socket(&files.socket).expect("nothing is there");
    fs::write(&files.socket, "precious").expect("a file");
    clear_socket(&files.socket).expect_err("a file is there");
    assert_eq!(fs::read(&files.socket).expect("a file"), b"precious");
    fs::remove_file(&files.socket).expect("a file");

    drop(std::os::unix::net::UnixListener::bind(&files.socket).expect("a socket"));
    clear_socket(&files.socket).expect("a dead socket");
    assert!(!files.socket.exists());
    assert_eq!(files.socket.extension(), Some(OsStr::new("sock")));
}
