use super::*;

fn name(text: &str) -> Result<String, HostError> {
    match parse_host(text)? {
        Host::Name(name) => Ok(name.into()),
        Host::Ip(address) => panic!("{text} is the address {address}"),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn forms(text: &str) -> Vec<String> {
    canonical(address(text)).map(|form| form.to_string()).collect()
}

#[test]
fn an_address_is_what_the_standard_library_reads() {
    for text in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0:0:0:0:0:FFFF:7F00:1", "fe80::1"] {
        assert_eq!(parse_host(text), Ok(Host::Ip(address(text))));
    }
}

#[test]
fn a_name_is_returned_in_lower_case_without_the_final_dot() {
    for (text, expected) in [
        ("example.com", "example.com"),
        ("EXAMPLE.Com.", "example.com"),
        ("_dns._udp.x", "_dns._udp.x"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("a", "a"),
        ("3com", "3com"),
        ("1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"),
        ("0xfg", "0xfg"),
        ("1.0x7fz", "1.0x7fz"),
    ] {
        assert_eq!(name(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn d_1_8_names_at_the_limits_of_length_are_read_and_beyond_refused() {
    let label = "a".repeat(63);
    assert_eq!(name(&label), Ok(label.clone()));
    assert_eq!(name(&format!("x.{label}a")), Err(HostError::LongLabel { bytes: 64, column: 3 }));
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    assert_eq!(longest.len(), 253);
    assert_eq!(name(&longest), Ok(longest.clone()));
    assert_eq!(name(&format!("{longest}.")), Ok(longest.clone()));
    assert_eq!(name(&format!("{longest}b")), Err(HostError::TooLong { bytes: 254 }));
}

#[test]
fn d_1_8_what_is_neither_address_nor_name_is_refused_with_its_place() {
    let character = |character, column| HostError::Character { character, column };
    for (text, expected) in [
        ("", HostError::Empty),
        (".", HostError::Empty),
        ("..", HostError::EmptyLabel { column: 1 }),
        ("a..b", HostError::EmptyLabel { column: 3 }),
        (".a", HostError::EmptyLabel { column: 1 }),
        ("a..", HostError::EmptyLabel { column: 3 }),
        ("a\0b", character('\0', 2)),
        ("a b", character(' ', 2)),
        (" a", character(' ', 1)),
        ("a\n", character('\n', 2)),
        ("user@host", character('@', 5)),
        ("[::1]", character('[', 1)),
        ("::1]", character(':', 1)),
        ("[a", character('[', 1)),
        ("fe80::1%eth0", character(':', 5)),
        ("a:80", character(':', 2)),
        ("a/24", character('/', 2)),
        ("bücher.example", character('ü', 2)),
        ("éé%", character('é', 1)),
        ("*.example", character('*', 1)),
        ("-a.example", HostError::Hyphen { column: 1 }),
        ("x.a-", HostError::Hyphen { column: 3 }),
    ] {
        assert_eq!(parse_host(text), Err(expected), "{text:?}");
    }
}

#[test]
fn t01_what_a_resolver_reads_as_an_address_is_no_name() {
    for text in [
        "2130706433",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.1",
        "0X7F.1",
        "0x7f000001",
        "0x",
        "127.0.0.1.",
        "1.",
        "0",
        "a.0x1f",
        "example.7",
        "256.1.1.1",
        "1.2.3.4.5",
        "0x7f.0x0.0x0.0x1",
    ] {
        assert!(matches!(parse_host(text), Err(HostError::Number { .. })), "{text}: {:?}", parse_host(text));
    }
    for text in ["127。0。0。1", "１２７.0.0.1", "①.1"] {
        assert!(matches!(parse_host(text), Err(HostError::Character { .. })), "{text}");
    }
}

#[test]
fn errors_say_what_is_wrong_and_what_is_allowed() {
    for (text, expected) in [
        ("", "the host is empty"),
        ("a b", "' ' at column 2 is not allowed; a name has ASCII letters, digits, `-`, `_` and dots"),
        ("a..b", "the label at column 3 is empty"),
        ("-a", "the label at column 1 begins or ends with `-`"),
        ("127.1", "a name cannot end in the number \"1\"; an address is written in full, as 127.0.0.1 or ::1"),
    ] {
        assert_eq!(parse_host(text).unwrap_err().to_string(), expected);
    }
    let long = parse_host(&"a".repeat(64)).unwrap_err();
    assert_eq!(long.to_string(), "the label at column 1 has 64 bytes; at most 63 are allowed");
    let long = parse_host(&"a.".repeat(127)).unwrap();
    assert!(matches!(long, Host::Name(name) if name.len() == 253));
    let long = parse_host(&"a.".repeat(128)).unwrap_err();
    assert_eq!(long.to_string(), "the name has 255 bytes; at most 253 are allowed");
}

#[test]
fn canonical_forms_are_the_address_and_what_is_written_inside_it() {
    for (text, expected) in [
        ("127.0.0.1", &["127.0.0.1"][..]),
        ("::ffff:127.0.0.1", &["127.0.0.1"]),
        ("64:ff9b::7f00:1", &["127.0.0.1"]),
        ("64:ff9b::1:7f00:1", &["64:ff9b::1:7f00:1"]),
        ("64:ff9b:1::7f00:1", &["64:ff9b:1::7f00:1"]),
        ("::", &["::"]),
        ("::1", &["::1"]),
        ("::2", &["::2", "0.0.0.2"]),
        ("::127.0.0.1", &["::7f00:1", "127.0.0.1"]),
        ("::1:7f00:1", &["::1:7f00:1"]),
        ("::ffff:0:127.0.0.1", &["::ffff:0:7f00:1", "127.0.0.1"]),
        ("::fffe:127.0.0.1", &["::fffe:7f00:1"]),
        ("2002:7f00:1::", &["2002:7f00:1::", "127.0.0.1"]),
        ("2002:7f00:1:ffff:ffff:ffff:ffff:ffff", &["2002:7f00:1:ffff:ffff:ffff:ffff:ffff", "127.0.0.1"]),
        ("2003:7f00:1::", &["2003:7f00:1::"]),
        ("2001:0:c000:201:0:0:80ff:fffe", &["2001:0:c000:201::80ff:fffe", "192.0.2.1", "127.0.0.1"]),
        ("2001:1:c000:201:0:0:80ff:fffe", &["2001:1:c000:201::80ff:fffe"]),
        ("2606:4700::1111", &["2606:4700::1111"]),
    ] {
        assert_eq!(forms(text), expected, "{text}");
        assert_eq!(canonical(address(text)).main().to_string(), expected[0]);
    }
}

#[test]
fn a_network_begins_at_its_first_address() {
    assert_eq!(Network::new(address("10.0.0.1"), 8), None);
    assert_eq!(Network::new(address("10.0.0.0"), 33), None);
    assert_eq!(Network::new(address("::"), 129), None);
    assert_eq!(Network::new(address("fc00::1"), 127), None);
    assert_eq!(Network::around(address("10.9.8.7"), 8), Network::new(address("10.0.0.0"), 8).unwrap());
    assert_eq!(Network::around(address("10.9.8.7"), 200), Network::host(address("10.9.8.7")));
    assert_eq!(Network::around(address("ffff::1"), 0).to_string(), "::/0");
    assert_eq!(Network::host(address("::1")).to_string(), "::1");
}

#[test]
fn a_network_contains_its_addresses_and_no_others() {
    for (network, prefix, inside, outside) in [
        ("10.0.0.0", 8, &["10.0.0.0", "10.255.255.255"][..], &["9.255.255.255", "11.0.0.0", "::ffff:10.0.0.1"][..]),
        ("0.0.0.0", 0, &["0.0.0.0", "255.255.255.255"], &["::"]),
        ("::", 0, &["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], &["0.0.0.0"]),
        ("1.2.3.4", 32, &["1.2.3.4"], &["1.2.3.5", "1.2.3.3"]),
        ("fc00::", 7, &["fc00::", "fdff::1"], &["fbff::", "fe00::"]),
        ("::1", 128, &["::1"], &["::", "::2"]),
    ] {
        let network = Network::new(address(network), prefix).unwrap();
        assert_eq!((network.prefix(), network.contains(network.address())), (prefix, true));
        assert!(inside.iter().all(|it| network.contains(address(it))), "{network}");
        assert!(!outside.iter().any(|it| network.contains(address(it))), "{network}");
    }
}

#[test]
fn a_network_lies_in_itself_and_in_wider_ones() {
    let network = |text, prefix| Network::new(address(text), prefix).unwrap();
    assert!(network("10.0.0.0", 8).lies_in(network("10.0.0.0", 8)));
    assert!(network("10.1.0.0", 16).lies_in(network("10.0.0.0", 8)));
    assert!(!network("10.0.0.0", 7).lies_in(network("10.0.0.0", 8)));
    assert!(!network("11.0.0.0", 16).lies_in(network("10.0.0.0", 8)));
    assert!(!network("::", 96).lies_in(network("0.0.0.0", 0)));
}

#[test]
fn t01_the_closed_networks_are_these() {
    let never = "0.0.0.0 224.0.0.0/4 255.255.255.255 :: ff00::/8";
    let by_rule = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 100.100.100.200 127.0.0.0/8 168.63.129.16 169.254.0.0/16 \
        169.254.169.254 169.254.170.2 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 \
        198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 ::/96 ::1 ::ffff:0:0:0/96 64:ff9b:1::/48 100::/64 \
        2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fd00:ec2::254 fd20:ce::254 fe80::/10 fec0::/10";
    for (opening, expected) in [(Opening::Never, never), (Opening::Rule, by_rule)] {
        let networks = CLOSED.iter().filter(|it| it.opening == opening).map(|it| it.network.to_string());
        assert_eq!(networks.collect::<Vec<_>>().join(" "), expected);
    }
}

#[test]
fn the_table_of_closed_networks_is_well_formed_and_says_what_it_is() {
    for entry in CLOSED {
        let network = entry.network;
        assert_eq!(Network::new(network.address(), network.prefix()), Some(network));
        assert!(CLOSED.iter().filter(|it| it.network == network).count() == 1, "{entry} stands twice");
    }
    let say = |text| closed(address(text)).unwrap().to_string();
    assert_eq!(say("127.0.0.1"), "127.0.0.0/8 (loopback), closed by default");
    assert_eq!(say("169.254.169.254"), "169.254.169.254 (metadata), closed by default");
    assert_eq!(say("ff02::1"), "ff00::/8 (multicast), never sent to");
}

#[test]
fn networks_and_walls_made_at_compile_time_are_what_they_would_be_at_run_time() {
    for (made, read) in [
        (Network::v4(192, 168, 0, 0, 16), "192.168.0.0/16"),
        (Network::v4(127, 0, 0, 1, 32), "127.0.0.1"),
        (Network::v6(0xfe80 << 48, 0, 10), "fe80::/10"),
        (Network::v6(0x2001_0db8 << 32, 7, 128), "2001:db8::7"),
    ] {
        assert_eq!(made.to_string(), read);
    }
    let network = Network::v4(10, 0, 0, 0, 8);
    assert_eq!(rule(network, "private").to_string(), "10.0.0.0/8 (private), closed by default");
    assert_eq!(shut(network, "private").to_string(), "10.0.0.0/8 (private), never sent to");
}
