//! Mutants: MachineConfigs that were changed a little, and what a harness that can be trusted says of them.

use std::path::{Path as FsPath, PathBuf};

use serde::Deserialize;

use super::decode::{decode, nearest};
use super::load::read;
use super::{BASE_CHECKS, Base, ConfigSource, Document, Id, Mistakes, Patch, Path, PoolStep, Scenario};

/// The family that trials of mutants are in.
const FAMILY: &str = "mutants";

/// A change to the MachineConfig of a scenario, and the checks that must see it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mutant {
    /// Its name.
    pub name: Id,
    /// What is wrong with it, or what is merely different, for a person.
    pub says: String,
    /// The scenario whose MachineConfig is changed, by id, with its row where it has a matrix.
    pub like: String,
    /// The changes, to the scenario's first generated MachineConfig, or to the one that takes its place.
    #[serde(default)]
    pub patch: Vec<Patch>,
    /// A file, relative to this one, with a MachineConfig that takes the place of the scenario's generated one.
    pub machine_config: Option<String>,
    /// What the scenario's images are made of instead.
    pub image_base: Option<Base>,
    /// Which of its image's kernels the node boots instead.
    pub kernel: Option<usize>,
    /// The checks that must fail; none for a change that does no harm, which must pass.
    #[serde(default)]
    pub caught_by: Vec<String>,
    /// Checks of a faulty one that must not fail: they show that it came to its fault, and did not stop before.
    #[serde(default)]
    pub passes: Vec<String>,
    /// Whether it does no harm.
    #[serde(default)]
    pub harmless: bool,
}

/// A mutant, and the scenario that it makes.
#[derive(Debug, Clone)]
pub struct Mutation {
    /// What was changed, and what must come of it.
    pub mutant: Mutant,
    /// The scenario with the change.
    pub scenario: Scenario,
}

/// All mutants of a directory's files, by name, each with the scenario of `scenarios` that it changes.
pub fn mutants(dir: &FsPath, scenarios: &[Scenario]) -> Result<Vec<Mutation>, Vec<Mistakes>> {
    let mut all: Vec<Mutation> = Vec::new();
    let mut wrong = Vec::new();
    let files = files(dir);
    if files.is_empty() {
        let message = format!("no file with mutants is in {}", dir.display());
        wrong.push(Mistakes::unplaced(dir, &message, "Each is a `.yaml` file; the project's own are in `mutants`."));
    }
    for path in files {
        match of_file(&path, scenarios) {
            Ok(some) => all.extend(some),
            Err(mistakes) => wrong.push(mistakes),
        }
    }
    all.sort_by(|a, b| a.mutant.name.cmp(&b.mutant.name));
    if let Some(pair) = all.windows(2).find(|pair| pair[0].mutant.name == pair[1].mutant.name) {
        let message = format!("two mutants are called `{}`", pair[0].mutant.name);
        wrong.push(Mistakes::unplaced(dir, &message, "Give each a name of its own."));
    }
    if wrong.is_empty() { Ok(all) } else { Err(wrong) }
}

fn files(dir: &FsPath) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = listed.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files
}

