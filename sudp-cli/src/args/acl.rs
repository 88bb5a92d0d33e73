//! `sudp acl`: what the rules of a server come to.

use clap::{Args, Subcommand};
use sudp_tokio::proto::access::{Rule, Rules};
use sudp_tokio::proto::wire::Address;

use super::{Common, Output};
use crate::access::Identity;
use crate::access::book::Scope;
use crate::acl::{self, Question};
use crate::config::decode::decode;
use crate::config::load::{Flags, Surroundings, refusal};
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::Name;

/// What is asked of the rules.
#[derive(Debug, Subcommand)]
pub enum AclCommand {
    /// Say whether somebody may send somewhere, which rule decides, and where it stands
    #[command(after_help = EXPLAIN)]
    Explain(Explain),
}

/// Who wants to send where.
#[derive(Debug, Args)]
pub struct Explain {
    /// Who: as `who` of server.grants names them; * is somebody without a name
    #[arg(value_name = "WHO", value_parser = who)]
    pub who: String,
    /// Where to: an address or a name, and a port
    #[arg(value_name = "HOST:PORT")]
    pub to: Address,
    /// Ask whether a reverse tunnel may listen there
    #[arg(long)]
    pub bind: bool,
    /// A group they are in; may be repeated
    #[arg(long, value_name = "NAME")]
    pub group: Vec<String>,
    /// A rule of the scope of their token; may be repeated
    #[arg(long, value_name = "RULE")]
    pub scope: Vec<Rule>,
    /// The instance whose file is laid over the common one
    #[arg(long, value_name = "NAME")]
    pub instance: Option<Name>,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

impl AclCommand {
    /// Does what is asked for.
    pub fn run(self, common: &Common) -> Outcome {
        match self {
            Self::Explain(explain) => explain.run(common),
        }
    }
}

impl Explain {
    fn run(self, common: &Common) -> Outcome {
        let mut gathered = common.sources(self.instance, Flags::default()).gather(&Surroundings::of_process());
        let config = decode(&gathered.tree, &[], &mut gathered.problems);
        if !gathered.problems.is_empty() {
            return Err(refusal(&gathered.problems));
        }
        let scope = Rules::new(self.scope).map_err(|error| Failure::new(Exit::Usage, error))?;
        let scope = Some(scope).filter(|rules| !rules.as_slice().is_empty()).map(Scope::new);
        let who = Identity { principal: self.who, groups: self.group, scope, ..Identity::default() };
        acl::explain(&gathered, &config, &Question { who, to: self.to, bind: self.bind }, self.output)
    }
}

fn who(text: &str) -> Result<String, String> {
    use crate::config::grants::{Who, read_who};
    match read_who(text)? {
        Who::Everybody => Ok(String::new()),
        Who::Principal(name) => Ok(name),
        Who::Group(name) => Err(format!("a group is not somebody; for somebody in it write * --group {name}")),
    }
}

const EXPLAIN: &str = "\
Examples:
  sudp acl explain alice 10.1.2.3:53
  sudp acl explain alice dns.example:53 --group ops        every address that the name has
  sudp acl explain token:backup 0.0.0.0:51820 --bind       for a reverse tunnel
  sudp acl explain '*' 169.254.169.254:80 -c sudp.yaml -o json

It reads the configuration, and asks no running server: what flags of a server say is not known
here. It ends with 0 if the answer is yes, with 1 if it is no, and with 78 if the configuration
cannot be used.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_one_and_not_a_group() {
        assert_eq!(who("alice"), Ok("alice".into()));
        assert_eq!(who("token:ci"), Ok("token:ci".into()));
        assert_eq!(who("*"), Ok(String::new()));
        assert_eq!(who("group:ops"), Err("a group is not somebody; for somebody in it write * --group ops".into()));
        assert!(who("user:alice").is_err_and(|error| error.ends_with("did you mean `alice`?")));
    }
}
