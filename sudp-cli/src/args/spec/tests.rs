use proptest::prelude::*;
use sudp_tokio::proto::config::client::Scheme;
use sudp_tokio::proto::wire::Class;

use super::*;

fn forward(spec: &str) -> String {
    TunnelSpec::forward(spec).map_or_else(|error| panic!("{error}"), |spec| spec.to_string())
}

fn refusal<T: fmt::Debug>(read: Result<T, SpecError>) -> String {
    read.expect_err("it should have been refused").problem
}

#[test]
fn the_forms_of_ssh_chisel_and_wstunnel_mean_what_they_mean_there() {
    for (written, normal) in [
        ("5005:127.0.0.1:5006", "127.0.0.1:5005:127.0.0.1:5006"),
        ("0.0.0.0:5005:example.com:53", "0.0.0.0:5005:example.com:53"),
        ("localhost:5005:LOCALHOST:53", "127.0.0.1:5005:localhost:53"),
        ("[::1]:5005:[2001:db8::1]:53", "[::1]:5005:[2001:db8::1]:53"),
        ("*:5005:10.0.0.1:53", "*:5005:10.0.0.1:53"),
        (":5005:10.0.0.1:53", "*:5005:10.0.0.1:53"),
        ("[::]:5005:10.0.0.1:53", "*:5005:10.0.0.1:53"),
        ("0:10.0.0.1:53", "127.0.0.1:0:10.0.0.1:53"),
        ("5005:10.0.0.1:53/udp", "127.0.0.1:5005:10.0.0.1:53"),
        ("1.1.1.1:53/udp", "127.0.0.1:53:1.1.1.1:53"),
        ("udp://1212:1.1.1.1:53", "127.0.0.1:1212:1.1.1.1:53"),
        ("udp://1212:1.1.1.1:53?timeout_sec=10", "127.0.0.1:1212:1.1.1.1:53?timeout=10s"),
        ("udp://0.0.0.0:1212:1.1.1.1:53?timeout_sec=0", "0.0.0.0:1212:1.1.1.1:53?timeout=0"),
        ("udp://1212:1.1.1.1:53/", "127.0.0.1:1212:1.1.1.1:53"),
        ("5005:h:53?timeout=180s&class=reliable&copies=1&spread=false", "127.0.0.1:5005:h:53"),
    ] {
        assert_eq!(forward(written), normal);
    }
    let socks = TunnelSpec::forward("socks5://[::1]:1212").map(|spec| spec.kind);
    assert_eq!(socks, Ok(Kind::Socks { listen: (Ipv6Addr::LOCALHOST, 1_212).into() }));
    let reverse = TunnelSpec::reverse("R:5005:127.0.0.1:5006").map(|spec| spec.to_string());
    assert_eq!(reverse.as_deref(), Ok("127.0.0.1:5005:127.0.0.1:5006"));
    let stdio = TunnelSpec::stdio("stdio://dns.example:53").map(|spec| spec.to_string());
    assert_eq!(stdio.as_deref(), Ok("dns.example:53"));
    assert_eq!(TunnelSpec::socks("1080").map(|spec| spec.to_string()).as_deref(), Ok("127.0.0.1:1080"));
}

#[test]
fn options_say_how_flows_are_treated() {
    let url = "udp://5005:10.0.0.1:53?class=realtime&copies=2&spread&in_doubt=resend&timeout=3m&name=name%20server";
    let spec = TunnelSpec::forward(url).expect("it has every option");
    let treatment = Treatment { class: Class::Realtime, copies: 2, spread: true, idle: Duration::from_secs(180) };
    assert_eq!((spec.treatment, spec.in_doubt), (treatment, InDoubt::Resend));
    assert_eq!((spec.name.as_deref(), spec.label().as_str()), (Some("name server"), "name server"));
    assert_eq!(
        spec.to_string(),
        "127.0.0.1:5005:10.0.0.1:53?class=realtime&copies=2&spread&in_doubt=resend&name=name%20server"
    );
}

