//! A rendered config as a cluster holds it, and as a person reads it.

use serde_json::{Map, Value, json};

use super::Rendered;
use super::ignition::items;
use super::node_config::contents;

impl Rendered {
    /// The MachineConfig that a cluster would hold.
    pub fn machine_config(&self) -> Value {
        let config: Value = serde_json::from_slice(&self.ignition_json).unwrap_or_default();
        json!({
            "apiVersion": "machineconfiguration.openshift.io/v1",
            "kind": "MachineConfig",
            "metadata": { "name": self.name },
            "spec": {
                "config": config,
                "extensions": self.extensions,
                "fips": self.fips,
                "kernelArguments": self.kernel_arguments,
                "kernelType": self.kernel_type,
                "osImageURL": self.os_image_url.as_deref().unwrap_or_default(),
            },
        })
    }

    /// All of it for a person, in YAML: files by path with their text and octal mode, units by name.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        let mut config: Map<String, Value> = serde_json::from_slice(&self.ignition_json).unwrap_or_default();
        let named = |section: &str, list: &str, key: &str, change: fn(&mut Map<String, Value>)| -> Mapping {
            let found = items(config.get(section), list).filter_map(Value::as_object);
            let entries = found.map(|item| {
                let mut item = item.clone();
                let name = item.remove(key).unwrap_or_default();
                change(&mut item);
                (yaml(name), yaml(Value::Object(item)))
            });
            entries.collect()
        };
        let files = named("storage", "files", "path", as_text);
        let units = named("systemd", "units", "name", dropins_by_name);
        for (section, list) in [("storage", "files"), ("systemd", "units")] {
            if let Some(section) = config.get_mut(section).and_then(Value::as_object_mut) {
                section.remove(list);
            }
        }
        config.remove("ignition");
        config.retain(|_, section| section.as_object().is_none_or(|section| !section.is_empty()));
        let mut page: Mapping = [
            ("name", json!(self.name)),
            ("sources", json!(self.sources)),
            ("osImageURL", json!(self.os_image_url)),
            ("kernelType", json!(self.kernel_type)),
            ("kernelArguments", json!(self.kernel_arguments)),
            ("extensions", json!(self.extensions)),
            ("fips", json!(self.fips)),
            ("ignition", json!(self.version.to_string())),
        ]
        .into_iter()
        .map(|(key, value)| (key.into(), yaml(value)))
        .collect();
        page.insert("files".into(), files.into());
        page.insert("units".into(), units.into());
        page.extend(config.into_iter().map(|(key, section)| (key.into(), yaml(section))));
        serde_yaml::to_string(&page)
    }
}

type Mapping = serde_yaml::Mapping;

fn yaml(value: Value) -> serde_yaml::Value {
    serde_yaml::to_value(value).unwrap_or_default()
}

/// A mode as chmod has it, and contents as text, unpacked; what is no text, or is fetched from elsewhere, stays as it is.
fn as_text(file: &mut Map<String, Value>) {
    if let Some(mode) = file.get_mut("mode")
        && let Some(bits) = mode.as_u64()
    {
        *mode = json!(format!("{bits:04o}"));
    }
    let text = file.get("contents").and_then(|resource| contents(resource).ok());
    if let Some(text) = text.and_then(|bytes| String::from_utf8(bytes).ok()) {
        file.insert("contents".into(), text.into());
    }
}

fn dropins_by_name(unit: &mut Map<String, Value>) {
    let Some(dropins) = unit.get_mut("dropins") else { return };
    let by_name = dropins.as_array().into_iter().flatten().filter_map(|dropin| {
        let contents = dropin.get("contents").cloned().unwrap_or_default();
        Some((dropin["name"].as_str()?.to_owned(), contents))
    });
    *dropins = Value::Object(by_name.collect());
}
