//! Links that are sealed end to end: keys for [`ServerOptions::seal`](crate::ServerOptions::seal) and
//! [`ClientOptions::seal`](crate::ClientOptions::seal).

use std::io;

use sudp_proto::rng::{Rng, Seed};

pub use sudp_proto::link::{ClientSeal, KeyError, Keypair, PublicKey, ServerSeal};

/// A fresh key, from the randomness of the system.
pub fn fresh() -> io::Result<Keypair> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(Keypair::draw(&mut Rng::new(&Seed(seed))))
}
