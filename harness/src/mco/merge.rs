//! Ignition's merge of a child config into a parent, by the rules of `config/merge/merge.go`:
//!
//! - objects merge key by key, and the child's value wins;
//! - lists merge by the items' keys (a file's path, a unit's name): items of both merge in the parent's place,
//!   the child's others come after;
//! - files, directories and links share one key space, and so do the two lists of kernel arguments: the
//!   child's item removes the parent's of another kind;
//! - a few lists (`append`, `options`, `mountOptions`) are only joined.

use serde_json::{Map, Value};

use super::ignition::text;

/// Lists that are joined (`IgnoreDuplicates` in the types of Ignition).
const JOINED: [&str; 3] = ["append", "options", "mountOptions"];
/// Lists that share one key space (`MergedKeys`).
const SHARED: [&[&str]; 2] = [&["files", "directories", "links"], &["shouldExist", "shouldNotExist"]];

/// Merges `child` into `parent`.
pub(super) fn merge(parent: Map<String, Value>, child: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = Map::new();
    for (key, value) in parent {
        let with = child.get(&key);
        let value = match (value, with) {
            (Value::Object(value), Some(Value::Object(with))) => Value::Object(merge(value, with)),
            (Value::Array(value), with) => {
                let empty = Vec::new();
                let with = with.and_then(Value::as_array).unwrap_or(&empty);
                Value::Array(merge_lists(&key, value, with, child))
            }
            (_, Some(with)) => with.clone(),
            (value, None) => value,
        };
        merged.insert(key, value);
    }
    for (key, value) in child {
        merged.entry(key.clone()).or_insert_with(|| value.clone());
    }
    merged
}

fn merge_lists(list: &str, parent: Vec<Value>, child: &[Value], siblings: &Map<String, Value>) -> Vec<Value> {
    if JOINED.contains(&list) {
        return parent.into_iter().chain(child.iter().cloned()).collect();
    }
    let parent_keys: Vec<String> = parent.iter().map(|item| key_of(list, item)).collect();
    let mut merged = Vec::new();
    for (item, key) in parent.into_iter().zip(&parent_keys) {
        match (item, child.iter().find(|candidate| key_of(list, candidate) == *key)) {
            // A header without a value takes the parent's away.
            (_, Some(with)) if list == "httpHeaders" && with.get("value").is_none() => {}
            (Value::Object(item), Some(Value::Object(with))) => merged.push(Value::Object(merge(item, with))),
            (_, Some(with)) => merged.push(with.clone()),
            (item, None) if !is_in_sibling(list, key, siblings) => merged.push(item),
            (_, None) => {}
        }
    }
    merged.extend(child.iter().filter(|item| !parent_keys.contains(&key_of(list, item))).cloned());
    merged
}

fn is_in_sibling(list: &str, key: &str, siblings: &Map<String, Value>) -> bool {
    let group = SHARED.iter().find(|group| group.contains(&list)).copied().unwrap_or_default();
    group.iter().filter(|sibling| **sibling != list).any(|sibling| {
        let items = siblings.get(*sibling).and_then(Value::as_array);
        items.into_iter().flatten().any(|item| key_of(sibling, item) == key)
    })
}

/// What makes an item the same one in both configs (`Key()` in the types of Ignition).
fn key_of(list: &str, item: &Value) -> String {
    if let Some(own) = item.as_str() {
        return own.to_owned();
    }
    let key = match list {
        "files" | "directories" | "links" => "path",
        "disks" | "filesystems" => "device",
        "tang" => "url",
        "merge" | "certificateAuthorities" => "source",
        "partitions" => return partition_key(item),
        _ => "name",
    };
    text(item, key).to_owned()
}

fn partition_key(partition: &Value) -> String {
    match partition.get("number").and_then(Value::as_i64) {
        Some(number) if number != 0 => format!("number:{number}"),
        _ => partition.get("label").and_then(Value::as_str).map_or_else(String::new, |label| format!("label:{label}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(parent: Value, child: Value) -> Value {
        let (Value::Object(parent), Value::Object(child)) = (parent, child) else { panic!("two objects") };
        Value::Object(merge(parent, &child))
    }

    #[test]
    fn files_merge_by_path_in_the_parents_place() {
        let parent = json!({ "storage": { "files": [
            { "path": "/a", "mode": 420, "contents": { "source": "data:,1" } },
            { "path": "/b" },
        ] } });
        let child = json!({ "storage": { "files": [
            { "path": "/c" },
            { "path": "/a", "contents": { "source": "data:,2" }, "append": [{ "source": "data:,x" }] },
        ] } });
        let expected = json!({ "storage": { "files": [
            { "path": "/a", "mode": 420, "contents": { "source": "data:,2" }, "append": [{ "source": "data:,x" }] },
            { "path": "/b" },
            { "path": "/c" },
        ] } });
        assert_eq!(merged(parent, child), expected);
    }

    #[test]
    fn a_link_takes_the_place_of_a_file() {
        let parent = json!({ "storage": { "files": [{ "path": "/a" }, { "path": "/b" }] } });
        let child = json!({ "storage": { "links": [{ "path": "/a", "target": "/x" }] } });
        let expected =
            json!({ "storage": { "files": [{ "path": "/b" }], "links": [{ "path": "/a", "target": "/x" }] } });
        assert_eq!(merged(parent, child), expected);
    }

    #[test]
    fn units_merge_by_name_and_their_dropins_too() {
        let parent = json!({ "systemd": { "units": [{
            "name": "a.service", "enabled": true, "contents": "old",
            "dropins": [{ "name": "1.conf", "contents": "one" }],
        }] } });
        let child = json!({ "systemd": { "units": [{
            "name": "a.service", "contents": "new", "mask": true,
            "dropins": [{ "name": "1.conf", "contents": "eins" }, { "name": "2.conf" }],
        }] } });
        let expected = json!({ "systemd": { "units": [{
            "name": "a.service", "enabled": true, "contents": "new", "mask": true,
            "dropins": [{ "name": "1.conf", "contents": "eins" }, { "name": "2.conf" }],
        }] } });
        assert_eq!(merged(parent, child), expected);
    }

    #[test]
    fn lists_of_texts_hold_each_once_and_options_are_joined() {
        let parent = json!({ "users": [{ "name": "core", "groups": ["a", "b"] }], "options": ["x"] });
        let child = json!({ "users": [{ "name": "core", "groups": ["b", "c"] }], "options": ["x"] });
        let expected = json!({ "users": [{ "name": "core", "groups": ["a", "b", "c"] }], "options": ["x", "x"] });
        assert_eq!(merged(parent, child), expected);
    }

    #[test]
    fn partitions_are_the_same_by_number_or_label() {
        let parent = json!({ "partitions": [{ "number": 1, "sizeMiB": 1 }, { "number": 0, "label": "var" }] });
        let child = json!({ "partitions": [{ "label": "var", "sizeMiB": 2 }, { "number": 1, "sizeMiB": 3 }] });
        let expected = json!({ "partitions": [
            { "number": 1, "sizeMiB": 3 },
            { "number": 0, "label": "var", "sizeMiB": 2 },
        ] });
        assert_eq!(merged(parent, child), expected);
    }

    #[test]
    fn kernel_arguments_move_between_their_lists() {
        let parent = json!({ "kernelArguments": { "shouldExist": ["a", "b"] } });
        let child = json!({ "kernelArguments": { "shouldNotExist": ["a"] } });
        let expected = json!({ "kernelArguments": { "shouldExist": ["b"], "shouldNotExist": ["a"] } });
        assert_eq!(merged(parent, child), expected);
    }
}
