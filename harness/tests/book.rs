//! The pages of the project: every command in them is tried, every link leads somewhere.

#[path = "book/pages.rs"]
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use pages::{Needs, Page, Shown, pages, root};

/// The directories of the repository that commands in pages read.
const READ: [&str; 4] = ["scenarios", "vm-images", "mutants", "docs"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("copied")),
        }
    }
}

/// Runs a command as a person would in a checkout, and gives what it prints, with its exit code if that is not 0.
fn run(command: &str, checkout: &Path) -> Vec<String> {
    let day1 = Path::new(env!("CARGO_BIN_EXE_day1")).parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &format!("exec 2>&1; {command}")])
        .current_dir(checkout)
        .env("PATH", format!("{}:{path}", day1.display()))
        .env("DAY1_CACHE", checkout.join("cache"))
        .env("HOME", checkout)
        .output()
        .expect("bash");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    if !output.status.success() {
        lines.push(format!("[exit code {}]", output.status.code().unwrap_or(-1)));
    }
    lines
}

/// Whether lines are as a page has them: `…` by itself stands for any lines, within one for any text.
fn matches(shown: &[String], lines: &[String]) -> bool {
    match shown {
        [] => lines.is_empty(),
        [rest, shown @ ..] if rest == "…" => (0..=lines.len()).any(|skipped| matches(shown, &lines[skipped..])),
        [first, shown @ ..] => match lines {
            [line, lines @ ..] => line_matches(first.trim_end(), line) && matches(shown, lines),
            [] => false,
        },
    }
}

fn line_matches(shown: &str, line: &str) -> bool {
    let Some((head, tail)) = shown.split_once('…') else { return shown == line };
    let ends = |rest: &str| rest.char_indices().map(|(at, _)| at).chain([rest.len()]).collect::<Vec<_>>();
    line.strip_prefix(head).is_some_and(|rest| ends(rest).into_iter().any(|at| line_matches(tail, &rest[at..])))
}

