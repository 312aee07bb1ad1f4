//! What the harness can do to a node and its surroundings.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Surroundings, on_disk};
use crate::machine::{Machine, wait};
use crate::process::quoted;
use crate::scenario::{Action, Clock, Damage, Fill, Filling, Harm, LinkState, Reach};
use crate::services::Availability;
use crate::timeline::{Bus, Cursor, Event, FileSeen, Happened, What};

/// Times at reference speed, before they are stretched to the host's.
const SCRIPT: Duration = Duration::from_secs(60);
/// For what a node disruption policy restarts: a pull, say.
const SERVICES: Duration = Duration::from_secs(300);
/// From the first word of a reboot to the reset.
pub(super) const REBOOT: Duration = Duration::from_secs(120);
pub(super) const RESET: Duration = Duration::from_secs(30);

/// Acts on one running node.
pub(super) struct Hands<'l> {
    pub(super) machine: &'l Machine,
    pub(super) surroundings: &'l Surroundings<'l>,
    pub(super) bus: &'l Bus,
    /// How much slower than the reference this host is.
    pub(super) factor: f64,
}

impl Hands<'_> {
    /// Does one thing and puts it into the timeline: `index` is its place among what happens in the scenario,
    /// `trigger` the event that it waited for. Tells whether it could be done.
    pub(super) async fn perform(&self, action: &Action, index: Option<usize>, trigger: Option<u64>) -> bool {
        let boot = self.bus.boot();
        let outcome = self.act(action).await;
        let happened = Happened { index, action: action.name().to_owned(), trigger, failed: outcome.err() };
        let done = happened.failed.is_none();
        self.bus.push_in(boot, What::Happened(happened));
        done
    }

    async fn act(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::PowerCut => {
                let events = self.bus.from_now();
                self.machine.reset().await.map_err(|error| error.to_string())?;
                self.reset_in(events, "reset of the machine", RESET).await
            }
            Action::Reboot => {
                let events = self.bus.from_now();
                self.script("systemctl --no-block reboot").await?;
                self.reset_in(events, "reboot that was asked for", REBOOT).await
            }
            Action::Link(link) => {
                let nics = &self.surroundings.plan().scenario.spec.node.nics;
                let index = nics.iter().position(|nic| nic.id == link.nic).ok_or("there is no such card")?;
                let carries = link.is == LinkState::Up;
                self.machine.set_link(index, carries).await.map_err(|error| error.to_string())
            }
            Action::Unplug(id) => {
                let disks = &self.surroundings.plan().scenario.spec.node.disks;
                let index = disks.iter().position(|disk| disk.id == *id).ok_or("there is no such disk")?;
                self.unplug(index).await
            }
            Action::Registry(reach) => {
                self.surroundings.set_registry(match reach {
                    Reach::Reachable => Availability::Serving,
                    Reach::Unreachable => Availability::Down,
                });
                Ok(())
            }
            Action::Clock(clock) => self.script(&set_clock(clock)).await,
            Action::Fill(fill) => self.script(&fill_script(fill)).await,
            Action::Free(path) => self.script(&format!("rm -rf {}", quoted(&filler(path.as_str())))).await,
            Action::Damage(damage) => self.script(&damage_script(damage)).await,
            Action::BootKernel(number) => {
                let kernels = &self.surroundings.plan().facts.kernels;
                let kernel = number.checked_sub(1).and_then(|index| kernels.get(index));
                let kernel = kernel.ok_or_else(|| format!("the node image has {} kernels", kernels.len()))?;
                // As the stand-in's boot loader reads it.
                self.script(&format!(
                    "mount -o remount,rw /boot && echo {} >/boot/day1-kernel.cfg && sync -f /boot && mount -o remount,ro /boot",
                    quoted(&format!("set kernel={kernel}"))
                ))
                .await
            }
            Action::Apply(_) | Action::Withdraw(_) => {
                let changes = &self.surroundings.plan().changes;
                let change = changes.get(self.changes_made()).ok_or("this change was not planned")?;
                self.script(&change.script).await?;
                if !change.reboots() {
                    return self.script_within(&change.end(), SERVICES).await;
                }
                let events = self.bus.from_now();
                self.script(&change.end()).await?;
                self.reset_in(events, "reboot of the MCO's daemon", REBOOT).await
            }
            Action::CollectImages => self.script("podman rmi --all --force").await,
            Action::Run(script) => self.script(script).await,
        }
    }

    /// The guest's kernel lets go of the disk at once, and QEMU tells then.
    async fn unplug(&self, index: usize) -> Result<(), String> {
        let mut events = self.bus.from_now();
        self.machine.unplug_disk(index).await.map_err(|error| error.to_string())?;
        let is_gone =
            |event: &Event| matches!(&event.what, What::Qmp(qmp) if qmp.event == "DEVICE_DELETED").then_some(());
        wait(&mut events, "end of the disk", self.stretched(RESET), is_gone).await.map_err(|error| error.to_string())
    }

    async fn reset_in(&self, mut events: Cursor, what: &str, deadline: Duration) -> Result<(), String> {
        let is_reset = |event: &Event| matches!(&event.what, What::Qmp(qmp) if qmp.event == "RESET").then_some(());
        wait(&mut events, what, self.stretched(deadline), is_reset).await.map_err(|error| error.to_string())
    }

    async fn script(&self, script: &str) -> Result<(), String> {
        self.script_within(script, SCRIPT).await
    }

    async fn script_within(&self, script: &str, deadline: Duration) -> Result<(), String> {
        let output = self.machine.run(script, self.stretched(deadline)).await.map_err(|error| error.to_string())?;
        match output.status {
            0 => Ok(()),
            status => Err(format!("status {status}: {}", output.text.trim_end())),
        }
    }

    /// How many times the node was given another config.
    fn changes_made(&self) -> usize {
        let events = self.bus.events();
        events
            .iter()
            .filter(|event| matches!(&event.what, What::Happened(happened) if happened.changes_config()))
            .count()
    }

    /// Looks at what of the node's config is on its disk, and puts it into the timeline.
    pub(super) async fn look_at_config(&self) {
        let Some(config) = self.surroundings.plan().facts.configs.get(self.changes_made()) else { return };
        match self.machine.query(&on_disk::script(config), self.stretched(SCRIPT)).await {
            Ok(output) => self.bus.push(on_disk::read(config, &output.text).map_or_else(
                || What::Note { text: format!("no look at the config on disk: {}", output.text) },
                What::OnDisk,
            )),
            Err(error) => self.bus.push(What::Note { text: format!("no look at the config on disk: {error}") }),
        }
    }

    /// Looks at files of the guest, and puts what they are into the timeline.
    pub(super) async fn look_at(&self, paths: &[&str]) {
        let answer = self.machine.query(&look_script(paths), self.stretched(SCRIPT)).await;
        let lines = match &answer {
            Ok(output) => output.text.lines().collect::<Vec<_>>(),
            Err(error) => {
                self.bus.push(What::Note { text: format!("no look at {}: {error}", paths.join(", ")) });
                return;
            }
        };
        for (path, line) in paths.iter().zip(lines) {
            if let Some(file) = read_line(path, line) {
                self.bus.push(What::File(file));
            }
        }
    }

    /// A time at reference speed as it is on this host.
    pub(super) fn stretched(&self, at_reference: Duration) -> Duration {
        at_reference.mul_f64(self.factor)
    }
}

