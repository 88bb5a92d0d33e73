use super::*;
use crate::exit::{Exit, Failure};
use crate::top::fixtures::{client, epoch, seen, server};

fn press(model: &mut Model, code: KeyCode) -> Option<Action> {
    model.handle_key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn types(model: &mut Model, keys: &str) -> Option<Action> {
    keys.chars().map(|key| press(model, KeyCode::Char(key))).last().flatten()
}

fn control(model: &mut Model, key: char) -> Option<Action> {
    model.handle_key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL))
}

fn ids(model: &Model) -> Vec<u64> {
    model.rows().iter().map(|(flow, _)| flow.id).collect()
}

fn texts(model: &Model) -> Vec<&str> {
    model.view().events.iter().map(|(_, event)| event.text.as_str()).collect()
}

#[test]
fn flows_are_sorted_by_what_they_use_now_and_by_everything_else_in_turn() {
    let mut model = seen(client, 5);
    assert_eq!(ids(&model), [2, 3, 1], "by rate");
    let mut orders = Vec::new();
    for _ in 0..Sort::ALL.len() {
        types(&mut model, "s");
        orders.push((model.sort.name(), ids(&model)));
    }
    assert_eq!(orders[0], ("total", vec![2, 3, 1]));
    assert_eq!(orders[1], ("queued", vec![3, 2, 1]));
    assert_eq!(orders[3], ("idle", vec![1, 2, 3]));
    assert_eq!(orders[6], ("destination", vec![1, 2, 3]));
    assert_eq!(orders[7].0, "rate");
    types(&mut model, "r");
    assert_eq!(ids(&model), [1, 3, 2]);
    types(&mut model, "S");
    assert_eq!(model.sort, Sort::Destination);
}

#[test]
fn a_filter_takes_what_is_typed_and_can_be_taken_back() {
    let mut model = seen(client, 5);
    types(&mut model, "/GAME");
    assert_eq!(ids(&model), [2]);
    press(&mut model, KeyCode::Backspace);
    press(&mut model, KeyCode::Enter);
    assert_eq!((model.filter.as_str(), &model.mode), ("GAM", &Mode::Table));
    types(&mut model, "/q");
    assert_eq!(model.filter, "GAMq", "a key is a letter here");
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.filter, "GAM");
    press(&mut model, KeyCode::Esc);
    assert_eq!(ids(&model).len(), 3);
    types(&mut model, "/");
    types(&mut model, &"x".repeat(1000));
    assert_eq!(model.filter.len(), FILTER);
    control(&mut model, 'u');
    assert_eq!(model.filter, "");
}

#[test]
fn a_cut_is_asked_for_and_only_yes_does_it() {
    let mut model = seen(server, 5);
    assert_eq!(types(&mut model, "k"), None);
    assert!(model.said.is_some(), "nothing is selected, which is said");
    press(&mut model, KeyCode::Down);
    types(&mut model, "k");
    let Mode::Ask(Ask::Cut(asked, what)) = model.mode.clone() else { panic!("nothing is asked: {:?}", model.mode) };
    assert_eq!(asked, ("0dd5e550".to_owned(), 1));
    assert_eq!(what, "flow 1, 203.0.113.9:5000 to 10.0.0.2:5006");
    assert_eq!(types(&mut model, "n"), None);
    for answer in [KeyCode::Enter, KeyCode::Esc, KeyCode::Char('k')] {
        types(&mut model, "k");
        assert_eq!(press(&mut model, answer), None, "{answer:?} is no yes");
    }
    types(&mut model, "x");
    assert_eq!(types(&mut model, "y"), Some(Action::Cut(asked)));
    assert_eq!(model.mode, Mode::Table);
}

#[test]
fn the_flow_that_is_cut_is_the_one_that_was_asked_about_even_if_it_has_moved() {
    let mut model = seen(client, 5);
    press(&mut model, KeyCode::Down);
    types(&mut model, "k");
    let mut frame = client(6);
    frame.flows[0].traffic.out_bytes += 1 << 30;
    model.handle_frame(frame);
    assert_eq!(ids(&model)[0], 1, "another one is at the top now");
    assert_eq!(types(&mut model, "y"), Some(Action::Cut(("5e5510115e551011".into(), 2))));
}

#[test]
fn a_selection_goes_with_its_flow_and_ends_with_it() {
    let mut model = seen(client, 5);
    press(&mut model, KeyCode::Up);
    assert_eq!(model.selected().map(|(flow, _)| flow.id), Some(1), "up from nowhere is the last");
    press(&mut model, KeyCode::Home);
    press(&mut model, KeyCode::PageDown);
    press(&mut model, KeyCode::Up);
    assert_eq!(model.selected().map(|(flow, _)| flow.id), Some(3));
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.mode, Mode::Details);
    let mut frame = client(6);
    frame.flows.retain(|flow| flow.id != 3);
    model.handle_frame(frame);
    assert_eq!((model.selected.as_ref(), &model.mode), (None, &Mode::Table));
    assert_eq!(model.said.as_ref().map(|said| said.text.as_str()), Some("this flow has ended"));
}

