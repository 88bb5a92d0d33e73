use std::path::Path;
use std::time::Duration;

use super::super::decode::decode;
use super::super::load::defaults;
use super::super::{Config, check, yaml};
use super::*;

/// What some sections come to, each a line of a list that begins in line 3 of a file.
fn decoded(sections: &[&str]) -> (Config, Vec<String>) {
    let lines: String = sections.iter().map(|section| format!("    - {section}\n")).collect();
    whole(&format!("server:\n  grants:\n{lines}"))
}

fn whole(text: &str) -> (Config, Vec<String>) {
    let mut problems = Vec::new();
    let mut tree = yaml::read(text, &Path::new("f").into(), &mut problems);
    check::sift(&mut tree, &mut problems);
    let mut all = defaults();
    all.overlay(tree);
    let config = decode(&all, &[], &mut problems);
    (config, problems.iter().map(ToString::to_string).collect())
}

fn sections(sections: &[&str]) -> Vec<Section> {
    let (config, problems) = decoded(sections);
    assert_eq!(problems, [""; 0], "{sections:?}");
    config.server.grants
}

/// The only thing that is wrong.
fn problem(lines: &[&str]) -> String {
    let (_, problems) = decoded(lines);
    let [problem] = &problems[..] else { panic!("{lines:?}: {problems:#?}") };
    problem.clone()
}

#[test]
fn a_section_says_everything_that_a_grant_can_say() {
    let all = "{who: [alice, group:ops, token:ci], rules: [deny 10.1.0.1, 10.1.0.0/16], reverse: 0.0.0.0:53, classes: \
               realtime, copies: 2, flows: 100, sessions: 3, datagrams: 5_000/s, bytes: 10MiB/s, flow_datagrams: 10/s, \
               flow_bytes: 1kB/s, expires: 2027-01-31}";
    let [section] = &sections(&[all])[..] else { panic!("one is one") };
    let who: Vec<_> = section.who.iter().map(ToString::to_string).collect();
    assert_eq!(who, ["alice", "group:ops", "token:ci"]);
    assert_eq!(section.rules.as_slice().len(), 2);
    assert_eq!(section.reverse.as_slice()[0].to_string(), "allow 0.0.0.0:53");
    assert_eq!(section.classes, Classes { reliable: false, realtime: true });
    assert_eq!((section.copies, section.flows, section.sessions), (2, Some(100), Some(3)));
    let rate = |per_second, burst| Some(Rate { per_second, burst });
    assert_eq!(section.rates, Rates { datagrams: rate(5_000, 5_000), bytes: rate(10 << 20, 10 << 20) });
    assert_eq!(section.flow_rates, Rates { datagrams: rate(10, 10), bytes: rate(1_000, 64 << 10) });
    assert_eq!(section.expires.map(moment::write), Some("2027-01-31T00:00:00Z".into()));
}

#[test]
fn a_section_that_only_names_somebody_limits_nothing_and_lets_nobody_listen() {
    let [section] = &sections(&["who: '*'"])[..] else { panic!("one is one") };
    assert_eq!(section.who, [Who::Everybody]);
    assert!(section.rules.as_slice().is_empty() && section.reverse.as_slice().is_empty());
    assert_eq!(section.classes, Classes::default());
    assert_eq!((section.copies, section.flows, section.sessions, section.expires), (8, None, None, None));
    assert_eq!((section.rates, section.flow_rates), (Rates::default(), Rates::default()));
}

#[test]
fn every_field_that_is_told_of_is_read() {
    for field in &FIELDS {
        let value = if field.list { "[[x]]" } else { "[x]" };
        let who = if field.name == "who" { "" } else { "who: alice, " };
        let told = problem(&[&format!("{{{who}{}: {value}}}", field.name)]);
        assert!(told.contains(&format!("server.grants[0].{}", field.name)) && told.contains("allowed is"), "{told}");
        assert!(field.help.ends_with('.'), "{field:?}");
    }
}

