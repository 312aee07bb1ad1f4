//! Words for standard output. That a pipe is closed early, as `| head` does, is its reader's choice and no error; a disk that is
//! full is one, and ends with 3.

use std::fmt::{Arguments, Display};
use std::io::{Result, Write, stdout};
use std::process::ExitCode;

use day1_harness::text::unless_closed;

/// The standard library's, but in peace with a reader who has gone: a verdict is not lost for a word on standard error.
macro_rules! eprintln {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

/// Prints a text; gives `code` where nothing is lost that somebody reads.
pub fn print(text: &str, code: ExitCode) -> ExitCode {
    to(&mut stdout().lock(), text, code)
}

/// Prints a text with its colours where they are wanted.
pub fn painted(text: &str, code: ExitCode) -> ExitCode {
    to(&mut anstream::stdout().lock(), text, code)
}

fn to(out: &mut impl Write, text: &str, code: ExitCode) -> ExitCode {
    if is_lost(out.write_all(text.as_bytes()).and_then(|()| out.flush())) { ExitCode::from(3) } else { code }
}

/// Prints a report, where it could be made.
pub fn report(made: std::result::Result<String, impl Display>, code: ExitCode) -> ExitCode {
    match made {
        Ok(text) => print(&text, code),
        Err(error) => {
            eprintln!("error: cannot write the report: {error}");
            ExitCode::from(3)
        }
    }
}

/// Whether something that was said is lost, which is told.
fn is_lost(written: Result<()>) -> bool {
    unless_closed(written).inspect_err(|error| eprintln!("error: cannot write to standard output: {error}")).is_err()
}

/// Prints a line while there is more to do.
macro_rules! say {
    ($($part:tt)*) => { $crate::out::line(format_args!($($part)*)) };
}

pub fn line(words: Arguments<'_>) {
    if is_lost(writeln!(stdout(), "{words}")) {
        std::process::exit(3);
    }
}
