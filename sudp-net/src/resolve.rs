//! Names: looked up by the runtime, never on the way of data, and remembered for a moment.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::runtime::Runtime;
use crate::{clock, lock};

/// What names meant a moment ago; many tasks share it.
///
/// The system's resolver does not say how long an answer may be kept. A few seconds spare it the flood of
/// flows that want one name at once, and no rule relies on it: whatever comes out is judged each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<BTreeMap<Box<str>, Known>>>);

#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    until: Instant,
}

/// A lookup that may still be under way.
#[derive(Debug, Default)]
pub(crate) struct Lookup(Arc<Mutex<Option<io::Result<Vec<SocketAddr>>>>>);

impl Names {
    /// What is known of a host, which may be an address.
    pub(crate) fn get(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(vec![SocketAddr::new(address, port)]);
        }
        let known = lock(&self.0);
        let known = known.get(host).filter(|known| clock::now() < known.until)?;
        Some(known.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
    }

    /// Begins to look a name up; `bell` rings when there is an answer.
    pub(crate) fn look_up<R: Runtime>(&self, runtime: &R, host: &str, port: u16, bell: Waker) -> Lookup {
        let (lookup, names) = (Lookup::default(), self.clone());
        let (answer, host) = (Arc::clone(&lookup.0), Box::<str>::from(host));
        let asked = runtime.clone().lookup(host.clone(), port);
        runtime.spawn(async move {
            let found = asked.await;
            if let Ok(found) = &found {
                names.learn(host, found);
            }
            *lock(&answer) = Some(found);
            bell.wake();
        });
        lookup
    }

    fn learn(&self, host: Box<str>, found: &[SocketAddr]) {
        let (mut names, now) = (lock(&self.0), clock::now());
        if names.len() >= NAMES {
            names.retain(|_, known| now < known.until);
        }
        if names.len() < NAMES {
            let addresses = found.iter().take(ADDRESSES).map(SocketAddr::ip).collect();
            names.insert(host, Known { addresses, until: now + KEPT });
        }
    }
}

impl Lookup {
    /// The answer, once there is one.
    pub(crate) fn take(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        let mut found = lock(&self.0).take()?;
        if let Ok(found) = &mut found {
            found.truncate(ADDRESSES);
        }
        Some(found)
    }
}

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(5);
/// Names remembered at a time.
const NAMES: usize = 1_024;
/// Addresses taken of one name.
const ADDRESSES: usize = 32;
