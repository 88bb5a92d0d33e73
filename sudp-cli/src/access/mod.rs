//! Who is let in, and to what: how a client shows who it is, and what the configuration grants it.

mod book;
mod gate;

pub(crate) use gate::Gate;

/// Who a client has turned out to be. It is kept with each of its sessions, so that what it may do can be found
/// anew when the configuration changes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Identity {
    /// Its name, as it stands in status and logs; empty is anybody.
    pub(crate) principal: String,
}
