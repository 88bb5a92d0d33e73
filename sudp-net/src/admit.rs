//! Who is let in, and to what: the caller's decision.

use std::future::Future;
use std::net::SocketAddr;

use sudp_proto::access::Grant;
use sudp_proto::link::{Answer, RequestHead};
use sudp_proto::server::{Claim, Identification};
use sudp_proto::wire::Code;

/// A client that asks for a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visit {
    /// Where its stream comes from.
    pub from: SocketAddr,
    /// What it says of itself; its credentials are in the head of its request.
    pub claim: Claim,
}

/// What becomes of it.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is this principal, and may do what the grant says.
    Admit(Identification, Grant),
    /// It is told that it may not come in, and why.
    Refuse(Code),
    /// It gets an ordinary answer, as if this were any web server.
    Answer(Answer),
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

    /// Answers a request that is not ours.
    fn answer(&self, _from: SocketAddr, _head: &RequestHead) -> Answer {
        Answer::not_found()
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
        std::future::ready(Verdict::Admit(Identification::default(), self.0.clone()))
    }
}
