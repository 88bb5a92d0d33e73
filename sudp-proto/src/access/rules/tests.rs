use super::*;
use crate::access::HostError;

fn rule(text: &str) -> Rule {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> RuleError {
    match text.parse::<Rule>() {
        Ok(rule) => panic!("{text} was read as {rule}"),
        Err(error) => error,
    }
}

fn matches(text: &str, name: Option<&str>, address: &str, port: u16) -> bool {
    rule(text).matches(name, address.parse().unwrap(), port)
}

#[test]
fn a_rule_is_printed_in_one_form_however_it_was_typed() {
    for (typed, printed) in [
        ("10.0.0.0/8", "allow 10.0.0.0/8"),
        ("  deny\t10.0.0.1/32  ", "deny 10.0.0.1"),
        ("allow 10.0.0.1:53", "allow 10.0.0.1:53"),
        ("allow 10.0.0.0/8:1-2,2,3,80,70-79", "allow 10.0.0.0/8:1-3,70-80"),
        ("1.1.1.1:65535,65534,65535", "allow 1.1.1.1:65534-65535"),
        ("1.1.1.1:9-9", "allow 1.1.1.1:9"),
        ("allow 10.0.0.1:*", "allow 10.0.0.1"),
        ("allow FC00::/7", "allow fc00::/7"),
        ("[::1]", "allow ::1"),
        ("[::1]:53", "allow [::1]:53"),
        ("deny [fc00::/7]:1-65535", "deny [fc00::/7]:1-65535"),
        ("deny [fc00::/7]:*", "deny fc00::/7"),
        ("::/0", "allow ::/0"),
        ("0.0.0.0/0", "allow 0.0.0.0/0"),
        ("deny *", "deny *"),
        ("deny any:53", "deny *:53"),
        ("Example.COM.:53", "allow example.com:53"),
        ("deny *.Example.com", "deny *.example.com"),
        ("*.com:1", "allow *.com:1"),
        ("*.all", "allow *.all"),
        ("allow allow", "allow allow"),
    ] {
        assert_eq!(rule(typed).to_string(), printed, "{typed}");
        assert_eq!(rule(printed), rule(typed), "{typed}");
    }
}

#[test]
fn t03_a_rule_that_cannot_be_read_names_the_value_the_column_and_what_may_be_meant() {
    use RuleProblem as P;
    let character = |character, column| P::Host(HostError::Character { character, column });
    let number = |label: &str| P::Host(HostError::Number { label: label.into() });
    for (text, value, column, problem, suggestion) in [
        ("", "", 1, P::Empty, None),
        ("   ", "", 4, P::Empty, None),
        ("allow", "allow", 1, P::Empty, None),
        ("deny ", "deny", 1, P::Empty, None),
        ("allow :53", "", 7, P::Empty, None),
        ("permit 10.0.0.1", "permit", 1, P::Verb, Some("allow")),
        (" Deny 10.0.0.1", "Deny", 2, P::Verb, Some("deny")),
        ("drop *", "drop", 1, P::Verb, Some("deny")),
        ("perhaps *", "perhaps", 1, P::Verb, None),
        ("10.0.0.1 53", "53", 10, P::Trailing, None),
        ("allow 10.0.0.1 53 54", "53 54", 16, P::Trailing, None),
        ("allow 10.0.0.1 : 53", ": 53", 16, P::Trailing, None),
        ("allow all", "all", 7, P::Wildcard, Some("any")),
        ("ALL:53", "ALL", 1, P::Wildcard, Some("any")),
        ("deny any.", "any.", 6, P::Wildcard, Some("any")),
        ("allow é b", "b", 9, P::Trailing, None),
        ("allow 10.0.0.1/8", "10.0.0.1/8", 7, P::HostBits { prefix: 8 }, Some("10.0.0.0/8")),
        ("fc00::1/7", "fc00::1/7", 1, P::HostBits { prefix: 7 }, Some("fc00::/7")),
        ("10.0.0.0/33", "33", 10, P::Prefix { max: 32 }, None),
        ("10.0.0.0/256", "256", 10, P::Prefix { max: 32 }, None),
        ("10.0.0.0/99999", "99999", 10, P::Prefix { max: 32 }, None),
        ("10.0.0.0/", "", 10, P::Prefix { max: 32 }, None),
        ("10.0.0.0/08", "08", 10, P::Prefix { max: 32 }, None),
        ("10.0.0.0/+8", "+8", 10, P::Prefix { max: 32 }, None),
        ("10.0.0.0/255.0.0.0", "255.0.0.0", 10, P::Prefix { max: 32 }, None),
        ("fc00::/129", "129", 8, P::Prefix { max: 128 }, None),
        ("fc00::/7:53", "fc00::/7:53", 1, P::Brackets, Some("[fc00::/7]:53")),
        ("[fc00::]/7:53", "/7:53", 9, P::Brackets, Some("[fc00::/7]:53")),
        ("[fc00::]/7", "/7", 9, P::Brackets, Some("fc00::/7")),
        ("[::1]53", "53", 6, P::Brackets, None),
        ("[::1", "[::1", 1, P::Brackets, Some("[::1]")),
        ("[10.0.0.1]:53", "10.0.0.1", 2, P::Brackets, Some("10.0.0.1:53")),
        ("[]", "", 2, P::Brackets, Some("")),
        ("[::x]:53", "::x", 2, P::Address, None),
        ("1:2:3:4:5:6:7:8:53", "1:2:3:4:5:6:7:8:53", 1, P::Address, Some("[1:2:3:4:5:6:7:8]:53")),
        ("fe80::1%eth0", "fe80::1%eth0", 1, P::Address, None),
        ("::1]:53", "::1]:53", 1, P::Address, None),
        ("example.com/24", "example.com", 1, P::Address, None),
        ("10.0.0/8", "10.0.0", 1, P::Address, None),
        ("*:53:54", "*:53:54", 1, P::Address, None),
        ("::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104", 1, P::WrittenAsV4, Some("10.0.0.0/8")),
        ("[::ffff:10.0.0.1]:53", "::ffff:10.0.0.1", 2, P::WrittenAsV4, Some("10.0.0.1")),
        ("64:ff9b::/96", "64:ff9b::/96", 1, P::WrittenAsV4, Some("0.0.0.0/0")),
        ("a.*", "a.*", 1, P::Wildcard, None),
        ("*a.example", "*a.example", 1, P::Wildcard, None),
        ("*.*.example", "*.*.example", 1, P::Wildcard, None),
        ("**", "**", 1, P::Wildcard, None),
        ("*.", "", 3, P::Host(HostError::Empty), None),
        ("127.1", "127.1", 1, number("1"), None),
        ("deny 2130706433:53", "2130706433", 6, number("2130706433"), None),
        ("*.7", "7", 3, number("7"), None),
        ("allow bücher.example", "bücher.example", 7, character('ü', 2), None),
        ("a.example:é", "é", 11, P::Port, None),
        ("a:é,1,x", "é", 3, P::Port, None),
        ("user@host", "user@host", 1, character('@', 5), None),
        ("a:", "", 3, P::Port, None),
        ("a:0", "0", 3, P::Port, None),
        ("a:65536", "65536", 3, P::Port, None),
        ("a:99999999999", "99999999999", 3, P::Port, None),
        ("a:-1", "", 3, P::Port, None),
        ("a:+1", "+1", 3, P::Port, None),
        ("a:053", "053", 3, P::Port, None),
        ("a:1,,2", "", 5, P::Port, None),
        ("a:1,", "", 5, P::Port, None),
        ("a:1-", "", 5, P::Port, None),
        ("a:1-2-3", "2-3", 5, P::Port, None),
        ("a:*,1", "*", 3, P::Port, None),
        ("a:http", "http", 3, P::Port, None),
        ("a:1,20-10", "20-10", 5, P::PortRange, Some("10-20")),
        ("a-:1", "a-", 1, P::Host(HostError::Hyphen { column: 1 }), None),
    ] {
        let expected = RuleError { value: value.into(), column, problem, suggestion: suggestion.map(Into::into) };
        assert_eq!(error(text), expected, "{text:?}");
    }
}

#[test]
fn an_error_reads_as_a_sentence() {
    assert_eq!(
        error("allow 10.0.0.1/8").to_string(),
        r#""10.0.0.1/8" at column 7: bits are set behind the prefix of 8; did you mean "10.0.0.0/8"?"#
    );
    assert_eq!(
        error("a:http").to_string(),
        r#""http" at column 3: a port is a number from 1 to 65535, without leading zeros"#
    );
    assert_eq!(
        error("a\u{1b}").to_string(),
        "\"a\\u{1b}\" at column 1: '\\u{1b}' at column 2 is not allowed; a name has ASCII letters, digits, `-`, `_` and dots"
    );
}

#[test]
fn the_length_of_a_rule_and_its_ranges_are_capped() {
    let ranges = |count: u16| (0..count).map(|it| format!("{}", 10 * it + 1)).collect::<Vec<_>>().join(",");
    assert!(rule(&format!("a:{}", ranges(64))).ports.covers(631));
    let refused = error(&format!("a:{}", ranges(65)));
    assert_eq!((refused.value.as_str(), refused.problem), ("641", RuleProblem::PortRanges));
    let long = error(&"é".repeat(513));
    assert_eq!((long.value.chars().count(), long.problem), (32, RuleProblem::TooLong { bytes: 1_026 }));
    assert!(!matches!(error(&" ".repeat(1_024)).problem, RuleProblem::TooLong { .. }));
}

#[test]
fn a_list_is_read_line_by_line_and_is_capped() {
    let rules = Rules::parse(["deny 10.0.0.1", "10.0.0.0/8"]).unwrap();
    assert_eq!(rules.as_slice(), [rule("deny 10.0.0.1"), rule("allow 10.0.0.0/8")]);
    let (line, refused) = Rules::parse(["*", "x y z"]).unwrap_err();
    assert_eq!((line, refused.problem), (1, RuleProblem::Verb));

    let many = vec!["*"; Rules::MAX];
    let full = Rules::parse(many.iter().copied()).unwrap();
    assert_eq!(Rules::new(full.as_slice().to_vec()), Ok(full.clone()));
    let (line, refused) = Rules::parse(many.into_iter().chain(["*"])).unwrap_err();
    assert_eq!((line, &refused.problem), (1_024, &RuleProblem::TooMany));
    assert_eq!(refused.to_string(), "\"1025\" at column 1: a list has at most 1024 rules");
    let mut longer = full.as_slice().to_vec();
    longer.push(rule("*"));
    assert_eq!(Rules::new(longer), Err(refused));
}

#[test]
fn t03_a_rule_matches_only_if_host_and_port_do() {
    for (text, name, address, port, expected) in [
        ("10.0.0.0/8:53", None, "10.1.2.3", 53, true),
        ("10.0.0.0/8:53", None, "10.1.2.3", 54, false),
        ("10.0.0.0/8:53", None, "11.1.2.3", 53, false),
        ("10.0.0.0/8", None, "10.1.2.3", 1, true),
        ("a.example:53", Some("a.example"), "8.8.8.8", 53, true),
        ("a.example:53", Some("a.example"), "8.8.8.8", 52, false),
        ("a.example", Some("A.Example."), "8.8.8.8", 53, true),
        ("a.example", Some("b.example"), "8.8.8.8", 53, false),
        ("a.example", Some("a.example.com"), "8.8.8.8", 53, false),
        ("a.example", Some("xa.example"), "8.8.8.8", 53, false),
        ("a.example", None, "8.8.8.8", 53, false),
        ("*.example", Some("a.example"), "8.8.8.8", 53, true),
        ("*.example", Some("b.A.EXAMPLE."), "8.8.8.8", 53, true),
        ("*.example", Some("example"), "8.8.8.8", 53, false),
        ("*.example", Some(".example"), "8.8.8.8", 53, false),
        ("*.example", Some("xexample"), "8.8.8.8", 53, false),
        ("*.example", Some("e"), "8.8.8.8", 53, false),
        ("*.example", Some("a.example.com"), "8.8.8.8", 53, false),
        ("*.example", None, "8.8.8.8", 53, false),
        ("*", None, "8.8.8.8", 53, true),
        ("*", Some("a.example"), "::1", 53, true),
        ("*:53", None, "8.8.8.8", 54, false),
        ("8.8.8.8", Some("a.example"), "8.8.8.8", 53, true),
        ("::/0", None, "8.8.8.8", 53, false),
        ("0.0.0.0/0", None, "::1", 53, false),
    ] {
        assert_eq!(matches(text, name, address, port), expected, "{text} {name:?} {address} {port}");
    }
}

#[test]
fn ports_are_merged_and_know_their_ends() {
    let ports = Ports::new([(80, 90), (1, 5), (6, 7), (85, 88), (65_535, 65_535)]);
    assert_eq!(ports.to_string(), "1-7,80-90,65535");
    let covered = |port: u16| ports.covers(port);
    assert!([1, 7, 80, 90, 65_535].into_iter().all(covered));
    assert!(![0, 8, 79, 91, 65_534].into_iter().any(covered));
    assert_eq!(Ports::all().to_string(), "*");
    assert!(Ports::all().covers(0));
}
