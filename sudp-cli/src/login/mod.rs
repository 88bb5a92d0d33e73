//! What a client shows to be let in: where it comes from, and who sees to it that there is a new one in time.

mod command;
mod oauth;
pub(crate) mod prompt;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sudp_tokio::Client;
use sudp_tokio::proto::{Credential, CredentialError};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_blocking};

use crate::access::Secret;
use crate::config::Client as Settings;
use crate::config::ClientAuth;
use crate::exit::{Exit, Failure, Outcome};
use crate::run::Teller;
use oauth::Endpoint;
use token::Token;

/// What is shown from the beginning.
#[derive(Debug)]
pub(crate) enum First {
    /// Nothing: whoever may come in does not show anything.
    Nothing,
    /// Always the same.
    Fixed(Credential),
    /// Something that is fetched: until it is there, nobody is dialled.
    Fetched,
}

/// What a client shows, as it is configured. A password that nobody has given yet is a failure.
pub(crate) fn first(settings: &Settings) -> Outcome<First> {
    let wrong = |key: &str, error: CredentialError| Failure::new(Exit::Config, format!("{key}: {error}"));
    match &settings.auth {
        ClientAuth::Nothing => Ok(First::Nothing),
        ClientAuth::User { password: None, user } => Err(Failure::new(
            Exit::Config,
            format!(
                "client.auth.user is {}, and there is neither a password nor a terminal to ask for it at: put it into a file \
             that only you can read, and name that by --password-file FILE or client.auth.password_file",
                user.escape_debug(),
            ),
        )),
        ClientAuth::User { user, password: Some(password) } => Credential::basic(user, password.expose())
            .map(First::Fixed)
            .map_err(|error| wrong("client.auth.password", error)),
        ClientAuth::Token(token) => {
            Credential::bearer(token.expose()).map(First::Fixed).map_err(|error| wrong("client.auth.token", error))
        }
        ClientAuth::Command { .. } | ClientAuth::OAuth(_) => Ok(First::Fetched),
    }
}

/// What a client shows now. It may have to be fetched, which blocks.
pub(crate) fn now(settings: &Settings) -> Outcome<Option<Credential>> {
    match first(settings)? {
        First::Nothing => Ok(None),
        First::Fixed(credential) => Ok(Some(credential)),
        First::Fetched => {
            let Some(source) = Source::of(settings) else { return Ok(None) };
            let token = source.fetch().map_err(|why| Failure::new(Exit::Temporary, why))?;
            let credential = Credential::bearer(token.words.expose());
            credential.map(Some).map_err(|error| Failure::new(Exit::Failed, format!("the token: {error}")))
        }
    }
}

/// Fetches what a client shows, again and again, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Login {
    task: AbortHandle,
    doubted: Arc<Notify>,
}

impl Login {
    /// Begins to fetch, if there is anything to fetch.
    pub(crate) fn begin(client: &Client, settings: &Settings, tell: Teller) -> Option<Self> {
        let source = Source::of(settings)?;
        let doubted = Arc::new(Notify::new());
        let keeper = Keeper { client: client.clone(), source: Arc::new(source), tell, doubted: Arc::clone(&doubted) };
        let task = tokio::spawn(keeper.keep()).abort_handle();
        Some(Self { task, doubted })
    }

    /// The server does not take what it is shown: perhaps there is something newer.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
enum Source {
    Command(String, Duration),
    OAuth(Box<Endpoint>),
}

impl Source {
    fn of(settings: &Settings) -> Option<Self> {
        match &settings.auth {
            ClientAuth::Nothing | ClientAuth::User { .. } | ClientAuth::Token(_) => None,
            ClientAuth::Command { command, every } => Some(Self::Command(command.clone(), *every)),
            ClientAuth::OAuth(oauth) => {
                Some(Self::OAuth(Box::new(Endpoint::new(oauth.clone(), settings.tls.ca.clone()))))
            }
        }
    }

    /// Fetches a token. It may take a while, and blocks.
    fn fetch(&self) -> Result<Token, String> {
        match self {
            Self::Command(command, every) => {
                let words = command::run(command).map_err(|why| format!("client.auth.token_command: {why}"))?;
                Ok(Token::of_command(words, SystemTime::now(), *every))
            }
            Self::OAuth(endpoint) => endpoint.fetch().map_err(|why| format!("{}: {why}", endpoint.shown())),
        }
    }
}

struct Keeper {
    client: Client,
    source: Arc<Source>,
    tell: Teller,
    doubted: Arc<Notify>,
}

impl Keeper {
    async fn keep(self) {
        let mut failures = 0;
        loop {
            let source = Arc::clone(&self.source);
            let fetched = spawn_blocking(move || source.fetch()).await.unwrap_or_else(|_| Err("it failed".to_owned()));
            let shown = fetched.and_then(|token| {
                let credential =
                    Credential::bearer(token.words.expose()).map_err(|error| format!("the token: {error}"));
                Ok((credential?, token.next))
            });
            let wait = match shown {
                Ok((credential, next)) => {
                    failures = 0;
                    if self.client.set_credential(Some(credential)).await.is_err() {
                        return;
                    }
                    next.duration_since(SystemTime::now()).unwrap_or_default().max(LEAST)
                }
                Err(why) => {
                    let wait = pause(failures);
                    failures += 1;
                    self.tell.warn(format!("no new token: {why}; trying again in {} s", wait.as_secs()));
                    wait
                }
            };
            tokio::time::sleep(wait.min(LEAST)).await;
            tokio::select! {
                () = tokio::time::sleep(wait.saturating_sub(LEAST)) => {}
                // Not at once, and not each time: what is refused may be right, and the path wrong.
                () = self.doubted.notified(), if failures == 0 => tokio::time::sleep(DOUBT.min(wait)).await,
            }
        }
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let whole = Duration::from_secs(1 << failures.min(6)).min(MOST);
    let mut byte = [0];
    // Without chance many may come back at the same moment, which is all that it is for.
    let _ = getrandom::fill(&mut byte);
    whole + whole * u32::from(byte[0]) / 1_024
}

/// A secret that a command or a server has said.
fn secret(text: &str) -> Secret {
    Secret::new(text)
}

/// How often something is fetched at most.
const LEAST: Duration = Duration::from_secs(1);
/// How long is waited between failures at most.
const MOST: Duration = Duration::from_secs(60);
/// How soon a token that was refused is fetched anew.
const DOUBT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_each_time_up_to_a_limit() {
        assert!((1.0..1.25).contains(&pause(0).as_secs_f64()));
        assert!((8.0..10.0).contains(&pause(3).as_secs_f64()));
        assert!((60.0..75.0).contains(&pause(30).as_secs_f64()));
    }
}