/// What fills a file system, in one of its directories.
fn filler(path: &str) -> String {
    format!("{}/.day1-filler", path.trim_end_matches('/'))
}

fn set_clock(clock: &Clock) -> String {
    match clock {
        Clock::Now => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("date -u -s @{}", now.as_secs())
        }
        Clock::At(moment) => format!("date -u -s {}", quoted(moment)),
    }
}

fn fill_script(fill: &Fill) -> String {
    let filler = quoted(&filler(fill.path.as_str()));
    match fill.with {
        // The rest block by block: what is free is not all for one file. Small file systems have small blocks, and some
        // are free again when the file system has written what it put off.
        Filling::Bytes => format!(
            "mkdir -p {filler} && cd {filler} || exit\n\
             fallocate -l \"$(($(df -k --output=avail . | tail -n 1) * 1024 * 95 / 100))\" most\n\
             for block in 4k 1k; do dd if=/dev/zero of=rest-$block bs=$block 2>/dev/null; sync -f .; done\n\
             ! echo full >one-more || {{ echo 'the file system is not full'; exit 1; }}"
        ),
        Filling::Files => format!(
            "mkdir -p {filler} && cd {filler} || exit\n\
             seq \"$(df --output=iavail . | tail -n 1)\" | xargs touch 2>/dev/null\n\
             ! touch one-more 2>/dev/null || {{ echo 'there are inodes left'; exit 1; }}"
        ),
    }
}

