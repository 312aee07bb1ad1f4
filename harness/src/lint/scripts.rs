//! What is wrong with scripts: lost exit codes, variables that nothing sets, references of images.

use std::collections::BTreeSet;

use super::behaviour::Behaviour;
use super::config::Config;
use super::report::Findings;
use super::rules::{
    CHAIN, ENVIRONMENT_UNUSED, IMAGE_TAG_TWICE, KERNEL_TAG, NO_RETRY, PIPELINE, PODMAN_WAIT, SCRIPT_SYNTAX,
    STATUS_HIDDEN, VARIABLE,
};
use super::script::{Call, Script, Status};

pub(super) fn check(config: &Config, behaviours: &[Behaviour<'_>], findings: &mut Findings) {
    for behaviour in behaviours {
        for script in behaviour.scripts() {
            if let Some((line, column, problem)) = &script.unread {
                let of = if script.path.is_empty() { &behaviour.unit.name } else { &script.path };
                findings.add(&SCRIPT_SYNTAX, &script.text.place(*line, *column), format!("{of}: {problem}"));
            }
            statuses(behaviour, script, findings);
            chains(behaviour, script, findings);
        }
        variables(config, behaviour, findings);
        unused_environment(behaviour, findings);
        image_references(behaviour, findings);
        retries(behaviour, findings);
    }
}

fn statuses(behaviour: &Behaviour<'_>, script: &Script, findings: &mut Findings) {
    let of = if script.path.is_empty() { &behaviour.unit.name } else { &script.path };
    let hidden: Vec<&Call> =
        script.calls.iter().filter(|call| call.status == Status::Hidden && call.matters()).collect();
    if let Some(first) = hidden.first() {
        let others = match hidden.len() - 1 {
            0 => String::new(),
            1 => ", and so does one more".to_owned(),
            more => format!(", and so do {more} more"),
        };
        let message = format!("`{}` may fail and {of} goes on{others}", first.title());
        findings.add(&STATUS_HIDDEN, &script.place(first), message);
    }
    for call in &script.calls {
        if call.status == Status::Piped && call.matters() {
            let message = format!("a failure of `{}` is lost in the pipe", call.title());
            findings.add(&PIPELINE, &script.place(call), message);
        }
        if call.podman().as_deref() == Some("wait") && !call.captured && call.redirects.is_empty() {
            let message = "`podman wait` prints the exit code, and nobody reads it";
            findings.add(&PODMAN_WAIT, &script.place(call), message);
        }
    }
}

/// `a && b; c` in the scripts of arguments.
fn chains(behaviour: &Behaviour<'_>, script: &Script, findings: &mut Findings) {
    for inline in &script.inlines {
        let text = behaviour.resolve(&inline.text);
        let is_chain = |part: &str| part.contains("&&") && !part.contains("||");
        let mut parts = text.split([';', '\n']).map(str::trim).filter(|part| !part.is_empty());
        // Words of the shell's own grammar make more of it than a list.
        let is_list = !text.split_whitespace().any(|word| ["if", "for", "while", "case", "set"].contains(&word));
        if is_list && parts.next().is_some_and(is_chain) && parts.next().is_some() {
            let place = script.text.place(inline.line, inline.column);
            let message = format!("the status of `{}` is lost", text.split(';').next().unwrap_or_default().trim());
            findings.add(&CHAIN, &place, message);
        }
    }
}

/// Variables that the shell and systemd set; most others of the environment are written in capitals.
fn is_of_the_environment(name: &str) -> bool {
    !name.contains(|c: char| c.is_ascii_lowercase())
        || name == "_"
        || ["http_proxy", "https_proxy", "no_proxy"].contains(&name)
}

fn variables(config: &Config, behaviour: &Behaviour<'_>, findings: &mut Findings) {
    let file = &behaviour.unit.file;
    // proxy.env is the MCO's and holds nothing but proxies; what is in others isn't known.
    let unknown_environment =
        file.words("Service", "EnvironmentFile").any(|(path, _)| path.trim_start_matches('-') != "/etc/mco/proxy.env")
            || file.last("Service", "PassEnvironment").is_some();
    if unknown_environment {
        return;
    }
    let set: BTreeSet<&str> = behaviour
        .scripts()
        .flat_map(|script| script.assigned.iter().map(|assigned| assigned.name.as_str()))
        .chain(behaviour.environment().iter().map(|(name, _)| name.as_str()))
        .collect();
    for script in behaviour.files() {
        // A script that several units run may get the variable from another one's environment.
        let shared = config.units.iter().any(|unit| {
            unit.name != behaviour.unit.name
                && unit.file.settings.iter().any(|setting| setting.value.contains(&script.path))
        });
        if script.open || shared {
            continue;
        }
        let unset = script.used.iter().filter(|used| {
            !used.has_default && !set.contains(used.name.as_str()) && !is_of_the_environment(&used.name)
        });
        let mut told = BTreeSet::new();
        for used in unset.filter(|used| told.insert(&used.name)) {
            let message = format!("nothing sets ${} in {}", used.name, script.path);
            findings.add(&VARIABLE, &script.text.place(used.line, used.column), message);
        }
    }
}

fn unused_environment(behaviour: &Behaviour<'_>, findings: &mut Findings) {
    let unread = behaviour.scripts().any(|script| script.unread.is_some());
    // What a drop-in sets is for a program that is not in this config.
    let is_dropin = !behaviour.unit.has_contents;
    if is_dropin || behaviour.partly_unknown || unread || behaviour.files().is_empty() {
        return;
    }
    let lines: String = behaviour.execs.iter().map(|exec| exec.setting.value.as_str()).collect();
    for setting in behaviour.unit.file.all("Service", "Environment") {
        let words = super::unit::command_words(&setting.value).unwrap_or_default();
        for (name, _) in words.iter().filter_map(|word| word.text.split_once('=')) {
            // By text: a name in a comment is one too many rather than one too few.
            let used = behaviour.files().iter().any(|script| script.text.text.contains(name)) || lines.contains(name);
            let is_for_programs = name.chars().all(|c| c.is_ascii_lowercase() || c == '_') || is_for_programs(name);
            if !used && !is_for_programs {
                let message = format!("no script of {} uses {name}", behaviour.unit.name);
                findings.add(&ENVIRONMENT_UNUSED, &setting.value_place(), message);
            }
        }
    }
}

/// Variables that programs read by themselves.
fn is_for_programs(name: &str) -> bool {
    const NAMES: [&str; 7] = ["PATH", "HOME", "LANG", "TMPDIR", "REGISTRY_AUTH_FILE", "USER", "TERM"];
    const PREFIXES: [&str; 7] = ["LC_", "CONTAINERS_", "SYSTEMD_", "STORAGE_", "PODMAN_", "GO", "KUBE"];
    NAMES.contains(&name) || name.ends_with("_PROXY") || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// `$IMAGE:$(uname -r)`, wherever it stands.
fn image_references(behaviour: &Behaviour<'_>, findings: &mut Findings) {
    for script in behaviour.scripts() {
        let kernels: Vec<&str> = script
            .assigned
            .iter()
            .filter(|assigned| assigned.value.as_deref().is_some_and(is_kernel_release))
            .map(|assigned| assigned.name.as_str())
            .collect();
        let raw =
            |tag: &str| is_kernel_release(tag) || tag.strip_prefix('$').is_some_and(|name| kernels.contains(&name));
        let assigned = script.assigned.iter().filter_map(|assigned| assigned.value.as_deref());
        let words = script.calls.iter().filter(|call| call.podman().is_some()).flat_map(|call| &call.words);
        let mut told = BTreeSet::new();
        for text in assigned.chain(words.map(String::as_str)) {
            let place = || {
                let lines = script.text.text.lines().enumerate();
                let mut lines = lines.filter(|(_, line)| super::script::plain(line).contains(text));
                script.text.place(lines.next().map_or(1, |(line, _)| line + 1), 1)
            };
            let has_raw_tag = text.match_indices(':').any(|(at, _)| {
                let repository = &text[..at];
                let is_repository = repository.contains('/') || is_variable(repository);
                is_repository && !repository.contains(char::is_whitespace) && raw(&text[at + 1..])
            });
            if has_raw_tag && told.insert(text) {
                let message = format!("`{text}`: the kernel's release is no tag if it has a `+`");
                findings.add(&KERNEL_TAG, &place(), message);
            }
            let Some(repository) = variable_with_tag(text) else { continue };
            let whole = behaviour.resolve(repository);
            let last = whole.rsplit('/').next().unwrap_or_default();
            if !whole.contains('$') && (last.contains(':') || last.contains('@')) {
                let message = format!("`{text}` with {repository} = {whole} is an invalid reference");
                findings.add(&IMAGE_TAG_TWICE, &place(), message);
            }
        }
    }
}

/// `$(uname -r)` in either spelling, or systemd's `%v`.
fn is_kernel_release(text: &str) -> bool {
    if text == "%v" {
        return true;
    }
    let inner = text.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.or_else(|| text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')));
    ["uname -r", "uname --kernel-release", "/usr/bin/uname -r"].contains(&inner.unwrap_or_default().trim())
}

/// The variable of `$IMAGE:TAG`.
fn variable_with_tag(text: &str) -> Option<&str> {
    let (repository, tag) = text.split_once(':')?;
    let is_tag = tag.starts_with(['$', '`']) && !tag.contains('/');
    (is_variable(repository) && is_tag).then_some(repository)
}

fn is_variable(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    text.strip_prefix('$').is_some_and(is_name)
}

fn retries(behaviour: &Behaviour<'_>, findings: &mut Findings) {
    let file = &behaviour.unit.file;
    if !behaviour.unit.is_service() || file.value("Service", "Restart").is_some_and(|restart| restart != "no") {
        return;
    }
    let functions = |is: &dyn Fn(&Call) -> bool| -> BTreeSet<&str> {
        let calls = behaviour.calls().filter(|(_, call)| is(call));
        calls.filter_map(|(_, call)| call.function.as_deref()).collect()
    };
    let mut fetching = functions(&Call::needs_network);
    // Functions that call those functions.
    for _ in 0..4 {
        let more = functions(&|call| call.words.iter().any(|word| fetching.contains(word.as_str())));
        fetching.extend(more);
    }
    let fetches = |call: &Call| call.needs_network() || call.words.iter().any(|word| fetching.contains(word.as_str()));
    if behaviour.calls().any(|(_, call)| fetches(call) && call.retries()) {
        return;
    }
    if let Some((call, place)) = behaviour.first(Call::needs_network) {
        let message = format!("{} runs `{}` once and does not try again", behaviour.unit.name, call.title());
        findings.add(&NO_RETRY, &place, message);
    }
}
