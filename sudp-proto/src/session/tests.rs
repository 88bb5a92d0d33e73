//! Stories of one session, told on messages.

mod attach;
mod choke;
mod freeze;
mod greedy;
mod hold;
mod hostile;
mod judged;
mod late;
mod links;
mod loss;
mod memory;
mod pair;
mod poison;
mod sources;
mod stories;
mod tap;
mod tunnels;
mod watch;
mod ways;
