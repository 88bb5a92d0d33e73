//! `sudp acl`: what the rules of a server come to.

use clap::{Args, Subcommand};
use sudp_tokio::proto::access::{Rule, Rules};
use sudp_tokio::proto::wire::Address;

use super::{Common, Output};
use crate::access::book::Scope;
use crate::access::tokens::Token;
use crate::access::users::User;
use crate::access::{Identity, Via, records};
use crate::acl::{self, Question};
use crate::config::Auth;
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
    /// A group they are in, beside those that the files of users and tokens say; may be repeated
    #[arg(long, value_name = "NAME")]
    pub group: Vec<String>,
    /// A rule of the scope of their token, instead of those that its file says; may be repeated
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
        let who = identity(&self.who, &config.server.auth)?;
        let groups = [who.groups.clone(), self.group].concat();
        let scope = Rules::new(self.scope).map_err(|error| Failure::new(Exit::Usage, error))?;
        let scope = if scope.as_slice().is_empty() { who.scope.clone() } else { Some(Scope::new(scope)) };
        let who = Identity { groups, scope, ..who };
        acl::explain(&gathered, &config, &Question { who, to: self.to, bind: self.bind }, self.output)
    }
}

/// Who somebody is, as far as files of this server know.
fn identity(name: &str, auth: &Auth) -> Outcome<Identity> {
    let denied = |what: String| Failure::new(Exit::Failed, what);
    let of = |principal: &str, via| Ok(Identity { principal: principal.to_owned(), via, ..Identity::default() });
    match (name.split_once(':'), &auth.tokens, &auth.users) {
        _ if name.is_empty() => Ok(Identity::default()),
        (Some(("token", token)), Some(file), _) => {
            let tokens = records::load::<Token>(file).map_err(|problems| records::unusable(&problems))?;
            let found = tokens.get(token).map(|found| found.identity(token));
            found.ok_or_else(|| denied(format!("there is no token {token} in {}", file.display())))
        }
        (Some(("token", _)), None, _) => of(name, Via::Token),
        (Some(("cert", _)), _, _) => of(name, Via::Certificate),
        (Some(("key", _)), _, _) => of(name, Via::Key),
        (Some((_, subject)), _, _) => of(subject, Via::Jwt),
        (None, _, None) => of(name, Via::Password),
        (None, _, Some(file)) => {
            let users = records::load::<User>(file).map_err(|problems| records::unusable(&problems))?;
            match users.get(name) {
                Some(user) if user.disabled => Err(denied(format!("the user {name} is disabled, and not let in"))),
                Some(user) => Ok(user.identity(name)),
                // Tokens of others may name those whom no file has.
                None => of(name, Via::Jwt),
            }
        }
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

It reads the configuration, and the files of users and tokens that this names, and asks no running
server: what flags of a server say is not known here. It ends with 0 if the answer is yes, with 1 if it is no, and with 78 if the configuration
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
