//! Tickets: what a client was given by a server that knew it, so that it need not be found out once more who it is.
//!
//! A ticket says who its bearer is and how that was found out, under a key that only the server has: to check one
//! costs a few microseconds, where a password costs as many milliseconds and megabytes. It is no more than that. What
//! its bearer may do is asked of the book when it comes, and whether it is still anybody, of the sources: a password
//! that was changed since makes it worthless.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use bytes::Bytes;
use rustix::fs::OFlags;
use sudp_tokio::proto::wire::MAX_TICKET;
use zeroize::Zeroizing;

use super::base64;
use super::{Identity, Stamp, Via};
use crate::exit::{Exit, Failure, Outcome};
use crate::run::lock;

/// What tickets are made and checked with.
#[derive(Debug)]
pub(crate) struct Tickets {
    /// The newest first.
    keys: Mutex<Vec<Key>>,
    /// Where they are kept.
    path: Option<PathBuf>,
}

/// A key, and what tickets name it by.
struct Key {
    id: [u8; 4],
    key: hmac::Key,
    words: Zeroizing<[u8; 32]>,
    since: SystemTime,
}

/// A ticket that is not good. It is no guess at a secret, so nobody is punished for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Worthless {
    /// It is too old, or what it stands for is.
    Old,
    /// It was not made here, or by a key that is forgotten.
    Foreign,
}

impl Tickets {
    /// Those of the keys in this file, which is made if it is not there: a server that comes back takes the tickets of
    /// its predecessor.
    pub(crate) fn load(path: &Path) -> Outcome<Self> {
        let keys = match read(path) {
            Ok(keys) => keys,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(cannot("read", path, format!("{error}; remove the file, and tickets begin anew")));
            }
        };
        let tickets = Self { keys: Mutex::new(keys), path: Some(path.to_owned()) };
        tickets.turn(SystemTime::now()).map(|()| tickets)
    }

    /// Those of a key that nobody else ever has.
    pub(crate) fn passing() -> Outcome<Self> {
        let tickets = Self { keys: Mutex::default(), path: None };
        tickets.turn(SystemTime::now()).map(|()| tickets)
    }

    /// Begins to use another key when the newest has been used for long enough. Tickets of the one before are good yet.
    pub(crate) fn turn(&self, now: SystemTime) -> Outcome {
        let mut keys = lock(&self.keys);
        // A clock that went wrong once may have made one of the future.
        let old = |key: &Key| match now.duration_since(key.since) {
            Ok(age) => age >= TURN,
            Err(ahead) => ahead.duration() > 2 * TURN,
        };
        if keys.first().is_some_and(|key| !old(key)) {
            return Ok(());
        }
        keys.insert(0, Key::draw(now)?);
        keys.truncate(KEPT);
        let path = self.path.as_deref();
        path.map_or(Ok(()), |path| write(path, &keys).map_err(|error| cannot("written", path, error.to_string())))
    }

    /// A ticket that is good for so long, and no longer than that which it stands for. There is none for nobody, and
    /// none for those who have proved who they are below this.
    pub(crate) fn issue(&self, identity: &Identity, good_for: Duration, now: SystemTime) -> Bytes {
        let mut body = Vec::with_capacity(128);
        if put(&mut body, identity, good_for, now).is_none() {
            return Bytes::new();
        }
        let keys = lock(&self.keys);
        let Some(key) = keys.first() else { return Bytes::new() };
        let mut ticket = [&key.id[..], &body].concat();
        ticket.extend_from_slice(hmac::sign(&key.key, &ticket).as_ref());
        if ticket.len() <= MAX_TICKET { ticket.into() } else { Bytes::new() }
    }

    /// Whose ticket it is, if it is good. What became of its bearer since is for others to say.
    pub(crate) fn check(&self, ticket: &[u8], now: SystemTime) -> Result<Identity, Worthless> {
        let split = ticket.len().checked_sub(TAG).ok_or(Worthless::Foreign)?;
        let (said, tag) = ticket.split_at(split);
        let (id, body) = said.split_first_chunk::<4>().ok_or(Worthless::Foreign)?;
        let keys = lock(&self.keys);
        let key = keys.iter().find(|key| key.id == *id).ok_or(Worthless::Foreign)?;
        hmac::verify(&key.key, said, tag).map_err(|_| Worthless::Foreign)?;
        let (end, identity) = take(body).ok_or(Worthless::Foreign)?;
        let over = end <= now || identity.expires.is_some_and(|end| end <= now);
        if over { Err(Worthless::Old) } else { Ok(identity) }
    }
}

impl Key {
    fn draw(now: SystemTime) -> Outcome<Self> {
        let mut words = Zeroizing::new([0; 32]);
        let mut id = [0; 4];
        let drawn = getrandom::fill(&mut *words).and_then(|()| getrandom::fill(&mut id));
        drawn.map_err(|error| Failure::new(Exit::Temporary, format!("the system gives no random numbers: {error}")))?;
        Ok(Self::new(id, words, now))
    }

