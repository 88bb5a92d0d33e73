use std::path::Path;

use sudp_tokio::proto::access::Rules;

use super::*;
use crate::access::Via;
use crate::access::book::Scope;
use crate::config::decode::decode;
use crate::config::load::defaults;
use crate::config::{check, yaml};

const FILE: &str = "\
server:
  listen: 127.0.0.1:8080
  rules:
    - deny 10.0.0.1
    - 2002::/16
  grants:
    - who: [alice, group:ops]
      rules:
        - 10.0.0.0/8
        - '*.example:53'
      reverse: 0.0.0.0:53
    - {who: bob, expires: 2020-01-01}
    - {who: carol, expires: 2999-01-01, rules: 9.9.9.9}
";

fn asked(file: &str, who: Identity, to: &str, bind: bool, answers: &[&str]) -> Explained {
    let mut gathered = Gathered { tree: defaults(), ..Gathered::default() };
    let mut tree = yaml::read(file, &Path::new("f").into(), &mut gathered.problems);
    check::sift(&mut tree, &mut gathered.problems);
    gathered.tree.overlay(tree);
    let config = decode(&gathered.tree, &[], &mut gathered.problems);
    assert_eq!(gathered.problems, []);
    let question = Question { who, to: to.parse().unwrap(), bind };
    let answers: Vec<IpAddr> = match answers {
        [] => resolve(&question).unwrap(),
        [_, ..] => answers.iter().map(|it| it.parse().unwrap()).collect(),
    };
    Asker { gathered: &gathered, config: &config, question: &question }.explain(&answers)
}

fn who(name: &str) -> Identity {
    let via = if name.is_empty() { Via::Anonymous } else { Via::Password };
    Identity { principal: name.into(), via, ..Identity::default() }
}

fn told(name: &str, to: &str) -> String {
    asked(FILE, who(name), to, false, &[]).to_string()
}

#[test]
fn the_rule_that_decides_is_told_with_its_place() {
    assert_eq!(
        told("alice", "10.0.0.2:53"),
        "alice may send to 10.0.0.2:53\n  by server.grants[0] (f:7:7)\n  10.0.0.2: allowed by `allow 10.0.0.0/8`, \
         server.grants[0].rules[0] (f:9:11)\n"
    );
    assert_eq!(
        told("alice", "10.0.0.1:53"),
        "alice may not send to 10.0.0.1:53\n  by server.grants[0] (f:7:7)\n  10.0.0.1: denied by `deny 10.0.0.1`, \
         server.rules[0] (f:4:7)\n"
    );
    assert!(told("alice", "127.0.0.1:8080").ends_with("  127.0.0.1: denied: a port of the server itself\n"));
    assert!(
        told("alice", "127.0.0.1:81").ends_with("  127.0.0.1: denied: 127.0.0.0/8 (loopback), closed by default\n")
    );
    assert!(told("alice", "8.8.8.8:53").ends_with("  8.8.8.8: denied: no rule matches\n"));
}

#[test]
fn every_form_of_an_address_is_told() {
    assert_eq!(
        told("alice", "[2002:7f00:1::1]:53"),
        "alice may not send to [2002:7f00:1::1]:53\n  by server.grants[0] (f:7:7)\n  2002:7f00:1::1: denied, for one form \
         is\n    2002:7f00:1::1: allowed by `allow 2002::/16`, server.rules[1] (f:5:7)\n    127.0.0.1: denied: 127.0.0.0/8 \
         (loopback), closed by default\n"
    );
    assert!(told("alice", "[2002:a00:2::1]:53").contains("2002:a00:2::1: allowed, in every form\n"));
    let mapped = told("alice", "[::ffff:10.0.0.1]:53");
    assert!(mapped.contains("may not") && mapped.contains("10.0.0.1: denied by `deny 10.0.0.1`"), "{mapped}");
}

