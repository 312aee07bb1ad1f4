//! A new scenario, with a comment for each part: `day1 new`.

use std::fmt::{self, Display, Write as _};

use super::{ModuleName, Repository};

/// What a new scenario is about.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// What it shows; default: as its plot says.
    pub description: Option<String>,
    /// What happens to the node.
    pub plot: Plot,
    /// The module.
    pub module: ModuleName,
    /// The in-tree modules that it replaces, in the order of their removal.
    pub in_tree: Vec<ModuleName>,
    /// Where the image stands, as the MachineConfig names it.
    pub repository: Repository,
    /// An image from elsewhere (`oci:DIR` and its like) in the place of one with the project's own module.
    pub from: Option<String>,
}

/// What happens to the node of a new scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    /// The image is pulled, and the module loaded on the next boot.
    Nothing,
    /// Further boots load it again.
    LaterBoots,
    /// The registry answers late.
    RegistryLate,
    /// The registry can't be reached.
    RegistryAway,
    /// The registry has no image for this kernel.
    ImageMissing,
    /// The power fails while the image is pulled.
    PowerCutWhilePulling,
    /// The power fails while the module is loaded.
    PowerCutWhileLoading,
    /// The load begins late.
    SlowLoad,
    /// The node gets another kernel.
    KernelUpgrade,
    /// There is no room for the image.
    DiskFull,
}

impl Plot {
    /// All, the plain one first.
    pub const ALL: [Self; 10] = [
        Self::Nothing,
        Self::LaterBoots,
        Self::RegistryLate,
        Self::RegistryAway,
        Self::ImageMissing,
        Self::PowerCutWhilePulling,
        Self::PowerCutWhileLoading,
        Self::SlowLoad,
        Self::KernelUpgrade,
        Self::DiskFull,
    ];

    /// As a person chooses it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::LaterBoots => "later-boots",
            Self::RegistryLate => "registry-late",
            Self::RegistryAway => "registry-away",
            Self::ImageMissing => "image-missing",
            Self::PowerCutWhilePulling => "power-cut-while-pulling",
            Self::PowerCutWhileLoading => "power-cut-while-loading",
            Self::SlowLoad => "slow-load",
            Self::KernelUpgrade => "kernel-upgrade",
            Self::DiskFull => "disk-full",
        }
    }

    /// What it shows, in one line.
    pub fn shows(self) -> &'static str {
        match self {
            Self::Nothing => {
                "The first boot pulls the image and reboots; the next loads the module before NetworkManager."
            }
            Self::LaterBoots => "A third and a fourth boot load the module again, and ask nothing of the registry.",
            Self::RegistryLate => {
                "The registry answers a minute after the node came up; the pull tries again by itself."
            }
            Self::RegistryAway => "Nothing answers at the registry's address; the node comes up without the module.",
            Self::ImageMissing => "The registry has no tag for this kernel; the node comes up without the module.",
            Self::PowerCutWhilePulling => {
                "The power fails while the image is pulled; the node comes to its module by itself."
            }
            Self::PowerCutWhileLoading => {
                "The power fails while the module is being loaded; the next boots make it good."
            }
            Self::SlowLoad => "The load begins a minute late; NetworkManager waits for it.",
            Self::KernelUpgrade => "The node gets another kernel, and the registry has an image for it.",
            Self::DiskFull => "There is no room for the image; once there is, the next boot pulls it.",
        }
    }
}

impl Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Plot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|plot| plot.word() == text);
        found.ok_or_else(|| format!("it is one of {}", Self::ALL.map(Self::word).join(", ")))
    }
}

/// The project's module for the network card `test`, and the in-tree driver that has it before.
const ON_THE_CARD: (&str, &str) = ("day1_nic", "e1000");

