//! The serial console: every byte to `console.log`, every line to the bus.

use std::ops::Range;
use std::path::Path;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::timeline::{Bus, Console, Stream, StreamEnded, What};

/// Longer lines are cut into several, so that a guest that never ends a line can't fill the memory.
const LONGEST_LINE: usize = 64 * 1024;

/// Reads the console until it closes; the log grows at its end.
pub(super) async fn read(mut socket: impl AsyncRead + Unpin, bus: Bus, log: Option<std::path::PathBuf>) {
    let mut log = match log {
        Some(path) => open_log(&path, &bus).await,
        None => None,
    };
    let mut buffer = vec![0; 16 * 1024];
    let mut line = Vec::new();
    while let Ok(length @ 1..) = socket.read(&mut buffer).await {
        let bytes = &buffer[..length];
        if let Some(file) = &mut log
            && let Err(error) = file.write_all(bytes).await
        {
            lost(&bus, &format!("console.log can't be written: {error}"));
            log = None;
        }
        for &byte in bytes {
            if byte != b'\n' && line.len() < LONGEST_LINE {
                line.push(byte);
                continue;
            }
            push_line(&bus, &mut line);
        }
    }
    push_line(&bus, &mut line);
    if let Some(mut file) = log {
        let _ = file.flush().await;
    }
}

async fn open_log(path: &Path, bus: &Bus) -> Option<File> {
    let mut options = File::options();
    let file = options.create(true).append(true).open(path).await;
    file.inspect_err(|error| lost(bus, &format!("{} can't be made: {error}", path.display()))).ok()
}

fn lost(bus: &Bus, reason: &str) {
    bus.push(What::StreamEnded(StreamEnded { stream: Stream::Console, reason: reason.to_owned() }));
}

/// The lines of a log, as [`read`] takes them.
pub(crate) fn lines(log: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = log.get(start..).filter(|rest| !rest.is_empty())?;
        let longest = rest.len().min(LONGEST_LINE);
        let length = match rest[..longest].iter().position(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            // With the byte that was one too many.
            None => rest.len().min(LONGEST_LINE + 1),
        };
        let line = start..start + length;
        start = line.end;
        Some(line)
    })
}

/// What the timeline has of a line; nothing for one without text.
pub(crate) fn text(line: &[u8]) -> String {
    plain(&String::from_utf8_lossy(line))
}

fn push_line(bus: &Bus, line: &mut Vec<u8>) {
    let text = text(line);
    line.clear();
    if !text.is_empty() {
        bus.push(What::Console(Console { line: text }));
    }
}

/// A line without control characters and ANSI escape sequences.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' if characters.peek() == Some(&'[') => {
                characters.next();
                // Parameters, then one final byte between @ and ~ (ECMA-48, 5.4).
                for c in characters.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
            '\u{1b}' => {
                characters.next();
            }
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn escape_sequences_leave_only_text() {
        assert_eq!(plain("\u{1b}[0;1;32m  OK  \u{1b}[0m] Started\u{1b}c x\r"), "  OK  ] Started x");
    }
}
