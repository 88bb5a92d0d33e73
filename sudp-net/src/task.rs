//! The loop of a task: what has rung, what was asked, a turn, and when to look again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use sudp_proto::client::DialFailure;
use sudp_proto::driver::{Driver, Endpoint, Turn};

use crate::clock;
use crate::flow::Hands;
use crate::mailbox::{Call, Mailbox, Outbound};
use crate::ready::{Bell, Board};
use crate::runtime::{Runtime, Timer};
use crate::sockets::{Means, Sockets};
use crate::tap::Taps;

/// What a task owns, and what calls from outside work on.
pub(crate) struct Core<R: Runtime, E> {
    pub(crate) driver: Driver<E>,
    pub(crate) sockets: Sockets<R>,
    /// Flows that the application holds.
    pub(crate) hands: Hands,
    /// What time it is in this turn.
    pub(crate) now: Instant,
    /// Why the last dial came to nothing: told to those, too, who come too late for the event.
    pub(crate) failure: Option<DialFailure>,
    /// When the session of a client began.
    pub(crate) since: Option<Instant>,
    /// Who looks at its datagrams.
    pub(crate) taps: Taps,
}

/// A core, and all that it takes to run it as a task.
pub(crate) struct Engine<R: Runtime, E> {
    pub(crate) core: Core<R, E>,
    board: Arc<Board>,
    mailbox: Arc<Mailbox<Core<R, E>>>,
    timer: Pin<Box<R::Timer>>,
    /// When the timer fires, if it is armed.
    armed: Option<Instant>,
    /// Turns that left more to do.
    busy: u32,
    rung: Vec<Arc<Bell>>,
    calls: Vec<Call<Core<R, E>>>,
    outbound: Vec<Outbound>,
}

impl<R: Runtime, E: Endpoint> Engine<R, E> {
    pub(crate) fn new(means: &Arc<Means<R>>, endpoint: E) -> Self {
        let board = Arc::new(Board::default());
        let sockets = Sockets::new(Arc::clone(means), Arc::clone(&board));
        Self {
            core: Core {
                driver: Driver::new(endpoint),
                sockets,
                hands: Hands::default(),
                now: clock::now(),
                failure: None,
                since: None,
                taps: Taps::default(),
            },
            mailbox: Mailbox::new(Arc::clone(&board)),
            timer: Box::pin(means.runtime.timer()),
            board,
            armed: None,
            busy: 0,
            rung: Vec::new(),
            calls: Vec::new(),
            outbound: Vec::new(),
        }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<Core<R, E>>> {
        &self.mailbox
    }

    /// Does what was asked, and takes a turn.
    pub(crate) fn turn(&mut self, cx: &Context<'_>) -> Turn {
        let Self { core, board, mailbox, rung, calls, outbound, .. } = self;
        core.now = clock::now();
        board.take(cx.waker(), rung, |token, way| core.driver.handle_ready(token, way));
        mailbox.take(calls, outbound);
        // Before the calls: one of them may end what these are to go by.
        if !outbound.is_empty()
            && let Some(session) = core.driver.endpoint_mut().session()
        {
            for Outbound { flow, to, payload } in outbound.drain(..) {
                // What the session does not take is lost as on any path; it has counted it.
                let _ = session.post(core.now, flow, to.as_ref(), &payload);
            }
        }
        calls.drain(..).for_each(|call| call(core));
        let turn = core.driver.turn(core.now, &mut core.sockets);
        while let Some(flow) = core.driver.poll_delivery(core.now) {
            if let Some(session) = core.driver.endpoint_mut().session() {
                core.hands.deliver(session, flow);
            }
        }
        if !core.taps.is_empty()
            && let Some(session) = core.driver.endpoint_mut().session()
        {
            core.taps.drain(core.now, session);
        }
        turn
    }

    /// Sees to it that the task runs again when the next turn is due. Ready means at once.
    pub(crate) fn poll_rest(&mut self, cx: &mut Context<'_>, turn: Turn) -> Poll<()> {
        if turn.again {
            // To look at the sockets each time would cost a busy task a tenth of its time, and never to look
            // would let acknowledgements wait for as long as it is busy.
            self.busy += 1;
            if self.busy.is_multiple_of(BUSY_TURNS) {
                R::yield_now(cx)
            } else {
                cx.waker().wake_by_ref()
            }
            return Poll::Pending;
        }
        let Some(deadline) = turn.deadline else { return Poll::Pending };
        // Firing early is harmless, so that a timer is not moved with every datagram.
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.timer.as_mut().arm(deadline.saturating_duration_since(clock::now()));
            self.armed = Some(deadline);
        }
        let fired = self.timer.as_mut().poll_fired(cx);
        if fired.is_ready() {
            self.armed = None;
        }
        fired
    }

    /// The driver and what is open, for another task.
    pub(crate) fn into_parts(self) -> (Driver<E>, Sockets<R>) {
        self.mailbox.close();
        (self.core.driver, self.core.sockets)
    }

    /// Closes everything. Whoever still asks for something learns that nobody is here.
    pub(crate) fn dismantle(mut self) -> E {
        self.mailbox.close();
        self.core.hands.close();
        self.core.taps.close();
        self.core.driver.dismantle(&mut self.core.sockets)
    }
}

/// After so many turns that left more to do, the runtime is to look at its sockets.
const BUSY_TURNS: u32 = 8;
