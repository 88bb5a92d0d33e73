//! What belongs to this machine.

use std::net::IpAddr;

use sudp_proto::access::Own;

/// The addresses of this machine and of its broadcasts at this moment, and these ports: what a tunnel does not lead to
/// unasked. A machine that does not say what its addresses are is protected by the closed list alone.
pub fn own(ports: impl IntoIterator<Item = u16>) -> Own {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let broadcasts = interfaces.iter().filter_map(|interface| match &interface.addr {
        if_addrs::IfAddr::V4(v4) => v4.broadcast.map(IpAddr::from),
        if_addrs::IfAddr::V6(_) => None,
    });
    Own::new(interfaces.iter().map(if_addrs::Interface::ip).chain(broadcasts), ports)
}
