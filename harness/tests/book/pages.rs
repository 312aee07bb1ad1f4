//! The project's pages, and the commands in them.
//!
//! A block of commands begins with ```` ```console ````, and each of them with `$ `; what follows is what it prints, in
//! which `…` stands for whatever there is. A command that can't be run everywhere says so behind a comma: see [`Needs`].

use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};

/// A page of the project.
pub struct Page {
    /// Below the repository.
    pub path: PathBuf,
    pub text: String,
}

/// What a block of commands needs, so that it is read here and not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it is run.
    Nothing,
    /// A virtual machine: such commands are what `cargo xtask ci` itself runs, or take longer than it may.
    Vm,
    /// The network, or a container engine.
    Network,
    /// Root's rights, or another host.
    Host,
}

/// One command, with what it prints.
pub struct Shown {
    pub line: usize,
    pub command: String,
    pub needs: Needs,
    pub output: Vec<String>,
}

/// The repository.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().map(Path::to_owned).unwrap_or_default()
}

/// Every page that is for people.
pub fn pages() -> Vec<Page> {
    let root = root();
    let mut paths: Vec<PathBuf> = ["README.md", "vm-images/README.md", "scenarios/README.md"].map(PathBuf::from).into();
    for dir in ["docs", "docs/decisions"] {
        for entry in std::fs::read_dir(root.join(dir)).expect("docs") {
            let name = entry.expect("an entry").file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                paths.push(Path::new(dir).join(name));
            }
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(root.join(&path)).expect("a page");
        Page { path, text }
    };
    paths.into_iter().map(read).collect()
}

/// What may stand behind ```` ``` ````, but for commands.
const LANGUAGES: [&str; 7] = ["text", "yaml", "json", "rust", "ini", "dockerfile", "toml"];

impl Page {
    fn place(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// The commands of the page; what is wrong with a block is told with its place.
    pub fn commands(&self) -> Result<Vec<Shown>, String> {
        let mut shown = Vec::new();
        let mut block: Option<(String, usize, String)> = None;
        for (event, range) in Parser::new(&self.text).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    block = Some((info.to_string(), self.place(range.start), String::new()));
                }
                Event::Text(text) => {
                    if let Some((.., code)) = &mut block {
                        code.push_str(&text);
                    }
                }
                Event::End(TagEnd::CodeBlock) => {
                    let Some((info, line, code)) = block.take() else { continue };
                    let wrong = |what: &str| format!("{}:{line}: {what}", self.path.display());
                    shown.extend(commands_of(&info, line, &code).map_err(|what| wrong(&what))?);
                }
                _ => {}
            }
        }
        Ok(shown)
    }

    /// The links of the page, each with its line, and the anchors that others may lead to.
    pub fn links(&self) -> (Vec<(usize, String)>, Vec<String>) {
        let (mut links, mut anchors) = (Vec::new(), Vec::new());
        let mut heading: Option<String> = None;
        for (event, range) in Parser::new_ext(&self.text, pulldown_cmark::Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    links.push((self.place(range.start), dest_url.to_string()));
                }
                Event::Start(Tag::Heading { level, .. }) if level <= HeadingLevel::H4 => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => anchors.extend(heading.take().map(|text| anchor(&text))),
                _ => {}
            }
        }
        (links, anchors)
    }
}

/// As mdBook and code hosts make it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn commands_of(info: &str, line: usize, code: &str) -> Result<Vec<Shown>, String> {
    let needs = match info {
        "console" => Needs::Nothing,
        "console,vm" => Needs::Vm,
        "console,network" => Needs::Network,
        "console,host" => Needs::Host,
        "" => return Err("a block without a language: `text` if it is nothing to run".into()),
        other if LANGUAGES.contains(&other) => {
            let is_call = |line: &&str| ["$ ", "day1 ", "cargo "].iter().any(|head| line.starts_with(head));
            return match code.lines().find(is_call).filter(|_| other != "rust") {
                Some(call) => Err(format!("`{call}` stands in a block of `{other}`, where nobody tries it")),
                None => Ok(vec![]),
            };
        }
        other => return Err(format!("a block of `{other}`, which is not known")),
    };
    let mut shown: Vec<Shown> = Vec::new();
    let mut goes_on = false;
    for (index, text) in code.lines().enumerate() {
        let line = line + 1 + index;
        match (text.strip_prefix("$ "), shown.last_mut()) {
            (None, Some(last)) if goes_on => {
                last.command.push('\n');
                last.command.push_str(text);
            }
            (Some(command), _) => shown.push(Shown { line, command: command.to_owned(), needs, output: vec![] }),
            (None, Some(last)) => last.output.push(text.to_owned()),
            (None, None) => return Err(format!("the block begins with `{text}`, and not with `$ ` and a command")),
        }
        goes_on = shown.last().is_some_and(|last| last.output.is_empty() && last.command.ends_with('\\'));
    }
    Ok(shown)
}
