//! Words for a person's eyes.

use std::io;

/// `1 module`, `2 modules`.
pub(crate) fn number(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What became of something that was written: that a pipe is closed early, as `| head` does, is its reader's choice and no error.
pub fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Text from a file that nobody trusts, without what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { '\u{fffd}' } else { c }).collect()
}

/// The same of a text of several lines.
pub fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// All that an error says: of `reqwest`, the last of its causes tells what happened, the first only at what.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        next = cause.source();
    }
    text
}

/// A path as a URI, or as a reference below the current directory: readers of SARIF resolve that against the
/// top of the repository, and take a path that begins with `/` for one in it.
pub(crate) fn uri(file: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    let scheme = if file.starts_with('/') { "file://" } else { "" };
    let file = file.strip_prefix("./").unwrap_or(file);
    format!("{scheme}{}", percent_encoding::utf8_percent_encode(file, &KEPT))
}

/// Control characters, and those that turn the direction of what follows.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural_and_a_terminal_is_told_nothing() {
        assert_eq!([0, 1, 2].map(|count| number(count, "error")), ["0 errors", "1 error", "2 errors"]);
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
        assert_eq!(printable_lines("a\u{1b}\nb"), "a\u{fffd}\nb");
    }

    #[test]
    fn an_error_is_told_with_its_causes_each_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Told(&'static str, #[source] Option<Box<Told>>);
        let cause = |text, of| Some(Box::new(Told(text, of)));
        let error = Told("reading http://a", cause("reading http://a", cause("refused", cause("os error 111", None))));
        assert_eq!(with_causes(&error), "reading http://a: refused: os error 111");
    }

    #[test]
    fn a_path_becomes_an_address() {
        for (path, address) in [
            ("99-worker.yaml", "99-worker.yaml"),
            ("./config/99 worker.yaml", "config/99%20worker.yaml"),
            ("../99-worker.yaml", "../99-worker.yaml"),
            ("/etc/99-worker.yaml", "file:///etc/99-worker.yaml"),
        ] {
            assert_eq!(uri(path), address);
        }
    }
}
