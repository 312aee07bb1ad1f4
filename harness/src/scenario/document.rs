//! A YAML document as a tree that keeps the place of everything in it.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use sha2::{Digest, Sha256};

use super::{Mistake, Mistakes};

/// A YAML file: its text, and its tree with places.
#[derive(Debug, Clone)]
pub struct Document {
    /// Where it was read from, as messages name it.
    pub path: PathBuf,
    /// The whole text.
    pub text: Arc<str>,
    pub(crate) root: Node,
}

/// A value and the bytes that it stands at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Scalar { text: String, plain: bool },
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub value: Node,
}

impl Node {
    /// The value of a key; nothing if this is no map or has no such key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries of a map; none if it is no map.
    pub fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list; none if it is no list.
    pub fn items(&self) -> &[Self] {
        if let Value::Seq(items) = &self.value { items } else { &[] }
    }

    fn values(&self) -> usize {
        let below = self.items().iter().chain(self.entries().iter().map(|entry| &entry.value));
        1 + below.map(Self::values).sum::<usize>()
    }

    fn step(&self, step: &Step) -> Option<&Self> {
        match (step, &self.value) {
            (Step::Key(key), Value::Map(entries)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value)
            }
            (Step::Index(index), Value::Seq(items)) => items.get(*index),
            _ => None,
        }
    }
}

/// The way from a document's root to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Step>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a map.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

impl Path {
    /// The same path with a key after it.
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The same path with a place in a list after it.
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Whether this path is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if place == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, " → {key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Document {
    /// Lower-case hex sha256 of the whole text.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.text.as_bytes()))
    }

    /// Reads YAML text; `path` is only used in messages. All keys that stand twice are told at once.
    pub fn parse(path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> Result<Self, Mistakes> {
        let (document, mut roots) = Self::read(path.into(), text.into(), false)?;
        match roots.pop() {
            Some(root) => Ok(Self { root, ..document }),
            None => {
                let help = Some("Write a YAML map; an example is in the guide.".to_owned());
                let end = document.text.len();
                Err(Mistakes::new(&document, vec![document.mistake_at(end..end, "the file holds nothing", help)]))
            }
        }
    }

    /// As [`Document::parse`], of a text with any number of documents. Each has the whole text, and places in it.
    pub(crate) fn parse_all(path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> Result<Vec<Self>, Mistakes> {
        let (document, roots) = Self::read(path.into(), text.into(), true)?;
        Ok(roots.into_iter().map(|root| Self { root, ..document.clone() }).collect())
    }

    fn read(path: PathBuf, text: Arc<str>, several: bool) -> Result<(Self, Vec<Node>), Mistakes> {
        let empty = Node { span: 0..0, value: Value::Scalar { text: String::new(), plain: true } };
        let document = Self { path, text, root: empty };
        let lines = line_starts(&document.text);
        let mut builder =
            Builder { document: &document, lines, anchors: HashMap::new(), twice: vec![], depth: 0, values: 0 };
        let roots = builder.read(&document.text, several)?;
        let twice = std::mem::take(&mut builder.twice);
        if twice.is_empty() { Ok((document, roots)) } else { Err(Mistakes::new(&document, twice)) }
    }

    /// A mistake at a place in this document, for checks that only the reader of a value can make.
    pub fn mistake(&self, at: &Path, message: impl Into<String>, help: impl Into<String>) -> Mistake {
        self.mistake_at(self.span(at), message, Some(help.into()))
    }

    pub(super) fn mistake_at(&self, span: Range<usize>, message: impl Into<String>, help: Option<String>) -> Mistake {
        Mistake::new(self, span, message.into(), help)
    }

    /// `file:line:column` of what a path leads to.
    pub fn place(&self, path: &Path) -> String {
        let (line, column) = self.line_column(self.span(path).start);
        format!("{}:{line}:{column}", self.path.display())
    }

    /// The line, from 1, of what a path leads to.
    pub fn line(&self, path: &Path) -> usize {
        self.line_column(self.span(path).start).0
    }

    /// The bytes to point at for a path: a scalar itself; of a list or map its key, or its first line. Steps
    /// that the document does not have are passed over, so that a path into a value with a default points at
    /// what encloses it.
    pub fn span(&self, path: &Path) -> Range<usize> {
        let mut node = &self.root;
        let mut key: Option<&Range<usize>> = None;
        for step in &path.0 {
            match (step, &node.value) {
                (Step::Key(wanted), Value::Map(entries)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *wanted) else { break };
                    (node, key) = (&entry.value, Some(&entry.key_span));
                }
                (Step::Index(wanted), Value::Seq(items)) => {
                    let Some(item) = items.get(*wanted) else { break };
                    (node, key) = (item, None);
                }
                _ => {}
            }
        }
        match (&node.value, key) {
            (Value::Scalar { text, .. }, _) if !text.is_empty() => node.span.clone(),
            (_, Some(key)) => key.clone(),
            _ => self.first_line(&node.span),
        }
    }

    /// The value that a path leads to.
    pub(crate) fn node(&self, path: &Path) -> Option<&Node> {
        path.0.iter().try_fold(&self.root, |node, step| node.step(step))
    }

    /// A part of the document as a document of its own, whose messages keep their places in the file.
    pub(crate) fn part(&self, path: &Path) -> Option<Self> {
        let node = self.node(path)?;
        Some(Self { path: self.path.clone(), text: Arc::clone(&self.text), root: node.clone() })
    }

    /// The bytes of the key at the end of a path, or as [`Document::span`] where it has none.
    pub(crate) fn key_span(&self, path: &Path) -> Range<usize> {
        let above = path.0.split_last().map_or(&[][..], |(_, above)| above);
        let above = above.iter().try_fold(&self.root, |node, step| node.step(step));
        let Some((Step::Key(key), Value::Map(entries))) = path.0.last().zip(above.map(|node| &node.value)) else {
            return self.span(path);
        };
        let entry = entries.iter().find(|entry| entry.key == *key);
        entry.map_or_else(|| self.span(path), |entry| entry.key_span.clone())
    }

    fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let rest = self.text.get(span.clone()).unwrap_or_default();
        let length = rest.lines().next().map_or(0, |line| line.trim_end().len());
        span.start..span.start + length
    }

    /// Line and column, from 1, of a byte; columns count characters.
    pub(super) fn line_column(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// Builds the tree out of the parser's events.
struct Builder<'d> {
    document: &'d Document,
    lines: Vec<usize>,
    anchors: HashMap<usize, Node>,
    twice: Vec<Mistake>,
    depth: usize,
    values: usize,
}

