//! The command line, as its own help and the pages show it.

mod help;
mod pages;

#[path = "../../../../tests/book/pages.rs"]
#[expect(dead_code, reason = "tests/book.rs takes the rest of it")]
mod book;
#[path = "../../../../tests/book/programs.rs"]
mod shell;
