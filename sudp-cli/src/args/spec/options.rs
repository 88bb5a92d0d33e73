//! What stands behind the question mark of a spec.

use std::fmt;
use std::time::Duration;

use sudp_tokio::proto::session::{InDoubt, Treatment};
use sudp_tokio::proto::wire::Class;

use super::{TIMEOUT_MAX, TunnelSpec};

/// What the options of a spec say.
#[derive(Default)]
pub(super) struct Options {
    pub(super) name: Option<String>,
    pub(super) treatment: Treatment,
    pub(super) in_doubt: InDoubt,
}

impl Options {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (mut options, mut seen) = (Self::default(), Vec::new());
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
            let value = value.map(decode).transpose()?;
            let slot = if key == "timeout_sec" { "timeout" } else { key };
            if seen.contains(&slot) {
                return Err(format!("`{slot}` is said twice; leave one of them out"));
            }
            seen.push(slot);
            options.take(key, value.as_deref())?;
        }
        Ok(options)
    }

    fn take(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        match (key, value) {
            ("class", Some("reliable")) => self.treatment.class = Class::Reliable,
            ("class", Some("realtime")) => self.treatment.class = Class::Realtime,
            ("class", other) => return Err(wrong("class", other, "`reliable` or `realtime`")),
            ("copies", Some(text)) => {
                let copies = text.parse().ok().filter(|copies| (1..=8).contains(copies));
                self.treatment.copies = copies.ok_or_else(|| wrong("copies", value, "1 to 8"))?;
            }
            ("copies", None) => return Err(wrong("copies", None, "1 to 8")),
            ("spread", None | Some("true" | "1")) => self.treatment.spread = true,
            ("spread", Some("false" | "0")) => self.treatment.spread = false,
            ("spread", other) => return Err(wrong("spread", other, "nothing, `true` or `false`")),
            ("in_doubt", Some("drop")) => self.in_doubt = InDoubt::Drop,
            ("in_doubt", Some("resend")) => self.in_doubt = InDoubt::Resend,
            ("in_doubt", other) => return Err(wrong("in_doubt", other, "`drop` or `resend`")),
            ("timeout", Some("0")) | ("timeout_sec", Some("0")) => self.treatment.idle = TIMEOUT_MAX,
            ("timeout", Some(text)) => {
                let Ok(idle) = humantime::parse_duration(text) else {
                    return Err(wrong("timeout", value, "a time with its unit, as `180s` or `3m`"));
                };
                self.treatment.idle = within(text, idle)?;
            }
            ("timeout_sec", Some(text)) => {
                let Ok(seconds) = text.parse() else {
                    return Err(wrong("timeout_sec", value, "a number of seconds, as `180`"));
                };
                self.treatment.idle = within(text, Duration::from_secs(seconds))?;
            }
            ("timeout" | "timeout_sec", None) => return Err(wrong(key, None, "a time, as in `timeout=180s`")),
            ("name", Some(name)) if is_name(name) => self.name = Some(name.into()),
            ("name", other) => {
                return Err(wrong("name", other, "1 to 64 characters, of which none is a control character"));
            }
            (other, _) => {
                return Err(format!(
                    "there is no option `{}`; there are class, copies, spread, in_doubt, timeout and name",
                    other
                ));
            }
        }
        Ok(())
    }
}

/// Writes the options that are not the usual ones.
pub(super) fn write(spec: &TunnelSpec, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let usual = Treatment::default();
    let Treatment { class, copies, spread, idle } = spec.treatment;
    let mut options = Vec::new();
    if class != usual.class {
        options.push(format!("class={}", class_name(class)));
    }
    if copies != usual.copies {
        options.push(format!("copies={copies}"));
    }
    if spread {
        options.push("spread".into());
    }
    if spec.in_doubt == InDoubt::Resend {
        options.push("in_doubt=resend".into());
    }
    if idle == TIMEOUT_MAX {
        options.push("timeout=0".into());
    } else if idle.subsec_millis() != 0 {
        options.push(format!("timeout={}ms", idle.as_millis()));
    } else if idle != usual.idle {
        options.push(format!("timeout={}s", idle.as_secs()));
    }
    if let Some(name) = &spec.name {
        options.push(format!("name={}", encode(name)));
    }
    for (index, option) in options.iter().enumerate() {
        write!(f, "{}{option}", if index == 0 { '?' } else { '&' })?;
    }
    Ok(())
}

/// What a class is called.
pub(crate) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Reliable => "reliable",
        Class::Realtime => "realtime",
        Class::Control => "control",
    }
}

fn wrong(key: &str, value: Option<&str>, allowed: &str) -> String {
    match value {
        Some(value) => format!("`{key}={}` cannot be; allowed is {allowed}", value),
        None => format!("`{key}` has no value; allowed is {allowed}"),
    }
}

fn within(text: &str, idle: Duration) -> Result<Duration, String> {
    // The wire counts milliseconds.
    let idle = Duration::from_millis(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
    if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&idle) {
        Ok(idle)
    } else {
        Err(format!("a timeout of `{text}` cannot be; allowed is 1s to 24h, or 0 for never"))
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// What `%XX` stands for.
fn decode(text: &str) -> Result<String, String> {
    let wrong = || format!("`{}` has a `%` that no byte in hexadecimal follows, as in `%20`", text);
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(wrong)?;
        let proper = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(proper.then(|| u8::from_str_radix(digits, 16).ok()).flatten().ok_or_else(wrong)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn encode(text: &str) -> String {
    let plain = |character: char| !character.is_whitespace() && !"%&#?\"'`\\".contains(character);
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if plain(character) {
            encoded.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

const TIMEOUT_MIN: Duration = Duration::from_secs(1);
