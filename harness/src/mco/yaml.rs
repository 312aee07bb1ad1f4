//! YAML and JSON as the cluster reads them.
//!
//! `oc`, the API server and the MCO read YAML by sigs.k8s.io/yaml, which is YAML 1.1 (go-yaml v2, `resolve.go`): `0755` is an
//! octal number there, `yes` is true, and `<<` merges maps. The parser here is of YAML 1.2, so its tree is changed to that.

use serde::Deserialize;

use crate::scenario::{Document, Entry, Exact, Node, Path, Value};

/// A text that can't be read.
#[derive(Debug)]
pub(crate) struct Unread {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column, from 1.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do, where that is known.
    pub(crate) help: Option<String>,
}

/// The documents of a text, each with the places of everything in it; JSON is one.
pub(crate) fn documents(name: &str, text: &str) -> Result<Vec<Document>, Vec<Unread>> {
    let is_json = text.trim_start().starts_with(['{', '[']);
    if is_json && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&without_tabs(text)) {
        let message = error.to_string();
        let message = message.rfind(" at line ").map_or(message.as_str(), |end| &message[..end]);
        let (line, column) = (error.line().max(1), error.column().max(1));
        return Err(vec![Unread { line, column, message: format!("not JSON: {message}"), help: None }]);
    }
    let text = if is_json { without_tabs(text) } else { text.to_owned() };
    let mut documents = Document::parse_all(name, text).map_err(|mistakes| {
        let unread = |mistake: crate::scenario::Mistake| Unread {
            line: mistake.line,
            column: mistake.column,
            message: mistake.message,
            help: mistake.help,
        };
        mistakes.mistakes.into_iter().map(unread).collect::<Vec<_>>()
    })?;
    for document in &mut documents {
        let mut merged = 0;
        as_the_cluster_reads(&mut document.root, &mut merged);
    }
    Ok(documents)
}

/// Where the objects of a document stand: the items of a list, as `oc get -o yaml` gives it, or the document itself.
pub(crate) fn objects(document: &Document) -> Vec<Path> {
    let kind = document.root.get("kind").and_then(Node::text);
    match document.root.get("items") {
        Some(items) if kind.is_some_and(|kind| kind.ends_with("List")) => {
            (0..items.items().len()).map(|index| Path::default().key("items").index(index)).collect()
        }
        _ => vec![Path::default()],
    }
}

/// The only object of a text, the one of a list of one too.
pub(crate) fn only_object(text: &str) -> Result<serde_json::Value, String> {
    let told = |unread: Vec<Unread>| {
        let told = unread.iter().map(|one| format!("{}:{}: {}", one.line, one.column, one.message));
        told.collect::<Vec<_>>().join("; ")
    };
    let documents = documents("", text).map_err(told)?;
    let mut found = documents.iter().filter(|document| !document.root.is_null()).flat_map(|document| {
        let parts = objects(document).into_iter();
        parts.filter_map(|at| document.node(&at)).collect::<Vec<_>>()
    });
    match (found.next(), found.next()) {
        (Some(node), None) => serde_json::Value::deserialize(Exact(node)).map_err(|error| error.to_string()),
        (None, _) => Err("it holds nothing".to_owned()),
        (Some(_), Some(_)) => Err("it holds several objects".to_owned()),
    }
}

/// Entries that merging adds, at most: merged maps within each other grow without bound.
const MOST_MERGED: usize = 100_000;

fn as_the_cluster_reads(node: &mut Node, merged: &mut usize) {
    match &mut node.value {
        Value::Scalar { text, plain: true } => {
            if let Some(other) = resolved(text) {
                *text = other;
            }
        }
        Value::Scalar { .. } => {}
        Value::Seq(items) => items.iter_mut().for_each(|item| as_the_cluster_reads(item, merged)),
        Value::Map(entries) => {
            merge(entries, merged);
            entries.iter_mut().for_each(|entry| as_the_cluster_reads(&mut entry.value, merged));
        }
    }
}

