//! Downloads that go on where they were cut, also in a later process, and are compared with a checksum.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, RANGE};
use sha2::{Digest, Sha256};

use super::{Error, LARGEST_DISK, Progress};
use crate::cache::Cache;
use crate::text::with_causes;

/// Where unfinished downloads lie in the cache, by checksum.
const PARTS: &str = "downloads";
/// Tries in a row that bring next to nothing; one that brings more starts the count anew.
const TRIES: u32 = 5;
/// Bytes of a try that was worth it.
const WORTH: u64 = 64 << 10;
/// Before the second try; doubled with each further one.
const PAUSE: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_secs(20);
/// The longest silence of a server: the client's timeout is that of each single read.
const SILENCE: Duration = Duration::from_secs(60);

fn client() -> Result<Client, reqwest::Error> {
    let user_agent = concat!("day1/", env!("CARGO_PKG_VERSION"));
    Client::builder().user_agent(user_agent).connect_timeout(CONNECT).timeout(SILENCE).build()
}

/// A small file, such as a stream's metadata.
pub(super) fn small(url: &str, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |problem: String| Error::Download { url: url.to_owned(), problem };
    let fetch = || -> Result<Vec<u8>, Failure> {
        let response = accepted(client()?.get(url).send()?)?;
        let mut bytes = Vec::new();
        response.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = retried(fetch).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Whether an address answers at all, asked once.
pub fn is_reachable(url: &str, patience: Duration) -> Result<(), String> {
    let (answer, answered) = mpsc::channel();
    let asked = url.to_owned();
    // Not joined: a name server that keeps silent holds the client for longer than its own timeout.
    std::thread::spawn(move || {
        let ask = || {
            let client = Client::builder().connect_timeout(patience).timeout(patience).build()?;
            accepted(client.get(asked).send()?)
        };
        // Nobody may be waiting any more.
        let _ = answer.send(ask().map(|_| ()).map_err(|failure| failure.text()));
    });
    answered.recv_timeout(patience).unwrap_or_else(|_| Err(format!("no answer within {:.1} s", patience.as_secs_f64())))
}

/// A complete download in the cache, whose checksum is right.
pub(super) struct Download {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Download {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn remove(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }
}

/// Downloads what has this sha256; goes on with what an earlier try left in the cache. What has another sha256 is
/// removed and refused.
pub(super) fn resumable(cache: &Cache, url: &str, sha256: &str, progress: &dyn Progress) -> Result<Download, Error> {
    let dir = cache.root().join(PARTS);
    fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    let path = dir.join(sha256);
    let open = || File::options().create(true).read(true).write(true).truncate(false).open(&path);
    let file = open().map_err(Error::io("open", &path))?;
    let lock = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| Error::io("lock", &path)(io::Error::from(errno)))?;
    let mut part = Part { file: &lock, hash: Sha256::new(), length: 0 };
    part.read_what_is_there().map_err(Error::io("read", &path))?;
    if part.length > 0 {
        progress.step(&format!("going on after {} that an earlier try left", mib(part.length)));
    }
    let failed = |problem: String| Error::Download { url: url.to_owned(), problem };
    let mut left = TRIES;
    loop {
        let before = part.length;
        let failure = match part.fetch(url, progress) {
            Ok(()) => break,
            Err(Failure::Own(source)) => return Err(Error::io("write", &path)(source)),
            Err(failure) => failure,
        };
        left = if part.length >= before + WORTH { TRIES } else { left - 1 };
        if left == 0 || !failure.may_pass() {
            let kept = format!("; {} are kept, and the next try goes on there", mib(part.length));
            return Err(failed(failure.text() + if part.length > 0 { &kept } else { "" }));
        }
        progress.step(&format!("cut after {} ({}); going on", mib(part.length), failure.text()));
        std::thread::sleep(PAUSE * 2u32.pow(TRIES - left));
    }
    let found = hex::encode(part.hash.finalize());
    if found != sha256 {
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        return Err(Error::Checksum { what: url.to_owned(), expected: sha256.to_owned(), found });
    }
    Ok(Download { path, _lock: lock })
}

/// The beginning of a file, and its hash so far.
struct Part<'f> {
    file: &'f File,
    hash: Sha256,
    length: u64,
}

impl Part<'_> {
    fn read_what_is_there(&mut self) -> io::Result<()> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(0))?;
        self.length = io::copy(&mut file, &mut self.hash)?;
        Ok(())
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        let mut file = self.file;
        file.seek(SeekFrom::Start(0))?;
        self.hash = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Fetches the rest; what came before a cut stays.
    fn fetch(&mut self, url: &str, progress: &dyn Progress) -> Result<(), Failure> {
        let mut request = client()?.get(url);
        if self.length > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.length));
        }
        let response = request.send()?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && self.length > 0 {
            // All is here already, or more than there is; the checksum tells.
            let total = content_range(&response).and_then(|range| range.rsplit('/').next()?.parse::<u64>().ok());
            if total == Some(self.length) {
                return Ok(());
            }
            self.begin_anew().map_err(Failure::Own)?;
            return Err(Failure::Answer("the file there is another one now".into()));
        }
        let mut response = accepted(response)?;
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT
            && content_range(&response).is_some_and(|range| range.starts_with(&format!("bytes {}-", self.length)));
        if !goes_on && self.length > 0 {
            self.begin_anew().map_err(Failure::Own)?;
        }
        let total = response.content_length().map(|rest| self.length + rest);
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = response.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            let mut file = self.file;
            file.write_all(&buffer[..read]).map_err(Failure::Own)?;
            self.hash.update(&buffer[..read]);
            self.length += read as u64;
            if self.length > LARGEST_DISK {
                return Err(Failure::Refused(format!("it is larger than {} GiB", LARGEST_DISK >> 30)));
            }
            progress.transferred(self.length, total);
        }
        match total {
            Some(total) if total != self.length => {
                Err(Failure::Answer(format!("{} of {} came", mib(self.length), mib(total))))
            }
            _ => Ok(()),
        }
    }
}

fn content_range(response: &Response) -> Option<String> {
    response.headers().get(CONTENT_RANGE)?.to_str().ok().map(str::to_owned)
}

/// Why a try failed.
enum Failure {
    /// No answer, or a connection that was cut.
    Network(String),
    /// An answer that is none.
    Answer(String),
    /// The server says so.
    Status(StatusCode),
    /// What no other try changes.
    Refused(String),
    /// This host's own disk.
    Own(io::Error),
}

impl Failure {
    /// Whether another try may do better.
    fn may_pass(&self) -> bool {
        match self {
            Self::Network(_) | Self::Answer(_) => true,
            Self::Status(status) => {
                status.is_server_error()
                    || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(status)
            }
            Self::Refused(_) | Self::Own(_) => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Network(text) | Self::Answer(text) | Self::Refused(text) => text.clone(),
            Self::Status(status) => format!("the server answers {status}"),
            Self::Own(error) => error.to_string(),
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let is_hopeless = error.is_builder() || error.is_redirect();
        let text = with_causes(&error.without_url());
        if is_hopeless { Self::Refused(text) } else { Self::Network(text) }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Network(with_causes(&error))
    }
}

fn accepted(response: Response) -> Result<Response, Failure> {
    if response.status().is_success() { Ok(response) } else { Err(Failure::Status(response.status())) }
}

fn retried<T>(mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, String> {
    let mut left = TRIES;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) if left > 1 && failure.may_pass() => {
                left -= 1;
                std::thread::sleep(PAUSE * 2u32.pow(TRIES - 1 - left));
            }
            Err(failure) => return Err(failure.text()),
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1u32 << 20))
}
