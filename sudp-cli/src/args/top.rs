//! `sudp top`.

use clap::Args;

use super::Common;
use super::manage::Which;
use crate::exit::Outcome;
use crate::status::Role;
use crate::top;

/// How an instance is shown live.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TopArgs {
    /// The instance
    #[command(flatten)]
    pub which: Which,
}

impl TopArgs {
    /// Shows it; where the role is not given, that of which an instance of this name runs.
    pub fn run(self, common: &Common, role: Option<Role>) -> Outcome {
        top::run(&self.which.instance, role, common.color)
    }
}

const EXAMPLES: &str = "\
Keys: q quit, s sort, r reverse, / filter, arrows select, Enter details, k cut a flow,
R make the links anew, p pause, ? help

Examples:
  sudp top                          the instance 'default'
  sudp top --instance home          another one
  sudp server top --instance home   where a server and a client have the same name";
