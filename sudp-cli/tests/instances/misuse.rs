//! What is typed wrongly, or on purpose.

use crate::house::House;

#[test]
fn names_cannot_leave_their_folder() {
    let house = House::new();
    let long = "a".repeat(65);
    for name in ["../x", "a/b", "/x", ".", "..", ".x", "%2e%2e", "а", "a\u{200b}", "a:b", &long] {
        for line in
            ["server start --port 0 --instance=", "server --instance=", "status --instance=", "stop --instance="]
        {
            let refused = house.sudp(&format!("{line}{name}"));
            assert_eq!(refused.exit, 2, "{line}{name}: {refused:?}");
            assert!(refused.err.contains("1 to 64 letters"), "{refused:?}");
        }
    }
    for folder in ["run", "state", "logs"] {
        assert!(house.files(folder).is_empty(), "nothing is made");
    }
    assert!(!house.path("x.pid").exists() && !house.path("server-x.pid").exists());
}

#[test]
fn what_does_not_run_is_told_with_what_to_type() {
    let house = House::new();
    for line in ["status", "stop", "reload", "restart", "logs", "server status", "client stop", "client logs"] {
        let none = house.sudp(line);
        assert_eq!(none.exit, 3, "{line}: {none:?}");
        assert!(none.err.contains("start"), "{line}: {none:?}");
        assert!(none.err.starts_with("sudp: ") && none.err.lines().count() == 1, "{none:?}");
    }
    assert!(house.well("list").contains("there are no instances"));
    assert!(house.well("list -o json").contains("\"instances\": []"));
    house.is_empty();
}

#[test]
fn a_start_with_a_wrong_configuration_tells_what_is_wrong() {
    let house = House::new();
    let file = house.write("bad.yaml", "server:\n  liste: []\n");
    let failed = house.sudp(&format!("server start --port 0 --config {file}"));
    assert_eq!(failed.exit, 78, "{failed:?}");
    assert!(failed.err.contains("liste"), "{failed:?}");
    house.is_empty();
    let failed = house.sudp("server start --port 0 --config config/missing.yaml");
    assert_eq!(failed.exit, 78, "{failed:?}");
    house.is_empty();
}

#[test]
fn how_one_was_started_is_not_believed_when_it_was_damaged() {
    let house = House::new();
    house.well("server start --port 0");
    house.well("stop");
    let state = house.path("state/server-default.json");
    for text in ["", "{", "[]", "{\"schema\":9}"] {
        std::fs::write(&state, text).expect("there is room");
        let failed = house.sudp("restart");
        assert_eq!(failed.exit, 1, "{text}: {failed:?}");
        assert!(failed.err.contains("'start'"), "{failed:?}");
    }
    house.is_empty();
    house.well("server start --port 0");
}
