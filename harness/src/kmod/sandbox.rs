//! Running programs so that neither a process nor a mount of theirs outlives the harness.
//!
//! `unshare` gives them mount and process namespaces of their own, and `--kill-child` ends the namespace's first
//! process, hence all of it, when `unshare` dies; `unshare` dies with the thread that started it.

use std::io::{BufRead, BufReader, PipeReader};
use std::path::Path;
use std::process::Command;

use crate::process::{self, die_with_parent};

const ENTER: &str = include_str!("enter.sh");
/// Lines of output that an error keeps.
const KEPT_LINES: usize = 30;
const NO_NAMESPACES: &str = "This host does not let its ordinary users make namespaces: run as root, or allow it by \
    `sysctl kernel.unprivileged_userns_clone=1` (Debian) or `sysctl kernel.apparmor_restrict_unprivileged_userns=0` \
    (Ubuntu); in a container, give it CAP_SYS_ADMIN";

/// A command that runs the words added to it in namespaces of its own, as the user that runs the harness.
pub(super) fn isolated() -> Command {
    let mut command = unshare(&["--user", "--map-current-user"]);
    command.arg("--mount-proc").arg("--");
    command
}

/// A command that runs the words added to it inside `root`, with the directory `work` at `/build`, as what looks
/// like root from inside.
pub(super) fn inside(root: &Path, work: &Path) -> Command {
    let mut command = unshare(&["--user", "--map-root-user"]);
    command.args(["--", "sh", "-c", ENTER, "enter.sh"]).arg(root).arg(work);
    command
}

fn unshare(as_ordinary_user: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(as_ordinary_user);
    }
    command.args(["--mount", "--pid", "--fork", "--kill-child"]);
    command
}

/// Tells whether the host has a program, before a namespace hides why it did not start.
pub(super) fn require(program: &str) -> Result<(), process::Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
        return Ok(());
    }
    Err(process::Error::Start { program: program.to_owned(), source: std::io::ErrorKind::NotFound.into() })
}

/// Runs a command to its end, gives each line of its output to `line`, and keeps the last ones for the error.
pub(super) fn run(mut command: Command, line: &mut dyn FnMut(&str)) -> Result<(), process::Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let shown = shown(&command);
    let start = |source| process::Error::Start { program: program.clone(), source };
    let (reader, writer) = std::io::pipe().map_err(start)?;
    command.stdin(std::process::Stdio::null()).stdout(writer.try_clone().map_err(start)?).stderr(writer);
    let mut child = die_with_parent(&mut command).spawn().map_err(start)?;
    // The command holds the pipe's writing end, and the output ends only when nobody holds it.
    drop(command);
    let mut output = read_lines(reader, line);
    let status = child.wait().map_err(start)?;
    if status.success() {
        return Ok(());
    }
    if output.contains("unshare: unshare failed") || output.contains("unshare: write failed") {
        output.push_str(NO_NAMESPACES);
    }
    Err(process::Error::Failed { command: shown, status, output: process::tail(&output, KEPT_LINES) })
}

fn read_lines(reader: PipeReader, line: &mut dyn FnMut(&str)) -> String {
    let mut output = String::new();
    for bytes in BufReader::new(reader).split(b'\n') {
        // A read error ends the output as its end does; the exit status tells the rest.
        let Ok(bytes) = bytes else { break };
        let text = String::from_utf8_lossy(&bytes);
        line(text.trim_end());
        output.push_str(text.trim_end());
        output.push('\n');
    }
    output
}

/// The command line as far as it helps: what runs in the namespaces, without long options and scripts, which would
/// bury the error.
fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let begin = words.iter().position(|word| *word == "--").map_or(0, |index| index + 1);
    let short = words[begin..].iter().map(|word| word.to_string_lossy()).filter(|word| !word.starts_with("--"));
    short.map(|word| if word.contains('\n') { "(script)".into() } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_told_line_by_line_and_kept_for_the_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let mut lines = Vec::new();
        let error = run(command, &mut |line| lines.push(line.to_owned())).expect_err("exit 3");
        lines.sort();
        assert_eq!(lines, ["one", "two"]);
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("one") && text.contains("two"), "{text}");
    }

    #[test]
    fn nothing_outlives_the_thread_that_started_it() {
        let mut probe = isolated();
        if !probe.arg("true").status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: this host allows no namespaces");
            return;
        }
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let starter = std::thread::spawn(move || {
            let mut command = isolated();
            // A grandchild that ignores the end of its own parent, and holds the pipe as long as it lives.
            command.args(["sh", "-c", "setsid sleep 1000 & echo started; wait"]).stdout(writer);
            let child = die_with_parent(&mut command).spawn().expect("started");
            drop(command);
            let mut reader = BufReader::new(reader);
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            assert_eq!(line, "started\n");
            (reader, child)
        });
        let (mut reader, mut child) = starter.join().expect("the thread ended");
        let mut rest = String::new();
        assert_eq!(std::io::Read::read_to_string(&mut reader, &mut rest).expect("the end"), 0);
        assert!(!child.wait().expect("ended").success());
    }

    #[test]
    fn a_missing_program_is_told_by_its_name() {
        assert!(require("sh").is_ok());
        let text = require("no-such-program-at-all").expect_err("missing").to_string();
        assert!(text.contains("cannot start no-such-program-at-all"), "{text}");
    }

    #[test]
    fn forbidden_namespaces_come_with_advice() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo unshare: unshare failed: Operation not permitted; exit 1"]);
        let text = run(command, &mut |_| ()).expect_err("exit 1").to_string();
        assert!(text.contains("unprivileged_userns_clone"), "{text}");
    }

    #[test]
    fn an_error_shows_what_ran_and_not_how() {
        let mut command = Command::new("env");
        command.args(["--", "sh", "-c", "false\nexit 1", "name", "--option=long", "word"]);
        let text = run(command, &mut |_| ()).expect_err("exit 1").to_string();
        assert!(text.starts_with("sh -c (script) name word failed"), "{text}");
    }
}
