//! Mistakes in a YAML file, with the line shown and what would be right.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};

use super::Document;
use crate::text::number;

/// One mistake at one place of a file.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Mistake {
    /// The file.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    #[help]
    pub help: Option<String>,
    #[label("here")]
    at: Option<SourceSpan>,
    #[source_code]
    source_code: Option<NamedSource<Arc<str>>>,
}

impl Mistake {
    pub(super) fn new(document: &Document, span: Range<usize>, message: String, help: Option<String>) -> Self {
        let (line, column) = document.line_column(span.start);
        Self {
            path: document.path.clone(),
            line,
            column,
            message,
            help,
            source_code: Some(
                NamedSource::new(document.path.to_string_lossy(), Arc::clone(&document.text)).with_language("yaml"),
            ),
            at: Some(span.into()),
        }
    }
}

/// All the mistakes found in a file, in the order of its lines. Rendered by miette, each comes with its source
/// line; [`Mistakes::plain`] gives one line for each.
#[derive(Debug, Diagnostic)]
pub struct Mistakes {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    #[related]
    pub mistakes: Vec<Mistake>,
}

impl Mistakes {
    /// Sorts them by place.
    pub fn new(document: &Document, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        Self { path: document.path.clone(), mistakes }
    }

    /// One mistake of a whole file, such as one that can't be read: there is no line to show.
    pub(super) fn unplaced(path: &Path, message: &str, help: &str) -> Self {
        let (message, help) = (message.to_owned(), Some(help.to_owned()));
        let path = path.to_owned();
        let mistake = Mistake { path: path.clone(), line: 1, column: 1, message, help, at: None, source_code: None };
        Self { path, mistakes: vec![mistake] }
    }

    /// One line per mistake, `file:line:column: what is wrong (what would be right)`, without colours or source.
    pub fn plain(&self) -> String {
        let line = |mistake: &Mistake| {
            let Mistake { path, line, column, message, help, .. } = mistake;
            let help = help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{}:{line}:{column}: {message}{help}\n", path.display())
        };
        self.mistakes.iter().map(line).collect()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", number(self.mistakes.len(), "mistake"), self.path.display())
    }
}

impl std::error::Error for Mistakes {}
