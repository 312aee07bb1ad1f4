//! A shell script as the list of the commands that it calls, each with what becomes of its exit status.

mod call;
mod lost;
mod walk;
mod word;

use std::collections::BTreeSet;

use brush_parser::{ParseError, Parser, ParserOptions};

pub(super) use call::{Call, Redirect, Status};
pub(super) use word::plain;

use super::source::Text;

/// A script that was read.
#[derive(Debug)]
pub(super) struct Script {
    /// Its path on the node; empty for one that stands in a unit.
    pub(super) path: String,
    pub(super) text: Text,
    pub(super) calls: Vec<Call>,
    pub(super) assigned: Vec<Assigned>,
    pub(super) used: Vec<Used>,
    pub(super) functions: BTreeSet<String>,
    pub(super) inlines: Vec<Inline>,
    pub(super) errexit: bool,
    pub(super) pipefail: bool,
    /// Whether it has a `wait`.
    waits: bool,
    /// Whether it reads or makes up more script (`source`, `eval`).
    pub(super) open: bool,
    /// Why it could not be read, with its line and column.
    pub(super) unread: Option<(usize, usize, String)>,
}

/// A variable that is set.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) name: String,
    /// The value without its quotes; none where it is not a text.
    pub(super) value: Option<String>,
    pub(super) append: bool,
}

/// A variable that is used, and nothing stands in for it if it is not set.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) has_default: bool,
}

/// A script within an argument: `sh -c '…'`.
#[derive(Debug)]
pub(super) struct Inline {
    pub(super) text: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Script {
    /// Reads a script.
    pub(super) fn read(path: &str, text: &Text) -> Self {
        let mut script = Self {
            path: path.to_owned(),
            text: text.clone(),
            calls: vec![],
            assigned: vec![],
            used: vec![],
            functions: BTreeSet::new(),
            inlines: vec![],
            errexit: false,
            pipefail: false,
            // By text: one in a comment is one finding too few rather than one too many.
            waits: text.text.contains("wait"),
            open: false,
            unread: None,
        };
        let first = text.text.lines().next().unwrap_or_default();
        if let Some(shebang) = first.strip_prefix("#!") {
            script.errexit = shebang.split_whitespace().skip(1).any(|word| word.starts_with('-') && word.contains('e'));
        }
        match parse(&text.text) {
            Ok(program) => walk::walk(&mut script, &program),
            Err(error) => script.unread = Some(place_of(&error, &text.text)),
        }
        script
    }

    /// A single command, as a unit's Exec line has it.
    pub(super) fn of_command(text: &Text, line: usize, column: usize, words: &[String], ignored: bool) -> Self {
        let mut script = Self::read("", &text.part("", line, column));
        let status = if ignored { Status::Ignored } else { Status::Used };
        script.calls.push(Call { words: words.to_vec(), status, ..Call::at(1, 1) });
        script
    }

    pub(super) fn place(&self, call: &Call) -> super::report::Place {
        self.text.place(call.line, call.column)
    }
}

/// Whether a text is a shell script.
pub(super) fn is_shell(path: &str, text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let Some(shebang) = first.strip_prefix("#!") else {
        return path.ends_with(".sh") || first.starts_with("# shellcheck shell=");
    };
    let words = || shebang.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or_default());
    let program = words().find(|word| *word != "env" && !word.starts_with('-')).unwrap_or_default();
    ["sh", "bash", "dash", "ksh"].contains(&program)
}

/// Nothing that runs on a node is longer; the parser's time grows with it.
const LONGEST: usize = 256 << 10;
/// Commands and brackets within each other; each costs the parser some of its stack.
pub(super) const DEEPEST: usize = 500;

fn parse(text: &str) -> Result<brush_parser::ast::Program, ParseError> {
    if text.len() > LONGEST || nesting(text) > DEEPEST {
        return Err(ParseError::ParsingAtEndOfInput);
    }
    Parser::new(text.as_bytes(), &ParserOptions::default()).parse_program()
}

/// An upper bound of how deep commands and brackets stand within each other, those in strings included.
fn nesting(text: &str) -> usize {
    // Apart, because each pattern of a `case` closes a bracket that none has opened.
    let (mut commands, mut brackets, mut deepest) = (0_usize, 0_usize, 0_usize);
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut bangs = 0;
        for word in line.split(|c: char| c.is_whitespace() || c == ';') {
            match word {
                "if" | "while" | "until" | "for" | "case" | "select" => commands += 1,
                "fi" | "done" | "esac" => commands = commands.saturating_sub(1),
                "!" => bangs += 1,
                _ => {}
            }
            for c in word.chars() {
                match c {
                    '(' | '{' => brackets += 1,
                    ')' | '}' => brackets = brackets.saturating_sub(1),
                    _ => {}
                }
                deepest = deepest.max(commands + brackets + bangs);
            }
        }
    }
    deepest
}

fn place_of(error: &ParseError, text: &str) -> (usize, usize, String) {
    let end = (text.lines().count().max(1), 1);
    match error {
        ParseError::ParsingNear(at) => (at.line, at.column, "bash would not expect this here".to_owned()),
        ParseError::ParsingAtEndOfInput => (end.0, end.1, "it ends too early, or is too large to look into".to_owned()),
        ParseError::Tokenizing { inner, position } => {
            let (line, column) = position.as_ref().map_or(end, |at| (at.line, at.column));
            (line, column, inner.to_string())
        }
    }
}
