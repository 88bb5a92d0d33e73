//! How a command ends: what it says, and the code it leaves.

use std::fmt;
use std::process::ExitCode;

/// Why a command did not do what it was asked to. One line says what, why, and what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What a script is told.
    pub exit: Exit,
    /// What a person is told.
    pub message: String,
}

/// What a command that does not return a [`Failure`] returns.
pub type Outcome<T = ()> = Result<T, Failure>;

/// The codes that commands end with, which scripts may rely on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// It ran, and failed.
    Failed = 1,
    /// It was typed wrongly.
    Usage = 2,
    /// No instance of this name runs (as `systemctl status` says it).
    NotRunning = 3,
    /// Whether it runs cannot be told.
    Unknown = 4,
    /// No server could be reached.
    Unreachable = 69,
    /// A mistake of ours.
    Internal = 70,
    /// A file, socket or listener could not be created.
    CannotCreate = 73,
    /// It may work later.
    Temporary = 75,
    /// Refused: by the server, by a rule, or by the system.
    Denied = 77,
    /// The configuration cannot be used.
    Config = 78,
    /// Ended at once by a second SIGINT.
    Interrupted = 130,
    /// Ended at once by a second SIGTERM.
    Terminated = 143,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }
}

impl Exit {
    /// Every code there is.
    pub const ALL: [Self; 12] = [
        Self::Failed,
        Self::Usage,
        Self::NotRunning,
        Self::Unknown,
        Self::Unreachable,
        Self::Internal,
        Self::CannotCreate,
        Self::Temporary,
        Self::Denied,
        Self::Config,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The exit that this code is.
    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| *exit as u8 == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
