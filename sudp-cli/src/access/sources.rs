//! All that credentials are checked against, as it was read last.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sudp_tokio::Visit;

use super::credential::Credential;
use super::gate::Followed;
use super::introspection::Introspection;
use super::jwt::{self, Jwt};
use super::passwords::Passwords;
use super::records::{self, Record, Table, unusable};
use super::tokens::{self, Token};
use super::users::User;
use super::{Identity, Keys, Secret, Via, Why, certificate};
use crate::config::Server as Settings;
use crate::exit::Outcome;

/// All that credentials are checked against.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// Who shows nothing is let in as anybody.
    anonymous: bool,
    users: Option<Source<User>>,
    tokens: Option<Source<Token>>,
    certificates: bool,
    keys: Option<Arc<Keys>>,
    jwt: Option<Jwt>,
    introspection: Option<Arc<Introspection>>,
}

impl Sources {
    /// Reads all that is configured; some of it knows what it knew before.
    pub(crate) fn load(settings: &Settings, before: Option<&Self>) -> Outcome<Self> {
        let auth = &settings.auth;
        let (jwt, introspection) =
            (before.and_then(|it| it.jwt.as_ref()), before.and_then(|it| it.introspection.as_ref()));
        Ok(Self {
            anonymous: settings.anonymous || !auth.asks(),
            users: auth.users.as_deref().map(Source::load).transpose()?,
            tokens: auth.tokens.as_deref().map(Source::load).transpose()?,
            certificates: auth.certificates,
            keys: auth.keys.as_deref().map(Keys::load).transpose()?.map(Arc::new),
            jwt: auth.jwt.as_ref().map(|settings| Jwt::load(settings, jwt)).transpose()?,
            introspection: auth
                .introspection
                .as_ref()
                .map(|settings| Introspection::load(settings, introspection))
                .transpose()?,
        })
    }

    /// Finds out who somebody is. What it shows and is wrong is never overlooked, whatever else would do; of several
    /// that are right, the first says who it is: its certificate, then the key it seals with, then its `Authorization`.
    pub(crate) async fn identify(&self, passwords: &Passwords, visit: &Visit) -> Result<Identity, Why> {
        let shown = visit.certificate.as_deref().filter(|_| self.certificates);
        let by_certificate = shown.map(certificate::check).transpose()?;
        // Who has no key of its own makes one up, which says nothing.
        let by_key = self.keys.as_deref().zip(visit.claim.key).and_then(|(keys, key)| keys.identify(&key));
        let shown = if self.asks() { Credential::of(&visit.claim.head)? } else { None };
        let by_credential = self.vouch(passwords, shown).await?;
        let anybody = || self.anonymous.then(Identity::default);
        by_certificate.or(by_key).or(by_credential).or_else(anybody).ok_or(Why::Nobody)
    }

    /// Finds out who somebody is by what a header would hold.
    pub(crate) async fn identify_by(&self, passwords: &Passwords, value: &str) -> Result<Identity, Why> {
        let shown = Credential::read(value.as_bytes()).ok_or(Why::Malformed)?;
        self.vouch(passwords, Some(shown)).await?.ok_or(Why::Nobody)
    }

    async fn vouch(&self, passwords: &Passwords, shown: Option<Credential>) -> Result<Option<Identity>, Why> {
        Ok(match shown {
            None => None,
            Some(Credential::Basic(name, password)) => Some(self.user(passwords, &name, &password).await?),
            Some(Credential::Bearer(token)) => Some(self.bearer(&token).await?),
        })
    }

