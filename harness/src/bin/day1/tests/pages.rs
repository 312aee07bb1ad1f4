//! Commands in the project's pages are taken by the command line, also where they are not run.

use clap::Parser as _;

use super::book::{Needs, pages};
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
