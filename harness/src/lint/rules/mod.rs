//! The rules: everything that is said about one, in one table. `docs/lint.md` lists the same.

mod table;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

pub use table::ALL;
pub(super) use table::*;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It is refused by somebody, or can't work as it is written.
    Error,
    /// It works on some nodes, at some times, or by luck.
    Warning,
    /// Worth knowing; nothing has to be changed.
    Note,
}

impl Level {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its stable name, in kebab-case.
    pub id: &'static str,
    /// The weight of its findings.
    pub level: Level,
    /// What it finds, in a few words.
    pub finds: &'static str,
    /// Why that matters on a node.
    pub why: &'static str,
    /// What to do about it.
    pub help: &'static str,
    /// Where that is written: a man page's section, or a project's source.
    pub source: &'static str,
}

impl Rule {
    /// The rule of that name.
    pub fn named(id: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|rule| rule.id == id)
    }
}

/// All rules as Markdown, as `docs/lint.md` has them.
pub fn page() -> String {
    let mut page = String::new();
    for rule in ALL {
        // Writing to a string can't fail.
        let _ = write!(
            page,
            "\n### `{}` ({})\n\n{}. {}\n\nWhat to do: {}\n\nSource: {}\n",
            rule.id,
            rule.level.word(),
            rule.finds,
            rule.why,
            rule.help,
            rule.source
        );
    }
    page
}
