//! One accepted stream: until it is a link of a session, or has been shown the door.

use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use socket2::SockRef;
use sudp_proto::driver::Driver;
use sudp_proto::link::RequestHead;
use sudp_proto::server::{Admission, Claim, Incoming, Refused, forwarded};
use sudp_proto::wire::{Code, SessionId, Ticket};

use crate::admit::{Admit, Admitted, Verdict, Visit};
use crate::event::ServerEvent;
use crate::relay::Relay;
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
    shared.drives(guest.number, engine.mailbox());
    let token = engine.core.driver.adopt(Incoming::KEY, BytesMut::new());
    engine.core.sockets.put(token, (stream, watch));
    let runtime = means.runtime.clone();
    let (shared, admit) = (Arc::clone(shared), Arc::clone(admit));
    runtime.spawn(Arrival { shared, admit, means, engine: Some(engine), deciding: None, guest: Some(guest) });
}

/// Its place among those that nobody knows yet; given back when it is dropped.
pub(crate) struct Guest<R: Runtime> {
    shared: Arc<Shared<R>>,
    number: u64,
    /// Where its stream comes from, or whom a proxy that is trusted names; the port of that is not known.
    from: SocketAddr,
}

impl<R: Runtime> Guest<R> {
    fn enter(shared: &Arc<Shared<R>>, from: SocketAddr) -> Option<Self> {
        let number = shared.enter(from)?;
        Some(Self { shared: Arc::clone(shared), number, from })
    }

    /// It has said what it wants. Says whether there is room for it, wherever it comes from.
    fn said(&mut self, head: &RequestHead) -> bool {
        let source = forwarded(head, &self.shared.proxies, self.from.ip());
        let elsewhere = source != self.from.ip().to_canonical();
        if elsewhere {
            self.from = SocketAddr::new(source, 0);
        }
        self.shared.heard(self.number, elsewhere.then_some(source))
    }
}

impl<R: Runtime> Drop for Guest<R> {
    fn drop(&mut self) {
        self.shared.leave(self.number);
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
    /// A claim, or none of a stranger, and what is being found out about it.
    deciding: Option<(Option<Claim>, Decision)>,
    guest: Option<Guest<R>>,
}

impl<R: Runtime, A: Admit> Future for Arrival<R, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let (Some(engine), Some(guest)) = (&mut this.engine, &mut this.guest) else { return Poll::Ready(()) };
            let turn = engine.turn(cx);
            let incoming = engine.core.driver.endpoint_mut();
            if incoming.is_finished() {
                if let Some(end) = incoming.end().cloned() {
                    this.shared.events.tell(&ServerEvent::Ended { from: guest.from, end });
                }
                drop(this.engine.take().map(Engine::dismantle));
                return Poll::Ready(());
            }
            if let Some(head) = incoming.poll_stranger() {
                if guest.said(&head) {
                    let answer = this.admit.answer(guest.from, &head);
                    this.deciding = Some((None, Box::pin(async move { answer.await.into() })));
                } else {
                    incoming.give_up();
                }
                continue;
            }
            if let Some(claim) = incoming.poll_claim() {
                if !guest.said(&claim.head) {
                    incoming.give_up();
                } else if claim.hello.attach.is_some() {
                    // The proof of attachment says all.
                    let joined = this.shared.registry().join(&claim, None);
                    this.settle(joined.map_err(|Refused(code)| code));
                } else {
                    let (certificate, key) = (claim.certificate.clone(), claim.key);
                    let visit = Visit { from: guest.from, claim: claim.clone(), certificate, key };
                    this.deciding = Some((Some(claim), Box::pin(this.admit.admit(visit))));
                }
                continue;
            }
            if !incoming.is_waiting() {
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
    /// Where it comes from.
    fn from(&self) -> SocketAddr {
        self.guest.as_ref().map_or(NOWHERE, |guest| guest.from)
    }

    fn decide(&mut self, verdict: Verdict) {
        let Some((claim, _)) = self.deciding.take() else { return };
        let verdict = match (verdict, claim) {
            (Verdict::Admit(admitted), Some(claim)) => {
                let found = self.found(&claim, admitted);
                return self.settle(found);
            }
            (Verdict::Refuse(code), Some(_)) => return self.settle(Err(code)),
            (verdict, _) => verdict,
        };
        let Some(engine) = &mut self.engine else { return };
        let (now, incoming) = (engine.core.now, engine.core.driver.endpoint_mut());
        match verdict {
            // A stream that ends meanwhile wants no answer.
            Verdict::Answer(answer) => drop(incoming.answer(now, &answer)),
            Verdict::HandOver(to) if incoming.can_hand_over() => self.hand_over(to),
            Verdict::HandOver(_) => incoming.refuse(now, Code::Denied),
            Verdict::Admit(_) | Verdict::Refuse(_) | Verdict::Drop => incoming.give_up(),
        }
    }

    /// Passes the stream on to a web server. It keeps its place among those that nobody knows.
    fn hand_over(&mut self, to: SocketAddr) {
        let (Some(engine), Some(guest)) = (self.engine.take(), self.guest.take()) else { return };
        let (mut driver, mut sockets) = engine.into_parts();
        let Some(released) = driver.release(Incoming::KEY) else { return };
        let (Some((stream, _)), Ok(handed)) =
            (sockets.take(released.token), driver.dismantle(&mut sockets).hand_over())
        else {
            return;
        };
        // One that cannot be reached is like one that hangs up.
        let Ok(relay) = Relay::new(&self.means, stream, handed, released.input, to, guest) else { return };
        self.means.runtime.spawn(relay);
    }

    /// The session that an admitted client founds.
    fn found(&self, claim: &Claim, admitted: Admitted) -> Result<SessionId, Code> {
        let Admitted { who, grant, pass, ticket } = admitted;
        if !self.shared.has_memory() {
            return Err(Code::Full);
        }
        let admission = self.shared.registry().admit(claim, &who, (&grant).into());
        match admission.map_err(|Refused(code)| code)? {
            Admission::Join(session) => Ok(session),
            Admission::Found(founded) => {
                let (from, principal) = (self.from(), who.principal);
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
                return self.shared.events.tell(&ServerEvent::Refused { from: self.from(), code });
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

/// Who has no place comes from nowhere.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
