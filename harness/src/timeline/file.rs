//! `timeline.jsonl`: writing while a trial runs, reading when it is judged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, LineWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Event, Facts, MachineStarted, PoolFacts, What};

/// Writes events, one JSON object a line. Each line is in the file when it is written: a killed run keeps what it
/// saw.
pub struct Writer {
    file: LineWriter<File>,
    failed: Option<io::Error>,
}

impl Writer {
    /// Creates the file; it must not exist.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: LineWriter::new(File::create_new(path)?), failed: None })
    }

    /// Writes one event. An error is kept and told by [`Writer::finish`]; later events are not written then,
    /// since a file with a hole would read as evidence.
    pub(super) fn write(&mut self, event: &Event) {
        if self.failed.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut self.file, event)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"));
        self.failed = written.err();
    }

    /// Flushes to disk; gives back the first error met.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }
}

/// A whole recorded timeline.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// The events in order.
    pub events: Vec<Arc<Event>>,
}

impl Timeline {
    /// Reads `timeline.jsonl`. Every line must be an event, and none may be missing.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        Self::read_lines(path, true)
    }

    /// Reads what there is of the `timeline.jsonl` of a trial that goes on, or whose run was killed: a last line without its
    /// end is left out.
    pub fn read_so_far(path: &Path) -> Result<Self, ReadError> {
        Self::read_lines(path, false)
    }

    fn read_lines(path: &Path, whole: bool) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Io { path: path.to_owned(), source };
        let mut events = Vec::new();
        let mut boots_of = BTreeMap::new();
        let mut lines = BufReader::new(File::open(path).map_err(failed)?);
        let mut line = Vec::new();
        for index in 0.. {
            line.clear();
            lines.read_until(b'\n', &mut line).map_err(failed)?;
            if line.is_empty() || !(whole || line.ends_with(b"\n")) {
                break;
            }
            let event: Event = serde_json::from_slice(&line).map_err(|source| ReadError::Line {
                path: path.to_owned(),
                line: index + 1,
                source,
            })?;
            if event.seq != index as u64 {
                return Err(ReadError::Gap { path: path.to_owned(), line: index + 1, found: event.seq });
            }
            let boots: &mut u32 = boots_of.entry(event.node.clone()).or_default();
            if event.boot > *boots + 1 {
                let boots = *boots;
                return Err(ReadError::Boot { path: path.to_owned(), line: index + 1, found: event.boot, boots });
            }
            *boots = event.boot.max(*boots);
            events.push(Arc::new(event));
        }
        Ok(Self { events })
    }

    /// The facts that the trial began with, if they were recorded.
    pub fn facts(&self) -> Option<&Facts> {
        self.events.iter().find_map(|event| match &event.what {
            What::Facts(facts) => Some(facts),
            _ => None,
        })
    }

    /// The start of the machine that the trial itself ran on: the last one, since a checkpoint's comes before it.
    pub fn started(&self) -> Option<&MachineStarted> {
        self.events.iter().rev().find_map(|event| match &event.what {
            What::MachineStarted(started) => Some(started),
            _ => None,
        })
    }

    /// What of it is one node's, of a trial with several; the events keep their numbers.
    #[must_use]
    pub fn of_node(&self, name: &str) -> Self {
        Self { events: self.events.iter().filter(|event| event.node.as_deref() == Some(name)).cloned().collect() }
    }

    /// The event with that number: its place, unless this is a part of a timeline.
    pub fn numbered(&self, seq: u64) -> Option<&Event> {
        let place = self.events.binary_search_by_key(&seq, |event| event.seq).ok()?;
        self.events.get(place).map(Arc::as_ref)
    }

    /// What the trial knows of its nodes, where it has several.
    pub fn pool(&self) -> Option<&PoolFacts> {
        self.facts()?.pool.as_deref()
    }

    /// The number of boots seen.
    pub fn boots(&self) -> u32 {
        self.events.iter().map(|event| event.boot).max().unwrap_or(0)
    }

    /// The events of one boot, from 1.
    pub fn of_boot(&self, boot: u32) -> impl Iterator<Item = &Event> {
        self.events.iter().map(Arc::as_ref).filter(move |event| event.boot == boot)
    }
}

impl From<Vec<Arc<Event>>> for Timeline {
    fn from(events: Vec<Arc<Event>>) -> Self {
        Self { events }
    }
}

/// Why a timeline can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be opened or read.
    #[error("cannot read the timeline {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is not an event.
    #[error("{path}:{line}: not an event of a timeline: {source}; was the file cut short or edited?")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Events are missing.
    #[error("{path}:{line}: event {found} stands where event {expected} belongs: events are missing", expected = line - 1)]
    Gap {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The sequence number that stands there.
        found: u64,
    },
    /// Whole boots are missing.
    #[error("{path}:{line}: an event of boot {found} follows on boot {boots}: what was between them is missing")]
    Boot {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The event's boot.
        found: u32,
        /// The last boot before it.
        boots: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Bus;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("timeline.jsonl");
        let bus = Bus::new(Some(Writer::create(&path).expect("new file")));
        bus.push(What::Facts(Facts { trial: "a/b@c".into(), ..Facts::default() }));
        bus.push(What::Note { text: "line\nfeed".into() });
        bus.finish().expect("flushed");
        let timeline = Timeline::read(&path).expect("readable");
        assert_eq!(timeline.events, bus.events());
        assert_eq!(timeline.facts().map(|f| f.trial.as_str()), Some("a/b@c"));
    }

    #[test]
    fn a_line_that_is_being_written_is_no_event_yet() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("timeline.jsonl");
        let line = "{\"seq\":0,\"at_us\":0,\"boot\":0,\"kind\":\"note\",\"text\":\"x\"}\n";
        std::fs::write(&path, format!("{line}{}", &line[..20])).expect("written");
        assert!(matches!(Timeline::read(&path), Err(ReadError::Line { line: 2, .. })));
        assert_eq!(Timeline::read_so_far(&path).expect("readable").events.len(), 1);
        std::fs::write(&path, format!("no event\n{line}")).expect("written");
        assert!(matches!(Timeline::read_so_far(&path), Err(ReadError::Line { line: 1, .. })));
    }

    #[test]
    fn a_missing_line_is_told() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("timeline.jsonl");
        std::fs::write(&path, "{\"seq\":1,\"at_us\":0,\"boot\":0,\"kind\":\"note\",\"text\":\"x\"}\n")
            .expect("written");
        let error = Timeline::read(&path).expect_err("a gap");
        assert!(matches!(error, ReadError::Gap { line: 1, found: 1, .. }), "{error}");
    }

    #[test]
    fn a_missing_boot_is_told() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("timeline.jsonl");
        std::fs::write(&path, "{\"seq\":0,\"at_us\":0,\"boot\":3000000,\"kind\":\"note\",\"text\":\"x\"}\n")
            .expect("written");
        let error = Timeline::read(&path).expect_err("a gap");
        assert!(matches!(error, ReadError::Boot { line: 1, found: 3_000_000, .. }), "{error}");
    }
}
