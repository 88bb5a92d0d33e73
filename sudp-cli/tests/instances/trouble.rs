//! What is done to instances: killed, stopped dead, started a hundred times at once, kept from what they need.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::process::Signal;

use crate::house::{House, SUDP, after, said, skipped, until};

#[test]
fn what_a_killed_instance_leaves_is_recognised() {
    let house = House::new();
    let out = house.well("server start --port 0");
    let url = after(&out, "listening").to_owned();
    let pid = house.pid("server-default");
    house.signal("server-default", Signal::KILL);
    until("it is dead", || house.sudp("status").exit == 1);
    let dead = house.sudp("status");
    assert!(dead.err.contains(&format!("process {pid}")), "{dead:?}");
    assert!(house.well("list").contains("dead"));
    assert_eq!(house.files("run"), ["server-default.pid", "server-default.sock"]);

    assert_eq!(after(&house.well("restart"), "listening"), url);
    house.signal("server-default", Signal::KILL);
    until("it is dead", || house.sudp("status").exit == 1);
    house.well("server start --port 0");
    house.signal("server-default", Signal::KILL);
    until("it is dead", || house.sudp("status").exit == 1);
    assert_eq!(house.sudp("stop").exit, 3);
    house.is_empty();
}

#[test]
fn a_stale_file_with_the_number_of_another_process_harms_nobody() {
    let house = House::new();
    let mut other = house.command("sleep", "600").spawn().expect("it runs");
    for text in [format!("{}\n", other.id()), "1\n".into(), "-1\n".into(), "0\n".into(), "\0\n".into(), String::new()] {
        fs::write(house.path("run/server-default.pid"), &text).expect("there is room");
        assert_eq!(house.sudp("status").exit, 1, "{text:?}");
        assert_eq!(house.sudp("stop --timeout 0s").exit, 3, "{text:?}");
    }
    assert!(other.try_wait().expect("it is ours").is_none(), "the other one lives");
    let _ = other.kill();
    let _ = other.wait();
    house.well("server start --port 0");
}

