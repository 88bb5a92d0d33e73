//! A server that lets everybody reach the UDP services of this machine, and nothing else.
//!
//!     cargo run --example server -- [LISTEN]
//!
//! It ends with Ctrl-C, and gives its clients time to finish.

use std::error::Error;
use std::time::Duration;

use sudp_tokio::proto::access::{Grant, Rules};
use sudp_tokio::{Admitted, ServerOptions, Verdict, Visit};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let rules = Rules::parse(["allow 127.0.0.0/8", "allow ::1/128"]).map_err(|(_, error)| error)?;
    let grant = Grant::new(rules);

    // Who is let in, and to what. It may take its time: nobody else waits for it.
    let admit = move |visit: Visit| {
        let grant = grant.clone();
        async move {
            eprintln!("a client from {}", visit.from);
            Verdict::Admit(Admitted::anyone(grant))
        }
    };
    let server = sudp_tokio::bind(ServerOptions::new(vec![listen.parse()?]), admit)?;
    eprintln!("listens at {:?}", server.local_addrs());

    let mut events = server.events();
    loop {
        tokio::select! {
            Some(event) = events.next() => eprintln!("{event:?}"),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    server.drain(Duration::from_secs(5)).await;
    Ok(())
}
