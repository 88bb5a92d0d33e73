use std::net::SocketAddr;
use std::time::Duration;

use sudp_tests::rules_ref::Reference;
use sudp_tokio::proto::access::{Classes, Destination, Own, Rate, Rates};
use sudp_tokio::proto::rng::{Rng, Seed};

use super::*;

fn rules(lines: &[&str]) -> Rules {
    Rules::parse(lines.iter().copied()).expect("they are rules")
}

fn section(who: &[Who], lines: &[&str]) -> Section {
    Section {
        who: who.to_vec(),
        rules: rules(lines),
        reverse: Rules::default(),
        classes: Classes::default(),
        copies: 8,
        flows: None,
        sessions: None,
        rates: Rates::default(),
        flow_rates: Rates::default(),
        expires: None,
    }
}

fn book(lines: &[&str], sections: Vec<Section>) -> Book {
    let common = rules(lines);
    let with_all = |section: Section| {
        let all = [common.as_slice(), section.rules.as_slice()].concat();
        (section, Rules::new(all).expect("they are few"))
    };
    Book { version: 0, sections: sections.into_iter().map(with_all).collect(), rules: common }
}

fn principal(name: &str) -> Who {
    Who::Principal(name.into())
}

fn identity(name: &str, groups: &[&str]) -> Identity {
    let groups = groups.iter().map(|it| (*it).into()).collect();
    let via = match name.split_once(':') {
        Some(("token", _)) => Via::Token,
        Some(_) => Via::Certificate,
        None if name.is_empty() => Via::Anonymous,
        None => Via::Password,
    };
    Identity { principal: name.into(), via, groups, ..Identity::default() }
}

fn listens(lines: &[&str], at: &str) -> bool {
    let grant = book(lines, Vec::new()).grant(&Identity::default()).expect("everybody has one");
    grant.decide_bind(sudp_tokio::now(), at.parse().expect("an address")).allowed
}

fn sends(grant: &Grant, to: &str) -> bool {
    let to = Destination::from(to.parse::<SocketAddr>().expect("an address"));
    grant.decide(sudp_tokio::now(), &to, &Own::default()).allowed
}

#[test]
fn what_is_named_by_address_may_be_listened_at_and_everything_may_not() {
    assert!(listens(&["allow 127.0.0.0/8"], "127.0.0.1:5005"));
    assert!(listens(&["allow 0.0.0.0:5005"], "0.0.0.0:5005"));
    assert!(!listens(&["allow 127.0.0.1:53"], "127.0.0.1:5005"));
    assert!(!listens(&["deny 127.0.0.1", "allow 127.0.0.0/8"], "127.0.0.1:5005"));
    for rule in ["allow *", "allow 0.0.0.0/0", "allow example.com", "allow ::/0"] {
        assert!(!listens(&[rule], "127.0.0.1:5005"), "{rule}");
        assert!(!listens(&[rule], "0.0.0.0:5005"), "{rule}");
    }
}

#[test]
fn the_first_section_that_speaks_of_somebody_decides_alone() {
    let book = book(
        &["deny 10.0.0.1", "allow 9.9.9.9"],
        vec![
            section(&[principal("alice"), principal("token:ci")], &["allow 10.0.0.0/8"]),
            section(&[Who::Group("ops".into())], &["allow 10.1.0.0/16"]),
            section(&[principal("bob")], &["allow 192.168.0.0/16"]),
        ],
    );
    let may = |who: &Identity| {
        let grant = book.grant(who)?;
        let to = ["10.0.0.1:1", "10.0.0.2:1", "10.1.0.1:1", "192.168.0.1:1", "9.9.9.9:1"];
        Some(to.map(|to| sends(&grant, to)))
    };
    assert_eq!(may(&identity("alice", &["ops"])), Some([false, true, true, false, true]));
    assert_eq!(may(&identity("token:ci", &[])), Some([false, true, true, false, true]));
    assert_eq!(may(&identity("bob", &["ops"])), Some([false, false, true, false, true]), "the group comes first");
    assert_eq!(may(&identity("bob", &["other"])), Some([false, false, false, true, true]));
    for nobody in [identity("", &[]), identity("carol", &["op"]), identity("ci", &[]), identity("Alice", &[])] {
        assert_eq!(may(&nobody), None, "{nobody:?}");
    }
}

#[test]
fn nobody_becomes_another_by_calling_itself_like_it() {
    const VIAS: [Via; 6] = [Via::Anonymous, Via::Password, Via::Jwt, Via::Introspection, Via::Token, Via::Certificate];
    for (who, principal, vias) in [
        ("alice", "alice", &[Via::Password, Via::Jwt, Via::Introspection][..]),
        ("jwt:alice", "alice", &[Via::Jwt, Via::Introspection]),
        ("jwt:repo:a/b", "repo:a/b", &[Via::Jwt, Via::Introspection]),
        ("token:ci", "token:ci", &[Via::Token]),
        ("cert:laptop", "cert:laptop", &[Via::Certificate]),
        ("key:laptop", "key:laptop", &[]),
        ("token:ci", "ci", &[]),
        ("jwt:alice", "jwt:alice", &[]),
    ] {
        let book = book(&[], vec![section(&[Who::Principal(who.into())], &[])]);
        for via in VIAS {
            let asks = Identity { principal: principal.into(), via, ..Identity::default() };
            assert_eq!(book.grant(&asks).is_some(), vias.contains(&via), "{who}: {principal} by {via:?}");
        }
    }
}

