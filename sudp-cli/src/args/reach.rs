//! How a server is reached: the flags that whoever dials one takes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use sudp_tokio::ProxyUrl;
use sudp_tokio::tls::Pin;

use crate::config::load::Flags;
use crate::keygen;

/// How a server is reached.
#[derive(Clone, Debug, Default, Args)]
pub struct Reach {
    /// The proxy to dial through, as http://host:port or socks5://host:port [default: the environment's]
    #[arg(long, value_name = "URL", value_parser = Discreet(proxy))]
    pub proxy: Option<String>,
    /// A header for every request, as 'Name: value', or @FILE with one a line; may be repeated
    #[arg(long, value_name = "HEADER", value_parser = Discreet(header))]
    pub header: Vec<String>,
    /// The name to come in by; its password is asked for, unless it is given otherwise
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The file that has its password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The file that has the token to come in by
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The command that says the token to come in by; it is run again for the next one
    #[arg(long, value_name = "COMMAND")]
    pub token_command: Option<String>,
    /// The authority to trust, instead of the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Vec<PathBuf>,
    /// The key to trust, instead of any authority; may be repeated
    #[arg(long, value_name = "PIN", conflicts_with = "tls_ca", value_parser = pin)]
    pub tls_pin: Vec<String>,
    /// The name the server's certificate must be for
    #[arg(long, value_name = "NAME")]
    pub tls_name: Option<String>,
    /// The certificate to show to the server
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The server's public key, as `sudp keygen` prints it: links are sealed with it, end to end
    #[arg(long, value_name = "KEY", value_parser = server_key, allow_hyphen_values = true)]
    pub server_key: Option<String>,
    /// The private key to seal with, by which the server may know this client [default: a fresh one]
    #[arg(long, value_name = "FILE", requires = "server_key")]
    pub key_file: Option<PathBuf>,
}

impl Reach {
    /// What this says of the configuration.
    pub(super) fn flags(&self, flags: &mut Flags) {
        flags.set("client.proxy", "--proxy", &self.proxy);
        flags.set("client.headers", "--header", &self.header);
        flags.set("client.auth.user", "--user", &self.user);
        let file = |file: &PathBuf| file.display().to_string();
        flags.set("client.auth.password_file", "--password-file", self.password_file.as_ref().map(file));
        flags.set("client.auth.token_file", "--token-file", self.token_file.as_ref().map(file));
        flags.set("client.auth.token_command", "--token-command", &self.token_command);
        flags.set("client.tls.ca", "--tls-ca", self.tls_ca.iter().map(|file| file.display()));
        flags.set("client.tls.pins", "--tls-pin", &self.tls_pin);
        flags.set("client.tls.server_name", "--tls-name", &self.tls_name);
        flags.set("client.tls.cert", "--tls-cert", self.tls_cert.iter().map(|file| file.display()));
        flags.set("client.tls.key", "--tls-key", self.tls_key.iter().map(|file| file.display()));
        flags.set("client.server_key", "--server-key", &self.server_key);
        flags.set("client.key_file", "--key-file", self.key_file.iter().map(|file| file.display()));
    }

    /// Names every file by a path that means the same from everywhere.
    pub(super) fn settle(&mut self, folder: &Path) {
        let files = self.tls_cert.iter_mut().chain(&mut self.tls_key).chain(&mut self.tls_ca);
        let files = files.chain(&mut self.password_file).chain(&mut self.token_file).chain(&mut self.key_file);
        files.for_each(|file| *file = folder.join(&*file));
        for header in &mut self.header {
            if let Some(file) = header.strip_prefix('@') {
                *header = format!("@{}", folder.join(file).display());
            }
        }
    }

    /// What was typed that everybody on this machine can see, and should not.
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        let typed = self.header.iter().filter_map(|header| header.split_once(':'));
        let header = typed.map(|(name, _)| name.trim()).find(|name| is_secret(name)).map(|name| {
            format!(
                "what `--header '{name}: …'` holds is seen in the list of processes; put the line into a file that \
                     only you can read, and write `--header @FILE`"
            )
        });
        let proxy = self.proxy.as_ref().filter(|url| url.contains('@')).map(|_| {
            "the password in `--proxy` is seen in the list of processes; put the URL into the variable `all_proxy`, or \
             into the configuration file as client.proxy"
                .to_owned()
        });
        header.into_iter().chain(proxy)
    }
}

/// Reads what may have a password in it: if it cannot be read, it is not repeated.
#[derive(Clone)]
pub(super) struct Discreet(pub(super) fn(&str) -> Result<String, String>);

impl TypedValueParser for Discreet {
    type Value = String;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        let read = value.to_str().ok_or_else(|| "this is not UTF-8".to_owned()).and_then(self.0);
        read.map_err(|problem| {
            let arg = arg.map(ToString::to_string).unwrap_or_default();
            clap::Error::raw(ErrorKind::ValueValidation, format!("{arg}: {problem}\n")).with_cmd(cmd)
        })
    }
}

/// Headers that are there to hold what nobody may know.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "cookie", "key", "password", "secret", "token"].iter().any(|word| name.contains(word))
}

fn proxy(text: &str) -> Result<String, String> {
    text.parse::<ProxyUrl>().map(|_| text.into()).map_err(|error| error.to_string())
}

fn pin(text: &str) -> Result<String, String> {
    text.parse::<Pin>().map(|_| text.into()).map_err(|error| error.to_string())
}

fn server_key(text: &str) -> Result<String, String> {
    keygen::public(text).map(|_| text.into())
}

fn header(text: &str) -> Result<String, String> {
    if text.strip_prefix('@').is_some_and(|file| !file.is_empty()) {
        return Ok(text.into());
    }
    let token = |name: &str| {
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.bytes().all(proper)
    };
    match text.split_once(':') {
        Some((name, value)) if token(name) && !value.chars().any(char::is_control) => Ok(text.into()),
        Some(_) | None => Err("a header is `Name: value`, in quotes because of the blank, or `@FILE`".into()),
    }
}
