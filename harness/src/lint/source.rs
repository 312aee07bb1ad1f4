//! A file as it was given, and what of it is worth looking at.

use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;

use super::report::{Findings, Inside, Place};
use super::rules::{NOTHING_TO_CHECK, SYNTAX};
use crate::input;
use crate::mco::yaml;
use crate::scenario::{Document, Node, Path};

/// A file to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What findings call it.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// A file that can't be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no text.
    #[error("{name} is no text: byte {byte} is not UTF-8; a MachineConfig is YAML or JSON")]
    NotText {
        /// The file.
        name: String,
        /// The first byte that is wrong, from 0.
        byte: usize,
    },
}

impl Source {
    /// The text behind a byte order mark.
    pub(super) fn text(&self) -> &str {
        self.text.trim_start_matches('\u{feff}')
    }

    /// Reads a file; `-` is standard input.
    pub fn read(path: &FsPath) -> Result<Self, Error> {
        let stdin = path == FsPath::new("-");
        let name = if stdin { "<stdin>".to_owned() } else { path.display().to_string() };
        // Not only of regular files: `<(command)` is a pipe.
        let read = if stdin {
            input::bounded(std::io::stdin(), input::TEXT)
        } else {
            std::fs::File::open(path).and_then(|file| input::bounded(file, input::TEXT))
        };
        let bytes = read.map_err(|source| Error::Read { name: name.clone(), source })?;
        let text = String::from_utf8(bytes)
            .map_err(|error| Error::NotText { name: name.clone(), byte: error.utf8_error().valid_up_to() })?;
        Ok(Self { name, text })
    }
}

/// Where the lines of a file begin.
#[derive(Debug)]
pub(super) struct Lines {
    file: String,
    text: Arc<str>,
    starts: Vec<usize>,
}

impl Lines {
    fn new(file: &str, text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: file.into(), text: text.into(), starts }
    }

    pub(super) fn place(&self, byte: usize) -> Place {
        let line = self.line_of(byte);
        let before = self.text.get(self.starts[line]..byte).unwrap_or_default();
        Place { file: self.file.clone(), line: line + 1, column: before.chars().count() + 1, inside: None }
    }

    pub(super) fn span(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The line that a byte stands in, from 0.
    fn line_of(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte).max(1) - 1
    }

    /// A line, from 0, without its end.
    fn line(&self, index: usize) -> Option<&str> {
        let start = *self.starts.get(index)?;
        self.text.get(start..)?.lines().next().or(Some(""))
    }
}

/// A MachineConfig or Ignition config in a file: the tree of the whole document, and the way to it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) document: Document,
    pub(super) lines: Arc<Lines>,
    /// To the MachineConfig or Ignition config.
    pub(super) at: Path,
    pub(super) machine_config: bool,
}

impl Found {
    /// Where a path of the document leads to.
    pub(super) fn place(&self, path: &Path) -> Place {
        self.lines.place(self.document.span(path).start)
    }

    /// The value at the end of a path.
    pub(super) fn node(&self, path: &Path) -> Option<&Node> {
        self.document.node(path)
    }
}

/// The configs of a file. `pure` tells whether it has nothing else.
pub(super) fn find(source: &Source, findings: &mut Findings) -> (Vec<Found>, bool) {
    let documents = match yaml::documents(&source.name, source.text()) {
        Ok(documents) => documents,
        Err(unread) => {
            for one in unread {
                let place = Place { file: source.name.clone(), line: one.line, column: one.column, inside: None };
                findings.add_with_help(
                    &SYNTAX,
                    &place,
                    one.message,
                    one.help.unwrap_or_else(|| SYNTAX.help.to_owned()),
                );
            }
            return (vec![], false);
        }
    };
    let text = documents.first().map_or(source.text(), |document| &document.text);
    let lines = Arc::new(Lines::new(&source.name, text));
    let start = lines.place(0);
    let mut found = Vec::new();
    let mut others = Vec::new();
    for document in documents {
        for at in yaml::objects(&document) {
            let Some(node) = document.node(&at) else { continue };
            let machine_config = kind(node) == Some("MachineConfig");
            if machine_config || (kind(node).is_none() && node.get("ignition").is_some()) {
                let lines = Arc::clone(&lines);
                found.push(Found { document: document.clone(), lines, at, machine_config });
            } else {
                others.push(other(node));
            }
        }
    }
    if found.is_empty() {
        let holds = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
        findings.add(&NOTHING_TO_CHECK, &start, format!("no MachineConfig is in this file; it holds {holds}"));
    }
    (found, others.is_empty())
}

