//! A key, and a certificate for it that clients accept: for servers that no public authority knows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use serde::Serialize;
use sudp_tokio::tls::Pin;

use crate::args::Output;
use crate::args::cert::CertArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::run::echo::say;

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    schema: u32,
    cert: PathBuf,
    key: PathBuf,
    /// The last day, in UTC.
    until: String,
    pin: String,
    names: Vec<String>,
}

/// Makes what is asked for, and says how to use it.
pub(crate) fn run(args: &CertArgs) -> Outcome {
    let names = args.names.iter().map(|name| host(name)).collect::<Outcome<Vec<_>>>()?;
    let (cert, key) = (args.out.join("cert.pem"), args.out.join("key.pem"));
    fs::create_dir_all(&args.out).map_err(|error| cannot("make the folder", &args.out, &error))?;
    let pair = if args.renew { read(&key)? } else { generate()? };
    let mut kept = if args.renew { vec![] } else { vec![&cert, &key] };
    kept.retain(|file| !args.force && fs::symlink_metadata(file).is_ok());
    if let Some(file) = kept.first() {
        return Err(exists(file));
    }

    let (made, until) = certificate(&names, args.days, &pair)?;
    let pin = Pin::of(made.der()).map_err(|error| internal(&error))?;
    // The key goes first: without it the certificate would be of no use.
    let overwrites = args.force || args.renew;
    if !args.renew {
        write(&key, &pair.serialize_pem(), SECRET, overwrites)?;
    }
    if let Err(failure) = write(&cert, &made.pem(), PUBLIC, overwrites) {
        if !overwrites {
            // Nothing is left half made; what cannot be removed is told by the next try.
            let _ = fs::remove_file(&key);
        }
        return Err(failure);
    }
    let made = Made { schema: 1, cert, key, until, pin: pin.to_string(), names };
    match args.output {
        Output::Text => tell(&made, args.renew),
        Output::Json => say(format_args!("{}", serde_json::to_string(&made).map_err(|error| internal(&error))?)),
    }
    Ok(())
}

fn tell(made: &Made, renewed: bool) {
    let Made { cert, key, until, pin, names, .. } = made;
    let (cert, key) = (cert.display(), key.display());
    let kept = if renewed { "its key, as it was" } else { "its key, which only you can read" };
    say(format_args!("{cert}  the certificate, for {}, until {until}", names.join(" and ")));
    say(format_args!("{key}  {kept}"));
    say(format_args!("{pin}  the pin of that key"));
    say(format_args!("\nOn the server, which lets in everybody who reaches it, but only to its own port 5006:\n"));
    say(format_args!(
        "  sudp server --listen 0.0.0.0:8443 --anonymous --allow 127.0.0.1:5006 \\\n    --tls-cert {cert} --tls-key {key}"
    ));
    let host = if names[0].contains(':') { format!("[{}]", names[0]) } else { names[0].replace('*', "www") };
    say(format_args!("\nOn the client, which trusts this key and no other:\n"));
    say(format_args!("  sudp client wss://{host}:8443 -L 5005:127.0.0.1:5006 \\\n    --tls-pin {pin}"));
    say(format_args!("\nOr with a copy of the certificate (never of the key) instead of the pin:\n"));
    say(format_args!("  sudp client wss://{host}:8443 -L 5005:127.0.0.1:5006 --tls-ca cert.pem"));
}

fn certificate(names: &[String], days: u16, pair: &KeyPair) -> Outcome<(rcgen::Certificate, String)> {
    let mut params = CertificateParams::new(names).map_err(|error| internal(&error))?;
    params.distinguished_name.push(DnType::CommonName, names[0].as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| internal(&error))?;
    let epoch = date_time_ymd(1970, 1, 1);
    // A client whose clock is a little slow is no reason for trouble.
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + DAY * days.into();
    let until = params.not_after.date().to_string();
    Ok((params.self_signed(pair).map_err(|error| internal(&error))?, until))
}

fn generate() -> Outcome<KeyPair> {
    KeyPair::generate().map_err(|error| internal(&error))
}

fn read(key: &Path) -> Outcome<KeyPair> {
    let text = fs::read_to_string(key).map_err(|error| {
        let why = format!("cannot read {}: {error}; there is no key to renew with, leave out --renew", key.display());
        Failure::new(Exit::Failed, why)
    })?;
    KeyPair::from_pem(&text).map_err(|error| {
        let why = format!("the key in {} cannot be used ({error}); make a new one with --force", key.display());
        Failure::new(Exit::Failed, why)
    })
}

/// A name or an address, as a certificate takes it.
fn host(text: &str) -> Outcome<String> {
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let part =
        |part: &str| (1..=63).contains(&part.len()) && letters(part) && !part.starts_with('-') && !part.ends_with('-');
    // What looks like an address and is none is no name either.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    let fits = name.len() <= 253 && !numeric && name.strip_prefix("*.").unwrap_or(&name).split('.').all(part);
    if fits {
        return Ok(name);
    }
    let why = format!(
        "--name {text:?} is neither a host name nor an address; write it without scheme, port and path, as host.example, \
         192.168.1.10 or 2001:db8::1"
    );
    Err(Failure::new(Exit::Usage, why))
}

/// Writes a file as a whole, or not at all.
fn write(path: &Path, text: &str, mode: u32, overwrites: bool) -> Outcome {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let placed = create(&beside, mode).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link does not replace what is there, whoever put it there meanwhile.
        if overwrites { fs::rename(&beside, path) } else { fs::hard_link(&beside, path) }
    });
    // Renamed, it is not there any more.
    let _ = fs::remove_file(&beside);
    placed.map_err(|error| {
        let there = error.kind() == io::ErrorKind::AlreadyExists;
        if there { exists(path) } else { cannot("write", path, &error) }
    })
}

#[cfg(unix)]
fn create(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path, _mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn exists(file: &Path) -> Failure {
    let why = format!(
        "{} exists already; write to another folder with --out, keep the key and its pin with --renew, or overwrite \
         both with --force",
        file.display()
    );
    Failure::new(Exit::CannotCreate, why)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    let why = format!("cannot {what} {}: {error}; choose another folder with --out", path.display());
    Failure::new(Exit::CannotCreate, why)
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, format!("the certificate cannot be made: {error}"))
}

const DAY: Duration = Duration::from_secs(86_400);
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_and_nothing_else() {
        let good = [
            ("host.example", "host.example"),
            ("Host.Example.", "host.example"),
            ("*.example", "*.example"),
            ("localhost", "localhost"),
            ("192.168.1.10", "192.168.1.10"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("::1", "::1"),
        ];
        for (text, taken) in good {
            assert_eq!(host(text).unwrap(), taken);
        }
        let long = "a".repeat(64);
        let bad = [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "wss://host",
            "host:443",
            "host/path",
            "1.2.3",
            "*.*.a",
            "é.example",
            &long,
        ];
        for text in bad {
            let failure = host(text).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(&format!("{text:?}")), "{}", failure.message);
        }
    }
}