fn damage_script(damage: &Damage) -> String {
    let harm = match damage.how {
        Harm::Truncate => ": >\"$file\"",
        Harm::Remove => "rm -rf \"$file\"",
    };
    // A pattern of the shell's own: its words are not quoted, and its blanks would part it.
    let pattern = damage.files.as_str().replace(' ', "\\ ");
    let inner = format!(
        "shopt -s globstar nullglob dotglob\ncount=0\nfor file in {pattern}; do {harm} || exit; count=$((count + 1)); done\n\
         [ $count -gt 0 ] || {{ echo 'no file matches'; exit 1; }}\nsync"
    );
    format!("bash -c {}", quoted(&inner))
}

fn look_script(paths: &[&str]) -> String {
    let mut script = String::from(
        "look() {\n\
         if [ -e \"$1\" ] || [ -L \"$1\" ]; then\n\
         printf 'there %s ' \"$(stat -L -c %a \"$1\" 2>/dev/null || echo 0)\"\n\
         [ ! -f \"$1\" ] || head -c 4096 \"$1\" | base64 -w 0\n\
         echo\n\
         else echo gone; fi\n\
         }\n",
    );
    for path in paths {
        // Writing to a string does not fail.
        let _ = writeln!(script, "look {}", quoted(path));
    }
    script
}

fn read_line(path: &str, line: &str) -> Option<FileSeen> {
    use base64::Engine;
    let mut words = line.split(' ');
    let exists = match words.next()? {
        "there" => true,
        "gone" => false,
        _ => return None,
    };
    let mode = words.next().and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let text = base64::engine::general_purpose::STANDARD.decode(words.next().unwrap_or_default()).ok()?;
    Some(FileSeen { path: path.to_owned(), exists, mode, text: String::from_utf8_lossy(&text).into_owned() })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::scenario::AbsolutePath;

    fn run(script: &str) -> (bool, String) {
        let output = Command::new("sh").arg("-c").arg(script).output().expect("sh runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn path(text: String) -> AbsolutePath {
        AbsolutePath::try_from(text).expect("an absolute path")
    }

    #[test]
    fn a_look_tells_mode_and_text_of_each_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let name = dir.path().join("it's one").display().to_string();
        std::fs::write(&name, "text\n").expect("written");
        run(&format!("chmod 0640 {}", quoted(&name)));
        let paths = [name.as_str(), "/no/such/file", "/"];
        let (_, lines) = run(&look_script(&paths));
        let seen: Vec<FileSeen> =
            paths.iter().zip(lines.lines()).filter_map(|(path, line)| read_line(path, line)).collect();
        let file = FileSeen { path: name.clone(), exists: true, mode: Some(0o640), text: "text\n".into() };
        assert_eq!(seen[0], file);
        assert_eq!((seen[1].exists, seen[2].exists, seen[2].text.as_str()), (false, true, ""));
        assert_eq!(read_line("/x", "junk"), None);
    }

    #[test]
    fn damage_reaches_what_matches_and_fails_where_nothing_does() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).expect("made");
        for name in ["x.ko", "y.ko", "z"] {
            std::fs::write(deep.join(name), "text").expect("written");
        }
        let pattern = |end: &str| path(format!("{}/**/{end}", dir.path().display()));
        let size = |name: &str| std::fs::metadata(deep.join(name)).map(|meta| meta.len()).ok();
        assert!(run(&damage_script(&Damage { files: pattern("*.ko"), how: Harm::Truncate })).0);
        assert_eq!((size("x.ko"), size("y.ko"), size("z")), (Some(0), Some(0), Some(4)));
        assert!(run(&damage_script(&Damage { files: pattern("x.ko"), how: Harm::Remove })).0);
        assert_eq!((size("x.ko"), size("y.ko")), (None, Some(0)));
        let (done, said) = run(&damage_script(&Damage { files: pattern("*.none"), how: Harm::Remove }));
        assert!(!done && said.contains("no file matches"), "{said}");
    }
}
