//! Bells: what turns a runtime's wakers into tokens that are ready.
//!
//! A task has one [`Board`]. Each of its sockets has a [`Bell`] for each way, and hands it to the runtime
//! as the waker: when it rings, the board notes which token is ready which way, and wakes the task, which
//! thus never looks at sockets that have nothing to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use sudp_proto::driver::{Token, Way};

use crate::lock;

/// What has rung since the task last looked, and who wakes it.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rung: Vec<Arc<Bell>>,
    waker: Option<Waker>,
}

/// One way of one door.
#[derive(Debug)]
pub(crate) struct Bell {
    board: Arc<Board>,
    token: Token,
    way: Way,
    /// It stands on the board already.
    rung: AtomicBool,
}

impl Board {
    /// Wakes the task, for a reason that it finds elsewhere.
    pub(crate) fn wake(&self) {
        let waker = lock(&self.state).waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tells what has rung, and whom to wake from now on.
    pub(crate) fn take(&self, waker: &Waker, rung: &mut Vec<Arc<Bell>>, mut ready: impl FnMut(Token, Way)) {
        let mut state = lock(&self.state);
        match &mut state.waker {
            Some(known) if known.will_wake(waker) => {}
            other => *other = Some(waker.clone()),
        }
        std::mem::swap(&mut state.rung, rung);
        drop(state);
        for bell in rung.drain(..) {
            // Before the door is tried: what rings from now on is news.
            bell.rung.store(false, Ordering::Release);
            ready(bell.token, bell.way);
        }
    }

    fn ring(&self, bell: Arc<Bell>) {
        let mut state = lock(&self.state);
        state.rung.push(bell);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Bell {
    pub(crate) fn new(board: &Arc<Board>, token: Token, way: Way) -> Arc<Self> {
        Arc::new(Self { board: Arc::clone(board), token, way, rung: AtomicBool::new(false) })
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            Arc::clone(&self.board).ring(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Arc::clone(self).wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(Mutex<usize>);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            *lock(&self.0) += 1;
        }
    }

    fn take(board: &Board, waker: &Waker) -> Vec<(Token, Way)> {
        let (mut rung, mut ready) = (Vec::new(), Vec::new());
        board.take(waker, &mut rung, |token, way| ready.push((token, way)));
        ready
    }

    #[test]
    fn a_bell_that_rings_often_stands_on_the_board_once_and_wakes_the_task_once() {
        let (board, count) = (Arc::new(Board::default()), Arc::new(Count::default()));
        let (token, waker) = (Token { index: 3, generation: 7 }, Waker::from(Arc::clone(&count)));
        let bell = Waker::from(Bell::new(&board, token, Way::In));
        bell.wake_by_ref();
        assert_eq!(take(&board, &waker), [(token, Way::In)], "what rang before the task first looked");
        bell.wake_by_ref();
        bell.wake_by_ref();
        assert_eq!(*lock(&count.0), 1);
        assert_eq!(take(&board, &waker), [(token, Way::In)]);
        bell.wake();
        assert_eq!(take(&board, &waker), [(token, Way::In)], "it can ring again once it was heard");
    }
}
