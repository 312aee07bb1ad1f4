//! Machines that outlive their trials, for a person to look into: which are kept, and until when.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use super::prepare::BadInput;
use super::progress;
use super::{Options, interrupt};
use crate::door;
use crate::process::{pasted, this_program};
use crate::recording;
use crate::services::registry::Backend;

/// Which trials' machines are kept when they are over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// None.
    #[default]
    Never,
    /// Those of trials that did not come to what they must.
    Failed,
    /// All.
    Always,
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "failed" => Ok(Self::Failed),
            "always" => Ok(Self::Always),
            _ => Err("machines are kept of `failed` trials or `always`".to_owned()),
        }
    }
}

impl Keep {
    /// Whether it is for a trial that is red or not.
    pub(super) fn wants(self, red: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Failed => red,
            Self::Always => true,
        }
    }
}

/// The machines of a run that are kept.
pub(super) struct Kept {
    /// Trials that have not begun.
    to_come: AtomicUsize,
    machines: Mutex<Vec<Machine>>,
}

struct Machine {
    trial: String,
    dir: PathBuf,
    thread: JoinHandle<()>,
}

impl Kept {
    /// For a run of so many trials.
    pub(super) fn new(trials: usize) -> Self {
        Self { to_come: AtomicUsize::new(trials), machines: Mutex::default() }
    }

    /// One trial more has begun, or never will.
    pub(super) fn one_less_to_come(&self) {
        self.to_come.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether trials are still to begin.
    pub(super) fn are_more_to_come(&self) -> bool {
        self.to_come.load(Ordering::SeqCst) > 0
    }

    /// A machine is kept, by a thread that ends with it.
    pub(super) fn add(&self, trial: &str, dir: &Path, thread: JoinHandle<()>) {
        let machine = Machine { trial: trial.to_owned(), dir: dir.to_owned(), thread };
        self.machines.lock().unwrap_or_else(PoisonError::into_inner).push(machine);
    }

    /// Waits until a person has let go of every machine, or interrupts the run.
    pub(super) fn wait(&self) {
        let machines = std::mem::take(&mut *self.machines.lock().unwrap_or_else(PoisonError::into_inner));
        let living: Vec<&Machine> = machines.iter().filter(|machine| !machine.thread.is_finished()).collect();
        if !living.is_empty() && !interrupt::is_set() {
            progress::warn("\nkept until Ctrl-C here, or until each is let go:");
            for machine in living {
                progress::warn(&format!("  {}", machine.trial));
                progress::warn(&format!("    enter   {}", command("shell", &machine.dir)));
                progress::warn(&format!("    let go  {}", command("release", &machine.dir)));
            }
        }
        for machine in machines {
            // What its trial came to is known; a panic since was told on standard error.
            let _ = machine.thread.join();
        }
    }
}

/// Refuses trials whose directories hold the machines of another run, before anything there is made anew.
pub(super) fn refuse_taken<'n>(results: &Path, trials: impl Iterator<Item = &'n str>) -> Result<(), BadInput> {
    let taken = trials.map(|trial| results.join(trial)).find(|dir| door::is_open(dir));
    taken.map_or(Ok(()), |dir| {
        let release = command("release", &dir);
        Err(BadInput(format!(
            "{} is where another run has a machine; let it go with `{release}`, or put the results elsewhere with --results",
            dir.display()
        )))
    })
}

/// A command of this program for a trial, to be pasted.
pub(super) fn command(name: &str, dir: &Path) -> String {
    format!("{} {name} {}", this_program(), pasted(&dir.display().to_string()))
}

/// The command that runs a trial again, and keeps its machine.
pub(super) fn again(options: &Options, trial: &str, node: &str, kernel: Option<&str>, keeps: bool) -> String {
    let mut words = vec!["run".to_owned(), pasted(trial), format!("--node {}", pasted(node))];
    let mut add = |option: &str, value: &str| words.push(format!("--{option} {}", pasted(value)));
    if let Some(kernel) = kernel {
        add("kernel", kernel);
    }
    let is_default = |dir: &Path, name: &str| std::env::current_dir().is_ok_and(|here| here.join(name) == dir);
    if !is_default(&options.scenarios, "scenarios") {
        add("scenarios", &options.scenarios.display().to_string());
    }
    if let Some(file) = &options.machine_config {
        add("machine-config", &file.display().to_string());
    }
    if let Some(start) = options.start {
        add("start", &start.to_string());
    }
    if !is_default(&options.vm_images, "vm-images") {
        add("vm-images", &options.vm_images.display().to_string());
    }
    if options.registry != Backend::Embedded {
        add("registry", &options.registry.to_string());
    }
    if let Some(toolkit) = &options.driver_toolkit {
        add("driver-toolkit", &toolkit.to_string());
    }
    if let Some(dir) = &options.cache {
        add("cache", &dir.display().to_string());
    }
    if options.results != Path::new(recording::RESULTS) {
        add("results", &options.results.display().to_string());
    }
    if let Some(dir) = &options.mutants {
        words.push(format!("--mutants={}", pasted(&dir.display().to_string())));
    }
    if keeps {
        words.push("--keep".to_owned());
    }
    format!("{} {}", this_program(), words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_are_kept_is_said_by_a_word() {
        assert_eq!("failed".parse(), Ok(Keep::Failed));
        assert_eq!("always".parse(), Ok(Keep::Always));
        assert!("on-failure".parse::<Keep>().is_err_and(|error| error.contains("`failed`")));
        let wants = |keep: Keep| [keep.wants(true), keep.wants(false)];
        assert_eq!(wants(Keep::Never), [false, false]);
        assert_eq!(wants(Keep::Failed), [true, false]);
        assert_eq!(wants(Keep::Always), [true, true]);
    }

    #[tokio::test]
    async fn a_directory_with_a_machine_in_it_is_not_made_anew() {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(dir.path().join("a")).expect("made");
        let refused = || refuse_taken(dir.path(), ["b", "a"].into_iter()).map_err(|error| error.to_string());
        assert_eq!(refused(), Ok(()));
        let held = door::open(&dir.path().join("a")).expect("opened");
        assert!(refused().is_err_and(|error| error.contains(" release ") && error.contains("--results")));
        drop(held);
        assert_eq!(refused(), Ok(()));
    }

    #[test]
    fn a_trial_s_name_is_part_of_a_command() {
        assert!(command("shell", Path::new("a b")).ends_with(" shell 'a b'"));
    }

    #[test]
    fn the_last_trial_knows_that_none_is_to_come() {
        let kept = Kept::new(2);
        kept.one_less_to_come();
        assert!(kept.are_more_to_come());
        kept.one_less_to_come();
        assert!(!kept.are_more_to_come());
        kept.wait();
    }
}
