//! The access rules against an evaluator that shares nothing with them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use sudp_proto::access::{Decision, Destination, Grant, Own, Rule, RuleRef, Rules, canonical};
use sudp_proto::{Rng, Seed};
use sudp_tests::fuzz::access::{Case, access, bind, decide};
use sudp_tests::rules_ref::Reference;

#[test]
fn t02_a_million_decisions_are_those_of_the_reference() {
    let mut maker = Maker::seeded(1);
    let (mut allowed, mut by_rule, mut walled, mut narrowed) = (0, 0, 0, 0);
    for _ in 0..20_000 {
        let texts = maker.rules();
        let (addresses, ports) = (maker.some(3, Maker::address), maker.some(3, Maker::port));
        let rules = Rules::parse(texts.iter().map(String::as_str)).unwrap_or_else(|error| panic!("{error:?}"));
        // Every other grant is narrowed, for the most part to less than everything.
        let narrow = maker.flip().then(|| maker.rules()).map(|mut texts| {
            texts.extend(maker.flip().then(|| "*".to_owned()));
            texts
        });
        let scope = narrow.as_ref().map(|texts| Rules::parse(texts.iter().map(String::as_str)).unwrap());
        let grant = Grant { reverse: rules.clone(), scope, ..Grant::new(rules) };
        let own = Own::new(addresses.iter().copied(), ports.iter().copied());
        let narrow = narrow.as_ref().map(|texts| texts.iter().map(String::as_str));
        let reference = Reference::scoped(texts.iter().map(String::as_str), narrow, &addresses, &ports);
        for _ in 0..45 {
            let name = maker.name();
            let case = Case { name: name.as_deref(), address: maker.near(&addresses), port: maker.port() };
            let expected = reference.decide(case.name, case.address, case.port);
            assert_eq!(decide(&grant, &own, case), expected, "{case:?} of {texts:#?}, own {addresses:?} {ports:?}");
            allowed += u32::from(expected.0);
            let out = |decision: Decision| matches!(decision.rule, RuleRef::Scope(_) | RuleRef::OutOfScope);
            let to = Destination { name: case.name, address: SocketAddr::new(case.address, case.port) };
            narrowed += u32::from(out(grant.decide(sudp_tests::clock::epoch(), &to, &own)));
            by_rule += u32::from(expected.1.is_some());
            walled += u32::from(expected.1.is_none() && texts.iter().any(|text| text == "*"));
        }
        for _ in 0..5 {
            let case = Case { name: None, address: maker.near(&addresses), port: maker.port() };
            assert_eq!(bind(&grant, case), reference.bind(case.address, case.port), "bind {case:?} of {texts:#?}");
        }
    }
    // The cases collide: each kind of answer is common.
    let told = format!("{allowed} {by_rule} {walled} {narrowed}");
    assert!(allowed > 60_000 && by_rule > 2 * allowed - 60_000 && walled > 10_000 && narrowed > 10_000, "{told}");
}

#[test]
fn t01_nothing_but_a_rule_for_the_address_opens_what_is_closed() {
    let mut maker = Maker::seeded(2);
    let broad = ["*", "0.0.0.0/0", "::/0", "*.example", "a.example", "128.0.0.0/1", "8000::/1", "0.0.0.0/1", "::/2"];
    let grant = Grant::new(Rules::parse(broad).unwrap());
    let own = Own::default();
    for _ in 0..20_000 {
        let closed = maker.closed();
        let address = maker.wrapped(closed);
        let name = maker.name();
        let case = Case { name: name.as_deref(), address, port: 53 };
        assert_eq!(decide(&grant, &own, case), (false, None), "{case:?}");
    }
}

#[test]
fn the_open_grant_opens_what_can_be_opened() {
    let open = Grant::open();
    let mut opened = 0;
    let mut maker = Maker::seeded(3);
    for _ in 0..5_000 {
        let address = maker.closed();
        let case = Case { name: None, address, port: 53 };
        let never = canonical(address).any(|it| it.is_multicast() || it.is_unspecified() || it == Ipv4Addr::BROADCAST);
        assert_eq!(decide(&open, &Own::default(), case).0, !never, "{address}");
        opened += u32::from(!never);
    }
    assert!(opened > 3_000);
}

#[test]
fn the_body_of_the_fuzz_target_takes_anything() {
    let mut maker = Maker::seeded(4);
    for _ in 0..2_000 {
        let mut text = maker.rules().join("\n");
        text += &format!("\n={} {}", maker.address(), maker.port());
        for _ in 0..4 {
            let name = maker.name().unwrap_or_default();
            text += &format!("\n?{name} {} {}", maker.address(), maker.port());
        }
        let mut bytes = text.into_bytes();
        access(&bytes);
        let at = maker.below(bytes.len());
        bytes[at] = maker.rng.array::<1>()[0];
        access(&bytes);
        bytes.truncate(at);
        access(&bytes);
    }
}

