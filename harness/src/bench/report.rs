//! What was measured, against what it must reach: for a person and as JSON.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Forks, PlainBoots, Suite, TrialTime};
use crate::machine::Acceleration;

/// Everything that was measured in one run on one host. A part that was not measured is empty.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this program.
    pub day1: String,
    /// On what.
    pub host: HostFacts,
    /// Plain boots, one a round.
    pub floor: Vec<PlainBoots>,
    /// The trial from each start, one a round.
    pub trials: Vec<TrialTime>,
    /// Forks side by side.
    pub memory: Vec<Forks>,
    /// The whole suite.
    pub suite: Vec<Suite>,
    /// Milliseconds that `day1 --help` takes, the median of ten.
    pub help_ms: Option<f64>,
}

/// What a benchmark ran on.
#[derive(Debug, Clone, Serialize)]
pub struct HostFacts {
    /// Cores that may be used.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// QEMU's version line.
    pub qemu: String,
    /// `tcg` or `kvm`.
    pub accel: String,
    /// The node image.
    pub node: String,
}

impl HostFacts {
    pub(super) fn here(node: &str, qemu: String, acceleration: &Acceleration) -> Result<Self> {
        let path = "/proc/cpuinfo";
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        let name = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: name.map_or_else(|| "unknown".into(), |(_, name)| name.to_owned()),
            qemu,
            accel: acceleration.accel.name().into(),
            node: node.to_owned(),
        })
    }
}

/// What a number must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// This near to one.
    NearOne(f64),
}

/// A number that was measured, and what it must be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// What it is.
    pub name: String,
    /// Absent where it was not measured.
    pub value: Option<f64>,
    /// What it must be.
    pub target: Target,
}

impl Goal {
    fn new(name: impl Into<String>, value: Option<f64>, target: Target) -> Self {
        Self { name: name.into(), value, target }
    }

    /// Whether it is reached, where it was measured.
    pub fn is_reached(&self) -> Option<bool> {
        let value = self.value?;
        Some(match self.target {
            Target::AtMost(most) => value <= most,
            Target::AtLeast(least) => value >= least,
            Target::NearOne(off) => (value - 1.0).abs() <= off,
        })
    }
}

/// The middle value, or the mean of the two in the middle; none of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn ratio(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    Some(above? / below.filter(|below| *below > 0.0)?)
}

#[expect(clippy::cast_precision_loss, reason = "counts of cores, trials and nodes are small")]
fn number(count: usize) -> f64 {
    count as f64
}

impl Report {
    pub(super) fn new(host: HostFacts) -> Self {
        Self {
            day1: env!("CARGO_PKG_VERSION").into(),
            host,
            floor: Vec::new(),
            trials: Vec::new(),
            memory: Vec::new(),
            suite: Vec::new(),
            help_ms: None,
        }
    }

    fn floor_s(&self) -> Option<f64> {
        median(self.floor.iter().map(PlainBoots::sum_s))
    }

    fn from<'r>(&'r self, start: &'r str) -> impl Iterator<Item = &'r TrialTime> {
        self.trials.iter().filter(move |trial| trial.start == start)
    }

    fn trial_s(&self, start: &str) -> Option<f64> {
        median(self.from(start).map(|trial| trial.seconds))
    }

    /// How much faster the suite is with its jobs than with one, against how many trials the cores keep busy.
    fn parallel(&self, suite: &Suite) -> Option<f64> {
        let alone = self.suite.iter().find(|suite| suite.jobs == 1)?;
        let busy = alone.cpu.children_s / alone.seconds;
        let possible = (number(self.host.cores) / busy).min(number(alone.trials));
        Some(alone.seconds / suite.seconds / possible)
    }

