//! What a person sees while a trial runs: one line an event that matters, or a spinner on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::sync::LazyLock;

use crate::timeline::{Bus, Event, Facts, What, message_id};

/// All spinners of this process.
static SPINNERS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Tells a step of the preparation: a line of its own, on standard error.
pub(super) fn tell(step: &str) {
    eprintln!("· {step}");
}

/// Follows a trial until the future is dropped.
pub(super) async fn follow(bus: Bus, trial: String) {
    let shown = Shown::new(trial);
    let mut events = bus.from_start();
    let mut facts = Facts::default();
    loop {
        let event = events.next().await;
        if let What::Facts(known) = &event.what {
            facts = known.clone();
        }
        if let Some(text) = describe(&event, &facts) {
            shown.tell(&event, &text);
        }
    }
}

/// A spinner on a terminal, lines elsewhere.
struct Shown {
    trial: String,
    spinner: Option<ProgressBar>,
}

impl Shown {
    fn new(trial: String) -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let spinner = SPINNERS.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg}") {
                spinner.set_style(style);
            }
            spinner.set_prefix(trial.clone());
            spinner.enable_steady_tick(Duration::from_millis(200));
            spinner
        });
        Self { trial, spinner }
    }

    fn tell(&self, event: &Event, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(format!("boot {}: {text}", event.boot)),
            None => eprintln!(
                "· {} {:>6.1} s  boot {}: {text}",
                self.trial,
                Duration::from_micros(event.at_us).as_secs_f64(),
                event.boot
            ),
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn describe(event: &Event, facts: &Facts) -> Option<String> {
    match &event.what {
        What::MachineStarted(started) => Some(format!("powered on ({})", started.accel)),
        What::Console(console) if console.line.contains("Linux version ") => Some("the kernel starts".into()),
        What::ConfigServed(served) if served.status == 200 => Some("Ignition has its config".into()),
        What::Registry(request) if request.subject == "manifest" => {
            Some(format!("{} {}:{} → {}", request.method, request.repository, request.reference, request.status))
        }
        What::ModuleLoad(module) if is_of_image(facts, &module.module) => {
            Some(format!("{} loaded by {}", module.module, module.comm))
        }
        What::Journal(record) if record.is_from_systemd() && record.message_id() == message_id::STARTUP_FINISHED => {
            Some("systemd has no more jobs".into())
        }
        What::Qmp(qmp) if matches!(qmp.event.as_str(), "RESET" | "SHUTDOWN") => Some(qmp.event.to_lowercase()),
        What::DeadlinePassed { waiting_for, after_s } => Some(format!("no {waiting_for} within {after_s:.0} s")),
        What::MachineExited(_) => Some("machine ended".into()),
        _ => None,
    }
}

fn is_of_image(facts: &Facts, module: &str) -> bool {
    facts.images.iter().any(|image| image.modules.contains_key(module))
}