#[test]
fn everybody_is_also_who_has_no_name() {
    let book =
        book(&[], vec![section(&[principal("alice")], &["allow *"]), section(&[Who::Everybody], &["allow 9.9.9.9"])]);
    for who in [Identity::default(), identity("bob", &[])] {
        let grant = book.grant(&who).expect("they have one");
        assert!(sends(&grant, "9.9.9.9:1") && !sends(&grant, "8.8.8.8:1"));
    }
    assert!(sends(&book.grant(&identity("alice", &[])).expect("she has one"), "8.8.8.8:1"));
}

#[test]
fn a_section_has_its_limits_and_lets_nobody_listen_unless_it_says_where() {
    let rate = Some(Rate { per_second: 7, burst: 7 });
    let limited = Section {
        reverse: rules(&["allow 0.0.0.0:53"]),
        classes: Classes { reliable: true, realtime: false },
        copies: 2,
        flows: Some(9),
        sessions: Some(3),
        rates: Rates { datagrams: rate, bytes: None },
        flow_rates: Rates { datagrams: None, bytes: rate },
        ..section(&[principal("alice")], &[])
    };
    let book = book(&["allow 127.0.0.0/8"], vec![limited.clone(), section(&[principal("bob")], &[])]);
    let grant = book.grant(&identity("alice", &[])).expect("she has one");
    assert_eq!((grant.classes, grant.copies, grant.flows, grant.sessions), (limited.classes, 2, 9, 3));
    assert_eq!((grant.rates, grant.flow_rates), (limited.rates, limited.flow_rates));
    let listens =
        |grant: &Grant, at: &str| grant.decide_bind(sudp_tokio::now(), at.parse().expect("an address")).allowed;
    assert!(listens(&grant, "0.0.0.0:53") && !listens(&grant, "127.0.0.1:53"));
    let grant = book.grant(&identity("bob", &[])).expect("he has one");
    assert!(sends(&grant, "127.0.0.1:53") && !listens(&grant, "127.0.0.1:53"));
    let usual = Grant::new(Rules::default());
    assert_eq!((grant.flows, grant.sessions, grant.copies), (usual.flows, usual.sessions, 8));
}

#[test]
fn a_grant_ends_with_the_section_or_with_the_credential_whichever_is_first() {
    let (now, today) = (sudp_tokio::now(), SystemTime::now());
    let at = |seconds| today + Duration::from_secs(seconds);
    let ends = |section_ends: Option<u64>, credential_ends: Option<u64>| {
        let until = Section { expires: section_ends.map(at), ..section(&[Who::Everybody], &[]) };
        let who = Identity { expires: credential_ends.map(at), ..Identity::default() };
        let book = book(&[], vec![until]);
        let grant = book.said(&who).expect("it speaks of everybody").grant(&who, today, now);
        grant.map(|grant| grant.expires.map(|end| (end - now).as_secs()))
    };
    assert_eq!(ends(None, None), Some(None));
    assert_eq!(ends(Some(9), None), Some(Some(9)));
    assert_eq!(ends(None, Some(5)), Some(Some(5)));
    assert_eq!(ends(Some(9), Some(5)), Some(Some(5)));
    assert_eq!(ends(Some(5), Some(9)), Some(Some(5)));
    assert_eq!(ends(Some(0), Some(9)), None, "what is over is no grant");
    assert_eq!(ends(Some(9), Some(0)), None);
}

#[test]
fn t33_an_end_is_found_anew_by_the_clock_of_the_day_that_is() {
    let (now, end) = (sudp_tokio::now(), SystemTime::now());
    let who = Identity { expires: Some(end), ..Identity::default() };
    let book = book(&[], Vec::new());
    let said = book.said(&who).expect("everybody is spoken of");
    let left = |today| said.grant(&who, today, now).map(|grant| grant.expires.expect("it ends") - now);
    let hour = Duration::from_secs(3_600);
    assert_eq!(left(end - hour), Some(hour));
    assert_eq!(left(end - 2 * hour), Some(2 * hour), "the clock was put back");
    assert_eq!(left(end + hour), None, "the clock was put forward");
    assert_eq!(left(SystemTime::UNIX_EPOCH).map(|left| left > hour), Some(true));
}

#[test]
fn a_scope_narrows_a_grant_with_and_without_sections() {
    let scoped = |name: &str| Identity { scope: Some(Scope::new(rules(&["allow *:53"]))), ..identity(name, &[]) };
    for book in [
        book(&["allow 10.0.0.0/8"], Vec::new()),
        book(&[], vec![section(&[principal("token:ci")], &["allow 10.0.0.0/8"])]),
    ] {
        let grant = book.grant(&scoped("token:ci")).expect("it has one");
        assert!(sends(&grant, "10.0.0.1:53") && !sends(&grant, "10.0.0.1:54") && !sends(&grant, "9.9.9.9:53"));
    }
}

