//! What joining many shards costs, and how evenly they are loaded, by simulation: shards of made-up results in the
//! shapes and sizes of recorded ones, joined by the same code as `day1 report merge`.
//!
//! `cargo run --release --example scale -- [TRIALS] [SHARDS]`, 10000 and 500 by default. The numbers of
//! docs/decisions/0019-scaling-out.md are from it.

use std::collections::{BTreeMap, BinaryHeap};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use day1_harness::checks::{Evidence, Finding, Outcome, Verdict};
use day1_harness::report::{
    Cpu, Host, JUNIT_FILE, Merge, Partition, Phase, RESULTS_VERSION, RunPlan, RunResults, TrialResult,
};

/// The same numbers each time.
const SEED: u64 = 20_261_126;
/// How many recorded trials out of a hundred are red in a bad night.
const RED_PERCENT: u32 = 5;
/// Findings of a recorded trial with two boots.
const FINDINGS: u32 = 21;

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let count = numbers.next().transpose()?.unwrap_or(10_000);
    let shards = numbers.next().transpose()?.unwrap_or(500);
    let mut random = fastrand::Rng::with_seed(SEED);
    let trials: Vec<TrialResult> = (0..count).map(|number| trial(number, &mut random)).collect();
    let plan = RunPlan::new(
        BTreeMap::from([("vm-images".to_owned(), "0".repeat(64))]),
        trials.iter().map(|one| (one.trial.as_str(), one.scenario.as_path(), format!("{:064}", 0))),
    );
    println!("{count} trials on {shards} runners");
    balance(&plan, &trials, shards)?;
    let dir = tempfile::tempdir()?;
    let dirs = report(&plan, &trials, shards, dir.path())?;
    let size =
        |name: &str| dirs.iter().filter_map(|dir| fs::metadata(dir.join(name)).ok()).map(|about| about.len()).sum();
    println!("the shards' results.json: {}, plan.json: {}", mib(size(RunResults::FILE)), mib(size(RunPlan::FILE)));
    let joined = dir.path().join("joined");
    for dead in [0, 1, shards / 100, shards / 10] {
        // Forget how much memory was taken before.
        fs::write("/proc/self/clear_refs", "5")?;
        let began = Instant::now();
        let mut merged = Merge { shards: dirs[dead..].to_vec(), ..Merge::default() }.join()?;
        let read = began.elapsed();
        merged.write(&joined, false)?;
        let (seconds, all) = (read.as_secs_f64(), began.elapsed().as_secs_f64());
        let lost = merged.results.trials.iter().filter(|one| one.never_ran).count();
        println!(
            "{dead} runners dead: read and joined in {seconds:.1} s, written in {:.1} s, peak memory {}; {} trials shown, {lost} never ran, exit code {}",
            all - seconds,
            peak_memory()?,
            merged.results.trials.len(),
            merged.results.exit_code()
        );
        let size = |name| fs::metadata(joined.join(name)).map(|about| about.len());
        println!("  joined results.json {}, junit.xml {}", mib(size(RunResults::FILE)?), mib(size(JUNIT_FILE)?));
        fs::remove_dir_all(&joined)?;
    }
    Ok(())
}

/// As large as a recorded one; it takes from three quarters of a minute to five, as recorded ones do.
fn trial(number: usize, random: &mut fastrand::Rng) -> TrialResult {
    let (row, kernel) = (number % 10, number / 10 % 5);
    let name =
        format!("family-{}/scenario-{}[row={row}]@debian-13,6.12.{kernel}+deb13-amd64", number / 500, number / 50);
    let red = random.u32(..100) < RED_PERCENT;
    let scenario = format!("/srv/scenarios/family-{}/scenario-{}.yaml", number / 500, number / 50);
    let verdict = if red { Verdict::Fail } else { Verdict::Pass };
    let phases = (0..10).map(|index| Phase { boot: index / 5 + 1, name: "initramfs".into(), seconds: 25.730_194 });
    let findings = (0..FINDINGS).map(|index| {
        let outcome = if red && index == 7 { Outcome::Fail } else { Outcome::Pass };
        let evidence =
            Evidence { seq: u64::from(index) * 100, text: "systemd[1]: Started something of this node".into() };
        Finding {
            check: "unit.before".into(),
            node: None,
            boot: Some(index / 11 + 1),
            outcome,
            message: "99-worker-day1-nic-load-kernel-module was done 13 ms before network-pre.target".into(),
            evidence: vec![evidence; 2],
            advice: (outcome == Outcome::Fail).then(|| "order it by After= and Before=".to_owned()),
        }
    });
    TrialResult {
        // Most take little more than two boots; few take five times as long.
        seconds: 45.0 + 265.0 * random.f64().powi(4),
        start: "template".into(),
        phases: phases.collect(),
        findings: findings.collect(),
        ..TrialResult::new(&name, Path::new(&scenario), verdict, None)
    }
}

