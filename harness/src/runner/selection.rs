//! Which trials a run has: those that its options select, in the order of their names, and the plan that all its parts share.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use libtest_mimic::Arguments;
use wildmatch::WildMatch;

use super::prepare::{self, BadInput};
use super::progress;
use super::{ImagesError, Options, Partition};
use crate::cache::{self, Cache};
use crate::lab::{self, OtherConfig};
use crate::mco;
use crate::node;
use crate::report::RunPlan;
use crate::scenario::{self, Day, Mistakes, Mutant, SNOOZES_FILE, Scenario, Snooze};
use crate::services::registry::Backend;
use crate::text::printable;

/// The label of scenarios that run only when they are asked for: by name, by a label, or with all others.
pub const NIGHTLY: &str = "nightly";

/// A trial before anything is prepared for it.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) scenario: Arc<Scenario>,
    pub(super) node: String,
    /// The kernel that the run chose.
    pub(super) kernel: Option<String>,
    /// What must come of it, if it is a mutant's.
    pub(super) mutant: Option<Arc<Mutant>>,
    /// What is known of its failures.
    pub(super) snoozes: Vec<Snooze>,
}

/// The kernels that a run chooses, by node image.
pub(super) type Kernels = BTreeMap<String, Chosen>;

/// The kernels that a run chooses of one node image.
pub(super) struct Chosen {
    pub(super) releases: Vec<Option<String>>,
    /// Whether the image's first is among them.
    pub(super) has_first: bool,
}

/// The trials that the options select, in the order of their names; or every mistake in any scenario, for a
/// person.
pub(super) fn plan(options: &Options, kernels: &Kernels) -> Result<Vec<Planned>, String> {
    every_trial(options, kernels).map(|all| of_part(options.partition.as_ref(), all))
}

/// Those of a part. What libtest's own arguments leave out still counts for a trial's place: under
/// cargo-nextest each trial is a process that is asked for that trial alone.
pub(super) fn of_part(part: Option<&Partition>, all: Vec<Planned>) -> Vec<Planned> {
    let Some(part) = part else { return all };
    let placed = all.into_iter().enumerate();
    placed.filter(|(index, one)| part.holds(*index, &one.name)).map(|(_, one)| one).collect()
}

/// The same in all parts.
pub(super) fn every_trial(options: &Options, kernels: &Kernels) -> Result<Vec<Planned>, String> {
    let listing = scenario::list(&options.scenarios)
        .map_err(|error| format!("error: cannot list the scenarios in {}: {error}", options.scenarios.display()))?;
    if !listing.refused.is_empty() {
        return Err(reports(listing.refused));
    }
    let images = node_images(options).map_err(|error| format!("error: {error:#}"))?;
    let snoozes = snoozes(options, &listing.scenarios, &images).map_err(|mistakes| reports(vec![mistakes]))?;
    let scenarios: Vec<(Scenario, Option<Mutant>)> = match &options.mutants {
        None => listing.scenarios.into_iter().map(|scenario| (scenario, None)).collect(),
        Some(dir) => scenario::mutants(dir, &listing.scenarios)
            .map_err(reports)?
            .into_iter()
            .map(|mutation| (mutation.scenario, Some(mutation.mutant)))
            .collect(),
    };
    let scenarios = under_other_config(options, scenarios)?;
    let mut planned = Vec::new();
    for (scenario, mutant) in scenarios {
        let (scenario, mutant) = (Arc::new(scenario), mutant.map(Arc::new));
        for node in &options.nodes {
            let by_itself = [None];
            let chosen = match kernels.get(node) {
                // A scenario about several kernels says itself which one runs when: it belongs to the image's first, so that
                // it runs once where each kernel has a run of its own.
                Some(chosen) if scenario.spec.chooses_kernels() => &by_itself[..usize::from(chosen.has_first)],
                Some(chosen) => &chosen.releases,
                None => &by_itself[..],
            };
            for kernel in chosen {
                let name = lab::trial_name(&scenario, node, kernel.as_deref());
                let (scenario, mutant) = (Arc::clone(&scenario), mutant.clone());
                let snoozes = snoozes.iter().filter(|one| one.pattern.matches(&name)).cloned().collect();
                let (node, kernel) = (node.clone(), kernel.clone());
                planned.push(Planned { name, scenario, node, kernel, mutant, snoozes });
            }
        }
    }
    let nightly = planned.iter().filter(|one| one.scenario.has_label(NIGHTLY)).count();
    if nightly > 0 && !asks_for_something(options) {
        progress::warn(&format!("{nightly} trials with the label `{NIGHTLY}` are left out; `--all` runs them as well"));
    }
    planned.retain(|one| is_selected(one, options));
    planned.sort_by(|a, b| a.name.cmp(&b.name));
    if planned.is_empty() {
        return Err(format!(
            "error: no trial is selected by {:?}{}; `--list` shows all",
            options.filters,
            options.label.as_ref().map(|label| format!(" and the label {label}")).unwrap_or_default()
        ));
    }
    Ok(planned)
}

