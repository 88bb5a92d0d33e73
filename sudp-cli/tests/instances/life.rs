//! How instances begin, are looked at, and end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, getsid};

use crate::house::{House, SUDP, SUDPC, SUDPD, after, exists, said, skipped, until};

#[test]
fn an_instance_is_started_looked_at_restarted_and_stopped() {
    let house = House::new();
    let out = house.well("server start --port 0 --allow 127.0.0.0/8");
    let pid = house.pid("server-default");
    assert_eq!(after(&out, "as process"), pid.to_string());
    let url = after(&out, "listening").to_owned();
    let log = house.path("logs/server-default.log");
    assert_eq!(after(&out, "log"), log.display().to_string());
    for (file, mode) in
        [("run/server-default.sock", 0o600), ("run/server-default.pid", 0o600), ("state/server-default.json", 0o600)]
    {
        assert_eq!(fs::metadata(house.path(file)).expect(file).permissions().mode() & 0o777, mode, "{file}");
    }

    let status = house.status("server");
    assert_eq!((&status["pid"], &status["health"]), (&pid.into(), &"ok".into()));
    assert_eq!(status["listening"][0], url.as_str());
    let text = house.well("status");
    assert!(text.starts_with("server default  ok\n") && text.contains(&url), "{text}");
    assert!(house.well("logs").contains(&url));

    let again = house.sudp("server start --port 0");
    assert_eq!(again.exit, 73, "{again:?}");
    assert!(again.err.contains(&format!("process {pid}")), "{again:?}");
    house.well("reload");

    let out = house.well("restart");
    assert_eq!(after(&out, "listening"), url, "it takes the port that it had");
    assert_ne!(house.pid("server-default"), pid);

    assert_eq!(house.well("stop"), "the server default has ended\n");
    house.is_empty();
    let gone = house.sudp("status");
    assert_eq!(gone.exit, 3, "{gone:?}");
    assert_eq!(house.sudp("server stop").exit, 3);
    assert!(house.well("list").contains("stopped"));

    // What has ended can be brought back as it was.
    let out = house.well("server restart");
    assert_eq!(after(&out, "listening"), url);
    let refused = house.sudp("forget");
    assert_eq!(refused.exit, 1, "{refused:?}");
    assert!(refused.err.contains("'sudp server stop --instance default' first"), "{refused:?}");
    house.well("-q stop");

    fs::write(house.path("logs/server-default.log.1"), "an older one").expect("a log");
    fs::write(house.path("logs/server-default.logs"), "of something else").expect("a file");
    assert_eq!(house.well("forget"), "nothing is left of the server default\n");
    assert!(!house.well("list").contains("stopped"));
    for (file, left) in [
        ("state/server-default.json", false),
        ("logs/server-default.log", false),
        ("logs/server-default.log.1", false),
        ("logs/server-default.logs", true),
    ] {
        assert_eq!(house.path(file).exists(), left, "{file}");
    }
    let again = house.sudp("forget");
    assert_eq!(again.exit, 3, "{again:?}");
    assert!(again.err.contains("neither a server nor a client called default was ever started here"), "{again:?}");
}