/// Lists and maps within each other; a file that others wrote must not exhaust the stack.
const DEEPEST: usize = 100;
/// Values of a file, those that aliases repeat included; aliases of aliases grow without bound.
const MOST_VALUES: usize = 1_000_000;

type Parse<'i> = Parser<'i, saphyr_parser::StrInput<'i>>;

impl Builder<'_> {
    fn read(&mut self, text: &str, several: bool) -> Result<Vec<Node>, Mistakes> {
        let mut parser = Parser::new_from_str(text);
        let mut roots = Vec::new();
        loop {
            match self.next(&mut parser)? {
                (Event::StreamEnd, _) => return Ok(roots),
                (Event::DocumentStart(_), span) if !roots.is_empty() && !several => {
                    let help = "Put each into a file of its own.";
                    return Err(self.refuse(self.bytes(&span), "a second YAML document begins here", help));
                }
                (
                    event @ (Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_)),
                    span,
                ) => {
                    let root = self.node(&mut parser, event, &span)?;
                    roots.push(root);
                }
                _ => {}
            }
        }
    }

    fn next<'i>(&self, parser: &mut Parse<'i>) -> Result<(Event<'i>, Span), Mistakes> {
        match parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = self.byte(error.marker().line(), error.marker().col());
                Err(self.refuse(
                    at..at,
                    &format!("not YAML: {}", error.info()),
                    "Look at the indentation, quotes and brackets here and just above.",
                ))
            }
            None => Err(self.refuse(0..0, "not YAML: it ends too early", "Is the file cut short?")),
        }
    }

    fn node(&mut self, parser: &mut Parse<'_>, event: Event<'_>, span: &Span) -> Result<Node, Mistakes> {
        let start = self.bytes(span);
        self.values += 1;
        if self.depth > DEEPEST {
            return Err(self.refuse(
                start,
                "lists and maps stand too deep within each other",
                "Is this file generated?",
            ));
        }
        self.depth += 1;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &start)?;
                let value = Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                (Node { span: start, value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &start)?;
                (self.sequence(parser, start)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &start)?;
                (self.mapping(parser, start)?, anchor)
            }
            Event::Alias(anchor) => {
                let Some(known) = self.anchors.get(&anchor) else {
                    return Err(self.refuse(start, "this alias stands inside its own anchor", "Write the value out."));
                };
                self.values += known.values();
                if self.values > MOST_VALUES {
                    return Err(self.refuse(start, "the aliases make too many values", "Write the values out."));
                }
                (Node { span: start, value: known.value.clone() }, 0)
            }
            _ => return Err(self.refuse(start, "not YAML: a value belongs here", "Write a value.")),
        };
        self.depth -= 1;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, parser: &mut Parse<'_>, start: Range<usize>) -> Result<Node, Mistakes> {
        let mut items = Vec::new();
        loop {
            match self.next(parser)? {
                (Event::SequenceEnd, span) => {
                    return Ok(Node { span: start.start..self.end(start.start, &span), value: Value::Seq(items) });
                }
                (event, span) => items.push(self.node(parser, event, &span)?),
            }
        }
    }

    fn mapping(&mut self, parser: &mut Parse<'_>, start: Range<usize>) -> Result<Node, Mistakes> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next(parser)?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Node { span: start.start..self.end(start.start, &span), value: Value::Map(entries) });
            }
            let key_node = self.node(parser, event, &span)?;
            let Value::Scalar { text: key, .. } = key_node.value else {
                return Err(self.refuse(
                    key_node.span,
                    "a key must be a plain word",
                    "Lists and maps can't be keys here.",
                ));
            };
            let (event, span) = self.next(parser)?;
            let value = self.node(parser, event, &span)?;
            match entries.iter().find(|entry| entry.key == key) {
                Some(first) => self.twice.push(self.stands_twice(&key, first, key_node.span)),
                None => entries.push(Entry { key, key_span: key_node.span, value }),
            }
        }
    }

    fn stands_twice(&self, key: &str, first: &Entry, again: Range<usize>) -> Mistake {
        let (line, _) = self.document.line_column(first.key_span.start);
        let help = format!("`{key}` stands in line {line} already; keep one, or make its value a list.");
        self.document.mistake_at(again, format!("the key `{key}` stands twice"), Some(help))
    }

    fn refuse_tag(&self, tagged: bool, span: &Range<usize>) -> Result<(), Mistakes> {
        if tagged {
            Err(self.refuse(span.clone(), "YAML tags (`!…`) have no meaning here", "Remove the tag."))
        } else {
            Ok(())
        }
    }

    fn refuse(&self, span: Range<usize>, message: &str, help: &str) -> Mistakes {
        Mistakes::new(self.document, vec![self.document.mistake_at(span, message, Some(help.to_owned()))])
    }

    fn bytes(&self, span: &Span) -> Range<usize> {
        let start = self.byte(span.start.line(), span.start.col());
        let end = self.byte(span.end.line(), span.end.col());
        start..end.max(start)
    }

    fn end(&self, start: usize, span: &Span) -> usize {
        self.byte(span.end.line(), span.end.col()).max(start)
    }

    /// The parser counts lines from 1 and columns, in characters, from 0.
    fn byte(&self, line: usize, column: usize) -> usize {
        let text = &self.document.text;
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(text.len());
        let rest = text.get(start..).unwrap_or_default();
        // JSON is often one long line.
        if rest.as_bytes().get(..column).is_some_and(<[u8]>::is_ascii) {
            return start + column;
        }
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }
}
