//! The instruments' streams out of the guest: both journals and the kernel's module tracepoints.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio_util::io::InspectReader;

use super::console;

use crate::timeline::{Bus, JournalRecord, ModuleEvent, Stream, StreamEnded, What};

/// What the guest says by itself, byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Console,
    JournalInitramfs,
    Journal,
    Trace,
}

/// Where the sources' words go.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) bus: Bus,
    pub(super) seen: Seen,
    /// Gets every byte of the console.
    pub(super) console_log: Option<PathBuf>,
}

impl Source {
    /// The file that keeps what it said.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Console => "said-console",
            Self::JournalInitramfs => "said-journal-initramfs",
            Self::Journal => "said-journal",
            Self::Trace => "said-trace",
        }
    }

    /// Reads it to its end.
    pub(super) async fn read(self, bytes: impl AsyncRead + Unpin, listener: Listener) {
        let Listener { bus, seen, console_log } = listener;
        match self {
            Self::Console => console::read(bytes, bus, console_log).await,
            Self::JournalInitramfs => read_journal(bytes, bus, seen, true).await,
            Self::Journal => read_journal(bytes, bus, seen, false).await,
            Self::Trace => read_trace(bytes, bus).await,
        }
    }
}

/// What a source said before a machine was forked.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// The beginning of the line that the fork will end.
    pub(super) rest: Vec<u8>,
}

impl From<Vec<u8>> for Said {
    fn from(mut lines: Vec<u8>) -> Self {
        let end = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = lines.split_off(end);
        Self { lines, rest }
    }
}

/// Keeps a copy of what is read through it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tap(Arc<Mutex<Vec<u8>>>);

impl Tap {
    pub(super) fn through<R: AsyncRead>(&self, reader: R) -> InspectReader<R, impl FnMut(&[u8]) + use<R>> {
        let Self(copy) = self.clone();
        InspectReader::new(reader, move |bytes: &[u8]| {
            copy.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        })
    }

    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Records that were pushed already: both journal streams bring the initramfs's, and a stream that starts again
/// replays its boot.
pub(super) type Seen = Arc<Mutex<HashSet<String>>>;

/// Reads a journal stream until it closes.
async fn read_journal(socket: impl AsyncRead + Unpin, bus: Bus, seen: Seen, initramfs: bool) {
    let stream = if initramfs { Stream::JournalInitramfs } else { Stream::Journal };
    each_line(socket, &bus, stream, |line| {
        let Some(mut record) = parse_record(line) else { return false };
        record.initramfs = initramfs;
        let is_new = match identity(&record) {
            Some(identity) => seen.lock().unwrap_or_else(PoisonError::into_inner).insert(identity),
            None => true,
        };
        if is_new {
            bus.push(What::Journal(record));
        }
        true
    })
    .await;
}

/// What a record keeps when it is copied from the volatile journal to the one on disk, where it gets another
/// sequence number: boot id, both times and the hash in its cursor (`…;b=…;m=…;t=…;x=…`).
fn identity(record: &JournalRecord) -> Option<String> {
    record.field("__CURSOR").split_once(";b=").map(|(_, identity)| identity.to_owned())
}

/// Reads the stream of module tracepoints until it closes.
async fn read_trace(socket: impl AsyncRead + Unpin, bus: Bus) {
    each_line(socket, &bus, Stream::ModuleTrace, |line| {
        if let Some(lost) = lost_events(line) {
            bus.push(What::StreamEnded(StreamEnded { stream: Stream::ModuleTrace, reason: lost }));
            return true;
        }
        let Some(what) = parse_trace(line) else { return false };
        bus.push(what);
        true
    })
    .await;
}

/// A reset of the machine cuts a line short; the instruments begin with an empty line, so what can't be read is
/// the unfinished end of a boot. It is noted, never dropped in silence.
async fn each_line(socket: impl AsyncRead + Unpin, bus: &Bus, stream: Stream, mut take: impl FnMut(&str) -> bool) {
    let mut reader = BufReader::with_capacity(256 * 1024, socket);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() && !take(text) {
            let start: String = text.chars().take(120).collect();
            bus.push(What::Note { text: format!("an unfinished line on the stream {stream:?}: {start}") });
        }
    }
}

/// A line of `journalctl --output=json`: values are strings, byte arrays, null (too long) or lists of those.
fn parse_record(line: &str) -> Option<JournalRecord> {
    let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(line).ok()?;
    let fields = object.into_iter().map(|(name, value)| (name, text(&value))).collect();
    Some(JournalRecord { initramfs: false, fields })
}

