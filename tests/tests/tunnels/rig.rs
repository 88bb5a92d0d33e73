//! What nearly every story begins with.

use std::net::SocketAddr;
use std::time::Duration;

use sudp_net::proto::access::Grant;
use sudp_net::proto::client::DialError;
use sudp_net::proto::config::Limits;
use sudp_net::proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_net::proto::event::Event;
use sudp_net::proto::session::{Tunnel, Way};
use sudp_net::proto::wire::Address;
use sudp_net::{Anyone, BindError, Client, ClientEvent, ClientOptions, Events, Server, ServerOptions};
use tokio::time::{sleep, timeout};

use crate::side::Side;
use crate::udp::{LONG, SOON, anywhere};

/// A server that lets everybody do everything.
pub(crate) fn serve<S: Side>() -> Server<S> {
    S::bind(server_options(anywhere()), Anyone(Grant::open())).expect("a server")
}

/// A server at an address that someone may hold for a moment yet.
pub(crate) async fn serve_at<S: Side>(at: SocketAddr) -> Server<S> {
    loop {
        match S::bind(server_options(at), Anyone(Grant::open())) {
            Ok(server) => return server,
            Err(BindError::Listen { .. }) => sleep(SOON).await,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn server_options(at: SocketAddr) -> ServerOptions {
    let mut options = ServerOptions::new(vec![at]);
    options.limits = limits();
    options
}

/// Where a server listens.
pub(crate) fn address<S: Side>(server: &Server<S>) -> SocketAddr {
    server.local_addrs()[0]
}

/// What a client of one server is started with.
pub(crate) fn client_options(server: impl Into<Address>) -> ClientOptions {
    let server = ServerConfig::new(Scheme::Ws, server.into());
    let mut options = ClientOptions::new(ClientConfig::new(vec![server]));
    options.limits = limits();
    options
}

pub(crate) fn connect<C: Side>(server: SocketAddr) -> Client<C> {
    C::connect(client_options(server)).expect("a client")
}

/// A client that turns to the second server only when the first is of no use.
pub(crate) fn connect_to_either<C: Side>(first: SocketAddr, second: SocketAddr) -> Client<C> {
    let mut options = client_options(first);
    let second = ServerConfig::new(Scheme::Ws, second.into());
    options.config.servers.push(ServerConfig { priority: 1, ..second });
    C::connect(options).expect("a client")
}

/// A client that wants several links, once it has them.
pub(crate) async fn connect_by<C: Side>(server: SocketAddr, links: usize) -> Client<C> {
    let mut options = client_options(server);
    options.config.links = links;
    let client = C::connect(options).expect("a client");
    wait_for_links(&client, links).await;
    client
}

pub(crate) async fn wait_for_links<C: Side>(client: &Client<C>, links: usize) {
    while client.stats().await.expect("the client lives").links.len() < links {
        sleep(SOON).await;
    }
}

/// A tunnel from a listener of the client's to a service. Says where the listener is.
pub(crate) async fn forward<C: Side>(client: &Client<C>, to: impl Into<Address>) -> SocketAddr {
    let tunnel = Tunnel::new(Way::Forward { listen: Some(anywhere()), to: Some(to.into()) });
    client.add_tunnel(tunnel).await.expect("a tunnel").at.expect("a listener")
}

/// Waits for an event of a client's session.
pub(crate) async fn told<T>(events: &mut Events<ClientEvent>, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = events.next().await.expect("the client lives");
            if let ClientEvent::Session(event) = event
                && let Some(found) = wanted(event)
            {
                return found;
            }
        }
    };
    timeout(LONG, found).await.expect("the event comes")
}

/// Waits until a dial comes to nothing, and says why.
pub(crate) async fn failure(events: &mut Events<ClientEvent>) -> DialError {
    let failed = async {
        loop {
            if let ClientEvent::DialFailed(failure) = events.next().await.expect("the client lives") {
                return failure.why;
            }
        }
    };
    timeout(LONG, failed).await.expect("it is told")
}

/// The usual limits, but for links that are suspected early, so that no story takes long.
fn limits() -> Limits {
    Limits { suspect_min: Duration::from_millis(100), suspect_max: Duration::from_millis(500), ..Limits::default() }
}
