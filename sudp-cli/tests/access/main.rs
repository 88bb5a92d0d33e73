//! Who is let in, and to what: servers and clients as processes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod creds;
mod grants;
mod guard;
mod ident;
#[expect(dead_code, reason = "of what moves processes, not all is needed here")]
#[path = "../run/rig.rs"]
mod rig;
mod seal;