#[test]
fn what_needs_no_machine_does_what_the_pages_say() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let commands = page.commands().unwrap_or_else(|what| panic!("{what}"));
        let commands: Vec<Shown> = commands.into_iter().filter(|shown| shown.needs == Needs::Nothing).collect();
        if commands.is_empty() {
            continue;
        }
        // One for each page: what a command has written is there for the next.
        let checkout = tempfile::tempdir().expect("temporary directory");
        READ.into_iter().for_each(|dir| copy(&root().join(dir), &checkout.path().join(dir)));
        for Shown { line, command, output, .. } in commands {
            count += 1;
            let lines = run(&command, checkout.path());
            let failed = output.is_empty() && lines.last().is_some_and(|last| last.starts_with("[exit code "));
            if failed || !(output.is_empty() || matches(&output, &lines)) {
                wrong.push(format!("{}:{line}: $ {command}\n{}\n", page.path.display(), lines.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "these print something else:\n\n{}", wrong.join("\n"));
    assert!(count > 20, "only {count} commands are run");
}

/// The pages that the book has.
fn in_the_book() -> BTreeSet<PathBuf> {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).expect("docs/SUMMARY.md");
    let (links, _) = Page { path: "docs/SUMMARY.md".into(), text: summary }.links();
    links.into_iter().map(|(_, link)| Path::new("docs").join(link)).collect()
}

#[test]
fn the_book_has_every_page_of_docs() {
    let mut pages: BTreeSet<PathBuf> = pages().into_iter().map(|page| page.path).collect();
    pages.retain(|path| path.starts_with("docs") && !path.ends_with("SUMMARY.md"));
    assert_eq!(in_the_book(), pages);
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let book = in_the_book();
    // mdBook copies what is no page as it is.
    let is_in_the_book = |target: &Path| {
        book.contains(target) || target.starts_with("docs") && target.extension().is_some_and(|kind| kind != "md")
    };
    let anchors: BTreeMap<&Path, Vec<String>> =
        pages.iter().map(|page| (page.path.as_path(), page.links().1)).collect();
    let mut wrong = Vec::new();
    for page in &pages {
        for (line, link) in page.links().0 {
            if link.starts_with("https://") {
                continue;
            }
            let (path, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let target = match path {
                "" => page.path.clone(),
                path => plain(&page.path.parent().unwrap_or(Path::new("")).join(path)),
            };
            let why = match anchor {
                _ if !root().join(&target).exists() => "there is no such file",
                _ if book.contains(&page.path) && !is_in_the_book(&target) => {
                    "it leads out of the book: name the path instead"
                }
                Some(anchor)
                    if !anchors.get(target.as_path()).is_some_and(|all| all.iter().any(|one| one == anchor)) =>
                {
                    "there is no such heading"
                }
                _ => continue,
            };
            wrong.push(format!("{}:{line}: {link}: {why}", page.path.display()));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn dots_stand_for_what_is_there() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(matches(&lines("a\n…\nd 1… s"), &lines("a\nb\nc\nd 17 s")));
    assert!(matches(&lines("…"), &[]));
    assert!(!matches(&lines("a\n…\nd"), &lines("a\nb")));
    assert!(!matches(&lines("a…c"), &lines("a b c d")));
    assert!(matches(&lines("a…"), &lines("a b")));
    assert!(!matches(&lines("a"), &lines("ab")));
}

/// Where the errors of the harness's own side are.
const INFRA: [&str; 11] = [
    "lab/mod.rs",
    "lab/brought.rs",
    "process.rs",
    "machine",
    "services",
    "node",
    "cache",
    "containers",
    "toolkit",
    "kmod/mod.rs",
    "layering",
];

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_file() {
        found.push(path.to_owned());
        return;
    }
    for entry in fs::read_dir(path).expect("listed") {
        sources(&entry.expect("an entry").path(), found);
    }
}

/// The first words of an error's text, as the page has them: `…` for what is put in, without quotes; none where it has
/// no words of its own.
fn first_words(literal: &str) -> Option<String> {
    let replace = |text: &str, pattern: &str, with: &str| {
        regex::Regex::new(pattern).expect("a pattern").replace_all(text, with).into_owned()
    };
    let text = replace(literal, r"\\\n\s*", "");
    let text = replace(&text, r"\{[^{}]*\}", "…");
    let text = text.replace('`', "").replace("\\\"", "\"");
    let line = text.split("\\n").next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().take(8).collect();
    let words = words.join(" ");
    words.contains(char::is_alphabetic).then_some(words)
}

#[test]
fn troubleshooting_has_each_error_of_the_harness_s_own_side() {
    let mut files = Vec::new();
    INFRA.into_iter().for_each(|part| sources(&root().join("harness/src").join(part), &mut files));
    let literal = regex::Regex::new(r#"(?s)#\[error\(\s*"((?:[^"\\]|\\.)*)""#).expect("a pattern");
    let told: BTreeSet<String> = files
        .iter()
        .map(|path| fs::read_to_string(path).expect("a source"))
        .flat_map(|text| literal.captures_iter(&text).filter_map(|found| first_words(&found[1])).collect::<Vec<_>>())
        .collect();
    assert!(told.len() > 60, "{told:?}");
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let known: BTreeSet<String> = rows.map(|(words, _)| words.to_owned()).collect();
    assert_eq!(told.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "these have no row in the page");
    assert_eq!(known.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "nobody says these any more");
}

#[test]
fn the_page_of_scenarios_has_each_parameter_of_the_generator() {
    let page = fs::read_to_string(root().join("docs/scenarios.md")).expect("the page");
    let blocks = page.split("```yaml\n").filter_map(|rest| rest.split_once("\n```")).map(|(block, _)| block);
    let block = blocks.into_iter().find(|block| block.starts_with("machine_config_name:")).expect("the parameters");
    let shown: BTreeMap<String, serde_yaml::Value> = serde_yaml::from_str(block).expect("YAML");
    assert!(serde_yaml::from_str::<day1_generator::Day1Config>(block).is_ok());
    // Whoever writes one that there is not is told all.
    let error =
        serde_yaml::from_str::<day1_generator::Day1Config>(&format!("{block}\nx: 1")).expect_err("no such parameter");
    let error = error.to_string();
    let known: BTreeSet<&str> =
        error.split_once("expected one of").expect("a list").1.split('`').skip(1).step_by(2).collect();
    assert_eq!(shown.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
}
