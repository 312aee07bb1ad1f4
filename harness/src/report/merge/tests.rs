use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::checks::{Finding, Outcome};
use crate::report::{MutantOutcome, MutantResult};

/// A run of nine trials in a directory of its own, and the parts that it is cut into.
struct Night {
    dir: tempfile::TempDir,
    plan: RunPlan,
    trials: Vec<TrialResult>,
}

impl Night {
    fn new() -> Self {
        let names: Vec<String> = (1..=9).map(|number| format!("pull/scenario[row={number}]@debian-13")).collect();
        let scenario = Path::new("scenarios/pull/scenario.yaml");
        let plan = RunPlan::new(BTreeMap::new(), names.iter().map(|name| (name.as_str(), scenario, "1".to_owned())));
        let trials = names.iter().enumerate().map(|(index, name)| {
            let verdict = [Verdict::Pass, Verdict::Fail, Verdict::Skipped][index % 3];
            let finding = Finding {
                check: "unit.before".into(),
                node: None,
                boot: Some(2),
                outcome: Outcome::Pass,
                message: format!("of {name}"),
                evidence: vec![],
                advice: None,
            };
            let result = TrialResult::new(name, scenario, verdict, None);
            TrialResult { seconds: 61.5, start: "template".into(), findings: vec![finding], ..result }
        });
        Self { dir: tempfile::tempdir().expect("temporary directory"), plan, trials: trials.collect() }
    }

    fn host() -> Host {
        let acceleration = BTreeMap::from([("debian-13".to_owned(), "kvm".to_owned())]);
        let deadline_factor = BTreeMap::from([("debian-13".to_owned(), 1.0)]);
        Host { cores: 2, registry: "embedded".into(), acceleration, deadline_factor }
    }

    /// Writes what a run of a part leaves, with a directory for each trial; gives its directory.
    fn report(&self, name: &str, partition: Option<&str>, minute: u32) -> PathBuf {
        self.report_as(name, partition, minute, |_| ())
    }

    fn report_as(&self, name: &str, partition: Option<&str>, minute: u32, change: impl Fn(&mut RunResults)) -> PathBuf {
        let dir = self.dir.path().join(name);
        let partition: Option<Partition> = partition.map(|text| text.parse().expect("a partition"));
        let own = self.trials.iter().enumerate();
        let own = own.filter(|(index, one)| partition.is_none_or(|part| part.holds(*index, &one.trial)));
        let mut results = RunResults {
            version: RESULTS_VERSION,
            day1: env!("CARGO_PKG_VERSION").into(),
            started: format!("2026-11-26T01:{minute:02}:00Z"),
            seconds: 90.0,
            host: Self::host(),
            jobs: 2,
            cpu: Cpu { harness_s: 1.0, children_s: 10.0 },
            part: Some(self.plan.part(partition)),
            shards: Vec::new(),
            trials: own.map(|(_, result)| result.clone()).collect(),
        };
        for result in &mut results.trials {
            let own = dir.join(&result.trial);
            fs::create_dir_all(&own).expect("made");
            fs::write(own.join("console.log"), format!("{} in {name}", result.trial)).expect("written");
            // As the machine that ran it has it.
            result.dir = Some(Path::new("/elsewhere").join(&result.trial));
        }
        change(&mut results);
        results.write(&dir).expect("written");
        self.plan.write(&dir).expect("written");
        dir
    }

    fn shards(&self, cut: &str, of: u32) -> Vec<PathBuf> {
        (1..=of).map(|part| self.report(&format!("shard-{part}"), Some(&format!("{cut}:{part}/{of}")), part)).collect()
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("joined")
    }
}

fn join(shards: &[PathBuf]) -> Result<Merged, MergeError> {
    Merge { shards: shards.to_owned(), ..Merge::default() }.join()
}

fn refused(shards: &[PathBuf]) -> String {
    let error = join(shards).expect_err("refused");
    assert!(error.is_bad_input());
    error.to_string()
}

