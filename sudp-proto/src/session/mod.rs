//! (being written)

mod codel;
mod queue;
mod sched;
