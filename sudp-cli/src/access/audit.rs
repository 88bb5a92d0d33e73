//! One line for each admission, refusal, beginning and end: who, from where, by what, and why.
//!
//! They go into a file of their own, as JSON, or into the log with the target `sudp::audit`. What others say of
//! themselves is escaped and cut there, and a source has its budget of lines, so that an attack is told in sums.
//! Credentials never come here.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::Path;

use sudp_tokio::proto::wire::SessionId;

use crate::config::Log;
use crate::exit::Outcome;
use crate::log::Trail;

/// Where it is written down who came and went.
#[derive(Debug)]
pub(crate) struct Audit(Option<Trail>);

/// What is written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) what: What,
    /// Where it comes from, as far as that is known.
    pub(crate) from: Option<SocketAddr>,
    /// Who it is; empty is anybody.
    pub(crate) principal: &'a str,
    /// By what it was recognised.
    pub(crate) via: &'a str,
    /// Where it wants to send to, if it is about that.
    pub(crate) to: &'a str,
    /// Why.
    pub(crate) reason: &'a str,
    /// The rule that has decided, where one has.
    pub(crate) rule: Option<&'a str>,
    pub(crate) session: Option<SessionId>,
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum What {
    Admitted,
    Refused,
    Opened,
    Closed,
    FlowOpened,
    FlowRefused,
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Refused => "refused",
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::FlowOpened => "flow opened",
            Self::FlowRefused => "flow refused",
        }
    }
}

impl Entry<'_> {
    /// Something that happened, of which nothing else is known.
    pub(crate) const fn of(what: What) -> Self {
        Self { what, from: None, principal: "", via: "", to: "", reason: "", rule: None, session: None }
    }
}

impl Audit {
    /// Writes into this file, which is rotated as the log is, or into the log.
    pub(crate) fn open(file: Option<&Path>, log: &Log) -> Outcome<Self> {
        file.map(|file| Trail::open(file, log)).transpose().map(Self)
    }

    /// Whether what is written often, and is of no harm, is written down: into a file of its own, or a log that has room.
    pub(crate) fn is_thorough(&self) -> bool {
        self.0.is_some() || tracing::enabled!(target: "sudp::audit", tracing::Level::DEBUG)
    }

    /// Writes a line.
    pub(crate) fn say(&self, entry: &Entry<'_>) {
        let Entry { what, from, principal, via, to, reason, rule, session } = *entry;
        let (from, session) = (from.map(Source), session.map(Name));
        // Whoever opens flow after flow shall not thereby hide what else becomes of it.
        let apart = what == What::FlowOpened;
        let what = what.as_str();
        match &self.0 {
            Some(trail) => {
                let from = from.as_ref().map(|from| ("from", from as &dyn Display));
                let session = session.as_ref().map(|session| ("session", session as &dyn Display));
                let rule = rule.unwrap_or_default();
                let words = [("principal", principal), ("via", via), ("to", to), ("reason", reason), ("rule", rule)];
                let words = words.iter().filter(|(_, word)| !word.is_empty());
                let words = words.map(|(name, word)| (*name, word as &dyn Display));
                let fields: Vec<_> = from.into_iter().chain(session).chain(words).collect();
                trail.say(TARGET, what, &fields, apart);
            }
            None => {
                let (from, session) =
                    (from.as_ref().map(tracing::field::display), session.map(tracing::field::display));
                let some = |word| Some(word).filter(|word: &&str| !word.is_empty());
                let (principal, via, to, reason) = (some(principal), some(via), some(to), some(reason));
                if apart {
                    tracing::debug!(target: "sudp::audit", from, session, principal, via, to, reason, rule, "{what}");
                } else {
                    tracing::info!(target: "sudp::audit", from, session, principal, via, to, reason, rule, "{what}");
                }
            }
        }
    }
}

/// Where somebody comes from; without a port where a proxy did not name it.
struct Source(SocketAddr);

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.port() == 0 { self.0.ip().fmt(f) } else { self.0.fmt(f) }
    }
}

struct Name(SessionId);

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