fn kind(node: &Node) -> Option<&str> {
    node.get("kind").and_then(Node::text)
}

fn other(node: &Node) -> String {
    match kind(node) {
        Some(kind) => format!("a {kind}"),
        None if node.get("variant").is_some() => "a Butane config, which is to be converted first".to_owned(),
        None if node.is_null() => "nothing".to_owned(),
        None => "something else".to_owned(),
    }
}

/// A text of a config, and where its lines stand in the file.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) text: Arc<str>,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Origin {
    /// It stands in the file: the byte where each of its lines begins.
    Lines { lines: Arc<Lines>, starts: Vec<usize> },
    /// It is encoded in a value.
    Encoded { value: Place, path: String },
    /// It is a part of another text, from this line and column on.
    Part { whole: Box<Text>, line: usize, column: usize },
}

impl Text {
    /// The text of a scalar.
    pub(super) fn of_scalar(found: &Found, path: &Path) -> Option<Self> {
        let node = found.node(path)?;
        let text = node.text()?;
        let starts = line_starts(&found.lines, &node.span, text);
        Some(Self { text: text.into(), origin: Origin::Lines { lines: Arc::clone(&found.lines), starts } })
    }

    /// What a value encodes; `path` is that of the file on the node.
    pub(super) fn encoded(text: &str, value: Place, path: &str) -> Self {
        Self { text: text.into(), origin: Origin::Encoded { value, path: path.into() } }
    }

    /// A part of this text that is a text of its own, such as the script behind `sh -c`.
    pub(super) fn part(&self, text: &str, line: usize, column: usize) -> Self {
        Self { text: text.into(), origin: Origin::Part { whole: Box::new(self.clone()), line, column } }
    }

    /// Where a line and column of it, from 1, stand.
    pub(super) fn place(&self, line: usize, column: usize) -> Place {
        match &self.origin {
            Origin::Lines { lines, starts } => {
                let last = starts.last().copied().unwrap_or_default();
                let mut place = lines.place(starts.get(line - 1).copied().unwrap_or(last));
                place.column += column - 1;
                place
            }
            Origin::Encoded { value, path } => {
                Place { inside: Some(Inside { path: path.clone(), line, column }), ..value.clone() }
            }
            Origin::Part { whole, line: from, column: indented } => {
                whole.place(from + line - 1, if line == 1 { indented + column - 1 } else { column })
            }
        }
    }
}

/// Where the lines of a scalar begin in the file.
fn line_starts(lines: &Lines, span: &Range<usize>, text: &str) -> Vec<usize> {
    if lines.span(span).starts_with('"') {
        return quoted_starts(lines, span);
    }
    block_starts(lines, span, text).unwrap_or_else(|| found_starts(lines, span, text))
}

/// Of a block scalar: each line is one line of the file, less the indentation. The parser's span begins with its first
/// line that is not empty, or with the anchor in front of it.
fn block_starts(lines: &Lines, span: &Range<usize>, text: &str) -> Option<Vec<usize>> {
    let is_blank = |line: &&str| line.trim().is_empty();
    let mut content = lines.line_of(span.start);
    if lines.span(span).starts_with('&') {
        content += 1;
        while is_blank(&lines.line(content)?) {
            content += 1;
        }
    }
    let first = content.checked_sub(text.lines().take_while(is_blank).count())?;
    let decoded = text.lines().find(|line| !is_blank(line))?;
    let indentation = lines.line(content)?.len().checked_sub(decoded.len())?;
    let start = |(index, decoded): (usize, &str)| {
        let line = lines.line(first + index)?;
        let own = line.get(indentation..).unwrap_or_default();
        let same = own == decoded && line[..line.len() - own.len()].trim().is_empty();
        same.then(|| lines.starts[first + index] + line.len() - own.len())
    };
    text.lines().enumerate().map(start).collect()
}

