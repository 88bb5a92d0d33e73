//! TLS with the server: whether it comes about, and what the server shows of itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion, StreamOwned};
use sudp_tokio::proto::link::{CertificateFault, ClientTls, LinkEnd, TlsEnd};
use sudp_tokio::tls::{About, Onlooker};

use super::Plan;
use super::report::Step;
use super::way::{PATIENCE, Timed, connect, ends_with, host};
use crate::exit::Exit;
use crate::log::harmless;

/// A stream inside TLS.
pub(super) type Secure = StreamOwned<ClientConnection, Timed>;

/// Speaks TLS with the server, as a client of SUDP does.
pub(super) fn tls(plan: &Plan, hop: SocketAddr) -> Step {
    let Some(tls) = &plan.tls else {
        return Step::none("tls", "none: the URL begins with ws://");
    };
    let why = match handshake(plan, tls, hop) {
        Ok(secure) => return fine(&secure.conn),
        Err(error) => error,
    };
    // The link of a client has better words for it, and a look at what is not trusted tells what to do.
    let end = match ends_with(plan, hop) {
        Some(LinkEnd::Tls(end)) => Some(end),
        Some(_) | None => None,
    };
    let shown = look(plan, tls, hop);
    let says = end.as_ref().map_or_else(|| harmless(&why.to_string()), ToString::to_string);
    let fix = fix(end.as_ref(), shown.as_ref());
    let exit = match end {
        Some(TlsEnd::Alert(42..=49 | 116)) => Exit::Denied,
        Some(_) | None => Exit::Unreachable,
    };
    let step = Step::fail("tls", exit, says, fix);
    match shown {
        Some(about) => facts(step, &about),
        None => step,
    }
}

/// A stream to the server, inside TLS that is trusted.
pub(super) fn handshake(plan: &Plan, tls: &ClientTls, hop: SocketAddr) -> io::Result<Secure> {
    let stream = connect(plan, hop).map_err(io::Error::other)?;
    let name = tls.name.clone().map_or_else(|| name(plan), Ok)?;
    let mut conn = ClientConnection::new(Arc::clone(&tls.config), name).map_err(io::Error::other)?;
    let mut stream = Timed::new(stream, PATIENCE);
    while conn.is_handshaking() {
        conn.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(conn, stream))
}

fn name(plan: &Plan) -> io::Result<ServerName<'static>> {
    let host = host(plan);
    ServerName::try_from(host.trim_end_matches('.').to_owned()).map_err(io::Error::other)
}

fn fine(conn: &ClientConnection) -> Step {
    let version = match conn.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(_) | None => "TLS",
    };
    let Some(about) = conn.peer_certificates().and_then(|chain| About::of(chain.first()?)) else {
        return Step::ok("tls", version).with("version", version);
    };
    let left = about.until.duration_since(SystemTime::now()).unwrap_or_default();
    let days = left.as_secs() / DAY.as_secs();
    let says = format!("{version}, {}, {days} days to go, key {}", described(&about), about.pin);
    let step = if left < SOON {
        let fix = "the certificate expires soon: renew it, and have the server read it (`sudp reload`)";
        Step::warn("tls", says, fix)
    } else {
        Step::ok("tls", says)
    };
    facts(step, &about).with("version", version)
}

fn facts(step: Step, about: &About) -> Step {
    let until = about.until.min(SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799));
    step.with("pin", about.pin.to_string())
        .with("subject", about.subject.clone())
        .with("issuer", about.issuer.clone())
        .with("expires", humantime::format_rfc3339_seconds(until).to_string())
}

fn described(about: &About) -> String {
    let shown = |name: &Option<String>| name.as_deref().map(harmless);
    match (shown(&about.subject), shown(&about.issuer)) {
        (Some(subject), Some(issuer)) if subject == issuer => format!("self-made certificate of {subject}"),
        (Some(subject), Some(issuer)) => format!("certificate of {subject} by {issuer}"),
        (Some(subject), None) => format!("certificate of {subject}"),
        (None, Some(issuer)) => format!("certificate by {issuer}"),
        (None, None) => "certificate without names".into(),
    }
}

fn fix(end: Option<&TlsEnd>, shown: Option<&About>) -> String {
    let pinned =
        shown.map(|about| format!("if this server is yours and its key is {0}, trust that: --tls-pin {0}", about.pin));
    let pinned = pinned.as_deref().unwrap_or("pin the server's key with --tls-pin");
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is to be done about the others, their words say")]
    match end {
        Some(TlsEnd::Certificate(fault)) => match fault {
            CertificateFault::UnknownIssuer | CertificateFault::Other(_) => format!(
                "have the server send the whole chain, or give its authority: --tls-ca FILE\n{pinned}\n(`sudp cert` \
                 makes a certificate, and says its pin)"
            ),
            CertificateFault::Authority => {
                format!("make a server's certificate: `sudp cert` makes one, and says its pin\nuntil then: {pinned}")
            }
            CertificateFault::Name { .. } => {
                "use a host that is in the certificate, name one of its names with --tls-name, or have the server show \
                 another certificate"
                    .into()
            }
            CertificateFault::Expired(_) => "renew the certificate, have the server read it (`sudp reload`), and check this \
                                             machine's clock (`date`)"
                .into(),
            CertificateFault::NotYet(_) => "check this machine's clock (`date`), and the server's".into(),
            _ => format!("make another certificate for the server (`sudp cert` makes one), or: {pinned}"),
        },
        Some(TlsEnd::NotTls) => {
            "this port speaks without TLS: write ws:// instead of wss://, or use the port of TLS (443)".into()
        }
        Some(TlsEnd::HungUp) => {
            "something closes the connection as TLS begins: check that TLS is spoken on that port, and that no firewall \
             on the way minds the name"
                .into()
        }
        Some(TlsEnd::Version) => "update the server, or what stands in front of it, to TLS 1.3".into(),
        Some(TlsEnd::Alert(42..=49 | 116)) => "give the certificate that this server wants: --tls-cert and --tls-key".into(),
        Some(TlsEnd::Alert(112)) => "name what the server calls itself: --tls-name".into(),
        _ => "check scheme, host and port, and what stands between here and there".into(),
    }
}

/// What a server shows that is not trusted.
fn look(plan: &Plan, tls: &ClientTls, hop: SocketAddr) -> Option<About> {
    let onlooker = Onlooker::default();
    // It ends badly; what was shown was shown.
    let _ = handshake(plan, &onlooker.tls(tls), hop);
    onlooker.seen()
}

const DAY: Duration = Duration::from_secs(86_400);
/// When a certificate should be renewed at the latest.
const SOON: Duration = Duration::from_secs(14 * 86_400);