impl Sketch {
    /// The scenario's text.
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "# What it shows, in one line: lists and reports have it.")?;
        writeln!(out, "description: {}", quoted(self.description.as_deref().unwrap_or(self.plot.shows())))?;
        writeln!(out, "# Words to choose it by. `nightly` leaves it out of a plain `day1 run`.\nlabels: []")?;
        if matches!(self.plot, Plot::LaterBoots | Plot::SlowLoad | Plot::KernelUpgrade) {
            writeln!(
                out,
                "# The first boot is no subject here: it is taken from a recording, and judged all the same."
            )?;
            writeln!(out, "start: pulled")?;
        }
        self.surroundings(out)?;
        self.registry(out)?;
        self.machine_config(out)?;
        self.happens(out)?;
        writeln!(
            out,
            "\n# Boot by boot: how each must end, and what must be true of it. `day1 explain CHECK-ID` tells of each"
        )?;
        writeln!(out, "# check; others are made of every trial without being asked for.\nboots:")?;
        self.boots(out)
    }

    fn surroundings(&self, out: &mut String) -> fmt::Result {
        match self.plot {
            Plot::DiskFull => writeln!(
                out,
                "\n# A small disk where images go. The pull is held up until it is full.\nnode:\n  disks:\n    \
                 - {{id: images, size: 32MiB, mount: /var/lib/day1}}\ndelays:\n  \
                 - {{unit: pull, by: 30s, after: var-lib-day1.mount}}"
            ),
            Plot::SlowLoad => writeln!(
                out,
                "\n# Held up beside the MachineConfig under test, which stays as it is.\ndelays:\n  - {{unit: load, by: 60s}}"
            ),
            _ => Ok(()),
        }
    }

    fn registry(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "\n# What the registry has. Nodes reach it by the references of their MachineConfigs, unchanged.\nregistry:"
        )?;
        if matches!(self.plot, Plot::RegistryLate | Plot::RegistryAway) {
            writeln!(out, "  # At first nothing answers at its address.\n  reachable: false")?;
        }
        if self.plot == Plot::PowerCutWhilePulling {
            writeln!(
                out,
                "  # Slow enough for something to happen meanwhile.\n  faults:\n    - {{on: blob, rate: 512KiB}}"
            )?;
        }
        writeln!(out, "  images:")?;
        self.image(out, None)?;
        if self.plot == Plot::KernelUpgrade {
            writeln!(out, "    # For the second of the node image's kernels.")?;
            self.image(out, Some(2))?;
        }
        Ok(())
    }

    fn image(&self, out: &mut String, kernel: Option<usize>) -> fmt::Result {
        writeln!(out, "    - repository: {}", self.repository)?;
        match &self.from {
            Some(from) => {
                writeln!(
                    out,
                    "      # Taken as it is; paths are relative to this file.\n      from: {}",
                    quoted(from)
                )?;
            }
            None => {
                writeln!(out, "      # Built for the node's kernel; the sources are in vm-images/kmods/.")?;
                writeln!(out, "      modules: [{}]", self.module)?;
                if self.plot == Plot::PowerCutWhilePulling {
                    writeln!(out, "      filler: 8MiB")?;
                }
            }
        }
        if self.plot == Plot::ImageMissing {
            writeln!(out, "      # Without this line: the tag of the node's kernel.\n      tags: [some-other-kernel]")?;
        }
        kernel.map_or(Ok(()), |kernel| writeln!(out, "      kernel: {kernel}"))
    }

    fn machine_config(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "\n# The MachineConfig under test: made from parameters, as `day1 generate` does. One of your own:"
        )?;
        writeln!(out, "# `- file: PATH`, relative to this file.\nmachine-configs:\n  - generate:")?;
        writeln!(
            out,
            "      machine_config_name: 99-worker-{}",
            self.module.as_str().replace('_', "-").to_lowercase()
        )?;
        writeln!(out, "      machine_config_pool_ref: worker")?;
        writeln!(out, "      kernel_module_image: {}", self.repository)?;
        writeln!(out, "      kernel_module_name: {}", self.module)?;
        if !self.in_tree.is_empty() {
            writeln!(out, "      in_tree_modules_to_remove: [{}]", self.in_tree())?;
        }
        if matches!(self.plot, Plot::RegistryAway | Plot::ImageMissing | Plot::DiskFull) {
            writeln!(
                out,
                "      # The pull gives up after so many seconds, so that the node settles soon.\n      pull_timeout: 60"
            )?;
        }
        Ok(())
    }

    fn in_tree(&self) -> String {
        self.in_tree.iter().map(ModuleName::as_str).collect::<Vec<_>>().join(", ")
    }

    fn happens(&self, out: &mut String) -> fmt::Result {
        let head = "\n# What is done as soon as something is seen, once.\nhappens:\n";
        match self.plot {
            Plot::RegistryLate => writeln!(
                out,
                "{head}  - when: {{phase: real-root}}\n    boot: 1\n    after: 60s\n    do: {{registry: reachable}}"
            ),
            Plot::PowerCutWhilePulling => writeln!(
                out,
                "{head}  - when: {{pulled: {{repository: {}, share: 50%}}}}\n    do: power-cut",
                self.repository
            ),
            Plot::PowerCutWhileLoading => {
                let when = match self.in_tree.first() {
                    Some(gone) if self.is_on_the_card() => format!("module: {{name: {gone}, is: removed}}"),
                    _ => "unit: {name: load, is: starting}".to_owned(),
                };
                writeln!(out, "{head}  - when: {{{when}}}\n    boot: 2\n    do: power-cut")
            }
            Plot::DiskFull => writeln!(
                out,
                "{head}  - when: {{unit: {{name: var-lib-day1.mount, is: started}}}}\n    boot: 1\n    \
                 do: {{fill: {{path: /var/lib/day1, with: bytes}}}}"
            ),
            _ => Ok(()),
        }
    }

    fn boots(&self, out: &mut String) -> fmt::Result {
        match self.plot {
            Plot::Nothing | Plot::RegistryLate | Plot::SlowLoad => {
                self.pulls(out)?;
                let late = if self.plot == Plot::SlowLoad { "    deadline: 6min\n" } else { "" };
                self.loaded(out, late, self.plot != Plot::SlowLoad)
            }
            Plot::LaterBoots => {
                self.pulls(out)?;
                for _ in 0..2 {
                    self.loaded(out, "    # What is done to the settled node.\n    then: reboot\n", true)?;
                }
                self.loaded(out, "", true)
            }
            Plot::RegistryAway => self.without(out, "", "(?i)refused|timed? ?out|no route|unreachable|reset|EOF"),
            Plot::ImageMissing => self.without(out, "", "(?i)manifest unknown|not found"),
            Plot::PowerCutWhilePulling => {
                writeln!(out, "  - ends: cut\n")?;
                self.loaded(out, AT_MOST, false)
            }
            Plot::PowerCutWhileLoading => {
                self.pulls(out)?;
                writeln!(out, "  - ends: cut\n")?;
                self.loaded(out, AT_MOST, false)
            }
            Plot::KernelUpgrade => {
                self.pulls(out)?;
                let then =
                    "    # What is done to the settled node, in this order.\n    then: [{boot-kernel: 2}, reboot]\n";
                self.loaded(out, then, false)?;
                self.pulls(out)?;
                self.loaded(out, "", false)?;
                writeln!(out, "      kernel.running: {{kernel: 2}}")
            }
            Plot::DiskFull => {
                let then = "    # There is room again.\n    then: [{free: /var/lib/day1}, reboot]\n";
                self.without(out, then, "(?i)no space left|cannot (make|write)")?;
                writeln!(out)?;
                self.pulls(out)?;
                self.loaded(out, "", false)
            }
        }
    }

    /// A boot that pulls and reboots.
    fn pulls(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "  # `load` and `pull` are the units of the MachineConfig under test, by what they do.")?;
        writeln!(out, "  - ends: reboot\n    by: pull\n    expect:")?;
        writeln!(out, "      image.pulled: {{repository: {}}}\n", self.repository)
    }

    /// A boot that ends with the module in the kernel.
    fn loaded(&self, out: &mut String, more: &str, is_silent: bool) -> fmt::Result {
        let (module, in_tree) = (&self.module, self.in_tree());
        writeln!(out, "  - ends: ready\n{more}    expect:")?;
        writeln!(
            out,
            "      unit.result:\n        - {{unit: load, result: success}}\n        - {{unit: pull, result: success}}"
        )?;
        writeln!(out, "      # As it was seen, and as systemd's own ordering guarantees it.")?;
        writeln!(out, "      unit.before: {{unit: load, before: NetworkManager.service, module: {module}}}")?;
        writeln!(out, "      # A green unit is no proof: this looks into the kernel.")?;
        match in_tree.is_empty() {
            true => writeln!(out, "      module.replaced: {{module: {module}, in-tree: []}}")?,
            false => writeln!(out, "      module.replaced: {{module: {module}, in-tree: [{in_tree}]}}")?,
        }
        if self.is_on_the_card() {
            writeln!(out, "      nic.driver: {{nic: test, driver: {module}}}")?;
        }
        if is_silent && self.plot != Plot::RegistryLate {
            writeln!(out, "      # The image is there already: a registry that is down must not matter.")?;
            writeln!(out, "      image.not-pulled: {{}}")?;
        }
        if more.contains("then:") { writeln!(out) } else { Ok(()) }
    }

    /// A boot that ends without the module.
    fn without(&self, out: &mut String, more: &str, reason: &str) -> fmt::Result {
        writeln!(out, "  - ends: ready\n{more}    expect:")?;
        if self.plot == Plot::ImageMissing {
            writeln!(out, "      image.refused: {{repository: {}, status: 404}}", self.repository)?;
        }
        writeln!(out, "      # It fails, and says why; the node comes up, and does not reboot for nothing.")?;
        writeln!(out, "      unit.result: {{unit: pull, result: failed}}")?;
        writeln!(out, "      journal.says: {{unit: pull, matches: '{reason}'}}")?;
        writeln!(out, "      module.absent: {{module: {}}}", self.module)?;
        if self.is_on_the_card() {
            let driver = ON_THE_CARD.1;
            writeln!(out, "      # The in-tree driver stays, with its card.")?;
            writeln!(out, "      module.present: {{module: {driver}, origin: in-tree}}")?;
            writeln!(out, "      nic.driver: {{nic: test, driver: {driver}}}")?;
        }
        Ok(())
    }

    /// Whether it is about the network card that every node has for this.
    fn is_on_the_card(&self) -> bool {
        let (module, driver) = ON_THE_CARD;
        self.module.as_str() == module && self.in_tree.first().is_some_and(|first| first.as_str() == driver)
    }
}

