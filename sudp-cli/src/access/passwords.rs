//! Passwords: which are good enough, how they are hashed, and how many are checked at a time.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::secret::Secret;
use super::users::User;
use super::{Why, base64};
use crate::exit::{Exit, Failure, Outcome};
use crate::run::lock;

/// Checks passwords: a few at a time, and those that were right a moment ago without any effort.
///
/// Each check costs 19 MiB and some 20 ms of a processor. That is what protects a stolen file, and what a stranger must
/// not be able to make us spend without end.
#[derive(Debug)]
pub(crate) struct Passwords {
    free: Arc<Semaphore>,
    desks: Arc<Mutex<Vec<Desk>>>,
    waiting: AtomicUsize,
    recent: Mutex<Recent>,
}

impl Passwords {
    /// Nobody has shown anything yet.
    pub(crate) fn new() -> Outcome<Self> {
        let recent = Mutex::new(Recent { key: random::<32>()?, right: HashMap::new() });
        let (free, desks) = (Arc::new(Semaphore::new(AT_A_TIME)), Arc::default());
        Ok(Self { free, desks, waiting: AtomicUsize::new(0), recent })
    }

    /// Whether this is the password of this user. Where there is no such user, it takes as long to say so.
    pub(crate) async fn check(&self, name: &str, user: Option<&User>, password: &Secret) -> Result<(), Why> {
        let proof = lock(&self.recent).proof(name, user, password);
        let known = lock(&self.recent).knows(&proof, Instant::now());
        let right = match known {
            true => true,
            false => self.hash(user.map_or(NOBODY, |user| &user.hash), password).await?,
        };
        let Some(user) = user else { return Err(Why::UnknownUser) };
        if !right {
            return Err(Why::WrongPassword(name.to_owned()));
        }
        lock(&self.recent).remember(proof, Instant::now());
        if user.disabled { Err(Why::Disabled(name.to_owned())) } else { Ok(()) }
    }

    /// Checks it on another thread, as soon as one is free.
    async fn hash(&self, hash: &str, password: &Secret) -> Result<bool, Why> {
        let Some(_queued) = Queued::enter(&self.waiting) else { return Err(Why::Busy) };
        // It is held by the thread that works, also when nobody waits for it any more.
        let free = Arc::clone(&self.free).acquire_owned().await.map_err(|_| Why::Busy)?;
        let (hash, password, desks) = (hash.to_owned(), password.clone(), Arc::clone(&self.desks));
        let checked = spawn_blocking(move || {
            let _free = free;
            let mut desk = lock(&desks).pop().unwrap_or_default();
            let right = desk.matches(&hash, &password);
            lock(&desks).push(desk);
            right
        });
        checked.await.map_err(|_| Why::Busy)
    }
}

/// The memory that a check takes, once there was one. What is given back for each would stay with the allocator, once
/// more for every thread that has ever checked.
#[derive(Default)]
struct Desk(Vec<Block>);

impl Desk {
    /// Whether a hash is of this password.
    fn matches(&mut self, hash: &str, password: &Secret) -> bool {
        let Ok(PasswordHash { salt: Some(salt), hash: Some(hash), .. }) = PasswordHash::new(hash) else { return false };
        let argon2 = usual();
        self.0.resize(argon2.params().block_count(), Block::new());
        let mut made = [0; Params::DEFAULT_OUTPUT_LEN];
        let hashed = argon2.hash_password_into_with_memory(password.expose().as_bytes(), &salt, &mut made, &mut self.0);
        hashed.is_ok() && verify_slices_are_equal(&made, hash.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Desk({} KiB)", self.0.len())
    }
}

/// A place in the queue, given back when it is dropped.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(place)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Passwords that were right a moment ago, as proofs under a key that only this process knows.
struct Recent {
    key: [u8; 32],
    right: HashMap<Proof, Instant>,
}

type Proof = [u8; 32];

impl Recent {
    fn proof(&self, name: &str, user: Option<&User>, password: &Secret) -> Proof {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let mut over = hmac::Context::with_key(&key);
        for part in [name, user.map_or("", |user| &user.hash), password.expose()] {
            over.update(&part.len().to_be_bytes());
            over.update(part.as_bytes());
        }
        let mut proof = [0; 32];
        proof.copy_from_slice(over.sign().as_ref());
        proof
    }