    fn new(id: [u8; 4], words: Zeroizing<[u8; 32]>, since: SystemTime) -> Self {
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, &*words), words, since }
    }
}

impl fmt::Debug for Key {
    /// Leaves out the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("since", &self.since).finish_non_exhaustive()
    }
}

fn cannot(what: &str, path: &Path, why: String) -> Failure {
    Failure::new(Exit::CannotCreate, format!("{}: the keys of tickets cannot be {what}: {why}", path.display()))
}

/// The keys in a file, the newest first: a line each, of its name, itself, and when it was made.
fn read(path: &Path) -> io::Result<Vec<Key>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.mode() & 0o077 != 0 || about.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is to be a file of this user alone (mode 0600)"));
    }
    let mut text = Zeroizing::new(String::new());
    (&mut file).take(LENGTH).read_to_string(&mut text)?;
    let line = |line: &str| -> Option<Key> {
        let mut parts = line.split(' ');
        let (id, words, since) = (parts.next()?, parts.next()?, parts.next()?);
        let id = base64::decode_url(id)?.try_into().ok()?;
        let words = Zeroizing::new(base64::decode_url(words)?);
        let words = Zeroizing::new(<[u8; 32]>::try_from(words.as_slice()).ok()?);
        Some(Key::new(id, words, UNIX_EPOCH.checked_add(Duration::from_secs(since.parse().ok()?))?))
    };
    let keys: Option<Vec<Key>> = text.lines().map(line).collect();
    keys.ok_or_else(|| io::Error::other("it is not as it was written"))
}

fn write(path: &Path, keys: &[Key]) -> io::Result<()> {
    let mut text = Zeroizing::new(String::new());
    for Key { id, words, since, .. } in keys {
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let words = Zeroizing::new(base64::encode_url(&**words));
        text.push_str(&format!("{} {} {since}\n", base64::encode_url(id), *words));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Who reads it meanwhile finds the one before, or this one, and never half of it.
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // What cannot be removed either is not read by anybody.
        let _ = fs::remove_file(&new);
    }
    written
}

fn put(out: &mut Vec<u8>, identity: &Identity, good_for: Duration, now: SystemTime) -> Option<()> {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
    let end = now.checked_add(good_for)?;
    let end = identity.expires.map_or(end, |expires| expires.min(end));
    out.push(VIAS.iter().position(|via| *via == identity.via).and_then(|at| u8::try_from(at).ok())?);
    out.extend_from_slice(&seconds(end)?.to_be_bytes());
    out.extend_from_slice(&identity.expires.map_or(Some(0), seconds)?.to_be_bytes());
    out.extend_from_slice(&identity.stamp);
    for text in [&identity.principal].into_iter().chain(&identity.groups) {
        out.push(u8::try_from(text.len()).ok()?);
        out.extend_from_slice(text.as_bytes());
    }
    Some(())
}

/// When it ends, and whose it is.
fn take(body: &[u8]) -> Option<(SystemTime, Identity)> {
    let (via, rest) = body.split_first()?;
    let (end, rest) = rest.split_first_chunk::<8>()?;
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let (stamp, mut rest) = rest.split_first_chunk::<{ size_of::<Stamp>() }>()?;
    let time = |seconds: &[u8; 8]| UNIX_EPOCH.checked_add(Duration::from_secs(u64::from_be_bytes(*seconds)));
    let mut texts = Vec::new();
    while let Some((length, behind)) = rest.split_first() {
        let (text, behind) = behind.split_at_checked(usize::from(*length))?;
        texts.push(str::from_utf8(text).ok()?.to_owned());
        rest = behind;
    }
    let mut texts = texts.into_iter();
    let identity = Identity {
        principal: texts.next()?,
        via: *VIAS.get(usize::from(*via))?,
        groups: texts.collect(),
        expires: if *expires == [0; 8] { None } else { Some(time(expires)?) },
        stamp: *stamp,
        ..Identity::default()
    };
    Some((time(end)?, identity))
}