/// For the boots after a power cut.
const AT_MOST: &str = "    # So many boots it may take until it settles and stays.\n    at-most: 2\n";

/// A text as YAML and JSON both read it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Scenario;
    use super::*;

    fn module(name: &str) -> ModuleName {
        ModuleName::try_from(name.to_owned()).expect("a module's name")
    }

    fn sketch(plot: Plot, name: &str, in_tree: &[&str], from: Option<&str>) -> Sketch {
        Sketch {
            description: None,
            plot,
            module: module(name),
            in_tree: in_tree.iter().map(|name| module(name)).collect(),
            repository: Repository::try_from("quay.io/vendor/driver".to_owned()).expect("a repository"),
            from: from.map(str::to_owned),
        }
    }

    /// Each plot with each kind of subject.
    fn all() -> impl Iterator<Item = Sketch> {
        let subjects: [(&str, &[&str], Option<&str>); 4] = [
            ("day1_nic", &["e1000"], None),
            ("day1_aux", &[], None),
            ("ice", &["irdma", "ice_old"], Some("oci:../../build/image")),
            ("Odd_name", &[], Some("quay.io/vendor/driver:6.12.48_deb13-amd64")),
        ];
        Plot::ALL.into_iter().flat_map(move |plot| {
            subjects.into_iter().map(move |(name, in_tree, from)| sketch(plot, name, in_tree, from))
        })
    }

    #[test]
    fn every_sketch_is_a_scenario_that_the_loader_takes() {
        let mut texts = std::collections::BTreeSet::new();
        for sketch in all() {
            let text = sketch.yaml();
            let rows = Scenario::parse(Path::new("scenarios/mine/new.yaml"), text.clone());
            let rows = rows.unwrap_or_else(|mistakes| panic!("{}\n{text}", mistakes.plain()));
            let [scenario] = rows.as_slice() else { panic!("one scenario") };
            assert_eq!(scenario.id(), "mine/new");
            assert_eq!(scenario.spec.description, sketch.plot.shows());
            assert!(scenario.generator_config::<day1_generator::Day1Config>(0).expect("parameters").is_ok(), "{text}");
            assert!(text.lines().filter(|line| line.trim_start().starts_with('#')).count() >= 8, "{text}");
            assert!(texts.insert(text), "each is another one");
        }
        assert_eq!(texts.len(), 40);
    }

    #[test]
    fn a_description_may_hold_anything() {
        let mut sketch = sketch(Plot::Nothing, "day1_nic", &["e1000"], None);
        sketch.description = Some("a: \"b\" # $c".into());
        let rows = Scenario::parse(Path::new("scenarios/mine/new.yaml"), sketch.yaml()).expect("a scenario");
        assert_eq!(rows[0].spec.description, "a: \"b\" # $c");
    }

    #[test]
    fn a_plot_is_named_by_its_word_alone() {
        for plot in Plot::ALL {
            assert_eq!(plot.word().parse(), Ok(plot));
        }
        assert!("storm".parse::<Plot>().expect_err("none").contains("registry-late, registry-away"));
    }
}
