//! What must be true: one type per check, with the check's id as its key.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{
    Deserializer, IntoDeserializer, SeqAccess, Visitor, value::MapAccessDeserializer, value::SeqAccessDeserializer,
};

use super::{AbsolutePath, FileMode, Id, ModuleName, Pattern, Repository, UnitName, UnitRef};

/// What must be true of one boot. Each key is a check's id; its value is one expectation, or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expectations {
    /// The node never came to ask for its config.
    #[serde(rename = "config.never-asked")]
    pub config_never_asked: Many<ConfigNeverAsked>,
    /// How a unit ended.
    #[serde(rename = "unit.result")]
    pub unit_result: Many<UnitResult>,
    /// A unit is done before another starts, seen and guaranteed.
    #[serde(rename = "unit.before")]
    pub unit_before: Many<UnitBefore>,
    /// An image's module took the place of in-tree ones.
    #[serde(rename = "module.replaced")]
    pub module_replaced: Many<ModuleReplaced>,
    /// A module is there.
    #[serde(rename = "module.present")]
    pub module_present: Many<ModulePresent>,
    /// A module is not there.
    #[serde(rename = "module.absent")]
    pub module_absent: Many<ModuleAbsent>,
    /// A network card's driver.
    #[serde(rename = "nic.driver")]
    pub nic_driver: Many<NicDriver>,
    /// An image was pulled whole.
    #[serde(rename = "image.pulled")]
    pub image_pulled: Many<ImagePulled>,
    /// Nothing was asked of the registry.
    #[serde(rename = "image.not-pulled")]
    pub image_not_pulled: Many<ImageNotPulled>,
    /// The registry refused an image.
    #[serde(rename = "image.refused")]
    pub image_refused: Many<ImageRefused>,
    /// A unit's own journal says something.
    #[serde(rename = "journal.says")]
    pub journal_says: Many<JournalSays>,
    /// Nobody says something.
    #[serde(rename = "journal.lacks")]
    pub journal_lacks: Many<JournalLacks>,
    /// Which kernel runs.
    #[serde(rename = "kernel.running")]
    pub kernel_running: Many<KernelRunning>,
    /// A file of the settled node.
    #[serde(rename = "file.state")]
    pub file_state: Many<FileState>,
}

macro_rules! expectations {
    ($($variant:ident($type:ident) = $field:ident, $id:literal;)*) => {
        /// One expectation, by its kind.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub enum Expectation<'e> {
            $(#[doc = concat!("`", $id, "`")] $variant(&'e $type),)*
        }

        impl Expectation<'_> {
            /// The id of the check that judges it.
            pub fn check(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $id,)*
                }
            }
        }

        impl Expectations {
            /// Every expectation with its place in the list under its key.
            pub fn each(&self) -> Vec<(usize, Expectation<'_>)> {
                let mut all = Vec::new();
                $(all.extend(self.$field.iter().enumerate().map(|(place, one)| (place, Expectation::$variant(one))));)*
                all
            }
        }
    };
}

expectations! {
    ConfigNeverAsked(ConfigNeverAsked) = config_never_asked, "config.never-asked";
    UnitResult(UnitResult) = unit_result, "unit.result";
    UnitBefore(UnitBefore) = unit_before, "unit.before";
    ModuleReplaced(ModuleReplaced) = module_replaced, "module.replaced";
    ModulePresent(ModulePresent) = module_present, "module.present";
    ModuleAbsent(ModuleAbsent) = module_absent, "module.absent";
    NicDriver(NicDriver) = nic_driver, "nic.driver";
    ImagePulled(ImagePulled) = image_pulled, "image.pulled";
    ImageNotPulled(ImageNotPulled) = image_not_pulled, "image.not-pulled";
    ImageRefused(ImageRefused) = image_refused, "image.refused";
    JournalSays(JournalSays) = journal_says, "journal.says";
    JournalLacks(JournalLacks) = journal_lacks, "journal.lacks";
    KernelRunning(KernelRunning) = kernel_running, "kernel.running";
    FileState(FileState) = file_state, "file.state";
}

/// The node never came to ask for its config.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigNeverAsked {
    /// What kept it from that.
    pub because: Obstacle,
}

/// What keeps a node from the config server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// It has no network card.
    NoCard,
    /// It has no driver for any of its network cards.
    NoDriver,
}

/// How a unit ended.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnitResult {
    /// The unit.
    pub unit: UnitRef,
    /// How it must have ended.
    pub result: UnitOutcome,
}

/// How a unit's start ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnitOutcome {
    /// Its start job was done.
    Success,
    /// It failed.
    Failed,
    /// A condition kept it from running (`Condition…=` or `ExecCondition=`).
    Skipped,
    /// Nothing started it.
    NotStarted,
}

