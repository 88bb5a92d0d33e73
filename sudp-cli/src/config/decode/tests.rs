use std::path::Path;

use super::super::load::defaults;
use super::super::{check as shape, yaml};
use super::*;

fn decoded(yaml: &str, roles: &[Role]) -> (Config, Vec<String>) {
    let mut problems = Vec::new();
    let mut tree = yaml::read(yaml, &Path::new("f").into(), &mut problems);
    shape::sift(&mut tree, &mut problems);
    let mut all = defaults();
    all.overlay(tree);
    let config = decode(&all, roles, &mut problems);
    (config, problems.iter().map(ToString::to_string).collect())
}

fn config(yaml: &str) -> Config {
    let (config, problems) = decoded(yaml, &[]);
    assert_eq!(problems, [""; 0], "{yaml}");
    config
}

fn problem(yaml: &str) -> String {
    let (_, problems) = decoded(yaml, &[Role::Server]);
    assert_eq!(problems.len(), 1, "{yaml}: {problems:?}");
    problems[0].clone()
}

#[test]
fn every_key_of_the_table_is_read() {
    let (tree, mut problems) = (defaults(), Vec::new());
    let mut reader = Reader::new(&tree, &mut problems);
    decode_by(&mut reader, &[]);
    let asked = reader.asked;
    for key in KEYS.iter() {
        assert!(asked.contains(&key.path), "{}", key.path);
    }
}

#[test]
fn a_wrong_shape_is_told_for_every_key() {
    for key in KEYS.iter() {
        let (section, name) = key.path.rsplit_once('.').unwrap();
        let open: String = section.split('.').map(|name| format!("{name}: {{")).collect();
        let close = "}".repeat(section.split('.').count());
        let deep = format!("{open}{name}: [[[x]]]{close}");
        let (_, problems) = decoded(&deep, &[]);
        assert_eq!(problems.len(), 1, "{deep}: {problems:?}");
        assert!(problems[0].contains(key.path), "{deep}: {problems:?}");
    }
}

#[test]
fn a_tunnel_is_a_text_or_a_section() {
    let tunnels = |yaml: &str| -> Vec<String> {
        config(&format!("client: {{tunnels: {yaml}}}")).client.tunnels.iter().map(ToString::to_string).collect()
    };
    assert_eq!(tunnels("forward 5005:h:53"), ["127.0.0.1:5005:h:53"]);
    assert_eq!(
        tunnels("['reverse 1:h:2?class=realtime', {socks: 1080, name: a&b c}]"),
        ["127.0.0.1:1:h:2?class=realtime", "127.0.0.1:1080?name=a%26b%20c"]
    );
    assert_eq!(
        tunnels("[{forward: '1:h:2', class: realtime, copies: 2, spread: true, in_doubt: resend, timeout: 1h}]"),
        ["127.0.0.1:1:h:2?class=realtime&copies=2&spread&in_doubt=resend&timeout=3600s"]
    );
    assert_eq!(tunnels("[{forward: '1:h:2?copies=3', class: realtime}]"), ["127.0.0.1:1:h:2?class=realtime&copies=3"]);
}

#[test]
fn a_wrong_tunnel_is_told_where_it_stands() {
    let wrong = |tunnel: &str| problem(&format!("client:\n  tunnels:\n    - forward 1:h:2\n    - {tunnel}\n"));
    let ways = "allowed is `forward SPEC`, `reverse SPEC`, `socks SPEC`, or a section with one of these";
    assert_eq!(wrong("1:h:2"), format!("f:4:7: client.tunnels[1]: found is `1:h:2`; {ways}"));
    assert_eq!(wrong("{name: x}"), format!("f:4:7: client.tunnels[1]: found is a section; {ways}"));
    assert_eq!(wrong("[]"), format!("f:4:7: client.tunnels[1]: found is a list; {ways}"));
    assert_eq!(
        wrong("{forward: '1:h:2', clas: realtime}"),
        "f:4:32: client.tunnels[1].clas: a tunnel has no `clas`; did you mean `class`?"
    );
    assert_eq!(
        wrong("{forward: '1:h:2', socks: 1}"),
        "f:4:33: client.tunnels[1].socks: a tunnel is one of forward, reverse, socks, and this is a second one"
    );
    assert!(wrong("{forward: '1:h:2', copies: 9}").starts_with("f:4:7: client.tunnels[1]: `1:h:2?copies=9`: "));
    assert!(wrong("forward 1:h").starts_with("f:4:7: client.tunnels[1]: `1:h`: "));
}

#[test]
fn never_is_a_value_where_it_makes_sense() {
    let config = config("client: {max_link_age: never, max_retries: never}\nlog: {figures: never}");
    assert_eq!((config.client.max_link_age, config.client.max_retries), (None, None));
    assert!(config.log.figures.is_zero());
    assert!(problem("client: {links: never}").contains("`never` is not allowed here"));
}

