//! What a tunnel carries, costs and adds to a round trip, beside plain UDP in the same run.

mod load;
mod table;
mod worker;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use sudp_tokio::proto::access::{Grant, Rules};
use sudp_tokio::proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_tokio::proto::session::{Tunnel, Way};
use sudp_tokio::proto::wire::Address;
use sudp_tokio::tls::{self, Trust};
use sudp_tokio::{Anyone, Client, ClientOptions, ServerOptions, Tokio, UdpOptions, UdpPort};
use tokio::time::timeout;

use self::load::{Load, Sample, Test};
use self::table::{Path, Report};
use self::worker::{Worker, cpu_of_process};
use crate::args::Output;
use crate::args::bench::BenchArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::run::echo::{Echo, say};
use crate::run::rt::block_on;

/// Measures, and prints what was found.
pub(crate) fn run(args: &BenchArgs) -> Outcome {
    let site = match &args.server {
        None => Site::here()?,
        Some(server) => Site::there(server, args)?,
    };
    let sizes = if args.size.is_empty() { vec![64, 1_200] } else { args.size.clone() };
    let usual = if args.server.is_some() { 10_000 } else { 50_000 };
    let tests = [Test::Quiet, Test::Window(args.window), Test::Flood(args.rate.unwrap_or(usual))];
    let mut report = Report {
        schema: 1,
        cores: thread::available_parallelism().map_or(1, usize::from),
        server: args.server.as_ref().map(|server| server.address.to_string()),
        seconds: args.length.as_secs_f64(),
        rounds: args.rounds,
        optimised: !cfg!(debug_assertions),
        results: Vec::new(),
    };
    block_on(async {
        let mut load = site.load().await?;
        let number = sizes.len() * tests.len() * site.paths().len() * usize::from(args.rounds);
        let about = args.length * u32::try_from(number).unwrap_or(u32::MAX);
        // Nobody is hurt if this cannot be said.
        let _ = writeln!(std::io::stderr(), "measuring for about {} s ...", about.as_secs().max(1));
        let mut samples = Vec::new();
        for round in 0..args.rounds {
            for (size, test) in sizes.iter().flat_map(|size| tests.map(|test| (*size, test))) {
                let mut paths = site.paths();
                // Whoever comes second finds the machine warmer, or busier.
                if round % 2 == 1 {
                    paths.reverse();
                }
                for (path, to) in paths {
                    let sample = site.measure(&mut load, test, size, to, args.length).await?;
                    samples.push((size, test, path, sample));
                }
            }
        }
        for (size, test) in sizes.iter().flat_map(|size| tests.map(|test| (*size, test))) {
            for path in [Path::Plain, Path::Tunnel] {
                let of = |(s, t, p, _): &&(u16, Test, Path, Sample)| (*s, *t, *p) == (size, test, path);
                let found: Vec<_> = samples.iter().filter(of).map(|(.., sample)| sample).collect();
                report.add(size, test, path, &found);
            }
        }
        Ok(())
    })?;
    match args.output {
        Output::Text => report.lines().iter().for_each(|line| say(format_args!("{line}"))),
        Output::Json => say(format_args!("{}", serde_json::to_string(&report).map_err(|error| internal(&error))?)),
    }
    Ok(())
}

/// Everything that takes part beside the load, each in a thread of its own, so that their shares can be told apart.
struct Site {
    _echo: Option<Worker>,
    server: Option<Worker>,
    client: Worker,
    plain: Option<SocketAddr>,
    entrance: SocketAddr,
    service: Address,
}

impl Site {
    /// All on this machine.
    fn here() -> Outcome<Self> {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (echo, service) = Worker::start("echo", async move || {
            let mut echo = Echo::bind_with(local, &one_by_one(), "try again")?;
            let at = echo.local_addr();
            Ok((at, tokio::spawn(async move { echo.serve(|_, _| {}).await })))
        })?;
        let (server, at) = Worker::start("server", async move || {
            let rules = Rules::parse([format!("allow {service}").as_str()]).map_err(|(_, error)| internal(&error))?;
            let server = sudp_tokio::bind(ServerOptions::new(vec![local]), Anyone(Grant::new(rules)));
            let server = server.map_err(|error| Failure::new(Exit::CannotCreate, format!("no server: {error}")))?;
            Ok((server.local_addrs()[0], server))
        })?;
        let options = ClientOptions::new(ClientConfig::new(vec![ServerConfig::new(Scheme::Ws, at.into())]));
        let service = Address::from(service);
        let plain = Some(plain_address(&service)?);
        let (client, entrance) = client(options, service.clone())?;
        Ok(Self { _echo: Some(echo), server: Some(server), client, plain, entrance, service })
    }

