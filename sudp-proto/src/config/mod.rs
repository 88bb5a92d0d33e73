//! What can be configured, with a default for everything, and what is wrong with a value.

pub mod client;
mod limits;
pub mod text;

pub use limits::{Cap, CapValue, Limits};

/// A configured value cannot be used; nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Two values that cannot both hold.
    #[error("{field} is {value}, but {other} is {limit}: {why}")]
    Contradiction {
        /// The field to change first.
        field: &'static str,
        /// Its value.
        value: String,
        /// The field it does not go with.
        other: &'static str,
        /// The value of that one.
        limit: String,
        /// What must hold between them.
        why: &'static str,
    },
    /// A value that is too small or too large.
    #[error("{field} is {value}; allowed is {allowed}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: String,
    },
}