    fn knows(&self, proof: &Proof, now: Instant) -> bool {
        self.right.get(proof).is_some_and(|until| now < *until)
    }

    fn remember(&mut self, proof: Proof, now: Instant) {
        if self.right.len() >= REMEMBERED {
            self.right.retain(|_, until| now < *until);
        }
        // One that finds no room is checked again next time.
        if self.right.len() < REMEMBERED {
            self.right.entry(proof).or_insert(now + FRESH);
        }
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recent({})", self.right.len())
    }
}

/// What of a password is kept.
pub(crate) fn hash(password: &Secret) -> Outcome<String> {
    let hash = usual().hash_password(password.expose().as_bytes());
    let cannot = |error| Failure::new(Exit::Internal, format!("the password cannot be hashed: {error}"));
    hash.map(|hash| hash.to_string()).map_err(cannot)
}

/// Whether this is a hash as [`hash`] makes it. With other costs it would take another time to check, and tell who
/// is a user.
pub(crate) fn check_hash(text: &str) -> Result<(), String> {
    let params = |hash: &PasswordHash| hash.to_string().starts_with(PREFIX);
    let good = PasswordHash::new(text).is_ok_and(|hash| params(&hash) && hash.salt.is_some() && hash.hash.is_some());
    if good { Ok(()) } else { Err("it is no argon2id hash with m=19456,t=2,p=1; make it by `sudp user passwd`".into()) }
}

/// A password that nobody guesses, of 144 bits.
pub(crate) fn generate() -> Outcome<Secret> {
    random::<18>().map(|bytes| Secret::new(base64::encode_url(&bytes)))
}

/// Randomness of the system's.
pub(crate) fn random<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    let cannot = |error| Failure::new(Exit::Temporary, format!("the system gives no randomness: {error}"));
    getrandom::fill(&mut bytes).map_err(cannot)?;
    Ok(bytes)
}

/// Why a password is too easy to guess, if it is.
pub(crate) fn weakness(name: &str, password: &Secret) -> Option<String> {
    let text = password.expose();
    let lower = text.to_lowercase();
    let several = lower.chars().collect::<HashSet<_>>().len();
    let runs = lower.as_bytes().windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    let core = lower.trim_matches(|it: char| !it.is_alphabetic());
    let way = "; take several words, or let one be made by --generate";
    if text.chars().any(char::is_control) {
        return Some("it has characters that no header can carry".into());
    }
    if text.len() > LONGEST {
        return Some(format!("it has more than {LONGEST} bytes"));
    }
    let length = text.chars().count();
    if length < SHORTEST {
        return Some(format!("it has {length} characters, and {SHORTEST} are the least{way}"));
    }
    if several < 5 {
        return Some(format!("it has only {several} different characters{way}"));
    }
    if runs * 2 > lower.len() {
        return Some(format!("it goes along the alphabet, or repeats itself{way}"));
    }
    if name.len() > 2 && lower.contains(&name.to_lowercase()) && length < name.len() + SHORTEST {
        return Some(format!("it has the name of the user in it{way}"));
    }
    if text.chars().all(|it| it.is_ascii_digit()) && length < 20 {
        return Some(format!("it has nothing but digits{way}"));
    }
    if COMMON.iter().any(|common| core.strip_prefix(common).is_some_and(|rest| rest.len() < 5)) {
        return Some(format!("it is one of those that are tried first{way}"));
    }
    None
}

fn usual() -> Argon2<'static> {
    let params = Params::new(19_456, 2, 1, None).expect("they are those that OWASP names");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

