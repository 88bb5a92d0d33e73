//! What the documents tell people to type can be typed, and what the README begins with does what it says.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod shell;
mod world;

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use sudp_cli::args::client::ClientArgs;
use sudp_cli::args::manage::{Manage, Runs};
use sudp_cli::args::server::ServerArgs;
use sudp_cli::args::{Cli, Command, Common};
use sudp_cli::status::Role;

use world::{Echo, Program, Sudp, free_port, nginx};

#[test]
fn everything_the_documents_tell_people_to_type_can_be_typed() {
    let (mut wrong, mut right) = (Vec::new(), 0);
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for line in shell::lines(&text) {
            for words in shell::commands(&line) {
                match try_to_type(&words, line.whole) {
                    Ok(()) => right += 1,
                    Err(why) => wrong.push(format!("{}:{}: {}\n{why}", document.display(), line.number, line.text)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(right > 50, "only {right} commands were found");
}

#[test]
fn every_example_of_a_help_text_can_be_typed_and_fits_its_line() {
    fn look(command: &clap::Command, wrong: &mut Vec<String>, right: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            // Behind a gap stands what it does.
            let text = line.trim_start().split("  ").next().unwrap_or_default().to_owned();
            for words in shell::commands(&shell::Line { number: 0, text, whole: true }) {
                match try_to_type(&words, true) {
                    Ok(()) if line.chars().count() <= 100 => *right += 1,
                    Ok(()) => wrong.push(format!("{line}\nhas more than 100 characters")),
                    Err(why) => wrong.push(format!("{line}\n{why}")),
                }
            }
        }
        command.get_subcommands().for_each(|command| look(command, wrong, right));
    }
    let (mut wrong, mut right) = (Vec::new(), 0);
    look(&Cli::command(), &mut wrong, &mut right);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(right > 50, "only {right} examples were found");
}

#[test]
fn what_a_document_has_wrong_is_noticed() {
    for (line, says) in [
        ("sudp server --alow 127.0.0.0/8", "--alow"),
        ("sudp serve", "serve"),
        ("sudpd start --instance a/b", "a/b"),
        ("sudpc start ws://h -L 5005:h", "5005"),
        ("sudp client ws://h -L '1:h:2?class=realtim'", "realtime"),
        ("sudp client ws://h --tls-pin sha256/x", "sha256/"),
        ("echo hello | sudp client ws://h -W h", "HOST:PORT"),
        ("sudp server --listen 0.0.0.0:443 --allow 10.0.0.1", "--anonymous"),
        ("sudp server --listen 0.0.0.0:443 \\\n  --allow 10.0.0.1 # a comment", "--anonymous"),
        ("cargo run --bin sudp -- demo --fore 5s", "--fore"),
        ("sudo ip netns exec a sudp list --nothing > file", "--nothing"),
        ("$ sudp status --instanse home", "--instance"),
    ] {
        let text = format!("```sh\n{line}\n```\n");
        let found = shell::lines(&text).flat_map(|line| shell::commands(&line).collect::<Vec<_>>());
        let [words] = &found.collect::<Vec<_>>()[..] else { panic!("{line}: not one command") };
        let why = try_to_type(words, true).expect_err(line);
        assert!(why.contains(says), "{line}: {why}");
    }
    let prose = "Type `sudp stat`, then `sudp COMMAND --help`, `sudp client …` or `sudp cert`.";
    let found: Vec<_> = shell::lines(prose).flat_map(|line| shell::commands(&line).collect::<Vec<_>>()).collect();
    assert_eq!(found, [vec!["sudp", "stat"], vec!["sudp", "cert"]]);
    assert!(try_to_type(&found[0], false).is_err() && try_to_type(&found[1], false).is_ok());
}

#[test]
fn what_the_documents_point_to_is_there() {
    let mut there = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            let path = document.parent().unwrap().join(link);
            assert!(path.exists(), "{} points to {link}", document.display());
            there += 1;
        }
    }
    assert!(there > 20, "only {there} links were found");
}

#[test]
fn the_first_tunnel_of_the_readme_carries_what_is_typed() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let all = shell::lines(&text).flat_map(|line| shell::commands(&line).collect::<Vec<_>>());
    let is = |name: &'static str| move |words: &Vec<String>| words.get(1).is_some_and(|word| word == name);
    let mut all = all.skip_while(|words| !is("echo")(words));
    let (echo, server, client) = (all.next().unwrap(), all.next().unwrap(), all.next().unwrap());
    assert!(is("server")(&server) && is("client")(&client), "{server:?}, {client:?}");

    // As typed, but for the ports: those of the README may be taken.
    let [web, here, there] = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let typed = |words: &[String]| -> Vec<String> {
        let moved = words[1..].iter().map(|word| word.replace("8080", &web).replace("5005", &here));
        moved.map(|word| word.replace("5006", &there)).collect()
    };
    let listen = ["--listen".into(), format!("127.0.0.1:{there}")];
    let _echo = Sudp::start(&[typed(&echo), listen.to_vec()].concat(), "echoes at");
    let _server = Sudp::start(&[typed(&server), vec!["--port".into(), web.clone()]].concat(), "listening on");
    let _client = Sudp::start(&typed(&client), "connected");
    assert_eq!(Echo::ask(here.parse().unwrap(), b"hello"), b"hello");
}

