//! What a person sees while trials run: on a terminal a line for each node and one for the run, which change in place;
//! elsewhere one line an event that matters.

mod estimate;
mod node;

use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::report::{RunResults, TrialResult};
use crate::timeline::{Bus, Event, Timeline, What};
use estimate::Estimate;
use node::Node;

/// Lines that change in place.
static LINES: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The line of the run, if one runs.
static RUN: Mutex<Option<Run>> = Mutex::new(None);

/// How often ages and times are told anew.
const TICK: Duration = Duration::from_secs(1);

/// Whether lines can change in place: only where all that this process says goes to one terminal that obeys.
pub(super) fn is_live() -> bool {
    static LIVE: LazyLock<bool> = LazyLock::new(|| {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        io::stdout().is_terminal() && io::stderr().is_terminal() && !dumb
    });
    *LIVE
}

/// Tells a step of the preparation: a line of its own, on standard error.
pub(super) fn tell(step: &str) {
    warn(&format!("· {step}"));
}

/// Says a line on standard error, above the lines that change in place.
pub(super) fn warn(text: &str) {
    // Where nobody listens any more, nothing more can be said.
    LINES.suspend(|| drop(writeln!(io::stderr(), "{text}")));
}

/// Says a text on standard output, above the lines that change in place, with its colours where they are wanted.
pub(super) fn say(text: &str) {
    // To a pipe that closes early, for one, nothing more can be said.
    LINES.suspend(|| drop(writeln!(anstream::stdout(), "{text}")));
}

/// Standard error, above the lines that change in place.
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

struct Run {
    estimate: Estimate,
    began: Instant,
    bar: ProgressBar,
}

impl Run {
    fn show(&self) {
        let (_, done) = self.estimate.counts();
        self.bar.set_position(done as u64);
        self.bar.set_message(self.estimate.line(self.began.elapsed()));
    }
}

/// A run of these trials begins, so many at once; an earlier one, if there was one, left `results`.
pub(super) fn run_begins(trials: Vec<String>, jobs: usize, results: Option<&RunResults>) {
    if !is_live() {
        return;
    }
    let estimate = Estimate::new(trials, jobs, results);
    let bar = LINES.add(ProgressBar::new(estimate.counts().0 as u64));
    if let Ok(style) = ProgressStyle::with_template("[{bar:20}] {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let run = Run { estimate, began: Instant::now(), bar };
    run.show();
    *of_run() = Some(run);
}

/// The run is over, and what it came to can be said.
pub(super) fn run_ended() {
    if let Some(run) = of_run().take() {
        run.bar.finish_and_clear();
    }
}

/// A trial's machine is about to start.
pub(super) fn trial_begins(trial: &str) {
    if let Some(run) = of_run().as_mut() {
        run.estimate.begun(trial, run.began.elapsed());
        run.show();
    }
}

/// A trial came to this.
pub(super) fn trial_ended(result: &TrialResult) {
    if let Some(run) = of_run().as_mut() {
        run.estimate.ended(result, run.began.elapsed());
        run.show();
    }
}

fn of_run() -> std::sync::MutexGuard<'static, Option<Run>> {
    RUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows a trial, whose scenario has so many boots, until the future is dropped.
pub(super) async fn follow(bus: Bus, trial: String, boots: usize) {
    let (mut events, mut shown) = (bus.from_start(), Shown::new(trial, boots));
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            event = events.next() => shown.observe(&event),
            _ = tick.tick() => shown.refresh(),
        }
    }
}

/// Tells a trial's steps as they come and end, until the future is dropped.
pub(super) async fn follow_steps(bus: Bus, trial: String) {
    let mut events = bus.from_start();
    loop {
        let event = events.next().await;
        if let What::Step(step) = &event.what {
            let at = Duration::from_micros(event.at_us).as_secs_f64();
            warn(&format!("· {trial} {at:>6.1} s  {}", node::step(step)));
        }
    }
}

/// A line that changes on a terminal, lines elsewhere.
struct Shown {
    trial: String,
    node: Node,
    began: Instant,
    line: Option<ProgressBar>,
}

impl Shown {
    fn new(trial: String, boots: usize) -> Self {
        let line = is_live().then(|| {
            let line = ProgressBar::new_spinner();
            let line = match of_run().as_ref() {
                Some(run) => LINES.insert_before(&run.bar, line),
                None => LINES.add(line),
            };
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                line.set_style(style);
            }
            line.enable_steady_tick(Duration::from_millis(200));
            line
        });
        Self { node: Node::new(trial.clone(), boots), trial, began: Instant::now(), line }
    }

    fn observe(&mut self, event: &Event) {
        let matters = self.node.observe(event);
        match (matters, &self.line) {
            (Some(_), Some(_)) => self.refresh(),
            (Some(text), None) => warn(&format!(
                "· {} {:>6.1} s  boot {}: {text}",
                self.trial,
                Duration::from_micros(event.at_us).as_secs_f64(),
                event.boot
            )),
            (None, _) => {}
        }
    }

    fn refresh(&mut self) {
        if let Some(line) = &self.line {
            let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            line.set_message(self.node.line(now_us));
            of_run().iter().for_each(Run::show);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

/// Shows recorded trials side by side as they were seen, so many times as fast.
pub async fn replay(trials: Vec<(String, Timeline)>, times: u32) {
    let names = trials.iter().map(|(name, _)| name.clone()).collect();
    run_begins(names, trials.len(), None);
    let each = trials.into_iter().map(|(name, timeline)| async move {
        trial_begins(&name);
        let bus = Bus::new(None);
        let fed = async {
            let began = tokio::time::Instant::now();
            for event in &timeline.events {
                tokio::time::sleep_until(began + Duration::from_micros(event.at_us) / times).await;
                bus.push(event.what.clone());
            }
        };
        tokio::select! {
            () = fed => {}
            () = follow(bus.clone(), name.clone(), usize::try_from(timeline.boots()).unwrap_or(0)) => {}
        }
        let result = TrialResult::new(&name, std::path::Path::new(""), crate::checks::Verdict::Pass, None);
        trial_ended(&result);
        say(&format!("{name} is over"));
    });
    futures::future::join_all(each).await;
    run_ended();
}
