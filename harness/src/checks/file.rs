//! `file.state`: a file of the settled node.

use crate::scenario::FileState;
use crate::timeline::{FileSeen, What};

use super::boot::Boot;
use super::{Evidence, Finding};

const CHECK: &str = "file.state";

pub(super) fn state(boot: &Boot<'_>, expected: &FileState) -> Finding {
    let path = expected.path.as_str();
    let seen = boot.events.iter().rev().find_map(|event| match &event.what {
        What::File(file) if file.path == path => Some((*event, file)),
        _ => None,
    });
    let Some((event, file)) = seen else {
        return Finding::inconclusive(CHECK, boot.number, format!("nobody looked at {path} in this boot"));
    };
    let here = Evidence::new(event, describe(file));
    let wrong = match (file.exists, expected.exists) {
        (true, false) => Some(format!("{path} is there, and must not be")),
        (false, true) => Some(format!("{path} is not there")),
        (false, false) => None,
        (true, true) => differs(file, expected),
    };
    match wrong {
        Some(message) => Finding::fail(CHECK, boot.number, message).seen([here]),
        None => {
            let what = if file.exists { "is as expected" } else { "is not there, as expected" };
            Finding::pass(CHECK, boot.number, format!("{path} {what}")).seen([here])
        }
    }
}

fn differs(file: &FileSeen, expected: &FileState) -> Option<String> {
    let path = &file.path;
    if let Some(mode) = expected.mode.map(|mode| mode.bits()).filter(|mode| file.mode != Some(*mode)) {
        return Some(format!("{path} has mode {:04o}, expected: {mode:04o}", file.mode.unwrap_or_default()));
    }
    let pattern = expected.matches.as_ref().filter(|pattern| !pattern.regex().is_match(file.text.trim_end()))?;
    Some(format!("the text of {path} does not match `{pattern}`"))
}

fn describe(file: &FileSeen) -> String {
    let mode = file.mode.map(|mode| format!("mode {mode:04o}, ")).unwrap_or_default();
    match file.text.lines().next() {
        _ if !file.exists => "no such file".to_owned(),
        Some(line) => format!("{mode}begins with: {line}"),
        None => format!("{mode}without text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{Node, boot_of, expect};

    fn judged(file: Option<FileSeen>, expected: &str) -> Finding {
        let mut node = Node::pulled_and_loaded();
        if let Some(file) = file {
            node.boot(2).push(What::File(file));
        }
        let timeline = node.timeline();
        state(&boot_of(&timeline, 2), &expect(expected))
    }

    fn file() -> FileSeen {
        FileSeen { path: "/etc/x".into(), exists: true, mode: Some(0o644), text: "one\ntwo\n".into() }
    }

    #[test]
    fn a_file_is_held_against_all_that_is_said_of_it() {
        let good = "{path: /etc/x, mode: '0644', matches: two}";
        assert_eq!(judged(Some(file()), good).outcome, Outcome::Pass);
        assert_eq!(judged(Some(FileSeen { mode: Some(0o777), ..file() }), good).outcome, Outcome::Fail);
        assert_eq!(judged(Some(FileSeen { text: "one".into(), ..file() }), good).outcome, Outcome::Fail);
        let gone = FileSeen { path: "/etc/x".into(), ..FileSeen::default() };
        assert_eq!(judged(Some(gone.clone()), good).outcome, Outcome::Fail);
        let absent = "{path: /etc/x, exists: false}";
        assert_eq!(judged(Some(gone), absent).outcome, Outcome::Pass);
        assert_eq!(judged(Some(file()), absent).outcome, Outcome::Fail);
    }

    #[test]
    fn a_file_that_nobody_looked_at_proves_nothing() {
        assert_eq!(judged(None, "{path: /etc/x}").outcome, Outcome::Inconclusive);
        assert_eq!(judged(None, "{path: /etc/x, exists: false}").outcome, Outcome::Inconclusive);
    }
}
