//! OAuth 2.0 client credentials (RFC 6749, 4.4): a token of an authorization server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use sudp_tokio::proto::Credential;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::token::Token;
use crate::config::{OAuth, OAuthMethod};

/// Where tokens come from.
#[derive(Debug)]
pub(super) struct Endpoint {
    oauth: OAuth,
    /// The authorities that are trusted instead of the system's.
    ca: Vec<PathBuf>,
}

/// What a server answers, as far as it matters.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<f64>,
    error: Option<String>,
}

impl Endpoint {
    pub(super) fn new(oauth: OAuth, ca: Vec<PathBuf>) -> Self {
        Self { oauth, ca }
    }

    /// Its URL, as it is shown.
    pub(super) fn shown(&self) -> &str {
        self.oauth.url.split('?').next().unwrap_or_default()
    }

    /// Asks for a token. It blocks.
    pub(super) fn fetch(&self) -> Result<Token, String> {
        let OAuth { url, client_id, client_secret, scope, audience, method } = &self.oauth;
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(scope.as_deref().map(|scope| ("scope", scope)));
        form.extend(audience.as_deref().map(|audience| ("audience", audience)));
        let mut request = self.agent()?.post(url).header("Accept", "application/json");
        match method {
            OAuthMethod::Basic => {
                let pair = (escaped(client_id), escaped(client_secret.expose()));
                let basic =
                    Credential::basic(&pair.0, &pair.1).map_err(|error| format!("the client's secret: {error}"))?;
                request = request.header("Authorization", basic.expose());
            }
            OAuthMethod::Post => form.extend([("client_id", &**client_id), ("client_secret", client_secret.expose())]),
        }
        let now = SystemTime::now();
        // What goes wrong here has no secrets in its words: no body is among them.
        let mut response = request.send_form(form).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(BODY).read_to_vec();
        let body = body.map_err(|error| format!("its answer cannot be read: {error}"))?;
        read(status, &body, now)
    }

    fn agent(&self) -> Result<ureq::Agent, String> {
        let roots = if self.ca.is_empty() { system_roots() } else { roots(&self.ca)? };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // A secret goes where it was configured to go, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(TIME))
            .max_response_header_size(HEAD)
            .user_agent(concat!("sudp/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(config.new_agent())
    }
}

fn read(status: u16, body: &[u8], now: SystemTime) -> Result<Token, String> {
    let answer = serde_json::from_slice::<Answer>(body).ok();
    match (status, answer) {
        (200, Some(Answer { access_token: Some(words), token_type, expires_in, .. })) => {
            if let Some(kind) = token_type.filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
                return Err(format!("its token is of the type {:.32?}; only Bearer can be shown", kind));
            }
            let good_for = expires_in.and_then(|time| Duration::try_from_secs_f64(time).ok());
            Ok(Token::of_server(&words, now, good_for))
        }
        (200, _) => Err("its answer is no token".to_owned()),
        (300..=399, _) => Err(format!("it answers with a redirect ({status}), which is not followed")),
        (_, Some(Answer { error: Some(error), .. })) => Err(format!("it refuses ({status}): {:.64?}", error)),
        (_, _) => Err(format!("it answers with status {status}")),
    }
}

fn roots(files: &[PathBuf]) -> Result<Vec<Certificate<'static>>, String> {
    let mut roots = Vec::new();
    for file in files {
        let wrong = |error: rustls::pki_types::pem::Error| format!("{}: {error}", file.display());
        for certificate in CertificateDer::pem_file_iter(file).map_err(wrong)? {
            roots.push(Certificate::from_der(&certificate.map_err(wrong)?).to_owned());
        }
    }
    Ok(roots)
}

fn system_roots() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs();
    found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}

/// As RFC 6749 wants name and secret to be written before they go into Basic.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// How long an answer may take, all in all.
const TIME: Duration = Duration::from_secs(20);
/// How long an answer may be.
const BODY: u64 = 64 << 10;
const HEAD: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::access::Secret;

    /// Answers one request with this, and says what it was.
    fn server(answer: String) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token?x=1", listener.local_addr().unwrap());
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut room = [0; 4_096];
            while !String::from_utf8_lossy(&request).contains("grant_type=") {
                let length = stream.read(&mut room).unwrap();
                assert!(length > 0, "a whole request");
                request.extend_from_slice(&room[..length]);
            }
            // It may hang up on what is too long.
            let _ = stream.write_all(answer.as_bytes());
            String::from_utf8(request).unwrap()
        });
        (url, served)
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    fn endpoint(url: String, method: OAuthMethod) -> Endpoint {
        let oauth = OAuth {
            url,
            client_id: "the client".into(),
            client_secret: Secret::new("s3:cr&t"),
            scope: Some("sudp more".into()),
            audience: Some("tunnel".into()),
            method,
        };
        Endpoint::new(oauth, Vec::new())
    }

    #[test]
    fn a_token_is_asked_for_in_either_way_and_no_secret_shows() {
        let body = r#"{"access_token":"t0ken","token_type":"bearer","expires_in":100}"#;
        for (method, words) in [
            (OAuthMethod::Basic, "authorization: basic dghlJTIwY2xpZW50"),
            (OAuthMethod::Post, "client_secret=s3%3acr%26t"),
        ] {
            let (url, served) = server(answer("200 OK", body));
            let endpoint = endpoint(url, method);
            let token = endpoint.fetch().unwrap();
            assert_eq!(token.words.expose(), "t0ken");
            assert!(!format!("{token:?} {endpoint:?}").contains("t0ken"));
            assert!(!format!("{endpoint:?}").contains("s3:cr"));
            let request = served.join().unwrap();
            let found = request.to_ascii_lowercase().contains(&words.to_ascii_lowercase());
            assert!(found && request.contains("audience=tunnel") && request.contains("scope=sudp"), "{request}");
        }
    }

    #[test]
    fn what_is_no_token_is_told_in_words_and_redirects_are_not_followed() {
        let long = format!("{{\"access_token\":\"{}\"}}", "a".repeat(100_000));
        for (status, body, words) in [
            ("401 Unauthorized", r#"{"error":"invalid_client"}"#, "it refuses (401): \"invalid_client\""),
            ("500 Oops", "<html>", "status 500"),
            ("200 OK", "<html>", "no token"),
            ("200 OK", r#"{"access_token":"x","token_type":"mac"}"#, "only Bearer"),
            ("307 Elsewhere\r\nLocation: http://192.0.2.1/", "", "a redirect (307), which is not followed"),
            ("200 OK", &long, "cannot be read"),
        ] {
            let (url, served) = server(answer(status, body));
            let why = endpoint(url, OAuthMethod::Post).fetch().expect_err(status);
            assert!(why.contains(words), "{status}: {why}");
            served.join().unwrap();
        }
        let gone = endpoint("http://127.0.0.1:1/".into(), OAuthMethod::Post).fetch().expect_err("nobody is there");
        assert!(!gone.contains("s3:cr"), "{gone}");
    }

    #[test]
    fn the_time_a_token_is_good_for_is_what_the_server_says() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let token = read(200, br#"{"access_token":"a","expires_in":100}"#, now).unwrap();
        assert_eq!(token.next, now + Duration::from_secs(80));
        assert!(read(200, br#"{"access_token":"a","expires_in":-1}"#, now).is_ok());
    }
}
