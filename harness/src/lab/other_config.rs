//! A scenario with somebody else's MachineConfig under test, in the place of the one that it generates.

use std::path::Path;

use day1_generator::Day1Config;

use super::PlanError;
use super::roles::{self, Roles};
use super::worker::{driver_repository, worker_image};
use crate::input;
use crate::mco;
use crate::scenario::{Base, ConfigSource, Scenario};

/// A MachineConfig from outside the scenarios.
#[derive(Debug, Clone)]
pub struct OtherConfig {
    /// All of it.
    text: String,
    /// Its file, absolute.
    file: String,
    /// Its `metadata.name`.
    name: Option<String>,
    /// The driver's repository that it names, where that can be told.
    repository: Option<String>,
    /// The unit that loads, where that can be told.
    load_unit: Option<String>,
    /// Whether a worker of upstream's kind loads the module; its way runs programs of the driver's image.
    has_worker: bool,
}

impl OtherConfig {
    /// Reads the file; nothing is refused yet, for that is told with the scenario's line.
    pub fn read(file: &Path) -> std::io::Result<Self> {
        let text = input::read_text(file)?;
        let roles = roles::detect(file, &text, Roles::default()).unwrap_or_default();
        Ok(Self {
            file: file.canonicalize()?.display().to_string(),
            name: mco::yaml::only_object(&text)
                .ok()
                .and_then(|one| Some(one.pointer("/metadata/name")?.as_str()?.to_owned())),
            repository: driver_repository(&text),
            load_unit: roles.load,
            has_worker: worker_image(&text).is_some(),
            text,
        })
    }

    /// All of its file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The driver's repository that it names, where that can be told.
    pub fn repository(&self) -> Option<&str> {
        self.repository.as_deref()
    }

    /// The unit that loads, where that can be told.
    pub fn load_unit(&self) -> Option<&str> {
        self.load_unit.as_deref()
    }

    /// The scenario with it; none of a scenario that is about several MachineConfigs, or about changes of its own one. That it
    /// comes to running nodes is no such change.
    pub fn under(&self, scenario: &Scenario) -> Result<Option<Scenario>, PlanError> {
        let [config] = scenario.spec.machine_configs.as_slice() else { return Ok(None) };
        if !config.patch.is_empty() || scenario.spec.withdraws_machine_configs() {
            return Ok(None);
        }
        let Some(generated) = scenario.generator_config::<Day1Config>(0) else { return Ok(None) };
        let generated = generated.map_err(|mistakes| PlanError::Scenario(Box::new(mistakes)))?;
        let own = generated.kernel_module_image().to_string();
        let other = self.repository.as_ref().unwrap_or(&own);
        let mut text = renamed(&scenario.document.text, &own, other);
        if config.later {
            // By that name it is applied.
            let (own, other) = (generated.machine_config_name().to_string(), self.name.as_ref());
            let Some(other) = other else { return Ok(None) };
            text = renamed(&text, &own, other);
        }
        let path = &scenario.document.path;
        let rows = Scenario::parse(path, text).map_err(|mistakes| PlanError::Scenario(Box::new(mistakes)))?;
        let Some(mut scenario) = rows.into_iter().find(|row| row.id() == scenario.id()) else { return Ok(None) };
        scenario.spec.machine_configs[0].source = ConfigSource::File(self.file.clone());
        let images = scenario.spec.registry.images.iter_mut();
        for image in images.filter(|image| self.has_worker && image.base == Base::Scratch) {
            image.base = Base::Shell;
        }
        Ok(Some(scenario))
    }
}

/// A text in which one repository's name stands for another's. One that only begins with the name is another one.
fn renamed(text: &str, from: &str, to: &str) -> String {
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let mut parts = text.split(from).peekable();
    let mut renamed = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        renamed.push_str(if goes_on(rest) { from } else { to });
        renamed.push_str(rest);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{self, Action};

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn scenario(name: &str) -> Scenario {
        Scenario::load_one(&root().join("scenarios").join(name)).expect("a good scenario")
    }

    #[test]
    fn a_repository_that_only_begins_with_the_name_is_another_one() {
        let text = "a: q/driver\nb: [q/driver, q/driver-next, q/driver:1]";
        assert_eq!(renamed(text, "q/driver", "r/mine"), "a: r/mine\nb: [r/mine, q/driver-next, r/mine:1]");
    }

    #[test]
    fn the_scenario_s_images_stand_where_the_other_config_looks_for_them() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let upstream = root().join("mutants/upstream/99-worker-upstream.yaml");
        let text = std::fs::read_to_string(upstream).expect("read");
        let file = dir.path().join("mc.yaml");
        std::fs::write(&file, text.replace("quay.io/day1/day1-nic", "quay.io/vendor/driver")).expect("written");
        let other = OtherConfig::read(&file).expect("read");
        let changed = other.under(&scenario("pull/pull-then-reboot.yaml")).expect("good").expect("fit");
        let image = &changed.spec.registry.images[0];
        assert_eq!((image.repository.to_string().as_str(), image.base), ("quay.io/vendor/driver", Base::Shell));
        assert!(changed.document.text.contains("image.pulled: {repository: quay.io/vendor/driver}"));
        assert!(
            matches!(&changed.spec.machine_configs[0].source, ConfigSource::File(path) if path.ends_with("mc.yaml"))
        );
        assert_eq!(changed.id(), "pull/pull-then-reboot");
    }

    #[test]
    fn scenarios_about_several_machine_configs_or_their_changes_are_left_out() {
        let other = OtherConfig::read(&root().join("mutants/upstream/99-worker-upstream.yaml")).expect("read");
        for name in
            ["multi-module/two-machine-configs.yaml", "handover/image-change.yaml", "provisioning/withdrawn.yaml"]
        {
            assert!(other.under(&scenario(name)).expect("good").is_none(), "{name}");
        }
        let all = scenario::list(&root().join("scenarios")).expect("listed").scenarios;
        let fit = all.iter().filter(|one| other.under(one).expect("good").is_some()).count();
        assert!(fit * 10 > all.len() * 8, "{fit} of {}", all.len());
    }

    #[test]
    fn one_that_comes_to_running_nodes_is_applied_by_its_own_name() {
        let other = OtherConfig::read(&root().join("mutants/upstream/99-worker-upstream.yaml")).expect("read");
        let changed = other.under(&scenario("pool/rollout.yaml")).expect("good").expect("fit");
        let step = &changed.spec.steps[0];
        assert_eq!(step.describe(), "apply 99-worker-upstream");
        assert_eq!(step.expect.merged.values().collect::<Vec<_>>(), [&["99-worker-upstream"]]);
        let changed = other.under(&scenario("provisioning/applied-later.yaml")).expect("good").expect("fit");
        let actions: Vec<_> = changed.spec.boots[0].then.iter().collect();
        assert!(
            matches!(actions[..], [Action::Apply(one)] if one.machine_config == "99-worker-upstream"),
            "{actions:?}"
        );
    }
}
