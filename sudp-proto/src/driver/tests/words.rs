//! What callers of the driver need not write themselves.

use std::io::{self, ErrorKind};

use super::*;

#[test]
fn an_attempt_goes_on_after_interruptions_and_is_blocked_when_it_would_block() {
    let mut said = [Err(ErrorKind::Interrupted), Err(ErrorKind::Interrupted), Ok(7)].into_iter();
    assert_eq!(Step::attempt(|| said.next().unwrap().map_err(io::Error::from)).unwrap(), Step::More(7));
    assert_eq!(Step::attempt(|| Err(ErrorKind::WouldBlock.into())).unwrap(), Step::Blocked(0));
    let refused = Step::attempt(|| Err(ErrorKind::ConnectionRefused.into())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn one_waits_until_the_deadline_and_not_at_all_if_more_is_to_be_done() {
    let now = epoch();
    let turn = Turn { deadline: Some(now + ms(5)), again: false };
    assert_eq!(turn.timeout(now), Some(ms(5)));
    assert_eq!(turn.timeout(now + ms(6)), Some(ms(0)));
    assert_eq!(Turn { again: true, ..turn }.timeout(now), Some(ms(0)));
    assert_eq!(Turn { deadline: None, again: false }.timeout(now), None);
}
