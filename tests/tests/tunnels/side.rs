//! One side of a tunnel, on either adapter.

use sudp_async_std::AsyncStd;
use sudp_net::{Admit, BindError, Client, ClientOptions, ConnectError, Runtime, Server, ServerOptions};
use sudp_tokio::Tokio;

/// An adapter.
pub(crate) trait Side: Runtime {
    fn connect(options: ClientOptions) -> Result<Client<Self>, ConnectError>;
    fn bind(options: ServerOptions, admit: impl Admit) -> Result<Server<Self>, BindError>;
}

impl Side for Tokio {
    fn connect(options: ClientOptions) -> Result<Client<Self>, ConnectError> {
        sudp_tokio::connect(options)
    }

    fn bind(options: ServerOptions, admit: impl Admit) -> Result<Server<Self>, BindError> {
        sudp_tokio::bind(options, admit)
    }
}

impl Side for AsyncStd {
    fn connect(options: ClientOptions) -> Result<Client<Self>, ConnectError> {
        sudp_async_std::connect(options)
    }

    fn bind(options: ServerOptions, admit: impl Admit) -> Result<Server<Self>, BindError> {
        sudp_async_std::bind(options, admit)
    }
}
