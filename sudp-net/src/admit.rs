//! Who is let in, and to what: the caller's decision.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use sudp_proto::Credential;
use sudp_proto::access::Grant;
use sudp_proto::link::{Answer, RequestHead};
use sudp_proto::server::{Claim, Identification};
use sudp_proto::wire::{Code, SessionId};

/// A client that asks for a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visit {
    /// Where it comes from. If a proxy that is trusted says so, the port is not known, and 0.
    pub from: SocketAddr,
    /// What it says of itself; its credentials are in the head of its request.
    pub claim: Claim,
    /// The certificate that it showed in TLS, in DER: whom it names, one of the authorities that this server
    /// lets sign for clients has vouched for.
    pub certificate: Option<Bytes>,
    /// The static key that it has proved to have.
    pub key: Option<[u8; 32]>,
}

/// Who is let in, and to what.
#[derive(Clone)]
pub struct Admitted {
    /// Which principal it is.
    pub who: Identification,
    /// What it may do.
    pub grant: Grant,
    /// What whoever decided wants to find again at its session, by [`Server::pass`](crate::Server::pass).
    pub pass: Option<Pass>,
    /// What its client may show when it founds its next session, in place of what has let it in now; at most
    /// [`MAX_TICKET`](sudp_proto::wire::MAX_TICKET) bytes, opaque to the client, and empty if there is none.
    pub ticket: Bytes,
}

/// A client that shows a new credential while its session stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Renewal {
    /// Its session.
    pub session: SessionId,
    /// Where its first link came from.
    pub from: SocketAddr,
    /// Which principal it is: whoever the credential stands for must be the same.
    pub who: Identification,
    /// What was kept with the session.
    pub pass: Option<Pass>,
    /// What it shows.
    pub credential: Credential,
}

/// Something that is kept with a session for whoever has admitted it.
pub type Pass = Arc<dyn Any + Send + Sync>;

impl Admitted {
    /// Nobody in particular, to what the grant says.
    pub fn anyone(grant: Grant) -> Self {
        Self { who: Identification::default(), grant, pass: None, ticket: Bytes::new() }
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("who", &self.who).field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// What becomes of it.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is let in.
    Admit(Admitted),
    /// It is told that it may not come in, and why.
    Refuse(Code),
    /// It gets an ordinary answer, as if this were any web server.
    Answer(Answer),
    /// Its stream is passed on to a web server at this address, from the first byte of its request.
    HandOver(SocketAddr),
    /// Its stream is closed without a word.
    Drop,
}

/// What whoever is not let in gets to see.
#[derive(Clone, Debug)]
pub enum Stranger {
    /// An ordinary answer.
    Answer(Answer),
    /// What a web server at this address says: the stream is passed on to it, from the first byte of the request.
    HandOver(SocketAddr),
    /// Nothing: the stream is closed.
    Drop,
}

impl From<Stranger> for Verdict {
    fn from(stranger: Stranger) -> Self {
        match stranger {
            Stranger::Answer(answer) => Self::Answer(answer),
            Stranger::HandOver(to) => Self::HandOver(to),
            Stranger::Drop => Self::Drop,
        }
    }
}

/// Decides who is let in.
///
/// It may take its time, within [`Limits::auth_deadline`](sudp_proto::config::Limits::auth_deadline): the
/// stream is looked after meanwhile, and the decision dropped when the client hangs up. It is asked
/// once for each session, not for each connection: those prove that they belong to a session.
///
/// A closure that returns a future is one.
pub trait Admit: Send + Sync + 'static {
    /// Decides on one client.
    fn admit(&self, visit: Visit) -> impl Future<Output = Verdict> + Send + 'static;

    /// Decides on a new credential of a client that has a session. Refused, which it is by default and whenever it stands
    /// for another principal, the session lives on until its grant ends; it is not asked again meanwhile.
    fn renew(&self, _renewal: Renewal) -> impl Future<Output = Option<Admitted>> + Send + 'static {
        std::future::ready(None)
    }

    /// Answers a request that is not ours. It may take its time, as a decision may.
    fn answer(&self, _from: SocketAddr, _head: &RequestHead) -> impl Future<Output = Stranger> + Send + 'static {
        std::future::ready(Stranger::Answer(Answer::not_found()))
    }
}

impl<F, V> Admit for F
where
    F: Fn(Visit) -> V + Send + Sync + 'static,
    V: Future<Output = Verdict> + Send + 'static,
{
    fn admit(&self, visit: Visit) -> impl Future<Output = Verdict> + Send + 'static {
        self(visit)
    }
}

/// Lets everybody in, to the same.
#[derive(Clone, Debug)]
pub struct Anyone(pub Grant);

impl Admit for Anyone {
    fn admit(&self, _visit: Visit) -> impl Future<Output = Verdict> + Send + 'static {
        std::future::ready(Verdict::Admit(Admitted::anyone(self.0.clone())))
    }
}
