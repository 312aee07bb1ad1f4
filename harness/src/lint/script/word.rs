//! Words of a script: their text, their variables, and the commands in them.

use brush_parser::ParserOptions;
use brush_parser::word::{self, Parameter, ParameterExpr, WordPiece, WordPieceWithSource};

/// What a word holds.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Variables, and whether something stands in for them.
    pub(super) variables: Vec<(String, bool)>,
    /// Variables that the word itself sets: `${x:=…}`, `$((x++))`.
    pub(super) sets: Vec<String>,
    /// The texts of `$(…)` and backquotes.
    pub(super) commands: Vec<String>,
    /// Whether the status of the last command is in it.
    pub(super) last_status: bool,
}

/// Takes a word apart; one that can't be parsed has nothing in it.
pub(super) fn parts(raw: &str) -> Parts {
    let mut parts = Parts::default();
    if raw.contains(['$', '`']) {
        collect(raw, false, &mut parts, 0);
    }
    parts
}

/// As [`parts`], of a here-document.
pub(super) fn here_document(raw: &str) -> Parts {
    let mut parts = Parts::default();
    collect(raw, true, &mut parts, 0);
    parts
}

fn collect(raw: &str, here: bool, parts: &mut Parts, depth: usize) {
    let options = ParserOptions::default();
    let pieces = if here { word::parse_heredoc(raw, &options) } else { word::parse(raw, &options) };
    if depth < 10
        && let Ok(pieces) = pieces
    {
        pieces.iter().for_each(|piece| take(piece, parts, depth));
    }
}

fn take(piece: &WordPieceWithSource, parts: &mut Parts, depth: usize) {
    match &piece.piece {
        WordPiece::DoubleQuotedSequence(pieces) | WordPiece::GettextDoubleQuotedSequence(pieces) => {
            pieces.iter().for_each(|piece| take(piece, parts, depth));
        }
        WordPiece::CommandSubstitution(text) | WordPiece::BackquotedCommandSubstitution(text) => {
            parts.commands.push(text.clone());
        }
        WordPiece::ParameterExpansion(expression) => parameter(expression, parts, depth),
        WordPiece::ArithmeticExpression(expression) => parts.sets.extend(identifiers(&expression.value)),
        _ => {}
    }
}

fn parameter(expression: &ParameterExpr, parts: &mut Parts, depth: usize) {
    use ParameterExpr as E;
    let (parameter, has_default, word) = match expression {
        E::Parameter { parameter, .. } => (parameter, false, None),
        E::UseDefaultValues { parameter, default_value: word, .. }
        | E::IndicateErrorIfNullOrUnset { parameter, error_message: word, .. }
        | E::UseAlternativeValue { parameter, alternative_value: word, .. } => (parameter, true, word.as_ref()),
        E::AssignDefaultValues { parameter, default_value: word, .. } => {
            parts.sets.extend(name_of(parameter));
            (parameter, true, word.as_ref())
        }
        E::RemoveSmallestSuffixPattern { parameter, pattern: word, .. }
        | E::RemoveLargestSuffixPattern { parameter, pattern: word, .. }
        | E::RemoveSmallestPrefixPattern { parameter, pattern: word, .. }
        | E::RemoveLargestPrefixPattern { parameter, pattern: word, .. } => (parameter, false, word.as_ref()),
        E::ReplaceSubstring { parameter, replacement, .. } => (parameter, false, replacement.as_ref()),
        E::ParameterLength { parameter, .. } | E::Substring { parameter, .. } => (parameter, false, None),
        _ => return,
    };
    if let Parameter::Special(word::SpecialParameter::LastExitStatus) = parameter {
        parts.last_status = true;
    }
    parts.variables.extend(name_of(parameter).map(|name| (name, has_default)));
    if let Some(word) = word {
        collect(word, false, parts, depth + 1);
    }
}

fn name_of(parameter: &Parameter) -> Option<String> {
    match parameter {
        Parameter::Named(name)
        | Parameter::NamedWithIndex { name, .. }
        | Parameter::NamedWithAllIndices { name, .. } => Some(name.clone()),
        Parameter::Positional(_) | Parameter::Special(_) => None,
    }
}

/// Names in an arithmetic expression, where one can be set without looking like it.
pub(super) fn identifiers(expression: &str) -> impl Iterator<Item = String> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        .map(str::to_owned)
}

/// A word without its quotes and escapes; `${NAME}` becomes `$NAME`.
pub(in crate::lint) fn plain(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => match chars.next() {
                Some('\n') | None => {}
                Some(next) if quote.is_none() || "$`\"\\".contains(next) => text.push(next),
                Some(next) => text.extend(['\\', next]),
            },
            (c, _) => text.push(c),
        }
    }
    without_braces(&text)
}

fn without_braces(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let name = rest[at + 2..].split_once('}').map_or("", |(name, _)| name);
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        plain.push_str(&rest[..at]);
        if is_name {
            plain.push('$');
            plain.push_str(name);
            rest = &rest[at + 3 + name.len()..];
        } else {
            plain.push_str("${");
            rest = &rest[at + 2..];
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart() {
        let parts = parts("\"$a:${b:-$c}$(uname -r)\"${d%x}$((i++))$?");
        let names: Vec<_> = parts.variables.iter().map(|(name, default)| (name.as_str(), *default)).collect();
        assert_eq!(names, [("a", false), ("b", true), ("c", false), ("d", false)]);
        assert_eq!(parts.commands, ["uname -r"]);
        assert_eq!(parts.sets, ["i"]);
        assert!(parts.last_status);
        assert!(super::parts("'$a $(b)'").variables.is_empty());
    }

    #[test]
    fn quotes_are_removed() {
        assert_eq!(plain("\"${IMAGE}:$(uname -r)\""), "$IMAGE:$(uname -r)");
        assert_eq!(plain("'a b'\\ c\"\\$d\\n\""), "a b c$d\\n");
        assert_eq!(plain("${a:-b}${c}"), "${a:-b}$c");
    }
}