const TARGET: &str = "sudp::audit";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::config::LogFormat;

    const LOG: Log = Log {
        level: String::new(),
        format: LogFormat::Text,
        file: None,
        max_size: 0,
        daily: false,
        keep: 0,
        figures: Duration::ZERO,
    };

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("sudp-audit-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn lines(folder: &Path, say: impl FnOnce(&Audit)) -> Vec<serde_json::Value> {
        let file = folder.join("audit.log");
        let audit = Audit::open(Some(&file), &LOG).unwrap();
        say(&audit);
        drop(audit);
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_dir_all(folder).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn t17_every_line_is_an_object_whatever_others_call_themselves() {
        let hostile = [
            "a\r\nb",
            "\x1b[31mred",
            "nul\0",
            "\u{2028}\u{202e}evil\u{feff}",
            "\"}{\"",
            "\u{fffd}",
            &"x".repeat(1 << 20),
        ];
        let lines = lines(&folder("hostile"), |audit| {
            for principal in hostile {
                audit.say(&Entry { principal, reason: principal, ..Entry::of(What::Refused) });
            }
        });
        assert_eq!(lines.len(), hostile.len());
        for (line, said) in lines.iter().zip(hostile) {
            let principal = line["fields"]["principal"].as_str().unwrap();
            assert!(principal.len() <= 260, "{} bytes", principal.len());
            assert!(said.starts_with(principal.trim_end_matches('…')), "{principal:?}");
            assert_eq!((line["message"].as_str(), line["target"].as_str()), (Some("refused"), Some("sudp::audit")));
        }
    }

    #[test]
    fn t17_an_attack_is_told_in_sums() {
        let from = |host: u8| Some(SocketAddr::from(([192, 0, 2, host], 4_711)));
        let lines = lines(&folder("attack"), |audit| {
            for _ in 0..10_000 {
                audit.say(&Entry { from: from(1), reason: "wrong", ..Entry::of(What::Refused) });
            }
            audit.say(&Entry { from: from(2), principal: "alice", ..Entry::of(What::Admitted) });
        });
        assert!(lines.len() < 100, "{} lines", lines.len());
        assert!(lines.iter().any(|line| line["fields"]["principal"] == "alice"), "another source has its own budget");
        let left_out = lines.iter().find(|line| line["message"].as_str().unwrap().contains("left out")).unwrap();
        assert!(left_out["fields"]["lines"].as_u64().unwrap() > 9_900, "{left_out}");
    }

    #[test]
    fn flow_after_flow_that_is_opened_hides_none_that_is_refused() {
        let from = Some(SocketAddr::from(([192, 0, 2, 1], 4_711)));
        let lines = lines(&folder("flows"), |audit| {
            for _ in 0..1_000 {
                audit.say(&Entry { from, to: "192.0.2.9:53", rule: Some("rule 1"), ..Entry::of(What::FlowOpened) });
            }
            audit.say(&Entry { from, to: "10.0.0.1:53", rule: Some("rule 2"), ..Entry::of(What::FlowRefused) });
        });
        assert!(lines.len() < 30, "{} lines", lines.len());
        let refused = lines.iter().find(|line| line["message"] == "flow refused").unwrap();
        assert_eq!((&refused["fields"]["to"], &refused["fields"]["rule"]), (&"10.0.0.1:53".into(), &"rule 2".into()));
        let left_out = lines.iter().find(|line| line["message"].as_str().unwrap().contains("left out")).unwrap();
        assert_eq!(left_out["fields"]["from"], "flow opened, 192.0.2.1");
    }

    #[test]
    fn what_is_not_known_is_left_out_and_a_port_that_is_none_is_not_shown() {
        let lines = lines(&folder("plain"), |audit| {
            let from = Some("192.0.2.1:0".parse().unwrap());
            audit.say(&Entry { from, session: Some(SessionId([0xab; 16])), ..Entry::of(What::Opened) });
        });
        let expected = serde_json::json!({"from": "192.0.2.1", "session": "ab".repeat(16)});
        assert_eq!(lines[0]["fields"], expected);
    }
}
