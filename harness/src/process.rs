//! Starting host programs so that they can't outlive the harness, and telling what they said when they fail.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;

/// Makes a command's process die with the *thread* that starts it (`PR_SET_PDEATHSIG`), also when that
/// thread's process is killed with SIGKILL. Start it from a thread that lives as long as it should.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = nix::unistd::getpid();
    let guard = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the request took effect.
        if nix::unistd::getppid() == parent { Ok(()) } else { Err(io::Error::from(nix::errno::Errno::ESRCH)) }
    };
    #[expect(unsafe_code, reason = "prctl and getppid are async-signal-safe, and the closure touches nothing else")]
    unsafe {
        command.pre_exec(guard)
    }
}

/// A host program failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("cannot start {program}: {source}{}", missing_hint(program, source))]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended with an error.
    #[error("{command} failed ({status}):\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// Exit status or signal.
        status: std::process::ExitStatus,
        /// The end of what it printed.
        output: String,
    },
}

fn missing_hint(program: &str, source: &io::Error) -> String {
    if source.kind() == io::ErrorKind::NotFound {
        format!("; `day1 doctor` tells which package brings {program}")
    } else {
        String::new()
    }
}

/// Runs a command to its end, bound to this thread's life, and gives its standard output.
pub fn output(command: &mut Command) -> Result<Vec<u8>, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let line = command_line(command);
    let output = die_with_parent(command).output().map_err(|source| Error::Start { program, source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut said = output.stdout;
    said.extend_from_slice(&output.stderr);
    Err(Error::Failed { command: line, status: output.status, output: tail(&String::from_utf8_lossy(&said), 20) })
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A word as the shell takes it for one, whatever is in it.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A word for a command that a person pastes, quoted only where it must be.
pub fn pasted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/@._-+:,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { quoted(word) }
}

/// This program as a person here can call it.
pub fn this_program() -> String {
    let Ok(program) = std::env::current_exe() else { return "day1".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = program.file_name().unwrap_or_default();
    // The first of that name is the one that is called.
    let called = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if called.and_then(|file| file.canonicalize().ok()).is_some_and(|file| file == program) {
        return name.to_string_lossy().into_owned();
    }
    let below = std::env::current_dir().ok().and_then(|here| Some(program.strip_prefix(here).ok()?.to_owned()));
    pasted(&below.unwrap_or(program).display().to_string())
}

/// A command as a person would type it (without quoting).
pub fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_pasted_is_quoted_where_it_must_be() {
        assert_eq!(pasted("target/day1-results/pull/x@debian-13,6.12"), "target/day1-results/pull/x@debian-13,6.12");
        assert_eq!(pasted("my results/x"), "'my results/x'");
        assert_eq!(pasted("it's"), r"'it'\''s'");
        assert_eq!(pasted(""), "''");
    }

    #[test]
    fn this_program_is_called_by_a_path_that_leads_to_it() {
        let called = this_program();
        let here = std::env::current_dir().expect("a directory");
        assert_eq!(here.join(&called), std::env::current_exe().expect("its file"), "{called}");
    }
}