/// But for where the files lie.
fn without_dirs(trials: &[TrialResult]) -> Vec<TrialResult> {
    trials.iter().map(|one| TrialResult { dir: None, ..one.clone() }).collect()
}

#[test]
fn a_run_that_was_cut_into_shards_is_joined_to_the_same_run() {
    for (cut, link) in [("hash", false), ("slice", true)] {
        let night = Night::new();
        let mut merged = join(&night.shards(cut, 4)).expect("joined");
        assert_eq!(merged.told, Vec::<String>::new());
        merged.write(&night.target(), link).expect("written");
        let joined = RunResults::read(&night.target()).expect("as a run's");
        let whole = RunResults::read(&night.report("whole", None, 0)).expect("a run's");
        assert_eq!(without_dirs(&joined.trials), without_dirs(&whole.trials));
        assert_eq!((joined.exit_code(), &joined.day1), (whole.exit_code(), &whole.day1));
        assert_eq!(
            (&joined.host.registry, &joined.host.acceleration),
            (&whole.host.registry, &whole.host.acceleration)
        );
        for result in &joined.trials {
            let dir = result.dir.clone().expect("a directory");
            assert_eq!(dir, night.target().join(&result.trial));
            let text = fs::read_to_string(dir.join("console.log")).expect("copied");
            assert!(text.starts_with(&result.trial), "{text}");
        }
        assert!(fs::read_to_string(night.target().join("junit.xml")).expect("written").contains("row=9"));
        // From the first one's start, 01:01, to the last one's end, 01:04 and 90 s.
        assert_eq!((joined.started.as_str(), joined.seconds), ("2026-11-26T01:01:00Z", 270.0));
        assert_eq!((joined.jobs, joined.cpu.children_s, joined.shards.len()), (8, 40.0, 4));
        assert_eq!(joined.shards.iter().map(|shard| shard.trials).sum::<usize>(), 9);
    }
}

#[test]
fn a_shard_that_never_reported_is_shown_trial_by_trial() {
    let night = Night::new();
    let mut shards = night.shards("slice", 4);
    shards.remove(2);
    let joined = join(&shards).expect("joined").results;
    assert_eq!(joined.trials.len(), 9);
    let absent: Vec<&TrialResult> = joined.trials.iter().filter(|one| one.never_ran).collect();
    let names: Vec<&str> = absent.iter().map(|one| one.trial.as_str()).collect();
    assert_eq!(names, ["pull/scenario[row=3]@debian-13", "pull/scenario[row=7]@debian-13"]);
    for one in absent {
        assert_eq!((one.verdict, one.is_red()), (Verdict::Infra, true));
        let reason = one.reason.clone().expect("a reason");
        assert!(reason.contains("slice:3/4") && reason.contains("never reported"), "{reason}");
    }
    assert_eq!(joined.exit_code(), 1, "a check failed in another shard");
    let summary = crate::report::summary(&joined, Path::new("x"));
    assert!(summary.contains("4 shards: 1 never reported, with 2 trials: slice:3/4 of plan "), "{summary}");
}

#[test]
fn nothing_but_passes_is_red_where_a_shard_is_missing() {
    let mut night = Night::new();
    night.trials.iter_mut().for_each(|one| one.verdict = Verdict::Pass);
    let mut shards = night.shards("hash", 3);
    assert_eq!(join(&shards).expect("joined").results.exit_code(), 0);
    shards.pop();
    assert_eq!(join(&shards).expect("joined").results.exit_code(), 3);
}

