//! From counts to rates: what an instance counts since it began, as what happens now.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::text::whole;
use crate::status::{Flow, Status, Traffic};

/// How many seconds the chart can go back.
pub(crate) const HISTORY: usize = 600;

/// How much of a flow's rate is what it was: enough that rows do not change places with every datagram.
const STEADY: f64 = 0.5;

/// What a flow is known by, over all sessions.
pub(crate) type Key = (String, u64);

/// Rates as of the last frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    /// All sessions together.
    pub(crate) total: Rate,
    /// Flow by flow, in bytes a second, both ways together and each by itself.
    flows: HashMap<Key, Rate>,
    /// Bytes a second taken for the other side, a second each, the latest at the end.
    pub(crate) history_out: VecDeque<u64>,
    /// Bytes a second that came from there.
    pub(crate) history_in: VecDeque<u64>,
    /// How many seconds there have been in all: by it the columns of the chart keep their seconds.
    pub(crate) seen: usize,
    /// Drops a second on the way out, by reason, where there are any.
    pub(crate) dropping_out: BTreeMap<String, f64>,
    /// Drops a second on the way in.
    pub(crate) dropping_in: BTreeMap<String, f64>,
    before: Option<Before>,
}

/// What happens in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// Datagrams out.
    pub(crate) out: f64,
    /// Datagrams in.
    pub(crate) in_: f64,
    /// Bytes out.
    pub(crate) out_bytes: f64,
    /// Bytes in.
    pub(crate) in_bytes: f64,
}

/// What was counted a frame ago.
#[derive(Clone, Debug)]
struct Before {
    pid: u32,
    uptime: f64,
    traffic: Traffic,
    flows: HashMap<Key, Traffic>,
}

impl Rates {
    /// Takes what was counted by now. The clock is the instance's own, so a frame that was late changes nothing.
    pub(crate) fn handle_frame(&mut self, status: &Status, flows: &[Flow]) {
        let counted: HashMap<_, _> = flows.iter().map(|flow| (key(flow), flow.traffic.clone())).collect();
        let now = Before { pid: status.pid, uptime: status.uptime, traffic: status.traffic.clone(), flows: counted };
        let before = self.before.take().filter(|before| before.pid == now.pid && before.uptime <= now.uptime);
        let Some(before) = before else {
            // Another process has counts of its own: nothing follows from the difference.
            *self = Self { before: Some(now), ..Self::default() };
            return;
        };
        let seconds = now.uptime - before.uptime;
        if seconds <= 0.0 {
            self.before = Some(before);
            return;
        }
        self.total = Rate::between(&before.traffic, &now.traffic, seconds);
        self.dropping_out = growth(&before.traffic.dropped_out, &now.traffic.dropped_out, seconds);
        self.dropping_in = growth(&before.traffic.dropped_in, &now.traffic.dropped_in, seconds);
        let steps = usize::try_from(whole(seconds.round())).unwrap_or(HISTORY).clamp(1, HISTORY);
        self.seen += steps;
        for (history, bytes) in
            [(&mut self.history_out, self.total.out_bytes), (&mut self.history_in, self.total.in_bytes)]
        {
            history.extend(std::iter::repeat_n(whole(bytes), steps));
            history.drain(..history.len().saturating_sub(HISTORY));
        }
        let none = Traffic::default();
        let rate = |(key, traffic): (&Key, &Traffic)| {
            let fresh = Rate::between(before.flows.get(key).unwrap_or(&none), traffic, seconds);
            let steady = self.flows.get(key).map_or(fresh, |old| old.towards(&fresh));
            (key.clone(), steady)
        };
        self.flows = now.flows.iter().map(rate).collect();
        self.before = Some(now);
    }

    /// What this flow does.
    pub(crate) fn of(&self, key: &Key) -> Rate {
        self.flows.get(key).copied().unwrap_or_default()
    }
}

impl Rate {
    /// Bytes a second, both ways together.
    pub(crate) fn bytes(&self) -> f64 {
        self.out_bytes + self.in_bytes
    }

    fn between(before: &Traffic, now: &Traffic, seconds: f64) -> Self {
        Self {
            out: per(before.out, now.out, seconds),
            in_: per(before.in_, now.in_, seconds),
            out_bytes: per(before.out_bytes, now.out_bytes, seconds),
            in_bytes: per(before.in_bytes, now.in_bytes, seconds),
        }
    }

    fn towards(&self, fresh: &Self) -> Self {
        let mix = |old: f64, new: f64| {
            let mixed = old * STEADY + new * (1.0 - STEADY);
            // Silence is shown as silence, not as ever less.
            if new == 0.0 && mixed < 1.0 { 0.0 } else { mixed }
        };
        Self {
            out: mix(self.out, fresh.out),
            in_: mix(self.in_, fresh.in_),
            out_bytes: mix(self.out_bytes, fresh.out_bytes),
            in_bytes: mix(self.in_bytes, fresh.in_bytes),
        }
    }
}

/// What a flow is known by.
pub(crate) fn key(flow: &Flow) -> Key {
    (flow.session.clone(), flow.id)
}

fn growth(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>, seconds: f64) -> BTreeMap<String, f64> {
    let grown = now
        .iter()
        .map(|(reason, count)| (reason.clone(), per(before.get(reason).copied().unwrap_or_default(), *count, seconds)));
    grown.filter(|(_, rate)| *rate > 0.0).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a rate that is shown in five columns needs no more than 52 bits")]
fn per(before: u64, now: u64, seconds: f64) -> f64 {
    now.saturating_sub(before) as f64 / seconds
}
