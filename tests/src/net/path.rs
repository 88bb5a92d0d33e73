//! The way between two machines: lines, and the middleboxes between them.

use std::time::Duration;

use crate::pipe::Line;
use crate::proxy::Middlebox;

/// The way from a dialling machine to an address.
#[derive(Clone, Debug, Default)]
pub struct Path {
    /// From the dialling machine to the first middlebox, or all the way.
    pub near: Hop,
    /// Middleboxes in order, each with the hop behind it.
    pub boxes: Vec<(Middlebox, Hop)>,
}

impl Path {
    /// A path without middleboxes, alike in both directions.
    pub fn direct(line: &Line) -> Self {
        Self { near: Hop::both(line), boxes: Vec::new() }
    }

    /// This path with one more middlebox, and the hop behind it.
    pub fn through(mut self, middlebox: Middlebox, behind: Hop) -> Self {
        self.boxes.push((middlebox, behind));
        self
    }

    /// How long a SYN and its answer travel.
    pub fn round_trip(&self) -> Duration {
        self.hops().map(|hop| hop.up.latency + hop.down.latency).sum()
    }

    pub(crate) fn hops(&self) -> impl Iterator<Item = &Hop> {
        std::iter::once(&self.near).chain(self.boxes.iter().map(|(_, hop)| hop))
    }
}

/// Two lines, one for each direction.
#[derive(Clone, Debug, Default)]
pub struct Hop {
    /// From the dialling side.
    pub up: Line,
    /// To the dialling side.
    pub down: Line,
}

impl Hop {
    /// The same line in both directions.
    pub fn both(line: &Line) -> Self {
        Self { up: line.clone(), down: line.clone() }
    }
}
