//! Slow strangers, each from an address of its own, and a good client: in a group of 64 MiB, where this machine has such.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Server, come, dial, quantiles};

pub(super) fn run(count: u64, seconds: u64) -> Result<String, String> {
    let server = Server::start(&["--port", "0"]);
    let group = Group::new(server.child.id());
    let (at, until) = (server.at, Instant::now() + Duration::from_secs(seconds));
    let good = std::thread::spawn(move || {
        let mut times = Vec::new();
        std::thread::sleep(Duration::from_secs(1));
        while Instant::now() < until {
            let number = u32::try_from(times.len()).unwrap();
            times.push(come(0x7f00_0001, at, "", ("good", number)));
            std::thread::sleep(Duration::from_millis(100));
        }
        times
    });
    let mut slow: Vec<Slow> =
        (0..count).map(|number| Slow::new(0x7f10_0000 + u32::try_from(number).unwrap())).collect();
    let (mut lasted, mut dials) = (Duration::ZERO, 0_u64);
    while Instant::now() < until {
        for stranger in &mut slow {
            if let Some(stream) = &mut stranger.stream {
                if stranger.drips && drip(stream) {
                    continue;
                }
                lasted = lasted.max(stranger.since.elapsed());
                stranger.stream = None;
            }
            // One that was closed comes again: nobody is kept out who does not give up.
            stranger.stream = dial(stranger.from, at).ok();
            stranger.since = Instant::now();
            stranger.drips = stranger.stream.as_mut().is_some_and(|stream| {
                stream.set_nonblocking(true).is_ok() && stream.write_all(b"GET / HTTP/1.1\r\nX: ").is_ok()
            });
            dials += 1;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let times = good.join().map_err(|_| "the good client was shut out".to_owned())?;
    let limited = group.as_ref().map_or_else(|why| format!("SKIPPED: {why}"), |_| "yes".into());
    let figures = serde_json::json!({
        "attack": "strangers", "strangers": count, "dials": dials, "good": quantiles(times),
        "longest_stranger_s": lasted.as_secs_f64(), "server_peak_kib": server.memory("VmHWM"),
        "server_cpu_s": server.cpu(), "group_64mib": limited,
    });
    drop(server);
    if let Ok(group) = group {
        group.remove();
    }
    Ok(figures.to_string())
}

struct Slow {
    from: u32,
    stream: Option<TcpStream>,
    since: Instant,
    drips: bool,
}

impl Slow {
    fn new(from: u32) -> Self {
        Self { from, stream: None, since: Instant::now(), drips: false }
    }
}

/// Says one more byte. Whether the other side is still there.
fn drip(stream: &mut TcpStream) -> bool {
    let mut room = [0; 64];
    match stream.read(&mut room) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => stream.write_all(b"x").is_ok(),
        Ok(_) | Err(_) => false,
    }
}

/// A group of processes that has 64 MiB.
struct Group(PathBuf);

impl Group {
    fn new(process: u32) -> Result<Self, String> {
        let (v1, v2) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let (root, limit) = if v1.is_dir() { (v1, "memory.limit_in_bytes") } else { (v2, "memory.max") };
        let group = root.join(format!("sudp-attack-{process}"));
        let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
        fs::create_dir(&group).map_err(|error| failed("no group can be made", error))?;
        fs::write(group.join(limit), (64 << 20).to_string()).map_err(|error| failed("no limit can be set", error))?;
        let tasks = group.join("cgroup.procs");
        fs::write(tasks, process.to_string()).map_err(|error| failed("no process can be put in", error))?;
        Ok(Self(group))
    }

    /// Removes the group, whose process has ended.
    fn remove(&self) {
        // One that cannot be removed is empty, and costs nothing.
        let _ = fs::remove_dir(&self.0);
    }
}