#[test]
fn mistakes_are_told_with_their_line_their_cause_and_a_way_out() {
    for (line, says) in [
        (
            "{who: alice, rules: [allow *, 10.0.0.1/8]}",
            "rules[1]: \"10.0.0.1/8\" at column 1: bits are set behind the prefix of 8; did you mean \"10.0.0.0/8\"?",
        ),
        ("{who: alice, rules: []}", "rules: an empty list allows nothing; leave it out, or write `deny *`"),
        ("{who: alice, classes: []}", "classes: an empty list allows nothing; leave it out"),
        ("{who: []}", "who: an empty list allows nothing; leave it out"),
        ("{who: alice, rule: '*'}", "rule: a grant has no `rule`; did you mean `rules`?"),
        ("{who: alice, colour: red}", "colour: a grant has no `colour`; allowed are who, rules, reverse, classes,"),
        ("{rules: '*'}", ": nobody is named; `who` takes the name of a user,"),
        (
            "{who: alice, classes: realtim}",
            "classes: `realtim` is not allowed here; allowed is one of reliable, realtime; did you mean `realtime`?",
        ),
        ("{who: alice, copies: 9}", "copies: `9` is not allowed here; allowed is a number from 1 to 8"),
        ("{who: alice, flows: 0}", "flows: `0` is not allowed here; allowed is a number from 1 to"),
        (
            "{who: alice, datagrams: 5000}",
            "datagrams: `5000` is not allowed here; allowed is a number in a second, as 5000/s",
        ),
        ("{who: alice, datagrams: 0/s}", "datagrams: `0/s` is not allowed here"),
        ("{who: alice, bytes: 10M/s}", "bytes: `10M/s` is not allowed here; allowed is a size in a second, as 10MiB/s"),
        (
            "{who: alice, expires: soon}",
            "expires: `soon` is not allowed here; allowed is a date, or a date and a time with its zone, as 2027-01-31",
        ),
        (
            "{who: alice, datagrams: 10/s, flow_datagrams: 11/s}",
            "flow_datagrams: is more than `datagrams`, which all flows have together, so it limits nothing; lower it",
        ),
        ("{who: alice, bytes: 1MB/s, flow_bytes: 1MiB/s}", "flow_bytes: is more than `bytes`"),
        (
            "{who: alice, reverse: example.com}",
            "reverse: `allow example.com` lets nobody listen, for one listens at an address; name that",
        ),
        ("alice", ": found is a single value; allowed is a section with `who` and what they may do, as {who: alice,"),
        ("{who: alice, rules: {a: b}}", "rules: found is a section; allowed is `[allow|deny] HOST[:PORTS]`"),
    ] {
        let told = problem(&[line]);
        assert!(told.starts_with("f:3:") && told.contains("server.grants[0]") && told.contains(says), "{line}: {told}");
    }
}

#[test]
fn a_who_that_nobody_can_be_is_refused_with_what_may_have_been_meant() {
    for (who, says) in [
        ("''", "allowed is the name of a user, group:NAME, token:NAME"),
        ("all", "; did you mean '*'?"),
        ("anonymous", "; did you mean '*'?"),
        ("user:alice", "a user is meant by the name alone: did you mean `alice`?"),
        ("tokens:ci", "; did you mean `token:ci`?"),
        ("grop:ops", "; did you mean `group:ops`?"),
        ("zzz:ci", "allowed is the name of a user"),
        ("'token:'", "allowed is the name of a user"),
        ("'group:*'", "allowed is the name of a user"),
        ("'**'", "allowed is the name of a user"),
        ("'al ice'", "allowed is the name of a user"),
        ("\"al\\nice\"", "allowed is the name of a user"),
    ] {
        let told = problem(&[&format!("who: {who}")]);
        assert!(told.contains("server.grants[0].who: ") && told.contains(says), "{who}: {told}");
    }
}

#[test]
fn whoever_is_spoken_of_twice_or_after_everybody_is_told_with_both_places() {
    let twice = problem(&["who: alice", "who: [bob, alice]"]);
    assert_eq!(twice, "f:4:18: server.grants[1].who: `alice` has a section already (f:3:12); one of them has to go");
    let within = problem(&["who: [alice, alice]"]);
    assert!(within.starts_with("f:3:20: server.grants[0].who: `alice` has a section already (f:3:13)"), "{within}");
    let after = problem(&["who: '*'", "who: alice"]);
    assert_eq!(
        after,
        "f:4:12: server.grants[1].who: nobody comes here, for `*` stands before it (f:3:12); put that last"
    );
    assert_eq!(sections(&["who: alice", "who: group:alice", "who: token:alice", "who: '*'"]).len(), 4);
}