fn of_file(path: &FsPath, scenarios: &[Scenario]) -> Result<Vec<Mutation>, Mistakes> {
    let mut document = Document::parse(path, read(path)?)?;
    let decoded = decode::<Vec<Mutant>>(&mut document);
    let mut mistakes = decoded.mistakes;
    let mut all = Vec::new();
    for (index, mutant) in decoded.value.into_iter().flatten().enumerate() {
        let place = Path::default().index(index);
        if mutant.harmless != mutant.caught_by.is_empty() {
            let help = "Name the checks in `caught-by`, or say `harmless: true`.";
            let message = "a mutant is either caught by something or harmless";
            mistakes.push(document.mistake(&place.key("name"), message, help));
        }
        if let Some(both) = mutant.passes.iter().find(|check| mutant.harmless || mutant.caught_by.contains(check)) {
            let message = match mutant.harmless {
                true => "all checks pass a harmless mutant".to_owned(),
                false => format!("`{both}` can't both catch it and pass"),
            };
            mistakes.push(document.mistake(&place.key("passes"), message, "Leave it out."));
        }
        if let Some(other) = &mutant.machine_config
            && let Err(error) = std::fs::metadata(path.with_file_name(other))
        {
            let message = format!("cannot read {}: {error}", path.with_file_name(other).display());
            let help = "The path is relative to the mutant's file.";
            mistakes.push(document.mistake(&place.key("machine-config"), message, help));
        }
        if mutant.patch.is_empty() && mutant.machine_config.is_none() {
            let help = "Say how by `patch`, or give another one by `machine-config`.";
            mistakes.push(document.mistake(&place.key("name"), "the MachineConfig is not changed", help));
        }
        match scenarios.iter().find(|scenario| scenario.id() == mutant.like) {
            Some(scenario) => {
                let judged = judged(scenario);
                let named = ["caught-by", "passes"].into_iter().zip([&mutant.caught_by, &mutant.passes]);
                for (key, check) in named.flat_map(|(key, checks)| checks.iter().map(move |check| (key, check))) {
                    if !judged.contains(&check.as_str()) {
                        let help = format!("It is held against {}.", judged.join(", "));
                        let message = format!("`{}` is not held against `{check}`", mutant.like);
                        mistakes.push(document.mistake(&place.key(key), message, help));
                    }
                }
                if generated(scenario).is_none() {
                    let message = format!("`{}` has no generated MachineConfig that could be changed", mutant.like);
                    mistakes.push(document.mistake(&place.key("like"), message, "Choose another scenario."));
                }
                all.push(mutation(path, mutant, scenario));
            }
            None => {
                let ids: Vec<String> = scenarios.iter().map(Scenario::id).collect();
                let near = nearest(&mutant.like, ids.iter().map(String::as_str));
                let help = near
                    .map_or("`day1 run --list --all` shows them.".to_owned(), |near| format!("Did you mean `{near}`?"));
                mistakes.push(document.mistake(
                    &place.key("like"),
                    format!("there is no scenario `{}`", mutant.like),
                    help,
                ));
            }
        }
    }
    if mistakes.is_empty() { Ok(all) } else { Err(Mistakes::new(&document, mistakes)) }
}

/// The checks that a scenario is held against.
pub(super) fn judged(scenario: &Scenario) -> Vec<&'static str> {
    let expected = scenario.spec.expectations().into_iter();
    let expected = expected.flat_map(|(_, expect)| expect.each()).map(|(_, one)| one.check());
    let of_pools = scenario.spec.steps.iter().flat_map(PoolStep::checks);
    let mut checks: Vec<&str> = expected.chain(of_pools).chain(BASE_CHECKS).collect();
    checks.sort_unstable();
    checks.dedup();
    checks
}

/// Which of its MachineConfigs is changed.
fn generated(scenario: &Scenario) -> Option<usize> {
    scenario.spec.machine_configs.iter().position(|config| matches!(config.source, ConfigSource::Generate(_)))
}

