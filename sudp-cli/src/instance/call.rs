//! To ask an instance something, at its control socket.
//!
//! Everything here has a time limit, so that one that hangs holds nobody up.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::Id;
use super::lock::{self, Found};
use super::paths::{Files, Folders};
use super::protocol::{Answer, Request};
use crate::exit::{Exit, Failure, Outcome};
use crate::status::{Flow, Status};

/// A conversation with an instance.
#[derive(Debug)]
pub struct Call {
    id: Id,
    stream: UnixStream,
    /// What was read, of which the first `taken` bytes were used.
    read: Vec<u8>,
    taken: usize,
}

/// Answers without end, until either side hangs up. Each is waited for as long as it takes.
#[derive(Debug)]
pub struct Stream {
    call: Call,
    ended: bool,
}

/// Ends a [`Stream`] from elsewhere, as another thread.
#[derive(Debug)]
pub struct HangUp(UnixStream);

impl Call {
    /// Begins to talk with an instance, or says that none runs.
    pub fn open(id: &Id) -> Outcome<Self> {
        Self::with(&Folders::new().find(id))
    }

    /// Begins to talk with the instance that these files are of.
    pub fn with(files: &Files) -> Outcome<Self> {
        match lock::look(&files.pid) {
            Found::Running(_) => {}
            Found::Unknown => return Err(hidden(files)),
            Found::Nothing | Found::Dead(_) => return Err(not_running(&files.id)),
        }
        if !files.trusted() {
            let message =
                format!("the folder of {} can be written by others: nothing there is believed", files.socket.display());
            return Err(Failure::new(Exit::Unknown, message));
        }
        Self::connect(files).map_err(|error| silent(&files.id, &error))
    }

    pub(super) fn connect(files: &Files) -> io::Result<Self> {
        // A connection that has to wait means a backlog that nobody accepts from: this one does not wait.
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.connect_timeout(&SockAddr::unix(&files.socket)?, PATIENCE)?;
        socket.set_nonblocking(false)?;
        let stream = UnixStream::from(OwnedFd::from(socket));
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { id: files.id.clone(), stream, read: Vec::new(), taken: 0 })
    }

    /// Asks something that has one answer. A failure that is answered is returned as one.
    pub fn ask(&mut self, request: &Request) -> Outcome<Answer> {
        // What is read anew may take a look at files and names.
        let patience = if matches!(request, Request::Reload {}) { 10 * PATIENCE } else { PATIENCE };
        let deadline = Instant::now() + patience;
        let answer = self.send(request).and_then(|()| self.receive(Some(deadline)));
        answer.map_err(|error| silent(&self.id, &error))?.done()
    }

    /// Asks how it is.
    pub fn status(&mut self) -> Outcome<Status> {
        let answer = self.ask(&Request::Status {})?;
        if let Answer::Status(status) = answer { Ok(*status) } else { Err(self.strange()) }
    }

    /// Asks for its flows.
    pub fn flows(&mut self) -> Outcome<Vec<Flow>> {
        let answer = self.ask(&Request::Flows {})?;
        if let Answer::Flows(flows) = answer { Ok(flows) } else { Err(self.strange()) }
    }

    /// Asks for something to be done.
    pub fn tell(&mut self, request: &Request) -> Outcome {
        if self.ask(request)? == Answer::Ok { Ok(()) } else { Err(self.strange()) }
    }

    /// Asks something that has answers without end.
    pub fn stream(mut self, request: &Request) -> Outcome<Stream> {
        self.send(request).map_err(|error| silent(&self.id, &error))?;
        Ok(Stream { call: self, ended: false })
    }

    pub(super) fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    /// The next answer, if it comes in time.
    pub(super) fn receive(&mut self, deadline: Option<Instant>) -> io::Result<Answer> {
        let mut searched = self.taken;
        loop {
            if let Some(end) = self.read[searched..].iter().position(|byte| *byte == b'\n') {
                let line = &self.read[self.taken..searched + end];
                let answer = serde_json::from_slice(line);
                self.taken = searched + end + 1;
                return answer.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            }
            self.read.drain(..self.taken);
            self.taken = 0;
            searched = self.read.len();
            if searched > LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it says too much at once"));
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(left)?;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.read.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }

    fn strange(&self) -> Failure {
        Failure::new(Exit::Internal, format!("the {} answers something else than it was asked", self.id))
    }
}

impl Stream {
    /// What ends it from elsewhere.
    pub fn hang_up(&self) -> io::Result<HangUp> {
        self.call.stream.try_clone().map(HangUp)
    }
}

impl Iterator for Stream {
    type Item = Outcome<Answer>;

    /// The next answer. A failure is the last one.
    fn next(&mut self) -> Option<Outcome<Answer>> {
        if self.ended {
            return None;
        }
        let received = self.call.receive(None);
        let id = &self.call.id;
        let next = match received {
            Ok(Answer::Ok) => None,
            Ok(answer) => Some(answer.done()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Some(Err(Failure::new(Exit::NotRunning, format!("the {id} has ended"))))
            }
            Err(error) => Some(Err(silent(id, &error))),
        };
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl HangUp {
    /// Ends the stream: who waits for its next answer is told that it has ended.
    pub fn now(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// What is said of an instance that does not run.
pub(super) fn not_running(id: &Id) -> Failure {
    Failure::new(Exit::NotRunning, format!("the {id} does not run: 'sudp list' shows what does"))
}

/// What is said of an instance that may run or not.
pub(super) fn hidden(files: &Files) -> Failure {
    let path = files.pid.display();
    let message =
        format!("cannot tell whether the {} runs: {path} cannot be read: ask as its user, or as root", files.id);
    Failure::new(Exit::Unknown, message)
}

fn silent(id: &Id, error: &io::Error) -> Failure {
    let is = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
    let message = if is(&[io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock]) {
        format!("the {id} runs, but does not answer: it hangs, or has more to do than it can")
    } else if is(&[io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused]) {
        format!("the {id} runs, but nobody listens at its control socket: it begins or ends right now, or hangs")
    } else if is(&[io::ErrorKind::PermissionDenied]) {
        format!("the {id} is somebody else's: ask as its user, or as root")
    } else {
        format!("cannot talk with the {id}: {error}")
    };
    Failure::new(Exit::Unknown, message)
}

/// How long one that is well may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// The longest line that is read: some hundred thousand flows.
const LINE: usize = 128 * 1024 * 1024;
