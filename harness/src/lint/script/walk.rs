//! From the parser's tree to the list of calls.

use std::fmt::Display;

use brush_parser::ast::{
    AndOr, AndOrList, Assignment, AssignmentName, AssignmentValue, Command, CommandPrefixOrSuffixItem, CompoundCommand,
    CompoundList, ExtendedTestExpr, IoFileRedirectKind, IoFileRedirectTarget, IoRedirect, Pipeline, Program,
    SeparatorOperator, SimpleCommand, SourceLocation, Word,
};

use super::lost::{asks_for_status, only_pipeline, only_says, only_tells, swallows};
use super::word::{here_document, identifiers, parts, plain};
use super::{Assigned, Call, Inline, Redirect, Script, Status, Used, parse};

/// Where a command stands.
#[derive(Clone)]
struct Context {
    function: Option<String>,
    looped: bool,
    captured: bool,
    /// What becomes of the status of the last command of a list here.
    status: Status,
    /// The line and column of the text's beginning, for scripts in scripts.
    line: usize,
    column: usize,
    depth: usize,
}

impl Context {
    /// Whether what is printed is for people: neither a value nor, in a function or loop, perhaps one of several tries.
    fn is_aloud(&self) -> bool {
        !self.captured && !self.looped && self.function.is_none()
    }

    /// Whether a list looks at the status of the one before it, and does more than to print it.
    fn asks(&self, list: &AndOrList) -> bool {
        asks_for_status(list) && !(self.is_aloud() && only_tells(list))
    }
}

/// Scripts in scripts in scripts.
const DEEPEST: usize = 5;

pub(super) fn walk(script: &mut Script, program: &Program) {
    let context =
        Context { function: None, looped: false, captured: false, status: Status::Used, line: 1, column: 1, depth: 0 };
    Walk { script }.program(program, &context);
}

struct Walk<'s> {
    script: &'s mut Script,
}