proptest! {
    #[test]
    fn a_printed_rule_is_the_same_rule(text in rule_text()) {
        let rule: Rule = text.parse().unwrap();
        let printed = rule.to_string();
        prop_assert_eq!(printed.parse::<Rule>().unwrap(), rule);
        prop_assert_eq!(printed.parse::<Rule>().unwrap().to_string(), printed);
    }

    #[test]
    fn no_text_panics(text in "\\PC*", pieces in "[ a:/*.,\\[\\]0-9x-]{0,24}") {
        access(text.as_bytes());
        access(pieces.as_bytes());
    }
}

fn rule_text() -> impl Strategy<Value = String> {
    any::<u64>().prop_map(|seed| Maker::seeded(seed).rule())
}

/// Makes rules and destinations that meet often.
struct Maker {
    rng: Rng,
    /// Random bits not yet used: most draws are small, and a fresh one is dear in a debug build.
    spare: (u64, u32),
}

impl Maker {
    fn seeded(seed: u64) -> Self {
        Self { rng: Rng::new(&Seed::from(seed)), spare: (0, 0) }
    }

    fn below(&mut self, end: usize) -> usize {
        if self.spare.1 == 0 {
            self.spare = (self.rng.u64(), 4);
        }
        let draw = usize::try_from(self.spare.0 & 0xffff).expect("16 bits fit");
        self.spare = (self.spare.0 >> 16, self.spare.1 - 1);
        (draw * end) >> 16
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn some<T>(&mut self, end: usize, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(end)).map(|_| one(self)).collect()
    }

    fn rules(&mut self) -> Vec<String> {
        self.some(9, Self::rule)
    }

    fn rule(&mut self) -> String {
        let verb = self.pick(&["", "allow ", "allow ", "deny "]);
        let (host, is_v6) = match self.below(8) {
            0 => (self.pick(&["*", "*", "any"]).to_owned(), false),
            1 => (self.pick(&["a.example", "B.a.example.", "example", "c.test", "n0.test"]).to_owned(), false),
            2 => (self.pick(&["*.example", "*.a.example", "*.test", "*.Example."]).to_owned(), false),
            _ => self.network(),
        };
        match (self.ports(), is_v6) {
            (None, _) => format!("{verb}{host}"),
            (Some(ports), true) => format!("{verb}[{host}]:{ports}"),
            (Some(ports), false) => format!("{verb}{host}:{ports}"),
        }
    }

    /// A network around an address that is likely asked for, and whether its text has colons.
    fn network(&mut self) -> (String, bool) {
        let address = canonical(self.address()).last().expect("an address is a form of its own");
        let width = if address.is_ipv4() { 32 } else { 128 };
        let likely: &[usize] = if width == 32 { &[8, 10, 12, 16, 24, 4] } else { &[7, 8, 10, 16, 23, 32, 48, 64, 96] };
        let prefix = match self.below(4) {
            0 => width,
            1 => self.below(width + 1),
            2 => self.pick(likely),
            _ => (self.pick(likely) + self.below(3)).saturating_sub(1),
        };
        let network = first(address, prefix);
        // Two networks cannot be written as IPv6, because they are IPv4.
        let text = if prefix == width { network.to_string() } else { format!("{network}/{prefix}") };
        match text.parse::<Rule>() {
            Ok(_) => (text, width == 128),
            Err(_) => ("64:ff9b:1::/48".into(), true),
        }
    }

    fn ports(&mut self) -> Option<String> {
        let range = |maker: &mut Self| {
            let (a, b) = (maker.port().max(1), maker.port().max(1));
            if maker.flip() { format!("{a}") } else { format!("{}-{}", a.min(b), a.max(b)) }
        };
        match self.below(8) {
            0 => Some("*".into()),
            1..=3 => Some((0..=self.below(3)).map(|_| range(self)).collect::<Vec<_>>().join(",")),
            _ => None,
        }
    }

    fn port(&mut self) -> u16 {
        self.pick(&[0, 1, 52, 53, 53, 53, 54, 80, 443, 443, 5_000, 5_001, 65_534, 65_535])
    }

    fn name(&mut self) -> Option<String> {
        let name = self.pick(&[
            "",
            "",
            "a.example",
            "b.a.example",
            "example",
            "xexample",
            "A.EXAMPLE",
            "a.example.",
            "c.test",
            "n0.test",
            "test",
        ]);
        (!name.is_empty()).then(|| name.into())
    }

