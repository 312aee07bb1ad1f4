//! Calls of `cargo xtask` in the project's pages.

use clap::Parser as _;

use crate::Cli;

#[path = "../../harness/tests/book/pages.rs"]
#[expect(dead_code, reason = "the harness's tests take the rest of it")]
mod book;
#[path = "../../harness/tests/book/programs.rs"]
mod shell;

#[test]
fn each_call_in_a_page_is_one_that_the_parser_takes() {
    let mut count = 0;
    for page in book::pages() {
        for shown in page.commands().unwrap_or_else(|what| panic!("{what}")) {
            let place = format!("{}:{}", page.path.display(), shown.line);
            for words in shell::programs(&shown.command).unwrap_or_else(|what| panic!("{place}: {what}")) {
                let Some(("cargo", rest)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
                    continue;
                };
                match rest.first().map(String::as_str) {
                    Some("xtask") => {
                        let parsed = Cli::try_parse_from(rest);
                        assert!(
                            parsed.is_ok(),
                            "{place}: {words:?}: {}",
                            parsed.err().map_or(String::new(), |e| e.to_string())
                        );
                        count += 1;
                    }
                    // Of cargo's own commands only this one is for the pages.
                    other => assert_eq!(other, Some("install"), "{place}: {words:?}"),
                }
            }
        }
    }
    assert!(count >= 5, "only {count} calls are read");
}
