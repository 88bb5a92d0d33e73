//! Which flows are shown, and in which order.

use std::cmp::Ordering;

use super::rates::{Rate, key};
use crate::status::Flow;

/// What flows are sorted by: what uses most comes first, texts go from A to Z.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sort {
    /// What passes now.
    Rate,
    /// What has passed.
    Total,
    /// What waits.
    Queued,
    /// What was dropped.
    Drops,
    /// How long nothing has passed.
    Idle,
    /// For how long it is there.
    Age,
    /// Who began it.
    Source,
    /// Where it goes.
    Destination,
}

impl Sort {
    /// All of them, in the order in which a key goes through them.
    pub(crate) const ALL: [Self; 8] =
        [Self::Rate, Self::Total, Self::Queued, Self::Drops, Self::Idle, Self::Age, Self::Source, Self::Destination];

    /// What is meant, in a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Total => "total",
            Self::Queued => "queued",
            Self::Drops => "drops",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }

    /// The one after this.
    pub(crate) fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    /// The one before this.
    pub(crate) fn previous(self) -> Self {
        Self::ALL[(self as usize + Self::ALL.len() - 1) % Self::ALL.len()]
    }
}

/// The flows in this order. Those that are alike keep one order among themselves, whatever order they came in.
pub(crate) fn in_order(mut rows: Vec<(&Flow, Rate)>, sort: Sort, reversed: bool) -> Vec<(&Flow, Rate)> {
    rows.sort_by(|(one, one_rate), (other, other_rate)| {
        let order = match sort {
            Sort::Rate => other_rate.bytes().total_cmp(&one_rate.bytes()),
            Sort::Total => total(other).cmp(&total(one)),
            Sort::Queued => other.queued.cmp(&one.queued),
            Sort::Drops => drops(other).cmp(&drops(one)),
            Sort::Idle => one.idle.total_cmp(&other.idle),
            Sort::Age => other.age.total_cmp(&one.age),
            Sort::Source => text(one.source.as_deref(), other.source.as_deref()),
            Sort::Destination => text(one.destination.as_deref(), other.destination.as_deref()),
        };
        let order = if reversed { order.reverse() } else { order };
        order.then_with(|| key(one).cmp(&key(other)))
    });
    rows
}

/// Whether a flow has this in it, however letters are written.
pub(crate) fn matches(flow: &Flow, filter: &str) -> bool {
    if filter.is_empty() {
        return true;
    }
    let filter = filter.to_lowercase();
    let texts = [Some(&flow.session), flow.tunnel.as_ref(), flow.source.as_ref(), flow.destination.as_ref()];
    let mut texts = texts.into_iter().flatten().chain([&flow.class]);
    texts.any(|text| text.to_lowercase().contains(&filter)) || flow.id.to_string() == filter
}

/// What has passed, in bytes, both ways.
pub(crate) fn total(flow: &Flow) -> u64 {
    flow.traffic.out_bytes.saturating_add(flow.traffic.in_bytes)
}

/// What was dropped, both ways.
pub(crate) fn drops(flow: &Flow) -> u64 {
    let all = flow.traffic.dropped_out.values().chain(flow.traffic.dropped_in.values());
    all.fold(0, |sum, count| sum.saturating_add(*count))
}

/// What is not known comes last.
fn text(one: Option<&str>, other: Option<&str>) -> Ordering {
    one.is_none().cmp(&other.is_none()).then_with(|| one.cmp(&other))
}
