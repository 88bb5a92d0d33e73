//! Stories of one session, told on messages.

mod freeze;
mod pair;
mod stories;
