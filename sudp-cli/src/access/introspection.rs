//! Tokens that say nothing by themselves: the issuer is asked whether one is good, as RFC 7662 has it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::claims::{Claimed, Claims, Wanted};
use super::web::Web;
use super::{Identity, Secret, Stamp, Via, Why, base64, stamp};
use crate::config::Introspection as Settings;
use crate::exit::Outcome;
use crate::run::lock;

/// Asks an issuer about tokens.
#[derive(Debug)]
pub(crate) struct Introspection {
    settings: Settings,
    web: Web,
    /// What we show of ourselves.
    authorization: Secret,
    wanted: Wanted,
    known: Mutex<Known>,
    asking: Semaphore,
    /// Whether that it does not answer was told.
    told: AtomicBool,
}

/// What was answered lately, by the hash of the token.
#[derive(Debug, Default)]
struct Known(HashMap<[u8; 32], (Instant, Option<Claimed>)>);

impl Introspection {
    /// Nothing is asked yet. What was answered before stays good for its while, if all is as it was.
    pub(crate) fn load(settings: &Settings, before: Option<&Arc<Self>>) -> Outcome<Arc<Self>> {
        if let Some(before) = before.filter(|before| before.settings.is_same(settings)) {
            return Ok(Arc::clone(before));
        }
        let pair = format!("{}:{}", form(&settings.client_id), form(settings.client_secret.expose()));
        let Settings { principal_claim, groups_claim, audience, .. } = settings.clone();
        Ok(Arc::new(Self {
            settings: settings.clone(),
            web: Web::new(&settings.url)?,
            authorization: Secret::new(format!("Basic {}", base64::encode_usual(pair.as_bytes()))),
            wanted: Wanted { issuer: None, audience, must_end: false, leeway: LEEWAY, principal_claim, groups_claim },
            known: Mutex::default(),
            asking: Semaphore::new(AT_A_TIME),
            told: AtomicBool::new(false),
        }))
    }

    /// Finds out whose token this is.
    pub(crate) async fn check(self: &Arc<Self>, token: &Secret) -> Result<Identity, Why> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.expose().as_bytes()).as_ref());
        let known = lock(&self.known).get(&hash, Instant::now());
        let claimed = match known {
            Some(claimed) => claimed,
            None => self.ask(hash, token).await?,
        };
        let Claimed { principal, groups, expires } = claimed.ok_or(Why::Inactive)?;
        if expires.is_some_and(|at| at <= SystemTime::now()) {
            return Err(Why::Inactive);
        }
        Ok(Identity { principal, via: Via::Introspection, groups, scope: None, expires, stamp: self.stamp() })
    }

    /// What changes with who is asked.
    pub(crate) fn stamp(&self) -> Stamp {
        stamp("introspection", self.settings.url.as_bytes())
    }

    async fn ask(self: &Arc<Self>, hash: [u8; 32], token: &Secret) -> Result<Option<Claimed>, Why> {
        // More than these would wait for longer than they are waited for.
        let _asking = self.asking.try_acquire().map_err(|_| Why::Busy)?;
        let (asked, token) = (Arc::clone(self), token.clone());
        let answer = spawn_blocking(move || {
            let form = [("token", token.expose()), ("token_type_hint", "access_token")];
            asked.web.post(&asked.authorization, &form)
        });
        let answer = answer.await.map_err(|_| Why::Unavailable)?;
        let claims = answer.and_then(|answer| {
            Claims::read(answer.text.as_bytes()).map_err(|fault| format!("what it answers cannot be used: {fault}"))
        });
        match claims {
            Ok(claims) => {
                self.told.store(false, Ordering::Relaxed);
                let judged = claims.is("active").then(|| claims.judge(&self.wanted, SystemTime::now()).ok()).flatten();
                lock(&self.known).put(hash, judged.clone(), Instant::now());
                Ok(judged)
            }
            Err(why) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    let url = self.web.url();
                    tracing::warn!(target: "sudp::server", "{url} cannot be asked about tokens, which are refused meanwhile: {why}");
                }
                Err(Why::Unavailable)
            }
        }
    }
}

impl Known {
    fn get(&self, hash: &[u8; 32], now: Instant) -> Option<Option<Claimed>> {
        self.0.get(hash).filter(|(until, _)| now < *until).map(|(_, claimed)| claimed.clone())
    }

    fn put(&mut self, hash: [u8; 32], claimed: Option<Claimed>, now: Instant) {
        if self.0.len() >= MOST {
            self.0.retain(|_, (until, _)| now < *until);
        }
        // One that finds no room is asked about again.
        if self.0.len() < MOST {
            let good = if claimed.is_some() { GOOD } else { BAD };
            self.0.insert(hash, (now + good, claimed));
        }
    }
}

/// A text as forms have it, which is how RFC 6749 has names and secrets written.
fn form(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// How long an answer is good: no longer is a token that was taken back still let in.
const GOOD: Duration = Duration::from_secs(60);
const BAD: Duration = Duration::from_secs(10);
/// How many answers are kept.
const MOST: usize = 4_096;
/// How many are asked about at a time.
const AT_A_TIME: usize = 16;
/// By how much clocks may differ.
const LEEWAY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_their_while_and_no_more_than_there_is_room_for() {
        let (now, mut known) = (Instant::now(), Known::default());
        let who = Claimed { principal: "alice".into(), groups: Vec::new(), expires: None };
        known.put([1; 32], Some(who.clone()), now);
        known.put([2; 32], None, now);
        assert_eq!(known.get(&[1; 32], now + GOOD - BAD), Some(Some(who)));
        assert_eq!((known.get(&[1; 32], now + GOOD), known.get(&[3; 32], now)), (None, None));
        assert_eq!((known.get(&[2; 32], now), known.get(&[2; 32], now + BAD)), (Some(None), None));
        for number in 0..2 * MOST {
            let mut hash = [7; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            known.put(hash, None, now);
        }
        assert_eq!(known.0.len(), MOST);
        known.put([9; 32], None, now + BAD);
        assert!(known.get(&[9; 32], now + BAD).is_some());
    }

    #[test]
    fn names_and_secrets_are_written_as_forms_are() {
        assert_eq!(form("a b:c/é~1"), "a%20b%3Ac%2F%C3%A9%7E1");
    }
}
