//! `sudp token`: who is let in by a token.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde::Serialize;
use sudp_tokio::proto::access::Rule;

use super::{Common, Output};
use crate::access::records::{self, Table, read_name, unusable, written_time};
use crate::access::tokens::{Token, hex};
use crate::exit::{Exit, Failure, Outcome};
use crate::print;

/// What is done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it once
    #[command(after_help = NEW)]
    New(New),
    /// Show the tokens, without what is secret of them
    List(ListTokens),
    /// Revoke a token, whose sessions then end
    Revoke(Revoke),
}

/// Where tokens are.
#[derive(Clone, Debug, Args)]
pub struct TokensFile {
    /// The file of tokens, instead of `server.auth.tokens` of the configuration; it is made if it is not there
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `sudp token new`.
#[derive(Debug, Args)]
pub struct New {
    /// The name of the token; it is `token:NAME` in status and grants
    #[arg(value_name = "NAME", value_parser = read_name)]
    pub name: String,
    /// After what time it ends, as 30d or 12h; without it, never
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub expires: Option<Duration>,
    /// A rule it restricts itself to, as 10.0.0.1:53: it may send nowhere else, whatever is granted; may be repeated
    #[arg(long = "allow", value_name = "RULE", value_parser = rule)]
    pub rules: Vec<Rule>,
    /// A group it belongs to; may be repeated
    #[arg(long = "group", value_name = "GROUP", value_parser = read_name)]
    pub groups: Vec<String>,
    /// Where.
    #[command(flatten)]
    pub tokens: TokensFile,
}

/// `sudp token list`.
#[derive(Debug, Args)]
pub struct ListTokens {
    /// Where.
    #[command(flatten)]
    pub tokens: TokensFile,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// `sudp token revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The name of the token, or its id
    #[arg(value_name = "NAME|ID")]
    pub which: String,
    /// Where.
    #[command(flatten)]
    pub tokens: TokensFile,
}

/// A token as programs are told of it.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    id: String,
    expires: Option<String>,
    expired: bool,
    rules: Vec<String>,
    groups: &'a [String],
    created: Option<String>,
}

impl TokenCommand {
    /// Does what is asked for.
    pub fn run(self, common: &Common) -> Outcome {
        match self {
            Self::New(New { name, expires, rules, groups, tokens }) => {
                let path = tokens.path(common)?;
                let expires = expires.map(|left| SystemTime::now() + left);
                let (token, secret) = Token::new(expires, rules, groups)?;
                let until = expires.map_or("never ends".into(), |at| format!("ends at {}", written_time(at)));
                let id = hex(&token.id);
                records::edit(&path, |table: &mut Table<Token>| {
                    if table.contains_key(&name) {
                        let shown = path.display();
                        let message = format!("{shown} has a token {name} already; revoke it, or take another name");
                        return Err(Failure::new(Exit::CannotCreate, message));
                    }
                    table.insert(name.clone(), token);
                    Ok(())
                })?;
                eprintln!("the token {name} ({id}) {until}; it is not shown again:");
                print::text(&format!("{}\n", secret.expose()))
            }
            Self::List(ListTokens { tokens, output }) => list(&read(&tokens.path(common)?)?, output),
            Self::Revoke(Revoke { which, tokens }) => {
                let path = tokens.path(common)?;
                read(&path)?;
                let name = records::edit(&path, |table: &mut Table<Token>| {
                    let by_id = table.iter().find(|(_, token)| hex(&token.id) == which).map(|(name, _)| name.clone());
                    let name = if table.contains_key(&which) { Some(which.clone()) } else { by_id };
                    let missing = || {
                        let message =
                            format!("{} has no such token; `sudp token list` shows those it has", path.display());
                        Failure::new(Exit::Failed, message)
                    };
                    let name = name.ok_or_else(missing)?;
                    table.remove(&name);
                    Ok(name)
                })?;
                print::text(&format!("the token {name} was revoked in {}\n", path.display()))
            }
        }
    }
}

impl TokensFile {
    fn path(&self, common: &Common) -> Outcome<PathBuf> {
        common.named_file(self.file.as_deref(), "server.auth.tokens")
    }
}

fn read(path: &Path) -> Outcome<Table<Token>> {
    records::load(path).map_err(|problems| unusable(&problems))
}

fn list(tokens: &Table<Token>, output: Output) -> Outcome {
    let now = SystemTime::now();
    let rules = |token: &Token| token.rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    match output {
        Output::Json => {
            let listed = tokens.iter().map(|(name, token)| Listed {
                name,
                id: hex(&token.id),
                expires: token.expires.map(written_time),
                expired: token.expired(now),
                rules: rules(token),
                groups: &token.groups,
                created: token.created.map(written_time),
            });
            print::json(&listed.collect::<Vec<_>>())
        }
        Output::Text => {
            let line = |(name, token): (&String, &Token)| {
                let ends = match token.expires {
                    None => "never ends".into(),
                    Some(at) if token.expired(now) => format!("ended {}", written_time(at)),
                    Some(at) => format!("ends {}", written_time(at)),
                };
                let of = [rules(token).join(", "), token.groups.join(",")].join("  ");
                format!("{}\n", format!("{name:<20}  {}  {ends:<26}  {of}", hex(&token.id)).trim_end())
            };
            print::text(&tokens.iter().map(line).collect::<String>())
        }
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let read = humantime::parse_duration(text).ok().filter(|time| !time.is_zero() && *time <= LONGEST);
    read.ok_or_else(|| "expected is a time of at most 10 years, as 30d or 12h".into())
}

fn rule(text: &str) -> Result<Rule, String> {
    if text.starts_with("allow ") || text.starts_with("deny ") {
        return Err("the flag says already that it is allowed; write HOST[:PORTS] alone".into());
    }
    format!("allow {text}").parse::<Rule>().map_err(|error| error.to_string())
}

const LONGEST: Duration = Duration::from_secs(3_660 * 86_400);

const NEW: &str = "\
The token is printed on the standard output, and only its hash is kept. A client shows it as `Authorization: Bearer \
TOKEN`. A server that runs takes up a change within a second.

Examples:
  sudp token new backup --expires 30d --allow 10.0.0.1:53 --file tokens.yaml > backup.token
  sudp server --tokens tokens.yaml --allow 10.0.0.0/8";