#[test]
fn of_a_hundred_starts_at_once_one_wins() {
    let house = House::new();
    let all: Vec<_> = (0..100)
        .map(|_| {
            let mut command = house.command(SUDP, "server start --port 0");
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    let all: Vec<_> = all.into_iter().map(|child| said(child.wait_with_output().expect("it ends"))).collect();
    let winners = all.iter().filter(|said| said.exit == 0).count();
    assert_eq!(winners, 1, "{all:?}");
    let pid = house.pid("server-default");
    for loser in all.iter().filter(|said| said.exit != 0) {
        assert_eq!(loser.exit, 73, "{loser:?}");
        assert!(loser.err.contains("runs already"), "{loser:?}");
    }
    assert_eq!(house.processes(), [pid]);
    house.well("stop");
    house.is_empty();
}

#[test]
fn a_port_that_is_taken_is_told_and_nothing_is_left() {
    let house = House::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let failed = house.sudp(&format!("server start --port {port}"));
    assert_eq!(failed.exit, 73, "{failed:?}");
    assert!(failed.err.contains(&port.to_string()) && failed.out.is_empty(), "{failed:?}");
    house.is_empty();
    assert_eq!(house.files("state"), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_used_is_told_and_nothing_is_left() {
    for folder in ["run", "state", "logs"] {
        let house = House::new();
        let path = house.path(folder);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("ours");
        let failed = house.sudp("server start --port 0");
        assert_eq!(failed.exit, 73, "{failed:?}");
        assert!(failed.err.contains(&path.display().to_string()) && failed.err.contains("chmod"), "{failed:?}");

        fs::remove_dir_all(&path).expect("ours");
        fs::write(&path, "precious").expect("there is room");
        let failed = house.sudp("server start --port 0");
        assert_eq!(failed.exit, 73, "{failed:?}");
        assert!(failed.err.contains(&path.display().to_string()), "{failed:?}");
        assert_eq!(fs::read(&path).expect("it is still there"), b"precious");
        assert!(house.processes().is_empty());
    }
}

#[test]
fn a_folder_that_nobody_can_write_is_told() {
    let house = House::new();
    // Root writes everywhere but there.
    let mut command = house.command(SUDP, "server start --port 0");
    let failed = said(command.env("RUNTIME_DIRECTORY", "/proc/self/sudp").output().expect("it runs"));
    assert_eq!(failed.exit, 73, "{failed:?}");
    assert!(failed.err.contains("/proc/self/sudp"), "{failed:?}");

    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(house.path("run"), fs::Permissions::from_mode(0o500)).expect("ours");
        let failed = house.sudp("server start --port 0");
        assert_eq!(failed.exit, 73, "{failed:?}");
        fs::set_permissions(house.path("run"), fs::Permissions::from_mode(0o700)).expect("ours");
    }
    house.is_empty();
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    let house = House::new();
    for folder in ["run", "state"] {
        let path = house.path(folder);
        let mut mount = house.command("mount", "-t tmpfs -o size=16k,mode=700 sudp-test");
        if !mount.arg(&path).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return skipped("a small disk can be mounted by root only");
        }
        let mut full = fs::File::create(path.join("full")).expect("a file");
        while full.write(&[0; 4096]).is_ok_and(|count| count > 0) {}
        drop(full);
        let failed = house.sudp("server start --port 0");
        let (processes, left) = (house.processes(), house.files(folder));
        let unmounted = house.command("umount", "-l").arg(&path).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
        assert_eq!(failed.exit, 73, "{folder}: {failed:?}");
        assert!(failed.err.contains("No space left") && failed.err.contains("make room"), "{folder}: {failed:?}");
        assert!(processes.is_empty());
        assert_eq!(left, ["full"]);
        house.is_empty();
    }
    house.well("server start --port 0");
}

#[test]
fn a_broken_configuration_changes_nothing() {
    let house = House::new();
    let file = house.write("it.yaml", "server:\n  rules: [allow 127.0.0.1]\n");
    house.well(&format!("server start --port 0 --config {file}"));
    let pid = house.pid("server-default");
    house.write("it.yaml", "server:\n  ruels: []\n  threads: many\n");
    let failed = house.sudp("reload");
    assert_eq!(failed.exit, 78, "{failed:?}");
    assert!(failed.err.contains("keeps the configuration it has") && failed.err.contains("ruels"), "{failed:?}");
    assert!(failed.err.contains("threads"), "all of it is told: {failed:?}");
    let status = house.status("server");
    assert_eq!((&status["pid"], &status["health"]), (&pid.into(), &"ok".into()));
    assert!(status["reload"]["error"].as_str().is_some_and(|error| error.contains("ruels")), "{status}");

    // A signal says the same, to whoever looks.
    house.write("it.yaml", "server:\n  ruels: [again]\n  path: /x\n");
    house.signal("server-default", Signal::HUP);
    until("it was told", || !house.status("server")["reload"]["error"].to_string().contains("many"));
    house.write("it.yaml", "server:\n  rules: [allow 127.0.0.2]\n");
    house.well("reload");
    assert_eq!(house.status("server")["reload"]["error"], serde_json::Value::Null);

    house.write("it.yaml", "server: [");
    let failed = house.sudp("restart");
    assert_eq!(failed.exit, 78, "{failed:?}");
    assert_eq!(house.pid("server-default"), pid, "it would not start again, so it goes on");
    house.well("stop");
    house.is_empty();
}

#[test]
fn one_that_hangs_is_shown_as_such_and_is_ended_all_the_same() {
    let house = House::new();
    house.well("server start --port 0");
    house.well("server start --instance other --port 0");
    house.signal("server-default", Signal::STOP);
    let list = house.well("list");
    assert!(list.contains("does not answer") && list.contains("ok"), "{list}");
    let hung = house.sudp("status");
    assert_eq!(hung.exit, 4, "{hung:?}");
    assert!(hung.err.contains("does not answer"), "{hung:?}");
    let stopped = house.sudp("stop --timeout 100ms");
    assert_eq!(stopped.exit, 0, "{stopped:?}");
    assert!(stopped.err.contains("was killed"), "{stopped:?}");
    assert_eq!(house.files("run"), ["server-other.pid", "server-other.sock"]);
    house.well("stop --instance other");
    house.is_empty();
}

#[test]
fn garbage_at_the_control_socket_harms_nobody() {
    let house = House::new();
    house.well("server start --port 0");
    let socket = house.path("run/server-default.sock");
    let mut noise = 1_u64;
    for _ in 0..50 {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        let bytes: Vec<u8> = (0..2_000)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                noise.to_be_bytes()[0]
            })
            .collect();
        // It may have heard enough before all of it is written.
        let _ = stream.write_all(&bytes).and_then(|()| stream.write_all(b"\n"));
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("{\"failed\""), "{answer}");
    }
    assert_eq!(house.status("server")["health"], "ok");
}

#[test]
fn twenty_instances_are_listed_and_stopped() {
    let house = House::new();
    for number in 0..20 {
        house.well(&format!("server start --instance i{number} --port 0"));
    }
    let list = house.well("list");
    assert_eq!(list.lines().filter(|line| line.contains("ok")).count(), 20, "{list}");
    let none = house.sudp("status");
    assert_eq!(none.exit, 3);
    assert!(none.err.contains("server i0") && none.err.contains("--instance"), "{none:?}");
    for number in 0..20 {
        house.well(&format!("stop --instance i{number}"));
    }
    house.is_empty();
}
