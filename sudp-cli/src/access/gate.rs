//! The gate of a server: it finds out who asks to come in, and hands out what is granted.

use std::future::Future;
use std::sync::{Arc, Mutex};

use sudp_tokio::proto::access::Grant;
use sudp_tokio::proto::server::Identification;
use sudp_tokio::proto::wire::Code;
use sudp_tokio::{Admit, Admitted, Pass, Verdict, Visit};

use super::Identity;
use super::book::Book;
use crate::config::Server as Settings;
use crate::run::lock;

/// Decides who is let in, by the configuration that is in force.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Mutex<Arc<Book>>>);

impl Gate {
    /// A gate as it is configured.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(Book::new(settings, 0)))))
    }

    /// Follows a changed configuration. Sessions that exist are to be asked for by [`Gate::grant`].
    pub(crate) fn change(&self, settings: &Settings) {
        let mut book = lock(&self.0);
        *book = Arc::new(Book::new(settings, book.version() + 1));
    }

    /// Whether the configuration has changed since the beginning.
    pub(crate) fn has_changed(&self) -> bool {
        self.book().version() > 0
    }

    /// What whoever was admitted with this pass may do now; without a grant, nothing any more.
    pub(crate) fn grant(&self, pass: &Pass) -> Option<Grant> {
        self.book().grant(pass.downcast_ref::<Identity>()?)
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&lock(&self.0))
    }
}

impl Admit for Gate {
    fn admit(&self, _visit: Visit) -> impl Future<Output = Verdict> + Send + 'static {
        let book = self.book();
        async move {
            let identity = Identity::default();
            let Some(grant) = book.grant(&identity) else { return Verdict::Refuse(Code::Denied) };
            let who = Identification { principal: identity.principal.clone() };
            Verdict::Admit(Admitted { who, pass: Some(Arc::new(identity)), ..Admitted::anyone(grant) })
        }
    }
}
