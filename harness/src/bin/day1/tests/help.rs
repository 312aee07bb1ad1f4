//! Every command's help has examples, and each of them is one of its own.

use clap::{Command, CommandFactory as _, Parser as _};

use super::shell::programs;
use crate::Cli;

/// Every command that a person may call, with the words that call it.
fn commands(command: &Command, words: &[String], found: &mut Vec<(Vec<String>, Command)>) {
    found.push((words.to_vec(), command.clone()));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        commands(sub, &[words, &[sub.get_name().to_owned()]].concat(), found);
    }
}

/// The lines below `Examples:`, joined where they go on.
fn examples(help: &str) -> Vec<String> {
    let Some((_, block)) = help.split_once("\nExamples:\n") else { return vec![] };
    let block = block.replace("\\\n", " ");
    block.lines().take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn each_command_shows_examples_that_its_own_parser_takes() {
    let mut command = Cli::command();
    command.build();
    let mut found = Vec::new();
    commands(&command, &["day1".to_owned()], &mut found);
    assert!(found.len() > 15);
    for (words, mut command) in found {
        let name = words.join(" ");
        // As wide as it takes: a line that is wrapped is no command.
        let help = command.clone().term_width(1000).render_long_help().to_string();
        let examples = examples(&help);
        assert!(!examples.is_empty(), "`{name} --help` has no line below `Examples:`:\n{help}");
        let parsed: Vec<Vec<String>> = examples.iter().flat_map(|line| calls(line)).collect();
        assert!(parsed.iter().any(|call| call.starts_with(&words)), "no example of `{name}` calls it: {examples:?}");
        for call in parsed {
            if let Err(error) = Cli::try_parse_from(&call) {
                panic!("an example of `{name}` is refused: {call:?}: {error}");
            }
        }
        command.build();
    }
}

/// The calls of `day1` in a line of shell.
fn calls(line: &str) -> Vec<Vec<String>> {
    let mut programs = programs(line).expect("a line of shell");
    programs.retain(|program| program.first().is_some_and(|word| word == "day1"));
    programs
}
