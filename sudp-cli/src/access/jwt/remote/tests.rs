use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::access::base64;

/// An issuer whose answers are set from outside, and the number of those it gave.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<(String, usize)>>);

impl Issuer {
    fn new() -> (Self, String) {
        let (issuer, listener) = (Self::default(), TcpListener::bind("127.0.0.1:0").expect("a port"));
        let url = format!("http://{}/keys", listener.local_addr().expect("its address"));
        let shared = issuer.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                    line.clear();
                }
                let mut says = lock(&shared.0);
                says.1 += 1;
                // Who has hung up needs no answer.
                let _ = stream.get_mut().write_all(says.0.as_bytes());
            }
        });
        (issuer, url)
    }

    /// From now on it has these keys, which may be kept for so many seconds.
    fn says(&self, ids: &[&str], max_age: u32) {
        let key = |id: &&str| {
            format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{}"}}"#, base64::encode_url(&[7; 32]))
        };
        let body = format!(r#"{{"keys":[{}]}}"#, ids.iter().map(key).collect::<Vec<_>>().join(","));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: max-age={max_age}", body.len());
        lock(&self.0).0 = format!("{head}\r\nConnection: close\r\n\r\n{body}");
    }

    fn fails(&self) {
        lock(&self.0).0 = "HTTP/1.1 503 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into();
    }

    fn asked(&self) -> usize {
        lock(&self.0).1
    }
}

impl Remote {
    /// As if it had been asked so much earlier.
    fn age(&self, by: Duration) {
        let (mut state, back) =
            (lock(&self.state), |at: Instant| at.checked_sub(by).expect("the machine runs for longer"));
        (state.asked, state.fresh) = (back(state.asked), back(state.fresh));
    }
}

fn wanted(id: &str) -> String {
    let part = |text: &str| base64::encode_url(text.as_bytes());
    format!("{}.{}.{}", part(&format!(r#"{{"alg":"EdDSA","kid":"{id}"}}"#)), part("{}"), part("signature"))
}

fn ids(remote: &Arc<Remote>, id: &str) -> Vec<String> {
    let token = wanted(id);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let keys = runtime.block_on(remote.keys(&Parts::read(&token).expect("a token")));
    keys.iter().filter_map(|key| key.id.clone()).collect()
}

#[test]
fn a_key_that_is_not_known_has_all_asked_for_once_a_minute() {
    let (issuer, url) = Issuer::new();
    issuer.says(&["a"], 3_600);
    let remote = Arc::new(Remote::load(&url).expect("it answers"));
    issuer.says(&["a", "b"], 3_600);
    assert_eq!((ids(&remote, "a"), ids(&remote, "b"), issuer.asked()), (vec!["a".into()], vec!["a".into()], 1));
    remote.age(REST);
    assert_eq!((ids(&remote, "a"), issuer.asked()), (vec!["a".into()], 1));
    assert_eq!((ids(&remote, "b"), issuer.asked()), (vec!["a".into(), "b".into()], 2));
    for made_up in ["c", "d", "e"] {
        ids(&remote, made_up);
    }
    assert_eq!(issuer.asked(), 2);
}

#[test]
fn keys_are_asked_for_again_when_they_are_old_and_kept_while_nobody_answers() {
    let (issuer, url) = Issuer::new();
    issuer.says(&["a"], 120);
    let remote = Arc::new(Remote::load(&url).expect("it answers"));
    issuer.says(&["b"], 120);
    remote.age(Duration::from_secs(119));
    assert_eq!((ids(&remote, "a"), issuer.asked()), (vec!["a".into()], 1));
    remote.age(Duration::from_secs(1));
    assert_eq!((ids(&remote, "a"), issuer.asked()), (vec!["b".into()], 2), "what was taken back is gone");
    issuer.fails();
    for round in 0..3 {
        remote.age(LONGEST);
        assert_eq!((ids(&remote, "b"), issuer.asked()), (vec!["b".into()], 3 + round));
        assert_eq!((ids(&remote, "b"), issuer.asked()), (vec!["b".into()], 3 + round), "it is left alone for a while");
    }
    issuer.says(&["c"], 120);
    remote.age(REST);
    assert_eq!(ids(&remote, "b"), ["c"]);
}

#[test]
fn how_long_they_are_kept_is_bounded_whatever_is_said() {
    let (issuer, url) = Issuer::new();
    for (max_age, kept) in [(0, SHORTEST), (59, SHORTEST), (300, Duration::from_secs(300)), (u32::MAX, LONGEST)] {
        issuer.says(&["a"], max_age);
        let remote = Arc::new(Remote::load(&url).expect("it answers"));
        let before = issuer.asked();
        remote.age(kept - Duration::from_secs(5));
        ids(&remote, "a");
        assert_eq!(issuer.asked(), before, "{max_age}");
        remote.age(Duration::from_secs(5));
        ids(&remote, "a");
        assert_eq!(issuer.asked(), before + 1, "{max_age}");
    }
}
