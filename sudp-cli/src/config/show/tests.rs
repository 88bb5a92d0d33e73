use super::super::load::defaults;
use super::super::tree::Entry;
use super::*;

fn gathered(entries: &[(&str, Node)]) -> Gathered {
    let mut tree = defaults();
    for (path, node) in entries {
        tree.put(path, node.clone());
    }
    Gathered { tree, ..Gathered::default() }
}

fn text(text: &str) -> Node {
    Node::text(text, Origin::Flag("--flag"))
}

#[test]
fn what_is_shown_is_read_back_as_the_same() {
    let tunnel = Map(vec![
        Entry { name: "forward".into(), at: Origin::Default, node: text("5005:h:1?name=a,b}") },
        Entry { name: "class".into(), at: Origin::Default, node: text("realtime") },
    ]);
    let rules = ["allow *:53", "deny [fd00::/8]:1", "it's # none: {", "null", "true", "é\n"];
    let shown = gathered(&[
        (
            "client.tunnels",
            Node {
                value: Value::List(vec![Node { value: Value::Map(tunnel), origin: Origin::Default }]),
                origin: Origin::Default,
            },
        ),
        ("server.rules", Node::texts(rules, Origin::Default)),
        ("client.name", text("a: b")),
    ]);
    for origins in [false, true] {
        let yaml = yaml(&shown, origins);
        let mut problems = Vec::new();
        let read = super::super::yaml::read(&yaml, &std::path::Path::new("x").into(), &mut problems);
        assert_eq!(problems, []);
        assert_eq!(plain(&read), plain(&shown.tree), "{yaml}");
    }
}

#[test]
fn a_grant_is_read_back_as_the_same_and_has_numbers_for_programs() {
    let file = "server:\n  grants:\n    - who: ['*', \"a{b\"]\n      rules: ['[fd00::/8]:1', 'deny *:53,54']\n      copies: 2\n\
                \x20     bytes: 1MiB/s\n      expires: 2027-01-31T18:00:00+01:00\n    - {who: bob, reverse: 0.0.0.0}\n";
    let mut problems = Vec::new();
    let mut shown = gathered(&[]);
    shown.tree.overlay(super::super::yaml::read(file, &std::path::Path::new("f").into(), &mut problems));
    for origins in [false, true] {
        let yaml = yaml(&shown, origins);
        let read = super::super::yaml::read(&yaml, &std::path::Path::new("x").into(), &mut problems);
        assert_eq!(problems, []);
        assert_eq!(plain(&read), plain(&shown.tree), "{yaml}");
        assert_eq!(origins, yaml.contains("# f:3:7"), "{yaml}");
    }
    let json = json(&shown);
    let grants = json["keys"].as_array().unwrap().iter().find(|it| it["key"] == "server.grants").unwrap();
    assert_eq!((&grants["value"][0]["copies"], &grants["value"][0]["bytes"]), (&json!(2), &json!("1MiB/s")));
    assert_eq!(grants["value"][0]["who"], json!(["*", "a{b"]));
}

#[test]
fn a_secret_is_shown_to_nobody() {
    let headers = Map(vec![Entry { name: "X-Token".into(), at: Origin::Default, node: text("canary") }]);
    let shown = gathered(&[
        ("client.headers", Node { value: Value::Map(headers), origin: Origin::Default }),
        ("client.proxy", text("http://me:canary@proxy:80")),
    ]);
    for output in [yaml(&shown, true), json(&shown).to_string()] {
        assert!(output.contains("X-Token") && output.contains("(hidden)"), "{output}");
        assert!(!output.contains("canary"), "{output}");
    }
}

#[test]
fn programs_are_given_numbers_and_truths() {
    let json = json(&gathered(&[("server.threads", text("3"))]));
    let of = |key: &str| json["keys"].as_array().unwrap().iter().find(|it| it["key"] == key).unwrap().clone();
    assert_eq!(
        of("server.threads"),
        json!({"key": "server.threads", "value": 3, "origin": "--flag", "default": false})
    );
    assert_eq!(of("server.anonymous")["value"], json!(false));
    assert_eq!(of("server.listen")["value"], json!(["127.0.0.1:8080"]));
    assert_eq!(of("limits.idle"), json!({"key": "limits.idle", "value": "3m", "origin": "default", "default": true}));
}

/// A tree without its origins, and without the order of sections.
fn plain(map: &Map) -> std::collections::BTreeMap<String, String> {
    fn node(path: String, at: &Node, into: &mut std::collections::BTreeMap<String, String>) {
        match &at.value {
            Value::Nothing => {}
            Value::Text(text) => drop(into.insert(path, text.clone())),
            Value::List(list) => {
                list.iter().enumerate().for_each(|(index, item)| node(format!("{path}[{index}]"), item, into));
            }
            Value::Map(map) => {
                map.0.iter().for_each(|entry| node(format!("{path}.{}", entry.name), &entry.node, into));
            }
        }
    }
    let mut all = std::collections::BTreeMap::new();
    node(String::new(), &Node { value: Value::Map(map.clone()), origin: Origin::Default }, &mut all);
    all
}
