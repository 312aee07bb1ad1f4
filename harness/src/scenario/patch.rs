//! Changes to a MachineConfig under test.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{FileMode, UnitRef};

/// A change to a MachineConfig under test, made before the MCO would see it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PatchForm")]
pub struct Patch {
    /// Where.
    pub place: PatchPlace,
    /// What.
    pub change: PatchChange,
}

/// Where a change is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchPlace {
    /// In a unit.
    Unit(UnitRef),
    /// In the file whose path ends like this.
    File(String),
    /// In all names, paths and texts.
    Everywhere,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchChange {
    /// Each occurrence of a text, of which there must be one, becomes another one.
    Replace {
        /// The text.
        text: String,
        /// What takes its place.
        with: String,
    },
    /// A text is put at the end.
    Append(String),
    /// A file gets another mode.
    Mode(FileMode),
    /// A unit is enabled or not.
    Enabled(bool),
    /// It is left out.
    Remove,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PatchForm {
    /// The unit, by role or name.
    unit: Option<UnitRef>,
    /// The end of the file's path.
    file: Option<String>,
    /// A text that is replaced in everything; goes with `with`.
    everywhere: Option<String>,
    /// A text that is replaced; goes with `with`.
    replace: Option<String>,
    /// What takes the place of the replaced text.
    with: Option<String>,
    /// A text that is put at the end.
    append: Option<String>,
    /// The mode that the file gets.
    mode: Option<FileMode>,
    /// Whether the unit is enabled.
    enabled: Option<bool>,
    /// Whether it is left out.
    #[serde(default)]
    remove: bool,
}

impl TryFrom<PatchForm> for Patch {
    type Error = &'static str;

    fn try_from(form: PatchForm) -> Result<Self, Self::Error> {
        let (place, replace) = match (form.unit, form.file, form.everywhere) {
            (Some(unit), None, None) => (PatchPlace::Unit(unit), form.replace),
            (None, Some(end), None) => (PatchPlace::File(end), form.replace),
            (None, None, Some(text)) if form.replace.is_none() => (PatchPlace::Everywhere, Some(text)),
            _ => {
                return Err(
                    "it is not clear what is to be changed\nName one: `unit`, `file` (the end of its path), or `everywhere` with the text to replace.",
                );
            }
        };
        let changes = [
            replace.zip(form.with).map(|(text, with)| PatchChange::Replace { text, with }),
            form.append.map(PatchChange::Append),
            form.mode.map(PatchChange::Mode),
            form.enabled.map(PatchChange::Enabled),
            form.remove.then_some(PatchChange::Remove),
        ];
        let mut changes = changes.into_iter().flatten();
        match (changes.next(), changes.next()) {
            (Some(change), None) => Ok(Self { place, change }),
            _ => Err(
                "it is not clear what the change is\nWrite one: `replace` and `with`, `append`, `mode`, `enabled`, or `remove: true`.",
            ),
        }
    }
}
