//! `sudp acl explain`: what a server of this configuration decides, by which rule, and where that stands.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use serde::Serialize;
use sudp_tokio::proto::access::{Decision, Destination, Grant, Own, RuleRef};
use sudp_tokio::proto::wire::{Address, Host};

use crate::access::Identity;
use crate::access::book::{Book, Named, Said};
use crate::args::Output;
use crate::config::load::Gathered;
use crate::config::tree::{Map, Node, Origin, Value};
use crate::config::{Config, moment};
use crate::exit::{Exit, Failure, Outcome};
use crate::print;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Who it is.
    pub(crate) who: Identity,
    /// Where it wants to send to, or to listen.
    pub(crate) to: Address,
    /// Whether it wants to listen there.
    pub(crate) bind: bool,
}

/// What is answered.
#[derive(Debug, Serialize)]
struct Explained {
    schema: u32,
    who: String,
    to: String,
    /// `send` or `listen`.
    wants: &'static str,
    allowed: bool,
    /// Why nothing is granted, if nothing is.
    reason: Option<String>,
    section: Option<Place>,
    expires: Option<String>,
    addresses: Vec<Judged>,
}

/// A place in the configuration.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct Place {
    key: String,
    /// The file and the line, or the flag or variable, where it was said.
    at: String,
}

/// An address and what is decided of it.
#[derive(Debug, Serialize)]
struct Judged {
    address: IpAddr,
    allowed: bool,
    /// The address in each form that counts, for all have to be allowed.
    forms: Vec<Form>,
}

/// One form of an address, and what decides on it.
#[derive(Debug, Serialize)]
struct Form {
    address: IpAddr,
    allowed: bool,
    /// What decided, in words.
    reason: String,
    /// The rule that did, if one did.
    rule: Option<String>,
    #[serde(flatten)]
    place: Option<Place>,
}

/// Says what is decided, and fails if the answer is no.
pub(crate) fn explain(gathered: &Gathered, config: &Config, question: &Question, output: Output) -> Outcome {
    let answers = resolve(question)?;
    let explained = Asker { gathered, config, question }.explain(&answers);
    match output {
        Output::Text => print::text(&explained.to_string())?,
        Output::Json => print::json(&explained)?,
    }
    if explained.allowed {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format_args!("{} may not {}", explained.who, explained.what())))
}

/// Every address that is meant.
fn resolve(question: &Question) -> Outcome<Vec<IpAddr>> {
    match &question.to.host {
        Host::Ip(ip) => Ok(vec![*ip]),
        Host::Name(name) if question.bind => {
            let message = format!("{name} is a name, and one listens at an address; give that");
            Err(Failure::new(Exit::Usage, message))
        }
        Host::Name(name) => {
            let found = (&**name, question.to.port).to_socket_addrs();
            let found = found.map_err(|error| Failure::new(Exit::Failed, format!("{name} is not found: {error}")))?;
            let mut addresses: Vec<_> = found.map(|at| at.ip()).collect();
            addresses.dedup();
            Ok(addresses)
        }
    }
}

struct Asker<'a> {
    gathered: &'a Gathered,
    config: &'a Config,
    question: &'a Question,
}

