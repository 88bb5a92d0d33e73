//! What a client shows to be let in, wherever it has it from, and that nobody else gets to see it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::rig::{Folder, Sudp, answers, echo};

/// A place with users and tokens, and servers that know them.
struct House {
    folder: Folder,
}

impl House {
    fn new() -> Self {
        Self { folder: Folder::new() }
    }

    fn path(&self, name: &str) -> String {
        let path = PathBuf::from(self.folder.write(".here", "")).with_file_name(name);
        path.display().to_string()
    }

    fn secret(&self, name: &str, text: &str) -> String {
        let path = self.folder.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sudp"));
        command.env_clear().env("HOME", self.path("home")).env("XDG_RUNTIME_DIR", self.path("home")).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn user(&self, name: &str, password: &str) {
        let file = self.secret(&format!("{name}.given"), password);
        self.run(&["user", "add", name, "--file", &self.path("users.yaml"), "--password-file", &file]);
    }

    /// A new token of this name, in place of one that there may be.
    fn token(&self, name: &str) -> String {
        let file = self.path("tokens.yaml");
        // There may be none.
        let _ = self.command(&["token", "revoke", name, "--file", &file]).output().unwrap();
        let said = self.run(&["token", "new", name, "--file", &file]);
        let token = said.split_whitespace().find(|word| word.starts_with("sudp_")).unwrap_or_else(|| panic!("{said}"));
        token.to_owned()
    }

    /// A server at this port, 0 for any, which knows the users and tokens that there are.
    fn serve(&self, port: u16) -> (Sudp, String) {
        let mut auth = String::new();
        for (key, file) in [("users", "users.yaml"), ("tokens", "tokens.yaml")] {
            if fs::exists(self.path(file)).unwrap() {
                auth += &format!("    {key}: {file}\n");
            }
        }
        let text = format!("server:\n  listen: 127.0.0.1:{port}\n  rules: [allow 127.0.0.0/8]\n  auth:\n{auth}");
        let config = self.folder.write("server.yaml", &text);
        let mut server = Sudp::of(self.command(&["-v", "server", "--config", &config]));
        let url = server.word("listening on ");
        (server, url)
    }

    fn client(&self, arguments: &[&str]) -> Sudp {
        Sudp::of(self.command(&[&["client"], arguments].concat()))
    }
}

fn carries(client: &mut Sudp, service: SocketAddr) {
    client.line("connected");
    let words = format!("{service}");
    let line = client.line(&words);
    let at = line.split_whitespace().find_map(|word| word.trim_matches(',').parse::<SocketAddr>().ok());
    answers(at.unwrap_or_else(|| panic!("{line}")), b"datagram");
}

#[test]
fn a_password_or_a_token_from_wherever_it_comes_lets_a_client_in() {
    let house = House::new();
    house.user("alice", "correct horse battery");
    let token = house.token("backup");
    let (_server, url) = house.serve(0);
    let service = echo();
    let tunnel = format!("0:{service}");
    let password = house.secret("password", "correct horse battery\n");
    let token_file = house.secret("token", &format!("{token}\n"));
    let command = format!("cat {token_file}");
    let config = house.folder.write("client.yaml", "client:\n  auth:\n    user: alice\n    password_file: password\n");
    for given in [
        &["--user", "alice", "--password-file", &password][..],
        &["--token-file", &token_file],
        &["--token-command", &command],
        &["--config", &config],
    ] {
        let mut client = house.client(&[&[&url, "-L", &tunnel], given].concat());
        carries(&mut client, service);
    }
    for (variables, user) in [
        (&[("SUDP_CLIENT__AUTH__TOKEN", token.as_str())][..], &[][..]),
        (&[("SUDP_CLIENT__AUTH__PASSWORD", "correct horse battery")], &["--user", "alice"]),
        (&[("SUDP_CLIENT__AUTH__USER", "alice"), ("SUDP_CLIENT__AUTH__PASSWORD_FILE", &password)], &[]),
    ] {
        let mut command = house.command(&[&["client", &url, "-L", &tunnel], user].concat());
        command.envs(variables.iter().copied());
        carries(&mut Sudp::of(command), service);
    }
}

#[test]
fn a_password_is_asked_for_at_the_terminal_and_not_shown_there() {
    let house = House::new();
    house.user("alice", "correct horse battery");
    let (_server, url) = house.serve(0);
    let line = format!("{} client {url} --user alice", env!("CARGO_BIN_EXE_sudp"));
    let mut script = Command::new("script");
    script.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", house.path("home")).args(["-qec", &line, "/dev/null"]);
    let Ok(mut child) = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        eprintln!("skipped: script (bsdutils) gives terminals, and is not installed");
        return;
    };
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = String::new();
    let mut until = |words: &str| {
        let mut room = [0; 4_096];
        while !seen.contains(words) {
            let length = output.read(&mut room).unwrap();
            assert!(length > 0, "no {words:?} in {seen}");
            seen += &String::from_utf8_lossy(&room[..length]);
        }
        seen.clone()
    };
    until("Password of alice: ");
    // It is asked before the terminal is quiet.
    thread::sleep(Duration::from_millis(500));
    input.write_all(b"correct horse battery\n").unwrap();
    let seen = until("connected");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!seen.contains("horse"), "{seen}");
}