#[test]
fn what_is_wrong_is_said_with_what_to_write_instead() {
    for (spec, says) in [
        ("", "as in `-L 5005:10.0.0.1:53`"),
        ("5005", "write `5005:HOST:PORT`"),
        ("10.0.0.1:53", "write `53:10.0.0.1:53`"),
        ("10.0.0.1:x", "expected is [BIND:]PORT:HOST:PORT"),
        ("x:10.0.0.1:53", "`x` is not a port"),
        ("5005:10.0.0.1:65536", "`65536` is not a port"),
        ("5005:10.0.0.1:0", "nothing can be sent to port 0"),
        ("5005:10.0.0:53", "is not a host"),
        ("5005:*:53", "`*` can be listened at"),
        ("5005:::1:53", "stands in brackets"),
        ("[::1:5005:h:53", "stands in brackets"),
        ("5005:[127.0.0.1]:53", "not an address of IPv6"),
        ("example.com:5005:h:53", "only an address of the machine"),
        ("5005:h:53/tcp", "write `5005:h:53/udp`"),
        ("5005:h:53/x", "`/x` cannot be there"),
        ("udp://:5353/192.168.1.1:53", "`/192.168.1.1:53` cannot be there"),
        ("tcp://5005:h:53", "UDP alone"),
        ("unix:///run/x:h:53", "begins with udp://"),
        ("R:5005:h:53", "`-R 5005:h:53`"),
        ("stdio://h:53", "`-W h:53`"),
        ("5005:h:53?clas=realtime", "no option `clas`"),
        ("5005:h:53?class=fast", "`class=fast` cannot be; allowed is `reliable` or `realtime`"),
        ("5005:h:53?class=control", "allowed is `reliable` or `realtime`"),
        ("5005:h:53?copies=9", "1 to 8"),
        ("5005:h:53?copies", "`copies` has no value"),
        ("5005:h:53?timeout=180", "with its unit"),
        ("5005:h:53?timeout=2days", "1s to 24h"),
        ("5005:h:53?timeout=1ms", "1s to 24h"),
        ("5005:h:53?timeout=1s&timeout_sec=1", "said twice"),
        ("5005:h:53?name=", "1 to 64 characters"),
        ("5005:h:53?name=%0a", "control character"),
        ("5005:h:53?name=%f", "in hexadecimal"),
    ] {
        let problem = refusal(TunnelSpec::forward(spec));
        assert!(problem.contains(says), "{spec}: {problem}");
    }
    for (problem, says) in [
        (refusal(TunnelSpec::reverse("socks5://1080")), "`-D` makes one here"),
        (refusal(TunnelSpec::socks("udp://1080")), "`-D 1080`"),
        (refusal(TunnelSpec::socks("1:2:3")), "[BIND:]PORT"),
        (refusal(TunnelSpec::stdio("53")), "HOST:PORT"),
        (refusal(TunnelSpec::stdio("h:0")), "port 0"),
    ] {
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn a_servers_url_may_begin_as_a_browser_has_it_and_never_holds_a_password() {
    let read = |url: &str| server(url).map(|server| (server.scheme, server.address.to_string(), server.path));
    let wss = (Scheme::Wss, "example.com:443".to_owned(), "/sudp".to_owned());
    assert_eq!(read("https://example.com"), Ok(wss.clone()));
    assert_eq!(read("wss://example.com/sudp"), Ok(wss));
    assert_eq!(read("HTTP://[::1]/x"), Ok((Scheme::Ws, "[::1]:80".to_owned(), "/x".to_owned())));
    let error = server("wss://me:secret@example.com").expect_err("it has a password in it").to_string();
    assert!(!error.contains("secret") && error.contains("--header @FILE"), "{error}");
    assert!(refusal(server("example.com:8080")).contains("write `wss://example.com:8080`"));
    assert!(refusal(server("ftp://example.com")).contains("wss://"));
    assert!(refusal(server("ws://h:x")).contains("not a port"));
}

fn specs() -> impl Strategy<Value = TunnelSpec> {
    let ip = prop_oneof![
        any::<u32>().prop_map(|ip| IpAddr::V4(ip.into())),
        any::<u128>().prop_map(|ip| IpAddr::V6(ip.into()))
    ];
    let listen = (ip.clone(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    let name = "[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{1,8})?".prop_map(|name| Host::Name(name.into()));
    let to = (prop_oneof![ip.prop_map(Host::Ip), name], 1_u16..).prop_map(|(host, port)| Address { host, port });
    let kind = (0..4, listen, to).prop_map(|(kind, listen, to)| match kind {
        0 => Kind::Forward { listen, to },
        1 => Kind::Reverse { listen, to },
        2 => Kind::Socks { listen },
        _ => Kind::Stdio { to },
    });
    let class = prop_oneof![Just(Class::Reliable), Just(Class::Realtime)];
    let treatment =
        (class, 1_u8..=8, any::<bool>(), 1_000_u64..=86_400_000).prop_map(|(class, copies, spread, idle)| Treatment {
            class,
            copies,
            spread,
            idle: Duration::from_millis(idle),
        });
    let treatment = prop_oneof![Just(Treatment::default()), treatment];
    let in_doubt = prop_oneof![Just(InDoubt::Drop), Just(InDoubt::Resend)];
    let name = proptest::option::of("[^\\p{Cc}]{1,64}");
    (kind, name, treatment, in_doubt).prop_map(|(kind, name, treatment, in_doubt)| TunnelSpec {
        kind,
        name,
        treatment,
        in_doubt,
    })
}

proptest! {
    #[test]
    fn the_normal_form_says_all_there_is(spec in specs()) {
        let written = spec.to_string();
        let again = match spec.kind {
            Kind::Forward { .. } => TunnelSpec::forward(&written),
            Kind::Reverse { .. } => TunnelSpec::reverse(&written),
            Kind::Socks { .. } => TunnelSpec::socks(&written),
            Kind::Stdio { .. } => TunnelSpec::stdio(&written),
        };
        prop_assert_eq!(again, Ok(spec));
    }

    #[test]
    fn no_text_is_too_odd_to_be_refused(text in ".{0,80}", near in "[0-9a-z:\\[\\]*/?&=%.]{0,60}") {
        for text in [&text, &near] {
            for read in [TunnelSpec::forward, TunnelSpec::reverse, TunnelSpec::socks, TunnelSpec::stdio] {
                if let Err(error) = read(text) {
                    prop_assert!(!error.to_string().contains(char::is_control));
                }
            }
            let _ = server(text);
        }
    }
}