#[test]
fn a_rule_is_known_by_the_path_where_it_was_written() {
    let reverse = section(&[principal("bob")], &["allow 9.9.9.9"]);
    let sections = vec![section(&[principal("alice")], &[]), Section { reverse: rules(&["allow 0.0.0.0"]), ..reverse }];
    let two = ["deny 10.0.0.1", "allow *", "allow 127.0.0.0/8"];
    let with = book(&two, sections);
    let said = with.said(&identity("bob", &[])).expect("he is spoken of");
    assert_eq!(said.section().as_deref(), Some("server.grants[1]"));
    assert_eq!(
        [0, 2, 3].map(|index| said.rule(index)),
        ["server.rules[0]", "server.rules[2]", "server.grants[1].rules[0]"]
    );
    assert_eq!(said.reverse(0), "server.grants[1].reverse[0]");
    let without = book(&two, Vec::new());
    let said = without.said(&identity("bob", &[])).expect("everybody is spoken of");
    assert_eq!((said.section(), said.rule(1)), (None, "server.rules[1]".into()));
    assert_eq!(
        [0, 1].map(|index| said.reverse(index)),
        ["server.rules[0]", "server.rules[2]"],
        "`*` lets nobody listen"
    );
}

/// The book once more, naively: every section asks everybody who they are, and two evaluators have to agree.
#[test]
fn t02_random_books_decide_as_the_reference_does() {
    const LINES: [&str; 12] = [
        "*",
        "*:53",
        "deny *:443",
        "10.0.0.0/8",
        "deny 10.1.0.0/16",
        "10.1.2.3:53",
        "deny 10.1.2.3",
        "*.example",
        "deny a.example",
        "8.8.8.0/24:53",
        "192.168.0.0/16",
        "deny 8.8.8.8",
    ];
    const NAMES: [&str; 5] = ["", "alice", "bob", "token:ci", "cert:laptop"];
    let mut rng = Rng::new(&Seed::from(10));
    let mut below = |end: usize| usize::try_from(rng.u64() % end as u64).expect("it fits");
    let (mut allowed, mut nothing) = (0, 0);
    for _ in 0..2_000 {
        let mut some = |most: usize| (0..below(most)).map(|_| LINES[below(LINES.len())]).collect::<Vec<_>>();
        let common = some(4);
        let lines = [some(5), some(5), some(5)];
        let scope = some(3);
        let whos: Vec<Vec<Who>> = (0..below(4))
            .map(|_| {
                (0..1 + below(2))
                    .map(|_| match below(8) {
                        0 => Who::Everybody,
                        1 | 2 => Who::Group(["ops", "dev"][below(2)].into()),
                        _ => principal(NAMES[1 + below(4)]),
                    })
                    .collect()
            })
            .collect();
        let sections = whos.iter().zip(&lines).map(|(who, lines)| section(who, lines)).collect();
        let book = book(&common, sections);
        let groups = [&[][..], &["ops"], &["dev"], &["dev", "ops"]][below(4)];
        let with_scope = below(2) == 0;
        let who =
            Identity { scope: with_scope.then(|| Scope::new(rules(&scope))), ..identity(NAMES[below(5)], groups) };
        let meant = |it: &Who| match it {
            Who::Everybody => true,
            Who::Group(group) => groups.iter().any(|own| own == group),
            Who::Principal(name) => name == &who.principal,
        };
        let speaks = whos.iter().position(|section| section.iter().any(meant));
        let expected = match (whos.is_empty(), speaks) {
            (true, _) => Some(common.clone()),
            (false, Some(index)) => Some([&common[..], &lines[index]].concat()),
            (false, None) => None,
        };
        let grant = book.grant(&who);
        assert_eq!(grant.is_some(), expected.is_some(), "{who:?} of {whos:?}");
        let (Some(grant), Some(expected)) = (grant, expected) else {
            nothing += 1;
            continue;
        };
        let narrow = with_scope.then_some(&scope[..]);
        let reference = Reference::scoped(expected.iter().copied(), narrow.map(|it| it.iter().copied()), &[], &[]);
        for _ in 0..20 {
            let to = ["10.1.2.3", "10.0.0.1", "8.8.8.8", "192.168.1.1", "1.1.1.1", "::ffff:10.1.2.3"][below(6)];
            let (address, port) = (to.parse().expect("an address"), [53, 443, 80][below(3)]);
            let name = [None, Some("a.example"), Some("b.example")][below(3)];
            let asked = Destination { name, address: SocketAddr::new(address, port) };
            let decided = grant.decide(sudp_tokio::now(), &asked, &Own::default()).allowed;
            assert_eq!(decided, reference.decide(name, address, port).0, "{asked:?} by {expected:?} within {narrow:?}");
            allowed += usize::from(decided);
        }
    }
    assert!(allowed > 2_000 && nothing > 200, "{allowed} {nothing}");
}
