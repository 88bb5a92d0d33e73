//! Flows that the application opens and holds itself, like UDP sockets.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sudp_proto::session::Session;
use sudp_proto::wire::{Address, Code, FlowId};

use crate::lock;
use crate::mailbox::{Mailbox, Outbound, enlist};

/// Why a flow takes or gives nothing any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the flow is closed ({0:?})")]
pub struct FlowClosed(pub Code);

/// How a flow reaches the task that carries it.
pub(crate) trait Carrier: Send + Sync {
    fn poll_send(&self, cx: &mut Context<'_>, datagram: &mut Option<Outbound>) -> Poll<Result<(), crate::Gone>>;
    fn nudge(&self);
    fn close_flow(&self, flow: FlowId);
}

impl<R: crate::Runtime, E: sudp_proto::driver::Endpoint + 'static> Carrier for Mailbox<crate::task::Core<R, E>> {
    fn poll_send(&self, cx: &mut Context<'_>, datagram: &mut Option<Outbound>) -> Poll<Result<(), crate::Gone>> {
        Self::poll_send(self, cx, datagram)
    }

    fn nudge(&self) {
        Self::nudge(self);
    }

    fn close_flow(&self, flow: FlowId) {
        // A task that is gone has no flows.
        let _ = self.tell(move |core| {
            core.hands.forget(flow);
            if let Some(session) = core.driver.endpoint_mut().session() {
                session.close_flow(core.now, flow);
            }
        });
    }
}

/// One UDP conversation through the tunnel, held by hand. Dropping it ends it.
///
/// It survives its session's connections, and, when a server loses the session, goes on in the next one.
pub struct Flow {
    id: FlowId,
    hand: Arc<Hand>,
    carrier: Arc<dyn Carrier>,
}

impl Flow {
    pub(crate) fn new(id: FlowId, hand: Arc<Hand>, carrier: Arc<dyn Carrier>) -> Self {
        Self { id, hand, carrier }
    }

    /// What the session calls it.
    pub fn id(&self) -> FlowId {
        self.id
    }

    /// Sends a datagram to the flow's destination. It waits while so much is waiting already that the task
    /// of the session does not keep up; beyond that datagrams are dropped by age and fairness, as on any path.
    pub async fn send(&self, payload: impl Into<Bytes>) -> Result<(), FlowClosed> {
        self.send_one(None, payload.into()).await
    }

    /// Sends a datagram to another destination.
    pub async fn send_to(&self, payload: impl Into<Bytes>, to: impl Into<Address>) -> Result<(), FlowClosed> {
        self.send_one(Some(to.into()), payload.into()).await
    }

    /// The next datagram that came back.
    pub async fn recv(&self) -> Result<Bytes, FlowClosed> {
        self.recv_from().await.map(|(payload, _)| payload)
    }

    /// The next datagram that came back, and where it came from if not from the flow's own destination.
    pub async fn recv_from(&self) -> Result<(Bytes, Option<SocketAddr>), FlowClosed> {
        poll_fn(|cx| self.hand.poll_recv(cx, &*self.carrier)).await
    }

    async fn send_one(&self, to: Option<Address>, payload: Bytes) -> Result<(), FlowClosed> {
        let mut datagram = Some(Outbound { flow: self.id, to, payload });
        poll_fn(|cx| {
            if let Some(code) = lock(&self.hand.state).closed {
                return Poll::Ready(Err(FlowClosed(code)));
            }
            self.carrier.poll_send(cx, &mut datagram).map_err(|_| FlowClosed(Code::Done))
        })
        .await
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.carrier.close_flow(self.id);
    }
}

/// What has come back for a flow and was not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    state: Mutex<HandState>,
}

#[derive(Debug, Default)]
struct HandState {
    inbox: VecDeque<(Bytes, Option<SocketAddr>)>,
    /// Bytes of those datagrams.
    bytes: usize,
    receivers: Vec<Waker>,
    /// The session holds more, for which there was no room.
    more: bool,
    closed: Option<Code>,
}

impl Hand {
    fn poll_recv(
        &self,
        cx: &Context<'_>,
        carrier: &dyn Carrier,
    ) -> Poll<Result<(Bytes, Option<SocketAddr>), FlowClosed>> {
        let mut state = lock(&self.state);
        if let Some(inbound) = state.inbox.pop_front() {
            state.bytes -= inbound.0.len();
            let fetch = state.more && state.inbox.len() <= INBOX / 2 && state.bytes <= INBOX_BYTES / 2;
            state.more &= !fetch;
            drop(state);
            if fetch {
                carrier.nudge();
            }
            return Poll::Ready(Ok(inbound));
        }
        if let Some(code) = state.closed {
            return Poll::Ready(Err(FlowClosed(code)));
        }
        enlist(&mut state.receivers, cx.waker());
        Poll::Pending
    }

    fn close(&self, code: Code) {
        let mut state = lock(&self.state);
        state.closed.get_or_insert(code);
        let receivers = std::mem::take(&mut state.receivers);
        drop(state);
        wake(receivers);
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// The flows of a session that the application holds.
#[derive(Debug, Default)]
pub(crate) struct Hands(BTreeMap<FlowId, Arc<Hand>>);

impl Hands {
    pub(crate) fn add(&mut self, flow: FlowId) -> Arc<Hand> {
        Arc::clone(self.0.entry(flow).or_default())
    }

    fn forget(&mut self, flow: FlowId) {
        self.0.remove(&flow);
    }

    /// Gives a flow what has come for it, as far as it has room.
    pub(crate) fn deliver(&self, session: &mut Session, flow: FlowId) {
        let Some(hand) = self.0.get(&flow) else { return };
        let mut state = lock(&hand.state);
        let mut taken = 0;
        for inbound in session.inbox(flow) {
            if state.inbox.len() >= INBOX || state.bytes >= INBOX_BYTES {
                break;
            }
            state.bytes += inbound.payload.len();
            state.inbox.push_back((inbound.payload.clone(), inbound.address));
            taken += 1;
        }
        state.more = session.inbox(flow).nth(taken).is_some();
        let receivers = std::mem::take(&mut state.receivers);
        drop(state);
        session.delivered(flow, taken);
        wake(receivers);
    }

    /// The session has ended a flow.
    pub(crate) fn end(&mut self, flow: FlowId, code: Code) {
        if let Some(hand) = self.0.remove(&flow) {
            hand.close(code);
        }
    }

    /// Nothing comes any more for any of them.
    pub(crate) fn close(&mut self) {
        std::mem::take(&mut self.0).into_values().for_each(|hand| hand.close(Code::Done));
    }
}

/// Datagrams that a flow holds for the application, as many as a socket would; more than that the session
/// holds, within its own bounds.
const INBOX: usize = 1_024;
/// Bytes of those datagrams, but for the last one's.
const INBOX_BYTES: usize = 256 << 10;
