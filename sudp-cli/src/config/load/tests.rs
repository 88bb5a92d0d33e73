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
    assert_eq!(lines, ["client.servers: there is no server to connect to; give its URL, as wss://example.com/sudp"]);
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

/// What is said of one file of the usual name.
fn said_of(file: impl FnOnce(&Path)) -> Result<Vec<String>, String> {
    let folder = Folder::new();
    let path = folder.0.join("config.yaml");
    file(&path);
    let outcome = Sources::default().load_in(Role::Server, &folder.surroundings(&[]));
    match outcome {
        Ok(loaded) => Ok(loaded.warnings),
        Err(failure) => Err(failure.message.replace(&folder.0.display().to_string(), "")),
    }
}

#[test]
fn whatever_stands_under_the_name_of_the_file_is_told_quickly() {
    let begun = std::time::Instant::now();
    let refused = |file: &dyn Fn(&Path)| {
        let message = said_of(file).unwrap_err();
        message.lines().nth(1).unwrap().to_owned()
    };
    let link = |target: &'static str| move |path: &Path| std::os::unix::fs::symlink(target, path).unwrap();
    let fifo = |path: &Path| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    let long = |path: &Path| fs::File::create(path).unwrap().set_len(100 << 20).unwrap();
    assert_eq!(refused(&|path| fs::create_dir(path).unwrap()), "/config.yaml: it is a directory, and not a file");
    assert_eq!(refused(&fifo), "/config.yaml: it is a pipe, and not a file");
    assert_eq!(refused(&link("/dev/zero")), "/config.yaml: it is a device, and not a file");
    assert!(refused(&link("config.yaml")).starts_with("/config.yaml: it cannot be read: "));
    assert!(refused(&link("/proc/self/mem")).starts_with("/config.yaml: it cannot be read: "));
    assert_eq!(refused(&long), "/config.yaml: it has more than 1048576 bytes, which is no configuration");
    let bytes = |bytes: &'static [u8]| move |path: &Path| fs::write(path, bytes).unwrap();
    assert_eq!(refused(&bytes(b"log:\n  \xff")), "/config.yaml:2:3: it is not text: byte 3 of line 2 is not UTF-8");
    assert_eq!(refused(&bytes(b"l\0g: x")), "/config.yaml:1:2: the character \\u{0} cannot stand in a configuration");
    // A link that leads nowhere is a file that is not there.
    assert_eq!(said_of(link("nowhere")), Ok(Vec::new()));
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let with = |mode: u32, text: &'static str| {
        said_of(move |path| {
            fs::write(path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        })
        .unwrap()
    };
    let secret = "client: {headers: {A: canary}}";
    let warnings = with(0o644, secret);
    assert!(warnings.len() == 1 && warnings[0].contains("run `chmod 600 "), "{warnings:?}");
    assert!(!warnings[0].contains("canary"), "{warnings:?}");
    assert_eq!(with(0o640, secret), [""; 0]);
    assert_eq!(with(0o644, "log: {level: warn}"), [""; 0]);
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own() {
    let folder = Folder::new()
        .with("config.yaml", "client: {servers: 'ws://h', proxy_file: proxy, headers_file: headers}")
        .with("proxy", "http://me:canary@proxy:1\n")
        .with("headers", "# for the gateway\nX-Token: canary\n\nX-B: c: d\n");
    let loaded = Sources::default().load_in(Role::Client, &folder.surroundings(&[])).unwrap();
    assert!(!format!("{loaded:?}").contains("canary"), "{loaded:?}");
    assert_eq!(loaded.config.client.proxy.unwrap().address.to_string(), "proxy:1");
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(loaded.config.client.headers, [header("X-Token", "canary"), header("X-B", "c: d")]);
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);

    let both = Folder::new().with("config.yaml", "client: {proxy: 'http://p:1', proxy_file: x}");
    let lines = problems(Sources::default().load_in(Role::Server, &both.surroundings(&[])));
    assert!(
        lines[0].ends_with("client.proxy_file: there is `client.proxy` as well; leave one of them out"),
        "{lines:?}"
    );
    let gone = Folder::new().with("config.yaml", "client: {proxy_file: /nowhere/x}");
    let lines = problems(Sources::default().load_in(Role::Server, &gone.surroundings(&[])));
    assert!(lines[0].ends_with("client.proxy_file: the file /nowhere/x: there is no such file"), "{lines:?}");
}

#[test]
fn headers_of_the_command_line_come_over_those_of_the_file() {
    let folder = Folder::new()
        .with("config.yaml", "client: {servers: 'ws://h', headers: {A: '1', B: '2'}}")
        .with("lines", "B: 3\nC: 4\n");
    let mut flags = Flags::default();
    flags.set("client.headers", "--header", [format!("@{}", folder.0.join("lines").display()), "D: 5".into()]);
    let sources = Sources { flags, ..Sources::default() };
    assert!(!format!("{sources:?}").contains("D: 5"), "{sources:?}");
    let loaded = sources.load_in(Role::Client, &folder.surroundings(&[])).unwrap();
    let headers: Vec<_> = loaded.config.client.headers.iter().map(|(name, value)| format!("{name}{value}")).collect();
    assert_eq!(headers, ["A1", "B3", "C4", "D5"]);
}

#[test]
fn a_name_that_looks_like_ours_is_a_warning_for_who_runs_and_a_mistake_for_who_checks() {
    let surroundings = Folder::new().surroundings(&[("SUDP_SERVR__LISTEN", "x")]);
    let loaded = Sources::default().load_in(Role::Server, &surroundings).unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    let mut gathered = Sources::default().gather(&surroundings);
    gathered.check(Some(Role::Server));
    assert_eq!(gathered.problems.len(), 1);
}

#[test]
fn what_is_checked_without_a_role_is_checked_for_each_that_is_spoken_of() {
    let check = |yaml: &str| {
        let folder = Folder::new().with("config.yaml", yaml);
        let mut gathered = Sources::default().gather(&folder.surroundings(&[]));
        gathered.check(None);
        gathered.problems.iter().map(|problem| problem.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(check("log: {level: info}"), [""; 0]);
    assert_eq!(check("client: {links: 2}"), ["client.servers"]);
    assert_eq!(check("server: {listen: '0.0.0.0:1'}"), ["server.listen"]);
}

#[test]
fn the_usual_folder_is_where_the_system_says() {
    let folder = |variables: &[(&str, &str)], root| {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let folder = Surroundings { variables, folder: None }.usual_folder(root);
        folder.map(|folder| folder.display().to_string())
    };
    let home = ("HOME", "/home/me");
    assert_eq!(folder(&[home], false).as_deref(), Some("/home/me/.config/sudp"));
    assert_eq!(folder(&[home, ("XDG_CONFIG_HOME", "/xdg")], false).as_deref(), Some("/xdg/sudp"));
    assert_eq!(folder(&[home, ("XDG_CONFIG_HOME", "relative")], false).as_deref(), Some("/home/me/.config/sudp"));
    assert_eq!(folder(&[home], true).as_deref(), Some("/etc/sudp"));
    assert_eq!(folder(&[home, ("CONFIGURATION_DIRECTORY", "/run/c:/x")], true).as_deref(), Some("/run/c"));
    assert_eq!(folder(&[], false), None);
}
