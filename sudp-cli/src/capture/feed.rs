//! From the tap of a client or a server to those who capture: at the side of the instance.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sudp_tokio::proto::session::{Fate, Heading, TapOptions, TapRecord};
use sudp_tokio::proto::wire::{SessionId, TunnelId};
use sudp_tokio::{Captured, Records};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::wanted::{DELIVERED, TAKEN};
use crate::instance::protocol::{Direction, Record, Wanted};

/// What a tunnel is called.
pub(crate) type Label = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// How much a tap keeps for this.
pub(crate) fn options(wanted: &Wanted) -> TapOptions {
    let snap = wanted.snap.and_then(|snap| usize::try_from(snap).ok()).unwrap_or_default();
    TapOptions { snap, records: WAITING, bytes: WAITING_BYTES }
}

/// What is wanted of what a tap sees, until nobody takes it any more or the tap ends. What finds no room is left out,
/// and counted with the next that does.
pub(crate) fn feed(
    mut records: Records,
    wanted: Wanted,
    name: impl Fn(SessionId) -> String + Send + 'static,
    label: impl Fn(TunnelId) -> Label + Send + 'static,
) -> mpsc::Receiver<Record> {
    let (tell, told) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let clock = Clock::new();
        // A tunnel is never called otherwise, and its number never belongs to another.
        let mut tunnels: HashMap<TunnelId, Option<String>> = HashMap::new();
        let (mut missed, mut turn) = (0_u64, 0_u32);
        loop {
            let captured = tokio::select! {
                captured = records.next() => captured,
                () = tell.closed() => return,
            };
            let Some(Captured { session, record }) = captured else { return };
            missed = missed.saturating_add(record.missed);
            let tunnel = match record.tunnel {
                None => None,
                Some(id) => match tunnels.get(&id) {
                    Some(known) => known.clone(),
                    None => {
                        let label = label(id).await;
                        if tunnels.len() < MOST_TUNNELS {
                            tunnels.insert(id, label.clone());
                        }
                        label
                    }
                },
            };
            let mut record = shown(&record, clock.tell(record.at), session.map(&name).unwrap_or_default(), tunnel);
            if wanted.takes(&record) {
                record.missed = missed;
                match tell.try_send(record) {
                    Ok(()) => missed = 0,
                    Err(mpsc::error::TrySendError::Full(_)) => missed = missed.saturating_add(1),
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
            // Whoever else is at home on this thread is to have their turn, however much there is to see.
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(TURN) {
                yield_now().await;
            }
        }
    });
    told
}

fn shown(record: &TapRecord, at: u64, session: String, tunnel: Option<String>) -> Record {
    Record {
        at,
        session,
        // The number of none: it is that of controls, which are no datagrams.
        flow: record.flow.map(|flow| flow.0).unwrap_or_default(),
        tunnel,
        source: record.source.as_ref().map(ToString::to_string),
        destination: record.destination.as_ref().map(ToString::to_string),
        direction: match record.heading {
            Heading::In => Direction::In,
            Heading::Out => Direction::Out,
        },
        size: u32::try_from(record.size).unwrap_or(u32::MAX),
        fate: match record.fate {
            Fate::Taken => TAKEN.to_owned(),
            Fate::Delivered => DELIVERED.to_owned(),
            Fate::Dropped(reason) => reason.as_str().to_owned(),
        },
        payload: (!record.payload.is_empty()).then(|| hex(&record.payload)),
        missed: 0,
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The time of day, by a clock that is never set.
struct Clock {
    began: Instant,
    /// That moment, in nanoseconds since 1970.
    then: u128,
}

impl Clock {
    fn new() -> Self {
        let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self { began: sudp_tokio::now(), then }
    }

    fn tell(&self, at: Instant) -> u64 {
        let (after, before) = (at.saturating_duration_since(self.began), self.began.saturating_duration_since(at));
        let time = (self.then + after.as_nanos()).saturating_sub(before.as_nanos());
        u64::try_from(time).unwrap_or(u64::MAX)
    }
}

/// Records that wait in a tap, and as many at whoever is told of them.
const WAITING: usize = 8192;
const WAITING_BYTES: usize = 8 << 20;
const MOST_TUNNELS: usize = 4096;
const TURN: u32 = 128;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bytes_become_digits() {
        assert_eq!(hex(&[0, 0x0f, 0xa5, 0xff]), "000fa5ff");
        assert_eq!(hex(&[]), "");
    }

    #[test]
    fn the_clock_goes_both_ways() {
        let clock = Clock::new();
        let now = u64::try_from(clock.then).expect("before 2554");
        assert_eq!(clock.tell(clock.began), now);
        assert_eq!(clock.tell(clock.began + Duration::from_nanos(1_500)), now + 1_500);
        assert_eq!(clock.tell(clock.began - Duration::from_micros(2)), now - 2_000);
    }
}
