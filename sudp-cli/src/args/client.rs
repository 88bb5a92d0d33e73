//! `sudp client`.

use clap::Args;

use super::Common;
use super::manage::Manage;
use super::reach::{Discreet, Reach};
use super::spec::{self, SpecError, TunnelSpec};
use crate::config::load::Flags;
use crate::exit::Outcome;
use crate::instance::{Id, Name, serve};
use crate::login::prompt;
use crate::run::{self, Start};
use crate::status::Role;
use crate::top;

/// `sudp client`: in the foreground, or what manages those in the background.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND", after_help = EXAMPLES)]
pub struct ClientArgs {
    /// How it is run in the foreground.
    #[command(flatten)]
    pub run: RunClient,
    /// Show what happens, live, and take commands
    #[arg(short, long)]
    pub interactive: bool,
    /// Tie standard input and output to a UDP port of the server's side, as netcat does
    #[arg(short = 'W', value_name = "HOST:PORT", value_parser = stdio)]
    #[arg(conflicts_with_all = ["forward", "reverse", "socks", "interactive"])]
    pub stdio: Option<String>,
    /// What is asked for instead.
    #[command(subcommand)]
    pub manage: Option<Manage<RunClient>>,
}

/// How a client is run.
#[derive(Clone, Debug, Default, Args)]
pub struct RunClient {
    /// Its servers, as wss://host/path; the first is preferred, the others take over when it fails
    #[arg(value_name = "URL", value_parser = Discreet(server))]
    pub servers: Vec<String>,
    /// Its name; files, logs and `sudp status` go by it
    #[arg(long, value_name = "NAME")]
    pub instance: Option<Name>,
    /// Take datagrams here and have the server send them, as 5005:10.0.0.1:53; may be repeated
    #[arg(short = 'L', long = "forward", value_name = "SPEC", value_parser = forward)]
    pub forward: Vec<String>,
    /// Have the server take datagrams and send them from here, as 5005:127.0.0.1:5006; may be repeated
    #[arg(short = 'R', long = "reverse", value_name = "SPEC", value_parser = reverse)]
    pub reverse: Vec<String>,
    /// A SOCKS5 proxy for UDP here, as 1080 or 127.0.0.1:1080; may be repeated
    #[arg(short = 'D', long = "socks", value_name = "SPEC", value_parser = socks)]
    pub socks: Vec<String>,
    /// How many links the session holds, 1 to 8 [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = links)]
    pub links: Option<usize>,
    /// A stable name at the server, whose next start takes over the ports of this one
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// Give up after so many retries in a row that came to nothing [default: never]
    #[arg(long, value_name = "COUNT")]
    pub max_retries: Option<u32>,
    /// How its servers are reached.
    #[command(flatten)]
    pub reach: Reach,
}

impl RunClient {
    /// What this says of the configuration.
    pub fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        flags.set("client.servers", "URL", &self.servers);
        for (kind, flag, specs) in
            [("forward", "-L", &self.forward), ("reverse", "-R", &self.reverse), ("socks", "-D", &self.socks)]
        {
            flags.set("client.tunnels", flag, specs.iter().map(|spec| format!("{kind} {spec}")));
        }
        flags.set("client.links", "--links", self.links);
        flags.set("client.name", "--name", &self.name);
        flags.set("client.max_retries", "--max-retries", self.max_retries);
        self.reach.flags(&mut flags);
        flags
    }
}

impl ClientArgs {
    /// Does what is asked for.
    pub fn run(self, common: &Common) -> Outcome {
        let Self { run, interactive, stdio, manage } = self;
        if let Some(manage) = manage {
            return manage.run(common);
        }
        for secret in run.reach.secrets() {
            eprintln!("sudp: warning: {secret}");
        }
        let mut common = common.clone();
        // What it says on the way would stand among the answers.
        common.quiet |= stdio.is_some() && common.verbose == 0;
        let id = run.instance.clone().map(|name| Id { role: Role::Client, name });
        let mut flags = run.flags();
        prompt::ask(&common.sources(run.instance.clone(), flags.clone()), &mut flags)?;
        let sources = common.sources(run.instance, flags);
        let start = Start { sources, color: common.color, ready: Box::new(|_| Ok(())) };
        serve::foreground(id.as_ref(), start, |start| match stdio {
            Some(to) => run::stdio::run(start, &to),
            None if interactive => top::interactive(start),
            None => run::client::run(start),
        })
    }
}

fn forward(text: &str) -> Result<String, String> {
    checked(text, TunnelSpec::forward)
}

fn reverse(text: &str) -> Result<String, String> {
    checked(text, TunnelSpec::reverse)
}

fn socks(text: &str) -> Result<String, String> {
    checked(text, TunnelSpec::socks)
}

fn stdio(text: &str) -> Result<String, String> {
    checked(text, TunnelSpec::stdio)
}

pub(super) fn server(text: &str) -> Result<String, String> {
    checked(text, spec::server)
}

/// What was typed, once it is known that it can be read.
fn checked<T>(text: &str, read: impl FnOnce(&str) -> Result<T, SpecError>) -> Result<String, String> {
    read(text).map(|_| text.into()).map_err(|error| error.problem)
}

fn links(text: &str) -> Result<usize, String> {
    let links = text.parse().ok().filter(|links| (1..=8).contains(links));
    links.ok_or_else(|| "a session holds 1 to 8 links".into())
}

