//! How clients show who they are: what is configured of it, and whether it can be used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Server;
use super::check::Reader;
use crate::access::records::{self, Record};
use crate::access::tokens::Token;
use crate::access::users::User;

/// What clients show of themselves, and what that is checked against.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auth {
    /// The file of users and their passwords.
    pub(crate) users: Option<PathBuf>,
    /// The file of tokens.
    pub(crate) tokens: Option<PathBuf>,
    /// How long the tickets of those who were let in are good; without it, there are none.
    pub(crate) tickets: Option<Duration>,
}

impl Auth {
    /// Whether clients are asked who they are.
    pub(crate) fn asks(&self) -> bool {
        self.users.is_some() || self.tokens.is_some()
    }
}

/// Reads what is configured.
pub(super) fn auth(reader: &mut Reader<'_>) -> Auth {
    Auth {
        users: reader.file("server.auth.users"),
        tokens: reader.file("server.auth.tokens"),
        tickets: reader.time("server.auth.tickets"),
    }
}

/// Whether each source that is named can be used, and who could come in at all.
pub(super) fn check(reader: &mut Reader<'_>, server: &Server) {
    if let Some(users) = &server.auth.users {
        file::<User>(reader, "server.auth.users", users, "sudp user add NAME");
    }
    if let Some(tokens) = &server.auth.tokens {
        file::<Token>(reader, "server.auth.tokens", tokens, "sudp token new NAME");
    }
}

/// Whether a file of records can be used. One without any lets nobody in, which nobody means.
fn file<R: Record>(reader: &mut Reader<'_>, key: &str, path: &Path, way: &str) {
    match records::load::<R>(path) {
        Ok(table) if table.is_empty() => {
            let shown = path.display();
            reader.blame(key, format!("{shown} has no {}: add one by `{way} --file {shown}`", R::SECTION));
        }
        Ok(_) => {}
        Err(problems) => {
            // Which key names a file is told where nothing in it can be.
            problems.into_iter().for_each(|problem| reader.blame(key, problem));
        }
    }
}
