//! What lint found.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::rules::{Level, Rule};

/// A place in a file that was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Where the place stands for something encoded, in what it decodes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
}

/// A place in an encoded file of the config.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Inside {
    /// The file's path on the node.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// One thing that one rule found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// Its weight.
    pub level: Level,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong there.
    pub message: String,
    /// Why that matters on a node.
    pub why: String,
    /// What to do about it.
    pub help: String,
    /// Where that is written.
    pub source: String,
    /// The line of text, to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Everything that was found, by file and line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The files that were checked.
    pub files: Vec<String>,
    /// How many MachineConfigs and Ignition configs they hold.
    pub configs: usize,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings have this weight.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Whether anything is an error.
    pub fn has_errors(&self) -> bool {
        self.count(Level::Error) > 0
    }
}

/// Where the rules put what they find.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    /// A script that two units run is looked at twice.
    seen: HashSet<(&'static str, Place, String)>,
}

impl Findings {
    /// A finding with the rule's own help.
    pub(super) fn add(&mut self, rule: &'static Rule, place: &Place, message: impl Into<String>) {
        self.add_with_help(rule, place, message, rule.help);
    }

    /// A finding with a help that knows more than the rule's.
    pub(super) fn add_with_help(
        &mut self,
        rule: &'static Rule,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let message = message.into();
        if !self.seen.insert((rule.id, place.clone(), message.clone())) {
            return;
        }
        self.list.push(Finding {
            rule: rule.id.to_owned(),
            level: rule.level,
            place: place.clone(),
            message,
            why: rule.why.to_owned(),
            help: help.into(),
            source: rule.source.to_owned(),
            text: None,
        });
    }

    /// Whether an error was found in this file.
    pub(super) fn has_error_in(&self, file: &str) -> bool {
        self.list.iter().any(|finding| finding.level == Level::Error && finding.place.file == file)
    }

    /// Whether a rule found anything.
    pub(super) fn found(&self, rule: &Rule) -> bool {
        self.list.iter().any(|finding| finding.rule == rule.id)
    }

    /// All of them, in the order of the files and of their lines.
    pub(super) fn into_sorted(mut self, files: &[String]) -> Vec<Finding> {
        let file = |finding: &Finding| files.iter().position(|file| **file == finding.place.file);
        self.list.sort_by(|a, b| {
            (file(a), a.place.line, a.place.column, &a.place.inside, a.level).cmp(&(
                file(b),
                b.place.line,
                b.place.column,
                &b.place.inside,
                b.level,
            ))
        });
        self.list
    }
}