impl Walk<'_> {
    fn program(&mut self, program: &Program, context: &Context) {
        let count = program.complete_commands.len();
        for (index, list) in program.complete_commands.iter().enumerate() {
            let next = program.complete_commands.get(index + 1);
            let asked = next.is_some_and(|next| next.0.first().is_some_and(|item| context.asks(&item.0)));
            self.list(list, context, index + 1 == count, asked);
        }
    }

    /// `last`: nothing comes after the list; `asked`: what comes after it looks at its status.
    fn list(&mut self, list: &CompoundList, context: &Context, last: bool, asked: bool) {
        let count = list.0.len();
        for (index, item) in list.0.iter().enumerate() {
            let at_end = index + 1 == count;
            let next_asks = match list.0.get(index + 1) {
                Some(next) => context.asks(&next.0),
                None => asked,
            };
            let in_background = matches!(item.1, SeparatorOperator::Async);
            let status = match context.status {
                // `set -e` looks at nothing that goes on in the background; `wait` may.
                _ if in_background && !next_asks && !self.script.waits => Status::Hidden,
                Status::Ignored if at_end && last => Status::Ignored,
                _ if next_asks || in_background || self.script.errexit => Status::Used,
                status if at_end && last => status,
                _ => Status::Hidden,
            };
            self.and_or(&item.0, &Context { status, ..context.clone() });
        }
    }

    fn body(&mut self, list: &CompoundList, context: &Context) {
        self.list(list, context, true, false);
    }

    fn and_or(&mut self, list: &AndOrList, context: &Context) {
        let pipelines: Vec<&Pipeline> = std::iter::once(&list.first)
            .chain(list.additional.iter().map(|(AndOr::And(pipeline) | AndOr::Or(pipeline))| pipeline))
            .collect();
        for (index, pipeline) in pipelines.iter().enumerate() {
            let status = match list.additional.get(index) {
                Some(AndOr::Or(or)) if index + 1 == list.additional.len() && only_says(or, context.captured) => {
                    Status::Ignored
                }
                Some(_) => Status::Used,
                None => context.status,
            };
            self.pipeline(pipeline, &Context { status, ..context.clone() });
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, context: &Context) {
        let last = pipeline.seq.len() - 1;
        for (index, command) in pipeline.seq.iter().enumerate() {
            let status = match context.status {
                status if index == last => {
                    if pipeline.bang {
                        Status::Used
                    } else {
                        status
                    }
                }
                status if self.script.pipefail => status,
                _ => Status::Piped,
            };
            // The next command of the pipe reads what it prints.
            let captured = context.captured || index != last;
            self.command(command, &Context { status, captured, ..context.clone() });
        }
    }

    fn command(&mut self, command: &Command, context: &Context) {
        match command {
            Command::Simple(simple) => self.simple(simple, context),
            Command::Compound(compound, redirects) => {
                let captured = context.captured || redirects.is_some();
                self.compound(compound, &Context { captured, ..context.clone() });
                for redirect in redirects.iter().flat_map(|list| &list.0) {
                    let at = location(compound, context);
                    let mut call = Call { function: context.function.clone(), ..Call::at(at.0, at.1) };
                    self.redirect(redirect, &mut call, context);
                    self.script.calls.push(call);
                }
            }
            Command::Function(function) => {
                let name = plain(&function.fname.value);
                self.script.functions.insert(name.clone());
                // Whoever calls it may look at what it ends with.
                let context = Context { function: Some(name), looped: false, status: Status::Used, ..context.clone() };
                let errexit = self.script.errexit;
                self.compound(&function.body.0, &context);
                // Nobody has called it yet.
                self.script.errexit |= errexit;
            }
            Command::ExtendedTest(test, _) => {
                let at = location(test, context);
                let mut call = Call { words: vec!["[[".to_owned()], ..self.call(at, context) };
                self.test(&test.expr, &mut call, context);
                self.script.calls.push(call);
            }
        }
    }

    fn compound(&mut self, compound: &CompoundCommand, context: &Context) {
        let condition = Context { status: Status::Used, ..context.clone() };
        let looped = Context { looped: true, ..context.clone() };
        match compound {
            CompoundCommand::Arithmetic(command) => self.sets(identifiers(&command.expr.value)),
            CompoundCommand::ArithmeticForClause(command) => {
                for expression in [&command.initializer, &command.condition, &command.updater].into_iter().flatten() {
                    self.sets(identifiers(&expression.value));
                }
                self.body(&command.body.list, &looped);
            }
            CompoundCommand::BraceGroup(group) => self.body(&group.list, context),
            CompoundCommand::Subshell(shell) => {
                let errexit = self.script.errexit;
                self.body(&shell.list, context);
                self.script.errexit = errexit;
            }
            CompoundCommand::ForClause(command) => {
                self.sets([command.variable_name.clone()].into_iter());
                for word in command.values.iter().flatten() {
                    self.word(word, context, Status::Used);
                }
                self.body(&command.body.list, &looped);
            }
            CompoundCommand::CaseClause(command) => {
                self.word(&command.value, context, Status::Used);
                for case in &command.cases {
                    case.patterns.iter().for_each(|word| self.word(word, context, Status::Used));
                    case.cmd.iter().for_each(|list| self.body(list, context));
                }
            }
            CompoundCommand::IfClause(command) => {
                let lost = context.is_aloud() && swallows(command);
                let status = if lost { Status::Ignored } else { Status::Used };
                self.last_of(&command.condition, &Context { status, ..condition.clone() });
                self.body(&command.then, context);
                for other in command.elses.iter().flatten() {
                    other.condition.iter().for_each(|list| self.body(list, &condition));
                    self.body(&other.body, context);
                }
            }
            CompoundCommand::WhileClause(command) | CompoundCommand::UntilClause(command) => {
                self.body(&command.0, &Context { looped: true, ..condition });
                self.body(&command.1.list, &looped);
            }
            CompoundCommand::Coprocess(command) => self.command(&command.body, &condition),
        }
    }

    /// The condition of an `if`: neither a `!` in front of it nor `set -e` changes what becomes of its status.
    fn last_of(&mut self, condition: &CompoundList, context: &Context) {
        match only_pipeline(condition).map(|pipeline| pipeline.seq.as_slice()) {
            Some([command]) => self.command(command, context),
            _ => self.body(condition, context),
        }
    }

    fn call(&self, (line, column): (usize, usize), context: &Context) -> Call {
        Call {
            function: context.function.clone(),
            looped: context.looped,
            captured: context.captured,
            status: context.status,
            ..Call::at(line, column)
        }
    }

    fn simple(&mut self, simple: &SimpleCommand, context: &Context) {
        let name = simple.word_or_name.as_ref();
        let at = match name {
            Some(word) => place(word, context),
            None => location(simple, context),
        };
        let mut call = self.call(at, context);
        // The status of `x=$(command)` is the command's; behind a program's name nobody sees it.
        let substituted = if name.is_some() { Status::Used } else { context.status };
        for item in simple.prefix.iter().flat_map(|prefix| &prefix.0) {
            self.item(item, &mut call, context, substituted, false);
        }
        if let Some(word) = name {
            self.word(word, context, Status::Used);
            call.words.push(plain(&word.value));
        }
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(item, &mut call, context, substituted, true);
        }
        self.look_at_builtins(&call);
        self.look_inside(&call, context);
        if !call.words.is_empty() || !call.redirects.is_empty() {
            self.script.calls.push(call);
        }
    }

    fn item(
        &mut self,
        item: &CommandPrefixOrSuffixItem,
        call: &mut Call,
        context: &Context,
        substituted: Status,
        argument: bool,
    ) {
        match item {
            CommandPrefixOrSuffixItem::IoRedirect(redirect) => self.redirect(redirect, call, context),
            CommandPrefixOrSuffixItem::Word(word) => {
                self.word(word, context, substituted);
                call.words.push(plain(&word.value));
            }
            CommandPrefixOrSuffixItem::AssignmentWord(assignment, word) => {
                // `dd if=x` looks like an assignment and is none; counting it as one does no harm.
                self.assign(assignment, place(word, context), context, substituted);
                if argument {
                    call.words.push(plain(&word.value));
                }
            }
            CommandPrefixOrSuffixItem::ProcessSubstitution(_, shell) => {
                self.body(&shell.list, &Context { captured: true, status: Status::Used, ..context.clone() });
            }
        }
    }

    fn assign(&mut self, assignment: &Assignment, at: (usize, usize), context: &Context, substituted: Status) {
        let (AssignmentName::VariableName(name) | AssignmentName::ArrayElementName(name, _)) = &assignment.name;
        let value = match &assignment.value {
            AssignmentValue::Scalar(word) => {
                // The parser tells no place of the value by itself.
                let at = (at.0, at.1 + name.chars().count() + 1 + usize::from(assignment.append));
                self.parts(&parts(&word.value), &word.value, at, context, substituted);
                Some(plain(&word.value))
            }
            AssignmentValue::Array(items) => {
                for (key, word) in items {
                    key.iter().for_each(|key| self.word(key, context, Status::Used));
                    self.word(word, context, Status::Used);
                }
                None
            }
        };
        self.script.assigned.push(Assigned { name: name.clone(), value, append: assignment.append });
    }

    fn redirect(&mut self, redirect: &IoRedirect, call: &mut Call, context: &Context) {
        match redirect {
            IoRedirect::File(_, kind, target) => {
                let way = match kind {
                    IoFileRedirectKind::Read | IoFileRedirectKind::DuplicateInput => Redirect::Read,
                    _ => Redirect::Write,
                };
                match target {
                    IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word) => {
                        self.word(word, context, Status::Used);
                        call.redirects.push((way, plain(&word.value)));
                    }
                    IoFileRedirectTarget::ProcessSubstitution(_, shell) => {
                        self.body(&shell.list, &Context { captured: true, status: Status::Used, ..context.clone() });
                    }
                    IoFileRedirectTarget::Fd(_) => {}
                }
            }
            IoRedirect::HereDocument(_, document) if document.requires_expansion => {
                let at = place(&document.doc, context);
                self.parts(&here_document(&document.doc.value), &document.doc.value, at, context, Status::Used);
            }
            IoRedirect::HereDocument(..) => {}
            IoRedirect::HereString(_, word) => self.word(word, context, Status::Used),
            IoRedirect::OutputAndError(word, _) => {
                self.word(word, context, Status::Used);
                call.redirects.push((Redirect::Write, plain(&word.value)));
            }
        }
    }

    fn test(&mut self, test: &ExtendedTestExpr, call: &mut Call, context: &Context) {
        match test {
            ExtendedTestExpr::And(a, b) | ExtendedTestExpr::Or(a, b) => {
                self.test(a, call, context);
                self.test(b, call, context);
            }
            ExtendedTestExpr::Not(inner) | ExtendedTestExpr::Parenthesized(inner) => self.test(inner, call, context),
            ExtendedTestExpr::UnaryTest(_, word) => {
                self.word(word, context, Status::Used);
                call.words.push(plain(&word.value));
            }
            ExtendedTestExpr::BinaryTest(_, left, right) => {
                for word in [left, right] {
                    self.word(word, context, Status::Used);
                    call.words.push(plain(&word.value));
                }
            }
        }
    }

    fn word(&mut self, word: &Word, context: &Context, status: Status) {
        self.parts(&parts(&word.value), &word.value, place(word, context), context, status);
    }

    fn parts(
        &mut self,
        parts: &super::word::Parts,
        raw: &str,
        (line, column): (usize, usize),
        context: &Context,
        status: Status,
    ) {
        self.sets(parts.sets.iter().cloned());
        for (name, has_default) in &parts.variables {
            let (line, column) = within(raw, &format!("${name}"), (line, column));
            self.script.used.push(Used { name: name.clone(), line, column, has_default: *has_default });
        }
        for text in &parts.commands {
            let (line, column) = within(raw, text, (line, column));
            let captured = Context { captured: true, status, line, column, ..context.clone() };
            self.nested(text, &captured);
        }
    }

    fn nested(&mut self, text: &str, context: &Context) {
        if context.depth < DEEPEST
            && let Ok(program) = parse(text)
        {
            self.program(&program, &Context { depth: context.depth + 1, ..context.clone() });
        }
    }

    fn sets(&mut self, names: impl Iterator<Item = String>) {
        let assigned = names.map(|name| Assigned { name, value: None, append: false });
        self.script.assigned.extend(assigned);
    }

    /// What builtins change: options of the shell, and variables.
    fn look_at_builtins(&mut self, call: &Call) {
        let Some((name, words)) = call.words.split_first() else { return };
        match name.as_str() {
            "set" => {
                let short = |sign: char, letter: char| {
                    let options = words.iter().filter_map(|word| word.strip_prefix(sign));
                    let mut options = options.filter(|rest| !rest.starts_with('-'));
                    options.any(|rest| rest.contains(letter))
                };
                let long = |sign: char, option: &str| {
                    words
                        .windows(2)
                        .any(|pair| pair[0].starts_with(sign) && pair[0].ends_with('o') && pair[1] == option)
                };
                let set = |was: bool, letter: Option<char>, option: &str| {
                    let is = |sign: char| letter.is_some_and(|letter| short(sign, letter)) || long(sign, option);
                    (was || is('-')) && !is('+')
                };
                self.script.errexit = set(self.script.errexit, Some('e'), "errexit");
                self.script.pipefail = set(self.script.pipefail, None, "pipefail");
            }
            // Whoever traps errors looks at them.
            "trap" if words.iter().any(|word| word == "ERR") => self.script.errexit = true,
            "." | "source" | "eval" => self.script.open = true,
            "read" | "mapfile" | "readarray" | "local" | "declare" | "typeset" | "export" | "readonly" | "getopts"
            | "unset" | "printf" => self.sets(words.iter().cloned()),
            "exec" => self.sets(words.iter().map(|word| word.trim_matches(['{', '}']).to_owned())),
            _ => {}
        }
    }

    /// The script behind `sh -c`, `eval` and `trap`.
    fn look_inside(&mut self, call: &Call, context: &Context) {
        let made_up = match call.words.split_first() {
            Some((name, words)) if name == "eval" => Some(words.join(" ")),
            Some((name, [handler, _, ..])) if name == "trap" && !handler.starts_with('-') => Some(handler.clone()),
            _ => None,
        };
        if let Some(text) = made_up {
            // The script's own status is that of neither's last command.
            self.nested(
                &text,
                &Context { status: Status::Used, line: call.line, column: call.column, ..context.clone() },
            );
            return;
        }
        let Some(shell) = call.words.iter().position(|word| is_shell_program(word)) else { return };
        let option = |word: &String| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
        let Some(text) = call.words.get(shell + 1).filter(|word| option(word)).and(call.words.get(shell + 2)) else {
            return;
        };
        self.script.inlines.push(Inline { text: text.clone(), line: call.line, column: call.column });
        if is_shell_program(call.program().0) {
            self.nested(text, &Context { line: call.line, column: call.column, ..context.clone() });
        }
    }
}

fn is_shell_program(word: &str) -> bool {
    ["sh", "bash", "dash"].contains(&word.rsplit('/').next().unwrap_or_default())
}

fn place(word: &Word, context: &Context) -> (usize, usize) {
    word.loc
        .as_ref()
        .map_or((context.line, context.column), |span| shifted(span.start.line, span.start.column, context))
}

fn location(item: &(impl SourceLocation + Display), context: &Context) -> (usize, usize) {
    let span = item.location();
    span.map_or((context.line, context.column), |span| shifted(span.start.line, span.start.column, context))
}

fn shifted(line: usize, column: usize, context: &Context) -> (usize, usize) {
    (context.line + line - 1, if line == 1 { context.column + column - 1 } else { column })
}

/// Where a part of a word stands.
fn within(raw: &str, part: &str, (line, column): (usize, usize)) -> (usize, usize) {
    let before = raw.find(part).map_or("", |at| &raw[..at]);
    match before.rsplit_once('\n') {
        Some((above, rest)) => (line + above.matches('\n').count() + 1, rest.chars().count() + 1),
        None => (line, column + before.chars().count()),
    }
}
