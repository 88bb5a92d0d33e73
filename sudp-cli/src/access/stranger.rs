//! What anybody gets to see who is not let in, whatever the reason: the same bytes, after the same time.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sudp_tokio::Stranger;
use sudp_tokio::proto::link::{Answer, RequestHead};

use crate::exit::{Exit, Failure, Outcome};

/// What is configured for strangers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Strangers {
    /// 404 Not Found.
    #[default]
    NotFound,
    /// A file, whatever is asked for.
    File(PathBuf),
    /// What a web server says.
    Backend(SocketAddr),
}

/// What strangers get.
#[derive(Clone, Debug)]
pub(crate) enum Answers {
    Answer(Answer),
    HandOver(SocketAddr),
}

impl Answers {
    /// What is configured. A file is read once.
    pub(crate) fn load(strangers: &Strangers) -> Outcome<Self> {
        match strangers {
            Strangers::NotFound => Ok(Self::Answer(Answer::not_found())),
            Strangers::File(path) => read(path).map(Self::Answer),
            Strangers::Backend(at) => Ok(Self::HandOver(*at)),
        }
    }

    /// What whoever asks this gets.
    pub(crate) fn answer(&self, head: &RequestHead) -> Stranger {
        match self {
            Self::Answer(answer) if head.method() == "HEAD" => Stranger::Answer(answer.clone().without_body()),
            Self::Answer(answer) => Stranger::Answer(answer.clone()),
            Self::HandOver(to) => Stranger::HandOver(*to),
        }
    }
}

/// The answer that is in a file.
pub(crate) fn read(path: &Path) -> Outcome<Answer> {
    let refuse = |what: String| Failure::new(Exit::Config, format!("server.strangers: {}: {what}", path.display()));
    let read = || {
        let mut body = Vec::new();
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        file.take(LARGEST + 1).read_to_end(&mut body)?;
        Ok(body)
    };
    let body = read().map_err(|error: std::io::Error| refuse(format!("cannot be read: {error}")))?;
    if body.len() as u64 > LARGEST {
        return Err(refuse("has more than 1 MiB; give a smaller file, or a web server by http://".into()));
    }
    let answer = Answer::new(200).and_then(|answer| answer.with_header("Content-Type", kind(path)));
    answer.map(|answer| answer.with_body(body)).map_err(|error| refuse(error.to_string()))
}

/// What a file is, by how its name ends.
fn kind(path: &Path) -> &'static str {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    match end.to_ascii_lowercase().as_str() {
        "css" => "text/css; charset=utf-8",
        "gif" => "image/gif",
        "htm" | "html" => "text/html; charset=utf-8",
        "ico" => "image/x-icon",
        "jpg" | "jpeg" => "image/jpeg",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        _ => "application/octet-stream",
    }
}

/// Bytes of a file.
const LARGEST: u64 = 1 << 20;