    /// An address, sometimes one of these.
    fn near(&mut self, known: &[IpAddr]) -> IpAddr {
        match known {
            [] => self.address(),
            [_, ..] if self.below(4) > 0 => self.address(),
            [_, ..] => {
                let address = self.pick(known);
                self.wrapped(address)
            }
        }
    }

    fn address(&mut self) -> IpAddr {
        let address = match self.below(4) {
            0 => self
                .pick(&["8.8.8.8", "8.8.4.4", "1.1.1.1", "2606:4700::1111", "2606:4700::1112"])
                .parse()
                .expect("an address"),
            1 => self.closed(),
            2 => {
                let closed = self.closed();
                self.beside(closed)
            }
            _ if self.flip() => IpAddr::V4(Ipv4Addr::from(self.rng.array())),
            _ => IpAddr::V6(Ipv6Addr::from(self.rng.array())),
        };
        self.wrapped(address)
    }

    /// An address at an end of a closed network, or somewhere in it.
    fn closed(&mut self) -> IpAddr {
        let (network, prefix) = self.pick(CLOSED);
        let network: IpAddr = network.parse().expect("an address");
        let free = match self.below(3) {
            0 => 0,
            1 => u128::MAX,
            _ => u128::from_le_bytes(self.rng.array()),
        };
        match network {
            IpAddr::V4(v4) => {
                let free = u32::try_from(free & u128::from(u32::MAX)).expect("32 bits fit")
                    & u32::MAX.checked_shr(prefix).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() | free).into()
            }
            IpAddr::V6(v6) => {
                Ipv6Addr::from_bits(v6.to_bits() | free & u128::MAX.checked_shr(prefix).unwrap_or(0)).into()
            }
        }
    }

    /// The address before or behind.
    fn beside(&mut self, address: IpAddr) -> IpAddr {
        let up = self.flip();
        match address {
            IpAddr::V4(v4) if up => Ipv4Addr::from_bits(v4.to_bits().wrapping_add(1)).into(),
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_sub(1)).into(),
            IpAddr::V6(v6) if up => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(1)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_sub(1)).into(),
        }
    }

    /// An address as it is, or an IPv4 one in one of the ways to write it as IPv6.
    fn wrapped(&mut self, address: IpAddr) -> IpAddr {
        let IpAddr::V4(v4) = address else {
            return address;
        };
        let low = u128::from(v4.to_bits());
        let bits = match self.below(16) {
            0 => 0xffff << 32 | low,
            1 => low,
            2 => 0xffff << 48 | low,
            3 => 0x0064_ff9b << 96 | low,
            4 => 0x2002 << 112 | low << 80 | u128::from(self.rng.u64()),
            5 => 0x2001_0000 << 96 | low << 64 | u128::from(self.rng.u64()),
            6 => 0x2001_0000 << 96 | 0x0808_0808 << 64 | u128::from(!v4.to_bits()),
            7 => 0x0064_ff9b_0001 << 80 | low,
            _ => return address,
        };
        Ipv6Addr::from_bits(bits).into()
    }
}

fn first(address: IpAddr, prefix: usize) -> IpAddr {
    let prefix = u32::try_from(prefix).expect("a prefix is at most 128");
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !u32::MAX.checked_shr(prefix).unwrap_or(0)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::MAX.checked_shr(prefix).unwrap_or(0)).into(),
    }
}

const CLOSED: &[(&str, u32)] = &[
    ("0.0.0.0", 8),
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("100.100.100.200", 32),
    ("127.0.0.0", 8),
    ("127.0.0.1", 32),
    ("168.63.129.16", 32),
    ("169.254.0.0", 16),
    ("169.254.169.254", 32),
    ("169.254.170.2", 32),
    ("172.16.0.0", 12),
    ("192.0.0.0", 24),
    ("192.0.2.0", 24),
    ("192.88.99.0", 24),
    ("192.168.0.0", 16),
    ("198.18.0.0", 15),
    ("198.51.100.0", 24),
    ("203.0.113.0", 24),
    ("224.0.0.0", 4),
    ("240.0.0.0", 4),
    ("255.255.255.255", 32),
    ("::", 128),
    ("::1", 128),
    ("::", 96),
    ("::ffff:0:0:0", 96),
    ("64:ff9b:1::", 48),
    ("100::", 64),
    ("2001::", 23),
    ("2001::", 32),
    ("2001:db8::", 32),
    ("2002::", 16),
    ("3fff::", 20),
    ("5f00::", 16),
    ("fc00::", 7),
    ("fd00:ec2::254", 128),
    ("fd20:ce::254", 128),
    ("fe80::", 10),
    ("fec0::", 10),
    ("ff00::", 8),
];
