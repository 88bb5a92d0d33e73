use std::os::unix::ffi::OsStringExt as _;

use super::super::tree::Value;
use super::*;

fn read_all(variables: &[(&str, &str)]) -> (Environment, Vec<String>) {
    let mut problems = Vec::new();
    let environment = read(variables.iter().map(|(name, value)| (name.into(), value.into())), &mut problems);
    (environment, problems.iter().map(ToString::to_string).collect())
}

fn texts(variable: &str, value: &str, path: &str) -> Vec<String> {
    let (environment, problems) = read_all(&[(variable, value)]);
    assert_eq!(problems, [""; 0]);
    match environment.tree.find(path) {
        Some(Node { value: Value::Text(text), .. }) => vec![text.clone()],
        Some(Node { value: Value::List(list), .. }) => {
            let text = |node: &Node| match &node.value {
                Value::Text(text) => text.clone(),
                other @ (Value::Nothing | Value::List(_) | Value::Map(_)) => format!("{other:?}"),
            };
            list.iter().map(text).collect()
        }
        other => panic!("{variable}={value}: {other:?}"),
    }
}

#[test]
fn a_variable_is_named_as_its_key() {
    assert_eq!(texts("SUDP_SERVER__PATH", "/a,b", "server.path"), ["/a,b"]);
    assert_eq!(texts("SUDP_CLIENT__TLS__SERVER_NAME", "x", "client.tls.server_name"), ["x"]);
    assert_eq!(texts("SUDP_LOG", "debug", "log.level"), ["debug"]);
    assert_eq!(texts("SUDP_LOG__FILE", "x", "log.file"), ["x"]);
    let (environment, _) = read_all(&[("SUDP_LOG__LEVEL", "warn"), ("SUDP_LOG", "debug")]);
    assert_eq!(environment.tree.find("log.level").unwrap().origin.to_string(), "SUDP_LOG__LEVEL");
}

#[test]
fn a_list_has_commas_or_is_json() {
    let listen = |value| texts("SUDP_SERVER__LISTEN", value, "server.listen");
    assert_eq!(listen("127.0.0.1:80, [::1]:80"), ["127.0.0.1:80", "[::1]:80"]);
    assert_eq!(listen("[::1]:80,127.0.0.1:80"), ["[::1]:80", "127.0.0.1:80"]);
    assert_eq!(listen("[\"127.0.0.1:80\", \"[::1]:80\"]"), ["127.0.0.1:80", "[::1]:80"]);
    assert_eq!(listen(""), [""; 0]);
    assert_eq!(listen("[]"), [""; 0]);
    let rules = texts("SUDP_SERVER__RULES", "[\"allow 10.0.0.1:53,54\"]", "server.rules");
    assert_eq!(rules, ["allow 10.0.0.1:53,54"]);
    let (environment, problems) = read_all(&[("SUDP_CLIENT__TUNNELS", r#"[{"forward": "1:h:2", "copies": 2}]"#)]);
    assert!(problems.is_empty() && environment.tree.find("client.tunnels").is_some(), "{problems:?}");
    let (_, problems) = read_all(&[("SUDP_SERVER__LISTEN", "[\"127.0.0.1:80\"")]);
    assert!(problems.len() == 1 && problems[0].starts_with("SUDP_SERVER__LISTEN: server.listen: "), "{problems:?}");
}

#[test]
fn a_file_may_have_the_value() {
    let path = std::env::temp_dir().join(format!("sudp-env-{}", std::process::id()));
    std::fs::write(&path, "from a file\n").unwrap();
    assert_eq!(texts("SUDP_CLIENT__NAME_FILE", path.to_str().unwrap(), "client.name"), ["from a file"]);
    std::fs::remove_file(&path).unwrap();
    let (_, problems) = read_all(&[("SUDP_CLIENT__NAME_FILE", "/nowhere/x")]);
    assert_eq!(problems, ["SUDP_CLIENT__NAME_FILE: client.name: the file /nowhere/x: there is no such file"]);
}

#[test]
fn a_name_that_is_nobodys_is_told_apart() {
    let (environment, problems) = read_all(&[
        ("SUDP_SERVER__LISEN", "x"),
        ("SUDP_X", "y"),
        ("SUDP__CHILD", "z"),
        ("SUDP_CONFIG", "f"),
        ("PATH", "/"),
    ]);
    assert_eq!(problems, [""; 0]);
    let unknown: Vec<_> = environment.unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        unknown,
        [
            "SUDP_SERVER__LISEN: there is no such variable; did you mean `SUDP_SERVER__LISTEN`?",
            "SUDP_X: there is no such variable; a variable is named as its key, as SUDP_SERVER__LISTEN for `server.listen`",
        ]
    );
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let mut problems = Vec::new();
    read([("SUDP_SERVER__PATH".into(), OsString::from_vec(vec![b'/', 0xff]))], &mut problems);
    assert_eq!(problems[0].to_string(), "SUDP_SERVER__PATH: server.path: the value is not UTF-8");
}

#[test]
fn every_key_has_a_variable_that_is_read_back_as_it() {
    for wanted in KEYS.iter() {
        assert_eq!(key(&wanted.variable()).map(|(key, file)| (key.path, file)), Some((wanted.path, false)));
    }
}