    /// A client here, of a server elsewhere.
    fn there(server: &ServerConfig, args: &BenchArgs) -> Outcome<Self> {
        let mut options = ClientOptions::new(ClientConfig::new(vec![server.clone()]));
        if server.scheme == Scheme::Wss {
            let trust = match (args.tls_ca.is_empty(), args.tls_pin.is_empty()) {
                (false, _) => Trust::Roots(args.tls_ca.clone()),
                (true, false) => Trust::Pins(args.tls_pin.clone()),
                (true, true) => Trust::System,
            };
            let tls = tls::ClientOptions { trust, ..tls::ClientOptions::default() }.load();
            options.tls = Some(tls.map_err(|error| Failure::new(Exit::Config, error))?);
        }
        let (client, entrance) = client(options, args.to.clone())?;
        Ok(Self { _echo: None, server: None, client, plain: args.plain, entrance, service: args.to.clone() })
    }

    fn paths(&self) -> Vec<(Path, SocketAddr)> {
        let plain = self.plain.map(|plain| (Path::Plain, plain));
        plain.into_iter().chain([(Path::Tunnel, self.entrance)]).collect()
    }

    /// The load, once the echo service has answered it by every path.
    async fn load(&self) -> Outcome<Load> {
        let runtime = Tokio::current().ok_or_else(|| internal(&"no runtime for the load"))?;
        let loopback = self.paths().iter().all(|(_, to)| to.ip().is_loopback());
        let at = SocketAddr::from((if loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED }, 0));
        let port = UdpPort::bind(&runtime, at, &one_by_one())
            .map_err(|error| Failure::new(Exit::CannotCreate, format!("no UDP port for the load: {error}")))?;
        let mut load = Load::new(port);
        for (path, to) in self.paths() {
            if !load.reaches(to).await? {
                let why = match path {
                    Path::Plain => {
                        format!("nothing comes back from {to} by plain UDP; run `sudp echo --listen {to}` there")
                    }
                    Path::Tunnel => format!(
                        "nothing comes back through the tunnel from {}; run `sudp echo` where the server can reach it, \
                         and let the server allow it with --allow {0}",
                        self.service
                    ),
                };
                return Err(Failure::new(Exit::Unreachable, why));
            }
        }
        Ok(load)
    }

    async fn measure(&self, load: &mut Load, test: Test, size: u16, to: SocketAddr, time: Duration) -> Outcome<Sample> {
        let before = self.cpu().await?;
        let mut sample = load.run(test, size.into(), to, time).await?;
        let after = self.cpu().await?;
        sample.cpu = after.all.saturating_sub(before.all);
        sample.client = after.client.saturating_sub(before.client);
        sample.server = after.server.zip(before.server).map(|(after, before)| after.saturating_sub(before));
        Ok(sample)
    }

    async fn cpu(&self) -> Outcome<Cpu> {
        let client = self.client.cpu().await?;
        let server = match &self.server {
            Some(server) => Some(server.cpu().await?),
            None => None,
        };
        Ok(Cpu { all: cpu_of_process(), client, server })
    }
}

/// What was used so far.
struct Cpu {
    all: Duration,
    client: Duration,
    server: Option<Duration>,
}

/// A client in a thread of its own, once it is attached, and where it takes datagrams.
fn client(options: ClientOptions, to: Address) -> Outcome<(Worker, SocketAddr)> {
    Worker::start("client", async move || {
        let client = sudp_tokio::connect(options).map_err(|error| Failure::new(Exit::Config, error))?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let tunnel = client.add_tunnel(Tunnel::new(Way::Forward { listen: Some(listen), to: Some(to) })).await;
        let tunnel = tunnel.map_err(|error| Failure::new(Exit::CannotCreate, error))?;
        let late =
            || Failure::new(Exit::Unreachable, format!("no answer from the server within {} s", ATTACH.as_secs()));
        timeout(ATTACH, attached(&client)).await.unwrap_or_else(|_| Err(late()))?;
        Ok((tunnel.at.unwrap_or(listen), client))
    })
}

/// Waits for the session, or for the first dial that comes to nothing: who measures does not wait for better times.
async fn attached(client: &Client) -> Outcome {
    let mut events = client.events();
    loop {
        let stats = client.stats().await.map_err(|error| internal(&error))?;
        if stats.session.is_some() {
            return Ok(());
        }
        if let Some(failure) = stats.failure {
            let exit = if failure.why.is_permanent() { Exit::Denied } else { Exit::Unreachable };
            return Err(Failure::new(exit, failure));
        }
        // Whatever it is, how the client is tells more.
        let _ = events.next().await;
    }
}

/// Sockets as most applications use them: a system call for each datagram.
fn one_by_one() -> UdpOptions {
    let mut options = UdpOptions::default();
    options.plain = true;
    options
}

fn plain_address(service: &Address) -> Outcome<SocketAddr> {
    service.to_string().parse().map_err(|error| internal(&error))
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, format!("the bench does not start: {error}"))
}

/// How long a session may take to begin.
const ATTACH: Duration = Duration::from_secs(10);
