use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::access::passwords::hash;

fn source<R>(records: impl IntoIterator<Item = (&'static str, R)>) -> Source<R> {
    let table = records.into_iter().map(|(name, record)| (name.to_owned(), record)).collect();
    Source { path: PathBuf::new(), seen: None, growing: None, table: Arc::new(table) }
}

fn user(password: &str) -> User {
    User::new(hash(&Secret::new(password)).expect("a hash"), vec!["staff".into()])
}

fn sources(users: &[(&'static str, User)], tokens: &[(&'static str, Token)], certificates: bool) -> Sources {
    let (users, tokens) = (Some(source(users.iter().cloned())), Some(source(tokens.iter().cloned())));
    Sources { anonymous: false, users, tokens, certificates, keys: None, jwt: None, introspection: None }
}

#[test]
fn who_was_let_in_stays_who_it_is_for_as_long_as_what_it_has_shown_is_good() {
    let (alice, later) = (user("one"), User { groups: vec!["ops".into()], ..user("one") });
    let who = alice.identity("alice");
    let current = |user: User| sources(&[("alice", user)], &[], false).current(&who);
    assert_eq!(current(alice.clone()).map(|it| it.groups), Some(vec!["staff".into()]));
    assert_eq!(current(User { groups: later.groups.clone(), ..alice.clone() }).map(|it| it.groups), Some(later.groups));
    assert_eq!(current(User { disabled: true, ..alice.clone() }), None);
    assert_eq!(current(user("one")), None, "the same password again is another hash");
    assert_eq!(sources(&[("bob", alice)], &[], false).current(&who), None);
}

#[test]
fn a_token_that_was_made_anew_under_its_name_is_another() {
    let token = |ends: Option<SystemTime>| Token::new(ends, Vec::new(), Vec::new()).expect("random").0;
    let (first, second) = (token(None), token(None));
    let who = first.identity("backup");
    let current = |token: &Token| sources(&[], &[("backup", token.clone())], false).current(&who);
    assert_eq!(current(&first), Some(who.clone()));
    assert_eq!(current(&second), None);
    let mut ended = first;
    ended.expires = Some(UNIX_EPOCH + Duration::from_secs(1));
    assert_eq!(current(&ended), None);
}

#[test]
fn a_ticket_is_good_for_whom_it_was_made_and_for_nobody_else() {
    let (alice, token) = (user("one"), Token::new(None, Vec::new(), Vec::new()).expect("random").0);
    let all = sources(&[("alice", alice.clone())], &[("alice", token.clone())], true);
    let certificate = |name: &str| Identity {
        principal: name.into(),
        via: Via::Certificate,
        stamp: certificate::stamp(name),
        ..Identity::default()
    };
    for who in [alice.identity("alice"), token.identity("alice"), certificate("cert:alice")] {
        assert_eq!(all.current(&who), Some(who.clone()));
        assert_eq!(all.current(&Identity { stamp: [7; 8], ..who.clone() }), None);
        assert_eq!(sources(&[], &[], false).current(&who), None);
    }
    // Of a name that somebody else has, too.
    let crossed = Identity { principal: "alice".into(), ..token.identity("alice") };
    assert_eq!(all.current(&crossed), None);
    assert_eq!(all.current(&Identity::default()), None, "nobody is let in as anybody");
}

#[test]
fn anybody_is_somebody_only_where_everybody_is_let_in() {
    let nobody = Identity::default();
    assert_eq!(sources(&[], &[], true).current(&nobody), None);
    assert_eq!(Sources { anonymous: true, ..sources(&[], &[], true) }.current(&nobody), Some(nobody));
}
