//! What a unit runs: its command lines and the scripts of the config that they lead to.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Config, Unit};
use super::report::Place;
use super::script::{Call, Script, is_shell, plain};
use super::unit::{Setting, Word, command_words};

/// The shell scripts of a config by their paths, each read once.
pub(super) fn scripts(config: &Config) -> BTreeMap<&str, Script> {
    let shell = config.files.iter().filter_map(|file| Some((file.path.as_str(), file.contents.text()?)));
    let shell = shell.filter(|(path, text)| is_shell(path, &text.text));
    shell.map(|(path, text)| (path, Script::read(path, text))).collect()
}

/// A command line of a unit.
#[derive(Debug)]
pub(super) struct Exec<'c> {
    pub(super) setting: &'c Setting,
    /// `-`: its failure is no failure.
    pub(super) ignored: bool,
    pub(super) words: Vec<Word>,
}

impl Exec<'_> {
    pub(super) fn program(&self) -> &str {
        self.words.first().map_or("", |word| &word.text)
    }

    /// Whether a shell runs what stands in the line.
    pub(super) fn is_shell(&self) -> bool {
        self.words
            .iter()
            .take(3)
            .any(|word| ["sh", "bash", "dash"].contains(&word.text.rsplit('/').next().unwrap_or_default()))
            && self.words.iter().any(|word| word.text.starts_with('-') && word.text.ends_with('c'))
    }
}

/// The command lines of a unit; those whose quotes do not match are left out.
pub(super) fn execs(unit: &Unit) -> Vec<Exec<'_>> {
    const KEYS: [&str; 7] =
        ["ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost"];
    KEYS.iter().flat_map(|key| unit.file.all("Service", key)).flat_map(commands).collect()
}

/// The commands of a line; a `;` by itself stands between two.
fn commands(setting: &Setting) -> Vec<Exec<'_>> {
    let words = command_words(&setting.value).unwrap_or_default();
    let is_end = |word: &Word| word.text == ";" && !word.quoted;
    words.split(is_end).filter_map(|words| command(setting, words)).collect()
}

fn command<'s>(setting: &'s Setting, words: &[Word]) -> Option<Exec<'s>> {
    let mut words = words.to_vec();
    let first = words.first_mut()?;
    let program = first.text.trim_start_matches(['-', '@', ':', '+', '!', '|']).to_owned();
    let prefix = first.text[..first.text.len() - program.len()].to_owned();
    first.text = program;
    if prefix.contains('@') && words.len() > 1 {
        // The second word is what the program is told to be called.
        words.remove(1);
    }
    Some(Exec { setting, ignored: prefix.contains('-'), words })
}

/// Everything that a unit is known to do.
#[derive(Debug)]
pub(super) struct Behaviour<'c> {
    pub(super) unit: &'c Unit,
    pub(super) execs: Vec<Exec<'c>>,
    /// The commands of its lines.
    own: Vec<Script>,
    /// The scripts of the config that they lead to.
    files: Vec<&'c Script>,
    /// Whether something that it executes is not in the config.
    pub(super) partly_unknown: bool,
    environment: Vec<(String, String)>,
}

impl<'c> Behaviour<'c> {
    pub(super) fn of(config: &'c Config, unit: &'c Unit, scripts: &'c BTreeMap<&str, Script>) -> Self {
        let execs = execs(unit);
        let mut own = Vec::new();
        let mut reached = BTreeSet::new();
        let mut partly_unknown = false;
        for exec in &execs {
            partly_unknown |= !exec.is_shell() && config.file(exec.program()).is_none();
            own.push(script_of(exec));
            let words = exec.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
            reach(config, &words, &mut reached);
        }
        let files = reached.iter().filter_map(|path| scripts.get(path.as_str())).collect();
        let environment = unit.file.all("Service", "Environment").flat_map(|setting| {
            let words = command_words(&setting.value).unwrap_or_default();
            words
                .into_iter()
                .filter_map(|word| word.text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        });
        Self { unit, own, files, partly_unknown, environment: environment.collect(), execs }
    }

    /// The commands of its lines, and the scripts of the config.
    pub(super) fn scripts(&self) -> impl Iterator<Item = &Script> {
        self.own.iter().chain(self.files.iter().copied())
    }

    /// The scripts of the config.
    pub(super) fn files(&self) -> &[&'c Script] {
        &self.files
    }

    /// Every command that is called.
    pub(super) fn calls(&self) -> impl Iterator<Item = (&Script, &Call)> {
        self.scripts().flat_map(|script| script.calls.iter().map(move |call| (script, call)))
    }

    /// The first command of a kind, and its place.
    pub(super) fn first(&self, is: impl Fn(&Call) -> bool) -> Option<(&Call, Place)> {
        self.calls().find(|(_, call)| is(call)).map(|(script, call)| (call, script.place(call)))
    }

    /// What Environment= sets.
    pub(super) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// A word with the variables put in whose value is known.
    pub(super) fn resolve(&self, word: &str) -> String {
        let mut text = word.to_owned();
        for _ in 0..4 {
            let Some(name) = variable(&text) else { break };
            let Some(value) = self.value_of(&name).filter(|value| !value.contains(&format!("${name}"))) else { break };
            text = text.replacen(&format!("${name}"), &value, 1);
        }
        text
    }

    /// The value of a variable that is set once; what is appended comes behind it.
    fn value_of(&self, name: &str) -> Option<String> {
        let assigned = self.scripts().flat_map(|script| &script.assigned).filter(|assigned| assigned.name == name);
        let mut value: Option<String> = None;
        for assigned in assigned {
            let text = assigned.value.clone()?;
            value = match value {
                None if !assigned.append => Some(text),
                Some(before) if assigned.append => Some(before + &text),
                _ => return None,
            };
        }
        let environment = || self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        value.or_else(environment)
    }
}

/// The first variable of a text.
fn variable(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('$')?;
    let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    Some(name).filter(|name| !name.is_empty())
}

/// The command of a line, or the script that stands in it.
fn script_of(exec: &Exec<'_>) -> Script {
    let setting = exec.setting;
    let words: Vec<String> = exec.words.iter().map(|word| word.text.clone()).collect();
    if exec.is_shell()
        && let Some(at) = words.iter().position(|word| word.starts_with('-') && word.ends_with('c'))
        && let Some(text) = words.get(at + 1)
    {
        let options = &words[at];
        // systemd makes one dollar of two.
        let text = text.replace("$$", "$");
        // Continued lines are one line here, so no place within them is known.
        let mut script = Script::read("", &setting.text.part(&text, setting.line, setting.column));
        let errexit = options.contains('e') && !options.starts_with("--");
        for call in &mut script.calls {
            (call.line, call.column) = (1, 1);
            if exec.ignored {
                call.status = super::script::Status::Ignored;
            } else if errexit {
                call.status = super::script::Status::Used;
            }
        }
        return script;
    }
    let words: Vec<String> = words.iter().map(|word| plain(word)).collect();
    Script::of_command(&setting.text, setting.line, setting.column, &words, exec.ignored)
}

/// The files of the config that a text names, and those that they name.
fn reach(config: &Config, text: &str, reached: &mut BTreeSet<String>) {
    for file in &config.files {
        if file.path.len() > 1 && !reached.contains(&file.path) && names(text, &file.path) {
            reached.insert(file.path.clone());
            if let Some(text) = file.contents.text() {
                reach(config, &text.text, reached);
            }
        }
    }
}

/// Whether a path stands in a text, and not as the beginning of a longer one.
fn names(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let next = text[at + path.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || "-_./".contains(c))
    })
}