#[test]
fn a_shard_that_was_killed_on_its_way_is_red() {
    let mut night = Night::new();
    night.trials.iter_mut().for_each(|one| one.verdict = Verdict::Pass);
    let mut shards = night.shards("slice", 3);
    shards[1] = night.report_as("killed", Some("slice:2/3"), 7, |results| {
        let last = results.trials.last_mut().expect("a trial");
        *last = TrialResult { verdict: Verdict::Skipped, never_ran: true, ..last.clone() };
    });
    let joined = join(&shards).expect("joined").results;
    assert_eq!(joined.exit_code(), 3);
    // And one whose results say less than its part of the plan.
    shards[1] = night.report_as("cut-short", Some("slice:2/3"), 7, |results| drop(results.trials.pop()));
    let joined = join(&shards).expect("joined").results;
    assert_eq!((joined.trials.len(), joined.exit_code()), (9, 3));
    let reasons: Vec<&String> = joined.trials.iter().filter_map(|one| one.reason.as_ref()).collect();
    assert!(matches!(reasons.as_slice(), [one] if one.contains("reported without it")), "{reasons:?}");
}

#[test]
fn directories_without_results_are_told_and_their_part_is_missing() {
    let night = Night::new();
    let mut shards = night.shards("hash", 2);
    fs::write(shards[0].join("results.json"), "{\"version\": 1, \"trials\": [").expect("written");
    let merged = join(&shards).expect("joined");
    assert!(matches!(merged.told.as_slice(), [one] if one.contains("shard-1 does not count")), "{:?}", merged.told);
    assert!(merged.results.trials.iter().any(|one| one.never_ran));
    assert_eq!(merged.results.trials.len(), 9);
    fs::remove_file(shards[1].join("results.json")).expect("removed");
    assert!(refused(&shards).contains("none of 2 directories"));
    shards.push(night.dir.path().join("absent"));
    assert!(refused(&shards).contains("absent is no directory"));
}

