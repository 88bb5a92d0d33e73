//! A session over the path: whether it comes about, and whether it survives the loss of its link.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sudp_tokio::proto::client::DialError;
use sudp_tokio::proto::config::client::ClientConfig;
use sudp_tokio::proto::event::{Event, LinkLoss};
use sudp_tokio::proto::wire::{Code, SessionId};
use sudp_tokio::{Client, ClientEvent, ClientOptions, Events, ProxyRules};
use tokio::time::{sleep, timeout};

use super::Plan;
use super::relay::Relay;
use super::report::{Step, span};
use crate::exit::{Exit, Failure, Outcome};

/// A client of the server, whose link can be cut.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    events: Events<ClientEvent>,
    relay: Relay,
    id: Option<SessionId>,
}

impl Session {
    /// Dials.
    pub(super) async fn begin(plan: &Arc<Plan>, hop: SocketAddr) -> Outcome<Self> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Temporary, error);
        let relay = Relay::to(Arc::clone(plan), hop).await.map_err(|error| failed(&error))?;
        let mut options = ClientOptions::new(ClientConfig::new(vec![plan.server.clone()]));
        options.headers.clone_from(&plan.headers);
        options.tls.clone_from(&plan.tls);
        options.seal.clone_from(&plan.seal);
        let here = format!("http://{}", relay.at).parse().map_err(|error| failed(&error))?;
        options.proxies = ProxyRules::all(here);
        let client = sudp_tokio::connect(options).map_err(|error| Failure::new(Exit::Config, error))?;
        let events = client.events();
        Ok(Self { client, events, relay, id: None })
    }

    /// Waits for the session, and for its round trip.
    pub(super) async fn attach(&mut self) -> Step {
        let begun = Instant::now();
        let (mut why, mut failures) = (None, 0);
        let attached = timeout(ATTACH, async {
            loop {
                let stats = self.client.stats().await.ok()?;
                if let Some(id) = stats.session.filter(|_| !stats.links.is_empty()) {
                    return Some(id);
                }
                if let Ok(Some(ClientEvent::DialFailed(failure))) = timeout(TICK, self.events.next()).await {
                    let permanent = failure.why.is_permanent();
                    why = Some(failure.why);
                    failures += 1;
                    if permanent || failures == DIALS {
                        return None;
                    }
                }
            }
        });
        let Some(id) = attached.await.ok().flatten() else {
            return refused(why.as_ref());
        };
        self.id = Some(id);
        let took = begun.elapsed();
        let round_trip = timeout(SETTLE, async {
            loop {
                let stats = self.client.stats().await.ok()?;
                if let Some(round_trip) = stats.links.first().and_then(|link| link.srtt) {
                    return Some(round_trip);
                }
                sleep(TICK).await;
            }
        });
        let step = match round_trip.await.ok().flatten() {
            Some(round_trip) => Step::ok("session", format_args!("attached, the round trip is {}", span(round_trip)))
                .with("rtt", round_trip.as_secs_f64()),
            None => Step::warn(
                "session",
                "attached, and then nothing comes back",
                "something in between holds back what is small: have it not buffer (nginx: proxy_buffering off)",
            ),
        };
        step.took(took)
    }

    /// Cuts the link on purpose, and waits for the next.
    pub(super) async fn resume(&mut self) -> Step {
        while timeout(Duration::ZERO, self.events.next()).await.is_ok() {}
        let begun = Instant::now();
        self.relay.cut();
        let mut why = None;
        let outcome = timeout(ATTACH, async {
            while let Some(event) = self.events.next().await {
                match event {
                    ClientEvent::DialFailed(failure) => why = Some(failure.why),
                    ClientEvent::Session(Event::LinkUp { .. }) => return Ok(()),
                    ClientEvent::Session(Event::Lost { code, .. } | Event::Closed { code, .. }) => return Err(code),
                    ClientEvent::Session(_) | _ => {}
                }
            }
            Err(Code::Done)
        });
        let outcome = outcome.await;
        let same = self.client.stats().await.ok().and_then(|stats| stats.session) == self.id;
        match outcome {
            Ok(Ok(())) if same => {
                let took = begun.elapsed();
                Step::ok("resume", "the link was cut, and the session went on with the next").took(took)
            }
            Ok(_) => Step::fail(
                "resume",
                Exit::Failed,
                "the link was cut, and the server did not know the session any more",
                "if there are several servers behind this name, have a client always reach the same (nginx: ip_hash, or \
                 hash $http_sudp_owner); otherwise look at the server's log",
            ),
            Err(_) => {
                let says = why.map_or_else(|| "no link came after that".into(), |why| why.to_string());
                let fix = "something allows one connection at a time, or minds how fast they come: check the limits of \
                           what stands in front of the server";
                Step::fail("resume", Exit::Failed, format_args!("the link was cut: {says}"), fix)
            }
        }
    }

    /// Says nothing for a while, and sees what becomes of the link.
    pub(super) async fn idle(&mut self, time: Duration) -> Step {
        while timeout(Duration::ZERO, self.events.next()).await.is_ok() {}
        let begun = Instant::now();
        let (mut up, mut ends) = (begun, Vec::new());
        let watched = timeout(time, async {
            while let Some(event) = self.events.next().await {
                match event {
                    ClientEvent::Session(Event::LinkEnded { why, .. }) => ends.push((up.elapsed(), why)),
                    ClientEvent::Session(Event::LinkUp { .. }) => up = Instant::now(),
                    ClientEvent::DialFailed(_) | ClientEvent::Session(_) | _ => {}
                }
            }
        });
        // It is the time-out that is waited for.
        let _ = watched.await;
        let Some((first, why)) = ends.first() else {
            let says = format_args!("with nothing but heartbeats, the link held for {}", span(time));
            return Step::ok("idle", says).with("links_ended", 0);
        };
        let silent = matches!(why, LinkLoss::Silent | LinkLoss::Suspect);
        let how = if silent { "went dead without a word" } else { "was closed" };
        let says = format!("with nothing but heartbeats, the link {how} after {}, {} in all", span(*first), ends.len());
        let fix = "something in between ends what is quiet: raise its time-out (nginx: proxy_read_timeout 1h; HAProxy: timeout \
                   tunnel 1h). No datagram is lost by it, but each cut costs a moment";
        Step::warn("idle", says, fix).with("links_ended", ends.len()).with("first_after", first.as_secs_f64())
    }
}

