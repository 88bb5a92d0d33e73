//! The gate of a server: it finds out who asks to come in, and hands out what is granted.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sudp_tokio::proto::access::Grant;
use sudp_tokio::proto::link::Answer;
use sudp_tokio::proto::server::Identification;
use sudp_tokio::{Admit, Admitted, Pass, Verdict, Visit};

use super::book::Book;
use super::passwords::Passwords;
use super::sources::Sources;
use super::{Identity, Why};
use crate::config::Server as Settings;
use crate::exit::Outcome;
use crate::run::lock;

/// Decides who is let in, by the configuration that is in force.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    passwords: Passwords,
    rules: Mutex<Arc<Rules>>,
}

/// What is in force.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    settings: Settings,
    sources: Sources,
    book: Book,
}

/// What has become of the files that are followed.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// What is granted has to be found anew.
    pub(crate) changed: bool,
    /// Files that cannot be used as they are; what was in force stays.
    pub(crate) trouble: Vec<String>,
}

impl Gate {
    /// A gate as it is configured.
    pub(crate) fn new(settings: &Settings) -> Outcome<Self> {
        let (sources, book) = (Sources::load(settings, None)?, Book::new(settings, 0));
        let rules = Rules { settings: settings.clone(), sources, book };
        Ok(Self(Arc::new(Inner { passwords: Passwords::new()?, rules: Mutex::new(Arc::new(rules)) })))
    }

    /// Reads all that another configuration names. Nothing changes yet.
    pub(crate) fn read(&self, settings: &Settings) -> Outcome<Rules> {
        let now = self.rules();
        let sources = Sources::load(settings, Some(&now.sources))?;
        Ok(Rules { settings: settings.clone(), sources, book: Book::new(settings, now.book.version() + 1) })
    }

    /// From now on this is in force. Sessions that exist are to be asked for by [`Gate::grant`].
    pub(crate) fn change(&self, rules: Rules) {
        *lock(&self.0.rules) = Arc::new(rules);
    }

    /// Follows the files of users and tokens, if they have changed.
    pub(crate) fn follow(&self) -> Followed {
        let now = self.rules();
        let mut followed = Followed::default();
        let Some(sources) = now.sources.follow(&mut followed) else { return followed };
        let Rules { settings, book, .. } = &*now;
        self.change(Rules { settings: settings.clone(), sources, book: Book::new(settings, book.version() + 1) });
        followed
    }

    /// Whether the configuration has changed since the beginning.
    pub(crate) fn has_changed(&self) -> bool {
        self.rules().book.version() > 0
    }

    /// What whoever was admitted with this pass may do now; without a grant, nothing any more.
    pub(crate) fn grant(&self, pass: &Pass) -> Option<Grant> {
        self.rules().grant(pass.downcast_ref::<Identity>()?)
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&lock(&self.0.rules))
    }

    /// The one place where everybody ends who is not let in. Whatever the reason, what is seen outside is the same.
    fn turn_away(visit: &Visit, why: &Why) -> Verdict {
        tracing::warn!(target: "sudp::session", from = %visit.from, "a client was refused: {why}");
        Verdict::Answer(match why {
            // It says nothing of whoever asked, known or not.
            Why::Busy => Answer::unavailable(LATER),
            _ => Answer::not_found(),
        })
    }
}

impl Rules {
    /// What somebody may do: what is granted now to who it is now.
    fn grant(&self, identity: &Identity) -> Option<Grant> {
        self.book.grant(&self.sources.current(identity)?)
    }
}

impl Admit for Gate {
    fn admit(&self, visit: Visit) -> impl Future<Output = Verdict> + Send + 'static {
        let gate = self.clone();
        async move {
            let rules = gate.rules();
            let identity = match rules.sources.identify(&gate.0.passwords, &visit).await {
                Ok(identity) => identity,
                Err(why) => return Self::turn_away(&visit, &why),
            };
            let Some(grant) = rules.grant(&identity) else {
                return Self::turn_away(&visit, &Why::NotGranted(identity.principal));
            };
            let who = Identification { principal: identity.principal.clone() };
            Verdict::Admit(Admitted { who, pass: Some(Arc::new(identity)), ..Admitted::anyone(grant) })
        }
    }
}

/// When who finds too many others may come again.
const LATER: Duration = Duration::from_secs(2);