fn name(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(text.into()) } else { Err("a name has 1 to 64 bytes, and no control characters".into()) }
}

const EXAMPLES: &str = "\
Examples:
  sudp client wss://example.com -L 5005:10.0.0.1:53   what is sent to 127.0.0.1:5005 comes out there
  sudp client wss://example.com -R 0.0.0.0:5005:127.0.0.1:5006
  sudp client wss://a.example wss://b.example --links 2 -L '5005:10.0.0.1:53?copies=2'
  sudp client wss://example.com -D 1080               a SOCKS5 proxy for UDP
  echo hello | sudp client wss://example.com -W 10.0.0.1:5006
  sudp client start --instance game wss://example.com -L 27015:10.0.0.1:27015

Tunnels: [BIND:]PORT:HOST:PORT[/udp][?OPTIONS], or that behind udp:// (quote what has a ? in it).
  BIND is 127.0.0.1 if left out; `*` is every address of both families. PORT 0 picks and shows one.
  class=reliable      resent after a cut, kept for up to 15 s (this is the default)
  class=realtime      for voice and games: what is late is dropped, after 200 ms
  copies=2            each datagram on so many links; the first to arrive counts (see --links)
  spread              use all links for each flow; it may change the order
  in_doubt=resend     if the server forgets the session: rather twice than not at all
  timeout=3m          how long a flow may be idle; 0 is never
  name=TEXT           what logs and `sudp status` call it

It ends with 69 when no server is reached within --max-retries, with 73 when a port here is taken, with 77 when the \
server refuses it before there was a session. A reverse tunnel that the server refuses is warned about and asked for \
again, as with ssh.

Signals: TERM and INT finish what is under way and end (twice: at once), HUP reads the configuration anew.";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    fn read(words: &[&str]) -> Result<ClientArgs, String> {
        let words = ["sudp", "client"].iter().chain(words);
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let crate::args::Command::Client(args) = cli.command else { panic!("it is a client's") };
        Ok(*args)
    }

    #[test]
    fn every_flag_says_something_of_the_configuration() {
        let args = read(&[
            "wss://a",
            "ws://b",
            "-L",
            "1:h:2",
            "-R3:h:4",
            "--forward",
            "5:h:6",
            "-D",
            "1080",
            "--links=2",
            "--name",
            "n",
            "--max-retries",
            "3",
            "--proxy",
            "http://p:1",
            "--header",
            "A: b",
            "--tls-ca",
            "ca.pem",
            "--tls-name",
            "h",
            "--tls-cert",
            "c.pem",
            "--tls-key",
            "k.pem",
        ])
        .expect("it is well typed");
        let flags = args.run.flags();
        let said: Vec<_> = flags.iter().map(|it| format!("{} {} {}", it.key, it.flag, it.values.join("|"))).collect();
        assert_eq!(
            said,
            [
                "client.servers URL wss://a|ws://b",
                "client.tunnels -L forward 1:h:2|forward 5:h:6",
                "client.tunnels -R reverse 3:h:4",
                "client.tunnels -D socks 1080",
                "client.links --links 2",
                "client.name --name n",
                "client.max_retries --max-retries 3",
                "client.proxy --proxy http://p:1",
                "client.headers --header A: b",
                "client.tls.ca --tls-ca ca.pem",
                "client.tls.server_name --tls-name h",
                "client.tls.cert --tls-cert c.pem",
                "client.tls.key --tls-key k.pem",
            ]
        );
    }

    #[test]
    fn what_is_typed_wrongly_is_refused_with_what_to_type() {
        for (words, says) in [
            (&["example.com"][..], "write `wss://example.com`"),
            (&["wss://me:secret@host"], "--header @FILE"),
            (&["wss://a", "-L", "53"], "write `53:HOST:PORT`"),
            (&["wss://a", "-L", "1:h:2?clas=x"], "no option `clas`"),
            (&["wss://a", "-D", "x"], "not a port"),
            (&["wss://a", "-W", "h"], "HOST:PORT"),
            (&["wss://a", "-W", "h:1", "-L", "1:h:2"], "cannot be used with"),
            (&["wss://a", "--links", "9"], "1 to 8"),
            (&["wss://a", "--header", "nothing"], "`Name: value`"),
            (&["wss://a", "--header", "@"], "`Name: value`"),
            (&["wss://a", "--proxy", "https://me:secret@p"], "TLS in TLS"),
            (&["wss://a", "--tls-pin", "x"], "sha256/"),
            (&["wss://a", "--tls-key", "x"], "--tls-cert"),
        ] {
            let error = read(words).expect_err(&words.join(" "));
            assert!(error.contains(says) && !error.contains("secret"), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_secret_on_the_command_line_is_warned_about_without_being_said_again() {
        let args = ["wss://a", "--header", "Authorization: Bearer abc", "--proxy", "http://u:abc@p:1"];
        let warnings: Vec<_> = read(&args).expect("it is well typed").run.reach.secrets().collect();
        assert_eq!(warnings.len(), 2);
        assert!(warnings.iter().all(|warning| !warning.contains("abc")), "{warnings:?}");
        let quiet = ["wss://a", "--header", "@file", "--header", "X-Host: h"];
        assert_eq!(read(&quiet).expect("it is well typed").run.reach.secrets().count(), 0);
    }
}
