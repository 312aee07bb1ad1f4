//! The scenario language as Markdown, made from its JSON Schema: docs/scenario-reference.md.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

use serde_json::Value;

use super::schema::without_variables;

/// A section for each thing that may stand in a scenario, beginning with the file itself, in the order in which they
/// are first named; texts of a certain form come last.
pub fn reference() -> String {
    let schema = without_variables();
    let is_text = |name: &str| schema["$defs"][name].get("pattern").is_some();
    let mut page = "\n### The file\n\n".to_owned();
    body(&mut page, &schema);
    let mut texts = Vec::new();
    for name in reachable(&schema) {
        if is_text(&name) {
            texts.push(name);
        } else {
            section(&mut page, &name, &schema["$defs"][&name]);
        }
    }
    for name in texts {
        section(&mut page, &name, &schema["$defs"][&name]);
    }
    page
}

fn section(page: &mut String, name: &str, schema: &Value) {
    // Writing to a string can't fail.
    let _ = write!(page, "\n### {name}\n\n");
    if let Some(description) = schema["description"].as_str() {
        let _ = writeln!(page, "{}", in_one_line(description));
        if schema.get("pattern").is_none() {
            page.push('\n');
        }
    }
    body(page, schema);
}

/// Keys, or what may stand in the place of it.
fn body(page: &mut String, schema: &Value) {
    if let Some(keys) = schema["properties"].as_object() {
        let required: BTreeSet<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let _ = writeln!(page, "| key | value | |\n|---|---|---|");
        for (key, value) in keys {
            let must = if required.contains(key.as_str()) { " (required)" } else { "" };
            let what = in_one_line(value["description"].as_str().unwrap_or_default());
            let _ = writeln!(page, "| `{key}`{must} | {} | {what}{} |", describe(value), default(value));
        }
    } else if let Some(choices) = schema["oneOf"].as_array() {
        let _ = writeln!(page, "| one of | |\n|---|---|");
        for choice in choices {
            let what = in_one_line(choice["description"].as_str().unwrap_or_default());
            let _ = writeln!(page, "| {} | {what} |", describe(choice));
        }
    } else if schema.get("pattern").is_none() {
        let _ = writeln!(page, "{}", describe(schema));
    }
}

/// What may stand there, in a few words.
fn describe(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(word) = schema["const"].as_str() {
        return format!("`{word}`");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let choices: Vec<&Value> = choices.iter().filter(|choice| choice["type"] != "null").collect();
        return match choices.as_slice() {
            [one, list] if list["items"] == **one => format!("{}, or a list of them", describe(one)),
            choices => choices.iter().map(|choice| describe(choice)).collect::<Vec<_>>().join(" or "),
        };
    }
    if let Some(map) = schema["patternProperties"].as_object().and_then(|map| map.values().next()) {
        return format!("map to {}", describe(map));
    }
    // A key by itself, as an action has one.
    if let Some((key, value)) = schema["properties"].as_object().and_then(|keys| keys.iter().next()) {
        return format!("`{key}:` {}", describe(value));
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
        kind => kind.as_str().into_iter().collect::<Vec<_>>(),
    };
    let words = kinds.into_iter().map(|kind| match kind {
        "array" if schema["items"].is_object() => format!("list of {}", describe(&schema["items"])),
        "array" => "list".to_owned(),
        "object" => "map".to_owned(),
        "integer" | "number" => "number".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        _ => "text".to_owned(),
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// A value that is worth a word: not nothing, and not in the description.
fn default(schema: &Value) -> String {
    let told = schema["description"].as_str().is_some_and(|text| text.contains("efault"));
    match &schema["default"] {
        Value::Number(number) if !told => format!(" Default: {number}."),
        Value::Bool(true) if !told => " Default: true.".to_owned(),
        Value::String(text) if !told => format!(" Default: `{text}`."),
        _ => String::new(),
    }
}

fn in_one_line(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// The definitions in the order in which they are first named, level by level.
fn reachable(schema: &Value) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let mut next = VecDeque::from([&schema["properties"]]);
    while let Some(value) = next.pop_front() {
        let mut named = Vec::new();
        names(value, &mut named);
        for name in named {
            if !order.iter().any(|known| known == name) {
                order.push(name.to_owned());
                next.push_back(&schema["$defs"][name]);
            }
        }
    }
    order
}

fn names<'s>(value: &'s Value, found: &mut Vec<&'s str>) {
    match value {
        Value::Object(keys) => {
            found.extend(keys.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/")));
            keys.values().for_each(|value| names(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_language_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenario-reference.md");
        let text = std::fs::read_to_string(path).expect("docs/scenario-reference.md");
        let keys = text.split_once("## The keys\n").expect("a heading `## The keys`").1;
        assert_eq!(keys, reference(), "renew what follows `## The keys` with `day1 schema --markdown`");
    }

    #[test]
    fn each_definition_has_its_section_and_each_link_leads_to_one() {
        let (schema, page) = (without_variables(), reference());
        for name in schema["$defs"].as_object().unwrap().keys() {
            assert!(page.contains(&format!("\n### {name}\n")), "{name}");
        }
        for link in page.split("](#").skip(1).filter_map(|rest| rest.split_once(')')) {
            assert!(page.to_lowercase().contains(&format!("\n### {}\n", link.0)), "{}", link.0);
        }
        assert!(
            page.contains("| `boots` (required) | list of [Boot](#boot) | What must happen, boot by boot. "),
            "{page}"
        );
        assert!(page.contains("| `fill:` [Fill](#fill) | A file system becomes full. |"), "{page}");
    }
}
