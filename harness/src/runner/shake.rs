//! The search for an order that breaks a scenario: it runs again and again, each time with other units held up, as a
//! seed decides; and the smallest set of delays that does it is looked for.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::kept::Kept;
use super::ledger::Ledger;
use super::selection::{Planned, plan};
use super::trial::{self, Ready};
use super::{Options, Scratch, interrupt, lease, prepare, progress};
use crate::checks::{Outcome, Verdict};
use crate::lab;
use crate::report::TrialResult;
use crate::scenario::{Delay, Scenario, Seconds, Start, UnitRef};
use crate::text::with_causes;

/// How long to look.
#[derive(Debug, Clone, Copy)]
pub struct Shaking {
    /// How many times the scenario runs.
    pub times: u64,
    /// The first seed; each time takes the next one.
    pub seed: u64,
}

/// Units that are held up, besides those of the scenario itself: what a node's boot hinges on.
const UNITS: [&str; 12] = [
    "load",
    "pull",
    "NetworkManager.service",
    "basic.target",
    "local-fs.target",
    "network-online.target",
    "network-pre.target",
    "sysinit.target",
    "systemd-modules-load.service",
    "systemd-tmpfiles-setup.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
];
const MOST_UNITS: usize = 4;
const LONGEST_S: u64 = 20;

/// Shakes the one scenario that the options select; gives the exit code as [`super::run`] does.
pub fn shake(options: &Options, shaking: Shaking) -> u8 {
    match try_shake(options, shaking) {
        Ok(code) => code,
        Err(error) => {
            progress::warn(&format!("error: {}", with_causes(error.as_ref())));
            if error.downcast_ref::<prepare::BadInput>().is_some() { 2 } else { 3 }
        }
    }
}

fn try_shake(options: &Options, shaking: Shaking) -> Result<u8> {
    let planned = match plan(options, &prepare::kernels(options)?) {
        Ok(planned) => planned,
        Err(message) => {
            progress::warn(&message.to_string());
            return Ok(2);
        }
    };
    let [base] = planned.as_slice() else {
        let names: Vec<&str> = planned.iter().map(|one| one.name.as_str()).collect();
        progress::warn(&format!("error: one trial is shaken at a time; chosen are {}", names.join(", ")));
        return Ok(2);
    };
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let scratch = Scratch::new(&options.day1).context("cannot make the run's temporary directory")?;
    let shaker = Shaker { options, base, scratch };
    let undelayed = shaker.run(vec![("undelayed".to_owned(), vec![])])?;
    if interrupt::is_set() {
        return Ok(130);
    }
    if let Some(result) = undelayed.first().filter(|result| result.verdict != Verdict::Pass) {
        progress::say(&format!(
            "{} {} without any delay: there is nothing to look for",
            base.name,
            word(result.verdict)
        ));
        return Ok(if result.verdict == Verdict::Fail { 1 } else { 3 });
    }
    let trials: Vec<(u64, Vec<Delay>)> =
        (shaking.seed..shaking.seed + shaking.times).map(|seed| (seed, delays(&base.scenario, seed))).collect();
    let results = shaker.run(trials.iter().map(|(seed, delays)| (format!("seed{seed}"), delays.clone())).collect())?;
    if interrupt::is_set() {
        return Ok(130);
    }
    for ((seed, delays), result) in trials.iter().zip(&results) {
        progress::say(&format!("seed {seed}: {} with {}", word(result.verdict), describe(delays)));
    }
    let unclear = results.iter().any(|result| matches!(result.verdict, Verdict::Infra | Verdict::Inconclusive));
    let broken = trials.iter().zip(&results).find(|(_, result)| result.verdict == Verdict::Fail);
    let Some(((seed, delays), result)) = broken else {
        progress::say(&format!(
            "{}: no order was found that breaks it, in {} runs from seed {}",
            base.name,
            results.len(),
            shaking.seed
        ));
        return Ok(if unclear { 3 } else { 0 });
    };
    let (delays, result) = shaker.smallest(*seed, delays.clone(), result.clone())?;
    if interrupt::is_set() {
        return Ok(130);
    }
    progress::say(&format!(
        "\n{} breaks with seed {seed}; the smallest set of delays that does it:\n\n{}",
        base.name,
        as_yaml(&delays)
    ));
    for finding in result.findings.iter().filter(|finding| finding.outcome == Outcome::Fail) {
        progress::say(&format!("  {} {}", finding.check, finding.message));
    }
    if let Some(dir) = &result.dir {
        progress::say(&format!("  timeline  {}", dir.join(crate::lab::files::TIMELINE).display()));
    }
    Ok(1)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass | Verdict::Flaky => "passes",
        Verdict::Fail => "FAILS",
        Verdict::Inconclusive => "is inconclusive",
        Verdict::Infra => "was lost to the harness's side",
        Verdict::Skipped => "was skipped",
    }
}

fn describe(delays: &[Delay]) -> String {
    let each = delays.iter().map(|delay| format!("{} by {} s", delay.unit, delay.by.duration().as_secs()));
    each.collect::<Vec<_>>().join(", ")
}

/// To be put into a scenario.
fn as_yaml(delays: &[Delay]) -> String {
    let mut text = String::from("delays:\n");
    for delay in delays {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  - {{unit: {}, by: {}s}}", delay.unit, delay.by.duration().as_secs());
    }
    text
}