    /// Who somebody is now that was let in before, or comes with a ticket of that time; none if it is nobody any more.
    pub(crate) fn current(&self, identity: &Identity) -> Option<Identity> {
        match identity.via {
            Via::Anonymous => self.anonymous.then(|| identity.clone()),
            Via::Password => {
                let user = self.users.as_ref()?.table.get(&identity.principal)?;
                let same = user.stamp() == identity.stamp && !user.disabled;
                same.then(|| user.identity(&identity.principal))
            }
            Via::Token => {
                let name = identity.principal.strip_prefix(tokens::PRINCIPAL)?;
                let token = self.tokens.as_ref()?.table.get(name)?;
                let same = token.stamp() == identity.stamp && !token.expired(SystemTime::now());
                same.then(|| token.identity(name))
            }
            Via::Certificate => (self.certificates && certificate::stamp(&identity.principal) == identity.stamp)
                .then(|| identity.clone()),
            Via::Jwt => (self.jwt.as_ref()?.stamp() == identity.stamp).then(|| identity.clone()),
            Via::Introspection => (self.introspection.as_ref()?.stamp() == identity.stamp).then(|| identity.clone()),
            Via::Key => self.keys.as_ref()?.knows(identity).then(|| identity.clone()),
        }
    }

    /// Reads anew what has changed; none if nothing has.
    pub(crate) fn follow(&self, followed: &mut Followed) -> Option<Self> {
        let mut sources = self.clone();
        let users = sources.users.as_mut().is_some_and(|users| users.follow(followed));
        let tokens = sources.tokens.as_mut().is_some_and(|tokens| tokens.follow(followed));
        (users || tokens).then_some(sources)
    }

    /// Whether anything is there that an `Authorization` could be checked against. If not, it is meant for a gateway
    /// in front.
    fn asks(&self) -> bool {
        self.users.is_some() || self.tokens.is_some() || self.jwt.is_some() || self.introspection.is_some()
    }

    /// Each token is judged by one alone: what one of them refuses is not tried on the next.
    async fn bearer(&self, token: &Secret) -> Result<Identity, Why> {
        let text = token.expose();
        match (&self.tokens, &self.jwt, &self.introspection) {
            (Some(tokens), _, _) if tokens::is_ours(text) => tokens::check(&tokens.table, token, SystemTime::now()),
            (_, Some(jwt), _) if jwt::is_one(text) => Ok(jwt.check(token).await?),
            (_, _, Some(introspection)) => introspection.check(token).await,
            (_, Some(_), None) => Err(Why::Malformed),
            (_, None, None) => Err(Why::Unsupported),
        }
    }

    async fn user(&self, passwords: &Passwords, name: &str, password: &Secret) -> Result<Identity, Why> {
        let users = self.users.as_ref().ok_or(Why::Unsupported)?;
        let user = users.table.get(name);
        passwords.check(name, user, password).await?;
        user.map(|user| user.identity(name)).ok_or(Why::UnknownUser)
    }
}

/// A file of records that is followed.
#[derive(Clone, Debug)]
struct Source<R> {
    path: PathBuf,
    /// What the file was when it was read last, used or not.
    seen: Option<Seen>,
    /// What it is becoming, if somebody writes into it.
    growing: Option<Seen>,
    table: Arc<Table<R>>,
}

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Seen {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            inode: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl<R: Record> Source<R> {
    fn load(path: &Path) -> Outcome<Self> {
        // A change between the two is seen by the next look.
        let seen = Seen::of(path);
        let table = records::load(path).map_err(|problems| unusable(&problems))?;
        Ok(Self { path: path.to_owned(), seen, growing: None, table: Arc::new(table) })
    }

    /// Reads it anew if it has changed. One that cannot be used leaves all as it was, and is told of once.
    fn follow(&mut self, followed: &mut Followed) -> bool {
        let seen = Seen::of(&self.path);
        if seen == self.seen {
            return false;
        }
        // One that was put in place of another is whole. Into one that stays, somebody may still write; half of it
        // would have half of the users.
        let replaced = seen.map(|it| it.inode) != self.seen.map(|it| it.inode);
        if !replaced && self.growing != seen {
            self.growing = seen;
            return true;
        }
        self.seen = seen;
        match records::load(&self.path) {
            Ok(table) => {
                self.table = Arc::new(table);
                followed.changed = true;
            }
            Err(problems) => followed.trouble.push(trouble(&unusable(&problems))),
        }
        // What was seen is to be remembered in either case.
        true
    }
}

fn trouble(why: &dyn fmt::Display) -> String {
    format!("it has changed and is not used; what was in force stays: {why}")
}

#[cfg(test)]
mod tests;