#[test]
fn every_address_of_a_name_is_told_and_one_that_is_allowed_is_enough() {
    let answers = ["8.8.8.8", "127.0.0.1", "10.0.0.2"];
    let explained = asked(FILE, who("alice"), "a.example:53", false, &answers);
    let allowed: Vec<_> = explained.addresses.iter().map(|address| address.allowed).collect();
    assert_eq!((explained.allowed, &allowed[..]), (true, &[true, false, true][..]));
    let text = explained.to_string();
    assert!(text.contains("8.8.8.8: allowed by `allow *.example:53`, server.grants[0].rules[1] (f:10:11)"), "{text}");
    assert!(!asked(FILE, who("alice"), "a.example:54", false, &answers[..2]).allowed);
}

#[test]
fn who_is_granted_nothing_is_told_why() {
    assert_eq!(
        told("dave", "10.0.0.2:53"),
        "dave may not send to 10.0.0.2:53\n  no section of server.grants speaks of them\n"
    );
    assert_eq!(
        told("bob", "10.0.0.2:53"),
        "bob may not send to 10.0.0.2:53\n  by server.grants[1] (f:12:7)\n  what was granted has ended (2020-01-01T00:00:00Z)\n"
    );
    assert!(told("", "10.0.0.2:53").starts_with("somebody without a name may not send"));
    assert!(told("carol", "9.9.9.9:1").contains("\n  until 2999-01-01T00:00:00Z\n"));
}

#[test]
fn groups_scopes_and_listening_are_minded() {
    let ops = Identity { groups: vec!["ops".into()], ..who("dave") };
    assert!(asked(FILE, ops.clone(), "10.0.0.2:53", false, &[]).allowed);
    let narrow = |line: &str| Identity { scope: Some(Scope::new(Rules::parse([line]).unwrap())), ..ops.clone() };
    assert!(asked(FILE, narrow("*:53"), "10.0.0.2:53", false, &[]).allowed);
    let out = asked(FILE, narrow("*:53"), "10.0.0.2:54", false, &[]).to_string();
    assert!(out.ends_with("10.0.0.2: denied: no rule of the scope matches\n"), "{out}");
    let out = asked(FILE, narrow("deny *:53"), "10.0.0.2:53", false, &[]).to_string();
    assert!(out.ends_with("10.0.0.2: denied by `deny *:53`, rule 1 of the scope\n"), "{out}");
    let listen = asked(FILE, ops.clone(), "0.0.0.0:53", true, &[]);
    let text = listen.to_string();
    assert!(text.starts_with("dave may listen at 0.0.0.0:53\n"), "{text}");
    assert!(
        text.ends_with("0.0.0.0: allowed by `allow 0.0.0.0:53`, server.grants[0].reverse[0] (f:11:16)\n"),
        "{text}"
    );
    assert!(!asked(FILE, ops, "0.0.0.0:54", true, &[]).allowed);
}

#[test]
fn without_sections_the_rules_for_everybody_decide() {
    let file = "server: {rules: [deny 10.0.0.1, '*', 127.0.0.0/8]}";
    let listen = asked(file, who("alice"), "127.0.0.1:53", true, &[]).to_string();
    assert!(listen.ends_with("allowed by `allow 127.0.0.0/8`, server.rules[2] (f:1:38)\n"), "{listen}");
    let one = asked("server: {rules: 127.0.0.0/8}", who(""), "127.0.0.1:53", false, &[]).to_string();
    assert!(one.ends_with("allowed by `allow 127.0.0.0/8`, server.rules[0] (f:1:17)\n"), "{one}");
}

#[test]
fn programs_are_told_the_same() {
    let json = serde_json::to_value(asked(FILE, who("alice"), "10.0.0.2:53", false, &[])).unwrap();
    assert_eq!(
        (&json["allowed"], &json["wants"], &json["section"]["key"]),
        (&true.into(), &"send".into(), &"server.grants[0]".into())
    );
    let form = &json["addresses"][0]["forms"][0];
    assert_eq!((&form["rule"], &form["at"]), (&"allow 10.0.0.0/8".into(), &"f:9:11".into()));
    assert_eq!(form["key"], "server.grants[0].rules[0]");
}
