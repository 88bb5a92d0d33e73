//! Wrong passwords, from one address or from many, and good clients: of an address of their own, and of one that guesses.
//!
//! Every guess is a proper request for a session, at the right path, of users that exist and of others that do not, by
//! turns, so that each that is judged costs what checking a password costs. Good clients have no tickets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sudp_tokio::proto::Credential;

use super::{Server, come, dial, hello, quantiles, sudp};

/// What a good client shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Password,
    Token,
}

impl FromStr for By {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "password" => Ok(Self::Password),
            "token" => Ok(Self::Token),
            other => Err(format!("a good client comes by password or by token, not by {other}")),
        }
    }
}

/// A folder with the users and tokens that a server knows, removed with it.
struct House {
    folder: PathBuf,
    users: String,
    tokens: String,
}

impl House {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("sudp-attack-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let (users, tokens) = (path("users.yaml"), path("tokens.yaml"));
        Self { folder, users, tokens }
    }

    fn user(&self, name: &str, password: &str) {
        let file = self.folder.join("password");
        fs::write(&file, password).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        said(&["user", "add", name, "--file", &self.users, "--password-file", &file.display().to_string()]);
    }

    fn token(&self, name: &str) -> String {
        said(&["token", "new", name, "--file", &self.tokens]).trim().to_owned()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // What is left over is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What the program says to this.
fn said(arguments: &[&str]) -> String {
    let output = Command::new(sudp()).env_clear().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A request that shows the password of a user: of one that there is, or of one that there is not.
fn guess(number: u64) -> Vec<u8> {
    let user = if (number / GUESSERS).is_multiple_of(2) { USERS[0].to_owned() } else { format!("user-{number}") };
    let shown = Credential::basic(&user, &format!("guess-{number}")).unwrap();
    let hello = hello("guesser", u32::try_from(number).unwrap());
    let request = format!(
        "GET /sudp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sudp.v1\r\nSudp-Hello: {hello}\r\n\
         Authorization: {}\r\n\r\n",
        shown.expose()
    );
    request.into_bytes()
}

pub(super) fn run(count: u64, addresses: u64, by: By) -> Result<String, String> {
    let house = House::new();
    USERS.iter().for_each(|name| house.user(name, PASSWORD));
    let token = house.token("good");
    let server = Server::start_at(&house.folder, &["--port", "0", "--users", &house.users, "--tokens", &house.tokens]);
    let shown = match by {
        By::Password => Credential::basic(USERS[1], PASSWORD),
        By::Token => Credential::bearer(&token),
    };
    let header = format!("Authorization: {}\r\n", shown.unwrap().expose());
    let at = server.at;
    let (left, answered) = (Arc::new(AtomicU64::new(count)), Arc::new(AtomicU64::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let before = server.memory("VmRSS");
    let guessers: Vec<_> = (0..GUESSERS)
        .map(|guesser| {
            let (left, answered) = (Arc::clone(&left), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut number = guesser;
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let (from, guess) = (GUESSES_FROM + u32::try_from(number % addresses).unwrap(), guess(number));
                    number += GUESSERS;
                    let answer = dial(from, at).and_then(|mut stream| {
                        stream.write_all(&guess)?;
                        if guesser % 2 == 1 {
                            // Every other one does not wait for its turn, and hopes to take those of others.
                            stream.set_read_timeout(Some(Duration::from_millis(50)))?;
                        }
                        stream.read_exact(&mut [0; 12])
                    });
                    answered.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let good = |from: u32, name: &'static str| {
        let (done, header) = (Arc::clone(&done), header.clone());
        std::thread::spawn(move || {
            let mut times = Vec::new();
            std::thread::sleep(Duration::from_millis(500));
            while !done.load(Ordering::Relaxed) {
                times.push(come(from, at, &header, (name, u32::try_from(times.len()).unwrap())));
                std::thread::sleep(Duration::from_millis(200));
            }
            times
        })
    };
    let (elsewhere, same) = (good(0x7f00_0002, "elsewhere"), good(GUESSES_FROM, "same"));
    for guesser in guessers {
        guesser.join().map_err(|_| "a guesser failed".to_owned())?;
    }
    done.store(true, Ordering::Relaxed);
    let shut_out = |_| "a good client was shut out".to_owned();
    let (elsewhere, same) = (elsewhere.join().map_err(shut_out)?, same.join().map_err(shut_out)?);
    let took = begun.elapsed().as_secs_f64();
    let figures = serde_json::json!({
        "attack": "guesses", "good_by": format!("{by:?}").to_lowercase(), "guesses": count, "addresses": addresses, "answered": answered.load(Ordering::Relaxed),
        "seconds": took, "good_elsewhere": quantiles(elsewhere), "good_same_address": quantiles(same),
        "server_cpu_s": server.cpu(), "server_cpu_share": server.cpu() / took,
        "server_grew_kib": server.memory("VmHWM").saturating_sub(before),
    });
    Ok(figures.to_string())
}

/// Whose passwords are guessed, and who comes by its own.
const USERS: [&str; 2] = ["alice", "good"];
const PASSWORD: &str = "correct horse battery";
/// The first address of those who guess.
const GUESSES_FROM: u32 = 0x7f20_0001;
/// How many guess at a time.
const GUESSERS: u64 = 8;
