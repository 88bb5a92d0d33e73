//! Stories of one session, told on messages.

mod attach;
mod choke;
mod freeze;
mod greedy;
mod hostile;
mod judged;
mod late;
mod links;
mod loss;
mod pair;
mod poison;
mod sources;
mod stories;
mod tap;
mod tunnels;
mod watch;