#[test]
fn shards_of_different_plans_are_refused_with_what_differs() {
    let night = Night::new();
    let mut shards = night.shards("hash", 2);
    let mut other = Night::new();
    other.plan.scenarios[0].sha256 = "2".into();
    other.plan.settings.insert("start".into(), "cold".into());
    shards[1] = other.report("other", Some("hash:2/2"), 2);
    let text = refused(&shards);
    for part in ["shard-1", "other are parts of different plans", "start: none and cold", "another text", "6 more"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn plans_that_are_named_may_be_several_and_strangers_are_left_out() {
    let night = Night::new();
    let mut shards = night.shards("hash", 2);
    let mut arm = Night::new();
    let rename = |name: &mut String| *name = name.replace("debian-13", "debian-13-arm64");
    arm.plan.scenarios.iter_mut().flat_map(|one| &mut one.trials).for_each(rename);
    arm.trials.iter_mut().for_each(|one| rename(&mut one.trial));
    shards.push(arm.report("arm", None, 3));
    let plans = vec![shards[0].join("plan.json"), shards[2].join("plan.json")];
    let joined = Merge { shards: shards.clone(), plans: plans.clone(), rerun: false }.join().expect("joined").results;
    assert_eq!((joined.trials.len(), joined.shards.len()), (18, 3));
    assert!(joined.trials.iter().all(|one| !one.never_ran));
    // One of another plan in the place of the second shard.
    let mut other = Night::new();
    other.plan.settings.insert("start".into(), "cold".into());
    shards[1] = other.report("other", Some("hash:2/2"), 2);
    let merged = Merge { shards: shards.clone(), plans: plans.clone(), rerun: false }.join().expect("joined");
    let [told] = merged.told.as_slice() else { panic!("{:?}", merged.told) };
    assert!(told.contains("hash:2/2") && told.contains("start: none and cold"), "{told}");
    assert!(merged.results.trials.iter().any(|one| one.never_ran));
    // And none at all.
    let joined = Merge { shards: vec![], plans: plans.clone(), rerun: false }.join().expect("joined").results;
    assert_eq!((joined.trials.len(), joined.exit_code()), (18, 3));
    let mut smaller = night.plan.clone();
    smaller.scenarios[0].trials.truncate(1);
    smaller.write(night.dir.path()).expect("written");
    let plans = vec![plans[0].clone(), night.dir.path().join("plan.json")];
    let error = Merge { shards, plans, rerun: false }.join().expect_err("refused");
    assert!(error.to_string().contains("row=1]@debian-13 is in several"), "{error}");
}

#[test]
fn parts_of_different_cuts_and_what_is_no_part_are_refused() {
    let night = Night::new();
    let shards = [night.report("a", Some("hash:1/2"), 1), night.report("b", Some("slice:2/2"), 2)];
    let text = refused(&shards);
    assert!(text.contains("hash:1/2") && text.contains("slice:2/2"), "{text}");
    let chosen_by_cargo = night.report_as("c", None, 1, |results| results.part = None);
    assert!(refused(&[chosen_by_cargo]).contains("`cargo test` chose its trials"));
    join(&night.shards("hash", 2)).expect("joined").write(&night.target(), false).expect("written");
    assert!(refused(&[night.target()]).contains("joined already"));
    let shards = night.shards("hash", 2);
    shards.iter().for_each(|dir| fs::remove_file(dir.join("plan.json")).expect("removed"));
    assert!(refused(&shards).contains("--plan"));
}

#[test]
fn results_that_are_no_part_of_the_plan_are_refused() {
    let night = Night::new();
    for name in ["other/trial@debian-13", "../../etc/passwd"] {
        let changed = night.report_as("changed", None, 1, |results| results.trials[0].trial = name.into());
        assert!(refused(&[changed]).contains("changed after its run"), "{name}");
    }
    // Nor does a plan that says the same get a directory from outside.
    let mut night = Night::new();
    let name = "../outside";
    night.plan.scenarios[0].trials[0] = name.into();
    night.trials[0].trial = name.into();
    assert!(refused(&[night.report("outside-shard", None, 1)]).contains("changed after its run"));
}

#[test]
fn a_part_that_reported_twice_needs_a_word_for_it() {
    let mut night = Night::new();
    night.trials.iter_mut().for_each(|one| one.verdict = Verdict::Pass);
    let mut shards = night.shards("slice", 2);
    // The earlier one is named last: what counts is when they ran.
    shards.push(night.report_as("first-try", Some("slice:1/2"), 0, |results| {
        results.trials[0].verdict = Verdict::Fail;
        results.trials[1].verdict = Verdict::Infra;
        results.trials[2] = TrialResult { never_ran: true, verdict: Verdict::Skipped, ..results.trials[2].clone() };
    }));
    let text = refused(&shards);
    assert!(text.contains("slice:1/2") && text.contains("first-try") && text.contains("--rerun"), "{text}");
    let mut merged = Merge { shards, plans: vec![], rerun: true }.join().expect("joined");
    merged.write(&night.target(), false).expect("written");
    let verdicts: Vec<Verdict> = merged.results.trials.iter().step_by(2).map(|one| one.verdict).collect();
    use Verdict::{Flaky, Pass};
    assert_eq!(verdicts, [Flaky, Pass, Pass, Pass, Pass], "what failed once has not passed");
    let [flaky, lost] = [&merged.results.trials[0], &merged.results.trials[2]];
    assert_eq!(flaky.attempts.iter().map(|one| (one.number, one.verdict)).collect::<Vec<_>>(), [(1, Verdict::Fail)]);
    assert_eq!(merged.results.exit_code(), 1, "as with retries");
    assert_eq!(lost.attempts.iter().map(|one| one.verdict).collect::<Vec<_>>(), [Verdict::Infra], "it is told");
    let console = |below: &str| {
        let path = night.target().join(&flaky.trial).join(below).join("console.log");
        fs::read_to_string(path).expect("copied")
    };
    assert!(console("").contains("in shard-1"), "the run that the verdict is about");
    assert!(console("attempt-1").contains("first-try"), "the run to look into");
    assert_eq!(merged.results.shards[0].runs.len(), 2);
}

#[test]
fn a_mutant_that_was_missed_once_was_missed() {
    let night = Night::new();
    let with = |outcome, verdict| {
        move |results: &mut RunResults| {
            for one in &mut results.trials {
                one.verdict = verdict;
                one.mutant = Some(MutantResult { says: String::new(), caught_by: vec!["x".into()], outcome });
            }
        }
    };
    let missed = night.report_as("missed", None, 1, with(MutantOutcome::Missed, Verdict::Pass));
    let caught = night.report_as("caught", None, 2, with(MutantOutcome::Caught, Verdict::Fail));
    let joined = Merge { shards: vec![missed, caught], plans: vec![], rerun: true }.join().expect("joined").results;
    assert_eq!(joined.exit_code(), 1);
}

#[test]
fn hosts_that_differ_are_told_apart() {
    let night = Night::new();
    let mut shards = night.shards("hash", 3);
    shards[2] = night.report_as("slow", Some("hash:3/3"), 3, |results| {
        results.host.acceleration.insert("debian-13".into(), "tcg".into());
        results.host.deadline_factor.insert("debian-13".into(), 2.0);
    });
    let joined = join(&shards).expect("joined").results;
    assert_eq!(joined.host.acceleration["debian-13"], "2 × kvm; 1 × tcg");
    assert_eq!((joined.host.deadline_factor["debian-13"], joined.host.cores), (2.0, 6));
    // And one of a part without trials, which knows nothing of its host.
    shards[1] = night.report_as("empty", Some("hash:2/3"), 2, |results| results.host = Host::default());
    let joined = join(&shards).expect("joined").results;
    assert_eq!((joined.host.registry.as_str(), joined.host.cores), ("embedded", 4));
    let many: Vec<PathBuf> = (1..=9)
        .map(|part| {
            let name = format!("of-many-{part}");
            night.report_as(&name, Some(&format!("hash:{part}/9")), 4, |results| {
                let why = if part < 4 { "kvm".to_owned() } else { format!("tcg for reason {part}") };
                results.host.acceleration.insert("debian-13".into(), why);
            })
        })
        .collect();
    let joined = join(&many).expect("joined").results;
    let told = &joined.host.acceleration["debian-13"];
    assert_eq!(told, "3 × kvm; 1 × tcg for reason 4; 1 × tcg for reason 5; 4 × in other ways");
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let night = Night::new();
    let shards = night.shards("hash", 2);
    let mut merged = join(&shards).expect("joined");
    let error = merged.write(&shards[0], false).expect_err("refused");
    assert!(error.to_string().contains("is not empty"), "{error}");
}

/// Runs of one trial, first to last, joined.
fn again(runs: &[&dyn Fn(&mut TrialResult)]) -> RunResults {
    let mut night = Night::new();
    night.plan.scenarios[0].trials.truncate(1);
    night.trials.truncate(1);
    let shards = (0..).zip(runs).map(|(number, change)| {
        let change = |results: &mut RunResults| change(&mut results.trials[0]);
        night.report_as(&format!("run-{number}"), None, number, change)
    });
    Merge { shards: shards.collect(), plans: vec![], rerun: true }.join().expect("joined").results
}

fn came_to(verdict: Verdict) -> impl Fn(&mut TrialResult) {
    move |result| result.verdict = verdict
}

#[test]
fn a_failure_is_not_lost_in_a_run_that_was_cut_short() {
    let cut_short = |result: &mut TrialResult| {
        let failed = TrialResult { verdict: Verdict::Fail, ..result.clone() };
        result.attempts = vec![crate::report::Attempt::new(1, &failed)];
        result.verdict = Verdict::Infra;
    };
    let joined = again(&[&cut_short, &came_to(Verdict::Pass)]);
    let flaky = &joined.trials[0];
    assert_eq!((flaky.verdict, joined.exit_code()), (Verdict::Flaky, 1));
    let attempts: Vec<_> = flaky.attempts.iter().map(|one| (one.number, one.verdict, one.dir.as_str())).collect();
    assert_eq!(attempts, [(1, Verdict::Fail, "attempt-1"), (2, Verdict::Infra, "attempt-2")]);
}

#[test]
fn what_came_of_several_runs_is_what_came_of_retries() {
    use Verdict::{Fail, Flaky, Inconclusive, Infra, Pass};
    for (runs, verdict, code) in [
        (vec![Infra, Pass], Pass, 0),
        (vec![Pass, Infra], Pass, 0),
        (vec![Inconclusive, Pass], Flaky, 3),
        (vec![Pass, Fail], Flaky, 1),
        (vec![Fail, Infra, Pass], Flaky, 1),
        (vec![Fail, Infra], Fail, 1),
        (vec![Infra, Inconclusive], Inconclusive, 3),
        (vec![Flaky, Pass], Pass, 0),
    ] {
        let changes: Vec<_> = runs.iter().map(|verdict| came_to(*verdict)).collect();
        let changes: Vec<&dyn Fn(&mut TrialResult)> = changes.iter().map(|one| one as _).collect();
        let joined = again(&changes);
        assert_eq!((joined.trials[0].verdict, joined.exit_code()), (verdict, code), "{runs:?}");
        assert_eq!(joined.trials[0].attempts.len() + 1, runs.len(), "{runs:?}");
    }
}

#[test]
fn a_known_failure_that_passed_in_another_run_is_no_news() {
    let snoozed = |outcome| {
        let by = crate::report::SnoozedBy {
            place: "s:1".into(),
            pattern: "*".into(),
            checks: vec![],
            reason: "known".into(),
            tracker: "https://example.com".into(),
            expires: "2026-12-31".into(),
            expired: false,
        };
        Some(crate::report::Snoozed { outcome, by: vec![by] })
    };
    use crate::report::SnoozeOutcome::{FailsOtherwise, Holds, Passes};
    for (known, code) in [(Holds, 0), (FailsOtherwise, 3)] {
        let failed = |result: &mut TrialResult| {
            result.verdict = Verdict::Fail;
            result.snoozed = snoozed(known);
        };
        let passed = |result: &mut TrialResult| result.snoozed = snoozed(Passes);
        let joined = again(&[&failed, &passed]);
        let trial = &joined.trials[0];
        assert_eq!((trial.verdict, trial.is_snoozed()), (Verdict::Flaky, known == Holds));
        assert_eq!(joined.exit_code() == 0, code == 0, "{known:?}");
    }
}

#[test]
fn a_directory_that_leads_out_of_its_run_is_not_read() {
    let night = Night::new();
    let shards = night.shards("hash", 1);
    let (name, elsewhere) = (&night.trials[0].trial, night.dir.path().join("elsewhere"));
    fs::create_dir(&elsewhere).expect("made");
    fs::write(elsewhere.join("secret"), "x").expect("written");
    fs::remove_dir_all(shards[0].join(name)).expect("removed");
    std::os::unix::fs::symlink(&elsewhere, shards[0].join(name)).expect("linked");
    let mut merged = join(&shards).expect("joined");
    merged.write(&night.target(), false).expect("written");
    assert!(!night.target().join(name).exists());
    assert!(night.target().join(&night.trials[1].trial).join("console.log").exists());
}

#[test]
fn what_no_run_leaves_does_not_count() {
    let night = Night::new();
    let mut shards = night.shards("hash", 2);
    for change in [
        (|results: &mut RunResults| results.seconds = -1.0) as fn(&mut RunResults),
        |results| results.seconds = 1e300,
        |results| results.trials[0].seconds = -1.0,
        |results| results.trials.push(results.trials[0].clone()),
    ] {
        // What a run writes itself is never so.
        let dir = night.dir.path().join("shard-1");
        let mut results = RunResults::read(&night.report("shard-1", Some("hash:1/2"), 1)).expect("sound");
        change(&mut results);
        fs::write(dir.join("results.json"), serde_json::to_vec(&results).expect("JSON")).expect("written");
        let merged = join(&shards).expect("joined");
        assert!(matches!(merged.told.as_slice(), [one] if one.contains("shard-1 does not count")), "{:?}", merged.told);
    }
    night.report("shard-1", Some("hash:1/2"), 1);
    shards.push(shards[0].join("."));
    let merged = join(&shards).expect("joined");
    assert!(matches!(merged.told.as_slice(), [one] if one.contains("counts once")), "{:?}", merged.told);
}