/// The delays of a seed, always the same for one scenario.
fn delays(scenario: &Scenario, seed: u64) -> Vec<Delay> {
    let own = scenario.spec.node.units.iter().filter(|unit| !unit.masked).map(|unit| unit.name.to_string());
    let has_roles = scenario.spec.machine_configs.len() == 1;
    let mut units: Vec<String> =
        UNITS.iter().filter(|unit| has_roles || unit.contains('.')).map(|unit| (*unit).to_owned()).chain(own).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    random.shuffle(&mut units);
    units.truncate(random.usize(1..=MOST_UNITS));
    units.sort();
    let delay = |unit: String| {
        let by = Seconds::new(random.u64(1..=LONGEST_S));
        // Each is a role or a unit's name already.
        Some(Delay { unit: UnitRef::try_from(unit).ok()?, by, after: None })
    };
    units.into_iter().filter_map(delay).collect()
}

struct Shaker<'s> {
    options: &'s Options,
    base: &'s Planned,
    scratch: Scratch,
}

impl Shaker<'_> {
    /// Runs the scenario with each set of delays, as many at once as the host carries.
    fn run(&self, sets: Vec<(String, Vec<Delay>)>) -> Result<Vec<TrialResult>> {
        let planned: Vec<Planned> = sets.into_iter().map(|(name, delays)| self.planned(&name, delays)).collect();
        let ready = prepare::prepare(self.options, &planned, self.scratch.dir())?.into_trials();
        interrupt::end_in_order();
        let jobs = self.options.jobs.unwrap_or_else(lease::jobs);
        let (next, done) = (AtomicUsize::new(0), Mutex::new(vec![None; ready.len()]));
        let lost = Mutex::new(None);
        let (ledger, kept) = (Arc::new(Ledger::new(None, None, &[])), Arc::new(Kept::new(ready.len())));
        let work = || {
            while let Some((index, one)) = take(&next, &ready) {
                match trial::one(one, jobs, &ledger, &kept) {
                    Ok(result) => done.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result),
                    Err(failed) => {
                        *lost.lock().unwrap_or_else(PoisonError::into_inner) = failed.message().map(str::to_owned)
                    }
                }
            }
        };
        std::thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(work))));
        // Somebody may have come into a node unasked.
        kept.wait();
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let done: Vec<TrialResult> = done.into_iter().flatten().collect();
        if done.len() < ready.len() && !interrupt::is_set() {
            let why = lost.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_default();
            bail!("{} of {} runs could not begin: {why}", ready.len() - done.len(), ready.len());
        }
        Ok(done)
    }

    fn planned(&self, name: &str, delays: Vec<Delay>) -> Planned {
        let mut scenario = Scenario::clone(&self.base.scenario);
        scenario.spec.delays.extend(delays);
        // A first boot that was recorded can't be shaken.
        if scenario.spec.start == Start::Pulled {
            scenario.spec.start = Start::Template;
        }
        scenario.name = format!("{}-{name}", scenario.name);
        let Planned { node, kernel, .. } = self.base.clone();
        let name = lab::trial_name(&scenario, &node, kernel.as_deref());
        Planned { name, scenario: Arc::new(scenario), node, kernel, mutant: None, snoozes: vec![] }
    }

    /// Leaves out one delay after the other, as long as it still breaks.
    fn smallest(
        &self,
        seed: u64,
        mut delays: Vec<Delay>,
        mut result: TrialResult,
    ) -> Result<(Vec<Delay>, TrialResult)> {
        let mut index = 0;
        while delays.len() > 1 && index < delays.len() && !interrupt::is_set() {
            let mut fewer = delays.clone();
            let left_out = fewer.remove(index);
            let name = format!("seed{seed}-without{}", delays.len());
            let Some(again) = self.run(vec![(name, fewer.clone())])?.pop() else { break };
            progress::say(&format!("without {}: {}", left_out.unit, word(again.verdict)));
            if again.verdict == Verdict::Fail {
                (delays, result) = (fewer, again);
            } else {
                index += 1;
            }
        }
        Ok((delays, result))
    }
}

fn take<'r>(next: &AtomicUsize, ready: &'r [Arc<Ready>]) -> Option<(usize, &'r Arc<Ready>)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    ready.get(index).map(|one| (index, one))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn scenario() -> Scenario {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/pull/pull-then-reboot.yaml");
        Scenario::load_one(&path).expect("a good scenario")
    }

    #[test]
    fn a_seed_gives_the_same_delays_again_and_another_one_others() {
        let scenario = scenario();
        assert_eq!(delays(&scenario, 7), delays(&scenario, 7));
        let different =
            (0..50).map(|seed| describe(&delays(&scenario, seed))).collect::<std::collections::BTreeSet<_>>();
        assert!(different.len() > 45, "{different:?}");
        assert!((0..50).all(|seed| (1..=MOST_UNITS).contains(&delays(&scenario, seed).len())));
    }

    #[test]
    fn what_is_found_can_be_put_into_a_scenario() {
        let delay =
            Delay { unit: UnitRef::try_from("load".to_owned()).expect("a unit"), by: Seconds::new(3), after: None };
        assert_eq!(as_yaml(&[delay]), "delays:\n  - {unit: load, by: 3s}\n");
    }
}