/// The names of all node images that are known here; those that the run is to have must be among them.
fn node_images(options: &Options) -> Result<Vec<String>> {
    let catalogue = prepare::catalogue(options, &Cache::open(options.cache.as_deref())?)?;
    for name in &options.nodes {
        catalogue.get(name).map_err(|error| BadInput::new(&error))?;
    }
    Ok(catalogue.definitions().map(|one| one.name.clone()).collect())
}

/// The file with the snoozes of the run: the one that the options name, or the one beside the scenarios, if it is there. What
/// must come of a mutant is said elsewhere.
fn snoozes_file(options: &Options) -> Option<PathBuf> {
    let beside = options.scenarios.join(SNOOZES_FILE);
    let file = options.snoozes.clone().or_else(|| beside.exists().then_some(beside));
    file.filter(|_| options.mutants.is_none())
}

/// The snoozes of the run. Those that have expired are told, and those about node images that nobody knows here: another
/// host may have imported one of that name.
fn snoozes(options: &Options, scenarios: &[Scenario], images: &[String]) -> Result<Vec<Snooze>, Mistakes> {
    let Some(file) = snoozes_file(options) else { return Ok(vec![]) };
    let snoozes = scenario::snoozes(&file, scenarios)?;
    let today = Day::today();
    for Snooze { place, pattern, .. } in &snoozes {
        let is_known = |wanted| images.iter().any(|name| WildMatch::new(wanted).matches(name));
        if let Some(image) = pattern.node_image().filter(|image| !is_known(image)) {
            progress::warn(&format!(
                "warning: no node image here is called {image}, which the snooze {pattern} is about ({place})"
            ));
        }
    }
    for expired in snoozes.iter().filter(|one| one.has_expired(today)) {
        let Snooze { place, pattern, expires, reason, tracker, .. } = expired;
        let reason = printable(reason);
        progress::warn(&format!("SNOOZE EXPIRED on {expires}: {pattern} counts again ({reason}; {tracker}; {place})"));
    }
    Ok(snoozes)
}

/// The scenarios with the MachineConfig that the run brings; those that it can't stand in are left out, and told.
fn under_other_config(
    options: &Options,
    scenarios: Vec<(Scenario, Option<Mutant>)>,
) -> Result<Vec<(Scenario, Option<Mutant>)>, String> {
    let Some(file) = &options.machine_config else { return Ok(scenarios) };
    let other = OtherConfig::read(file);
    let other = other.map_err(|error| format!("error: cannot read the MachineConfig {}: {error}", file.display()))?;
    mco::MachineConfig::read(file).map_err(|error| format!("error: {error}"))?;
    let (mut under, all) = (Vec::new(), scenarios.len());
    for (scenario, mutant) in scenarios {
        let changed = other.under(&scenario).map_err(|error| format!("error: {error}"))?;
        under.extend(changed.map(|scenario| (scenario, mutant)));
    }
    if under.len() < all {
        let left = all - under.len();
        progress::warn(&format!(
            "{left} scenarios are about several MachineConfigs, or about changes of their own, and are left out"
        ));
    }
    Ok(under)
}

fn reports(refused: Vec<Mistakes>) -> String {
    let reports = refused.into_iter().map(|mistakes| format!("{:?}", miette::Report::new(mistakes)));
    reports.collect::<Vec<_>>().join("\n")
}

/// Whether more is asked for than what runs by day.
fn asks_for_something(options: &Options) -> bool {
    options.all || options.mutants.is_some() || options.label.is_some() || !options.filters.is_empty()
}

fn is_selected(planned: &Planned, options: &Options) -> bool {
    let by_name = options.filters.is_empty() || options.filters.iter().any(|filter| planned.name.contains(filter));
    let by_label = options.label.as_ref().is_none_or(|label| planned.scenario.has_label(label));
    by_name && by_label && (asks_for_something(options) || !planned.scenario.has_label(NIGHTLY))
}

/// The same choice that libtest-mimic makes, which needs to be known before it runs.
pub(super) fn passes_libtest(name: &str, arguments: &Arguments) -> bool {
    let matches = |filter: &str| if arguments.exact { name == filter } else { name.contains(filter) };
    arguments.filter.as_deref().is_none_or(matches) && !arguments.skip.iter().any(|skip| matches(skip))
}

