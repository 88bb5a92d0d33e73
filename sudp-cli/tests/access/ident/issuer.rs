//! An issuer of tokens: an HTTP server of a few lines that says what it is told to say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it answers, by path, and what it was asked.
#[derive(Clone, Default)]
pub(super) struct Issuer {
    says: Arc<Mutex<Says>>,
}

#[derive(Default)]
struct Says {
    status: u16,
    headers: String,
    body: String,
    asked: Vec<String>,
}

impl Issuer {
    /// One that runs, and where.
    pub(super) fn new(body: &str) -> (Self, SocketAddr) {
        let issuer = Self::default();
        issuer.say(200, "", body);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let says = Arc::clone(&issuer.says);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                        break;
                    }
                    if let Some((name, value)) = line.split_once(':')
                        && name.eq_ignore_ascii_case("content-length")
                    {
                        length = value.trim().parse().unwrap();
                    }
                    head.push_str(&line);
                }
                let mut form = vec![0; length];
                // One that hangs up is asked no more.
                let _ = stream.read_exact(&mut form);
                let mut says = says.lock().unwrap();
                says.asked.push(format!("{head}\n{}", String::from_utf8_lossy(&form)));
                let Says { status, headers, body, .. } = &*says;
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}\r\n{body}",
                    body.len()
                );
                let _ = stream.get_mut().write_all(answer.as_bytes());
            }
        });
        (issuer, at)
    }

    /// What it says from now on.
    pub(super) fn say(&self, status: u16, headers: &str, body: &str) {
        let mut says = self.says.lock().unwrap();
        (says.status, says.headers, says.body) = (status, headers.into(), body.into());
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.says.lock().unwrap().asked.clone()
    }
}
