use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder of its own for a test, which goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sudp-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.0.join(name), text).unwrap();
        self
    }

    fn surroundings(&self, variables: &[(&str, &str)]) -> Surroundings {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Surroundings { variables, folder: Some(self.0.clone()) }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn problems(loaded: Outcome<Loaded>) -> Vec<String> {
    let failure = loaded.map(|_| "it was loaded").unwrap_err();
    assert_eq!(failure.exit, Exit::Config);
    let mut lines = failure.message.lines();
    assert_eq!(lines.next(), Some("the configuration cannot be used"));
    lines.map(str::to_owned).collect()
}

#[test]
fn without_anything_a_server_listens_on_loopback_and_allows_nothing() {
    let loaded = Sources::default().load_in(Role::Server, &Folder::new().surroundings(&[])).unwrap();
    assert_eq!(loaded.config.server.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(loaded.config.server.path, "/sudp");
    assert!(loaded.config.server.rules.as_slice().is_empty());
    assert_eq!(loaded.config.limits, sudp_tokio::proto::config::Limits::default());
    assert_eq!((loaded.files, loaded.warnings), (Vec::new(), Vec::new()));
    assert_eq!(loaded.origins["server.listen"], "default");
}

#[test]
fn a_client_without_a_server_is_told_what_to_give() {
    let lines = problems(Sources::default().load_in(Role::Client, &Folder::new().surroundings(&[])));
    assert_eq!(
        lines,
        ["default: client.servers: there is no server to connect to; give its URL, as wss://example.com/sudp"]
    );
}

#[test]
fn flags_go_before_the_environment_before_the_instance_before_the_file() {
    let folder = Folder::new()
        .with("config.yaml", "server: {path: /a, threads: 1, shutdown: 1s, rules: [allow 10.0.0.0/8]}\n")
        .with("home.yaml", "server: {path: /b, threads: 2, shutdown: 2s}\n");
    let mut flags = Flags::default();
    flags.set("server.path", "--path", Some("/d"));
    let sources = Sources { instance: Some("home".parse().unwrap()), flags, ..Sources::default() };
    let surroundings = folder.surroundings(&[("SUDP_SERVER__THREADS", "3"), ("SUDP_SERVER__PATH", "/c")]);
    let loaded = sources.load_in(Role::Server, &surroundings).unwrap();
    assert_eq!(loaded.config.server.path, "/d");
    assert_eq!(loaded.config.server.threads, 3);
    assert_eq!(loaded.config.server.shutdown.as_secs(), 2);
    assert_eq!(loaded.config.server.rules.as_slice()[0].to_string(), "allow 10.0.0.0/8");
    assert_eq!(loaded.files, [folder.0.join("config.yaml"), folder.0.join("home.yaml")]);
    let origin = |path: &str| loaded.origins[path].replace(&folder.0.display().to_string(), "");
    assert_eq!(origin("server.path"), "--path");
    assert_eq!(origin("server.threads"), "SUDP_SERVER__THREADS");
    assert_eq!(origin("server.shutdown"), "/home.yaml:1:42");
    assert_eq!(origin("server.rules"), "/config.yaml:1:53");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let folder = Folder::new().with(
        "config.yaml",
        "server:\n  lisen: 127.0.0.1:80\n  listen: [':80', 127.0.0.1:90]\n  rules: [allow 10.0.0.1/8, deny any]\n\
         client:\n  links: nine\nlimits:\n  idle: 1s\n",
    );
    let mut flags = Flags::default();
    flags.set("server.threads", "--threads", Some("-1"));
    let sources = Sources { flags, ..Sources::default() };
    let surroundings = folder.surroundings(&[("SUDP_LOG", "loud")]);
    let lines = problems(sources.load_in(Role::Server, &surroundings));
    let lines: Vec<_> = lines.iter().map(|line| line.replace(&folder.0.display().to_string(), "")).collect();
    assert_eq!(
        lines,
        [
            "/config.yaml:2:3: server.lisen: there is no key `server.lisen`; did you mean `server.listen`?",
            "/config.yaml:3:12: server.listen[0]: `:80` is not allowed here; allowed is ADDRESS:PORT, as 127.0.0.1:8080 or \
             [::1]:8080; for every address write 0.0.0.0:80 or [::]:80",
            "/config.yaml:4:11: server.rules[0]: \"10.0.0.1/8\" at column 7: bits are set behind the prefix of 8; did you \
             mean \"10.0.0.0/8\"?",
            "/config.yaml:6:10: client.links: `nine` is not allowed here; allowed is a number from 1 to 8",
            "/config.yaml:8:9: limits.idle: `1s` is not allowed here; allowed is a time from 2m to 1day, as 200ms, 10s or 1h30m",
            "SUDP_LOG: log.level: `loud` is not allowed here; allowed is a level (off, error, warn, info, debug, trace), \
             then TARGET=LEVEL as wanted",
            "--threads: server.threads: `-1` is not allowed here; allowed is a number from 0 to 256",
        ]
    );
}

#[test]
fn a_server_that_others_reach_is_open_only_by_an_explicit_word() {
    let load = |yaml: &str| {
        let folder = Folder::new().with("config.yaml", yaml);
        Sources::default().load_in(Role::Server, &folder.surroundings(&[]))
    };
    let lines = problems(load("server: {listen: '0.0.0.0:80'}"));
    assert!(lines[0].contains("`server.anonymous: true` (--anonymous)"), "{lines:?}");
    load("server: {listen: '0.0.0.0:80', anonymous: true}").unwrap();
    load("server: {listen: '[::ffff:127.0.0.1]:80'}").unwrap();
}

#[test]
fn the_port_of_the_command_line_moves_every_address() {
    let mut flags = Flags::default();
    flags.set("server.port", "--port", Some(0));
    let sources = Sources { flags, ..Sources::default() };
    let folder = Folder::new().with("config.yaml", "server: {listen: ['127.0.0.1:80', '[::1]:90']}");
    let loaded = sources.load_in(Role::Server, &folder.surroundings(&[])).unwrap();
    assert_eq!(loaded.config.server.listen, ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    assert_eq!(loaded.origins["server.listen"], "--port");
}

#[test]
fn rules_of_the_command_line_stay_in_order() {
    let mut flags = Flags::default();
    flags.set("server.rules", "--allow", ["deny 10.0.0.1:53", "allow 10.0.0.0/8"]);
    let sources = Sources { flags, ..Sources::default() };
    let loaded = sources.load_in(Role::Server, &Folder::new().surroundings(&[])).unwrap();
    let rules: Vec<_> = loaded.config.server.rules.as_slice().iter().map(ToString::to_string).collect();
    assert_eq!(rules, ["deny 10.0.0.1:53", "allow 10.0.0.0/8"]);
}

#[test]
fn tunnels_of_several_flags_add_up() {
    let mut flags = Flags::default();
    flags.set("client.servers", "URL", ["ws://127.0.0.1:1"]);
    flags.set("client.tunnels", "-L", ["forward 5005:127.0.0.1:5006?class=realtime"]);
    flags.set("client.tunnels", "-D", ["socks 1080"]);
    let sources = Sources { flags, ..Sources::default() };
    let loaded = sources.load_in(Role::Client, &Folder::new().surroundings(&[])).unwrap();
    let tunnels: Vec<_> = loaded.config.client.tunnels.iter().map(ToString::to_string).collect();
    assert_eq!(tunnels, ["127.0.0.1:5005:127.0.0.1:5006?class=realtime", "127.0.0.1:1080"]);
}

#[test]
fn a_file_that_somebody_named_must_be_there() {
    let sources = Sources { file: Some("/nowhere/sudp.yaml".into()), ..Sources::default() };
    let lines = problems(sources.load_in(Role::Server, &Folder::new().surroundings(&[])));
    assert_eq!(lines, ["/nowhere/sudp.yaml: there is no such file"]);
    let named = Folder::new().surroundings(&[("SUDP_CONFIG", "/nowhere/else.yaml")]);
    let lines = problems(Sources::default().load_in(Role::Server, &named));
    assert_eq!(lines, ["/nowhere/else.yaml: there is no such file"]);
}

#[test]
fn an_instance_in_the_background_logs_to_its_own_file_unless_another_is_named() {
    let sources = Sources { log_file: Some("/var/log/sudp/home.log".into()), ..Sources::default() };
    let folder = Folder::new();
    let file = |folder: &Folder| sources.load_in(Role::Server, &folder.surroundings(&[])).unwrap().config.log.file;
    assert_eq!(file(&folder), Some("/var/log/sudp/home.log".into()));
    let folder = folder.with("config.yaml", "log: {file: own.log}");
    assert_eq!(file(&folder), Some(folder.0.join("own.log")));
}
