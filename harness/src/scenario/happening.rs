//! What happens to the node and its surroundings.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::{AbsolutePath, Id, Many, ModuleName, Pattern, Percent, Repository, Seconds, UnitName, UnitRef};

/// Something that is done as soon as something else is seen, once.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Happening {
    /// What must be seen.
    pub when: Trigger,
    /// With `nodes`: the node that it is about.
    pub node: Option<Id>,
    /// In which boot, from 1; default: in the first where it is seen.
    pub boot: Option<u32>,
    /// How long after that; default: at once.
    pub after: Option<After>,
    /// What is done, in this order.
    #[serde(rename = "do")]
    pub actions: Many<Action>,
}

/// How long after its trigger something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Always as long.
    Fixed(Seconds),
    /// A time that the seed decides.
    Random {
        /// The longest.
        up_to: Seconds,
        /// The same seed gives the same time.
        seed: u64,
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Random {
    /// The longest.
    up_to: Seconds,
    /// The same seed gives the same time.
    seed: u64,
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AfterVisitor;
        impl<'de> Visitor<'de> for AfterVisitor {
            type Value = After;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as `3s`, or `{up-to: 60s, seed: 1}`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<After, E> {
                Seconds::try_from(text.to_owned()).map(After::Fixed).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<After, A::Error> {
                let Random { up_to, seed } = Random::deserialize(MapAccessDeserializer::new(map))?;
                Ok(After::Random { up_to, seed })
            }
        }
        deserializer.deserialize_any(AfterVisitor)
    }
}

/// What must be seen for something to happen.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A boot came to a phase.
    Phase(Phase),
    /// systemd says it of a unit.
    Unit(UnitTrigger),
    /// A line of the real root's journal.
    Journal(JournalTrigger),
    /// The kernel put a module in or took it out.
    Module(ModuleTrigger),
    /// The registry sent a part of an image.
    Pulled(PulledTrigger),
}

/// A phase of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The machine was switched on or reset; of a first boot that was forked from a template, the fork.
    PowerOn,
    /// The kernel says its version.
    Kernel,
    /// systemd runs in the real root.
    RealRoot,
    /// systemd has no more jobs.
    Settled,
}

/// systemd says it of a unit.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnitTrigger {
    /// The unit.
    pub name: UnitRef,
    /// What becomes of it.
    pub is: UnitMoment,
}

/// What becomes of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnitMoment {
    /// Its start begins.
    Starting,
    /// Its start is done.
    Started,
    /// Its start failed.
    Failed,
}

/// A line of the real root's journal.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JournalTrigger {
    /// Only what this unit's own processes say; default: anybody.
    pub unit: Option<UnitRef>,
    /// What the line must match.
    pub matches: Pattern,
}

/// The kernel put a module in or took it out.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModuleTrigger {
    /// The module.
    pub name: ModuleName,
    /// What becomes of it.
    pub is: ModuleMoment,
}

/// What becomes of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleMoment {
    /// It was put in.
    Loaded,
    /// It was taken out.
    Removed,
}

/// The registry sent a part of an image.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PulledTrigger {
    /// The image's repository.
    pub repository: Repository,
    /// How much of its bytes.
    pub share: Percent,
}

/// Something that is done to the node or its surroundings.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The power fails and comes back: the machine is reset, and what the guest had not written to its disks is lost.
    PowerCut,
    /// The node is asked to reboot, as a person would.
    Reboot,
    /// The cable of a network card is pulled out or put in.
    Link(LinkAction),
    /// A disk of `node.disks` is pulled out of the running node, by its id: from then on its requests fail.
    Unplug(Id),
    /// The registry goes away, or comes back.
    Registry(Reach),
    /// The guest's clock is set, such as `2020-01-01T00:00:00Z`; `now` is the host's time.
    Clock(Clock),
    /// A file system becomes full.
    Fill(Fill),
    /// What `fill` took is free again; names the same path.
    Free(AbsolutePath),
    /// Files are damaged, or removed.
    Damage(Damage),
    /// From the next boot on the node runs another of its kernels, counted from 1, the one that its image boots.
    BootKernel(usize),
    /// The pool gets a MachineConfig, or the next one of that name in the place of the one that it has; the MCO's daemon
    /// writes it to the running node, and reboots.
    Apply(ConfigChange),
    /// A MachineConfig is removed from the pool; the MCO's daemon takes it off the running node, and reboots.
    Withdraw(ConfigChange),
    /// All images in the node's own store are removed, as kubelet does when its disk runs full.
    CollectImages,
    /// A shell script runs as root in the guest. For what no other action does.
    Run(String),
}

