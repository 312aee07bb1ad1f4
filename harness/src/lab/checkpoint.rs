//! A node whose first boot is done: images pulled, powered off. Its disks, and everything that was seen of that
//! boot, so that a trial which begins with it is judged on all its boots.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::drive::Driver;
use super::hands::Hands;
use super::{Error, Host, Plan, Surroundings, files};
use crate::machine::{Begins, Keeps, Template};
use crate::process;
use crate::timeline::{Bus, Timeline, What, Writer};

/// A checkpoint in a directory of its own, which nothing writes to any more.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    dir: PathBuf,
}

impl Checkpoint {
    pub(super) fn in_dir(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts what was seen of the first boot into the timeline and the console's log.
    pub(super) fn replay(&self, bus: &Bus, console_log: &Path) -> Result<(), Error> {
        let recorded = Timeline::read(&self.dir.join(files::TIMELINE))?;
        for event in recorded.events {
            // This trial's own come first.
            if !matches!(event.what, What::Facts(_)) {
                bus.push_recorded(&event);
            }
        }
        let append = || {
            let mut log = fs::File::options().create(true).append(true).open(console_log)?;
            log.write_all(&fs::read(self.dir.join(files::CONSOLE))?)
        };
        append().map_err(|source| Error::Write { path: console_log.to_owned(), source })
    }
}

/// Runs the first boot up to its reboot, and keeps the node as it is then.
pub(super) async fn make(plan: &Plan, host: &Host<'_>, template: &Template, dir: &Path) -> Result<(), Error> {
    let bus = Bus::new(None);
    let surroundings = Surroundings::new(plan, host, &bus).await?;
    bus.push(What::Facts(plan.facts.clone()));
    let begins = Begins::Forked(template.clone());
    let keeps = Keeps::Disks(dir.to_owned());
    let machine = surroundings.start(begins, keeps, Some(&dir.join(files::CONSOLE))).await?;
    let boot = plan.scenario.spec.boots.first();
    let factor = host.acceleration.deadline_factor();
    let hands = Hands { machine: &machine, surroundings: &surroundings, bus: &bus, factor };
    // Nothing happens in a boot that others begin after.
    let (_none, armed) = tokio::sync::watch::channel(0);
    let ended = Driver::new(&hands, armed).first_boot(boot).await;
    machine.stop().await;
    surroundings.stop().await;
    ended.map_err(|why| Error::NoCheckpoint { why })?;
    for index in 0..=plan.scenario.spec.node.disks.len() {
        detach(&dir.join(crate::machine::disk_name(index)), (index == 0).then_some(&plan.node.disk.path))?;
    }
    record(&bus, &dir.join(files::TIMELINE))
}

/// Takes what a disk has of its template into the disk itself.
fn detach(disk: &Path, image: Option<&PathBuf>) -> Result<(), Error> {
    let mut rebase = Command::new("qemu-img");
    rebase.args(["rebase", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]);
    match image {
        Some(image) => rebase.arg(image),
        None => rebase.arg(""),
    };
    process::output(rebase.arg(disk))?;
    Ok(())
}

/// Writes what was seen, without the end of this machine: the node lives on.
fn record(bus: &Bus, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let recording = Bus::new(Some(Writer::create(path).map_err(failed)?));
    for event in bus.events().iter().filter(|event| !matches!(event.what, What::MachineExited(_))) {
        recording.push_recorded(event);
    }
    recording.finish().map_err(failed)
}
