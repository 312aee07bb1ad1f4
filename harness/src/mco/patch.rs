//! Small changes to a MachineConfig's text: faulty and harmless variants of a good one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::node_config::decode;
use super::yaml::only_object;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where.
    pub place: Place,
    /// What.
    pub change: Change,
}

/// Where a change is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the unit of this name.
    Unit(String),
    /// In the file whose path ends like this.
    File(String),
    /// In every name, path and text.
    Everywhere,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Each occurrence of a text, of which there must be one, becomes another one.
    Replace {
        /// The text.
        text: String,
        /// What takes its place.
        with: String,
    },
    /// A text is put behind the last line.
    Append(String),
    /// A file gets another mode.
    Mode(u32),
    /// A unit is enabled or not.
    Enabled(bool),
    /// It is left out.
    Remove,
}

/// Why a change can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The text is no MachineConfig.
    #[error("the text to be changed is no MachineConfig: {0}")]
    Unreadable(String),
    /// The unit or file is not there.
    #[error("there is no {what} {wanted:?} to change; there are: {known}")]
    NotThere {
        /// `unit` or `file`.
        what: &'static str,
        /// As it was named.
        wanted: String,
        /// All that there are.
        known: String,
    },
    /// The text is not there.
    #[error("{place} does not hold the text to replace: {text:?}")]
    NoSuchText {
        /// Where it was looked for.
        place: String,
        /// The text.
        text: String,
    },
    /// The change makes no sense there.
    #[error("{0}")]
    Senseless(&'static str),
}

/// The MachineConfig with all changes made, as JSON.
pub fn patch(text: &str, patches: &[Patch]) -> Result<String, PatchError> {
    let mut config = only_object(text).map_err(PatchError::Unreadable)?;
    for one in patches {
        match &one.place {
            Place::Everywhere => everywhere(&mut config, &one.change)?,
            Place::Unit(name) => {
                let units = list(&mut config, "/spec/config/systemd/units");
                change(units, "unit", "name", name, |unit| unit == name, &one.change)?;
            }
            Place::File(end) => {
                let files = list(&mut config, "/spec/config/storage/files");
                change(files, "file", "path", end, |path| path.ends_with(end.as_str()), &one.change)?;
            }
        }
    }
    Ok(config.to_string())
}

fn list<'v>(config: &'v mut Value, pointer: &str) -> Option<&'v mut Vec<Value>> {
    config.pointer_mut(pointer)?.as_array_mut()
}

fn change(
    items: Option<&mut Vec<Value>>,
    what: &'static str,
    key: &str,
    wanted: &str,
    is_wanted: impl Fn(&str) -> bool,
    change: &Change,
) -> Result<(), PatchError> {
    let mut none = Vec::new();
    let items = items.unwrap_or(&mut none);
    let name = |item: &Value| item[key].as_str().unwrap_or_default().to_owned();
    let known = || items.iter().map(name).collect::<Vec<_>>().join(", ");
    let Some(index) = items.iter().position(|item| is_wanted(&name(item))) else {
        return Err(PatchError::NotThere { what, wanted: wanted.to_owned(), known: known() });
    };
    let item = &mut items[index];
    match change {
        Change::Remove => drop(items.remove(index)),
        Change::Mode(mode) if what == "file" => item["mode"] = json!(mode),
        Change::Enabled(enabled) if what == "unit" => item["enabled"] = json!(enabled),
        Change::Mode(_) | Change::Enabled(_) => {
            return Err(PatchError::Senseless("a mode is a file's, and `enabled` a unit's"));
        }
        Change::Replace { text, with } => {
            let before = text_of(item, what);
            if !before.contains(text.as_str()) {
                return Err(PatchError::NoSuchText { place: name(item), text: text.clone() });
            }
            set_text(item, what, &before.replace(text.as_str(), with));
        }
        Change::Append(text) => {
            let before = text_of(item, what);
            set_text(item, what, &format!("{before}{text}"));
        }
    }
    Ok(())
}

