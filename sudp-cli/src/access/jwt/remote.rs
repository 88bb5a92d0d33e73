//! Keys at an address, as an issuer publishes them: kept for a while, and asked for anew when a token needs one that is
//! not there. While the address does not answer, the last good ones stay.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;

use super::Parts;
use super::keys::{self, From, Key};
use crate::access::web::{self, Web};
use crate::exit::{Exit, Failure, Outcome};
use crate::run::lock;

/// Keys at an address.
#[derive(Debug)]
pub(crate) struct Remote {
    web: Web,
    state: Mutex<State>,
    /// One asks at a time; the others wait for what it gets.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    keys: Arc<Vec<Key>>,
    /// When they were asked for last.
    asked: Instant,
    /// Until when they are taken to be what they were.
    fresh: Instant,
    /// Whether that the address does not answer was told.
    told: bool,
}

impl Remote {
    /// Asks for the keys, and fails without them.
    pub(super) fn load(url: &str) -> Outcome<Self> {
        let web = Web::new(url)?;
        let (keys, fresh) = ask(&web).map_err(|why| unreachable(url, &why))?;
        let now = Instant::now();
        let state = State { keys: Arc::new(keys), asked: now, fresh: now + fresh, told: false };
        Ok(Self { web, state: Mutex::new(state), asking: tokio::sync::Mutex::default() })
    }

    /// Where they are.
    pub(super) fn url(&self) -> &str {
        self.web.url()
    }

    /// Asks for the keys anew. If they cannot be had, those there are stay.
    pub(super) fn fetch(&self) -> Outcome {
        self.take(ask(&self.web)).map_err(|why| unreachable(self.url(), &why))
    }

    /// The keys, one for this token among them if there is one.
    pub(super) async fn keys(self: &Arc<Self>, token: &Parts<'_>) -> Arc<Vec<Key>> {
        let wants = |state: &State, now: Instant| {
            let known = state.keys.iter().any(|key| token.may_be_of(key));
            let rested = now >= state.asked + REST;
            rested && (!known || now >= state.fresh)
        };
        if wants(&lock(&self.state), Instant::now()) {
            let _alone = self.asking.lock().await;
            // Somebody else may have asked meanwhile.
            if wants(&lock(&self.state), Instant::now()) {
                let remote = Arc::clone(self);
                // What went wrong was told.
                let _ = spawn_blocking(move || remote.take(ask(&remote.web))).await;
            }
        }
        Arc::clone(&lock(&self.state).keys)
    }

    fn take(&self, answer: Result<(Vec<Key>, Duration), String>) -> Result<(), String> {
        let (now, mut state) = (Instant::now(), lock(&self.state));
        state.asked = now;
        match answer {
            Ok((keys, fresh)) => {
                (state.keys, state.fresh, state.told) = (Arc::new(keys), now + fresh, false);
                Ok(())
            }
            Err(why) => {
                if !std::mem::replace(&mut state.told, true) {
                    let url = self.url();
                    tracing::warn!(target: "sudp::server", "the keys at {url} cannot be had, and stay as they were: {why}");
                }
                Err(why)
            }
        }
    }
}

fn ask(web: &Web) -> Result<(Vec<Key>, Duration), String> {
    let answer = web.get()?;
    let keys = keys::read(&answer.text, From::Public)?;
    let fresh = answer.max_age.unwrap_or(FRESH).clamp(SHORTEST, LONGEST);
    Ok((keys, fresh))
}

fn unreachable(url: &str, why: &str) -> Failure {
    let message = format!("server.auth.jwt.jwks: the keys at {url} cannot be had: {why}; see to it that it answers");
    Failure::new(Exit::Temporary, message)
}

/// For how long they are good where nobody says so, and the bounds for who does.
const FRESH: Duration = Duration::from_secs(600);
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(86_400);
/// How long it is left alone after it was asked: anybody can show a token with a key that nobody knows.
const REST: Duration = web::REST;

#[cfg(test)]
mod tests;
