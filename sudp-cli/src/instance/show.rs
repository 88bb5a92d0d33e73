//! What people are told: how an instance is, and what has begun.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use super::manage::Sample;
use super::spawn::Serving;
use super::{Id, word};
use crate::args::Color;
use crate::status::{Health, Link, Session, Status, Strangers, Traffic};
use crate::top::text::{bits, clean, count, size, time};

/// Whether what is printed has colours.
#[derive(Clone, Copy, Debug)]
pub struct Ink(bool);

impl Ink {
    /// As the standard output has it.
    pub fn of(color: Color) -> Self {
        Self(color.on(&io::stdout()))
    }

    /// What is well.
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What may become well.
    pub(super) fn doubtful(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// What is wrong.
    pub(super) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What stands above others.
    pub(super) fn title(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// How an instance is.
    pub(super) fn health(self, health: Health) -> String {
        match health {
            Health::Ok => self.good("ok"),
            Health::Connecting => self.doubtful("connecting"),
            Health::Draining => self.doubtful("draining"),
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

/// What has begun.
pub fn serving(id: &Id, serving: &Serving) -> String {
    let mut text = format!("the {id} runs, as process {}\n", serving.pid);
    serving.listening.iter().for_each(|url| row(&mut text, "listening", url));
    serving.servers.iter().for_each(|url| row(&mut text, "server", url));
    for (name, listening) in &serving.tunnels {
        let name = clean(name);
        match listening {
            Ok(Some(at)) => row(&mut text, "tunnel", &format!("{name}, at {at}")),
            Ok(None) => row(&mut text, "tunnel", &name),
            Err(error) => row(&mut text, "tunnel", &format!("{name}: {}", clean(error))),
        }
    }
    if let Some(log) = &serving.log {
        row(&mut text, "log", &log.display().to_string());
    }
    text
}

/// How an instance is.
pub fn status(sample: &Sample, ink: Ink) -> String {
    let Sample { status, rate } = sample;
    let name = status.instance.as_deref().unwrap_or("without a name");
    let mut text = format!("{}  {}", ink.title(&format!("{} {name}", word(status.role))), ink.health(status.health));
    if let Some(reason) = &status.reason {
        let _ = write!(text, ": {}", clean(reason));
    }
    text.push('\n');

    let up = time(status.uptime);
    row(&mut text, "process", &format!("{}, version {}, up {up}", status.pid, status.version));
    status.listening.iter().for_each(|url| row(&mut text, "listening", url));
    status.servers.iter().for_each(|url| row(&mut text, "server", url));
    status.config.iter().for_each(|file| row(&mut text, "config", file));
    if let Some(reload) = &status.reload {
        let how = reload.error.as_ref().map_or_else(
            || ink.good("in force"),
            |error| format!("{}, what was in force stays: {}", ink.bad("refused"), clean(error)),
        );
        row(&mut text, "reloaded", &format!("{}, {how}", reload.at));
    }
    for tunnel in &status.tunnels {
        let at = match (&tunnel.error, &tunnel.listening) {
            (Some(error), _) => format!(": {}", ink.bad(&clean(error))),
            (None, Some(at)) => format!(", at {at}"),
            (None, None) => String::new(),
        };
        let name = if tunnel.name == tunnel.spec { String::new() } else { format!("{}: ", clean(&tunnel.name)) };
        row(&mut text, "tunnel", &format!("{name}{}{at}", clean(&tunnel.spec)));
    }
    sessions(&mut text, status, ink);
    if let Some(Strangers { waiting, refused, delayed, penalised, dropped }) = status.strangers {
        let (waiting, sources) = (so_many(waiting, "connection"), so_many(penalised, "source"));
        let closed = format!("{} refused, {} closed, {} delayed", count(refused), count(dropped), count(delayed));
        row(&mut text, "strangers", &format!("{waiting} without a session; {closed}; {sources} penalised"));
    }
    traffic(&mut text, &status.traffic);
    if let Some(rate) = rate {
        let [out, out_bytes, in_, in_bytes] = *rate;
        let way = |number: f64, bytes: f64| format!("{number:.0} datagrams/s, {} bit/s", bits(bytes));
        row(&mut text, "now", &format!("out {}; in {}", way(out, out_bytes), way(in_, in_bytes)));
    }
    text
}

fn sessions(text: &mut String, status: &Status, ink: Ink) {
    let links: usize = status.sessions.iter().map(|session| session.links.len()).sum();
    let flows: usize = status.sessions.iter().map(|session| session.flows).sum();
    let number = status.sessions.len();
    row(text, "sessions", &format!("{number}, with {} and {}", so_many(links, "link"), so_many(flows, "flow")));
    for Session { id, principal, peer, age, sealed, links, flows, .. } in status.sessions.iter().take(SESSIONS) {
        let who = principal.as_ref().map(|who| format!(" {}", clean(who))).unwrap_or_default();
        let peer = peer.as_ref().map(|peer| format!(" {}", clean(peer))).unwrap_or_default();
        let sealed = if *sealed { ", sealed" } else { "" };
        row(text, "", &format!("{id}{who}{peer}, for {}, {}{sealed}", time(*age), so_many(*flows, "flow")));
        for Link { ordinal, rtt, rtt_min, window, in_flight, suspect } in links {
            let known = |rtt: &Option<f64>| rtt.map_or_else(|| "not known yet".into(), time);
            let suspect = if *suspect { format!(", {}", ink.bad("makes no progress")) } else { String::new() };
            row(
                text,
                "",
                &format!(
                    "  link {ordinal}: RTT {} (least {}), {} of {} under way{suspect}",
                    known(rtt),
                    known(rtt_min),
                    size(*in_flight),
                    size(*window)
                ),
            );
        }
    }
    if let Some(more) = number.checked_sub(SESSIONS).filter(|more| *more > 0) {
        row(text, "", &format!("and {more} more, which 'sudp top' and '-o json' show"));
    }
}

fn traffic(text: &mut String, traffic: &Traffic) {
    let way = |number: u64, bytes: u64, dropped: &BTreeMap<String, u64>| {
        let dropped: Vec<_> = dropped.iter().map(|(why, number)| format!("{} {why}", count(*number))).collect();
        let dropped =
            if dropped.is_empty() { "none dropped".into() } else { format!("dropped: {}", dropped.join(", ")) };
        format!("{} datagrams, {}, {dropped}", count(number), size(bytes))
    };
    row(text, "out", &way(traffic.out, traffic.out_bytes, &traffic.dropped_out));
    row(text, "in", &way(traffic.in_, traffic.in_bytes, &traffic.dropped_in));
    if traffic.kernel_drops > 0 {
        row(text, "", &format!("dropped by the kernel: {}", count(traffic.kernel_drops)));
    }
    let Traffic { replayed, duplicates, links, .. } = traffic;
    let links = so_many(usize::try_from(*links).unwrap_or(usize::MAX), "link");
    row(text, "recovery", &format!("{links} so far, {replayed} batches sent again, {duplicates} came twice"));
}

fn so_many(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn row(text: &mut String, what: &str, value: &str) {
    let _ = writeln!(text, "  {what:<10} {value}");
}

/// How many sessions are shown to people.
const SESSIONS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::fixtures;
    use crate::status::{Reload, Role};

    const PLAIN: Ink = Ink(false);

    fn shown(status: Status) -> String {
        super::status(&Sample { status, rate: None }, PLAIN)
    }

    #[test]
    fn a_person_reads_how_a_client_is() {
        let sample = Sample { status: fixtures::status(), rate: Some([100.0, 125_000.0, 7.6, 800.0]) };
        assert_eq!(
            status(&sample, PLAIN),
            "\
client game  ok
  process    4242, version 0.1.0, up 3h 12m
  server     wss://example.com/sudp
  config     /etc/sudp/config.yaml
  reloaded   2026-11-21T12:00:00Z, in force
  tunnel     dns: udp://127.0.0.1:5005:10.0.0.1:53, at 127.0.0.1:5005
  sessions   1, with 1 link and 17 flows
             5f3a wss://example.com/sudp, for 3h 11m, 17 flows, sealed
               link 6: RTT 24.1 ms (least 20.0 ms), 1.1K of 64K under way
  out        12k datagrams, 1.1M, dropped: 10 expired, 2 queue_full
  in         54k datagrams, 7.2M, none dropped
             dropped by the kernel: 3
  recovery   6 links so far, 4 batches sent again, 5 came twice
  now        out 100 datagrams/s, 1.0M bit/s; in 8 datagrams/s, 6.4k bit/s
"
        );
    }

    #[test]
    fn what_is_wrong_is_shown() {
        let mut status = fixtures::status();
        status.health = Health::Connecting;
        status.reason = Some("no server answers".into());
        status.reload = Some(Reload { at: "T".into(), error: Some("line 3: no such key".into()) });
        status.tunnels[0].error = Some("the port is taken".into());
        status.sessions[0].links[0].suspect = true;
        let text = shown(status);
        for part in [
            "client game  connecting: no server answers",
            "refused, what was in force stays: line 3",
            "no progress",
            ": the port is taken",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_peers_send_cannot_reach_the_terminal() {
        let mut status = fixtures::status();
        let evil = "a\x1b[2J\nb\u{202e}";
        status.reason = Some(evil.into());
        status.sessions[0].principal = Some(evil.into());
        status.sessions[0].peer = Some(evil.into());
        status.tunnels[0].name = evil.into();
        status.reload = Some(Reload { at: "T".into(), error: Some(evil.into()) });
        let lines = shown(fixtures::status()).lines().count();
        let text = shown(status);
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'));
        assert_eq!(text.lines().count(), lines);
    }

    #[test]
    fn many_sessions_are_not_all_shown() {
        let mut status = fixtures::status();
        status.role = Role::Server;
        status.sessions = vec![status.sessions[0].clone(); 500];
        let text = shown(status);
        assert!(text.contains("500, with 500 links and 8500 flows") && text.contains("and 490 more"), "{text}");
        assert!(text.lines().count() < 40);
    }

    #[test]
    fn colours_are_there_when_they_are_wanted() {
        let sample = Sample { status: fixtures::status(), rate: None };
        assert!(status(&sample, Ink(true)).contains("\x1b[32mok\x1b[0m"));
        assert!(!status(&sample, PLAIN).contains('\x1b'));
    }
}