impl Asker<'_> {
    fn explain(&self, answers: &[IpAddr]) -> Explained {
        let Question { who, to, bind } = self.question;
        let book = Book::new(&self.config.server, 0);
        let said = book.said(who);
        let grant = said.as_ref().and_then(|_| book.grant(who));
        let expires = said.as_ref().and_then(|said| said.expires(who)).map(moment::write);
        let reason = match (&said, &grant) {
            (None, _) => Some("no section of server.grants speaks of them".to_owned()),
            (Some(_), None) => Some(format!("what was granted has ended ({})", expires.as_deref().unwrap_or_default())),
            (Some(_), Some(_)) => None,
        };
        let own = sudp_tokio::own(self.config.server.listen.iter().map(SocketAddr::port));
        let judged = |(said, grant): (&Said<'_>, &Grant)| -> Vec<Judged> {
            answers.iter().map(|address| self.judge(said, grant, *address, &own)).collect()
        };
        let addresses = said.as_ref().zip(grant.as_ref()).map(judged).unwrap_or_default();
        let section = said.as_ref().and_then(Said::section).map(|key| self.place(key));
        Explained {
            schema: 1,
            who: if who.principal.is_empty() { "somebody without a name".into() } else { who.principal.clone() },
            to: to.to_string(),
            wants: if *bind { "listen" } else { "send" },
            allowed: addresses.iter().any(|address| address.allowed),
            reason,
            section,
            expires,
            addresses,
        }
    }

    fn judge(&self, said: &Said<'_>, grant: &Grant, address: IpAddr, own: &Own) -> Judged {
        let at = SocketAddr::new(address, self.question.to.port);
        let forms: Vec<Form> = if self.question.bind {
            let decision = grant.decide_bind(sudp_tokio::now(), at);
            let name =
                |rule: RuleRef| Named::new(rule, &grant.reverse, grant.scope.as_ref(), |index| said.reverse(index));
            vec![self.form(address, decision, name)]
        } else {
            let name = match &self.question.to.host {
                Host::Name(name) => Some(&**name),
                Host::Ip(_) => None,
            };
            let to = Destination { name, address: at };
            let name = |rule: RuleRef| said.name(&self.question.who, rule);
            grant.judgements(&to, own).map(|(form, decision)| self.form(form, decision, name)).collect()
        };
        Judged { address, allowed: forms.iter().all(|form| form.allowed), forms }
    }

    fn form(&self, address: IpAddr, decision: Decision, name: impl FnOnce(RuleRef) -> Named) -> Form {
        let Named { rule, key, reason } = name(decision.rule);
        Form { address, allowed: decision.allowed, reason, rule, place: key.map(|key| self.place(key)) }
    }

    fn place(&self, key: String) -> Place {
        let at = find(&self.gathered.tree, &key).map_or(Origin::Default, |node| node.origin.clone());
        Place { key, at: at.to_string() }
    }
}

/// The value at a path as messages have it, `server.grants[1].rules[0]`; one alone is a list, too.
fn find<'a>(tree: &'a Map, path: &str) -> Option<&'a Node> {
    let mut map = tree;
    let mut last = None;
    for part in path.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, index.strip_suffix(']')?.parse().ok()),
            None => (part, None),
        };
        let mut node = map.get(name)?;
        if let (Some(index), Value::List(list)) = (index, &node.value) {
            let index: usize = index;
            node = list.get(index)?;
        }
        last = Some(node);
        if let Value::Map(inner) = &node.value {
            map = inner;
        }
    }
    last
}

impl Explained {
    fn what(&self) -> String {
        match self.wants {
            "listen" => format!("listen at {}", self.to),
            _ => format!("send to {}", self.to),
        }
    }
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let may = if self.allowed { "may" } else { "may not" };
        writeln!(f, "{} {may} {}", self.who, self.what())?;
        if let Some(Place { key, at }) = &self.section {
            writeln!(f, "  by {key} ({at})")?;
        }
        if let (Some(end), None) = (&self.expires, &self.reason) {
            writeln!(f, "  until {end}")?;
        }
        if let Some(reason) = &self.reason {
            writeln!(f, "  {reason}")?;
        }
        for Judged { address, allowed, forms } in &self.addresses {
            match &forms[..] {
                [form] if form.address == *address => writeln!(f, "  {address}: {}", form.words())?,
                _ => {
                    let verdict = if *allowed { "allowed, in every form" } else { "denied, for one form is" };
                    writeln!(f, "  {address}: {verdict}")?;
                    for form in forms {
                        writeln!(f, "    {}: {}", form.address, form.words())?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Form {
    fn words(&self) -> String {
        let mut words = String::from(if self.allowed { "allowed" } else { "denied" });
        let _ = match (&self.rule, &self.place) {
            (Some(rule), Some(Place { key, at })) => write!(words, " by `{rule}`, {key} ({at})"),
            (Some(rule), None) => write!(words, " by `{rule}`, {}", self.reason),
            (None, _) => write!(words, ": {}", self.reason),
        };
        words
    }
}

#[cfg(test)]
mod tests;
