//! Exit statuses of which nothing comes but a message.

use brush_parser::ast::{
    AndOrList, Command, CommandPrefixOrSuffixItem, CompoundCommand, CompoundList, CompoundListItem, IfClauseCommand,
    IoFileRedirectTarget, IoRedirect, Pipeline, Word,
};

use super::word::plain;

/// Whether a list's first command looks at the status of the one before it.
pub(super) fn asks_for_status(list: &AndOrList) -> bool {
    let text = list.to_string();
    ["$?", "${?", "PIPESTATUS"].iter().any(|status| text.contains(status))
}

/// `true`, `:` or `exit 0`, or a message about it; where the output is taken, that is the value instead.
pub(super) fn only_says(pipeline: &Pipeline, captured: bool) -> bool {
    ends_well(pipeline) || (!captured && is_message(pipeline))
}

/// The words of a simple command that stands by itself.
fn words_of(pipeline: &Pipeline) -> Vec<String> {
    let [Command::Simple(simple)] = pipeline.seq.as_slice() else { return vec![] };
    let suffix = simple.suffix.iter().flat_map(|suffix| &suffix.0).filter_map(|item| match item {
        CommandPrefixOrSuffixItem::Word(word) => Some(plain(&word.value)),
        _ => None,
    });
    simple.word_or_name.iter().map(|word| plain(&word.value)).chain(suffix).collect()
}

fn ends_well(pipeline: &Pipeline) -> bool {
    match words_of(pipeline).as_slice() {
        [name] => [":", "true", "/bin/true", "/usr/bin/true"].contains(&name.as_str()),
        [name, status] => name == "exit" && status == "0",
        _ => false,
    }
}

fn is_message(pipeline: &Pipeline) -> bool {
    if writes_a_file(pipeline) {
        return false;
    }
    let words = words_of(pipeline);
    let name = words.first().map_or("", |name| name.rsplit('/').next().unwrap_or_default());
    ["echo", "printf", "logger"].contains(&name) && !words.iter().any(|word| word == "-v")
}

/// Whether a simple command's output goes to anything but a terminal or a log.
fn writes_a_file(pipeline: &Pipeline) -> bool {
    const LOGS: [&str; 6] = ["/dev/null", "/dev/stderr", "/dev/stdout", "/dev/kmsg", "/dev/console", "/dev/tty"];
    let is_log = |word: &Word| LOGS.contains(&plain(&word.value).as_str());
    let [Command::Simple(simple)] = pipeline.seq.as_slice() else { return false };
    let prefix = simple.prefix.iter().flat_map(|prefix| &prefix.0);
    let items = simple.suffix.iter().flat_map(|suffix| &suffix.0).chain(prefix);
    items.into_iter().any(|item| match item {
        CommandPrefixOrSuffixItem::IoRedirect(IoRedirect::File(_, _, IoFileRedirectTarget::Filename(word))) => {
            !is_log(word)
        }
        CommandPrefixOrSuffixItem::IoRedirect(IoRedirect::OutputAndError(word, _)) => !is_log(word),
        _ => false,
    })
}

/// The pipeline of a list that is nothing else.
pub(super) fn only_pipeline(list: &CompoundList) -> Option<&Pipeline> {
    match list.0.as_slice() {
        [item] if item.0.additional.is_empty() => Some(&item.0.first),
        _ => None,
    }
}

/// Whether there is nothing but messages.
fn are_messages(items: &[CompoundListItem]) -> bool {
    items.iter().all(|item| item.0.additional.is_empty() && is_message(&item.0.first))
}

/// Whether all that comes of an `if`, whatever its condition, is messages.
fn tells(command: &IfClauseCommand) -> bool {
    are_messages(&command.then.0) && command.elses.iter().flatten().all(|other| are_messages(&other.body.0))
}

/// Whether the script ends well behind a list of messages.
fn gives_up(list: &CompoundList) -> bool {
    let Some((last, rest)) = list.0.split_last() else { return false };
    last.0.additional.is_empty() && words_of(&last.0.first) == ["exit", "0"] && are_messages(rest)
}

/// Whether a list is an `if` of which all that comes is messages.
pub(super) fn only_tells(list: &AndOrList) -> bool {
    match list.first.seq.as_slice() {
        [Command::Compound(CompoundCommand::IfClause(command), None)] => tells(command),
        _ => false,
    }
}

/// Whether a failure of an `if`'s condition has no consequence but a message: all that comes of either way is messages, or
/// the script ends well after a failure. Without a way for failures the condition is a question.
pub(super) fn swallows(command: &IfClauseCommand) -> bool {
    let elses: Vec<_> = command.elses.iter().flatten().collect();
    let bang = only_pipeline(&command.condition).is_some_and(|pipeline| pipeline.bang);
    let failed = match elses.as_slice() {
        _ if bang => Some(&command.then),
        [other] if other.condition.is_none() => Some(&other.body),
        _ => None,
    };
    failed.is_some_and(|failed| gives_up(failed) || tells(command))
}
