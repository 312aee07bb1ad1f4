//! A machine paused in the middle of a boot, kept as files that others go on from.
//!
//! Its memory is a file that each fork maps as a private copy; its devices are QEMU's migration stream, without
//! that memory (`x-ignore-shared`); its disks are overlays that each fork overlays again. What its streams had
//! said so far is kept as well, so that a fork's timeline begins where the boot did.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use qapi::qmp;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::owner::{ANSWER, wait};
use super::streams::{Said, Source};
use super::{Error, Machine};
use crate::timeline::{Cursor, Event, What};

/// The memory's file.
pub(super) const MEMORY: &str = "memory";
const STATE: &str = "state";

/// A paused machine in a directory of its own, which nothing writes to any more.
#[derive(Debug, Clone)]
pub struct Template {
    dir: PathBuf,
}

impl Template {
    /// What [`Machine::into_template`] left in `dir`.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn memory(&self) -> PathBuf {
        self.dir.join(MEMORY)
    }

    /// What a stream had said when the machine was paused.
    pub(super) fn said(&self, source: Source) -> Result<Said, Error> {
        let path = self.dir.join(source.file());
        std::fs::read(&path).map(Said::from).map_err(Error::io(format!("read {}", path.display())))
    }
}

impl Machine {
    /// Pauses the machine and ends it; what others need to go on from here is in `dir`, the one that its
    /// [`super::Keeps::Template`] names.
    pub async fn into_template(self, dir: &Path) -> Result<(), Error> {
        let mut events = self.bus.from_now();
        let what = || format!("save the machine's state in {}", dir.display());
        self.ask("stop", qmp::stop {}).await?;
        self.share_memory().await?;
        let uri = Some(format!("file:{}", dir.join(STATE).display()));
        self.ask("migrate", qmp::migrate { uri, channels: None, detach: None, resume: None }).await?;
        migrated(&mut events, what()).await?;
        let taps = self.taps.clone();
        // When it has ended, its streams have said all.
        self.stop().await;
        for (source, tap) in taps {
            let path = dir.join(source.file());
            std::fs::write(&path, tap.take()).map_err(Error::io(format!("write {}", path.display())))?;
        }
        Ok(())
    }

    /// Takes the template's state; gives the time from QEMU's first answer.
    pub(super) async fn restore(&self, template: &Template) -> Result<Duration, Error> {
        let began = Instant::now();
        let mut events = self.bus.from_now();
        self.share_memory().await?;
        let uri = Some(format!("file:{}", template.dir().join(STATE).display()));
        self.ask("migrate-incoming", qmp::migrate_incoming { uri, channels: None, exit_on_error: None }).await?;
        let dir = template.dir().display();
        let what = format!("go on from the template {dir} (remove it to have it made anew, or use `--start cold`)");
        migrated(&mut events, what).await?;
        Ok(began.elapsed())
    }

    /// Leaves memory that a file holds out of the stream; has the stream's progress told as events.
    async fn share_memory(&self) -> Result<(), Error> {
        let on = |capability| qmp::MigrationCapabilityStatus { capability, state: true };
        let capabilities = vec![on(qmp::MigrationCapability::x_ignore_shared), on(qmp::MigrationCapability::events)];
        self.ask("migrate-set-capabilities", qmp::migrate_set_capabilities { capabilities }).await?;
        Ok(())
    }
}

/// Waits until QEMU's migration stream is through.
async fn migrated(events: &mut Cursor, what: String) -> Result<(), Error> {
    let status = wait(events, "end of QEMU's migration stream", ANSWER, |event| {
        migration_status(event).filter(|status| matches!(status.as_str(), "completed" | "failed"))
    });
    match status.await {
        Ok(status) if status == "completed" => Ok(()),
        Ok(status) => Err(Error::Fork { what, why: format!("QEMU's migration stream {status}") }),
        Err(error) => Err(Error::Fork { what, why: error.to_string() }),
    }
}

fn migration_status(event: &Event) -> Option<String> {
    match &event.what {
        What::Qmp(qmp) if qmp.event == "MIGRATION" => Some(qmp.data.get("status")?.as_str()?.to_owned()),
        _ => None,
    }
}

/// Sets the guest's clock, which stood still since the template was paused, to the host's; and writes files there that
/// are this fork's own, given with their texts.
pub(super) async fn set_clock(port: UnixStream, files: &[(String, String)]) -> Result<(), Error> {
    let failed = |why: String| Error::Fork { what: "set the clock of the forked guest".into(), why };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut port = BufReader::new(port);
    let asked = async {
        port.write_all(format!("{:.3}\n{}.\n", since.as_secs_f64(), lines_of(files)).as_bytes()).await?;
        let mut lines = port.lines();
        loop {
            match lines.next_line().await? {
                Some(line) if line.is_empty() => {}
                line => return std::io::Result::Ok(line.unwrap_or_default()),
            }
        }
    };
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(answer)) if answer == "set" => Ok(()),
        Ok(Ok(answer)) => Err(failed(format!("it answered {answer:?}"))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s; does its initramfs have `date`?", ANSWER.as_secs()))),
    }
}

/// A line for each file, for `printf %b` of the guest's shell.
fn lines_of(files: &[(String, String)]) -> String {
    let line =
        |(path, text): &(String, String)| format!("{path} {}\n", text.replace('\\', "\\\\").replace('\n', "\\n"));
    files.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_line_that_the_shell_reads_back() {
        let text = "[Unit]\nWants=a\\x2db.service\n";
        let lines = lines_of(&[("/run/x.d/y.conf".into(), text.into())]);
        assert_eq!(lines.matches('\n').count(), 1);
        let script = "read -r file text; printf '%s|%b' \"$file\" \"$text\"";
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = shell.spawn().expect("sh runs");
        std::io::Write::write_all(&mut child.stdin.take().expect("its input"), lines.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("/run/x.d/y.conf|{text}"));
    }
}