#[test]
fn caps_that_do_not_go_together_blame_what_was_said() {
    assert_eq!(
        problem("limits:\n  suspect_max: 30s\n"),
        "f:2:16: limits.suspect_max: is 30s, but `limits.silence` is 25s: a link is suspected before it is ended"
    );
    assert_eq!(
        problem("limits:\n  silence: 2s\n"),
        "f:2:12: limits.silence: is 2s, but `limits.suspect_max` is 3s: a link is suspected before it is ended"
    );
    let (_, problems) = decoded("limits: {links: 2, live_links: 1, idle_one_shot: 1h}", &[]);
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn what_is_of_no_use_alone_is_refused() {
    assert_eq!(
        problem("server: {tls: {cert: x}}"),
        "f:1:22: server.tls.cert: is of no use without `server.tls.key`; set both"
    );
    assert_eq!(
        problem("client: {tls: {key: x}}"),
        "f:1:21: client.tls.key: is of no use without `client.tls.cert`; set both"
    );
    assert!(problem("server: {tls: {client_ca: x}}").contains("is of no use without `server.tls.cert`"));
    let pin = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    assert!(problem(&format!("client: {{tls: {{ca: x, pins: {pin}}}}}")).contains("cannot go with `client.tls.ca`"));
}

#[test]
fn files_of_certificates_must_be_there() {
    let problem = problem("server: {tls: {cert: nowhere.pem, key: nowhere.key}}");
    assert!(problem.starts_with("f:1:22: server.tls.cert: ") && problem.contains("nowhere"), "{problem}");
    let (_, problems) = decoded("client: {servers: ['wss://h'], tls: {ca: nowhere.pem}}", &[Role::Client]);
    assert!(problems.len() == 1 && problems[0].contains("nowhere.pem"), "{problems:?}");
}

#[test]
fn a_path_in_a_file_begins_in_its_folder() {
    let mut problems = Vec::new();
    let mut all = defaults();
    all.overlay(yaml::read("log: {file: a/b.log}", &Path::new("/etc/sudp/x.yaml").into(), &mut problems));
    assert_eq!(decode(&all, &[], &mut problems).log.file.as_deref(), Some(Path::new("/etc/sudp/a/b.log")));
    assert!(problem("log: {file: ~/x.log}").contains("begins with ~, which only a shell understands"));
    assert!(problem("log: {file: ''}").contains("allowed is the path of a file"));
}

#[test]
fn of_headers_the_last_of_a_name_counts_and_none_is_ours() {
    let headers = config("client: {headers: {X-A: '1', x-a: '2', B: c}}").client.headers;
    assert_eq!(headers, [("x-a".to_owned(), "2".to_owned()), ("B".to_owned(), "c".to_owned())]);
    for yaml in ["{Host: canary}", "{'a b': canary}", "{A: \"canary\\r\\nB: c\"}", "{'': canary}"] {
        let problem = problem(&format!("client: {{headers: {yaml}}}"));
        assert!(problem.contains("client.headers: ") && !problem.contains("canary"), "{problem}");
    }
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    for url in ["https://me:canary@proxy:1", "ftp://canary@x", "http://me:canary@proxy:port", "canary://x/y"] {
        let problem = problem(&format!("client: {{proxy: '{url}'}}"));
        assert!(!problem.contains("canary@") && problem.contains("client.proxy: "), "{problem}");
    }
    let problem = problem("client: {servers: ['wss://me:canary@h']}");
    assert!(!problem.contains("canary") && problem.contains("client.servers[0]: "), "{problem}");
}

#[test]
fn what_is_there_twice_is_told() {
    let (_, problems) =
        decoded("server: {listen: ['127.0.0.1:80', '127.0.0.1:80', '127.0.0.1:0', '127.0.0.1:0']}", &[Role::Server]);
    assert_eq!(problems, ["f:1:18: server.listen: 127.0.0.1:80 stands there twice; leave one of them out"]);
    let yaml = "client: {servers: [ws://h, ws://h], tunnels: [{socks: 1, name: a}, {socks: 2, name: a}]}";
    let (_, problems) = decoded(yaml, &[Role::Client]);
    assert_eq!(
        problems,
        [
            "f:1:19: client.servers: servers 0 and 1 have the same URL",
            "f:1:46: client.tunnels: two tunnels have the name `a`; a name is for one",
        ]
    );
}

#[test]
fn a_request_path_begins_with_a_slash() {
    assert_eq!(config("server: {path: /a/b}").server.path, "/a/b");
    for path in ["a", "", "/a b", "/a?b=c", "/a#b", "/é"] {
        assert!(problem(&format!("server: {{path: '{path}'}}")).contains("allowed is a path, as /sudp"), "{path}");
    }
}

#[test]
fn a_list_of_rules_has_an_end() {
    let rules: String = (0..1_025).map(|port| format!("  - allow 10.0.0.1:{}\n", port + 1)).collect();
    let problem = problem(&format!("server:\n rules:\n{rules}"));
    assert!(problem.contains("a list has at most 1024 rules"), "{problem}");
}
