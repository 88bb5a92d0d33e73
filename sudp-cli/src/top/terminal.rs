//! The terminal: keys in, screens out, and everything as it was when we leave, however that happens.

use std::fs::OpenOptions;
use std::future::poll_fn;
use std::io::{self, IsTerminal, Stdout, stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Mutex, Once, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, SystemTime};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, KeyEvent};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use rustix::process::{Signal, kill_current_process_group};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::Frame;
use super::draw::{Look, draw};
use super::model::{Action, Model};
use super::source::Source;
use crate::exit::{Exit, Failure, Outcome};

/// What the dashboard learns, from whatever thread.
#[derive(Debug)]
pub(crate) enum Input {
    /// How the instance is.
    Frame(Box<Frame>),
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// There are no more keys: the terminal is gone.
    Gone,
    /// The instance cannot be seen any more, until it is there again.
    Lost(String),
    /// What became of a command, and what is said if it was done.
    Done(&'static str, Outcome),
    /// The process goes on after it was stopped.
    Continued,
    /// The process is told to end, by the signal of this number.
    Signal(i32),
    /// What ran in this process has ended.
    Ended,
}

/// How the dashboard was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Left {
    /// By a key, or with its terminal.
    Quit,
    /// By a signal.
    Signal(i32),
    /// What it showed has ended.
    Ended,
}

/// Whether there is a terminal to draw on, and keys to be had.
pub(crate) fn check(command: &str) -> Outcome {
    if stdin().is_terminal() && stdout().is_terminal() {
        return Ok(());
    }
    let message = format!("{command} draws on a terminal, and this is none: 'sudp status' prints how an instance is");
    Err(Failure::new(Exit::Usage, message))
}

/// Shows it until somebody leaves. What the owner of an instance is to do when they want to leave is `stop`: then the
/// dashboard stays until the instance has ended.
pub(crate) fn show(
    source: &Source,
    mut model: Model,
    look: Look,
    tell: &SyncSender<Input>,
    told: &Receiver<Input>,
    stop: Option<&dyn Fn()>,
) -> Outcome<Left> {
    let cannot = |error: io::Error| Failure::new(Exit::Failed, format!("cannot use the terminal: {error}"));
    let mut screen = Screen::enter().map_err(cannot)?;
    read_keys(tell.clone()).map_err(cannot)?;
    let left = loop {
        screen.draw(&mut model, look).map_err(cannot)?;
        let Ok(first) = told.recv() else { break Left::Ended };
        let mut end = None;
        // Everything that is there is taken before anything is drawn.
        for input in std::iter::once(first).chain(told.try_iter()) {
            match input {
                Input::Frame(frame) => model.handle_frame(*frame),
                Input::Resized => {}
                Input::Gone => end = Some(Left::Quit),
                Input::Lost(why) => model.handle_loss(SystemTime::now(), &why),
                Input::Done(done, outcome) => model.handle_outcome(done, &outcome),
                Input::Continued => screen.renew().map_err(cannot)?,
                Input::Signal(number) => end = Some(Left::Signal(number)),
                Input::Ended => end = Some(Left::Ended),
                Input::Key(key) => match (model.handle_key(key), stop) {
                    (Some(Action::Quit), Some(stop)) => stop(),
                    (Some(Action::Quit), None) => end = Some(Left::Quit),
                    (Some(Action::Redraw), _) => screen.renew().map_err(cannot)?,
                    (Some(Action::Suspend), _) => screen.suspend().map_err(cannot)?,
                    (Some(action @ (Action::Cut(_) | Action::Reconnect)), _) => {
                        command(source.clone(), action, tell.clone());
                    }
                    (None, _) => {}
                },
            }
        }
        if let Some(left) = end {
            break left;
        }
    };
    drop(screen);
    Ok(left)
}

/// Has a command done: on a thread of its own, since an instance may take its time to answer.
fn command(source: Source, action: Action, tell: SyncSender<Input>) {
    thread::spawn(move || {
        let (done, outcome) = match action {
            Action::Cut(key) => ("the flow is cut", source.cut(key)),
            Action::Reconnect => ("the links are made anew", source.reconnect()),
            Action::Quit | Action::Redraw | Action::Suspend => return,
        };
        // Who has left does not want to know any more.
        let _ = tell.send(Input::Done(done, outcome));
    });
}

