//! Which congestion control a stream has.
//!
//! Where segments are lost for reasons of their own, as on most radio, a `cubic` connection collapses and a
//! `bbr` one keeps its rate: 2 to 3.5 Mbit/s against 19 at 1 % and 50 ms. But where a queue stands, if only the
//! short one of a session's window, `bbr` sends next to nothing for 200 ms of every 10 s, to see the path
//! without it, and every flow of the session waits. So a stream begins with the one that has no such
//! pauses, and gets the other when it goes on losing segments.

use socket2::SockRef;

use super::TcpOptions;
use super::system::{self, Segments};

/// How the congestion control of streams is chosen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Congestion {
    /// What the system has by default.
    System,
    /// The one of this name, where the system has it.
    Named(String),
    /// `cubic`, and `bbr` once a stream goes on losing segments (default).
    #[default]
    Adaptive,
}

/// Watches one stream for losses.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Bytes written since it last looked.
    written: usize,
    seen: Segments,
    /// How many looks in a row found losses; none any more once something was done about it.
    lossy: Option<u32>,
}

impl Watch {
    /// Begins with a stream that was just tuned.
    pub(crate) fn begin(socket: &SockRef<'_>, options: &TcpOptions) -> Self {
        match &options.congestion {
            Congestion::System => Self::default(),
            Congestion::Named(name) => {
                system::set_congestion(socket, name);
                Self::default()
            }
            Congestion::Adaptive => {
                system::set_congestion(socket, "cubic");
                Self { lossy: Some(0), ..Self::default() }
            }
        }
    }

    /// So many bytes were written.
    pub(crate) fn on_written(&mut self, socket: &SockRef<'_>, bytes: usize) {
        self.written += bytes;
        if self.written < PERIOD {
            return;
        }
        self.written = 0;
        let Some(periods) = self.lossy else { return };
        let Some(now) = system::segments(socket) else { return };
        self.lossy = match self.judge(now, periods) {
            LOSSY => {
                system::set_congestion(socket, "bbr");
                None
            }
            periods => Some(periods),
        };
    }

    /// How many periods in a row were lossy, with the one that ends now. Losses of one or two come
    /// from the search for the path's rate, and pass.
    fn judge(&mut self, now: Segments, before: u32) -> u32 {
        let sent = now.sent.wrapping_sub(self.seen.sent);
        let lost = now.retransmitted.wrapping_sub(self.seen.retransmitted);
        self.seen = now;
        if u64::from(lost) * SHARE > u64::from(sent) { before + 1 } else { 0 }
    }
}

/// Bytes between two looks.
const PERIOD: usize = 256 << 10;
/// One segment lost of so many is too many.
const SHARE: u64 = 250;
/// Periods in a row after which a stream is lossy.
const LOSSY: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(periods: &[(u32, u32)]) -> u32 {
        let (mut watch, mut lossy, mut total) = (Watch::default(), 0, Segments::default());
        for (sent, retransmitted) in periods {
            total.sent += sent;
            total.retransmitted += retransmitted;
            lossy = watch.judge(total, lossy);
        }
        lossy
    }

    #[test]
    fn a_burst_of_losses_passes_and_a_path_that_goes_on_losing_does_not() {
        assert_eq!(judge(&[(200, 0), (300, 100), (250, 20), (200, 0)]), 0);
        assert_eq!(judge(&[(200, 0), (200, 1), (200, 1), (200, 2), (200, 1)]), LOSSY);
        assert_eq!(judge(&[(200, 2), (200, 2), (200, 2), (1_000, 1), (200, 2)]), 1);
        assert_eq!(judge(&[(0, 0)]), 0, "nothing sent, nothing lost");
    }
}