impl Action {
    /// Whether the node is switched off or rebooted by it.
    pub fn ends_the_boot(&self) -> bool {
        match self {
            Self::PowerCut | Self::Reboot => true,
            Self::Apply(change) | Self::Withdraw(change) => change.reboots,
            _ => false,
        }
    }

    /// As the scenario names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PowerCut => "power-cut",
            Self::Reboot => "reboot",
            Self::Link(_) => "link",
            Self::Unplug(_) => "unplug",
            Self::Registry(_) => "registry",
            Self::Clock(_) => "clock",
            Self::Fill(_) => "fill",
            Self::Free(_) => "free",
            Self::Damage(_) => "damage",
            Self::BootKernel(_) => "boot-kernel",
            Self::Apply(_) => "apply",
            Self::Withdraw(_) => "withdraw",
            Self::CollectImages => "collect-images",
            Self::Run(_) => "run",
        }
    }
}

/// A MachineConfig that a pool gets or loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its `metadata.name`.
    pub machine_config: String,
    /// Whether the node reboots for it, which it does unless `node-disruption-policy` spares it.
    pub reboots: bool,
}

/// A MachineConfig that a pool gets or loses.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ConfigChangeForm {
    /// Its `metadata.name`.
    machine_config: String,
    /// Whether the node reboots for it; where `node-disruption-policy` spares it the reboot, this must be `false`.
    #[serde(default = "yes")]
    reboots: bool,
}

fn yes() -> bool {
    true
}

impl<'de> Deserialize<'de> for ConfigChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChangeVisitor;
        impl<'de> Visitor<'de> for ChangeVisitor {
            type Value = ConfigChange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a MachineConfig's name, or `{machine-config: NAME, reboots: false}`")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ConfigChange, E> {
                Ok(ConfigChange { machine_config: name.to_owned(), reboots: true })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ConfigChange, A::Error> {
                let form = ConfigChangeForm::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ConfigChange { machine_config: form.machine_config, reboots: form.reboots })
            }
        }
        deserializer.deserialize_any(ChangeVisitor)
    }
}

/// The cable of a network card.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LinkAction {
    /// The card's `id` in `node.nics`.
    pub nic: Id,
    /// Whether it carries.
    pub is: LinkState,
}

/// Whether a cable carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// It does.
    Up,
    /// It does not.
    Down,
}

/// Whether the registry is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It answers.
    Reachable,
    /// Connections are closed as soon as they are made.
    Unreachable,
}

/// A time for the guest's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clock {
    /// The host's.
    Now,
    /// A moment, RFC 3339.
    At(String),
}

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "now" {
            return Ok(Self::Now);
        }
        let format = time::format_description::well_known::Rfc3339;
        match time::OffsetDateTime::parse(&text, &format) {
            Ok(_) => Ok(Self::At(text)),
            Err(error) => Err(D::Error::custom(format!(
                "`{text}` is no moment: {error}\nWrite `now`, or date and time with their zone, such as `2020-01-01T00:00:00Z`."
            ))),
        }
    }
}

/// What of a file system becomes full.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fill {
    /// A directory on it.
    pub path: AbsolutePath,
    /// What runs out.
    #[serde(default)]
    pub with: Filling,
}

/// What of a file system runs out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Filling {
    /// Its space.
    #[default]
    Bytes,
    /// Its inodes: no more files can be made.
    Files,
}

/// Files that are damaged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Damage {
    /// A pattern of the shell; `**` goes through directories. At least one file must match.
    pub files: AbsolutePath,
    /// What is done to each.
    pub how: Harm,
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// It is emptied, and stays.
    Truncate,
    /// It is removed; a directory with all in it.
    Remove,
}

/// A unit that takes longer to start than it would. It is delayed beside the config under test, which stays byte-identical.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Delay {
    /// The unit, of any type, by role or name.
    pub unit: UnitRef,
    /// How long it is held up, in the guest's own seconds.
    pub by: Seconds,
    /// The unit after which that time begins; default: as early as may be.
    pub after: Option<UnitName>,
}
