#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod runtime;

pub use runtime::Tokio;
pub use sudp_net::*;

/// A client on tokio.
pub type Client = sudp_net::Client<Tokio>;
/// A server on tokio: on one runtime, or on whatever puts several of them together.
pub type Server<R = Tokio> = sudp_net::Server<R>;

/// A UDP socket on tokio, for whoever stands at the end of a tunnel.
pub type UdpPort = sudp_net::UdpPort<Tokio>;

/// Starts a client on the runtime of the caller. It dials at once, and again for as long as it lives.
pub fn connect(options: ClientOptions) -> Result<Client, ConnectError> {
    let runtime = Tokio::current().ok_or(ConnectError::NoRuntime)?;
    sudp_net::Client::connect(runtime, options)
}

/// Starts a server on the runtime of the caller, which serves whom `admit` lets in.
pub fn bind(options: ServerOptions, admit: impl Admit) -> Result<Server, BindError> {
    let runtime = Tokio::current().ok_or(BindError::NoRuntime)?;
    sudp_net::Server::bind(runtime, options, admit)
}
