//! Commands in the project's pages are taken by the command line, also where they are not run.

use std::ops::Range;

use clap::{Command, CommandFactory as _, Parser as _};

use pulldown_cmark::{Event, Options, Parser as Markdown};

use super::book::{Needs, Page, pages};
use super::shell::programs;
use crate::Cli;

/// What else may stand in a block that is not run. `cargo xtask`'s own lines are read by that program's tests.
const OTHERS: [&str; 8] = ["apt-get", "cargo", "depmod", "ln", "oc", "podman", "tar", "tee"];

#[test]
fn each_call_in_a_page_is_one_that_the_parser_takes() {
    // The parser looks whether there is the file of a driver toolkit.
    let archive = tempfile::Builder::new().suffix(".tar").tempfile().expect("a file");
    let archive = archive.path().to_str().expect("text").to_owned();
    let mut count = 0;
    for page in pages() {
        let commands = page.commands().unwrap_or_else(|what| panic!("{what}"));
        for shown in commands {
            let place = format!("{}:{}", page.path.display(), shown.line);
            let programs = programs(&shown.command).unwrap_or_else(|what| panic!("{place}: {what}"));
            for words in programs {
                match words[0].as_str() {
                    "day1" => {
                        let is_archive = |word: &String| word.ends_with(".tar") && !word.contains(':');
                        let words: Vec<String> = words
                            .into_iter()
                            .map(|word| if is_archive(&word) { archive.clone() } else { word })
                            .collect();
                        let parsed = Cli::try_parse_from(&words).err();
                        // Help is what it was asked for.
                        let wrong = parsed.filter(|error| error.exit_code() != 0);
                        assert!(
                            wrong.is_none(),
                            "{place}: {words:?}: {}",
                            wrong.map_or(String::new(), |e| e.to_string())
                        );
                        count += 1;
                    }
                    other => assert!(
                        shown.needs == Needs::Nothing || OTHERS.contains(&other),
                        "{place}: `{other}` is neither run nor known: is it a slip of the pen?"
                    ),
                }
            }
        }
    }
    assert!(count > 30, "only {count} calls are read");
}

/// Within a sentence a call may have words that stand for others, so only its command and its options are looked at.
#[test]
fn each_call_within_a_sentence_has_a_command_and_options_that_there_are() {
    let mut all = Cli::command();
    all.build();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in pages() {
        for (line, code) in codes(&page) {
            let Some(words) = code.strip_prefix("day1 ").map(|rest| rest.split_whitespace().collect::<Vec<_>>()) else {
                continue;
            };
            count += 1;
            if let Some(unknown) = unknown(&all, &words) {
                wrong.push(format!("{}:{line}: `{code}`: there is no `{unknown}`", page.path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(count > 50, "only {count} calls are looked at");
}

/// The first word that the command line does not know.
fn unknown<'w>(command: &Command, words: &[&'w str]) -> Option<&'w str> {
    let (first, rest) = words.split_first()?;
    if let Some(sub) = command.find_subcommand(first) {
        return unknown(sub, rest);
    }
    // Behind a command without others everything but an option may stand.
    if command.has_subcommands() && !first.starts_with('-') && first.chars().all(|c| c.is_ascii_lowercase()) {
        return Some(first);
    }
    let is_known = |word: &str| {
        let name = word.split('=').next().unwrap_or(word);
        match name.strip_prefix("--") {
            Some(name) => {
                ["help", "version"].contains(&name) || command.get_arguments().any(|arg| arg.get_long() == Some(name))
            }
            None => name == "-" || command.get_arguments().any(|arg| arg.get_short() == name.chars().nth(1)),
        }
    };
    // What follows `--` is another program's.
    let own = words.iter().take_while(|word| **word != "--");
    own.filter(|word| word.starts_with('-')).find(|word| !is_known(word.trim_end_matches(['`', ',']))).copied()
}

/// Code within sentences, each with its line.
fn codes(page: &Page) -> Vec<(usize, String)> {
    let code = |(event, range): (Event<'_>, Range<usize>)| match event {
        Event::Code(text) => Some((page.text[..range.start].matches('\n').count() + 1, text.to_string())),
        _ => None,
    };
    Markdown::new_ext(&page.text, Options::ENABLE_TABLES).into_offset_iter().filter_map(code).collect()
}
