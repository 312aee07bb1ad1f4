//! What there is to know of each check, for people: `day1 explain`, and docs/checks.md, which is [`page`].

mod table;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use super::{BAD_PATTERNS, BadPattern, Where};

pub use table::ALL;

/// What there is to know of a check.
#[derive(Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Its stable id.
    pub id: &'static str,
    /// What holds where it passes.
    pub shows: &'static str,
    /// The evidence that it looks at.
    pub rests_on: &'static str,
    /// When it fails; none for one that never does, but keeps a trial from passing.
    pub fails: Option<&'static str>,
    /// When it can't tell.
    pub inconclusive: &'static str,
    /// What it says when it does not pass, word for word.
    pub example: &'static str,
    /// What to do then.
    pub help: &'static str,
    /// Where the facts that it rests on are written: a man page's section, or a project's source.
    pub source: Option<&'static str>,
    /// Who asks for it.
    pub asked: Asked,
}

/// Who asks for a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is made in every trial, unless the scenario does without.
    Base,
    /// A key of `expect` or `every-boot`: a line that may stand there.
    Key(&'static str),
    /// A key of a step's `expect`: a line that may stand there.
    Step(&'static str),
    /// It follows from something else in the scenario, and nobody can do without.
    Always(&'static str),
}

impl Explanation {
    /// How a scenario asks for it, or does without.
    pub fn asked_by(&self) -> String {
        match self.asked {
            Asked::Base => format!("every trial; a scenario does without by `{}`", without(self.id)),
            Asked::Key(line) => format!("a line in a boot's `expect`, or in `every-boot`: `{line}`"),
            Asked::Step(line) => format!("a line in a step's `expect`: `{line}`"),
            Asked::Always(what) => what.to_owned(),
        }
    }

    /// What there is to know, each with its name, in the order of reading.
    pub fn parts(&self) -> Vec<(&'static str, String)> {
        let parts = [
            ("Shows", Some(self.shows.to_owned())),
            ("Asked for by", Some(self.asked_by())),
            ("Rests on", Some(self.rests_on.to_owned())),
            ("Fails", Some(self.fails.unwrap_or("Never: it keeps a trial from passing.").to_owned())),
            ("Inconclusive", Some(self.inconclusive.to_owned())),
            ("Says, for one", Some(format!("`{}`", self.example))),
            ("What to do", Some(self.help.to_owned())),
            ("Source", self.source.map(str::to_owned)),
        ];
        parts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

/// The check of that id; of `journal.clean/NAME` the check `journal.clean`.
pub fn explain(id: &str) -> Option<&'static Explanation> {
    let id = if pattern(id).is_some() { "journal.clean" } else { id };
    ALL.iter().find(|check| check.id == id)
}

/// The bad pattern that `journal.clean/NAME` is about.
pub fn pattern(id: &str) -> Option<&'static BadPattern> {
    let name = id.strip_prefix("journal.clean/")?;
    BAD_PATTERNS.iter().find(|bad| bad.name == name)
}

impl BadPattern {
    /// As a scenario and a finding name it.
    pub fn id(&self) -> String {
        format!("journal.clean/{}", self.name)
    }

    /// What there is to know, each with its name, in the order of reading.
    pub fn parts(&self) -> Vec<(&'static str, String)> {
        let said_by = match self.said_by {
            Where::Kernel => "the kernel, in the journal or on the console",
            Where::System => "systemd's process 1 in the journal, or anybody on the console",
            Where::Journal => "anybody in the journal",
        };
        let fatal =
            self.fatal.then(|| "The boot is not waited for any longer: it can't come to a good end.".to_owned());
        let parts = [
            ("Finds", Some(format!("{}.", self.meaning))),
            ("Asked for by", Some(format!("every trial; a scenario does without by `{}`", without(&self.id())))),
            ("Fails", Some(format!("On a line that matches `{}`, said by {said_by}.", self.pattern))),
            ("After it", fatal),
        ];
        parts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

/// How a scenario does without a check.
fn without(id: &str) -> String {
    format!("without: [{{check: {id}, reason: …}}]")
}

/// All checks as Markdown, as docs/checks.md has them.
pub fn page() -> String {
    let mut page = String::new();
    for check in &ALL {
        // Writing to a string can't fail.
        let _ = writeln!(page, "\n### `{}`\n\n{}\n", check.id, check.shows);
        for (name, text) in check.parts().into_iter().skip(1) {
            let _ = writeln!(page, "- {name}: {text}");
        }
        if check.id == "journal.clean" {
            patterns(&mut page);
        }
    }
    page
}

fn patterns(page: &mut String) {
    let _ = writeln!(page, "\n| pattern | meaning | a line like |\n|---|---|---|");
    for bad in &BAD_PATTERNS {
        let _ = writeln!(page, "| `{}` | {} | `{}` |", bad.name, bad.meaning, bad.pattern.replace('|', "\\|"));
    }
}
