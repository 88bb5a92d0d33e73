//! Stories of a client and its servers, down to the byte.

mod basics;
mod crash;
mod credentials;
mod failures;
mod host;
mod hostile;
mod links;
mod refusals;
mod rig;
#[cfg(feature = "seal")]
mod sealed;
mod takeovers;
mod wire;

use super::*;
use crate::access::Pool;
use crate::config::Limits;
use crate::config::client::{Scheme, ServerConfig};
use crate::rng::Seed;
