//! Words for standard output. That a pipe is closed early, as `| head` does, is its reader's choice and no error; a disk that is
//! full is one, and ends with 3.

use std::fmt::Arguments;
use std::io::{ErrorKind, Result, Write, stdout};
use std::process::ExitCode;

/// Prints a text; gives `code` where nothing is lost that somebody reads.
pub fn print(text: &str, code: ExitCode) -> ExitCode {
    to(&mut stdout().lock(), text, code)
}

/// Prints a text with its colours where they are wanted.
pub fn painted(text: &str, code: ExitCode) -> ExitCode {
    to(&mut anstream::stdout().lock(), text, code)
}

fn to(out: &mut impl Write, text: &str, code: ExitCode) -> ExitCode {
    written("standard output", out.write_all(text.as_bytes()).and_then(|()| out.flush()), code)
}

/// What became of something that was written: `code`, or the error told.
pub fn written(to: &str, result: Result<()>, code: ExitCode) -> ExitCode {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write to {to}: {error}");
            ExitCode::from(3)
        }
        _ => code,
    }
}

/// The standard library's, but in peace with a reader who has gone: a verdict is not lost for a word on standard error.
macro_rules! eprintln {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

/// Prints a line while there is more to do.
macro_rules! say {
    ($($part:tt)*) => { $crate::out::line(format_args!($($part)*)) };
}

pub fn line(words: Arguments<'_>) {
    match writeln!(stdout(), "{words}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write to standard output: {error}");
            std::process::exit(3);
        }
        _ => {}
    }
}
