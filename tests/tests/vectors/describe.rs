//! Values of the wire as the JSON of the vectors: one line, keys in the order of the specification.

use std::net::IpAddr;

use sudp_proto::error::Violation;
use sudp_proto::wire::{
    Address, BatchHead, Class, Control, FinalCount, Frame, Hello, Host, Open, Parameters, Record, Records, Welcome,
};

use super::hex;

pub(crate) fn message(frames: &[Frame]) -> Result<String, Violation> {
    let frames: Result<Vec<_>, _> = frames.iter().map(frame).collect();
    Ok(format!("[{}]", frames?.join(",")))
}

pub(crate) fn control(control: &Control) -> String {
    match control {
        Control::Bind(bind) => {
            let terms = terms(bind.class, bind.copies, bind.spread, bind.idle.as_millis());
            format!(r#"{{"control":"bind","tunnel":{},"listen":"{}",{terms}}}"#, bind.tunnel.0, bind.listen)
        }
        Control::Bound(bound) => {
            let outcome = match bound.outcome {
                Ok(at) => format!(r#""listen":"{at}""#),
                Err(code) => format!(r#""code":{}"#, code.to_u64()),
            };
            format!(r#"{{"control":"bound","tunnel":{},{outcome}}}"#, bound.tunnel.0)
        }
        Control::Close(close) => format!(
            r#"{{"control":"close","flow":{},"code":{},"accepted":{},"acknowledged":{},"dropped":{}}}"#,
            close.flow.0,
            close.code.to_u64(),
            close.totals.accepted,
            close.totals.acknowledged,
            close.totals.dropped
        ),
        Control::Closed(closed) => {
            format!(r#"{{"control":"closed","flow":{},"code":{}}}"#, closed.flow.0, closed.code.to_u64())
        }
        Control::Open(begun) => open(begun),
        Control::Renew(credential) => format!(r#"{{"control":"renew","credential":{:?}}}"#, credential.expose()),
        Control::Renewed(Ok(ticket)) => format!(r#"{{"control":"renewed","ticket":"{}"}}"#, hex(&ticket.0)),
        Control::Renewed(Err(code)) => format!(r#"{{"control":"renewed","code":{}}}"#, code.to_u64()),
        Control::Skipped => r#"{"control":"skipped"}"#.to_owned(),
        Control::Unbind(tunnel) => format!(r#"{{"control":"unbind","tunnel":{}}}"#, tunnel.0),
    }
}

fn open(open: &Open) -> String {
    let terms = terms(open.class, open.copies, open.spread, open.idle.as_millis());
    let source = open.source.map_or(String::new(), |at| format!(r#","source":"{at}""#));
    let destination =
        open.destination.as_ref().map_or(String::new(), |at| format!(r#","destination":"{}""#, address(at)));
    format!(
        r#"{{"control":"open","flow":{},"kind":{},"tunnel":{},{terms}{source}{destination},"hops":{}}}"#,
        open.flow.0, open.kind, open.tunnel.0, open.hops
    )
}

pub(crate) fn hello(hello: &Hello) -> String {
    let attach = hello.attach.as_ref().map_or(String::new(), |attach| {
        let alive: Vec<_> = attach.alive.iter().map(|ordinal| ordinal.0.to_string()).collect();
        format!(
            r#","session":"{}","alive":[{}],"ended":{},"proof":"{}""#,
            hex(&attach.session.0),
            alive.join(","),
            final_counts(&attach.ended),
            hex(&attach.proof)
        )
    });
    let ticket =
        if hello.ticket.is_empty() { String::new() } else { format!(r#","ticket":"{}""#, hex(&hello.ticket.0)) };
    format!(
        r#"{{"ordinal":{},"client":{:?},"incarnation":[{},{}]{attach}{ticket},"parameters":{}}}"#,
        hello.ordinal.0,
        hello.client,
        hello.incarnation.0,
        hello.incarnation.1,
        parameters(&hello.parameters)
    )
}

pub(crate) fn welcome(welcome: &Welcome) -> String {
    let secret = welcome.secret.map_or(String::new(), |secret| format!(r#","secret":"{}""#, hex(&secret)));
    format!(
        r#"{{"ordinal":{},"session":"{}"{secret},"cluster":{},"server":{},"boot":{},"owner":"{}","ticket":"{}","ended":{},"parameters":{}}}"#,
        welcome.ordinal.0,
        hex(&welcome.session.0),
        welcome.cluster,
        welcome.server,
        welcome.boot,
        hex(&welcome.owner),
        hex(&welcome.ticket.0),
        final_counts(&welcome.ended),
        parameters(&welcome.parameters)
    )
}

fn frame(frame: &Frame) -> Result<String, Violation> {
    let text = match frame {
        Frame::Ack(ack) => format!(r#"{{"frame":"ack","count":{},"delay_us":{}}}"#, ack.count, ack.delay.as_micros()),
        Frame::Ask => r#"{"frame":"ask"}"#.to_owned(),
        Frame::Batch(head, body) => batch(head, Records::new(body.clone()))?,
        Frame::Close(close) => {
            format!(r#"{{"frame":"close","code":{},"reason":{:?}}}"#, close.code.to_u64(), close.reason)
        }
        Frame::GoAway(go_away) => format!(
            r#"{{"frame":"goaway","reason":{},"after_ms":{}}}"#,
            go_away.reason.to_u64(),
            go_away.after.as_millis()
        ),
        Frame::Hello(raw) => format!(r#"{{"frame":"hello","hex":"{}"}}"#, hex(raw)),
        Frame::LinkDown(down) => {
            let count = down.count.map_or(String::new(), |count| format!(r#","count":{count}"#));
            format!(r#"{{"frame":"link_down","ordinal":{}{count},"known":{}}}"#, down.ordinal.0, down.known)
        }
        Frame::Ping(number) => format!(r#"{{"frame":"ping","number":{number}}}"#),
        Frame::Pong(number) => format!(r#"{{"frame":"pong","number":{number}}}"#),
        Frame::Refuse(refuse) => {
            let wait =
                refuse.retry_after.map_or(String::new(), |wait| format!(r#","retry_after_ms":{}"#, wait.as_millis()));
            let server = if refuse.server == 0 { String::new() } else { format!(r#","server":{}"#, refuse.server) };
            format!(r#"{{"frame":"refuse","code":{}{wait}{server}}}"#, refuse.code.to_u64())
        }
        Frame::Settled => r#"{"frame":"settled"}"#.to_owned(),
        Frame::Welcome(raw) => format!(r#"{{"frame":"welcome","hex":"{}"}}"#, hex(raw)),
    };
    Ok(text)
}

fn batch(head: &BatchHead, mut records: Records) -> Result<String, Violation> {
    let mut list = Vec::new();
    while let Some(one) = records.next()? {
        list.push(record(&one));
    }
    let clock = head.clock.map_or(String::new(), |clock| format!(r#","clock":{clock}"#));
    Ok(format!(
        r#"{{"frame":"batch","number":{},"class":"{}"{clock},"records":[{}]}}"#,
        head.number.0,
        class(head.class),
        list.join(",")
    ))
}

fn record(record: &Record) -> String {
    let to = record.address.as_ref().map_or(String::new(), |at| format!(r#","address":"{}""#, address(at)));
    let extension = record.extension.map_or(String::new(), |byte| format!(r#","extension":{byte}"#));
    format!(r#"{{"flow":{}{to}{extension},"payload":"{}"}}"#, record.flow.0, hex(&record.payload))
}

fn terms(class_of: Class, copies: u8, spread: bool, idle: u128) -> String {
    format!(r#""class":"{}","copies":{copies},"spread":{spread},"idle_ms":{idle}"#, class(class_of))
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Control => "control",
        Class::Realtime => "realtime",
        Class::Reliable => "reliable",
    }
}

fn address(at: &Address) -> String {
    match &at.host {
        Host::Ip(ip @ IpAddr::V4(_)) => format!("{ip}:{}", at.port),
        Host::Ip(ip @ IpAddr::V6(_)) => format!("[{ip}]:{}", at.port),
        Host::Name(name) => format!("{name}:{}", at.port),
    }
}

fn final_counts(counts: &[FinalCount]) -> String {
    let list: Vec<_> = counts
        .iter()
        .map(|ended| format!(r#"{{"ordinal":{},"count":{},"known":{}}}"#, ended.ordinal.0, ended.count, ended.known))
        .collect();
    format!("[{}]", list.join(","))
}

fn parameters(parameters: &Parameters) -> String {
    format!(
        r#"{{"message":{},"flows":{},"links":{},"ack_delay_ms":{},"resume_ms":{}}}"#,
        parameters.message,
        parameters.flows,
        parameters.links,
        parameters.ack_delay.as_millis(),
        parameters.resume.as_millis()
    )
}
