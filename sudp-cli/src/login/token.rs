//! A token, and when the next one is to be fetched.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::secret;
use crate::access::{Secret, base64};

/// A token that was fetched.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) words: Secret,
    /// When the next one is to be there.
    pub(super) next: SystemTime,
}

impl Token {
    /// What a command has said: a JWT tells when it ends, and of others nobody knows.
    pub(super) fn of_command(words: Secret, now: SystemTime, every: Duration) -> Self {
        let next = expiry(words.expose()).map_or(now + every, |end| ahead(now, end));
        Self { words, next }
    }

    /// What a server has given for so long.
    pub(super) fn of_server(words: &str, now: SystemTime, good_for: Option<Duration>) -> Self {
        let end = good_for.map(|time| now + time.min(FAR)).or_else(|| expiry(words));
        Self { words: secret(words), next: end.map_or(now + USUAL, |end| ahead(now, end)) }
    }
}

/// When to have the next one: a fifth of its time ahead, and a minute at most.
fn ahead(now: SystemTime, end: SystemTime) -> SystemTime {
    let left = end.duration_since(now).unwrap_or_default();
    now + left.saturating_sub((left / 5).min(SKEW))
}

/// When a JWT ends, by its own words. Nothing is verified: it only says when to fetch the next.
fn expiry(token: &str) -> Option<SystemTime> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let Claims { exp } = serde_json::from_slice(&base64::decode_url(claims)?).ok()?;
    let since = Duration::try_from_secs_f64(exp).ok()?;
    UNIX_EPOCH.checked_add(since.min(FAR))
}

/// The most that a token is replaced ahead of its end.
const SKEW: Duration = Duration::from_secs(60);
/// When a token is replaced of which nobody says how long it is good.
const USUAL: Duration = Duration::from_secs(300);
/// No token is good for longer.
const FAR: Duration = Duration::from_secs(400 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_jwt_tells_when_the_next_is_needed_and_other_tokens_do_not() {
        // {"alg":"none"} . {"exp":2000,"sub":"a"}
        let jwt = "eyJhbGciOiJub25lIn0.eyJleHAiOjIwMDAsInN1YiI6ImEifQ.c2ln";
        assert_eq!(expiry(jwt), Some(at(2_000)));
        let every = Duration::from_secs(7);
        assert_eq!(Token::of_command(secret(jwt), at(1_000), every).next, at(1_940), "a minute ahead");
        assert_eq!(Token::of_command(secret(jwt), at(1_990), every).next, at(1_998), "a fifth of what is left");
        assert_eq!(Token::of_command(secret(jwt), at(3_000), every).next, at(3_000), "it has ended already");
        for other in ["opaque", "a.b", "a.b.c", "a.!.c", "a.e30.c", "eyJhbGciOiJub25lIn0.bm9uc2Vuc2U.x.y"] {
            assert_eq!(Token::of_command(secret(other), at(1_000), every).next, at(1_007), "{other}");
        }
    }

    #[test]
    fn what_a_server_says_of_its_token_counts_before_what_the_token_says() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJleHAiOjIwMDAsInN1YiI6ImEifQ.c2ln";
        assert_eq!(Token::of_server(jwt, at(1_000), Some(Duration::from_secs(10))).next, at(1_008));
        assert_eq!(Token::of_server(jwt, at(1_000), None).next, at(1_940));
        assert_eq!(Token::of_server("opaque", at(1_000), None).next, at(1_300));
        assert!(Token::of_server("opaque", at(1_000), Some(Duration::MAX)).next > at(1 << 30));
    }
}
