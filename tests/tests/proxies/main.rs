//! Tunnels through real proxies, on real sockets and on every runtime: tinyproxy, squid, microsocks.
//!
//! Where one is not installed, its stories are skipped and say so.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod programs;
mod tunnels;

use std::net::Ipv4Addr;

use sudp_net::ProxyUrl;
use sudp_proto::client::DialError;
use sudp_proto::link::ProxyEnd;

use programs::{Proxy, microsocks, squid, tinyproxy};
use tunnels::{ADAPTERS, Adapter, Server, Tunnel};

const NOBODY: Option<(&str, &str)> = None;
const ME: Option<(&str, &str)> = Some(("me", "pass-word"));
/// Not every proxy can be told such a password.
const SPECIAL: Option<(&str, &str)> = Some(("me", "pa:ss w@rd"));

/// A tunnel through a proxy that lets it through.
fn passes(adapter: Adapter, server: &Server, host: &str, proxy: &str) {
    let tunnel = Tunnel::new(adapter, server, host, url(proxy));
    tunnel.converses(50);
}

/// A tunnel that is told why it does not come about, and told again.
fn fails(adapter: Adapter, server: &Server, proxy: &str, words: &str, expected: impl Fn(&DialError) -> bool) {
    let mut tunnel = Tunnel::new(adapter, server, "127.0.0.1", url(proxy));
    let failure = tunnel.failure();
    let said = failure.to_string();
    assert!(expected(&failure.why), "{failure:?}");
    assert!(said.contains("through the proxy 127.0.0.1:") && said.contains(words), "{said}");
    assert!(!said.contains("w@rd") && !format!("{failure:?}").contains("w@rd"), "{failure:?}");
}

fn url(text: &str) -> ProxyUrl {
    text.parse().unwrap()
}

fn forbidden(why: &DialError) -> bool {
    *why == DialError::Proxy(ProxyEnd::Refused(403))
}

fn credentials(why: &DialError) -> bool {
    *why == DialError::Proxy(ProxyEnd::Credentials)
}

#[test]
fn connect_leads_to_a_server_by_address_and_by_name() {
    for adapter in ADAPTERS {
        let server = Server::new(adapter);
        let Some(proxy) = tinyproxy(server.at, NOBODY) else { return };
        passes(adapter, &server, "127.0.0.1", &proxy.url("http", NOBODY));
        passes(adapter, &server, "localhost", &proxy.url("http", NOBODY));
    }
}

#[test]
fn connect_with_credentials_leads_on_and_without_or_with_others_the_client_learns_why_not() {
    for adapter in ADAPTERS {
        let server = Server::new(adapter);
        let Some(proxy) = tinyproxy(server.at, ME) else { return };
        passes(adapter, &server, "127.0.0.1", &proxy.url("http", ME));
        for who in [NOBODY, Some(("me", "w@rd"))] {
            fails(adapter, &server, &proxy.url("http", who), "check user and password", credentials);
        }
    }
}

#[test]
fn a_name_that_only_the_proxy_knows_is_left_to_it() {
    for adapter in ADAPTERS {
        let server = Server::new(adapter);
        let Some(proxy) = squid(server.at) else { return };
        passes(adapter, &server, "only-there.invalid", &proxy.url("http", NOBODY));
    }
}

#[test]
fn a_proxy_that_minds_the_port_or_cannot_reach_the_server_is_named_with_its_reason() {
    for adapter in ADAPTERS {
        let (server, other) = (Server::new(adapter), Server::new(adapter));
        let gone = Server::new(adapter).elsewhere((Ipv4Addr::LOCALHOST, programs::free_port()).into());
        if let Some(proxy) = squid(server.at) {
            fails(adapter, &other, &proxy.url("http", NOBODY), "forbids this server", forbidden);
        }
        if let Some(proxy) = squid(gone.at) {
            let down = |why: &DialError| *why == DialError::Proxy(ProxyEnd::Refused(503));
            fails(adapter, &gone, &proxy.url("http", NOBODY), "cannot reach the server", down);
        }
        if let Some(proxy) = tinyproxy(server.at, NOBODY) {
            fails(adapter, &other, &proxy.url("http", NOBODY), "forbids this server", forbidden);
        }
        if let Some(proxy) = microsocks(NOBODY) {
            let refused = |why: &DialError| *why == DialError::Proxy(ProxyEnd::Reply(5));
            fails(adapter, &gone, &proxy.url("socks5", NOBODY), "the server refused the connection", refused);
        }
    }
}

#[test]
fn a_proxy_that_is_down_or_of_another_kind_is_named_with_its_reason() {
    for adapter in ADAPTERS {
        let server = Server::new(adapter);
        let nothing = format!("http://127.0.0.1:{}", programs::free_port());
        let refused = |why: &DialError| *why == DialError::Connect(std::io::ErrorKind::ConnectionRefused);
        fails(adapter, &server, &nothing, "connection refused", refused);
        if let Some(proxy) = microsocks(NOBODY) {
            let broken = |why: &DialError| matches!(why, DialError::Proxy(_) | DialError::Broken(_));
            fails(adapter, &server, &proxy.url("http", NOBODY), "", broken);
        }
    }
}

#[test]
fn socks_leads_to_a_server_by_address_and_by_name_with_credentials_and_without() {
    for adapter in ADAPTERS {
        let server = Server::new(adapter);
        let (Some(open), Some(closed)) = (microsocks(NOBODY), microsocks(SPECIAL)) else { return };
        for scheme in ["socks5", "socks5h"] {
            passes(adapter, &server, "127.0.0.1", &open.url(scheme, NOBODY));
            passes(adapter, &server, "localhost", &closed.url(scheme, SPECIAL));
        }
        for who in [NOBODY, Some(("me", "w@rd"))] {
            fails(adapter, &server, &closed.url("socks5", who), "check user and password", credentials);
        }
    }
}

#[test]
fn a_proxy_that_is_killed_and_started_again_under_traffic_loses_nothing_and_doubles_nothing() {
    for adapter in ADAPTERS {
        let server = Server::new(adapter);
        let proxies: [(&str, Option<Proxy>); 2] = [("http", tinyproxy(server.at, ME)), ("socks5", microsocks(ME))];
        for (scheme, proxy) in proxies {
            let Some(mut proxy) = proxy else { continue };
            let tunnel = Tunnel::new(adapter, &server, "127.0.0.1", url(&proxy.url(scheme, ME)));
            tunnel.converses(50);
            let mut traffic = tunnel.traffic();
            for _ in 0..3 {
                traffic.flows(200);
                proxy.kill();
                traffic.flows(100);
                proxy.start();
            }
            traffic.flows(200);
            traffic.settles();
        }
    }
}
