//! Stories of one session, told on messages.

mod attach;
mod freeze;
mod greedy;
mod hostile;
mod pair;
mod stories;
