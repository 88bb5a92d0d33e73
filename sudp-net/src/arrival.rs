//! One accepted stream: until it is a link of a session, or has been shown the door.

use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use socket2::SockRef;
use sudp_proto::driver::Driver;
use sudp_proto::server::{Admission, Claim, Incoming, Refused};
use sudp_proto::wire::{Code, SessionId, Ticket};

use crate::admit::{Admit, Admitted, Verdict, Visit};
use crate::event::ServerEvent;
use crate::runtime::Runtime;
use crate::server::Shared;
use crate::sockets::Means;
use crate::task::Engine;
use crate::tcp;
use crate::watch::About;

/// Takes on a stream that was just accepted, unless too many are without a session already.
pub(crate) fn begin<R: Runtime, A: Admit>(
    shared: &Arc<Shared<R>>,
    admit: &Arc<A>,
    stream: TcpStream,
    from: SocketAddr,
) {
    let Some(guest) = Guest::enter(shared, from) else { return };
    // One that cannot be tuned or watched is closed, as if it had never come.
    let Ok(watch) = tcp::tune(&SockRef::from(&stream), &shared.means.tcp) else { return };
    let means = shared.means.elsewhere();
    let Ok(stream) = means.runtime.tcp(stream) else { return };
    let incoming = Incoming::new(crate::now(), shared.incoming_setup());
    let mut engine = Engine::new(&means, incoming);
    let token = engine.core.driver.adopt(Incoming::KEY, BytesMut::new());
    engine.core.sockets.put(token, (stream, watch));
    let runtime = means.runtime.clone();
    let (shared, admit) = (Arc::clone(shared), Arc::clone(admit));
    runtime.spawn(Arrival { shared, admit, means, engine: Some(engine), deciding: None, guest });
}

/// Its place among those that nobody knows yet; given back when it is dropped.
struct Guest<R: Runtime> {
    shared: Arc<Shared<R>>,
    from: SocketAddr,
}

impl<R: Runtime> Guest<R> {
    fn enter(shared: &Arc<Shared<R>>, from: SocketAddr) -> Option<Self> {
        shared.enter(from).then(|| Self { shared: Arc::clone(shared), from })
    }
}

impl<R: Runtime> Drop for Guest<R> {
    fn drop(&mut self) {
        self.shared.leave(self.from);
    }
}

type Decision = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// The task of one stream.
struct Arrival<R: Runtime, A> {
    shared: Arc<Shared<R>>,
    admit: Arc<A>,
    /// Where it lives, and the session that it may found.
    means: Arc<Means<R>>,
    engine: Option<Engine<R, Incoming>>,
    /// A claim, and what is being found out about it.
    deciding: Option<(Claim, Decision)>,
    guest: Guest<R>,
}

impl<R: Runtime, A: Admit> Future for Arrival<R, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let Some(engine) = &mut this.engine else { return Poll::Ready(()) };
            let turn = engine.turn(cx);
            let incoming = engine.core.driver.endpoint_mut();
            if incoming.is_finished() {
                if let Some(end) = incoming.end().cloned() {
                    this.shared.events.tell(&ServerEvent::Ended { from: this.guest.from, end });
                }
                drop(this.engine.take().map(Engine::dismantle));
                return Poll::Ready(());
            }
            if let Some(head) = incoming.poll_stranger() {
                let answer = this.admit.answer(this.guest.from, &head);
                // A stream that ends meanwhile wants no answer.
                let _ = incoming.answer(engine.core.now, &answer);
                continue;
            }
            if let Some(claim) = incoming.poll_claim() {
                if claim.hello.attach.is_some() {
                    // The proof of attachment says all.
                    let joined = this.shared.registry().join(&claim, None);
                    this.settle(joined.map_err(|Refused(code)| code));
                } else {
                    let (certificate, key) = (claim.certificate.clone(), claim.key);
                    let visit = Visit { from: this.guest.from, claim: claim.clone(), certificate, key };
                    this.deciding = Some((claim, Box::pin(this.admit.admit(visit))));
                }
                continue;
            }
            if !incoming.is_deciding() {
                this.deciding = None;
            }
            if let Some((_, decision)) = &mut this.deciding
                && let Poll::Ready(verdict) = decision.as_mut().poll(cx)
            {
                this.decide(verdict);
                continue;
            }
            if engine.poll_rest(cx, turn).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl<R: Runtime, A: Admit> Arrival<R, A> {
    fn decide(&mut self, verdict: Verdict) {
        let Some((claim, _)) = self.deciding.take() else { return };
        match verdict {
            Verdict::Admit(admitted) => {
                let found = self.found(&claim, admitted);
                self.settle(found);
            }
            Verdict::Refuse(code) => self.settle(Err(code)),
            Verdict::Answer(answer) => {
                if let Some(engine) = &mut self.engine {
                    // A stream that ends meanwhile wants no answer.
                    let _ = engine.core.driver.endpoint_mut().answer(engine.core.now, &answer);
                }
            }
        }
    }

    /// The session that an admitted client founds.
    fn found(&self, claim: &Claim, admitted: Admitted) -> Result<SessionId, Code> {
        let Admitted { who, grant, pass, ticket } = admitted;
        let admission = self.shared.registry().admit(claim, &who, (&grant).into());
        match admission.map_err(|Refused(code)| code)? {
            Admission::Join(session) => Ok(session),
            Admission::Found(founded) => {
                let (from, principal) = (self.guest.from, who.principal);
                let about = About::new(principal.clone(), from, pass);
                self.shared.found(&self.means, &founded, grant, Ticket(ticket), about);
                self.shared.events.tell(&ServerEvent::Founded { session: founded.session, from, principal });
                Ok(founded.session)
            }
        }
    }

    /// Moves the stream to its session, or refuses it.
    fn settle(&mut self, session: Result<SessionId, Code>) {
        let mailbox = session.and_then(|session| self.shared.session(session).ok_or(Code::UnknownSession));
        let mailbox = match mailbox {
            Ok(mailbox) => mailbox,
            Err(code) => {
                if let Some(engine) = &mut self.engine {
                    engine.core.driver.endpoint_mut().refuse(engine.core.now, code);
                }
                return self.shared.events.tell(&ServerEvent::Refused { from: self.guest.from, code });
            }
        };
        let Some((driver, mut sockets)) = self.engine.take().map(Engine::into_parts) else { return };
        let means = Arc::clone(&self.means);
        // A session that ends at this moment takes the stream with it; its client dials again.
        let _ = mailbox.tell(move |core| {
            let Ok(joined) = Driver::<Incoming>::join(driver, core.now, &mut core.driver) else { return };
            if let Some(stream) = sockets.take(joined.from) {
                core.sockets.adopt(joined.to, &means, stream);
            }
        });
    }
}
