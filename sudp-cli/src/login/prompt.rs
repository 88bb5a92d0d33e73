//! A password that is asked for at the terminal.

use std::io::{IsTerminal as _, stdin};

use crate::config::ClientAuth;
use crate::config::load::{Flags, Sources};
use crate::exit::{Exit, Failure, Outcome};
use crate::prompt;
use crate::status::Role;

/// Asks for the password that a client lacks, if it lacks one and somebody can be asked.
pub(crate) fn ask(sources: &Sources, flags: &mut Flags) -> Outcome {
    // What is wrong with the configuration is told by whoever uses it.
    let Ok(loaded) = sources.load(Role::Client) else { return Ok(()) };
    let ClientAuth::User { user, password: None } = &loaded.config.client.auth else { return Ok(()) };
    if stdin().is_terminal() {
        let password = prompt::typed(&format!("Password of {}: ", user.escape_debug()))?;
        if password.expose().is_empty() {
            return Err(Failure::new(Exit::Usage, "no password was typed"));
        }
        flags.set("client.auth.password", "the terminal", [password.expose()]);
    }
    Ok(())
}