    /// Every goal of the benchmark, reached or not.
    pub fn goals(&self) -> Vec<Goal> {
        let against_floor = |start: &str| ratio(self.trial_s(start), self.floor_s());
        let cpu = |of: fn(&TrialTime) -> f64| Some(self.trials.iter().map(of).sum::<f64>()).filter(|sum| *sum > 0.0);
        let harness = ratio(cpu(|trial| trial.cpu.harness_s), cpu(|trial| trial.cpu.children_s));
        let restore = median(self.from("template").filter_map(|trial| trial.restore_ms)).map(|ms| ms / 1e3);
        let mut goals = vec![
            Goal::new("trial from the template ÷ floor", against_floor("template"), Target::AtMost(0.8)),
            Goal::new("trial from the checkpoint ÷ floor", against_floor("pulled"), Target::AtMost(0.55)),
            Goal::new("trial from a cold start ÷ floor", against_floor("cold"), Target::AtMost(1.15)),
            Goal::new("processor time of the harness ÷ QEMU's", harness, Target::AtMost(0.03)),
            Goal::new("restoring a fork, s", restore, Target::AtMost(0.3)),
        ];
        for forks in &self.memory {
            let (count, s) = (forks.count, if forks.count == 1 { "" } else { "s" });
            let guests = number(count * usize::try_from(forks.guest_mib).unwrap_or(1));
            let part = Some(forks.settled_mib / guests);
            goals.push(Goal::new(
                format!("memory of {count} settled fork{s} (PSS) ÷ their RAM"),
                part,
                Target::AtMost(0.4),
            ));
            let foretold = Some(forks.predicted_mib / forks.settled_mib);
            goals.push(Goal::new(
                format!("memory predicted for {count} fork{s} ÷ measured"),
                foretold,
                Target::NearOne(0.15),
            ));
        }
        let more = |suite: &&Suite| suite.asked_jobs != Some(1);
        for suite in self.suite.iter().filter(more) {
            let asked = if suite.asked_jobs.is_none() { "as many jobs as fit" } else { "asked for" };
            let name = format!("suite with {} jobs ({asked}): speed-up ÷ what the cores allow", suite.jobs);
            goals.push(Goal::new(name, self.parallel(suite), Target::AtLeast(0.85)));
        }
        goals.push(Goal::new("`day1 --help`, s", self.help_ms.map(|ms| ms / 1e3), Target::AtMost(0.1)));
        goals
    }