#[test]
fn an_empty_list_of_sections_is_refused_and_none_at_all_is_fine() {
    let (_, problems) = whole("server:\n  grants: []\n");
    assert_eq!(
        problems,
        ["f:2:11: server.grants: an empty list lets nobody do anything; leave it out, and everybody may do what \
          `server.rules` says"]
    );
    let (config, problems) = whole("server:\n  grants:\n");
    assert!(config.server.grants.is_empty() && problems.is_empty(), "{problems:?}");
    let (_, problems) = whole("server:\n  grants: {who: alice}\n");
    assert_eq!(problems, ["f:2:3: server.grants: found is a section; allowed is a list of them"]);
}

#[test]
fn rules_for_everybody_count_among_those_of_a_section() {
    let many = vec!["8.8.8.8"; 600].join(", ");
    let (_, problems) =
        whole(&format!("server:\n  rules: [{many}]\n  grants:\n    - {{who: alice, rules: [{many}]}}\n"));
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].contains("these are 1200 rules with those of `server.rules`; allowed are 1024"),
        "{problems:?}"
    );
}

#[test]
fn a_section_that_is_over_is_told_of_and_one_that_will_be_is_not() {
    let now = moment::read("2026-06-01").unwrap();
    let tree = |text: &str| {
        let text = format!("server:\n  grants:\n    - {{who: alice, expires: {text}}}\n");
        yaml::read(&text, &Path::new("f").into(), &mut Vec::new())
    };
    for (text, is_over) in
        [("2026-06-01", true), ("2020-01-01", true), ("2026-06-01T00:00:01Z", false), ("soon", false)]
    {
        let told: Vec<_> = over(&tree(text), now).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), usize::from(is_over), "{text}: {told:?}");
        assert!(
            !is_over || told[0].starts_with("f:3:29: server.grants[0].expires: `") && told[0].contains(" is over, so "),
            "{told:?}"
        );
    }
    assert!(over(&tree("2026-06-01"), now - Duration::from_secs(1)).is_empty());
}

#[test]
fn a_who_for_which_nothing_is_configured_is_refused_when_it_is_to_serve() {
    let wrong = |auth: &str, who: &str| {
        let text = format!("server:\n  auth: {{{auth}}}\n  grants:\n    - who: ['*', {who}]\n");
        let mut problems = Vec::new();
        let mut tree = yaml::read(&text, &Path::new("f").into(), &mut problems);
        check::sift(&mut tree, &mut problems);
        let mut all = defaults();
        all.overlay(tree);
        let mut reader = Reader::new(&all, &mut problems);
        let server =
            Server { auth: super::super::auth::auth(&mut reader), ..decode(&defaults(), &[], &mut Vec::new()).server };
        possible(&mut reader, &server);
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(told.iter().all(|told| told.starts_with("f:4:18: server.grants[0].who: nobody can be `")), "{told:?}");
        told.len()
    };
    for (who, auth) in [
        ("alice", "users: u.yaml"),
        ("group:ops", "tokens: t.yaml"),
        ("group:ops", "users: u.yaml"),
        ("token:ci", "tokens: t.yaml"),
        ("cert:laptop", "certificates: true"),
        ("jwt:alice", "jwt: {jwks: 'https://a.example/keys', issuer: a, audience: b}"),
        ("alice", "jwt: {jwks: 'https://a.example/keys', issuer: a, audience: b}"),
    ] {
        assert_eq!((wrong("", who), wrong(auth, who)), (1, 0), "{who}");
    }
    assert_eq!(wrong("tokens: t.yaml", "alice"), 1);
    assert_eq!(wrong("users: u.yaml", "token:ci"), 1);
    assert_eq!(wrong("certificates: true", "key:laptop"), 1);
}
