//! The access rules once more, naively: addresses are strings of bits, networks are their beginnings.
//!
//! Nothing here is shared with `sudp_proto::access`, so that a mistake there is a difference here.

use std::net::IpAddr;
use std::sync::LazyLock;

const SHUT: &str = "0.0.0.0 224.0.0.0/4 255.255.255.255 :: ff00::/8";

const CLOSED: &str = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 100.100.100.200 127.0.0.0/8 168.63.129.16 169.254.0.0/16 \
    169.254.169.254 169.254.170.2 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 \
    198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 ::/96 ::1 ::ffff:0:0:0/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 \
    2002::/16 3fff::/20 5f00::/16 fc00::/7 fd00:ec2::254 fd20:ce::254 fe80::/10 fec0::/10";

static NETS: LazyLock<[Vec<String>; 2]> =
    LazyLock::new(|| [SHUT, CLOSED].map(|it| it.split_whitespace().map(net).collect()));

/// The beginnings of `::`, `::1`, loopback, and of the addresses that have others inside.
static FORMS: LazyLock<Vec<String>> = LazyLock::new(|| {
    ":: ::1 127.0.0.0/8 ::ffff:0:0/96 64:ff9b::/96 2002::/16 2001::/32 ::/96 ::ffff:0:0:0/96"
        .split(' ')
        .map(net)
        .collect()
});

/// A verb, a host, its bits if it is a network, and ranges of ports.
type Line = (bool, String, Option<String>, Vec<(u16, u16)>);

/// Rules, what narrows them, and what belongs to the server.
pub struct Reference {
    rules: Vec<Line>,
    scope: Option<Vec<Line>>,
    own: Vec<String>,
    ports: Vec<u16>,
}

/// Whether it is allowed, and the index of the rule that says so.
pub type Verdict = (bool, Option<usize>);

impl Reference {
    /// Takes rules that are well-formed.
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a str>, own: &[IpAddr], ports: &[u16]) -> Self {
        Self::scoped(rules, None::<[&str; 0]>, own, ports)
    }

    /// The same, where these rules must allow it, too.
    pub fn scoped<'a, 'b>(
        rules: impl IntoIterator<Item = &'a str>,
        scope: Option<impl IntoIterator<Item = &'b str>>,
        own: &[IpAddr],
        ports: &[u16],
    ) -> Self {
        let own = own.iter().map(|it| forms(*it)[0].clone()).collect();
        let scope = scope.map(|lines| lines.into_iter().map(line).collect());
        Self { rules: rules.into_iter().map(line).collect(), scope, own, ports: ports.to_vec() }
    }

    /// Judges a destination.
    pub fn decide(&self, name: Option<&str>, address: IpAddr, port: u16) -> Verdict {
        let verdict = |form: &String| {
            let hit = |(_, host, net, ports): &Line| within(ports, port) && covers(host, net.as_deref(), name, form);
            self.narrow(self.judge(name, form, port), hit)
        };
        let verdicts: Vec<_> = forms(address).iter().map(verdict).collect();
        verdicts.iter().copied().find(|(allowed, _)| !allowed).unwrap_or(verdicts[0])
    }

    /// Judges a place to listen at.
    pub fn bind(&self, address: IpAddr, port: u16) -> Verdict {
        let form = &forms(address)[0];
        let any = *form == bits([0; 4].into()) || *form == FORMS[0];
        if !any && NETS[0].iter().any(|it| form.starts_with(it)) {
            return (false, None);
        }
        let hit = |(allow, host, net, ports): &Line| match any && !allow {
            true => port == 0 || within(ports, port),
            false => within(ports, port) && covers(host, net.as_deref(), None, form),
        };
        self.narrow(self.first(hit), hit)
    }

    /// Both have to allow it; of a refusal by the scope no rule is told.
    fn narrow(&self, verdict: Verdict, hit: impl Fn(&Line) -> bool) -> Verdict {
        let within = |scope: &Vec<Line>| scope.iter().find(|line| hit(line)).is_some_and(|line| line.0);
        if verdict.0 && !self.scope.as_ref().is_none_or(within) { (false, None) } else { verdict }
    }

    fn judge(&self, name: Option<&str>, form: &str, port: u16) -> Verdict {
        let own = self.own.iter().any(|it| it == form);
        let loopback = form == FORMS[1] || form.starts_with(&FORMS[2]);
        let never = NETS[0].iter().any(|it| form.starts_with(it));
        if port == 0 || never || ((own || loopback) && self.ports.contains(&port)) {
            return (false, None);
        }
        let mut walls: Vec<_> = NETS[1].iter().map(String::as_str).filter(|it| form.starts_with(it)).collect();
        walls.extend((own && !loopback).then_some(form));
        self.first(|(allow, host, net, ports)| {
            let opens = walls.iter().all(|wall| net.as_ref().is_some_and(|it| it.starts_with(wall)));
            within(ports, port) && covers(host, net.as_deref(), name, form) && (!allow || opens)
        })
    }

    fn first(&self, hit: impl Fn(&Line) -> bool) -> Verdict {
        let index = self.rules.iter().position(hit);
        (index.is_some_and(|index| self.rules[index].0), index)
    }
}

