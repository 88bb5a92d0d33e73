use std::path::Path;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::Look;
use crate::exit::{Exit, Failure};
use crate::status::Health;
use crate::top::Frame;
use crate::top::fixtures::{RICH, client, epoch, seen, server, shown};
use crate::top::model::Model;
use crate::top::text::span;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (40, 12)];

/// Compares a screen with what is kept of it; `SUDP_SCREENS=overwrite` keeps what is there now, to be looked at.
#[track_caller]
fn assert_screen(name: &str, lines: &[String]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/draw/screens").join(format!("{name}.txt"));
    let screen = lines.join("\n") + "\n";
    if std::env::var_os("SUDP_SCREENS").is_some_and(|value| value == "overwrite") {
        std::fs::write(&file, &screen).expect("the folder is there");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(screen, kept, "{} differs:\n{screen}", file.display());
}

fn press(model: &mut Model, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            'v' => KeyCode::Down,
            other => KeyCode::Char(other),
        };
        let _ = model.handle_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
}

#[test]
fn a_client_and_a_server_fit_on_every_terminal() {
    for (width, height) in SIZES {
        assert_screen(&format!("client-{width}x{height}"), &shown(&seen(client, 130), RICH, width, height));
        assert_screen(&format!("server-{width}x{height}"), &shown(&seen(server, 130), RICH, width, height));
    }
}

#[test]
fn a_terminal_without_more_than_ascii_gets_nothing_else() {
    let look = Look { color: true, unicode: false };
    let screen = shown(&seen(client, 130), look, 80, 24);
    assert!(screen.iter().all(|line| line.is_ascii()), "{screen:#?}");
    assert_screen("ascii", &screen);
}

#[test]
fn dialogs_lie_over_the_table() {
    let mut model = seen(client, 130);
    press(&mut model, "v\n");
    assert_screen("details", &shown(&model, RICH, 80, 24));
    press(&mut model, "\n?");
    assert_screen("help", &shown(&model, RICH, 80, 24));
    assert_screen("help-small", &shown(&model, RICH, 40, 12));
    press(&mut model, "qk");
    assert_screen("cut", &shown(&model, RICH, 80, 24));
    let narrow = shown(&model, RICH, 40, 12);
    assert!(narrow.last().is_some_and(|line| line.ends_with("y/n")), "{narrow:#?}");
    press(&mut model, "n/gamex");
    assert_screen("filter", &shown(&model, RICH, 80, 24));
}

#[test]
fn trouble_is_told_at_the_top() {
    let ill = |second| {
        let mut frame = client(second);
        if second == 2 {
            frame.status.health = Health::Connecting;
            frame.status.reason = Some("wss://tunnel.example.com/sudp: connection refused".into());
            frame.status.sessions[0].links.clear();
            frame.events = ["link 4 has ended: reset", "no link is left: dialling again; what is sent meanwhile waits"]
                .map(|text| (frame.at, format!("session {}: {text}", frame.status.sessions[0].id)))
                .into();
        }
        frame
    };
    let mut model = seen(ill, 3);
    assert_screen("connecting", &shown(&model, RICH, 80, 24));
    model.handle_loss(epoch(), "the client home has ended");
    let failure = Failure::new(Exit::NotRunning, "the client home does not run");
    model.handle_outcome("done", &Err(failure));
    assert_screen("gone", &shown(&model, RICH, 80, 24));
    assert_screen("nothing-yet", &shown(&Model::new(false), RICH, 80, 24));
}

/// An instance of which every text was chosen by an enemy.
fn hostile(second: u32) -> Frame {
    let evil = "\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}日本語\u{200b}\r\n\t\u{9b}31m".repeat(3);
    let mut frame = client(second);
    let status = &mut frame.status;
    status.instance = Some(evil.clone());
    status.version.clone_from(&evil);
    status.health = Health::Connecting;
    status.reason = Some(evil.clone());
    status.servers = vec![evil.clone(); 3];
    status.traffic.dropped_in.insert(evil.clone(), u64::MAX);
    for tunnel in &mut status.tunnels {
        (tunnel.name, tunnel.spec, tunnel.error) = (evil.clone(), evil.clone(), Some(evil.clone()));
    }
    for session in &mut status.sessions {
        (session.id, session.principal, session.peer) = (evil.clone(), Some(evil.clone()), Some(evil.clone()));
        for link in &mut session.links {
            (link.rtt, link.window, link.in_flight) = (Some(f64::INFINITY), 0, u64::MAX);
        }
    }
    for flow in &mut frame.flows {
        flow.session.clone_from(&evil);
        flow.class.clone_from(&evil);
        (flow.tunnel, flow.source, flow.destination) = (Some(evil.clone()), Some(evil.clone()), Some(evil.clone()));
        (flow.idle, flow.age, flow.queued) = (f64::NAN, -1.0, u64::MAX);
        flow.traffic.out_bytes = u64::from(second) << 60;
        flow.traffic.dropped_out.insert(evil.clone(), u64::MAX);
    }
    frame.events = vec![(epoch(), evil)];
    frame
}

#[test]
fn hostile_texts_move_nothing_and_reach_the_terminal_as_escapes() {
    let plain = |line: &String| line.chars().all(|char| !char.is_control() && !"\u{202e}\u{200b}".contains(char));
    for (width, height) in SIZES.into_iter().chain([(1, 1), (3, 2), (20, 5), (300, 100)]) {
        for keys in ["", "v\n", "?", "vk", "/日本", "R"] {
            let mut model = seen(hostile, 3);
            press(&mut model, keys);
            let screen = shown(&model, RICH, width, height);
            assert!(screen.iter().all(plain), "{width}x{height} {keys}: {screen:#?}");
            assert!(screen.iter().all(|line| span(line) <= usize::from(width)), "{width}x{height} {keys}: {screen:#?}");
        }
    }
    let screen = shown(&seen(hostile, 3), RICH, 120, 40).join("\n");
    assert!(screen.contains("\\u{1b}[2J") && screen.contains("日本語"), "{screen}");
}

#[test]
fn every_size_is_drawn() {
    let mut model = seen(client, 20);
    press(&mut model, "v");
    for (width, height) in [(1, 1), (2, 200), (200, 2), (7, 7), (59, 17), (60, 18), (99, 30), (100, 36), (500, 200)] {
        assert_eq!(shown(&model, RICH, width, height).len(), usize::from(height));
    }
}

#[test]
fn a_selected_flow_is_on_the_screen_however_many_there_are() {
    let crowd = |second| {
        let mut frame = client(second);
        let one = frame.flows[0].clone();
        frame.flows = (0..500)
            .map(|id| crate::status::Flow { id, source: Some(format!("10.0.0.{id}:1")), ..one.clone() })
            .collect();
        frame
    };
    let mut model = seen(crowd, 3);
    assert!(shown(&model, RICH, 80, 24).iter().any(|line| line.contains("FLOWS 500")));
    for _ in 0..60 {
        press(&mut model, "v");
        let (flow, _) = model.selected().expect("one is selected");
        let source = flow.source.clone().expect("it has a source");
        let screen = shown(&model, RICH, 80, 24);
        assert!(screen.iter().any(|line| line.contains(&source)), "{source}: {screen:#?}");
    }
}
