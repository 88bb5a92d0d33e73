//! The gate of a server: it finds out who asks to come in, and hands out what is granted.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use sudp_tokio::proto::access::{Grant, RuleRef};
use sudp_tokio::proto::link::{Answer, RequestHead};
use sudp_tokio::proto::server::Identification;
use sudp_tokio::{Admit, Admitted, Pass, Renewal, Stranger, Verdict, Visit};

use super::book::Book;
use super::passwords::Passwords;
use super::porch::Porch;
use super::sources::Sources;
use super::ticket::Tickets;
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
    porch: Arc<Porch>,
    tickets: Tickets,
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
    pub(crate) fn new(settings: &Settings, porch: &Arc<Porch>, tickets: Tickets) -> Outcome<Self> {
        let (sources, book) = (Sources::load(settings, None)?, Book::new(settings, 0));
        let rules = Mutex::new(Arc::new(Rules { settings: settings.clone(), sources, book }));
        let (passwords, porch) = (Passwords::new()?, Arc::clone(porch));
        Ok(Self(Arc::new(Inner { passwords, porch, tickets, rules })))
    }

    /// Reads all that another configuration names. Nothing changes yet.
    pub(crate) fn read(&self, settings: &Settings) -> Outcome<Rules> {
        let sources = Sources::load(settings, Some(&self.rules().sources))?;
        Ok(Rules { settings: settings.clone(), sources, book: Book::new(settings, 0) })
    }

    /// From now on this is in force. Sessions that exist are to be asked for by [`Gate::grant`].
    pub(crate) fn change(&self, rules: Rules) {
        let mut now = lock(&self.0.rules);
        // Whatever was in force when they were read: what is later has a higher version.
        let book = Book::new(&rules.settings, now.book.version() + 1);
        *now = Arc::new(Rules { book, ..rules });
    }

    /// Follows the files of users and tokens, if they have changed.
    pub(crate) fn follow(&self) -> Followed {
        let now = self.rules();
        let mut followed = Followed::default();
        let Some(sources) = now.sources.follow(&mut followed) else { return followed };
        self.change(Rules { sources, ..(*now).clone() });
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

    /// By which name everybody knows the rule of a grant of this version, of whoever was admitted with this pass.
    pub(crate) fn name(&self, pass: &Pass, version: u64, rule: RuleRef) -> String {
        let rules = self.rules();
        let who = pass.downcast_ref::<Identity>().and_then(|who| rules.sources.current(who));
        let said = who.as_ref().and_then(|who| rules.book.said(who)).filter(|_| rules.book.version() == version);
        // Of what is in force no more there are only numbers.
        said.zip(who.as_ref()).map_or_else(|| rule.to_string(), |(said, who)| said.name(who, rule).to_string())
    }

    /// Lets tickets be made by another key, when it is time for that.
    pub(crate) fn turn_tickets(&self) -> Outcome {
        self.0.tickets.turn(SystemTime::now())
    }

    /// A new ticket for whoever was admitted with this pass, as that which it has grows old.
    pub(crate) fn ticket(&self, pass: &Pass) -> Option<Bytes> {
        let ticket = self.issue(&self.rules(), pass.downcast_ref::<Identity>()?);
        Some(ticket).filter(|ticket| !ticket.is_empty())
    }

    fn issue(&self, rules: &Rules, identity: &Identity) -> Bytes {
        let good_for = rules.settings.auth.tickets;
        good_for.map_or_else(Bytes::new, |time| self.0.tickets.issue(identity, time, SystemTime::now()))
    }

    /// Who comes back by the ticket of an earlier session.
    fn returning(&self, rules: &Rules, visit: &Visit) -> Option<Identity> {
        rules.settings.auth.tickets?;
        let holder = self.0.tickets.check(&visit.claim.hello.ticket.0, SystemTime::now()).ok()?;
        // It may be somebody else by now, or nobody.
        let holder = rules.sources.current(&holder)?;
        tracing::debug!(target: "sudp::session", from = %visit.from, "a client comes by its ticket");
        Some(holder)
    }

    /// Who comes, by what it shows.
    async fn identify(&self, rules: &Rules, visit: &Visit) -> Result<Identity, Why> {
        let known = rules.sources.identify(&self.0.passwords, visit).await;
        let stale = !visit.claim.hello.ticket.0.is_empty();
        known.map_err(|why| if why == Why::Nobody && stale { Why::StaleTicket } else { why })
    }

    fn admit_as(&self, rules: &Rules, identity: Identity) -> Result<Admitted, Why> {
        let Some(grant) = rules.grant(&identity) else {
            let anybody = identity.principal.is_empty();
            return Err(Why::NotGranted(if anybody { "anybody".into() } else { identity.principal }));
        };
        let who = Identification { principal: identity.principal.clone() };
        let ticket = self.issue(rules, &identity);
        Ok(Admitted { who, ticket, pass: Some(Arc::new(identity)), ..Admitted::anyone(grant) })
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&lock(&self.0.rules))
    }

    /// The one place where everybody ends who is not let in. Whatever the reason, what is seen outside is the same.
    async fn turn_away(&self, since: Instant, visit: &Visit, why: &Why) -> Verdict {
        let (porch, reason) = (&self.0.porch, why.to_string());
        if *why == Why::Busy {
            // It says nothing of whoever asked, known or not.
            porch.refused(visit.from, &reason);
            return Verdict::Answer(Answer::unavailable(LATER));
        }
        porch.turn_away(since, visit.from, &visit.claim.head, &reason).await.into()
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
        let (gate, since) = (self.clone(), Instant::now());
        async move {
            let rules = gate.rules();
            let known = match gate.returning(&rules, &visit) {
                Some(identity) => Ok(identity),
                // Whose source has guessed wrong waits, unless it comes back.
                None if !gate.0.porch.wait(&visit).await => return Verdict::Drop,
                None => gate.identify(&rules, &visit).await,
            };
            match known.and_then(|identity| Ok((gate.admit_as(&rules, identity.clone())?, identity))) {
                Ok((admitted, identity)) => {
                    gate.0.porch.let_in(visit.from, &identity);
                    Verdict::Admit(admitted)
                }
                Err(why) => gate.turn_away(since, &visit, &why).await,
            }
        }
    }

    fn renew(&self, renewal: Renewal) -> impl Future<Output = Option<Admitted>> + Send + 'static {
        let gate = self.clone();
        async move {
            let rules = gate.rules();
            let known = rules.sources.identify_by(&gate.0.passwords, renewal.credential.expose()).await;
            let admitted = known.and_then(|identity| {
                // Who it is, it stays.
                let same = identity.principal == renewal.who.principal;
                if same { gate.admit_as(&rules, identity) } else { Err(Why::NotGranted(identity.principal)) }
            });
            if let Err(why) = &admitted {
                gate.0.porch.not_renewed(renewal.from, &renewal.who.principal, &why.to_string());
            }
            admitted.ok()
        }
    }

    fn answer(&self, from: SocketAddr, head: &RequestHead) -> impl Future<Output = Stranger> + Send + 'static {
        let (porch, since, head) = (Arc::clone(&self.0.porch), Instant::now(), head.clone());
        async move { porch.see_off(since, from, &head).await }
    }
}

/// When who finds too many others may come again.
const LATER: Duration = Duration::from_secs(2);
