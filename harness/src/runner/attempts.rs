//! Trials that run again when they don't pass, on request: what passes then is flaky, and every attempt is kept.

use std::fs;
use std::io;
use std::path::Path;

use libtest_mimic::Failed;

use crate::checks::Verdict;
use crate::report::{self, Attempt, TrialResult};

/// Runs a trial once, and then as long as it is worth running `again`. `once` gets the attempts before it, and leaves its
/// files in `dir`, the trial's directory.
///
/// The result is the one that the attempts come to, and `dir` holds its files; those of each other attempt are below it.
pub(super) fn run(
    dir: &Path,
    mut again: impl FnMut(&TrialResult, u32) -> bool,
    mut once: impl FnMut(&[Attempt]) -> Result<TrialResult, Failed>,
) -> Result<TrialResult, Failed> {
    let mut all: Vec<TrialResult> = Vec::new();
    let in_place = loop {
        let before: Vec<Attempt> = attempts(&all);
        match once(&before) {
            Ok(result) => all.push(result),
            Err(failed) if all.is_empty() => return Err(failed),
            // It did not begin: what the others came to stands.
            Err(_) => break None,
        }
        let (Some(last), number) = (all.last_mut(), count(&before) + 1) else { break None };
        if !again(last, number) {
            break Some(number);
        }
        if let Err(error) = set_aside(dir, number) {
            also(last, &format!("not run again: {error}"));
            break Some(number);
        }
    };
    let told = report::told(all.iter().map(|one| one.verdict)).unwrap_or(0);
    let mut others = attempts(&all);
    let mut result = all.swap_remove(told);
    let told = others.remove(told).number;
    if let Err(error) = put_in_place(dir, told, in_place) {
        also(&mut result, &format!("its files are in {}: {error}", dir.join(Attempt::dir_of(told)).display()));
    }
    if result.verdict == Verdict::Pass && !others.is_empty() {
        result.verdict = Verdict::Flaky;
    }
    result.attempts = others;
    Ok(result)
}

fn attempts(all: &[TrialResult]) -> Vec<Attempt> {
    (1..).zip(all).map(|(number, result)| Attempt::new(number, result)).collect()
}

fn count(attempts: &[Attempt]) -> u32 {
    u32::try_from(attempts.len()).unwrap_or(u32::MAX)
}

fn also(result: &mut TrialResult, reason: &str) {
    result.reason = Some(match result.reason.take() {
        Some(first) => format!("{first}\n{reason}"),
        None => reason.to_owned(),
    });
}

/// Puts the files of an attempt into their place, and those of the attempt that has it away.
fn put_in_place(dir: &Path, told: u32, in_place: Option<u32>) -> io::Result<()> {
    if in_place == Some(told) {
        return Ok(());
    }
    if let Some(other) = in_place {
        set_aside(dir, other)?;
    }
    let own = dir.join(Attempt::dir_of(told));
    for entry in fs::read_dir(&own)? {
        let entry = entry?;
        fs::rename(entry.path(), dir.join(entry.file_name()))?;
    }
    fs::remove_dir(own)
}

