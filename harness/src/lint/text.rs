//! Findings for a person.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::config::Config;
use super::report::{Finding, Report};
use super::rules::Level;
use super::source::Source;
use crate::text::{number, printable};

/// Lines of a file, or of one that is encoded in it, by the file's name and the path.
type Lines<'s> = HashMap<(&'s str, Option<&'s str>), Vec<&'s str>>;

/// Adds the line that each finding is about: of the decoded file, where it is inside one.
pub(super) fn add_lines(findings: &mut [Finding], sources: &[Source], configs: &[Config]) {
    let mut lines = Lines::new();
    for source in sources {
        lines.insert((&source.name, None), source.text().lines().collect());
    }
    for file in configs.iter().flat_map(|config| &config.files) {
        if let Some(text) = file.contents.text() {
            lines.insert((&file.place.file, Some(&file.path)), text.text.lines().collect());
        }
    }
    for finding in findings {
        let place = &finding.place;
        let (path, line) = match &place.inside {
            Some(inside) => (Some(inside.path.as_str()), inside.line),
            None => (None, place.line),
        };
        let line = lines.get(&(place.file.as_str(), path)).and_then(|lines| lines.get(line - 1));
        finding.text = line.map(|line| shortened(line.trim())).filter(|line| !line.is_empty());
    }
}

fn shortened(line: &str) -> String {
    const LONGEST: usize = 120;
    let cut = if line.chars().count() > LONGEST { "…" } else { "" };
    let shown: String = line.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    shown + cut
}

/// One paragraph for each finding, and the sum. What and where comes first; why and what to do stand below it, once for
/// each rule and file.
pub fn text(report: &Report, colours: bool) -> String {
    let paint = |code: &str, text: &str| match colours {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let mut said = HashSet::new();
    let mut text = String::new();
    for finding in &report.findings {
        let colour = match finding.level {
            Level::Error => "1;31",
            Level::Warning => "1;33",
            Level::Note => "1;34",
        };
        let place = &finding.place;
        let head = paint(colour, &format!("{}[{}]", finding.level.word(), finding.rule));
        let at = paint("1", &format!("{}:{}:{}", place.file, place.line, place.column));
        // Writing to a string can't fail.
        let _ = writeln!(text, "{at}: {head}: {}", printable(&finding.message));
        let inside = place.inside.as_ref().map(|inside| format!("in {} line {}", printable(&inside.path), inside.line));
        if let Some(inside) = &inside {
            let _ = writeln!(text, "    {inside}");
        }
        if let Some(line) = &finding.text {
            let _ = writeln!(text, "    | {line}");
        }
        let again = (&finding.rule, &place.file);
        if said.insert(again) {
            let _ = writeln!(text, "    why:  {}", finding.why);
        }
        let _ = writeln!(text, "    help: {}\n", finding.help);
    }
    let _ = writeln!(text, "{}", summary(report));
    text
}

/// How much was found, in a line.
pub(crate) fn summary(report: &Report) -> String {
    let count = |count: usize, one: &str| match count {
        0 => format!("no {one}s"),
        _ => number(count, one),
    };
    let all = [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "note")];
    let found: Vec<String> = all.iter().map(|(level, word)| count(report.count(*level), word)).collect();
    let files = count(report.files.len(), "file");
    format!("{} in {} of {files}", found.join(", "), count(report.configs, "config"))
}