/// Changes when another digest is made of the same files.
const FORMAT: &[u8] = b"day1 files 1";

/// The plan of a run: the trials that the options select, in all parts.
pub fn plan_of(options: &Options) -> Result<RunPlan, ImagesError> {
    let all = every_trial(options, &prepare::kernels(options)?).map_err(|message| BadInput::new(&message));
    Ok(describe(options, &all.map_err(anyhow::Error::from)?)?)
}

/// What all parts of a run have in common.
pub(super) fn describe(options: &Options, all: &[Planned]) -> Result<RunPlan> {
    let mut settings = BTreeMap::from([("vm-images".to_owned(), digest(&options.vm_images)?)]);
    if let Some(dir) = &options.mutants {
        settings.insert("mutants".to_owned(), digest(dir)?);
    }
    if let Some(file) = &options.machine_config {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        settings.insert("machine-config".to_owned(), cache::key([FORMAT, &bytes]));
    }
    if let Some(start) = options.start {
        settings.insert("start".to_owned(), start.to_string());
    }
    if let Some(file) = snoozes_file(options) {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        settings.insert("snoozes".to_owned(), cache::key([FORMAT, &bytes]));
    }
    if options.retries > 0 {
        let tolerated = if options.flaky_ok { ", flaky ones are good" } else { "" };
        settings.insert("retries".to_owned(), format!("{}{tolerated}", options.retries));
    }
    if let Some(toolkit) = &options.driver_toolkit {
        // Of a file only its name: where it lies is the host's.
        let named = toolkit.to_string();
        let file = Path::new(&named).file_name().filter(|_| Path::new(&named).is_file());
        let named = file.map_or(named.clone(), |file| file.to_string_lossy().into_owned());
        settings.insert("driver-toolkit".to_owned(), named);
    }
    if options.registry != Backend::Embedded {
        settings.insert("registry".to_owned(), options.registry.to_string());
    }
    let trials = all.iter().map(|one| {
        let document = &one.scenario.document;
        (one.name.as_str(), document.path.as_path(), document.sha256())
    });
    Ok(RunPlan::new(settings, trials))
}

/// Of all files below a directory, wherever it lies.
fn digest(dir: &Path) -> Result<String> {
    let mut parts = vec![FORMAT.to_vec()];
    for file in node::files_below(dir).map_err(|error| BadInput::new(&error))? {
        let relative = file.strip_prefix(dir).unwrap_or(&file);
        parts.push(relative.as_os_str().as_encoded_bytes().to_vec());
        parts.push(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(cache::key(parts.iter().map(Vec::as_slice)))
}

#[cfg(test)]
mod tests {
    use super::super::ledger::tests::ledger;
    use super::*;

    /// As cargo-nextest asks, a process for each trial.
    #[test]
    fn a_trial_that_is_asked_for_by_name_is_in_the_slice_that_it_has_among_all() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let one = ledger(dir.path()).1.remove(0);
        let all = || (0..6).map(|number| Planned { name: format!("a/{number}@b"), ..one.clone() }).collect::<Vec<_>>();
        let ran = |slice: &str, asked: &str| {
            let part = of_part(Some(&slice.parse().expect("a partition")), all());
            let arguments = Arguments { filter: Some(asked.to_owned()), exact: true, ..Arguments::default() };
            part.into_iter().filter(|one| passes_libtest(&one.name, &arguments)).map(|one| one.name).collect::<Vec<_>>()
        };
        for number in 0..6 {
            let name = format!("a/{number}@b");
            let own = number % 3 + 1;
            assert_eq!(ran(&format!("slice:{own}/3"), &name), [name.as_str()]);
            assert_eq!(ran(&format!("slice:{}/3", own % 3 + 1), &name), Vec::<String>::new());
        }
    }

    /// Each change of each mutant finds its place in what the generator makes.
    #[test]
    fn the_mutants_changes_can_be_made() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let scenarios = scenario::list(&root.join("scenarios")).expect("listed").scenarios;
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("a cache");
        let authority = crate::services::certs::Authority::open(&cache).expect("an authority");
        let mutations = scenario::mutants(&root.join("mutants"), &scenarios).expect("good mutants");
        let refused = mutations.into_iter().filter_map(|mutation| {
            let name = mutation.mutant.name.to_string();
            let refused = crate::lab::draft(&Arc::new(mutation.scenario), None, &authority).err()?;
            Some(format!("{name}: {refused}"))
        });
        assert_eq!(refused.collect::<Vec<_>>(), Vec::<String>::new());
    }
}
