//! What must hold for one session, and between the two halves of it.

use sudp_proto::session::{Report, Session};

/// The laws that one half must keep by itself, whatever the other half does.
pub fn half(session: &Session) -> Result<Report, String> {
    let report = session.report();
    let name = session.role();
    for flow in &report.flows {
        if !flow.sender_balances() {
            return Err(format!("{name:?}: the sender's books do not balance: {flow:?}"));
        }
        if !flow.receiver_balances() {
            return Err(format!("{name:?}: the receiver's books do not balance: {flow:?}"));
        }
        let limits = session.limits();
        // The datagram that reaches a limit is taken before the oldest goes.
        let (most, bytes) = (limits.hold as u64, limits.hold_bytes.max(limits.datagram));
        // The caps bind flows that wait; what came in this turn may lie on top of that.
        if flow.held > 2 * most || flow.held_bytes > 2 * bytes {
            return Err(format!("{name:?}: a flow holds {} datagrams, {} bytes", flow.held, flow.held_bytes));
        }
    }
    bounded(session, &report)?;
    Ok(report)
}

/// The laws between two halves that are the same session and lost nothing of it.
pub fn pair(client: &Report, server: &Report) -> Result<(), String> {
    crossed(client, server, "client")?;
    crossed(server, client, "server")
}

/// The laws of two halves that have had time to settle.
pub fn settled(client: &Report, server: &Report) -> Result<(), String> {
    let links = |report: &Report| {
        let mut links: Vec<u64> = report.links.iter().map(|link| link.ordinal.0).collect();
        links.sort_unstable();
        links
    };
    if links(client) != links(server) {
        return Err(format!("live links differ: client {:?}, server {:?}", links(client), links(server)));
    }
    for (name, report) in [("client", client), ("server", server)] {
        if !report.ended.is_empty() {
            return Err(format!("{name}: ended links are not forgotten: {:?}", report.ended));
        }
        if report.unresolved > 0 || report.queued > 0 || report.controls > 0 {
            return Err(format!(
                "{name}: {} datagrams queued, {} batches unresolved, {} controls",
                report.queued, report.unresolved, report.controls
            ));
        }
        if !report.dialling.is_empty() {
            return Err(format!("{name}: still dialling {:?}", report.dialling));
        }
    }
    for flow in &client.flows {
        let Some(other) = server.flows.iter().find(|other| other.id == flow.id) else { continue };
        for (name, sender, receiver) in [("client", flow, other), ("server", other, flow)] {
            let acknowledged = sender.books.acknowledged - sender.base.acknowledged;
            let processed = receiver.books.processed - receiver.base.processed;
            if acknowledged != processed {
                return Err(format!("{name}'s flow {}: {acknowledged} acknowledged, {processed} processed", flow.id.0));
            }
        }
    }
    Ok(())
}

/// What one half acknowledges is what the other has processed, and nothing that it dropped.
fn crossed(sender: &Report, receiver: &Report, name: &str) -> Result<(), String> {
    for flow in &sender.flows {
        let Some(other) = receiver.flows.iter().find(|other| other.id == flow.id) else { continue };
        let acknowledged = flow.books.acknowledged - flow.base.acknowledged;
        let processed = other.books.processed - other.base.processed;
        let in_flight = flow.books.in_flight;
        if acknowledged > processed || processed > acknowledged + in_flight {
            return Err(format!(
                "{name}'s flow {}: {acknowledged} acknowledged, {in_flight} in flight, {processed} processed",
                flow.id.0
            ));
        }
    }
    Ok(())
}

/// Memory within its caps.
fn bounded(session: &Session, report: &Report) -> Result<(), String> {
    let limits = session.limits();
    let name = session.role();
    if report.unresolved_bytes > limits.unresolved + SLACK {
        return Err(format!("{name:?}: {} bytes unresolved", report.unresolved_bytes));
    }
    if report.queued_bytes > 2 * limits.queue + SLACK {
        return Err(format!("{name:?}: {} bytes queued", report.queued_bytes));
    }
    if report.links.len() > limits.live_links {
        return Err(format!("{name:?}: {} live links", report.links.len()));
    }
    if report.flows.len() > 2 * limits.flows {
        return Err(format!("{name:?}: {} flows", report.flows.len()));
    }
    for link in &report.links {
        // A window may be passed by the last batch that was cut while there was room, and it may shrink.
        if link.unacked > link.window.max(WINDOW_MAX) + SLACK {
            return Err(format!("{name:?}: {} bytes on a window of {}", link.unacked, link.window));
        }
    }
    Ok(())
}

/// One message of the largest kind, and rounding of storage.
const SLACK: usize = 256 << 10;
/// No window of a simulated path is larger.
const WINDOW_MAX: usize = 16 << 20;
