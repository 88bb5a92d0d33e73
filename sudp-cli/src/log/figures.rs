//! A line of figures, now and then: what an instance did since the last one, and how it is.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use crate::run::App;
use crate::status::{Status, Traffic};

/// What happened between two looks at an instance.
#[derive(Debug)]
pub struct Figures {
    since: Instant,
    traffic: Traffic,
}

impl Figures {
    /// Begins to count here.
    pub fn new(now: Instant, status: &Status) -> Self {
        Self { since: now, traffic: status.traffic.clone() }
    }

    /// Writes the line of what happened since the last one.
    pub fn log(&mut self, now: Instant, status: &Status) {
        let before = std::mem::replace(self, Self::new(now, status));
        let (then, new) = (&before.traffic, &self.traffic);
        let seconds = now.saturating_duration_since(before.since).as_secs_f64().max(0.001);
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        let dropped = Drops(&then.dropped_out, &new.dropped_out, &then.dropped_in, &new.dropped_in);
        tracing::info!(
            target: "sudp::figures",
            seconds = seconds.round(),
            sessions = status.sessions.len(),
            links = status.sessions.iter().map(|session| session.links.len()).sum::<usize>(),
            flows = status.sessions.iter().map(|session| session.flows).sum::<usize>(),
            out_rate = rounded(rate(then.out, new.out)),
            out_mbit = rounded(rate(then.out_bytes, new.out_bytes) * 8e-6),
            in_rate = rounded(rate(then.in_, new.in_)),
            in_mbit = rounded(rate(then.in_bytes, new.in_bytes) * 8e-6),
            dropped = %dropped,
            kernel_drops = new.kernel_drops.saturating_sub(then.kernel_drops),
            replayed = new.replayed.saturating_sub(then.replayed),
            duplicates = new.duplicates.saturating_sub(then.duplicates),
            new_links = new.links.saturating_sub(then.links),
            "figures"
        );
    }
}

/// Writes a line of figures each `interval`, for as long as it is polled. With zero, it never does.
pub async fn every(app: App, interval: Duration) {
    if interval.is_zero() {
        return std::future::pending().await;
    }
    let mut figures = Figures::new(Instant::now(), &app.status().await);
    loop {
        tokio::time::sleep(interval).await;
        figures.log(Instant::now(), &app.status().await);
    }
}

/// With as many digits as matter.
fn rounded(number: f64) -> f64 {
    let digits = if number >= 100.0 { 1.0 } else { 100.0 };
    (number * digits).round() / digits
}

/// What was dropped, by reason: out, then in.
struct Drops<'a>(
    &'a BTreeMap<String, u64>,
    &'a BTreeMap<String, u64>,
    &'a BTreeMap<String, u64>,
    &'a BTreeMap<String, u64>,
);

impl fmt::Display for Drops<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = String::new();
        for (way, then, now) in [("out", self.0, self.1), ("in", self.2, self.3)] {
            for (reason, count) in now {
                let count = count.saturating_sub(then.get(reason).copied().unwrap_or(0));
                if count > 0 {
                    let blank = if all.is_empty() { "" } else { " " };
                    write!(all, "{blank}{way}.{reason}:{count}")?;
                }
            }
        }
        f.write_str(if all.is_empty() { "none" } else { &all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_since_is_told_by_way_and_reason() {
        let then = BTreeMap::from([("age".to_owned(), 3), ("queue".to_owned(), 5)]);
        let now = BTreeMap::from([("age".to_owned(), 3), ("queue".to_owned(), 7), ("size".to_owned(), 1)]);
        let none = BTreeMap::new();

        assert_eq!(Drops(&then, &now, &none, &then).to_string(), "out.queue:2 out.size:1 in.age:3 in.queue:5");
        assert_eq!(Drops(&now, &now, &none, &none).to_string(), "none");
    }

    #[test]
    fn figures_have_as_many_digits_as_matter() {
        let shown = |number| rounded(number).to_string();

        assert_eq!([shown(0.0), shown(0.126), shown(99.9), shown(1234.5)], ["0", "0.13", "99.9", "1235"]);
    }
}
