//! What systemd is told by an instance that it runs, and by which it notices that it hangs.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

/// Says that it serves; and from then on that it lives, as often as is wanted. To be called within its runtime, since it
/// is its runtime that is watched.
pub fn ready() {
    tell("READY=1");
    if let Some(every) = watchdog() {
        tokio::spawn(async move {
            let mut next = interval(every);
            next.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                next.tick().await;
                tell("WATCHDOG=1");
            }
        });
    }
}

/// Says that it reads its configuration anew; [`reloaded`] ends that.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000));
}

/// Says that the new configuration is in force, or why the one before still is.
pub fn reloaded(error: Option<&str>) {
    // Each variable is a line.
    let status =
        error.map_or_else(String::new, |error| format!("\nSTATUS=not reloaded: {}", error.replace('\n', "; ")));
    tell(&format!("READY=1{status}"));
}

/// Says that it ends.
pub fn stopping() {
    tell("STOPPING=1");
}

fn tell(what: &str) {
    let Some(to) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&to, what) {
        tracing::warn!(target: "sudp::systemd", %error, "cannot tell systemd: {what:?}");
    }
}

fn send(to: &OsStr, what: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(what.as_bytes(), &address(to)?).map(drop)
}

#[cfg(target_os = "linux")]
fn address(to: &OsStr) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    match to.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(to),
    }
}

#[cfg(not(target_os = "linux"))]
fn address(to: &OsStr) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(to)
}

/// How often it is to say that it lives: twice as often as is demanded of this process.
fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(|usec| Duration::from_micros(usec.div_ceil(2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::scratch::Scratch;

    #[test]
    fn words_reach_a_socket_with_a_path_and_one_without() {
        let scratch = Scratch::new();
        let path = scratch.path().join("notify");
        let mut sockets = vec![(UnixDatagram::bind(&path).expect("a socket"), path.into_os_string())];
        if cfg!(target_os = "linux") {
            let name = format!("@sudp-test-{}", std::process::id());
            let socket = UnixDatagram::bind_addr(&address(OsStr::new(&name)).expect("a name"));
            sockets.push((socket.expect("a socket"), name.into()));
        }
        for (socket, name) in sockets {
            send(&name, "READY=1").expect("it listens");
            let mut buffer = [0; 64];
            let count = socket.recv(&mut buffer).expect("a word");
            assert_eq!(&buffer[..count], b"READY=1");
        }
    }

    #[test]
    fn nobody_who_listens_harms_nobody() {
        let scratch = Scratch::new();
        send(scratch.path().join("nobody").as_os_str(), "READY=1").expect_err("nobody listens");
        send(OsStr::new(&"a".repeat(200)), "READY=1").expect_err("no system takes that");
    }
}
