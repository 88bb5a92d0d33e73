//! `sudp capture`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::manage::Which;
use crate::capture::{self, Plan};
use crate::exit::Outcome;
use crate::instance::protocol::{self, Wanted};
use crate::status::Role;
use crate::top;

/// What is captured, how much of it, and where to.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CaptureArgs {
    /// The instance
    #[command(flatten)]
    pub which: Which,
    /// Write to this file instead of the standard output: as pcapng, unless its name ends with .ndjson or .json
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// How datagrams are written [default: ndjson, with -w by the name of the file]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Only this flow
    #[arg(long, value_name = "NUMBER", help_heading = FILTERS)]
    pub flow: Option<u64>,
    /// Only this session; the beginning of its name is enough
    #[arg(long, value_name = "ID", help_heading = FILTERS)]
    pub session: Option<String>,
    /// Only from or to this host, as 10.0.0.1, ::1 or example.com, or this host and port
    #[arg(long, value_name = "HOST", help_heading = FILTERS)]
    pub host: Option<String>,
    /// Only from or to this port
    #[arg(long, value_name = "PORT", help_heading = FILTERS)]
    pub port: Option<u16>,
    /// Only what goes to the other side (out), or comes from there (in)
    #[arg(long, value_name = "WAY", help_heading = FILTERS)]
    pub direction: Option<Direction>,
    /// Only what was taken (to be sent), delivered or dropped; or the reason of a drop, as age
    #[arg(long, value_name = "FATE", help_heading = FILTERS)]
    pub fate: Option<String>,
    /// Only through the tunnel of this name
    #[arg(long, value_name = "NAME", help_heading = FILTERS)]
    pub tunnel: Option<String>,
    /// End after so many datagrams
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub count: Option<u64>,
    /// End before the output is larger, as 10MiB
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = BOUNDS)]
    pub max_size: Option<u64>,
    /// End after this time, as 30s or 5m
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, help_heading = BOUNDS)]
    pub time: Option<Duration>,
    /// Keep so many bytes of each datagram [default: 0 as ndjson, all as pcapng]
    #[arg(long, value_name = "BYTES", help_heading = BOUNDS)]
    pub snap: Option<u32>,
}

/// How datagrams are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// A JSON object a line.
    Ndjson,
    /// As Wireshark opens it.
    Pcapng,
}

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Direction {
    /// From the other side.
    In,
    /// To the other side.
    Out,
}

impl CaptureArgs {
    /// Captures; where the role is not given, at the instance of this name that runs.
    pub fn run(self, role: Option<Role>) -> Outcome {
        let (_, call) = top::reach(&self.which.instance, role)?;
        capture::run(call, self.plan())
    }

    fn plan(self) -> Plan {
        let file = self.write.filter(|file| file != Path::new("-"));
        let by_name = file.as_ref().map_or(capture::Format::Ndjson, |file| {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("json" | "jsonl" | "ndjson") => capture::Format::Ndjson,
                _ => capture::Format::Pcapng,
            }
        });
        let format = self.format.map_or(by_name, |format| match format {
            Format::Ndjson => capture::Format::Ndjson,
            Format::Pcapng => capture::Format::Pcapng,
        });
        let snap = self.snap.unwrap_or(match format {
            capture::Format::Ndjson => 0,
            capture::Format::Pcapng => u32::from(u16::MAX),
        });
        let wanted = Wanted {
            session: self.session,
            flow: self.flow,
            tunnel: self.tunnel,
            host: self.host,
            port: self.port,
            fate: self.fate.map(|fate| fate.to_lowercase()),
            direction: self.direction.map(|direction| match direction {
                Direction::In => protocol::Direction::In,
                Direction::Out => protocol::Direction::Out,
            }),
            snap: (snap > 0).then_some(snap),
        };
        Plan { wanted, format, file, count: self.count, size: self.max_size, time: self.time }
    }
}

/// A size in bytes, as `4096`, `64KiB` or `1GiB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|char: char| !char.is_ascii_digit());
    let shift = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("write a size as 4096, 64KiB, 10MiB or 1GiB".into()),
    };
    let number = digits.parse::<u64>().map_err(|_| "write a size as 4096, 64KiB, 10MiB or 1GiB".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "no file is that large".to_owned())
}

const FILTERS: &str = "Filters";
const BOUNDS: &str = "Bounds";

const EXAMPLES: &str = "\
Examples:
  sudp capture --count 10                        ten datagrams, a line each, without their contents
  sudp capture --fate dropped | jq .reason       why datagrams are dropped
  sudp capture -w dns.pcapng --port 53 --for 1m  a minute of DNS, for Wireshark
  sudp capture --format pcapng | wireshark -k -i -
  sudp capture --snap 64 --host 10.0.0.1 --max-size 10MiB -w some.ndjson";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CaptureArgs,
    }

    fn plan(words: &[&str]) -> Plan {
        let line = Line::try_parse_from(["capture"].iter().chain(words)).unwrap_or_else(|error| panic!("{error}"));
        line.args.plan()
    }

    #[test]
    fn the_format_follows_the_name_of_the_file_unless_it_is_said() {
        let is = |words: &[&str]| (plan(words).format, plan(words).wanted.snap);
        let (ndjson, pcapng) = (capture::Format::Ndjson, capture::Format::Pcapng);
        assert_eq!(is(&[]), (ndjson, None));
        assert_eq!(is(&["-w", "a.pcapng"]), (pcapng, Some(65_535)));
        assert_eq!(is(&["-w", "a"]), (pcapng, Some(65_535)));
        assert_eq!(is(&["-w", "a.ndjson", "--snap", "64"]), (ndjson, Some(64)));
        assert_eq!(is(&["-w", "a.json", "--format", "pcapng", "--snap", "0"]), (pcapng, None));
        assert_eq!(is(&["-w", "-"]), (ndjson, None));
        assert_eq!(plan(&["-w", "-"]).file, None);
    }

    #[test]
    fn what_is_typed_is_what_is_asked_for() {
        let words = "--flow 3 --session 5e55 --host ::1 --port 53 --direction in --fate AGE --tunnel dns --snap 9 \
                     --count 5 --max-size 10MiB --for 1m30s";
        let plan = plan(&words.split_whitespace().collect::<Vec<_>>());
        let wanted = Wanted {
            session: Some("5e55".into()),
            flow: Some(3),
            tunnel: Some("dns".into()),
            host: Some("::1".into()),
            port: Some(53),
            fate: Some("age".into()),
            direction: Some(protocol::Direction::In),
            snap: Some(9),
        };
        assert_eq!(plan.wanted, wanted);
        assert_eq!((plan.count, plan.size, plan.time), (Some(5), Some(10 << 20), Some(Duration::from_secs(90))));
    }

    #[test]
    fn sizes_are_read_with_their_units_and_others_are_refused() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64KiB", 65_536), ("1k", 1024), ("2 GiB", 2 << 30), ("7b", 7)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "-1", "1.5MiB", "1 MB!", "99999999999TiB", "18446744073709551616", "KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