/// Moves what the trial's directory holds into that of an attempt below it.
fn set_aside(dir: &Path, number: u32) -> io::Result<()> {
    let own = dir.join(Attempt::dir_of(number));
    fs::create_dir_all(&own)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_attempt = (1..=number).any(|number| entry.file_name() == *Attempt::dir_of(number));
        if !is_attempt {
            fs::rename(entry.path(), own.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs attempts with these verdicts, each of which leaves its number in a file; `None` for one that can't begin.
    fn run_all(retries: u32, verdicts: &[Option<Verdict>]) -> (tempfile::TempDir, TrialResult, usize) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut next = verdicts.iter();
        let mut ran = 0;
        let once = |before: &[Attempt]| {
            let verdict = next.next().expect("no more attempts than that").ok_or_else(Failed::without_message)?;
            ran += 1;
            assert_eq!(before.len() + 1, ran);
            assert!(!dir.path().join("timeline.jsonl").exists(), "what an earlier attempt left is in the way");
            fs::write(dir.path().join("timeline.jsonl"), ran.to_string()).expect("written");
            fs::create_dir(dir.path().join("more")).expect("made");
            Ok(TrialResult::new("a/b@c", Path::new("a/b.yaml"), verdict, Some(format!("run {ran}"))))
        };
        let again = |result: &TrialResult, number| number <= retries && result.verdict != Verdict::Pass;
        let result = run(dir.path(), again, once).expect("a result");
        (dir, result, ran)
    }

    fn timeline(dir: &Path) -> String {
        fs::read_to_string(dir.join("timeline.jsonl")).expect("a timeline")
    }

    #[test]
    fn what_passes_at_once_passes_and_what_passes_later_is_flaky() {
        use Verdict::{Fail, Flaky, Infra, Pass};
        let (dir, result, ran) = run_all(2, &[Some(Pass)]);
        assert_eq!((result.verdict, ran, result.attempts.len()), (Pass, 1, 0));
        assert_eq!(timeline(dir.path()), "1");

        let (dir, result, ran) = run_all(2, &[Some(Infra), Some(Fail), Some(Pass)]);
        assert_eq!((result.verdict, ran), (Flaky, 3));
        assert_eq!(
            result.attempts.iter().map(|one| (one.number, one.verdict)).collect::<Vec<_>>(),
            [(1, Infra), (2, Fail)]
        );
        assert_eq!(timeline(dir.path()), "3");
        for attempt in &result.attempts {
            assert_eq!(timeline(&dir.path().join(&attempt.dir)), attempt.number.to_string());
            assert_eq!(attempt.reason, Some(format!("run {}", attempt.number)));
        }
    }

    #[test]
    fn a_failure_is_not_taken_back_by_what_was_lost_later() {
        use Verdict::{Fail, Inconclusive, Infra, Skipped};
        for (verdicts, told) in [
            (vec![Fail, Infra], 1),
            (vec![Fail, Infra, Inconclusive], 1),
            (vec![Infra, Fail, Fail], 3),
            (vec![Inconclusive, Infra], 1),
            (vec![Infra, Infra], 2),
            (vec![Fail, Skipped], 1),
        ] {
            let retries = u32::try_from(verdicts.len()).expect("few") - 1;
            let (dir, result, ran) = run_all(retries, &verdicts.iter().copied().map(Some).collect::<Vec<_>>());
            assert_eq!((result.verdict, ran), (verdicts[told - 1], verdicts.len()));
            assert_eq!(timeline(dir.path()), told.to_string(), "{verdicts:?}");
            let others: Vec<usize> = (1..=verdicts.len()).filter(|number| *number != told).collect();
            assert_eq!(result.attempts.iter().map(|one| one.number as usize).collect::<Vec<_>>(), others);
            for other in &result.attempts {
                assert_eq!(timeline(&dir.path().join(&other.dir)), other.number.to_string(), "{verdicts:?}");
            }
            assert!(!dir.path().join(Attempt::dir_of(u32::try_from(told).expect("few"))).exists());
        }
    }

    #[test]
    fn an_attempt_that_can_not_begin_leaves_what_was_found_before() {
        let (dir, result, ran) = run_all(1, &[Some(Verdict::Fail), None]);
        assert_eq!((result.verdict, ran, result.attempts.len()), (Verdict::Fail, 1, 0));
        assert_eq!(timeline(dir.path()), "1");
        assert!(dir.path().join("more").exists() && !dir.path().join("attempt-1").exists());
        let nothing = run(dir.path(), |_, _| true, |_| Err(Failed::from("interrupted")));
        assert_eq!(nothing.expect_err("nothing ran").message(), Some("interrupted"));
    }
}
