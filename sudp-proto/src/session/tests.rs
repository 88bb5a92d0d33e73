//! Stories of one session, told on messages.

mod attach;
mod freeze;
mod pair;
mod stories;