#[test]
fn nginx_carries_a_tunnel_with_the_configuration_that_is_handed_out() {
    let folder = env::temp_dir().join(format!("sudp-readme-nginx-{}", process::id()));
    fs::create_dir(&folder).unwrap();
    let out = folder.to_str().unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    Sudp::run(&words(&format!("cert --name tunnel.example --out {out}")), b"");
    let (echo, web, port) = (Echo::start(), free_port(), free_port());
    let handed_out = fs::read_to_string(root().join("deploy/nginx.conf")).unwrap();
    if let Some(nginx) = nginx() {
        let _nginx = Program::nginx(&nginx, &folder, &handed_out, web, port);
        let server = words(&format!("server --port {web} --allow {echo}", echo = echo.at));
        let _server = Sudp::start(&server, "listening on");
        let client = format!(
            "client wss://127.0.0.1:{port} -W {} --tls-ca {out}/cert.pem --tls-name tunnel.example --max-retries 3",
            echo.at
        );
        assert_eq!(Sudp::run(&words(&client), b"hello"), b"hello");
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// Every document that tells people what to type.
fn documents() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("docs")).unwrap();
    let mut all: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    all.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    all.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    all.sort();
    all
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Whether the command takes this. What is only mentioned may leave out what it would need.
fn try_to_type(words: &[String], whole: bool) -> Result<(), String> {
    let (program, rest) = words.split_first().unwrap();
    let role = match program.as_str() {
        "sudpd" => Some("server"),
        "sudpc" => Some("client"),
        _ => None,
    };
    let line = ["sudp"].into_iter().chain(role).chain(rest.iter().map(String::as_str));
    match Cli::try_parse_from(line) {
        Ok(cli) if whole => can_be_used(cli),
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => Ok(()),
        Err(error) if !whole && error.kind() == ErrorKind::MissingRequiredArgument => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a configuration comes of it, as far as that can be told without the files that it names.
fn can_be_used(cli: Cli) -> Result<(), String> {
    let Cli { common, command } = cli;
    if let Command::Server(args) = command {
        let ServerArgs { run, manage } = *args;
        return started(run, manage).map_or(Ok(()), |run| run_is_fine(&run, &common));
    }
    if let Command::Client(args) = command {
        let ClientArgs { run, manage, .. } = *args;
        return started(run, manage).map_or(Ok(()), |run| run_is_fine(&run, &common));
    }
    Ok(())
}

/// What would run, here or in the background.
fn started<R: Runs>(run: R, manage: Option<Manage<R>>) -> Option<R> {
    match manage {
        None => Some(run),
        Some(Manage::Start(run)) => Some(run),
        Some(_) => None,
    }
}

fn run_is_fine<R: Runs>(run: &R, common: &Common) -> Result<(), String> {
    let flags = run.flags();
    let is = |key: &str| flags.iter().any(|flag| flag.key == key);
    let named = flags.iter().any(|flag| flag.key == "client.headers" && flag.values[0].starts_with('@'));
    if named || (R::ROLE == Role::Client && !is("client.servers")) {
        return Ok(());
    }
    let mut sources = common.sources(None, flags);
    let empty = env::temp_dir().join(format!("sudp-readme-{}-{:?}.yaml", process::id(), std::thread::current().id()));
    fs::write(&empty, "").unwrap();
    sources.file = Some(empty.clone());
    let loaded = sources.load(R::ROLE);
    fs::remove_file(&empty).unwrap();
    let wrong = loaded.map_or_else(|failure| failure.to_string(), |_| String::new());
    let is_missing = |line: &str| {
        line.contains("cannot read") && line.contains("os error 2") || line.ends_with("there is no such file")
    };
    let mut lines = wrong.lines().filter(|line| *line != "the configuration cannot be used");
    if lines.all(is_missing) { Ok(()) } else { Err(wrong) }
}
