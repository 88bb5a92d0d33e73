use super::path::Path;
use super::{MILLISECOND, SECOND, START};

#[test]
fn grid() {
    let start = usize::try_from(START).unwrap();
    eprintln!(
        "{:44} {:>9} {:>5} {:>5} {:>5} {:>5} {:>7} {:>6} {:>6}",
        "path", "rate", "thr%", "p50", "p99", "max", "W/ideal", "acks", "batch"
    );
    let show = |name: &str, path: &Path, from: u64| {
        if std::env::var("ONLY").is_ok_and(|only| !name.contains(&only)) {
            return;
        }
        let run = path.run(start);
        let until = path.until;
        // The ideal is what the bottleneck would have passed in the time.
        let mut ideal = 0;
        let mut at = from;
        while at < until {
            ideal += path.rates.iter().rev().find(|r| r.0 <= at).unwrap().1 / 1000;
            at += MILLISECOND;
        }
        let ideal = ideal * SECOND / (until - from);
        let thr = run.throughput(from, until);
        let rtt = path.trips.last().unwrap().1;
        if std::env::var_os("ROWS").is_some() {
            eprint!(" {:>3}/{}/{}", thr * 1000 / ideal / 10, run.delay(50, from, until), run.delay(99, from, until));
            return;
        }
        eprintln!(
            "{:44} {:>9} {:>5} {:>5} {:>5} {:>5} {:>7} {:>6} {:>6}",
            name,
            ideal,
            thr * 1000 / ideal / 10,
            run.delay(50, from, until),
            run.delay(99, from, until),
            run.delay(100, from, until),
            run.sizes.last().map_or(0, |s| u64::try_from(s.1).unwrap() * 100
                / (path.rates.last().unwrap().1 * rtt / SECOND).max(1)),
            run.acks,
            run.batches
        );
        if std::env::var("TRACE").is_ok_and(|t| t == name) {
            for line in &run.trace {
                eprintln!("{line}");
            }
        }
    };
    for (mbit, rtts) in [
        (1, vec![1, 10, 50, 300]),
        (10, vec![1, 10, 50, 300]),
        (50, vec![1, 10, 50, 300]),
        (1000, vec![1, 10, 50, 300]),
    ] {
        for rtt in rtts {
            if std::env::var_os("ROWS").is_some() {
                eprint!("\n{mbit:4}M {rtt:3}ms");
            }
            let n = |s: &str| format!("{mbit}M {rtt}ms {s}");
            let base = Path {
                until: if mbit == 1000 && rtt < 100 { 6 * SECOND } else { 20 * SECOND },
                ..Path::new(mbit, rtt)
            };
            let u = base.until;
            show(&n("start (whole)"), &base, 0);
            show(&n("steady"), &base, u / 4);
            show(&n("ack0"), &Path { ack_delay: 0, ..base.clone() }, u / 4);
            show(&n("noproxy"), &Path { buffer: 64 << 10, ..base.clone() }, u / 4);
            let r = base.rates[0].1;
            let d = Path { rates: vec![(0, r), (u / 3, r / 10), (2 * u / 3, r)], ..base.clone() };
            show(&n("drop 1/10 and back"), &d, 0);
            let d = Path { rates: vec![(0, r), (u / 3, 0), (u / 3 + 2 * SECOND, r)], ..base.clone() };
            show(&n("stall 2s"), &d, 0);
            show(&n("voice then bulk"), &Path { bulk: (u / 2, u64::MAX), ..base.clone() }, u / 2);
            let spikes: Vec<_> = (1..20)
                .map(|i| {
                    let at = i * 1_137 * MILLISECOND;
                    (at, at + 200 * MILLISECOND)
                })
                .collect();
            show(&n("spikes 200ms/1.1s"), &Path { spikes, ..base.clone() }, 0);
            show(&n("clumps 20ms"), &Path { clumps: 20_000, ..base.clone() }, u / 4);
            show(&n("jitter 10ms"), &Path { jitter: 10_000, ..base.clone() }, u / 4);
            show(&n("route +60%"), &Path { trips: vec![(0, rtt * 1000), (u / 4, rtt * 1600)], ..base.clone() }, u / 4);
            show(&n("route x4"), &Path { trips: vec![(0, rtt * 1000), (u / 4, rtt * 4000)], ..base.clone() }, u / 4);
        }
    }
}
