use std::fs;
use std::path::Path;

use super::super::decode::decode;
use super::super::load::defaults;
use super::super::tree::Problem;
use super::super::{check, yaml};
use super::*;

fn read(text: &str) -> (super::super::tree::Map, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut tree = yaml::read(text, &Path::new("example.yaml").into(), &mut problems);
    check::sift(&mut tree, &mut problems);
    (tree, problems)
}

#[test]
fn an_example_changes_nothing_as_it_is() {
    for role in [None, Some(Role::Server), Some(Role::Client)] {
        let (tree, problems) = read(&example(role));
        assert_eq!(problems, []);
        let mut all = defaults();
        all.overlay(tree);
        assert_eq!(all, defaults());
    }
}

#[test]
fn every_line_of_the_example_can_be_used_once_it_is_no_comment() {
    let text = example(None);
    let uncommented = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => line.replacen('#', "", 1),
        Some(_) | None => line.to_owned(),
    };
    let text: String = text.lines().map(|line| uncommented(line) + "\n").collect();
    let (tree, mut problems) = read(&text);
    for key in KEYS.iter() {
        assert!(tree.find(key.path).is_some(), "{} is missing in\n{text}", key.path);
    }
    let mut all = defaults();
    all.overlay(tree);
    decode(&all, &[], &mut problems);
    // Of each of these one may be no comment: authorities and keys are two ways to trust, keys of tokens have two places,
    // and there are several ways to be let in.
    let problems: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(problems, ["server.auth.jwt.jwks", "client.tls.pins", "client.auth.token"]);
}

#[test]
fn an_example_for_one_role_leaves_the_other_out() {
    assert!(!example(Some(Role::Server)).contains("\nclient:"));
    assert!(!example(Some(Role::Client)).contains("\nserver:"));
    assert!(example(Some(Role::Client)).contains("\nlimits:"));
}

#[test]
fn the_schema_has_every_key_and_no_others() {
    let schema = schema();
    let mut count = 0;
    for key in KEYS.iter() {
        let mut at = &schema;
        for name in key.path.split('.') {
            assert_eq!(at["additionalProperties"], json!(false), "{}", key.path);
            at = &at["properties"][name];
        }
        assert!(at["description"].as_str().unwrap().starts_with(&key.help), "{}", key.path);
        count += 1;
    }
    assert!(count > 60, "{count}");
    assert!(schema["properties"]["client"]["properties"]["proxy_file"].is_object());
}

#[test]
fn the_page_has_every_key_and_nothing_that_roff_would_take_for_its_own() {
    let page = page();
    for key in KEYS.iter() {
        assert!(page.contains(&format!("\\fB{}\\fR", roff(key.path))), "{}", key.path);
    }
    assert!(
        page.lines()
            .filter(|line| line.starts_with('.'))
            .all(|line| { [".TH ", ".SH ", ".TP", ".PP"].iter().any(|request| line.starts_with(request)) })
    );
}

#[test]
fn the_first_example_of_the_document_can_be_used() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")).unwrap();
    let example = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (tree, mut problems) = read(example);
    let mut all = defaults();
    all.overlay(tree);
    let config = decode(&all, &[Role::Server], &mut problems);
    assert_eq!(problems, []);
    assert_eq!((config.client.tunnels.len(), config.server.rules.as_slice().len()), (4, 2));
}

/// `UPDATE_DOCS=1` writes the table anew.
#[test]
fn the_document_lists_every_key_as_the_program_knows_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (front, rest) = text.split_once(BEGIN).expect("the mark of the table is there");
    let (_, back) = rest.split_once(END).expect("the mark of its end is there");
    let current = format!("{front}{BEGIN}\n\n{}\n{END}{back}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &current).unwrap();
    }
    assert!(current == text || std::env::var_os("UPDATE_DOCS").is_some(), "run the tests with UPDATE_DOCS=1");
}

/// The table of keys, as it stands in the documents.
fn table() -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS.iter() {
        let (own, _) = key.path.split_once('.').expect("every key is in a section");
        if own != section {
            section = own;
            let _ = write!(text, "### `{section}`\n\n| key | what it takes | default | reload | what it means |\n");
            text.push_str("|---|---|---|---|---|\n");
        }
        let default = match &key.default {
            Some(default) if !default.is_empty() => format!("`{default}`"),
            Some(_) | None => "none".into(),
        };
        let reload = if key.reload { "yes" } else { "no" };
        let secret = if key.secret { " Never shown; also as a file, by" } else { "" };
        let file = if key.secret { format!(" `{}{}`.", key.path, check::IN_FILE) } else { String::new() };
        let takes = takes(key).replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {takes} | {default} | {reload} | {}{secret}{file} |", key.path, key.help);
        for field in fields(key) {
            let (takes, default) = (field_takes(field).replace('|', "\\|"), field.default);
            let _ =
                writeln!(text, "| `{}[].{}` | {takes} | {default} | {reload} | {} |", key.path, field.name, field.help);
        }
        if KEYS.iter().rfind(|key| key.path.starts_with(section)) == Some(key) {
            text.push('\n');
        }
    }
    text.trim_end().to_owned() + "\n"
}

const BEGIN: &str = "<!-- keys: begin -->";
const END: &str = "<!-- keys: end -->";