#[test]
fn what_is_refused_is_told_with_everything_that_it_may_be() {
    let house = House::new();
    house.user("alice", "correct horse battery");
    let (_server, url) = house.serve(0);
    let wrong = house.secret("wrong", "incorrect horse battery");
    let elsewhere = url.replace("/sudp", "/pudp");
    for (url, user) in [(&url, "alice"), (&url, "mallory"), (&elsewhere, "alice")] {
        let client = house.client(&[url, "--user", user, "--password-file", &wrong, "--max-retries", "1"]);
        let end = client.end();
        end.with(77, "either the credentials are not accepted there, or nothing of that path is");
    }
    let end = house.client(&[&elsewhere, "--max-retries", "1"]).end();
    assert!(!end.errors.contains("credentials are not accepted"), "nobody showed any: {end:?}");
}

#[test]
fn what_is_configured_twice_or_by_half_is_refused_with_what_to_do() {
    let house = House::new();
    let secret = house.secret("secret", "abc");
    let missing = house.path("missing");
    for (arguments, words) in [
        (&["--user", "alice", "--token-file", &secret][..], "`client.auth.token` and `client.auth.user`"),
        (&["--token-command", "true", "--token-file", &secret], "`client.auth.token_command` and `client.auth.token`"),
        (
            &["--token-file", &secret, "--header", "Authorization: Basic abc"],
            "`client.headers (Authorization)` and `client.auth.token`",
        ),
        (&["--user", "alice"], "--password-file FILE"),
        (&["--password-file", &secret], "without `client.auth.user`"),
        (&["--token-file", &missing], "missing"),
        (&["--user", "a:b", "--password-file", &secret], "colon"),
    ] {
        let end = house.client(&[&["ws://127.0.0.1:1"], arguments].concat()).end();
        assert!(end.code == Some(78) && end.errors.contains(words), "{arguments:?}: {end:#?}");
        assert!(!end.errors.contains("abc\""), "{end:?}");
    }
    let started = house.command(&["client", "start", "ws://127.0.0.1:1", "--user", "alice"]).output().unwrap();
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(!started.status.success() && said.contains("--password-file FILE"), "{said}");
}

#[test]
fn a_client_whose_token_was_replaced_is_back_with_what_its_command_says_next() {
    let house = House::new();
    let first = house.token("backup");
    let (_server, url) = house.serve(0);
    let file = house.secret("token", &first);
    let command = format!("cat {file}");
    let config = house.folder.write("client.yaml", "client:\n  auth:\n    token_every: 1s\n");
    let service = echo();
    let mut client =
        house.client(&[&url, "-L", &format!("0:{service}"), "--token-command", &command, "--config", &config]);
    carries(&mut client, service);
    client.forget();
    let second = house.token("backup");
    client.line("the server has taken away the session");
    house.secret("token", &second);
    client.line("connected");
}

#[test]
fn a_server_that_was_killed_takes_the_tickets_that_it_gave_and_asks_for_no_password() {
    let house = House::new();
    house.user("alice", "correct horse battery");
    let (server, url) = house.serve(0);
    let port: u16 = url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    drop(server);
    let (server, _) = house.serve(port);
    let password = house.secret("password", "correct horse battery");
    let service = echo();
    let arguments = [&url, "-L", &format!("0:{service}"), "--user", "alice", "--password-file", &password];
    let mut client = house.client(&arguments);
    carries(&mut client, service);
    client.forget();
    drop(server);
    let (mut server, _) = house.serve(port);
    server.line("a client comes by its ticket");
    client.line("connected");
    drop(server);
    // Whoever has another password by now has no ticket that is good.
    let changed = house.secret("changed", "another horse battery");
    house.run(&["user", "passwd", "alice", "--file", &house.path("users.yaml"), "--password-file", &changed]);
    let (mut server, _) = house.serve(port);
    server.line("the password of alice is wrong");
    client.line("either the credentials are not accepted there");
}