fn within(ports: &[(u16, u16)], port: u16) -> bool {
    ports.iter().any(|(first, last)| *first <= port && port <= *last)
}

fn covers(host: &str, net: Option<&str>, name: Option<&str>, form: &str) -> bool {
    if let Some(net) = net {
        return form.starts_with(net);
    }
    let name = || name.map(|it| it.strip_suffix('.').unwrap_or(it).to_lowercase());
    match host.strip_prefix('*') {
        Some("") => true,
        Some(parent) => name().is_some_and(|it| it.ends_with(parent) && it != parent),
        None => host == "any" || name().is_some_and(|it| it == host),
    }
}

fn line(text: &str) -> Line {
    let (verb, rest) = text.split_once(' ').unwrap_or(("allow", text));
    let (host, ports) = match (rest.split_once("]:"), rest.matches(':').count()) {
        (Some((host, ports)), _) => (&host[1..], ports),
        (None, 1) => rest.split_once(':').expect("one colon"),
        (None, _) => (rest, "*"),
    };
    let range = |it: &str| match (it, it.split_once('-')) {
        ("*", _) => (0, u16::MAX),
        (_, Some((first, last))) => (first.parse().expect("a port"), last.parse().expect("a port")),
        (_, None) => (it.parse().expect("a port"), it.parse().expect("a port")),
    };
    let host = host.trim_end_matches('.').to_lowercase();
    let is_net = host.contains(':') || host.bytes().all(|it| it == b'.' || it == b'/' || it.is_ascii_digit());
    let bits = is_net.then(|| net(&host));
    (verb == "allow", host, bits, ports.split(',').map(range).collect())
}

fn net(text: &str) -> String {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "128"));
    let prefix: usize = prefix.parse().expect("a prefix");
    bits(address.parse().expect("an address")).chars().take(1 + prefix).collect()
}

/// The family, then the bits.
fn bits(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("4{:032b}", v4.to_bits()),
        IpAddr::V6(v6) => format!("6{:0128b}", v6.to_bits()),
    }
}

/// The address as it is judged first, then the IPv4 addresses inside.
fn forms(address: IpAddr) -> Vec<String> {
    let own = bits(address);
    let v4 = |from: usize| format!("4{}", &own[1 + from..33 + from]);
    let inside = |index: usize| own.starts_with(&FORMS[index]);
    if inside(3) || inside(4) {
        return vec![v4(96)];
    }
    if inside(5) {
        return vec![own.clone(), v4(16)];
    }
    if inside(6) {
        let client = v4(96)[1..].chars().map(|it| if it == '0' { '1' } else { '0' }).collect::<String>();
        return vec![own.clone(), v4(32), format!("4{client}")];
    }
    match (inside(7) && !inside(0) && !inside(1)) || inside(8) {
        true => vec![own.clone(), v4(96)],
        false => vec![own],
    }
}
