//! The one event loop, over a trait of non-blocking doors.

mod endpoint;

pub(crate) use endpoint::sealed;
pub use endpoint::{Endpoint, Key, Order};
