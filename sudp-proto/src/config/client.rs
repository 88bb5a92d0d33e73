//! What a client is told: where its servers are, and how many links it may hold.

use std::time::Duration;

use crate::wire::{Address, Host};

/// Everything a client needs to know before it dials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientConfig {
    /// A stable name, unique per principal, at most 64 bytes; a newer process of the same name takes
    /// over the ports of an older one. Empty means no name.
    pub name: String,
    /// Where to dial; 1 to 16 servers.
    pub servers: Vec<ServerConfig>,
    /// How many links a session holds, 1 to 8 (default 1).
    pub links: usize,
    /// The age at which a link is replaced, new before old; at least 10 s (default: none).
    pub max_link_age: Option<Duration>,
}

/// One server that may be dialled. Nothing a server says adds another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerConfig {
    /// What protects the link.
    pub scheme: Scheme,
    /// Host and port.
    pub address: Address,
    /// The path of the upgrade request (default `/sudp`).
    pub path: String,
    /// Lower is preferred; a higher one is dialled only while no lower one answers (default 0).
    pub priority: u16,
    /// Its share of first choices among servers of equal priority; 0 comes last (default 1).
    pub weight: u16,
}

/// The scheme of a server's URL.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `ws://`, in the clear.
    Ws,
    /// `wss://`, over TLS.
    Wss,
}

/// Why a [`ClientConfig`] cannot be used. The configuration is at fault, nothing was started.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientConfigError {
    /// A server appears twice.
    #[error("servers {0} and {1} have the same URL")]
    Duplicate(usize, usize),
    /// A host name cannot be one.
    #[error("server {0} has a host of {1} bytes, allowed are 1 to 253 printable ASCII characters")]
    Host(usize, usize),
    /// Links are replaced faster than they can prove themselves.
    #[error("maximum link age {0:?} is below 10 s")]
    LinkAge(Duration),
    /// The number of links is out of range.
    #[error("{0} links, allowed are 1 to 8")]
    Links(usize),
    /// The name is too long.
    #[error("client name of {0} bytes, allowed are 64")]
    Name(usize),
    /// A path cannot stand in a request line.
    #[error(
        "server {0} has a path that does not begin with a slash, is over 1024 bytes or has a blank or control character"
    )]
    Path(usize),
    /// Nothing listens on port 0.
    #[error("server {0} has port 0")]
    Port(usize),
    /// The number of servers is out of range.
    #[error("{0} servers, allowed are 1 to 16")]
    Servers(usize),
}

impl ClientConfig {
    /// A client of these servers, with the defaults for the rest.
    pub fn new(servers: Vec<ServerConfig>) -> Self {
        Self { name: String::new(), servers, links: 1, max_link_age: None }
    }

    /// Finds the first thing that cannot be used.
    pub fn validate(&self) -> Result<(), ClientConfigError> {
        if self.name.len() > NAME_MAX {
            return Err(ClientConfigError::Name(self.name.len()));
        }
        if !(1..=LINKS_MAX).contains(&self.links) {
            return Err(ClientConfigError::Links(self.links));
        }
        if let Some(age) = self.max_link_age.filter(|age| *age < LINK_AGE_MIN) {
            return Err(ClientConfigError::LinkAge(age));
        }
        if !(1..=SERVERS_MAX).contains(&self.servers.len()) {
            return Err(ClientConfigError::Servers(self.servers.len()));
        }
        self.servers.iter().enumerate().try_for_each(|(index, server)| server.validate(index))?;
        self.find_duplicate()
    }

    fn find_duplicate(&self) -> Result<(), ClientConfigError> {
        for (index, server) in self.servers.iter().enumerate() {
            let twin = self.servers[..index]
                .iter()
                .position(|other| other.is_at(server.scheme, &server.address, &server.path));
            if let Some(first) = twin {
                return Err(ClientConfigError::Duplicate(first, index));
            }
        }
        Ok(())
    }
}

impl ServerConfig {
    /// A server at this address, with the defaults for the rest.
    pub fn new(scheme: Scheme, address: Address) -> Self {
        Self { scheme, address, path: "/sudp".into(), priority: 0, weight: 1 }
    }

    /// Whether a URL means this server; host names compare without regard to case or a final dot.
    pub fn is_at(&self, scheme: Scheme, address: &Address, path: &str) -> bool {
        self.scheme == scheme
            && self.address.port == address.port
            && self.path == path
            && same_host(&self.address.host, &address.host)
    }

    fn validate(&self, index: usize) -> Result<(), ClientConfigError> {
        if let Host::Name(name) = &self.address.host {
            let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
            if !(1..=HOST_MAX).contains(&name.len()) || !printable {
                return Err(ClientConfigError::Host(index, name.len()));
            }
        }
        if self.address.port == 0 {
            return Err(ClientConfigError::Port(index));
        }
        let printable = self.path.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.path.starts_with('/') || self.path.len() > PATH_MAX || !printable {
            return Err(ClientConfigError::Path(index));
        }
        Ok(())
    }
}

fn same_host(one: &Host, other: &Host) -> bool {
    match (one, other) {
        (Host::Ip(one), Host::Ip(other)) => one.to_canonical() == other.to_canonical(),
        (Host::Name(one), Host::Name(other)) => without_dot(one).eq_ignore_ascii_case(without_dot(other)),
        (Host::Ip(_), Host::Name(_)) | (Host::Name(_), Host::Ip(_)) => false,
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

const NAME_MAX: usize = 64;
const LINKS_MAX: usize = 8;
const LINK_AGE_MIN: Duration = Duration::from_secs(10);
const SERVERS_MAX: usize = 16;
const HOST_MAX: usize = 253;
const PATH_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
