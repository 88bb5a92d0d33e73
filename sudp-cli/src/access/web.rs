//! Asking addresses that the configuration names: over HTTPS, within a few seconds, and for little.
//!
//! It blocks; whoever serves meanwhile asks from another thread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sudp_tokio::tls;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use super::Secret;
use crate::exit::{Exit, Failure, Outcome};

/// An address that can be asked.
pub(crate) struct Web {
    agent: Agent,
    url: String,
}

/// What it has answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    /// What it says.
    pub(crate) text: String,
    /// How long that may be kept, if it says so.
    pub(crate) max_age: Option<Duration>,
}

impl Web {
    /// An address of `https://`; without TLS only on this machine.
    pub(crate) fn new(url: &str) -> Outcome<Self> {
        let secure = check_url(url).map_err(|why| Failure::new(Exit::Config, why))?;
        let mut config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            // Whoever is named is asked, and nobody to whom it points.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(16 << 10)
            .user_agent("sudp");
        if secure {
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(tls::provider())
                .root_certs(authorities()?)
                .build();
            config = config.tls_config(tls).https_only(true);
        } else {
            // No proxy knows what is on this machine.
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().new_agent(), url: url.to_owned() })
    }

    /// The address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What stands there.
    pub(crate) fn get(&self) -> Result<Answer, String> {
        let request = self.agent.get(&self.url).header("Accept", "application/json");
        read(request.call().map_err(|error| error.to_string())?)
    }

    /// What it says to a form, shown by whom it is sent.
    pub(crate) fn post(&self, authorization: &Secret, form: &[(&str, &str)]) -> Result<Answer, String> {
        let request = self.agent.post(&self.url).header("Accept", "application/json");
        let request = request.header("Authorization", authorization.expose());
        read(request.send_form(form.iter().copied()).map_err(|error| error.to_string())?)
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Web({})", self.url)
    }
}

/// Whether an address may be asked, and then whether it is with TLS.
pub(crate) fn check_url(url: &str) -> Result<bool, String> {
    let shown = || url.escape_debug().take(256).collect::<String>();
    let host = |rest: &str| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // What stands in front of an @ would be a secret in the open.
        (!host.is_empty() && !host.contains('@')).then(|| host.to_owned())
    };
    let odd = |it: char| it.is_control() || it.is_whitespace();
    let (scheme, rest) = url.split_once("://").filter(|_| !url.contains(odd)).unwrap_or_default();
    match (scheme, host(rest)) {
        ("https", Some(_)) => Ok(true),
        ("http", Some(host)) if is_loopback(&host) => Ok(false),
        ("http", Some(_)) => Err(format!("{} is not on this machine, so it must be https://", shown())),
        _ => Err(format!("`{}` is no address; write https://HOST/PATH", shown())),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or_default().0,
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn read(mut response: ureq::http::Response<Body>) -> Result<Answer, String> {
    let status = response.status();
    if status != 200 {
        return Err(format!("it answers with HTTP status {status}"));
    }
    let control = response.headers().get("Cache-Control").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let max_age = max_age(control);
    let text = response.body_mut().with_config().limit(LIMIT).read_to_string();
    Ok(Answer { text: text.map_err(|error| error.to_string())?, max_age })
}

/// How long an answer may be kept.
fn max_age(control: &str) -> Option<Duration> {
    let words = || control.split(',').map(|word| word.trim().to_ascii_lowercase());
    if words().any(|word| word == "no-store" || word == "no-cache") {
        return Some(Duration::ZERO);
    }
    let seconds = words().find_map(|word| word.strip_prefix("max-age=")?.trim_matches('"').parse::<u32>().ok())?;
    Some(Duration::from_secs(seconds.into()))
}

/// Those whom the system trusts.
fn authorities() -> Outcome<RootCerts> {
    let found = tls::system_authorities().map_err(|error| Failure::new(Exit::Config, error))?;
    let certificates = found.iter().map(|found| Certificate::from_der(found).to_owned()).collect::<Vec<_>>();
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// Whoever is waited for has to be told within [`auth_deadline`](sudp_tokio::proto::config::Limits::auth_deadline).
const PATIENCE: Duration = Duration::from_secs(3);
/// More than a set of keys, or an answer about a token, ever has.
const LIMIT: u64 = 256 << 10;
/// How long an address is left alone after it was asked for something that it may not have.
pub(crate) const REST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_leaves_the_machine() {
        for url in ["https://idp.example/keys", "https://10.0.0.1:8443"] {
            assert_eq!(check_url(url), Ok(true), "{url}");
        }
        for url in ["http://127.0.0.1:80/a", "http://localhost/", "http://[::1]:1/x", "http://127.9.9.9"] {
            assert_eq!(check_url(url), Ok(false), "{url}");
        }
        for url in [
            "http://idp.example",
            "http://127.0.0.1.example/",
            "http://127.0.0.1@evil.example/",
            "ftp://x",
            "",
            "https://",
            "https://a:b@idp.example/",
            "https://a b/",
            "http://localhost.evil/",
            "HTTPS://idp",
            "http://[::1",
            "file:///etc",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn an_answer_says_how_long_it_may_be_kept() {
        for (control, kept) in [
            ("max-age=300", Some(300)),
            ("public, Max-Age=\"60\", immutable", Some(60)),
            ("max-age=300, no-store", Some(0)),
            ("", None),
            ("max-age=-1", None),
            ("max-age=99999999999999", None),
        ] {
            assert_eq!(max_age(control), kept.map(Duration::from_secs), "{control}");
        }
    }
}