/// Of a double-quoted scalar: lines end by `\n`; line breaks of the file are folded, and empty lines are line feeds.
fn quoted_starts(lines: &Lines, span: &Range<usize>) -> Vec<usize> {
    let mut starts = vec![span.start + 1];
    let mut chars = lines.span(span).char_indices().skip(1).peekable();
    while let Some((_, c)) = chars.next() {
        match c {
            '\\' => {
                if let Some((at, 'n')) = chars.next() {
                    starts.push(span.start + at + 1);
                }
            }
            '\n' => {
                while let Some((at, blank)) = chars.next_if(|(_, c)| c.is_whitespace()) {
                    if blank == '\n' {
                        starts.push(span.start + at + 1);
                    }
                }
            }
            _ => {}
        }
    }
    starts
}

/// Of any other: where the file has what the line begins with.
fn found_starts(lines: &Lines, span: &Range<usize>, text: &str) -> Vec<usize> {
    let mut at = span.start;
    let mut starts = Vec::new();
    for line in text.split('\n') {
        let head: String = line.chars().take(12).collect();
        at += lines.span(&(at..span.end)).find(&head).unwrap_or_default();
        starts.push(at);
        at += head.len();
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(yaml: &str) -> Vec<(usize, usize)> {
        let source = Source { name: "f".into(), text: yaml.into() };
        let mut findings = Findings::default();
        let (found, _) = find(&source, &mut findings);
        let text = Text::of_scalar(&found[0], &Path::default().key("ignition")).expect("a text");
        let place = |line: usize| text.place(line, 1);
        (1..=text.text.lines().count()).map(|line| (place(line).line, place(line).column)).collect()
    }

    #[test]
    fn lines_of_each_kind_of_scalar_keep_their_places() {
        assert_eq!(places("ignition: |\n  a\n\n    b\n  c\n"), [(2, 3), (3, 1), (4, 3), (5, 3)]);
        assert_eq!(places("ignition: |-\n  a\n  b"), [(2, 3), (3, 3)]);
        assert_eq!(places("ignition: &x |- # c\n\n  a\n  b"), [(2, 1), (3, 3), (4, 3)]);
        assert_eq!(places("ignition: >\n  a\n\n  b\n"), [(2, 3), (4, 3)]);
        assert_eq!(places("x: 1\nignition: |2\n    a\n  b\n"), [(3, 3), (4, 3)]);
        assert_eq!(places("ignition: \"a\\nb\\n\\nc\""), [(1, 12), (1, 15), (1, 18), (1, 20)]);
        assert_eq!(places("ignition: \"a\n\n  b\""), [(1, 12), (3, 1)]);
        assert_eq!(places("ignition: 'one\n\n  two'"), [(1, 12), (3, 3)]);
        assert_eq!(places("{\n\t\"ignition\":\t\"a\\nb\"\n}"), [(2, 15), (2, 18)]);
    }

    #[test]
    fn what_is_no_machine_config_is_told() {
        for (text, says) in [
            ("", "it holds nothing"),
            ("kind: Deployment\n", "a Deployment"),
            ("variant: openshift\n", "a Butane config"),
            ("apiVersion: v1\nkind: List\nitems: []\n", "it holds nothing"),
        ] {
            let mut findings = Findings::default();
            let (found, _) = find(&Source { name: "f".into(), text: text.into() }, &mut findings);
            assert!(found.is_empty());
            let findings = findings.into_sorted(&["f".into()]);
            assert!(findings[0].message.contains(says), "{text:?}: {}", findings[0].message);
        }
    }
}