#[test]
fn an_instance_has_left_everything_that_whoever_started_it_could_take_away() {
    let house = House::new();
    house.well("server start --port 0");
    let pid = house.pid("server-default");
    let own = Pid::from_raw(i32::try_from(pid).expect("a process"));
    assert_eq!(getsid(own).ok(), own, "it is the first of a session");
    let link = |what: &str| fs::read_link(format!("/proc/{pid}/{what}")).expect(what);
    assert_eq!(link("cwd"), std::path::Path::new("/"));
    assert_eq!(link("fd/0"), std::path::Path::new("/dev/null"));
    assert_eq!(link("fd/1"), std::path::Path::new("/dev/null"));
    assert_eq!(link("fd/2"), house.path("logs/server-default.log"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    assert_eq!(rest.split_ascii_whitespace().nth(4), Some("0"), "it has no terminal");
}

#[test]
fn an_instance_outlives_the_terminal_it_was_started_from() {
    let house = House::new();
    let line = format!("{SUDP} server start --port 0");
    let mut script = house.command("script", "-qec");
    let Ok(output) = script.arg(line).arg("/dev/null").stdout(Stdio::piped()).output() else {
        return skipped("script (bsdutils) gives terminals, and is not installed");
    };
    let started = said(output);
    assert_eq!(started.exit, 0, "{started:?}");
    // The terminal is gone now, and whoever belonged to it was hung up on.
    assert_eq!(house.status("server")["health"], "ok");
    assert_eq!(house.status("server")["reload"], serde_json::Value::Null, "nor was it told to reload");
}

#[test]
fn servers_and_clients_go_by_role_and_name() {
    let house = House::new();
    let started = said(house.command(SUDPD, "start --port 0 --allow 127.0.0.0/8").output().expect("it runs"));
    assert_eq!(started.exit, 0, "{started:?}");
    let url = after(&started.out, "listening").to_owned();
    let line = format!("start --instance game {url} -L 0:127.0.0.1:9");
    let started = said(house.command(SUDPC, &line).output().expect("it runs"));
    assert_eq!(started.exit, 0, "{started:?}");

    assert!(house.well("status").starts_with("server default"), "there is one of that name");
    assert!(house.well("status --instance game").starts_with("client game"));
    let wrong = house.sudp("server status --instance game");
    assert_eq!(wrong.exit, 3, "{wrong:?}");
    assert!(wrong.err.contains("server default"), "{wrong:?}");
    let wrong = house.sudp("client status");
    assert_eq!(wrong.exit, 3, "{wrong:?}");
    assert!(wrong.err.contains("client game"), "{wrong:?}");

    house.well(&format!("client start {url} -L 0:127.0.0.1:9"));
    for command in ["status", "stop", "reload", "restart"] {
        let both = house.sudp(command);
        assert_eq!(both.exit, 2, "{command}: {both:?}");
        assert!(both.err.contains("'sudp server …' or 'sudp client …'"), "{both:?}");
    }
    // One that was begun by another program restarts all the same.
    let out = house.well("server restart");
    assert_eq!(after(&out, "listening"), url);
    let all: serde_json::Value = serde_json::from_str(&house.well("list -o json")).expect("JSON");
    let names: Vec<_> = all["instances"].as_array().expect("a list").iter().map(|one| &one["instance"]).collect();
    assert_eq!(names, ["default", "default", "game"]);
    assert_eq!(house.well("client list").lines().count(), 3);
    for line in ["server stop", "client stop", "client stop --instance game"] {
        house.well(line);
    }
    house.is_empty();
}

#[test]
fn paths_that_were_typed_mean_the_same_after_a_reload_and_a_restart_from_elsewhere() {
    let house = House::new();
    house.write("mine.yaml", "server:\n  path: /one\n");
    let out = house.well("server start --port 0 --config config/mine.yaml");
    assert!(after(&out, "listening").ends_with("/one"), "{out}");
    house.well("reload");
    house.write("mine.yaml", "server:\n  path: /two\n");
    let mut restart = house.command(SUDP, "restart");
    let out = said(restart.current_dir("/").output().expect("it runs"));
    assert!(after(&out.out, "listening").ends_with("/two"), "{out:?}");
}

#[test]
fn in_the_foreground_an_instance_is_found_too_and_systemd_is_told() {
    let house = House::new();
    let notify = house.path("notify");
    let systemd = UnixDatagram::bind(&notify).expect("a socket");
    systemd.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let heard = || {
        let mut buffer = [0; 512];
        let count = systemd.recv(&mut buffer).expect("a word");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let mut command = house.command(SUDP, "server --instance web --port 0 --quiet");
    command.env("NOTIFY_SOCKET", &notify).env("WATCHDOG_USEC", "100000");
    let mut child = command.spawn().expect("it runs");
    assert_eq!(heard(), "READY=1");
    assert_eq!(heard(), "WATCHDOG=1");

    let status = house.well("server status --instance web -o json");
    assert!(status.contains(&format!("\"pid\": {}", child.id())), "{status}");
    let second = house.sudp("server --instance web --port 0");
    assert_eq!(second.exit, 73, "{second:?}");
    let restart = house.sudp("restart --instance web");
    assert_eq!(restart.exit, 3, "{restart:?}");
    assert!(restart.err.contains("not started by 'start'"), "{restart:?}");

    house.signal("server-web", Signal::HUP);
    let next = || loop {
        let word = heard();
        if word != "WATCHDOG=1" {
            return word;
        }
    };
    assert!(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(next(), "READY=1");
    house.signal("server-web", Signal::TERM);
    assert_eq!(next(), "STOPPING=1");
    assert_eq!(child.wait().expect("it ended").code(), Some(0));
    assert!(!exists(&house.path("state/server-web.json")));
    house.is_empty();
}

#[test]
fn a_log_can_be_followed_while_it_is_written() {
    let house = House::new();
    house.well("server start --port 0");
    let mut follow = house.command(SUDP, "logs -f -n 1").stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().expect("a pipe")));
    let first = lines.next().expect("a line").expect("text");
    assert!(!first.is_empty());
    house.well("reload");
    let new = lines.find_map(|line| line.ok().filter(|line| line.contains("reload") || line.contains("read anew")));
    assert!(new.is_some());
    let _ = follow.kill();
    let _ = follow.wait();
    until("it serves", || house.sudp("status").exit == 0);
}