    /// The goals and the report as one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "goals": self.goals(), "measured": self })
    }

    /// For a person: ratios first, then seconds, then the host.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for goal in self.goals() {
            let value = goal.value.map_or_else(|| "—".to_owned(), |value| format!("{value:.3}"));
            let wanted = match goal.target {
                Target::AtMost(most) => format!("≤ {most}"),
                Target::AtLeast(least) => format!("≥ {least}"),
                Target::NearOne(off) => format!("1 ± {off}"),
            };
            let told = match goal.is_reached() {
                Some(true) => "reached",
                Some(false) => "MISSED",
                None => "not measured",
            };
            let _ = writeln!(text, "{value:>8}  {wanted:<9} {told:<13} {}", goal.name);
        }
        let _ = writeln!(text);
        self.seconds(&mut text);
        let host = &self.host;
        let _ = writeln!(
            text,
            "\n{} cores of {}, {}, {}, {}",
            host.cores, host.processor, host.accel, host.node, host.qemu
        );
        text
    }

    fn seconds(&self, text: &mut String) {
        let line = |text: &mut String, name: &str, values: &[f64]| {
            let Some(middle) = median(values.iter().copied()) else { return };
            let all = values.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(" ");
            let _ = writeln!(text, "{middle:>8.1} s  {name} ({all})");
        };
        let of = |of: fn(&PlainBoots) -> f64| self.floor.iter().map(of).collect::<Vec<_>>();
        line(text, "floor: plain first boot + plain second boot", &of(PlainBoots::sum_s));
        line(text, "  first boot", &of(|boots| boots.first_s));
        line(text, "  second boot", &of(|boots| boots.second_s));
        for (start, name) in [("cold", "a cold start"), ("template", "the template"), ("pulled", "the checkpoint")] {
            let seconds = |of: fn(&TrialTime) -> f64| self.from(start).map(of).collect::<Vec<_>>();
            line(text, &format!("trial from {name}"), &seconds(|trial| trial.seconds));
            line(text, "  with the program's start and end", &seconds(|trial| trial.run_s));
        }
        for suite in &self.suite {
            let cores = suite.cpu.children_s / suite.seconds;
            let name = format!("suite of {} trials, {} at a time, {cores:.2} cores busy", suite.trials, suite.jobs);
            line(text, &name, &[suite.seconds]);
        }
        for forks in &self.memory {
            let Forks { count, restored_mib, settled_mib, predicted_mib, guest_mib } = forks;
            let _ = writeln!(
                text,
                "{settled_mib:>6.0} MiB  {count} forks of {guest_mib} MiB, settled ({restored_mib:.0} when restored; {predicted_mib:.0} predicted)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Cpu;

    fn report() -> Report {
        let host = HostFacts {
            cores: 2,
            processor: "P".into(),
            qemu: "QEMU 10".into(),
            accel: "tcg".into(),
            node: "debian-13".into(),
        };
        let mut report = Report::new(host);
        report.floor = [90.0, 110.0, 100.0].map(|sum| PlainBoots { first_s: sum - 40.0, second_s: 40.0 }).to_vec();
        let trial = |start: &str, seconds| TrialTime {
            start: start.into(),
            seconds,
            run_s: seconds + 1.0,
            restore_ms: (start == "template").then_some(20.0),
            cpu: Cpu { harness_s: 1.0, children_s: 100.0 },
            phases: Vec::new(),
            findings: Vec::new(),
        };
        report.trials = vec![trial("template", 75.0), trial("cold", 120.0), trial("template", 77.0)];
        let suite = |asked_jobs, jobs, seconds| Suite {
            asked_jobs,
            jobs,
            trials: 8,
            seconds,
            cpu: Cpu { harness_s: 8.0, children_s: 520.0 },
        };
        report.suite = vec![suite(Some(1), 1, 400.0), suite(None, 2, 280.0)];
        report.memory =
            vec![Forks { count: 2, guest_mib: 2048, restored_mib: 200.0, settled_mib: 1024.0, predicted_mib: 1300.0 }];
        report
    }

    fn goal(name: &str) -> Goal {
        report().goals().into_iter().find(|goal| goal.name.starts_with(name)).expect("a goal")
    }

    #[test]
    fn ratios_are_of_medians_and_what_is_missed_is_said() {
        let near = |name: &str, wanted: f64| {
            let value = goal(name).value.expect("measured");
            assert!((value - wanted).abs() < 1e-6, "{name}: {value}");
        };
        near("trial from the template", 0.76);
        near("trial from a cold start", 1.2);
        near("processor time", 0.01);
        near("restoring", 0.02);
        near("memory of 2 settled", 0.25);
        near("memory predicted for 2", 1300.0 / 1024.0);
        // One trial keeps 1.3 cores busy: two cores allow 1.54 times the speed.
        near("suite with 2 jobs", 400.0 / 280.0 / (2.0 / 1.3));
        assert_eq!(goal("trial from the template").is_reached(), Some(true));
        assert_eq!(goal("trial from a cold start").is_reached(), Some(false));
        assert_eq!(goal("memory predicted for 2").is_reached(), Some(false));
        assert_eq!(goal("suite with 2 jobs").is_reached(), Some(true));
    }

    #[test]
    fn what_was_not_measured_has_no_number() {
        assert_eq!(goal("trial from the checkpoint").value, None);
        assert_eq!(goal("trial from the checkpoint").is_reached(), None);
        let table = report().table();
        let line = table.lines().find(|line| line.contains("checkpoint ÷ floor")).expect("a line");
        assert!(line.contains('—') && line.contains("not measured"), "{table}");
    }

    #[test]
    fn the_table_begins_with_the_ratios() {
        let table = report().table();
        assert!(table.starts_with("   0.760  ≤ 0.8     reached       trial from the template ÷ floor\n"), "{table}");
        assert!(table.contains("MISSED        trial from a cold start"), "{table}");
        assert!(
            table.contains("   100.0 s  floor: plain first boot + plain second boot (90.0 110.0 100.0)"),
            "{table}"
        );
        assert!(table.trim_end().ends_with("2 cores of P, tcg, debian-13, QEMU 10"), "{table}");
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0]), Some(2.5));
    }
}