fn everywhere(config: &mut Value, change: &Change) -> Result<(), PatchError> {
    let Change::Replace { text, with } = change else {
        return Err(PatchError::Senseless("everywhere a text can be replaced, and nothing else"));
    };
    let mut found = false;
    let mut replace = |before: &str| {
        found |= before.contains(text.as_str());
        before.replace(text.as_str(), with)
    };
    for (pointer, what, key) in
        [("/spec/config/systemd/units", "unit", "name"), ("/spec/config/storage/files", "file", "path")]
    {
        for item in list(config, pointer).into_iter().flatten() {
            item[key] = json!(replace(item[key].as_str().unwrap_or_default()));
            let changed = replace(&text_of(item, what));
            set_text(item, what, &changed);
        }
    }
    if found { Ok(()) } else { Err(PatchError::NoSuchText { place: "no unit or file".into(), text: text.clone() }) }
}

/// A unit's or a file's text; empty for none. Files are in `data:` URLs, in base64 or percent-encoded.
fn text_of(item: &Value, what: &str) -> String {
    if what == "unit" {
        return item["contents"].as_str().unwrap_or_default().to_owned();
    }
    let source = item["contents"]["source"].as_str().unwrap_or_default();
    String::from_utf8_lossy(&decode(source).unwrap_or_default()).into_owned()
}

fn set_text(item: &mut Value, what: &str, text: &str) {
    if what == "unit" {
        item["contents"] = json!(text);
    } else {
        item["contents"]["source"] = json!(format!("data:;base64,{}", STANDARD.encode(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 99-x}
spec:
  config:
    storage:
      files:
        - {path: /usr/local/bin/99-x.sh, mode: 493, contents: {source: 'data:,one%20two%0A'}}
    systemd:
      units:
        - {name: 99-x.service, enabled: true, contents: \"[Unit]\\nBefore=a b\\n\"}
";

    fn patched(place: Place, change: Change) -> Result<Value, PatchError> {
        patch(TEXT, &[Patch { place, change }]).map(|text| serde_json::from_str(&text).expect("JSON"))
    }

    fn replace(text: &str, with: &str) -> Change {
        Change::Replace { text: text.into(), with: with.into() }
    }

    fn unit() -> Place {
        Place::Unit("99-x.service".into())
    }

    fn file() -> Place {
        Place::File("x.sh".into())
    }

    #[test]
    fn units_and_files_are_changed() {
        let config = patched(unit(), replace("Before=a b", "Before=b")).expect("patched");
        assert_eq!(config["spec"]["config"]["systemd"]["units"][0]["contents"], "[Unit]\nBefore=b\n");
        let config = patched(file(), Change::Append("three\n".into())).expect("patched");
        let file_of = |config: &Value| config["spec"]["config"]["storage"]["files"][0].clone();
        assert_eq!(text_of(&file_of(&config), "file"), "one two\nthree\n");
        assert_eq!(file_of(&patched(file(), Change::Mode(0o777)).expect("patched"))["mode"], 0o777);
        let config = patched(unit(), Change::Enabled(false)).expect("patched");
        assert_eq!(config["spec"]["config"]["systemd"]["units"][0]["enabled"], false);
        let config = patched(unit(), Change::Remove).expect("patched");
        assert_eq!(config["spec"]["config"]["systemd"]["units"], json!([]));
    }

    #[test]
    fn a_name_is_changed_everywhere() {
        let config = patched(Place::Everywhere, replace("99-x", "50-y")).expect("patched").to_string();
        assert!(config.contains("50-y.service") && config.contains("/usr/local/bin/50-y.sh"), "{config}");
    }

    #[test]
    fn what_can_not_be_changed_is_told() {
        let error = |place, change| patched(place, change).expect_err("refused").to_string();
        assert!(error(Place::Unit("y.service".into()), Change::Remove).contains("there are: 99-x.service"));
        assert!(error(file(), replace("four", "")).contains("does not hold the text"));
        assert!(error(Place::Everywhere, replace("four", "")).contains("no unit or file"));
        assert!(error(unit(), Change::Mode(0o777)).contains("a mode is a file's"));
        assert!(patch("- a list", &[Patch { place: unit(), change: Change::Remove }]).is_err());
    }
}
