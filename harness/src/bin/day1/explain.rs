//! `day1 explain`: what a check or a rule is about.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use day1_harness::checks;
use day1_harness::explain::{Of, Topic, topic, topics};

use super::out::print;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 explain
  day1 explain unit.before
  day1 explain journal.clean/oops podman-wait")]
pub struct Explain {
    /// Ids of checks or rules, as reports name them [default: list all].
    #[arg(value_name = "CHECK-ID", add = ArgValueCandidates::new(ids))]
    ids: Vec<String>,
    /// Print the checks of trials as Markdown, as docs/checks.md has them.
    #[arg(long, conflicts_with = "ids")]
    markdown: bool,
}

impl Explain {
    pub fn perform(self) -> ExitCode {
        if self.markdown {
            return print(&checks::page(), ExitCode::SUCCESS);
        }
        if self.ids.is_empty() {
            return print(&list(), ExitCode::SUCCESS);
        }
        let found: Result<Vec<Topic>, _> = self.ids.iter().map(|id| topic(id)).collect();
        match found {
            Ok(topics) => print(&topics.iter().map(describe).collect::<Vec<_>>().join("\n"), ExitCode::SUCCESS),
            Err(unknown) => {
                eprintln!("error: {unknown}");
                ExitCode::from(2)
            }
        }
    }
}

fn ids() -> Vec<CompletionCandidate> {
    topics()
        .iter()
        .map(|topic| CompletionCandidate::new(&topic.id).help(Some(topic.summary().to_owned().into())))
        .collect()
}

/// As wide as it is read well.
const WIDTH: usize = 100;

/// One line for each, by who makes it.
fn list() -> String {
    let all = topics();
    let mut text = String::new();
    for of in Of::ALL {
        let mine: Vec<&Topic> = all.iter().filter(|topic| topic.of == of).collect();
        let width = mine.iter().map(|topic| topic.id.len()).max().unwrap_or(0);
        // Writing to a string can't fail.
        let _ = writeln!(text, "{}{}:", if text.is_empty() { "" } else { "\n" }, of.nouns());
        for topic in mine {
            let _ = writeln!(text, "  {:width$}  {}", topic.id, topic.summary());
        }
    }
    text
}

fn describe(topic: &Topic) -> String {
    let mut text = format!("{} ({})\n", topic.id, topic.of.noun());
    for (name, part) in &topic.parts {
        let first = format!("  {:<15}", format!("{name}:"));
        let options = textwrap::Options::new(WIDTH).initial_indent(&first).subsequent_indent("                 ");
        let _ = writeln!(text, "{}", textwrap::fill(part, options));
    }
    text
}
