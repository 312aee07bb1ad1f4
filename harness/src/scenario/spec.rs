//! The scenario file's shape.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{
    Action, Delay, Expectations, Happening, Id, Many, Member, NodeDisruptionPolicy, NodeShape, Patch, Path, Pool,
    PoolAction, PoolStep, Registry, Seconds, UnitName, UnitRef,
};

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// What it shows, in one line for a person.
    pub description: String,
    /// Words to choose scenarios by, such as `smoke`.
    #[serde(default)]
    pub labels: Vec<Id>,
    /// Where the node begins.
    #[serde(default)]
    pub start: Start,
    /// What the node starts from.
    #[serde(default)]
    pub node: NodeShape,
    /// Several nodes of that shape, in one network; default: one, which stands alone.
    #[serde(default)]
    pub nodes: Vec<Member>,
    /// With `nodes`: pools that are not as the MCO has them by itself.
    #[serde(default)]
    pub pools: Vec<Pool>,
    /// What the registry holds.
    #[serde(default)]
    pub registry: Registry,
    /// The MachineConfigs under test.
    pub machine_configs: Vec<MachineConfig>,
    /// The cluster's node disruption policies: which changes of a running node need no reboot.
    #[serde(default)]
    pub node_disruption_policy: NodeDisruptionPolicy,
    /// What happens to the node and its surroundings.
    #[serde(default)]
    pub happens: Vec<Happening>,
    /// Units that take longer to start than they would.
    #[serde(default)]
    pub delays: Vec<Delay>,
    /// What must happen, boot by boot. With `nodes`: the first boots of each, before the first step.
    pub boots: Vec<Boot>,
    /// With `nodes`: what is done to the pool once all of them are there.
    #[serde(default)]
    pub steps: Vec<PoolStep>,
    /// What must be true of each boot.
    #[serde(default)]
    pub every_boot: Expectations,
    /// Base checks that this scenario does without, each with its reason.
    #[serde(default)]
    pub without: Vec<OptOut>,
}

/// Where the node begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At power-on of the node image. For a scenario whose subject comes before the node asks for its config.
    Cold,
    /// In the initramfs of its first boot, forked from a machine that was paused when it asked for its config.
    #[default]
    Template,
    /// At power-on after its first boot, which pulled and asked for a reboot, from the disks that such a boot has
    /// left. What was seen of that boot is judged as well. For a scenario whose subject is the load.
    Pulled,
}

impl Start {
    /// As the scenario writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Template => "template",
            Self::Pulled => "pulled",
        }
    }
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Cold, Self::Template, Self::Pulled];
        let found = all.into_iter().find(|start| start.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no start; it is one of cold, template, pulled"))
    }
}

impl Spec {
    /// All that is expected of nodes, each with its place in the file.
    pub fn expectations(&self) -> Vec<(Path, &Expectations)> {
        let boots = Path::default().key("boots");
        let of_boots = self.boots.iter().enumerate();
        let of_boots = of_boots.map(|(index, boot)| (boots.index(index).key("expect"), &boot.expect));
        let every_boot = [(Path::default().key("every-boot"), &self.every_boot)];
        self.expectations_of_steps().into_iter().chain(of_boots).chain(every_boot).collect()
    }

    /// Whether it is about several of the node image's kernels, so that it says itself which one runs when.
    pub fn chooses_kernels(&self) -> bool {
        let actions = self.happens.iter().flat_map(|one| one.actions.iter());
        let mut actions = actions.chain(self.boots.iter().flat_map(|boot| boot.then.iter()));
        let mut expected = self.expectations().into_iter().map(|(_, expect)| expect);
        self.node.kernel != 1
            || self.registry.images.iter().any(|image| image.kernel.is_some())
            || actions.any(|action| matches!(action, Action::BootKernel(_)))
            || expected.any(|expect| expect.kernel_running.iter().next().is_some())
    }

    /// Whether running nodes lose a MachineConfig.
    pub fn withdraws_machine_configs(&self) -> bool {
        let mut actions = self.boots.iter().flat_map(|boot| boot.then.iter());
        let mut of_steps = self.steps.iter().flat_map(|step| step.actions.iter());
        actions.any(|action| matches!(action, Action::Withdraw(_)))
            || of_steps.any(|action| matches!(action, PoolAction::Remove(_)))
    }

    /// Whether the first boot can be a checkpoint's: it ends in a reboot, and another one follows.
    pub fn has_first_boot_to_skip(&self) -> bool {
        self.boots.len() > 1 && self.boots[0].ends == Ends::Reboot
    }

    /// What is planned for a boot, from 1. The last planned one stands for as many as it may take.
    pub fn boot(&self, number: u32) -> Option<&Boot> {
        let index = (number as usize).checked_sub(1)?;
        self.boots.get(index).or_else(|| self.boots.last().filter(|_| number <= self.most_boots()))
    }

    /// The most boots that the node may take.
    pub fn most_boots(&self) -> u32 {
        let planned = u32::try_from(self.boots.len()).unwrap_or(u32::MAX);
        let more = self.boots.last().and_then(|last| last.at_most).map_or(0, |most| most.saturating_sub(1));
        planned.saturating_add(more)
    }
}

