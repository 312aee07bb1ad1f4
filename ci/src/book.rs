//! The pages as a book, by mdBook.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, root, run};

/// The one that the book is tried with; its HTML changes from one to the next.
const VERSION: &str = "0.5.4";

/// Builds the book into `target/book`.
pub fn build() -> Result<()> {
    run(Command::new(mdbook()?).arg("build").arg(root().join("docs")))
}

/// mdBook of that version: on the PATH, or compiled once. Debian 12 and 13 have no package of it.
fn mdbook() -> Result<PathBuf> {
    let is_it = |program: &PathBuf| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| output.stdout.trim_ascii() == format!("mdbook v{VERSION}").as_bytes())
    };
    let own = root().join("target/mdbook");
    let programs = [PathBuf::from("mdbook"), own.join("bin/mdbook")];
    if let Some(program) = programs.iter().find(|program| is_it(program)) {
        return Ok(program.clone());
    }
    // Without its server, and without optimisation, it is compiled in a third of the time; this book is small.
    let words =
        ["install", "mdbook", "--locked", "--debug", "--no-default-features", "--features", "search", "--force"];
    run(cargo().args(words).args(["--version", VERSION, "--root"]).arg(&own))
        .context("the book needs mdBook: install that version of it by hand, or run where crates.io can be reached")?;
    Ok(own.join("bin/mdbook"))
}
