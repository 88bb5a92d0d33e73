//! Which proxy is meant, and which is not.

use proptest::prelude::*;

use super::*;

fn server(url: &str) -> ServerConfig {
    url.parse().expect("it can be used")
}

fn rules(variables: &'static [(&'static str, &'static str)]) -> Result<ProxyRules, ProxyError> {
    ProxyRules::from_env(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
}

/// Where the way to a server leads first, if that is a proxy.
fn via(variables: &'static [(&'static str, &'static str)], url: &str) -> Option<String> {
    rules(variables).expect("it can be used").proxy_for(&server(url)).map(|(address, _)| address.to_string())
}

fn read(url: &str) -> Result<(String, Proxy), ProxyUrlError> {
    url.parse::<ProxyUrl>().map(|url| (url.address.to_string(), url.proxy))
}

#[test]
fn a_url_says_where_a_proxy_is_of_which_kind_and_who_we_are() {
    let (connect, socks) = (Proxy::new(ProxyKind::Connect), Proxy::new(ProxyKind::Socks5));
    let known = |proxy: &Proxy, user, password| proxy.clone().with_credentials(user, password).expect("it can be used");
    for (url, address, proxy) in [
        ("http://proxy.example:3128", "proxy.example:3128", connect.clone()),
        ("HTTP://Proxy.Example:3128/", "proxy.example:3128", connect.clone()),
        ("proxy.example:3128", "proxy.example:3128", connect.clone()),
        ("proxy.example", "proxy.example:1080", connect.clone()),
        ("http://[2001:db8::1]:8", "[2001:db8::1]:8", connect.clone()),
        ("http://[2001:db8::1]", "[2001:db8::1]:1080", connect.clone()),
        ("socks5://10.0.0.1", "10.0.0.1:1080", socks.clone()),
        ("socks5h://10.0.0.1:9", "10.0.0.1:9", socks.clone()),
        ("http://me:secret@proxy:1", "proxy:1", known(&connect, "me", "secret")),
        ("me:secret@proxy:1", "proxy:1", known(&connect, "me", "secret")),
        ("http://me:a:b@c/d@proxy:1", "proxy:1", known(&connect, "me", "a:b@c/d")),
        ("http://m%65:%40%2f%C3%A9@proxy:1", "proxy:1", known(&connect, "me", "@/é")),
        ("http://token@proxy:1", "proxy:1", known(&connect, "token", "")),
        ("socks5://a%3ab:c@proxy:1", "proxy:1", known(&socks, "a:b", "c")),
    ] {
        assert_eq!(read(url), Ok((address.to_owned(), proxy)), "{url}");
    }
}

#[test]
fn a_url_that_cannot_be_used_is_told_why_and_what_may_be_a_password_is_not_repeated() {
    use ProxyUrlError::{Address, Credentials, Path, Scheme, Tls};
    for (url, error) in [
        ("https://proxy:443", Tls),
        ("socks4://proxy", Scheme("socks4".into())),
        ("me:canary://proxy", Scheme("...".into())),
        ("", Address),
        ("http://", Address),
        ("http://me:canary", Address),
        ("http://me:canary%40proxy:80", Address),
        ("http://me:canary@", Address),
        ("http://me:canary@proxy:0", Address),
        ("http://me:canary@proxy:99999", Address),
        ("http://me:canary@::1:80", Address),
        ("http://me:canary@proxy:80/path", Path),
        ("http://me:canary@proxy:80?q", Path),
        ("http://me:canary%@proxy:80", Credentials),
        ("http://me:canary%+1@proxy:80", Credentials),
        ("http://me:canary%ff@proxy:80", Credentials),
        ("http://me:canary%0a@proxy:80", Credentials),
        ("http://m%3ae:canary@proxy:80", Credentials),
        ("http://:canary@proxy:80", Credentials),
        ("socks5://canary@proxy:80", Credentials),
    ] {
        let found = read(url).expect_err("it cannot be used");
        assert_eq!(found, error, "{url}");
        assert!(!format!("{found} {found:?}").contains("canary"), "{found}");
    }
    let url: ProxyUrl = "http://canary:canary@proxy:80".parse().expect("it can be used");
    let printed = format!("{url} {url:?} {:?}", ProxyRules::all(url.clone()));
    assert!(printed.starts_with("proxy:80 ") && !printed.contains("canary"), "{printed}");
}

#[test]
fn each_scheme_has_its_variables_and_lower_case_comes_first() {
    for (variables, ws, wss) in [
        (&[][..], None, None),
        (&[("http_proxy", "a:1")], Some("a:1"), None),
        (&[("https_proxy", "a:1")], None, Some("a:1")),
        (&[("HTTPS_PROXY", "a:1")], None, Some("a:1")),
        (&[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:1")], None, Some("b:1")),
        (&[("all_proxy", "a:1")], Some("a:1"), Some("a:1")),
        (&[("ALL_PROXY", "a:1"), ("https_proxy", "b:1")], Some("a:1"), Some("b:1")),
        (&[("ALL_PROXY", "a:1"), ("all_proxy", "b:1")], Some("b:1"), Some("b:1")),
        (&[("wss_proxy", "a:1"), ("https_proxy", "b:1")], None, Some("a:1")),
        (&[("WS_PROXY", "a:1"), ("http_proxy", "b:1")], Some("a:1"), None),
        (&[("https_proxy", ""), ("HTTPS_PROXY", "a:1")], None, Some("a:1")),
        (&[("http_proxy", ""), ("https_proxy", "")], None, None),
    ] {
        assert_eq!(via(variables, "ws://sudp.example").as_deref(), ws, "{variables:?}");
        assert_eq!(via(variables, "wss://sudp.example").as_deref(), wss, "{variables:?}");
    }
}

#[test]
fn a_variable_that_a_web_server_sets_for_strangers_is_not_read() {
    assert_eq!(via(&[("HTTP_PROXY", "evil:1")], "ws://sudp.example"), None);
    assert_eq!(via(&[("HTTP_PROXY", "evil:1"), ("ALL_PROXY", "a:1")], "ws://sudp.example").as_deref(), Some("a:1"));
}

#[test]
fn a_variable_that_cannot_be_used_is_named() {
    let error = rules(&[("https_proxy", "https://canary@proxy")]).expect_err("it cannot be used");
    assert_eq!(error, ProxyError { variable: "https_proxy", source: ProxyUrlError::Tls });
    let said = error.to_string();
    assert!(said.starts_with("the environment variable https_proxy: ") && !said.contains("canary"), "{said}");
    assert_eq!(
        rules(&[("https_proxy", "gopher://x"), ("no_proxy", "*")])
            .expect("it can be used")
            .proxy_for(&server("wss://a")),
        None
    );
}

#[test]
fn this_machine_is_dialled_directly_unless_asked_for() {
    const ALL: &[(&str, &str)] = &[("all_proxy", "socks5://a:1")];
    for url in [
        "ws://localhost",
        "ws://a.localhost",
        "ws://127.0.0.1",
        "ws://127.9.9.9",
        "ws://[::1]",
        "ws://[::ffff:127.0.0.1]",
    ] {
        assert_eq!(via(ALL, url), None, "{url}");
        let asked = rules(ALL).expect("it can be used").with_loopback();
        assert!(asked.proxy_for(&server(url)).is_some(), "{url}");
        let told = ProxyRules::all("a:1".parse().expect("it can be used"));
        assert!(told.proxy_for(&server(url)).is_some(), "{url}: who names a proxy means it");
    }
    assert!(via(ALL, "ws://notlocalhost").is_some() && via(ALL, "ws://10.0.0.1").is_some());
    assert_eq!(ProxyRules::none().proxy_for(&server("ws://sudp.example")), None);
}

#[test]
fn exceptions_are_names_with_all_below_them_addresses_and_networks() {
    let covers = |list: &str, host: &str| Direct::read(list).covers(&server(&format!("ws://{host}")).address.host);
    for (list, host, covered) in [
        ("*", "anything.example", true),
        (" * ", "10.0.0.1", true),
        ("example.com", "example.com", true),
        ("example.com", "www.example.com", true),
        ("example.com", "EXAMPLE.com.", true),
        ("Example.COM.", "www.example.com", true),
        (".example.com", "www.example.com", true),
        (".example.com", "example.com", true),
        ("example.com", "notexample.com", false),
        ("example.com", "example.com.evil", false),
        ("www.example.com", "example.com", false),
        ("a, b\tc,,d", "b", true),
        ("a, b\tc,,d", "c", true),
        ("a b", "b", true),
        ("a,*", "c", false),
        ("*.example.com", "www.example.com", false),
        (",", "a", false),
        (".", "a", false),
        ("10.0.0.1", "10.0.0.1", true),
        ("10.0.0.1", "10.0.0.10", false),
        ("10.0.0.0/8", "10.9.9.9", true),
        ("10.9.0.0/8", "10.1.1.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/33", "10.0.0.0", false),
        ("0.0.0.0/0", "8.8.8.8", true),
        ("0.0.0.0/0", "[2001:db8::1]", false),
        ("10.0.0.0/8", "[::ffff:10.0.0.1]", true),
        ("2001:db8::1", "[2001:db8::1]", true),
        ("[2001:db8::1]", "[2001:db8::1]", true),
        ("2001:db8::/32", "[2001:db8:1::1]", true),
        ("2001:db8::/32", "[2001:db9::1]", false),
        ("0.0.1", "10.0.0.1", false),
    ] {
        assert_eq!(covers(list, host), covered, "{list:?} {host}");
    }
}

#[test]
fn the_exceptions_of_the_environment_are_heeded_in_lower_case_first() {
    const BOTH: &[(&str, &str)] = &[("all_proxy", "a:1"), ("no_proxy", "one.example"), ("NO_PROXY", "two.example")];
    assert_eq!(via(BOTH, "ws://one.example"), None);
    assert_eq!(via(BOTH, "ws://two.example").as_deref(), Some("a:1"));
    const UPPER: &[(&str, &str)] = &[("all_proxy", "a:1"), ("no_proxy", ""), ("NO_PROXY", "two.example")];
    assert_eq!(via(UPPER, "ws://two.example"), None);
}

proptest! {
    #[test]
    fn no_text_makes_the_reading_panic_or_repeats_itself(user in "[a-z%:@/#?]{0,8}", host in "\\PC{0,12}") {
        let url = format!("http://{user}:canary9@{host}");
        if let Err(error) = read(&url) {
            let (said, known) = (error.to_string(), format!("{error:?}"));
            prop_assert!(!said.contains("canary9") && !known.contains("canary9"), "{}", said);
        }
        let _ = Direct::read(&host).covers(&Host::Name(user.into()));
    }
}