/// A MachineConfig under test: made by the generator, or a file as it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "MachineConfigForm")]
pub struct MachineConfig {
    /// Where it comes from.
    pub source: ConfigSource,
    /// Which of its units does what, where that is not to be found out from the units.
    pub units: Roles,
    /// Changes to it.
    pub patch: Vec<Patch>,
    /// Whether the node comes up without it, and gets it by the action `apply`; in the place of the one of that name, if
    /// it has one.
    pub later: bool,
}

/// Where a MachineConfig under test comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigSource {
    /// Made by the generator from these parameters.
    Generate(Generate),
    /// A file, relative to the scenario's.
    File(String),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct MachineConfigForm {
    /// The generator's parameters: it makes the MachineConfig.
    generate: Option<Generate>,
    /// A MachineConfig's file, relative to the scenario's.
    file: Option<String>,
    /// Which of its units does what, where that is not to be found out from the units.
    #[serde(default)]
    units: Roles,
    /// Changes to it.
    #[serde(default)]
    patch: Vec<Patch>,
    /// Whether the node comes up without it, and gets it by the action `apply`; in the place of the one of that name, if
    /// it has one.
    #[serde(default)]
    later: bool,
}

impl TryFrom<MachineConfigForm> for MachineConfig {
    type Error = &'static str;

    fn try_from(form: MachineConfigForm) -> Result<Self, Self::Error> {
        let source = match (form.generate, form.file) {
            (Some(parameters), None) => ConfigSource::Generate(parameters),
            (None, Some(file)) => ConfigSource::File(file),
            (None, None) => {
                return Err(
                    "this MachineConfig comes from nowhere\nWrite `generate:` with the generator's parameters, or `file:` with a path.",
                );
            }
            (Some(_), Some(_)) => {
                return Err(
                    "this MachineConfig has both `generate` and `file`\nKeep one; a second MachineConfig is a second item of the list.",
                );
            }
        };
        Ok(Self { source, units: form.units, patch: form.patch, later: form.later })
    }
}

/// Which unit of a MachineConfig does what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Roles {
    /// The unit that pulls.
    pub pull: Option<UnitName>,
    /// The unit that loads.
    pub load: Option<UnitName>,
}

/// The generator's parameters, as they stand in the file.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Generate(pub serde_json::Map<String, serde_json::Value>);

impl Generate {
    /// A parameter that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(serde_json::Value::as_str)
    }

    /// The parameters as the generator's own type. Prefer [`super::Scenario::generator_config`], whose errors
    /// have a place.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(serde_json::Value::Object(self.0.clone()))
    }
}

/// One boot of the node.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Boot {
    /// How it must end.
    pub ends: Ends,
    /// With `ends: reboot`: the unit that must ask for it.
    pub by: Option<UnitRef>,
    /// With `ends: ready`: what is done to the settled node, in this order. The next boot follows on a `reboot` or a
    /// `power-cut`, which stands last.
    #[serde(default)]
    pub then: Many<Action>,
    /// With `ends: ready`, for the last boot: how many boots the node may take from here until it settles and stays.
    /// What is expected is expected of the one that settles. Default: this one.
    pub at_most: Option<u32>,
    /// The longest it may take, at reference speed.
    pub deadline: Option<Seconds>,
    /// What must be true of it.
    #[serde(default)]
    pub expect: Expectations,
}

impl Boot {
    /// Whether another boot follows since something in `then` ends this one.
    pub fn is_ended_by_the_trial(&self) -> bool {
        self.then.iter().any(Action::ends_the_boot)
    }

    /// The longest this boot may take, at reference speed. A boot that pulls gets more.
    pub fn deadline(&self) -> Seconds {
        self.deadline.unwrap_or(match self.ends {
            Ends::Ready => Seconds::new(240),
            Ends::Reboot | Ends::Cut => Seconds::new(300),
            Ends::Never => Seconds::new(120),
        })
    }
}

/// How a boot must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// The node settles: all jobs done.
    Ready,
    /// The node reboots of its own.
    Reboot,
    /// Something that happens in this scenario cuts its power.
    Cut,
    /// Not at all: until its deadline the node neither settles nor reboots. Only the last boot can.
    Never,
}

/// A base check that a scenario does without.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OptOut {
    /// The check's id; for one pattern of `journal.clean`, `journal.clean/NAME`.
    pub check: String,
    /// Why, for a person.
    pub reason: String,
}

/// The checks that always run unless a scenario does without.
pub const BASE_CHECKS: [&str; 10] = [
    "boots.count",
    "config.identical",
    "config.modes",
    "config.on-disk",
    "evidence",
    "journal.clean",
    "kernel.taint",
    "node.leftovers",
    "node.ready",
    "unit.budget",
];

/// The checks that run where what a scenario does, or the node that it runs on, gives them something to judge.
pub const JUDGED_UNASKED: [&str; 3] = ["kernel.locked-down", "kernel.running", "scenario.happened"];

/// Names of the bad patterns that `journal.clean` knows.
pub const JOURNAL_PATTERNS: [&str; 16] = [
    "panic",
    "oops",
    "bug",
    "warning",
    "soft-lockup",
    "hung-task",
    "rcu-stall",
    "general-protection",
    "segfault",
    "core-dump",
    "out-of-memory",
    "io-error",
    "filesystem-error",
    "ordering-cycle",
    "emergency",
    "refcount-leak",
];