fn read_keys(tell: SyncSender<Input>) -> io::Result<()> {
    let read = move || {
        loop {
            let input = match event::read() {
                Ok(event::Event::Key(key)) => Input::Key(key),
                Ok(event::Event::Resize(..)) => Input::Resized,
                Ok(_) => continue,
                Err(_) => Input::Gone,
            };
            let last = matches!(input, Input::Gone);
            if tell.send(input).is_err() || last {
                return;
            }
        }
    };
    thread::Builder::new().name("sudp-keys".into()).spawn(read).map(|_| ())
}

/// From now on signals are told, instead of ending the process with the terminal as it is. One that is in the hands of
/// somebody else, as of a client that runs, ends by what they do; then only is told that the process goes on.
pub(crate) fn listen(tell: SyncSender<Input>, ending: bool) -> Outcome {
    let cannot = |error: io::Error| Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"));
    let runtime = Builder::new_current_thread().enable_io().build().map_err(cannot)?;
    let within = runtime.enter();
    let ends = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let mut ends = ends.into_iter().filter(|_| ending).map(signal).collect::<io::Result<Vec<_>>>().map_err(cannot)?;
    let mut goes_on = signal(SignalKind::from_raw(Signal::CONT.as_raw())).map_err(cannot)?;
    drop(within);
    let wait = move || {
        runtime.block_on(async {
            loop {
                let input = poll_fn(|cx| {
                    for (came, number) in ends.iter_mut().zip([2, 15, 1]) {
                        if came.poll_recv(cx).is_ready() {
                            return Poll::Ready(Input::Signal(number));
                        }
                    }
                    goes_on.poll_recv(cx).map(|_| Input::Continued)
                });
                if tell.send(input.await).is_err() {
                    return;
                }
            }
        });
    };
    thread::Builder::new().name("sudp-signals".into()).spawn(wait).map_err(cannot)?;
    Ok(())
}

/// The terminal while it is ours.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

/// Whether the terminal is ours: what we leave twice would take from others what they have set since.
static OURS: AtomicBool = AtomicBool::new(false);

/// The standard error, while nothing is to be written to it.
static STDERR: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// From now on until the terminal is given back, nothing that is written to the standard error spoils the screen.
pub(crate) fn hush() -> io::Result<()> {
    if stderr().is_terminal() {
        let kept = stderr().as_fd().try_clone_to_owned()?;
        let nothing = OpenOptions::new().write(true).open("/dev/null")?;
        *STDERR.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        rustix::stdio::dup2_stderr(nothing)?;
    }
    Ok(())
}

impl Screen {
    fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                // What the panic says is to be read.
                let _ = give_back();
                usual(info);
            }));
        });
        take()?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()));
        let terminal = terminal.inspect_err(|_| _ = give_back())?;
        Ok(Self { terminal })
    }

    fn draw(&mut self, model: &mut Model, look: Look) -> io::Result<()> {
        let mut rows = 0;
        self.terminal.draw(|frame| rows = draw(model, look, frame))?;
        model.handle_page(rows);
        Ok(())
    }

    /// Takes the terminal anew, whatever it shows, and however others have left it.
    fn renew(&mut self) -> io::Result<()> {
        take()?;
        self.terminal.clear()
    }

    /// Stops this process and all of its job, as Ctrl-Z does elsewhere.
    fn suspend(&mut self) -> io::Result<()> {
        leave()?;
        kill_current_process_group(Signal::TSTP)?;
        // The signal may reach another thread a moment later. Where nobody could have the job go on again, it is ignored.
        thread::sleep(SUSPENDED);
        self.renew()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = give_back();
    }
}

fn take() -> io::Result<()> {
    // A mode that is kept as the one to go back to must not be ours.
    disable_raw_mode()?;
    enable_raw_mode()?;
    OURS.store(true, Ordering::SeqCst);
    execute!(stdout(), EnterAlternateScreen, Hide)
}

fn give_back() -> io::Result<()> {
    if let Some(kept) = STDERR.lock().unwrap_or_else(PoisonError::into_inner).take() {
        rustix::stdio::dup2_stderr(kept)?;
    }
    leave()
}

fn leave() -> io::Result<()> {
    if !OURS.swap(false, Ordering::SeqCst) {
        return Ok(());
    }
    let shown = execute!(stdout(), LeaveAlternateScreen, Show);
    disable_raw_mode()?;
    shown
}

/// Long enough for a signal to arrive.
const SUSPENDED: Duration = Duration::from_millis(100);