#[test]
fn a_reconnect_is_asked_for() {
    let mut model = seen(client, 5);
    assert_eq!(types(&mut model, "Rn"), None);
    assert_eq!(types(&mut model, "Ry"), Some(Action::Reconnect));
    model.handle_outcome("the links are made anew", &Ok(()));
    assert_eq!(model.said.as_ref().map(|said| said.weight), Some(Weight::Good));
    model.handle_outcome("", &Err(Failure::new(Exit::NotRunning, "it has ended\u{1b}")));
    assert_eq!(model.said, Some(Event::new(Weight::Bad, "it has ended\u{1b}")));
    types(&mut model, "s");
    assert_eq!(model.said, None, "the next key takes it away");
}

#[test]
fn who_looks_leaves_at_once_and_who_owns_is_asked_before_the_client_stops() {
    let mut model = seen(client, 5);
    assert_eq!(types(&mut model, "q"), Some(Action::Quit));
    assert_eq!(control(&mut model, 'c'), Some(Action::Quit));
    let mut owner = Model::new(true);
    assert_eq!(types(&mut owner, "q"), None);
    assert_eq!(types(&mut owner, "n"), None);
    assert_eq!(types(&mut owner, "qy"), Some(Action::Quit));
    types(&mut owner, "?");
    assert_eq!(control(&mut owner, 'c'), Some(Action::Quit), "Ctrl-C asks nothing, whatever is open");
    assert_eq!(control(&mut owner, 'z'), Some(Action::Suspend));
    assert_eq!(control(&mut owner, 'l'), Some(Action::Redraw));
}

#[test]
fn a_key_that_is_let_go_does_nothing() {
    let mut model = seen(client, 5);
    let mut event = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    event.kind = KeyEventKind::Release;
    assert_eq!(model.handle_key(event), None);
}

#[test]
fn a_pause_keeps_the_screen_while_everything_goes_on_behind_it() {
    let mut model = seen(client, 5);
    let before = model.view().rates.total;
    types(&mut model, "p");
    for second in 5..20 {
        model.handle_frame(client(second));
    }
    assert!(model.paused());
    assert_eq!((model.view().rates.total, model.view().rates.history_out.len()), (before, 4));
    types(&mut model, "p");
    assert_eq!(model.view().rates.history_out.len(), 19, "no second is missing");
    types(&mut model, "p");
    model.handle_loss(epoch(), "gone");
    assert!(!model.paused(), "what has ended is not hidden");
    assert_eq!(model.view().lost.as_deref(), Some("gone"));
}

#[test]
fn rates_are_by_the_clock_of_the_instance() {
    let mut model = Model::new(false);
    let mut frame = client(0);
    model.handle_frame(frame.clone());
    assert_eq!(model.view().rates.total.out_bytes, 0.0, "one frame says nothing of rates");
    frame.status.uptime += 4.0;
    frame.status.traffic.out_bytes += 4000;
    frame.status.traffic.out += 8;
    model.handle_frame(frame.clone());
    assert_eq!((model.view().rates.total.out_bytes, model.view().rates.total.out), (1000.0, 2.0));
    assert_eq!(model.view().rates.history_out, [1000; 4]);
    model.handle_frame(frame.clone());
    assert_eq!(model.view().rates.total.out_bytes, 1000.0, "the same frame once more is no time at all");
    frame.status.pid += 1;
    frame.status.traffic.out_bytes += 1 << 40;
    model.handle_frame(frame);
    assert_eq!(model.view().rates.total.out_bytes, 0.0, "another process has counts of its own");
    assert_eq!(texts(&model).last(), Some(&"another process took over: 4243, before 4242"));
}

#[test]
fn what_the_instance_tells_is_shown_and_what_it_does_not_is_found() {
    let stuck = |second| {
        let mut frame = client(second);
        frame.status.sessions[0].links.iter_mut().for_each(|link| link.suspect = second < 2);
        frame
    };
    let mut model = seen(stuck, 2);
    assert_eq!(texts(&model), [""; 0]);
    let mut frame = stuck(2);
    frame.status.sessions[0].links.remove(0);
    let id = frame.status.sessions[0].id.clone();
    frame.events = vec![
        (epoch(), format!("session {id}: link 4 has ended: reset\u{1b}")),
        (epoch(), "session 0dd5e5500dd5e550: has begun".into()),
        (epoch(), "the configuration was read anew".into()),
    ];
    model.handle_frame(frame);
    let expected = [
        "link 4 has ended: reset\\u{1b}",
        "session 0dd5e550: has begun",
        "the configuration was read anew",
        "link 5 goes on",
    ];
    assert_eq!(texts(&model), expected);
}

#[test]
fn many_events_of_flows_are_told_as_their_number_and_only_the_latest_events_are_kept() {
    let mut model = seen(client, 2);
    let mut frame = client(2);
    frame.events = (0..900).map(|at| (epoch(), format!("session x: flow {at} begins here"))).collect();
    frame.events.push((epoch(), "link 9 is up".into()));
    model.handle_frame(frame);
    assert_eq!(texts(&model), ["link 9 is up", "900 times flows began or ended"]);
    let mut frame = client(3);
    frame.events = (0..2000).map(|at| (epoch(), format!("note {at}"))).collect();
    frame.missed = 7;
    model.handle_frame(frame);
    assert_eq!((texts(&model).len(), texts(&model).last().copied()), (EVENTS, Some("note 1999")));
}
