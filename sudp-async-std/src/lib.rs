#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod runtime;

pub use runtime::AsyncStd;
pub use sudp_net::*;

/// A client on async-std.
pub type Client = sudp_net::Client<AsyncStd>;
/// A server on async-std.
pub type Server = sudp_net::Server<AsyncStd>;

/// Starts a client. It dials at once, and again for as long as it lives.
pub fn connect(options: ClientOptions) -> Result<Client, ConnectError> {
    sudp_net::Client::connect(AsyncStd, options)
}

/// Starts a server, which serves whom `admit` lets in.
pub fn bind(options: ServerOptions, admit: impl Admit) -> Result<Server, BindError> {
    sudp_net::Server::bind(AsyncStd, options, admit)
}
