//! A session: what client and server share, on messages alone.

mod codel;
mod queue;
mod sched;
mod window;