/// An authorization server that gives this token, and counts how often.
fn authorization_server(token: Arc<Mutex<String>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut room) = (Vec::new(), [0; 4_096]);
            while !String::from_utf8_lossy(&request).contains("grant_type=") {
                match stream.read(&mut room) {
                    Ok(length @ 1..) => request.extend_from_slice(&room[..length]),
                    Ok(0) | Err(_) => break,
                }
            }
            log.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let token = token.lock().unwrap().clone();
            let (status, body) = match token.as_str() {
                "" => ("503 Service Unavailable", String::new()),
                token => ("200 OK", format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":2}}"#)),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // A client that has been ended does not listen.
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    (url, asked)
}

#[test]
fn an_authorization_server_gives_tokens_ahead_of_time_and_its_outage_costs_no_session() {
    let house = House::new();
    let token = Arc::new(Mutex::new(String::new()));
    let (at, asked) = authorization_server(Arc::clone(&token));
    let given = house.token("backup");
    let (mut server, url) = house.serve(0);
    house.secret("oauth", "cl13nt-s3cr3t");
    let config = house.folder.write(
        "client.yaml",
        &format!(
            "client:\n  auth:\n    oauth: {{url: '{at}', client_id: me, client_secret_file: oauth, scope: sudp, method: post}}\n"
        ),
    );
    let service = echo();
    let mut client = house.client(&[&url, "-L", &format!("0:{service}"), "--config", &config]);
    // Nobody is dialled with nothing to show.
    let line = client.line("no new token");
    assert!(line.contains("status 503") && line.contains(&at), "{line}");
    *token.lock().unwrap() = given;
    carries(&mut client, service);
    token.lock().unwrap().clear();
    client.forget();
    client.line("no new token");
    let requests = asked.lock().unwrap().clone();
    assert!(requests.len() >= 3 && requests.iter().all(|request| request.contains("scope=sudp")), "{requests:?}");
    // It goes on with what it has.
    thread::sleep(Duration::from_millis(500));
    client.forget();
    let begun = server.line("begins, of");
    assert!(begun.contains("backup"), "{begun}");
}

/// Variables and arguments that give a secret.
type Way<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// T21: a secret that is given in any way is nowhere to be seen.
#[test]
fn t21_no_secret_shows_in_logs_status_configuration_or_the_list_of_processes() {
    let (password, client_secret) = ("c4n4ry-4711-x", "cl13nt-s3cr3t");
    let house = House::new();
    house.user("alice", password);
    let token = house.token("backup");
    let (_server, url) = house.serve(0);
    let (password_file, token_file) = (house.secret("password", password), house.secret("token", &token));
    let token_server = authorization_server(Arc::new(Mutex::new(token.clone()))).0;
    let yaml = |name: &str, auth: &str| house.secret(name, &format!("client:\n  auth: {{{auth}}}\n"));
    let in_file = yaml("password.yaml", &format!("user: alice, password: {password}"));
    let as_token = yaml("token.yaml", &format!("token: {token}"));
    let oauth = format!("oauth: {{url: '{token_server}', client_id: me, client_secret: {client_secret}}}");
    let by_oauth = yaml("oauth.yaml", &oauth);
    let command = format!("cat {token_file}");
    let none: &[(&str, &str)] = &[];
    let ways: [Way<'_>; 8] = [
        (none, &["--user", "alice", "--password-file", &password_file]),
        (none, &["--token-file", &token_file]),
        (none, &["--token-command", &command]),
        (none, &["--config", &in_file]),
        (none, &["--config", &as_token]),
        (none, &["--config", &by_oauth]),
        (&[("SUDP_CLIENT__AUTH__USER", "alice"), ("SUDP_CLIENT__AUTH__PASSWORD", password)], &[]),
        (&[("SUDP_CLIENT__AUTH__TOKEN", &token)], &[]),
    ];
    for (index, (variables, arguments)) in ways.into_iter().enumerate() {
        let name = format!("way-{index}");
        let mut start = house.command(&[&["client", "start", &url, "--instance", &name], arguments].concat());
        let started = start.env("SUDP_LOG__LEVEL", "trace").envs(variables.iter().copied()).output().unwrap();
        let mut seen = String::from_utf8_lossy(&[started.stdout, started.stderr].concat()).into_owned();
        assert!(started.status.success(), "{name}: {seen}");
        let status = house.run(&["client", "status", "--instance", &name, "-o", "json"]);
        let pid = status.split("\"pid\":").nth(1).unwrap().trim_start();
        let pid: u32 = pid.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap();
        seen += &status;
        seen += &String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap());
        house.run(&["client", "reload", "--instance", &name]);
        let configured: Vec<&str> = arguments.iter().copied().skip_while(|word| *word != "--config").collect();
        for output in ["text", "json"] {
            let shown = [&["config", "show", "-o", output], &configured[..]].concat();
            let shown = house.command(&shown).envs(variables.iter().copied()).output().unwrap();
            assert!(shown.status.success(), "{name}: {}", String::from_utf8_lossy(&shown.stderr));
            seen += &String::from_utf8_lossy(&[shown.stdout, shown.stderr].concat());
        }
        house.run(&["client", "stop", "--instance", &name]);
        let log = house.run(&["client", "logs", "--instance", &name, "-n", "10000"]);
        assert!(log.contains("connected"), "{name}: {log}");
        seen += &log;
        // The third is how a header would have the password.
        for secret in [password, &token, client_secret, "YWxpY2U6YzRuNHJ5"] {
            assert!(!seen.contains(secret), "{name}: {secret} in {seen}");
        }
    }
}
