use proptest::prelude::*;

use super::*;
use crate::config::show::scalar;

fn read_all(text: &str) -> (Map, Vec<String>) {
    let mut problems = Vec::new();
    let map = read(text, &Path::new("f").into(), &mut problems);
    (map, problems.iter().map(ToString::to_string).collect())
}

/// What a text says at a path, and where, if nothing is wrong with it.
fn at(text: &str, path: &str) -> (String, String) {
    let (map, problems) = read_all(text);
    assert_eq!(problems, [""; 0], "{text:?}");
    match map.find(path) {
        Some(Node { value: Value::Text(value), origin }) => (value.clone(), origin.to_string()),
        other => panic!("{path} in {text:?} is {other:?}"),
    }
}

fn problem(text: &str) -> String {
    let (_, problems) = read_all(text);
    assert_eq!(problems.len(), 1, "{text:.100?}: {problems:?}");
    problems[0].clone()
}

#[test]
fn a_value_is_what_stands_there_whatever_yaml_takes_it_for() {
    let values = [
        "1e3",
        "12e45678",
        "-1e999",
        "0x10",
        "010",
        "1_000",
        "true",
        "no",
        "1.50",
        ".inf",
        ".NaN",
        "-.INF",
        "-5s",
        "12:30:45",
        "2026-11-21",
        "+7",
    ];
    for value in values {
        assert_eq!(at(&format!("a: {{b: {value}}}"), "a.b").0, value);
        assert_eq!(at(&format!("a:\n  b: {value} # a comment\n"), "a.b").0, value);
        assert_eq!(at(&format!("a: {{b: \"{value}\"}}"), "a.b").0, value);
    }
    assert_eq!(at("a: {b: !!str 1e3}", "a.b").0, "1e3");
    assert_eq!(at("a: |\n  one\n  two\n", "a").0, "one\ntwo\n");
}

proptest! {
    /// As the id of a token is written, that of any token.
    #[test]
    fn digits_and_letters_stay_what_they_are(value in "[0-9a-f]{1,4}[0-9e]{1,4}") {
        let text = format!("a: {}\n", scalar(&value));
        prop_assert_eq!(at(&text, "a").0, value);
    }
}

#[test]
fn a_value_knows_its_line_and_column() {
    assert_eq!(at("a:\n  b: x\n", "a.b").1, "f:2:6");
    assert_eq!(at("é: {b: 1}", "é.b").1, "f:1:8");
    let (map, _) = read_all("a:\n  - one\n  - - two\n");
    let Some(Node { value: Value::List(list), .. }) = map.find("a") else { panic!("{map:?}") };
    assert_eq!(list.iter().map(|node| node.origin.to_string()).collect::<Vec<_>>(), ["f:2:5", "f:3:5"]);
}

#[test]
fn what_stands_behind_an_alias_is_where_it_was_written() {
    assert_eq!(at("a: &x {b: 1}\nc: *x\n", "c.b"), ("1".into(), "f:1:11".into()));
    assert_eq!(at("a: &x {b: 2}\nc:\n  <<: *x\n", "c.b").0, "2");
}

#[test]
fn nothing_is_no_mistake() {
    for text in ["", "\n\n", "# only a comment", "---\n", "{}", "a:", "\u{feff}", "a:\r\n  # nothing\r\n"] {
        let (_, problems) = read_all(text);
        assert_eq!(problems, [""; 0], "{text:?}");
    }
    assert_eq!(read_all("a:\n  b:\n").0.find("a.b"), None);
}

#[test]
fn marks_and_line_ends_of_other_systems_change_nothing() {
    assert_eq!(at("\u{feff}a: x\n", "a").0, "x");
    assert_eq!(at("a: x\r\nb: 1\r\n", "b"), ("1".into(), "f:2:4".into()));
    assert_eq!(at("a: x", "a").0, "x");
}

#[test]
fn every_key_stands_only_once() {
    let words = "this key stands here a second time; the first is at";
    assert_eq!(problem("a: 1\nb: 2\na: 3\n"), format!("f:3:1: a: {words} f:1:1"));
    let (map, problems) = read_all("a: {b: 1, b: 2}\nc: 1\nc: 2\n");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(map.find("a.b").map(|node| node.value.clone()), Some(Value::Text("1".into())));
}

#[test]
fn what_is_no_configuration_is_told_with_its_place() {
    assert_eq!(problem("a\u{0}: 1"), "f:1:2: the character \\u{0} cannot stand in a configuration");
    assert_eq!(problem("a: 1\nb: \u{1b}[31m"), "f:2:4: the character \\u{1b} cannot stand in a configuration");
    assert_eq!(problem("- a\n"), "f:1:1: a configuration has sections, as `server:`; found is a list");
    assert_eq!(problem("hello"), "f:1:1: a configuration has sections, as `server:`; found is a single value");
    for text in ["a: [", "a: }", "a: 'x", "a: b: c", "a: *nobody", "a: &x [*x]", "a: 1\n---\nb: 2", "a: !wild 1"] {
        let problem = problem(text);
        assert!(problem.starts_with("f:1:") || problem.starts_with("f:2:") || problem.starts_with("f:3:"), "{problem}");
        assert!(!problem.contains('\n') && problem.len() < 200, "{problem}");
    }
}

#[test]
fn what_is_too_much_is_refused_quickly() {
    let begun = std::time::Instant::now();
    let deep = 100_000;
    let bomb = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let inner = format!("*a{}, ", level - 1).repeat(9);
        format!("{text}a{level}: &a{level} [{inner}]\n")
    });
    for text in [
        "[".repeat(deep),
        "{a: ".repeat(deep),
        (0..deep / 100).map(|level| format!("{}a:\n", " ".repeat(level))).collect(),
        (0..200_000).map(|key| format!("k{key}:\n")).collect(),
        bomb,
    ] {
        problem(&text);
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

proptest! {
    #[test]
    fn no_text_is_too_odd_to_be_refused_in_one_line(text in "[a-z:#&*!|>'\"{}\\[\\], \n\t-]{0,60}|\\PC{0,40}") {
        let (_, problems) = read_all(&text);
        for problem in problems {
            prop_assert!(problem.starts_with("f") && !problem.contains('\n') && problem.len() < 400, "{problem}");
        }
    }

    #[test]
    fn a_configuration_that_was_hit_somewhere_is_read_or_refused(at in 0_usize..400, with in "\\PC|[\n\t:{}\\[\\]*&-]") {
        let whole = "server:\n  listen: [127.0.0.1:80, '[::1]:80']\n  tls: {cert: a, key: b}\nclient:\n  tunnels:\n\
                     \x20   - forward 1:h:2\n    - {socks: 1, name: \"x\"}\n  headers: {A: |-\n    b\n  }\n";
        let mut text = whole.to_owned();
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.insert_str(at, &with);
        let mut problems = Vec::new();
        let mut tree = read(&text, &Path::new("f").into(), &mut problems);
        super::super::check::sift(&mut tree, &mut problems);
        super::super::decode::decode(&tree, &[], &mut problems);
        for problem in problems {
            prop_assert!(!problem.to_string().contains('\n'), "{problem}");
        }
    }
}