/// How YAML 1.2 writes a plain scalar that only YAML 1.1 knows. An octal number keeps its zero: lint tells by it how a
/// mode is written, and [`Exact`] reads it as octal.
fn resolved(text: &str) -> Option<String> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Some("true".to_owned()),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Some("false".to_owned()),
        _ => {}
    }
    let (radix, digits) = match text.get(..2)? {
        "0o" | "0O" => (8, &text[2..]),
        "0x" | "0X" => (16, &text[2..]),
        "0b" | "0B" => (2, &text[2..]),
        _ => return None,
    };
    let number = u64::from_str_radix(digits, radix).ok()?;
    Some(if radix == 8 { format!("0{digits}") } else { number.to_string() })
}

/// Puts the entries of the maps behind `<<` into their map; its own ones stay.
fn merge(entries: &mut Vec<Entry>, merged: &mut usize) {
    while let Some(at) = entries.iter().position(|entry| entry.key == "<<") {
        let from = entries.remove(at).value;
        let maps = if from.items().is_empty() { std::slice::from_ref(&from) } else { from.items() };
        for entry in maps.iter().flat_map(Node::entries) {
            *merged += 1;
            // A merged map may merge another one in turn.
            let is_new = entry.key == "<<" || entries.iter().all(|own| own.key != entry.key);
            if is_new && *merged < MOST_MERGED {
                entries.push(entry.clone());
            }
        }
    }
}

/// JSON as YAML reads it: without tabs between the values, and without characters in two halves.
fn without_tabs(text: &str) -> String {
    let mut yaml = String::with_capacity(text.len());
    let mut rest = text.chars();
    let (mut quoted, mut escaped) = (false, false);
    while let Some(c) = rest.next() {
        let whole = if escaped && c == 'u' { surrogates(rest.as_str()) } else { None };
        match (c, whole) {
            ('\t', _) if !quoted => yaml.push(' '),
            (_, Some(whole)) => {
                yaml.pop();
                yaml.push(whole);
                rest.nth(9);
            }
            _ => yaml.push(c),
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped && quoted;
    }
    yaml
}

/// The character of `d83d\ude00`, as it stands after `\u`.
fn surrogates(text: &str) -> Option<char> {
    let unit = |at: usize| u16::from_str_radix(text.get(at..at + 4)?, 16).ok();
    let low = text.get(4..6).filter(|mark| *mark == "\\u").and_then(|_| unit(6))?;
    // Of two characters that stand for themselves, the first one would take the second one's place.
    let high = unit(0).filter(|high| (0xd800..0xdc00).contains(high))?;
    char::decode_utf16([high, low]).next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_may_have_tabs_and_characters_in_two_halves() {
        assert_eq!(without_tabs("{\t\"a\\\"\tb\": \"\\ud83d\\ude00!\"}"), "{ \"a\\\"\tb\": \"😀!\"}");
        assert_eq!(without_tabs("\"\\\\ud83d\""), "\"\\\\ud83d\"");
        // As Go writes `&&`, `2>&1` and others.
        let go = r#"{"a": "x \u0026\u0026 y 2\u003e\u00261 \u003c\u003c\u003c \u00e4\ud83d\ude00\u00fc"}"#;
        assert_eq!(only_object(go).expect("an object"), json!({ "a": "x && y 2>&1 <<< ä😀ü" }));
    }

    #[test]
    fn yaml_is_what_the_cluster_makes_of_it() {
        let read = |text: &str| only_object(text).expect("an object");
        assert_eq!(read("- 0755\n- 0o755\n- 0x1ed\n- 493\n"), json!([493, 493, 493, 493]));
        assert_eq!(read("- 0755\n- '0755'\n- \"yes\"\n- 0888x\n"), json!([493, "0755", "yes", "0888x"]));
        assert_eq!(read("a: yes\nb: Off\nc: yes it is\nd: ~\ne: True\n").to_string(), {
            r#"{"a":true,"b":false,"c":"yes it is","d":null,"e":true}"#
        });
        let merged = read("a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3, z: 4}\nc: {<<: [*b, *a], x: 5}\n");
        assert_eq!(merged["b"], json!({ "x": 1, "y": 3, "z": 4 }));
        assert_eq!(merged["c"], json!({ "x": 5, "y": 3, "z": 4 }));
        assert_eq!(read("kind: List\nitems:\n- {a: 1}\n"), json!({ "a": 1 }));
        assert!(only_object("kind: List\nitems:\n- {a: 1}\n- {a: 2}\n").is_err());
        assert!(only_object("").is_err());
    }
}