const PREFIX: &str = "$argon2id$v=19$m=19456,t=2,p=1$";
/// The hash of nobody's password, checked where there is no user.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c3VkcC1ub2JvZHktaXM$2sKN1h0uRFRW0T2vlb2G2YdY9TqF4nGJt3Hk1b2kXxw";
/// How many are checked at a time: two take 38 MiB, and leave a small machine its other work.
const AT_A_TIME: usize = 2;
/// How many wait for that, at work included.
const WAITING: usize = 64;
/// How many that were right are remembered, and for how long: a client that dials its links needs no more.
const REMEMBERED: usize = 1_024;
const FRESH: Duration = Duration::from_secs(10);
const SHORTEST: usize = 12;
const LONGEST: usize = 512;
/// What guessers try first, long enough to be taken otherwise.
const COMMON: [&str; 16] = [
    "administrator",
    "changeme",
    "correcthorsebatterystaple",
    "dragon",
    "football",
    "iloveyou",
    "letmein",
    "monkey",
    "password",
    "passwort",
    "princess",
    "qwertyuiop",
    "qwertzuiop",
    "sunshine",
    "superman",
    "welcome",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn user(password: &str) -> User {
        User::new(hash(&Secret::new(password)).expect("it is hashed"), Vec::new())
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn a_password_is_right_or_wrong_and_nobody_has_none() {
        let (passwords, alice) = (Passwords::new().expect("random"), user("correct horse"));
        let check = |user: Option<&User>, password: &str| run(passwords.check("alice", user, &Secret::new(password)));
        assert_eq!(check(Some(&alice), "correct horse"), Ok(()));
        assert_eq!(check(Some(&alice), "correct horse "), Err(Why::WrongPassword("alice".into())));
        assert_eq!(check(None, "correct horse"), Err(Why::UnknownUser));
        let disabled = User { disabled: true, ..alice };
        assert_eq!(check(Some(&disabled), "correct horse"), Err(Why::Disabled("alice".into())));
        assert_eq!(check(Some(&disabled), "wrong"), Err(Why::WrongPassword("alice".into())));
    }

    #[test]
    fn checks_take_turns_at_the_memory_of_a_few() {
        let (passwords, alice) = (Passwords::new().expect("random"), user("one"));
        let wrong = Err(Why::WrongPassword("alice".into()));
        let guess = &|number: usize| run(passwords.check("alice", Some(&alice), &Secret::new(number.to_string())));
        std::thread::scope(|scope| {
            let guesses: Vec<_> = (0..12).map(|number| scope.spawn(move || guess(number))).collect();
            assert!(guesses.into_iter().all(|it| it.join().expect("it ends") == wrong));
        });
        let desks = lock(&passwords.desks);
        assert!((1..=AT_A_TIME).contains(&desks.len()), "{desks:?}");
        assert!(desks.iter().all(|desk| desk.0.len() == 19_456), "{desks:?}");
    }

    #[test]
    fn what_was_right_a_moment_ago_costs_nothing_and_a_changed_password_does_at_once() {
        let (passwords, alice) = (Passwords::new().expect("random"), user("one"));
        run(passwords.check("alice", Some(&alice), &Secret::new("one"))).expect("it is right");
        let free = passwords.free.clone().try_acquire_many_owned(u32::try_from(AT_A_TIME).expect("few")).expect("idle");
        // No thread is free, so this must have been remembered.
        run(passwords.check("alice", Some(&alice), &Secret::new("one"))).expect("it still is");
        drop(free);
        let changed = user("two");
        let why = run(passwords.check("alice", Some(&changed), &Secret::new("one"))).expect_err("it is not any more");
        assert_eq!(why, Why::WrongPassword("alice".into()));
    }

    #[test]
    fn what_was_right_is_forgotten_after_a_while_and_room_is_bounded() {
        let (now, mut recent) = (Instant::now(), Recent { key: [7; 32], right: HashMap::new() });
        let proof = |number: usize| recent_proof(number);
        (0..2 * REMEMBERED).for_each(|number| recent.remember(proof(number), now));
        assert_eq!(recent.right.len(), REMEMBERED);
        assert!(recent.knows(&proof(0), now) && !recent.knows(&proof(REMEMBERED), now));
        assert!(!recent.knows(&proof(0), now + FRESH));
        recent.remember(proof(REMEMBERED), now + FRESH);
        assert!(recent.knows(&proof(REMEMBERED), now + FRESH));
    }

    fn recent_proof(number: usize) -> Proof {
        let mut proof = [0; 32];
        proof[..8].copy_from_slice(&number.to_be_bytes());
        proof
    }

    #[test]
    fn who_finds_the_queue_full_is_refused_and_nobody_else_is() {
        let (passwords, alice) = (Passwords::new().expect("random"), user("one"));
        passwords.waiting.store(WAITING, Ordering::Relaxed);
        assert_eq!(run(passwords.check("alice", Some(&alice), &Secret::new("one"))), Err(Why::Busy));
        assert_eq!(run(passwords.check("nobody", None, &Secret::new("one"))), Err(Why::Busy));
        assert_eq!(passwords.waiting.load(Ordering::Relaxed), WAITING, "who is refused takes no place");
        passwords.waiting.store(WAITING - 1, Ordering::Relaxed);
        assert_eq!(run(passwords.check("alice", Some(&alice), &Secret::new("one"))), Ok(()));
    }

    /// T11, as dudect does it: two classes in random order, the slowest left out, and how far apart their means are.
    #[test]
    #[ignore = "it takes minutes, and a machine that does nothing else; SUDP_SAMPLES=100000 for all of it"]
    fn t11_nobody_can_tell_by_the_time_whether_there_is_such_a_user() {
        let samples = std::env::var("SUDP_SAMPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_usize);
        let (passwords, alice, wrong) = (Passwords::new().expect("random"), user("one"), Secret::new("two"));
        let mut times = [Vec::new(), Vec::new()];
        while times.iter().any(|times: &Vec<f64>| times.len() < samples) {
            let class = usize::from(random::<1>().expect("random")[0] & 1);
            let user = [None, Some(&alice)][class];
            let began = Instant::now();
            run(passwords.check("alice", user, &wrong)).expect_err("it is wrong");
            times[class].push(began.elapsed().as_secs_f64());
        }
        let [one, other] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times.truncate(times.len() * 9 / 10);
            let count = f64::from(u32::try_from(times.len()).expect("few"));
            let mean = times.iter().sum::<f64>() / count;
            let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
            (mean, variance / count)
        });
        let t = (one.0 - other.0) / (one.1 + other.1).sqrt();
        eprintln!("nobody {:.6} s, somebody {:.6} s, t = {t:.2}", one.0, other.0);
        assert!(t.abs() < 4.5, "t = {t}");
    }

    #[test]
    fn nobody_has_a_hash_that_costs_what_others_do() {
        assert_eq!(check_hash(NOBODY), Ok(()));
        assert_eq!(check_hash(&user("x").hash), Ok(()));
        assert!(!Desk::default().matches(NOBODY, &Secret::new("")));
    }

    #[test]
    fn hashes_of_other_kinds_and_costs_are_refused() {
        for bad in [
            "",
            "plain",
            "$2y$10$abcdefghijklmnopqrstuv",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1$c3VkcC1ub2JvZHktaXM",
            "$argon2i$v=19$m=19456,t=2,p=1$c3VkcC1ub2JvZHktaXM$2sKN1h0uRFRW0T2vlb2G2YdY9TqF4nGJt3Hk1b2kXxw",
            "$argon2id$v=19$m=4096,t=2,p=1$c3VkcC1ub2JvZHktaXM$2sKN1h0uRFRW0T2vlb2G2YdY9TqF4nGJt3Hk1b2kXxw",
            "$argon2id$v=19$m=1048576,t=9,p=1$c3VkcC1ub2JvZHktaXM$2sKN1h0uRFRW0T2vlb2G2YdY9TqF4nGJt3Hk1b2kXxw",
        ] {
            assert!(check_hash(bad).is_err_and(|what| what.contains("sudp user passwd")), "{bad}");
        }
    }

    #[test]
    fn weak_passwords_are_refused_with_the_reason_and_others_are_not() {
        for (password, reason) in [
            ("short", "5 characters"),
            ("aaaaaaaaaaaaaaaa", "different characters"),
            ("abcdefghijklmnop", "alphabet"),
            ("31415926535897", "digits"),
            ("Alice-in-wond", "name of the user"),
            ("Password2026!", "tried first"),
            ("tab\there and there", "no header"),
        ] {
            let why = weakness("alice", &Secret::new(password)).unwrap_or_else(|| panic!("{password} is weak"));
            assert!(why.contains(reason), "{password}: {why}");
        }
        for password in ["correct horse battery", "v8Q-kk_2mPz0s", "Alice saw a white rabbit"] {
            assert_eq!(weakness("alice", &Secret::new(password)), None, "{password}");
        }
        let made = generate().expect("random");
        assert_eq!((made.expose().len(), weakness("alice", &made)), (24, None));
    }
}
