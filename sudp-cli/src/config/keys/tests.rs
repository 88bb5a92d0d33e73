use super::*;

#[test]
fn every_key_is_there_once_and_ends_what_it_says() {
    for (index, key) in KEYS.iter().enumerate() {
        assert!(KEYS[..index].iter().all(|other| other.path != key.path), "{}", key.path);
        assert!(key.help.ends_with('.') && !key.help.contains("Default"), "{}: {}", key.path, key.help);
        assert!(key.default.as_ref().is_some_and(|it| !it.is_empty()) || !key.example.is_empty(), "{}", key.path);
        assert!(!is_section(key.path), "{}", key.path);
    }
}

#[test]
fn a_section_knows_what_stands_in_it() {
    assert_eq!(below("").collect::<Vec<_>>(), ["log", "server", "client", "limits"]);
    assert_eq!(below("server.tls").collect::<Vec<_>>(), ["cert", "key", "client_ca"]);
    assert!(below("client").any(|name| name == "tls"));
    assert!(is_section("client.tls") && !is_section("client.name") && !is_section("cli"));
}

#[test]
fn a_misspelt_name_is_suggested_and_one_from_elsewhere_shown_its_place() {
    for (section, name, says) in [
        ("", "sever", "; did you mean `server`?"),
        ("", "Server", "; did you mean `server`?"),
        ("server", "lisen", "; did you mean `server.listen`?"),
        ("server", "lsiten", "; did you mean `server.listen`?"),
        ("client.tls", "pin", "; did you mean `client.tls.pins`?"),
        ("server", "tunnels", "; did you mean `client.tunnels`?"),
        ("", "idle", "; did you mean `limits.idle`?"),
        ("server.tls", "zzz", "; allowed are cert, key, client_ca"),
    ] {
        assert_eq!(suggest(section, name), says, "{section}.{name}");
    }
    assert_eq!(nearest(&"x".repeat(100_000), below("")), None);
}

#[test]
fn the_steps_between_two_names_are_counted() {
    let steps = |one: &str, other: &str| distance(&one.chars().collect::<Vec<_>>(), &other.chars().collect::<Vec<_>>());
    assert_eq!(
        [steps("", ""), steps("a", ""), steps("ab", "ba"), steps("listen", "lisen"), steps("abc", "xyz")],
        [0, 1, 1, 1, 3]
    );
}
