//! `sudp doctor`: a path, step by step, what is wrong with it, and what to change.
//!
//! Each step uses what the one before has found. Up to the session they are made by hand, to see what a client does
//! not need to tell; from there on a client does what it always does.

mod echo;
mod relay;
mod report;
mod secure;
mod session;
mod upgrade;
mod way;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sudp_tokio::proto::config::client::{Scheme, ServerConfig};
use sudp_tokio::proto::link::{ClientSeal, ClientTls, Proxy};
use sudp_tokio::proto::wire::Address;

use crate::args::Output;
use crate::exit::{Exit, Failure, Outcome};
use crate::run::rt::block_on;

use echo::Echo;
use report::{Mark, Report, Step};
use session::Session;

/// What is looked at, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub server: ServerConfig,
    /// The proxy that leads there.
    pub proxy: Option<(Address, Proxy)>,
    /// Headers for every request.
    pub headers: Vec<(String, String)>,
    /// How TLS is spoken, for a server of `wss`.
    pub tls: Option<ClientTls>,
    /// How links are sealed, if they are.
    pub seal: Option<ClientSeal>,
    /// An echo service that the server reaches.
    pub echo: Option<Address>,
    /// For how long nothing is said, to see who minds.
    pub idle: Option<Duration>,
}

impl Plan {
    /// The URL, in its normal form.
    fn url(&self) -> String {
        let scheme = match self.server.scheme {
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
        };
        format!("{scheme}://{}{}", self.server.address, self.server.path)
    }
}

/// Looks at a path, and says what it finds. A path that does not work is a failure.
pub fn run(plan: Plan, output: Output, color: bool, out: impl Write) -> Outcome {
    let url = plan.url();
    let mut report = Report::new(url.clone(), output, color, out);
    examine(plan, &mut report)?;
    match report.end().map_err(unwritten)? {
        None => Ok(()),
        Some(exit) => Err(Failure::new(exit, format_args!("the path to {url} does not work"))),
    }
}

fn unwritten(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format_args!("what was found cannot be written: {error}"))
}

/// Goes on for as long as there is something to stand on.
fn examine<W: Write>(plan: Plan, report: &mut Report<W>) -> Outcome {
    let mut add = |step| Ok::<_, Failure>(report.add(step).map_err(unwritten)? != Mark::Fail);
    add(scheme(&plan))?;
    let (step, addresses) = way::name(&plan);
    if !add(step)? {
        return Ok(());
    }
    let (step, answering) = way::tcp(&addresses);
    let (true, Some(hop)) = (add(step)?, answering.first().copied()) else { return Ok(()) };
    if add(way::proxy(&plan, hop))? && add(secure::tls(&plan, hop))? && add(upgrade::upgrade(&plan, hop))? {
        block_on(beyond(Arc::new(plan), hop, &mut add))?;
    }
    Ok(())
}

fn scheme(plan: &Plan) -> Step {
    let url = plan.url();
    match plan.server.scheme {
        Scheme::Ws if !way::is_here(&plan.server.address.host) => {
            let fix = "whoever is on the way can read and change what goes through: use wss://, or be sure that another \
                       layer protects it";
            Step::warn("url", format_args!("{url}, in the clear"), fix)
        }
        Scheme::Ws | Scheme::Wss => Step::ok("url", url),
    }
}

/// What there is beyond the upgrade.
async fn beyond(plan: Arc<Plan>, hop: SocketAddr, add: &mut impl FnMut(Step) -> Outcome<bool>) -> Outcome {
    let mut session = Session::begin(&plan, hop).await?;
    if add(session.attach().await)? {
        add(session.resume().await)?;
        match &plan.echo {
            None => {
                add(Step::none(
                    "echo",
                    "give --echo HOST:PORT, an echo service that the server reaches (`sudp echo`)",
                ))?;
            }
            Some(to) => {
                let mut echo = Echo::open(&session.client, to).await?;
                if add(echo.idle().await)? {
                    add(echo.load().await)?;
                    add(echo.sizes().await)?;
                }
            }
        }
        match plan.idle {
            None => add(Step::untested("idle", "give --idle 120s to see whether a quiet link is left alone"))?,
            Some(time) => add(session.idle(time).await)?,
        };
    }
    session.client.close().await;
    Ok(())
}