fn text(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let bytes: Option<Vec<u8>> =
                items.iter().map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
            bytes.map_or_else(
                || items.iter().map(text).collect::<Vec<_>>().join("\n"),
                |bytes| String::from_utf8_lossy(&bytes).into_owned(),
            )
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// `CPU:1 [LOST 5 EVENTS]`: the ring buffer ran over.
fn lost_events(line: &str) -> Option<String> {
    line.contains("[LOST ").then(|| format!("the kernel's trace buffer ran over: {line}"))
}

/// `        modprobe-1234    [001] .....    12.345678: module_load: day1_nic OE`
/// (<https://docs.kernel.org/trace/ftrace.html>; the fields are those of `include/trace/events/module.h`).
fn parse_trace(line: &str) -> Option<What> {
    let (head, (event, detail)) = [": module_load: ", ": module_free: "]
        .into_iter()
        .find_map(|mark| line.split_once(mark).map(|(head, detail)| (head, (mark, detail))))?;
    let (task, rest) = head.split_once(" [")?;
    let (comm, pid) = task.trim().rsplit_once('-')?;
    let seconds = rest.split_whitespace().last()?;
    let (whole, fraction) = seconds.split_once('.')?;
    let mono_us = whole.parse::<u64>().ok()? * 1_000_000 + fraction.parse::<u64>().ok()?;
    let mut words = detail.split_whitespace();
    let pid = pid.trim().parse().ok()?;
    let module = ModuleEvent {
        module: words.next()?.to_owned(),
        taints: words.next().unwrap_or_default().to_owned(),
        mono_us,
        // The kernel learns a task's name for the trace a little after its first event.
        comm: if comm == "<...>" { format!("process {pid}") } else { comm.to_owned() },
        pid,
    };
    Some(if event.contains("load") { What::ModuleLoad(module) } else { What::ModuleFree(module) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_load_is_read_with_its_task_and_time() {
        let what = parse_trace("        modprobe-812     [001] ...1.    14.020304: module_load: day1_nic OE");
        let expected = ModuleEvent {
            module: "day1_nic".into(),
            taints: "OE".into(),
            mono_us: 14_020_304,
            comm: "modprobe".into(),
            pid: 812,
        };
        assert_eq!(what, Some(What::ModuleLoad(expected)));
    }

    #[test]
    fn a_task_name_may_hold_dashes_and_brackets() {
        let what = parse_trace("  (udev-worker)-301     [000] .....     7.000001: module_load: e1000 ");
        assert!(matches!(what, Some(What::ModuleLoad(m)) if m.comm == "(udev-worker)" && m.taints.is_empty()));
        let what = parse_trace("           rmmod-901     [000] .....     9.5: module_free: e1000");
        assert!(matches!(what, Some(What::ModuleFree(m)) if m.module == "e1000"));
    }

    #[test]
    fn a_task_whose_name_the_kernel_has_not_learnt_is_told_by_its_number() {
        let what = parse_trace("           <...>-469     [001] .....    81.126603: module_load: day1_nic OE");
        assert!(matches!(what, Some(What::ModuleLoad(m)) if m.comm == "process 469" && m.pid == 469));
    }

    #[test]
    fn a_line_cut_short_is_not_an_event() {
        assert_eq!(parse_trace("        modprobe-812     [001] ...1.    14.0203"), None);
        assert!(parse_record("{\"MESSAGE\":\"cut sh").is_none());
    }

    #[test]
    fn a_record_is_the_same_after_it_was_copied_to_disk() {
        let of = |cursor: &str| {
            let fields = [("__CURSOR".to_owned(), cursor.to_owned())].into();
            identity(&JournalRecord { initramfs: false, fields })
        };
        assert_eq!(of("s=aa;i=1;b=bb;m=5;t=6;x=7"), of("s=cc;i=32b;b=bb;m=5;t=6;x=7"));
        assert_ne!(of("s=aa;i=1;b=bb;m=5;t=6;x=7"), of("s=aa;i=2;b=bb;m=5;t=6;x=8"));
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_line_that_was_begun_before_the_fork_is_ended_after_it() {
        let said = Said::from(b"one\ntwo\nth".to_vec());
        assert_eq!((said.lines.as_slice(), said.rest.as_slice()), (b"one\ntwo\n".as_slice(), b"th".as_slice()));
        let said = Said::from(b"th".to_vec());
        assert!(said.lines.is_empty() && said.rest == b"th");
    }

    #[test]
    fn a_value_that_is_bytes_becomes_text() {
        let record = parse_record(r#"{"MESSAGE":[104,105,255],"__SEQNUM":"7","_PID":"1"}"#).expect("a record");
        assert_eq!(record.message(), "hi\u{fffd}");
        assert_eq!(record.seqnum(), Some(7));
    }
}
