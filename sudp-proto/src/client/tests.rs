//! Stories of a client and its servers, down to the byte.

mod basics;
mod crash;
mod host;
mod rig;
mod wire;

use super::*;