fn mutation(file: &FsPath, mutant: Mutant, scenario: &Scenario) -> Mutation {
    let mut scenario = scenario.clone();
    FAMILY.clone_into(&mut scenario.family);
    mutant.name.as_str().clone_into(&mut scenario.name);
    if let Some(index) = generated(&scenario) {
        let config = &mut scenario.spec.machine_configs[index];
        config.patch.extend(mutant.patch.iter().cloned());
        if let Some(other) = &mutant.machine_config {
            // Not relative to the scenario's file.
            let beside = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
            config.source = ConfigSource::File(beside.with_file_name(other).display().to_string());
        }
    }
    for image in scenario.spec.registry.images.iter_mut().filter(|image| image.base != Base::Worker) {
        image.base = mutant.image_base.unwrap_or(image.base);
    }
    scenario.spec.node.kernel = mutant.kernel.unwrap_or(scenario.spec.node.kernel);
    Mutation { mutant, scenario }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenarios() -> Vec<Scenario> {
        let dir = FsPath::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        super::super::list(&dir).expect("listed").scenarios
    }

    fn of(text: &str) -> Result<Vec<Mutation>, String> {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::write(dir.path().join("x.yaml"), text).expect("written");
        let told = |mistakes: Vec<Mistakes>| mistakes.iter().map(Mistakes::plain).collect::<String>();
        mutants(dir.path(), &scenarios()).map_err(told)
    }

    #[test]
    fn a_mutant_is_its_scenario_with_a_change() {
        let text = "- {name: a, says: x, like: pull/pull-then-reboot, caught-by: [unit.before], patch: [{unit: load, replace: A, with: B}]}";
        let mutation = of(text).expect("good").remove(0);
        assert_eq!(mutation.scenario.id(), "mutants/a");
        assert_eq!(mutation.scenario.spec.machine_configs[0].patch.len(), 1);
        assert!(!mutation.mutant.harmless);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let text = "\
- {name: a, says: x, like: pull/pull-then-rebot, caught-by: [unit.before], patch: [{unit: load, remove: true}]}
- {name: b, says: x, like: pull/pull-then-reboot, patch: [{unit: load, remove: true}]}
- {name: c, says: x, like: pull/pull-then-reboot, harmless: true, patch: [{unit: load}]}
";
        let told = of(text).expect_err("refused");
        assert!(
            told.contains(
                "x.yaml:1:28: there is no scenario `pull/pull-then-rebot` (Did you mean `pull/pull-then-reboot`?)"
            ),
            "{told}"
        );
        assert!(told.contains("x.yaml:2:10: a mutant is either caught by something or harmless"), "{told}");
        assert!(told.contains("x.yaml:3:") && told.contains("it is not clear what the change is"), "{told}");
        let unjudged = "- {name: a, says: x, like: pull/pull-then-reboot, caught-by: [module.replace], patch: [{unit: load, remove: true}]}\n";
        let told = of(unjudged).expect_err("refused");
        assert!(told.contains("`pull/pull-then-reboot` is not held against `module.replace`"), "{told}");
        let twice =
            "- {name: a, says: x, like: pull/pull-then-reboot, harmless: true, patch: [{unit: load, remove: true}]}\n"
                .repeat(2);
        let absent = "- {name: a, says: x, like: pull/pull-then-reboot, caught-by: [unit.before], passes: [unit.before], machine-config: b.yaml}\n";
        let told = of(absent).expect_err("refused");
        assert!(
            told.contains("can't both catch it and pass") && told.contains("x.yaml:1:") && told.contains("b.yaml"),
            "{told}"
        );
        assert!(of(&twice).expect_err("refused").contains("two mutants are called `a`"));
    }

    #[test]
    fn the_machineconfig_in_upstream_s_shape_has_the_scripts_that_lie_beside_it() {
        use base64::Engine;
        let dir = FsPath::new(env!("CARGO_MANIFEST_DIR")).join("../mutants/upstream");
        let text = std::fs::read_to_string(dir.join("99-worker-upstream.yaml")).expect("text");
        let config: serde_json::Value = serde_yaml::from_str(&text).expect("YAML");
        let files = config["spec"]["config"]["storage"]["files"].as_array().expect("files");
        assert_eq!(files.len(), 3);
        for file in files {
            let name = file["path"].as_str().and_then(|path| path.rsplit('/').next()).expect("a name");
            let source = file["contents"]["source"].as_str().expect("a source");
            let encoded = source.strip_prefix("data:text/plain;base64,").expect("a data URL");
            let script = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
            let beside = std::fs::read(dir.join(name)).expect("a script");
            assert!(
                script == beside,
                "mutants/upstream/{name} was changed: put `base64 -w0` of it into the MachineConfig"
            );
        }
    }

    #[test]
    fn the_projects_own_mutants_are_good() {
        let dir = FsPath::new(env!("CARGO_MANIFEST_DIR")).join("../mutants");
        let all = mutants(&dir, &scenarios()).unwrap_or_else(|wrong| panic!("{}", wrong[0].plain()));
        assert!(all.iter().filter(|one| !one.mutant.harmless).count() >= 40);
        assert!(all.iter().filter(|one| one.mutant.harmless).count() >= 10);
    }
}
