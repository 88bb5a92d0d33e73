use crate::top::fixtures::{RICH, client, seen, server, shown};

#[test]
fn print() {
    for (w, h) in [(80, 24), (120, 40), (40, 12)] {
        println!("{}", "=".repeat(w as usize));
        println!("{}", shown(&seen(client, 130), RICH, w, h).join("\n"));
        println!("{}", shown(&seen(server, 130), RICH, w, h).join("\n"));
    }
}
