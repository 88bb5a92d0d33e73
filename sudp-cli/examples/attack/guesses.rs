//! Wrong passwords, from one address or from many, and good clients: of an address of their own, and of one that guesses.
//!
//! Credentials are shown for a path that is not there, which costs a source what a wrong password costs it.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Server, come, dial, quantiles};

pub(super) fn run(count: u64, addresses: u64) -> Result<String, String> {
    let server = Server::start(&["--port", "0"]);
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
                    let from = GUESSES_FROM + u32::try_from(number % addresses).unwrap();
                    number += GUESSERS;
                    let guess = b"GET /else HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWxpY2U6d3Jvbmc=\r\n\r\n";
                    let answer = dial(from, at).and_then(|mut stream| {
                        stream.write_all(guess)?;
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
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            let mut times = Vec::new();
            std::thread::sleep(Duration::from_millis(500));
            while !done.load(Ordering::Relaxed) {
                times.push(come(
                    from,
                    at,
                    "Authorization: Basic Z29vZDpnb29k\r\n",
                    (name, u32::try_from(times.len()).unwrap()),
                ));
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
        "attack": "guesses", "guesses": count, "addresses": addresses, "answered": answered.load(Ordering::Relaxed),
        "seconds": took, "good_elsewhere": quantiles(elsewhere), "good_same_address": quantiles(same),
        "server_cpu_s": server.cpu(), "server_cpu_share": server.cpu() / took,
        "server_grew_kib": server.memory("VmHWM").saturating_sub(before),
    });
    Ok(figures.to_string())
}

/// The first address of those who guess.
const GUESSES_FROM: u32 = 0x7f20_0001;
/// How many guess at a time.
const GUESSERS: u64 = 8;