/// What tickets stand for, by the number that says so: what costs more to check than a ticket. Others prove who they
/// are with each stream. The order is that of tickets that are out there.
const VIAS: [Via; 2] = [Via::Password, Via::Token];
/// How long a key makes tickets. No ticket is good for longer.
pub(crate) const TURN: Duration = Duration::from_secs(24 * 3_600);
/// The key that makes tickets, and the one before it.
const KEPT: usize = 2;
/// Bytes of the seal of a ticket.
const TAG: usize = 32;
/// No file of keys is longer.
const LENGTH: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn alice() -> Identity {
        Identity {
            principal: "alice".into(),
            via: Via::Password,
            groups: vec!["ops".into(), "b\u{fc}ro".into()],
            stamp: *b"stampsta",
            ..Identity::default()
        }
    }

    fn folder() -> PathBuf {
        let mut name = [0; 8];
        getrandom::fill(&mut name).expect("random numbers");
        std::env::temp_dir().join(format!("sudp-tickets-{}", base64::encode_url(&name)))
    }

    #[test]
    fn a_ticket_brings_back_who_it_was_given_to_for_its_time() {
        let (tickets, now) = (Tickets::passing().unwrap(), SystemTime::now());
        let ticket = tickets.issue(&alice(), MINUTE, now);
        assert!((64..MAX_TICKET).contains(&ticket.len()));
        assert_eq!(tickets.check(&ticket, now), Ok(alice()));
        assert_eq!(tickets.check(&ticket, now + MINUTE - Duration::from_secs(1)), Ok(alice()));
        assert_eq!(tickets.check(&ticket, now + MINUTE), Err(Worthless::Old));
        assert_eq!(Tickets::passing().unwrap().check(&ticket, now), Err(Worthless::Foreign), "of another server");
    }

    #[test]
    fn no_ticket_outlives_what_it_stands_for() {
        let (tickets, now) = (Tickets::passing().unwrap(), SystemTime::now());
        let soon = UNIX_EPOCH + Duration::from_secs(now.duration_since(UNIX_EPOCH).unwrap().as_secs() + 5);
        let ticket = tickets.issue(&Identity { expires: Some(soon), ..alice() }, MINUTE, now);
        assert_eq!(tickets.check(&ticket, now).unwrap().expires, Some(soon));
        assert_eq!(tickets.check(&ticket, soon), Err(Worthless::Old));
    }

    #[test]
    fn a_bit_that_is_changed_anywhere_or_a_byte_that_is_missing_makes_it_worthless() {
        let (tickets, now) = (Tickets::passing().unwrap(), SystemTime::now());
        let ticket = tickets.issue(&alice(), MINUTE, now);
        for bit in 0..ticket.len() * 8 {
            let mut other = ticket.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tickets.check(&other, now), Err(Worthless::Foreign), "bit {bit}");
        }
        for length in 0..ticket.len() {
            assert_eq!(tickets.check(&ticket[..length], now), Err(Worthless::Foreign), "{length} bytes");
        }
        assert_eq!(tickets.check(&[&ticket[..], b"x"].concat(), now), Err(Worthless::Foreign));
    }

    #[test]
    fn there_is_none_for_nobody_nor_for_what_does_not_fit() {
        let (tickets, now) = (Tickets::passing().unwrap(), SystemTime::now());
        assert!(tickets.issue(&Identity::default(), MINUTE, now).is_empty());
        assert!(tickets.issue(&Identity { via: Via::Certificate, ..alice() }, MINUTE, now).is_empty());
        let many = Identity { groups: vec!["group".repeat(8); 9], ..alice() };
        assert!(tickets.issue(&many, MINUTE, now).is_empty());
        assert!(tickets.issue(&Identity { principal: "a".repeat(300), ..alice() }, MINUTE, now).is_empty());
    }

    #[test]
    fn a_server_that_comes_back_takes_the_tickets_of_its_predecessor_until_their_key_is_two_turns_old() {
        let (folder, now) = (folder(), SystemTime::now());
        let path = folder.join("server.tickets");
        let ticket = Tickets::load(&path).unwrap().issue(&alice(), MINUTE, now);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Tickets::load(&path).unwrap().check(&ticket, now), Ok(alice()));
        let age = || {
            let mut keys = read(&path).unwrap();
            keys.iter_mut().for_each(|key| key.since -= TURN);
            write(&path, &keys).unwrap();
        };
        age();
        let next = Tickets::load(&path).unwrap();
        assert_eq!(next.check(&ticket, now), Ok(alice()), "by the key before");
        assert_ne!(next.issue(&alice(), MINUTE, now)[..4], ticket[..4]);
        age();
        assert_eq!(Tickets::load(&path).unwrap().check(&ticket, now), Err(Worthless::Foreign));
        // Keys that others can read are no keys.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(Tickets::load(&path).unwrap_err().to_string().contains("0600"));
        fs::write(&path, "nonsense\n").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert!(Tickets::load(&path).unwrap_err().to_string().contains("remove the file"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_server_that_runs_on_turns_to_another_key_by_itself() {
        let (folder, now) = (folder(), SystemTime::now());
        let path = folder.join("server.tickets");
        let tickets = Tickets::load(&path).unwrap();
        let ticket = tickets.issue(&alice(), 3 * TURN, now);
        tickets.turn(now + TURN / 2).unwrap();
        assert_eq!(tickets.issue(&alice(), MINUTE, now)[..4], ticket[..4], "it is too soon");
        tickets.turn(now + TURN + MINUTE).unwrap();
        assert_ne!(tickets.issue(&alice(), MINUTE, now)[..4], ticket[..4]);
        assert_eq!(tickets.check(&ticket, now), Ok(alice()));
        assert_eq!(Tickets::load(&path).unwrap().check(&ticket, now), Ok(alice()));
        tickets.turn(now + TURN * 2 + MINUTE * 2).unwrap();
        assert_eq!(tickets.check(&ticket, now), Err(Worthless::Foreign));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn keys_do_not_show() {
        let tickets = Tickets::passing().unwrap();
        let words = format!("{:?}", *lock(&tickets.keys)[0].words);
        assert!(!format!("{tickets:?}").contains(words.trim_matches(['[', ']'])));
    }
}
