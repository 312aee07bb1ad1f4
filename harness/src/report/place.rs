//! Where in the repository a trial's findings stand: the line of the scenario that expects what was not so.

use std::path::{Path, PathBuf};

use super::TrialResult;
use crate::checks::Finding;
use crate::scenario::{self, Boot, Expectations, Scenario};
use crate::timeline::files;

/// The scenario of a recorded trial.
pub(super) struct Places {
    /// Its file, from the top of the repository where it is there.
    pub(super) file: String,
    scenario: Option<Scenario>,
}

impl Places {
    /// Of a trial of the run whose directory is `dir`; the repository's top is the current directory. Lines are those of the
    /// scenario that the trial was recorded with.
    pub(super) fn of(trial: &TrialResult, dir: &Path) -> Self {
        let recorded = std::fs::read_to_string(dir.join(&trial.trial).join(files::SCENARIO));
        let id = trial.trial.rsplit_once('@').map_or(trial.trial.as_str(), |(id, _)| id);
        let scenario = recorded.ok().and_then(|text| Scenario::of_trial(id, text).ok());
        Self { file: below_here(&trial.scenario), scenario }
    }

    /// The line, from 1, that a finding is about: the expectation that it judges, or its boot. `all` are those of the trial.
    pub(super) fn line(&self, finding: &Finding, all: &[Finding]) -> usize {
        let Some(scenario) = &self.scenario else { return 1 };
        let Some(number) = finding.boot else { return 1 };
        let planned = match &finding.node {
            Some(node) => scenario.spec.boot_of_member(node, number),
            None => planned(scenario, number),
        };
        let Some((place, boot)) = planned else { return 1 };
        let every = scenario::Path::default().key("every-boot");
        // A boot's expectations are judged in the order in which they stand, and then those of every boot.
        let expected = [(place.key("expect"), &boot.expect), (every, &scenario.spec.every_boot)];
        let expected: Vec<scenario::Path> =
            expected.iter().flat_map(|(at, expect)| places(at, expect, &finding.check)).collect();
        let same =
            all.iter().filter(|one| (&one.check, &one.node, one.boot) == (&finding.check, &finding.node, finding.boot));
        let same: Vec<&Finding> = same.collect();
        let nth = same.iter().position(|one| std::ptr::eq(*one, finding)).unwrap_or(0);
        // A check that judges more than what is expected of it is about no line more than about another.
        let own = if same.len() == expected.len() { expected.get(nth) } else { expected.first() };
        scenario.document.line(own.unwrap_or(&place))
    }
}

/// What is planned for a boot, and its place in the file.
fn planned(scenario: &Scenario, number: u32) -> Option<(scenario::Path, &Boot)> {
    let boot = scenario.spec.boot(number)?;
    let index = scenario.spec.boots.iter().position(|one| std::ptr::eq(one, boot))?;
    Some((scenario::Path::default().key("boots").index(index), boot))
}

/// Where the expectations of a check stand.
fn places(at: &scenario::Path, expect: &Expectations, check: &str) -> Vec<scenario::Path> {
    let own = expect.each().into_iter().filter(|(_, one)| one.check() == check);
    own.map(|(place, _)| at.key(check).index(place)).collect()
}

/// A path as it is below the current directory: as much of its end as is there, for a run may have been recorded elsewhere.
pub(super) fn below_here(path: &Path) -> String {
    ending_that_is_there(path, Path::is_file).unwrap_or_else(|| path.to_owned()).display().to_string()
}

fn ending_that_is_there(path: &Path, is_there: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let parts: Vec<_> = path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
    // A file's name alone may be anybody's.
    (0..parts.len().saturating_sub(1)).map(|from| parts[from..].iter().collect::<PathBuf>()).find(|end| is_there(end))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::checks::{Outcome, Verdict};

    const SCENARIO: &str = "\
description: d
registry:
  images:
    - {repository: quay.io/day1/day1-nic, modules: [day1_nic]}
machine-configs:
  - generate: {machine_config_name: 99-a, kernel_module_image: quay.io/day1/day1-nic}
every-boot:
  journal.lacks: {matches: panic}
boots:
  - ends: reboot
    by: pull
  - ends: ready
    expect:
      unit.result:
        - {unit: load, result: success}
        - {unit: pull, result: success}
      nic.driver: {nic: test, driver: day1_nic}
";

    #[test]
    fn a_finding_stands_at_the_expectation_that_it_judges_or_at_its_boot() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut trial = fixture::trial("pull/x@debian-13,6.12.1", Verdict::Fail);
        let own = dir.path().join(&trial.trial);
        std::fs::create_dir_all(&own).expect("made");
        std::fs::write(own.join("scenario.yaml"), SCENARIO).expect("written");
        let finding = |check, boot| fixture::finding(check, boot, Outcome::Fail, "x");
        trial.findings = vec![
            finding("journal.lacks", 1),
            finding("evidence", 1),
            finding("unit.result", 2),
            finding("unit.result", 2),
            finding("nic.driver", 2),
            finding("nic.driver", 2),
            finding("journal.lacks", 2),
            finding("node.ready", 2),
            finding("node.ready", 3),
        ];
        let places = Places::of(&trial, dir.path());
        let lines: Vec<usize> = trial.findings.iter().map(|one| places.line(one, &trial.findings)).collect();
        assert_eq!(lines, [8, 10, 15, 16, 17, 17, 8, 12, 1]);
        let of_none = Places::of(&trial, Path::new("absent"));
        assert_eq!(of_none.line(&trial.findings[2], &trial.findings), 1);
    }

    #[test]
    fn a_path_of_another_machine_is_the_repository_s() {
        let there = |path: &Path| path == Path::new("scenarios/pull/x.yaml") || path == Path::new("x.yaml");
        let ending = |path: &str| ending_that_is_there(Path::new(path), there);
        assert_eq!(ending("/home/runner/day1/scenarios/pull/x.yaml"), Some("scenarios/pull/x.yaml".into()));
        assert_eq!(ending("scenarios/pull/x.yaml"), Some("scenarios/pull/x.yaml".into()));
        assert_eq!(ending("/tmp/verify/scenarios/vendor/x.yaml"), None);
    }
}
