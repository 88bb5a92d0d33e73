use super::*;

#[test]
fn one_server_and_the_defaults_are_enough() {
    assert_eq!(ClientConfig::new(vec![server("example.org")]).validate(), Ok(()));
}

#[test]
fn each_limit_refuses_what_is_just_beyond_it() {
    type Change = fn(&mut ClientConfig);
    let cases: [(Change, ClientConfigError); 13] = [
        (|config| config.servers.clear(), ClientConfigError::Servers(0)),
        (
            |config| config.servers = (0..17).map(|at| server(&format!("s{at}"))).collect(),
            ClientConfigError::Servers(17),
        ),
        (|config| config.links = 0, ClientConfigError::Links(0)),
        (|config| config.links = 9, ClientConfigError::Links(9)),
        (|config| config.name = "x".repeat(65), ClientConfigError::Name(65)),
        (
            |config| config.max_link_age = Some(Duration::from_millis(9_999)),
            ClientConfigError::LinkAge(Duration::from_millis(9_999)),
        ),
        (|config| config.servers[0].address.port = 0, ClientConfigError::Port(0)),
        (|config| config.servers[0] = server(""), ClientConfigError::Host(0, 0)),
        (|config| config.servers[0] = server(&"x".repeat(254)), ClientConfigError::Host(0, 254)),
        (|config| config.servers[0] = server("a\r\nb"), ClientConfigError::Host(0, 4)),
        (|config| config.servers[0].path = "sudp".into(), ClientConfigError::Path(0)),
        (|config| config.servers[0].path = "/a b".into(), ClientConfigError::Path(0)),
        (|config| config.servers[0].path = format!("/{}", "x".repeat(1_024)), ClientConfigError::Path(0)),
    ];
    for (change, error) in cases {
        let mut config = ClientConfig::new(vec![server("example.org")]);
        change(&mut config);
        assert_eq!(config.validate(), Err(error));
    }
}

#[test]
fn each_limit_allows_what_is_just_within_it() {
    let mut config = ClientConfig::new((0..16).map(|at| server(&format!("s{at}"))).collect());
    config.links = 8;
    config.name = "x".repeat(64);
    config.max_link_age = Some(Duration::from_secs(10));
    config.servers[0] = server(&"x".repeat(253));
    config.servers[1].path = format!("/{}", "x".repeat(1_023));
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn the_same_server_in_other_letters_is_a_duplicate() {
    let config = ClientConfig::new(vec![server("a.example"), server("b.example"), server("A.Example.")]);
    assert_eq!(config.validate(), Err(ClientConfigError::Duplicate(0, 2)));
}

#[test]
fn servers_that_differ_in_scheme_port_or_path_are_different() {
    let mut servers = vec![server("a.example"); 4];
    servers[1].scheme = Scheme::Ws;
    servers[2].address.port = 8443;
    servers[3].path = "/other".into();
    assert_eq!(ClientConfig::new(servers).validate(), Ok(()));
}

#[test]
fn an_address_mapped_into_ipv6_is_the_same_host() {
    let ip = |text: &str| Address { host: Host::Ip(text.parse().unwrap()), port: 443 };
    let server = ServerConfig::new(Scheme::Wss, ip("192.0.2.1"));
    assert!(server.is_at(Scheme::Wss, &ip("::ffff:192.0.2.1"), "/sudp"));
    assert!(!server.is_at(Scheme::Wss, &ip("192.0.2.2"), "/sudp"));
    let name = Address { host: Host::Name("192.0.2.1".into()), port: 443 };
    assert!(!server.is_at(Scheme::Wss, &name, "/sudp"), "a name is not looked at for an address");
}

fn server(name: &str) -> ServerConfig {
    ServerConfig::new(Scheme::Wss, Address { host: Host::Name(name.into()), port: 443 })
}
