use proptest::prelude::*;

use super::*;
use crate::testing::{epoch, ms, secs};

fn victim(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from(0xc633_6400 + number).into()
}

#[test]
fn t05_a_plain_answer_of_dns_passes_and_fifty_times_the_question_does_not() {
    for answer in [512, 1_232, 4_096] {
        let (replies, now) = (Replies::new(&Limits::default()), epoch());
        assert!(!replies.heard(now, victim(1), 40));
        assert!(replies.admit(now + ms(30), victim(1), answer), "{answer} bytes for one question");
        assert!(!replies.admit(now + ms(30), victim(1), 4_097 - answer));
        assert!(replies.admit(now + ms(30), victim(2), 4_096), "another source has its own");
    }
    let (replies, now) = (Replies::new(&Limits::default()), epoch());
    replies.heard(now, victim(1), 1_200);
    assert!(replies.admit(now, victim(1), 4_096), "the first handshake of QUIC is three times its question");
    assert!(!replies.admit(now, victim(1), 1));
    replies.heard(now + ms(1), victim(2), 2_000);
    assert!(replies.admit(now + ms(1), victim(2), 6_000) && !replies.admit(now + ms(1), victim(2), 1));
}

#[test]
fn t05_who_speaks_again_after_an_answer_is_confirmed_and_who_only_repeats_itself_is_not() {
    let (replies, now) = (Replies::new(&Limits::default()), epoch());
    for repeated in 0..50 {
        assert!(!replies.heard(now + ms(repeated), victim(1), 60), "nothing was answered yet");
    }
    assert!(replies.admit(now + ms(60), victim(1), 9_000), "three times of all that it sent");
    assert!(!replies.admit(now + ms(60), victim(1), 1));
    assert!(replies.heard(now + ms(70), victim(1), 60));
    assert!(replies.admit(now + ms(70), victim(1), 60_000), "from here on it is nobody's business");
    assert!(replies.heard(now + secs(170), victim(1), 1), "from another port, minutes later");
    assert!(!replies.heard(now + secs(400), victim(1), 1), "but not for ever");
}

#[test]
fn t05_an_answer_that_was_refused_confirms_nobody() {
    let (replies, now) = (Replies::new(&Limits::default()), epoch());
    replies.heard(now, victim(1), 100);
    assert!(!replies.admit(now, victim(1), 5_000));
    assert!(!replies.heard(now + ms(1), victim(1), 100), "it cannot have heard what never left");
    assert!(replies.admit(now + secs(10), victim(1), 4_096), "the next window is a new one");
}

#[test]
fn a_network_of_ipv6_is_one_source() {
    let (replies, now) = (Replies::new(&Limits::default()), epoch());
    let from = |text: &str| text.parse::<IpAddr>().expect("an address");
    assert!(replies.admit(now, from("2001:db8::1"), 4_000) && !replies.admit(now, from("2001:db8::2"), 4_000));
    assert!(replies.admit(now, from("2001:db8:0:1::1"), 4_000));
    assert!(replies.admit(now, from("::ffff:192.0.2.1"), 4_000) && !replies.admit(now, from("192.0.2.1"), 4_000));
}

#[test]
fn t05_all_unconfirmed_sources_together_keep_to_one_rate_within_a_twentieth() {
    let limits = Limits { reply_rate: 1 << 20, ..Limits::default() };
    let (replies, start) = (Replies::new(&limits), epoch());
    let (mut passed, mut now) = (0, start);
    for number in 0..40_000 {
        now += Duration::from_micros(250);
        replies.heard(now, victim(number), 60);
        passed += if replies.admit(now, victim(number), 3_000) { 3_000 } else { 0 };
    }
    let most = (1 << 20) * 11;
    assert!(passed <= most && passed >= most / 20 * 19, "{passed} of {most}: ten seconds, and the burst of one");
}

#[test]
fn the_table_is_bounded_and_forgets_who_is_quiet() {
    let limits = Limits { reply_sources: 1_024, ..Limits::default() };
    let (replies, now) = (Replies::new(&limits), epoch());
    for number in 0..5_000 {
        replies.heard(now, victim(number), 60);
    }
    assert_eq!(replies.sources(), 1_024);
    assert!(!replies.admit(now, victim(4_999), 1), "for whom there is no account there is no answer");
    assert!(replies.admit(now, victim(1_023), 4_096), "but for whom there is one, as ever");
    replies.heard(now + secs(11), victim(9_999), 60);
    assert_eq!(replies.sources(), 1);
}

#[test]
fn a_full_table_is_looked_through_once_a_second_and_not_at_every_datagram() {
    let limits = Limits { reply_sources: 4, ..Limits::default() };
    let (replies, now) = (Replies::new(&limits), epoch());
    for number in 0..4 {
        replies.heard(now, victim(number), 60);
    }
    assert!(!replies.admit(now + ms(9_500), victim(9), 1), "nobody has been quiet for long enough");
    assert!(!replies.admit(now + ms(10_499), victim(9), 1), "all have, and nobody looks");
    assert_eq!(replies.sources(), 4);
    assert!(replies.admit(now + ms(10_500), victim(9), 1));
    assert_eq!(replies.sources(), 1);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Heard(u32, usize),
    Reply(u32, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![1_usize..100, 1_usize..5_000, Just(65_507_usize)];
    prop_oneof![
        (0_u64..4_000).prop_map(Step::Wait),
        (0_u32..4, 1_usize..2_000).prop_map(|(who, size)| Step::Heard(who, size)),
        (0_u32..4, size).prop_map(|(who, size)| Step::Reply(who, size)),
    ]
}

proptest! {
    /// Whatever happens in whatever order: until a source has spoken after an answer, what it was sent since its
    /// account began is no more than the allowance of each window that has begun since.
    #[test]
    fn t05_no_story_brings_an_unconfirmed_source_more_than_its_due(story in prop::collection::vec(step(), 1..200)) {
        let limits = Limits::default();
        let (replies, start) = (Replies::new(&limits), epoch());
        let mut now = start;
        let (mut sent, mut got, mut answered, mut confirmed) = ([0_usize; 4], [0; 4], [false; 4], [false; 4]);
        for step in story {
            match step {
                Step::Wait(millis) => now += ms(millis),
                Step::Heard(who, size) => {
                    let place = who as usize;
                    let said = replies.heard(now, victim(who), size);
                    prop_assert!(!said || answered[place], "confirmed without an answer");
                    sent[place] += size;
                    confirmed[place] |= said;
                }
                Step::Reply(who, size) => {
                    let place = who as usize;
                    if replies.admit(now, victim(who), size) && !confirmed[place] {
                        (got[place], answered[place]) = (got[place] + size, true);
                    }
                    let windows = 1 + usize::try_from((now - start).as_secs() / 10).unwrap();
                    prop_assert!(got[place] <= windows * 4_096 + 3 * sent[place]);
                }
            }
        }
    }
}