fn refused(why: Option<&DialError>) -> Step {
    let Some(why) = why else {
        let fix = "the upgrade works, and what the server says behind it does not arrive: have what is in between not \
                   buffer (nginx: proxy_buffering off), and look at the server's log";
        return Step::fail("session", Exit::Unreachable, "no welcome from the server", fix);
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is said of these, the error says")]
    let (exit, fix) = match why {
        DialError::Refused { code: Code::Denied | Code::BadProof, .. } | DialError::Http { status: 401 | 403, .. } => {
            (Exit::Denied, "give credentials (--header @FILE), and check the server's users and rules")
        }
        DialError::Refused { code: Code::Full | Code::GoingAway, .. } => {
            (Exit::Unreachable, "wait, or raise the limits of the server")
        }
        DialError::Refused { code: Code::Version, .. } => (Exit::Denied, "update the older of client and server"),
        DialError::Refused { .. } => (Exit::Denied, "look at the server's log"),
        DialError::Broken(_) | DialError::Closed { .. } => (
            Exit::Unreachable,
            "something in between, or in front of the server, closes WebSockets as soon as they carry something: check \
             its rules, and the server's log",
        ),
        _ => (Exit::Unreachable, "look at the log of the server, and of what stands in front of it"),
    };
    Step::fail("session", exit, why, fix)
}

/// How long it may take to attach, again or for the first time.
const ATTACH: Duration = Duration::from_secs(12);
/// Dials that come to nothing, after which the next are not waited for.
const DIALS: u32 = 3;
/// How long it may take to know the round trip.
const SETTLE: Duration = Duration::from_secs(4);
const TICK: Duration = Duration::from_millis(20);