/// Writes what each shard leaves.
fn report(plan: &RunPlan, trials: &[TrialResult], shards: usize, dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let by_name: BTreeMap<&str, &TrialResult> = trials.iter().map(|one| (one.trial.as_str(), one)).collect();
    let mut dirs = Vec::new();
    for (part, names) in deal(plan, format!("hash:1/{shards}").parse()?) {
        let results = RunResults {
            version: RESULTS_VERSION,
            day1: env!("CARGO_PKG_VERSION").into(),
            started: "2026-11-26T01:00:00Z".into(),
            seconds: 900.0,
            host: Host { cores: 4, registry: "embedded".into(), ..Host::default() },
            jobs: 4,
            cpu: Cpu::default(),
            part: Some(plan.part(Some(part))),
            shards: Vec::new(),
            trials: names.into_iter().map(|name| by_name[name].clone()).collect(),
        };
        let dir = dir.join(format!("shard-{}", dirs.len()));
        results.write(&dir)?;
        plan.write(&dir)?;
        dirs.push(dir);
    }
    Ok(dirs)
}

/// The trials of each part.
fn deal(plan: &RunPlan, one: Partition) -> BTreeMap<Partition, Vec<&str>> {
    let mut parts: BTreeMap<Partition, Vec<&str>> = one.all().map(|part| (part, Vec::new())).collect();
    for (index, (name, _)) in plan.trials().into_iter().enumerate() {
        parts.entry(one.beside(index, name)).or_default().push(name);
    }
    parts
}

/// How much longer the slowest shard takes than the mean, one trial at a time.
fn balance(plan: &RunPlan, trials: &[TrialResult], shards: usize) -> Result<(), Box<dyn Error>> {
    let seconds: BTreeMap<&str, f64> = trials.iter().map(|one| (one.trial.as_str(), one.seconds)).collect();
    #[expect(clippy::cast_precision_loss, reason = "few shards")]
    let mean = seconds.values().sum::<f64>() / shards as f64;
    let tell = |cut: &str, slowest: f64, most: usize| {
        println!(
            "  {cut:<28} slowest shard {:.2} × the mean ({slowest:.0} s of {mean:.0} s), {most} trials at most",
            slowest / mean
        );
    };
    for cut in ["hash", "slice"] {
        let (mut slowest, mut most) = (0.0_f64, 0);
        for names in deal(plan, format!("{cut}:1/{shards}").parse()?).into_values() {
            slowest = slowest.max(names.iter().map(|name| seconds[name]).sum());
            most = most.max(names.len());
        }
        tell(cut, slowest, most);
    }
    // The longest first, each to the shard that is done first: what recorded durations would allow.
    let mut sorted: Vec<f64> = seconds.into_values().collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let mut loads: BinaryHeap<std::cmp::Reverse<(u64, usize)>> =
        (0..shards).map(|_| std::cmp::Reverse((0, 0))).collect();
    for one in sorted {
        if let Some(std::cmp::Reverse((load, trials))) = loads.pop() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a trial")]
            loads.push(std::cmp::Reverse((load + (one * 1000.0) as u64, trials + 1)));
        }
    }
    let loads = loads.into_vec();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a night")]
    let slowest = loads.iter().map(|one| one.0.0).max().unwrap_or(0) as f64 / 1000.0;
    tell("by recorded durations", slowest, loads.iter().map(|one| one.0.1).max().unwrap_or(0));
    Ok(())
}

fn mib(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "sizes of files")]
    let mib = bytes as f64 / f64::from(1 << 20);
    format!("{mib:.1} MiB")
}

fn peak_memory() -> Result<String, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(mib(kib << 10))
}