impl UnitOutcome {
    /// As the scenario writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::NotStarted => "not-started",
        }
    }
}

/// A unit is done before another starts: as observed, and as guaranteed by systemd's own ordering.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnitBefore {
    /// The unit that must be done first.
    pub unit: UnitRef,
    /// The unit that must not have started by then.
    pub before: UnitRef,
    /// A module that must have been loaded by then as well.
    pub module: Option<ModuleName>,
}

/// A module of an image is loaded, and stands in the place of in-tree ones since before NetworkManager.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModuleReplaced {
    /// The image's module.
    pub module: ModuleName,
    /// The in-tree modules that must be gone.
    #[serde(default)]
    pub in_tree: Vec<ModuleName>,
    /// The repository of the image that it must come from; default: any of the trial's that has it.
    pub repository: Option<Repository>,
    /// The unit before whose start all that must have happened.
    #[serde(default = "network_manager")]
    pub before: UnitName,
}

fn network_manager() -> UnitName {
    // The name is a literal in the form that UnitName accepts.
    UnitName::try_from("NetworkManager.service".to_owned()).unwrap_or_else(|error| unreachable!("{error}"))
}

/// A module is loaded and was never taken out in this boot.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModulePresent {
    /// The module.
    pub module: ModuleName,
    /// Whose it must be.
    pub origin: Option<Origin>,
    /// The repository of the image whose module it must be, by `srcversion`.
    pub repository: Option<Repository>,
    /// Whether it must have been loaded in the initramfs, by the copy that is there.
    #[serde(default)]
    pub since_initramfs: bool,
    /// Allow it to have been taken out and put back.
    #[serde(default)]
    pub may_have_been_removed: bool,
}

/// Where a module comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The kernel's own; it carries no taint `O`.
    InTree,
    /// Out-of-tree; it carries taint `O`.
    OutOfTree,
    /// Out-of-tree, and by its `srcversion` the one that is layered into the node image (`node.layer`).
    Layered,
}

/// A module is not loaded, and never was in this boot.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModuleAbsent {
    /// The module.
    pub module: ModuleName,
    /// Allow it to have been loaded and taken out again.
    #[serde(default)]
    pub may_have_been_loaded: bool,
}

/// A network card is driven by a driver.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NicDriver {
    /// The card's `id` in `node.nics`.
    pub nic: Id,
    /// The driver bound to it.
    pub driver: ModuleName,
}

/// An image was pulled whole in this boot.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImagePulled {
    /// The repository, as the MachineConfig names it.
    pub repository: Repository,
}

/// Nothing was asked of the registry in this boot.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ImageNotPulled {
    /// Only this repository; default: nothing at all.
    pub repository: Option<Repository>,
}

/// The registry was asked for an image's manifest in this boot and always refused it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageRefused {
    /// The repository, as the MachineConfig names it.
    pub repository: Repository,
    /// The HTTP status of the refusal, such as 404.
    pub status: u16,
}

/// A line of a unit's own journal (not of systemd about it) matches.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JournalSays {
    /// The unit.
    pub unit: UnitRef,
    /// A regular expression that one of its lines must match.
    pub matches: Pattern,
}

/// No line of the boot's journal matches.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JournalLacks {
    /// Only what this unit's own processes say; default: anybody, kernel and systemd included.
    pub unit: Option<UnitRef>,
    /// A regular expression that none of the lines may match.
    pub matches: Pattern,
}

/// Which of the node image's kernels runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelRunning {
    /// Counted from 1, the one that the image boots.
    pub kernel: usize,
}

/// A file of the settled node.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileState {
    /// The file.
    pub path: AbsolutePath,
    /// Whether it must be there.
    #[serde(default = "yes")]
    pub exists: bool,
    /// Its mode.
    pub mode: Option<FileMode>,
    /// A regular expression that its text must match: the first 4 KiB, without white space at the end.
    pub matches: Option<Pattern>,
}

fn yes() -> bool {
    true
}

/// One or several: written as the thing itself, or as a list of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Many<T>(Vec<T>);

impl<T> From<Vec<T>> for Many<T> {
    fn from(all: Vec<T>) -> Self {
        Self(all)
    }
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> std::ops::Deref for Many<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ManyVisitor(PhantomData))
    }
}

struct ManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
    type Value = Many<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of them, or a list")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Self::Value, E> {
        T::deserialize(word.into_deserializer()).map(|one| Many(vec![one]))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let one = T::deserialize(MapAccessDeserializer::new(&mut map))?;
        // Of a map that stands for one of several things only the first key was asked for.
        if map.next_key::<serde::de::IgnoredAny>()?.is_some() {
            return Err(serde::de::Error::custom("more than one stands here\nWrite a list, one a line: `- one: …`."));
        }
        Ok(Many(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Many)
    }
}
