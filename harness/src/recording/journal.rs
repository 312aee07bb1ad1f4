//! The recorded journal of a trial, as a file that `journalctl` reads.
//!
//! The timeline's records become systemd's export format (<https://systemd.io/JOURNAL_EXPORT_FORMATS/>), and
//! `systemd-journal-remote` makes a journal of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::process::{die_with_parent, tail};
use crate::text::number;
use crate::timeline::{JournalRecord, Timeline, What};

/// Where Debian and Fedora have the program; it is on no PATH.
const IMPORTER: &str = "/lib/systemd/systemd-journal-remote";

/// Fields that say where a record stands. The importer takes these, and refuses or makes up others of the kind.
const PLACES: [&str; 3] = ["__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "_BOOT_ID"];

/// Why a journal can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is missing, or can't be started.
    #[error("cannot start {program}: {source}; on Debian `apt-get install {package}` brings it")]
    Start {
        /// The program.
        program: &'static str,
        /// Debian's package.
        package: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The records were not taken.
    #[error("{IMPORTER} took no journal of the timeline ({status}): {said}")]
    Import {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        said: String,
    },
    /// A file operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no journal of that boot.
    #[error("the trial has no journal of boot {wanted}: {}", match known.as_slice() {
        [] => "it has none of any".to_owned(),
        known => format!("it has that of {} ({})", number(known.len(), "boot"), known.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    })]
    Boot {
        /// What was asked for.
        wanted: String,
        /// The boots that there are.
        known: Vec<u32>,
    },
}

/// The journal of a trial.
pub struct Journal {
    records: Vec<Placed>,
    /// Boot ids by the timeline's numbers.
    boots: BTreeMap<u32, String>,
}

struct Placed {
    boot: u32,
    record: JournalRecord,
}

impl Journal {
    /// The records of a timeline.
    pub fn of(timeline: &Timeline) -> Self {
        let mut boots = BTreeMap::new();
        let mut records: Vec<Placed> = Vec::new();
        for event in &timeline.events {
            let What::Journal(record) = &event.what else { continue };
            if PLACES.iter().all(|place| !record.field(place).is_empty()) {
                boots.entry(event.boot).or_insert_with(|| record.boot_id().to_owned());
                records.push(Placed { boot: event.boot, record: record.clone() });
            }
        }
        // Of two streams; the guest's own clock tells how they go together.
        records.sort_by_key(|one| (one.boot, one.record.field("__MONOTONIC_TIMESTAMP").parse().unwrap_or(0_u64)));
        Self { records, boots }
    }

    /// Runs `journalctl` on it, with a person's own options; a boot's number is the timeline's. `dir` is empty, and gets the
    /// journal.
    pub fn read(&self, dir: &Path, options: &[String]) -> Result<ExitStatus, Error> {
        let options = self.with_boot_ids(options)?;
        let file = self.import(dir)?;
        let mut command = Command::new("journalctl");
        command.arg("--file").arg(&file).args(options);
        die_with_parent(&mut command).status().map_err(|source| Error::Start {
            program: "journalctl",
            package: "systemd",
            source,
        })
    }

    fn import(&self, dir: &Path) -> Result<PathBuf, Error> {
        let io = |what: String| move |source| Error::Io { what, source };
        let (export, journal) = (dir.join("export"), dir.join("trial.journal"));
        let written = || io(format!("write {}", export.display()));
        let mut file = File::options().read(true).write(true).create_new(true).open(&export).map_err(written())?;
        let mut to = io::BufWriter::new(&file);
        self.export(&mut to).and_then(|()| to.flush()).map_err(written())?;
        drop(to);
        file.rewind().map_err(written())?;
        let mut output = std::ffi::OsString::from("--output=");
        output.push(&journal);
        let mut command = Command::new(IMPORTER);
        command.arg(output).arg("-").stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = die_with_parent(&mut command).output().map_err(|source| Error::Start {
            program: IMPORTER,
            package: "systemd-journal-remote",
            source,
        })?;
        if output.status.success() && journal.is_file() {
            return Ok(journal);
        }
        Err(Error::Import { status: output.status, said: tail(&String::from_utf8_lossy(&output.stderr), 5) })
    }

    fn export(&self, to: &mut impl Write) -> io::Result<()> {
        for Placed { record, .. } in &self.records {
            for name in PLACES {
                writeln!(to, "{name}={}", record.field(name))?;
            }
            let others = record.fields.iter().filter(|(name, _)| !name.starts_with("__") && *name != "_BOOT_ID");
            for (name, value) in others {
                if value.contains('\n') {
                    // A line's end is no end of it then.
                    writeln!(to, "{name}")?;
                    to.write_all(&(value.len() as u64).to_le_bytes())?;
                    writeln!(to, "{value}")?;
                } else {
                    writeln!(to, "{name}={value}")?;
                }
            }
            writeln!(to)?;
        }
        Ok(())
    }

    /// The options with boot ids for the numbers of boots: journalctl counts the boots in the file, and goes by a clock that the
    /// guest may have set back.
    fn with_boot_ids(&self, options: &[String]) -> Result<Vec<String>, Error> {
        let mut translated = Vec::new();
        let mut rest = options.iter().peekable();
        while let Some(option) = rest.next() {
            if option == "--" {
                translated.push(option.clone());
                translated.extend(rest.cloned());
                break;
            }
            let named = option.strip_prefix("--boot").map(|value| (value, value.strip_prefix('=')));
            let wanted = match (named, option.strip_prefix("-b")) {
                (Some(("", _)), _) | (None, Some("")) => match rest.peek().filter(|next| is_boot(next)) {
                    Some(_) => rest.next().cloned().unwrap_or_default(),
                    None => "0".to_owned(),
                },
                (Some((_, Some(value))), _) | (None, Some(value)) => value.to_owned(),
                _ => {
                    translated.push(option.clone());
                    continue;
                }
            };
            translated.push(format!("--boot={}", self.boot_id(wanted)?));
        }
        Ok(translated)
    }

    /// The id of a boot by its number: from 1, or back from the last, which is 0.
    fn boot_id(&self, wanted: String) -> Result<String, Error> {
        let Ok(number) = wanted.parse::<i64>() else { return Ok(wanted) };
        let found = match u32::try_from(number) {
            Ok(number @ 1..) => self.boots.get(&number),
            _ => usize::try_from(number.unsigned_abs()).ok().and_then(|back| self.boots.values().rev().nth(back)),
        };
        found.cloned().ok_or_else(|| Error::Boot { wanted, known: self.boots.keys().copied().collect() })
    }
}

/// Whether a word after `-b` says which boot: a number, an id, or `all`.
fn is_boot(word: &str) -> bool {
    word == "all"
        || word.parse::<i64>().is_ok()
        || (word.len() >= 32 && word[..32].chars().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{Bus, MachineStarted, Qmp};

    const IDS: [&str; 2] = ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"];

    fn record(boot: usize, realtime: u64, mono: u64, fields: &[(&str, &str)]) -> What {
        let places = [
            ("__REALTIME_TIMESTAMP", realtime.to_string()),
            ("__MONOTONIC_TIMESTAMP", mono.to_string()),
            ("_BOOT_ID", IDS[boot - 1].to_owned()),
            ("__SEQNUM", "1".to_owned()),
        ];
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let fields = places.into_iter().chain(fields).map(|(name, value)| (name.to_owned(), value)).collect();
        What::Journal(JournalRecord { initramfs: false, fields })
    }

    /// The second boot's clock is behind the first's, and a record of the first comes late.
    fn journal() -> Journal {
        let bus = Bus::new(None);
        for what in [
            What::MachineStarted(MachineStarted::default()),
            record(
                1,
                1_700_000_002_000_000,
                2_000,
                &[("MESSAGE", "two"), ("_SYSTEMD_UNIT", "a.service"), ("PRIORITY", "3")],
            ),
            record(1, 1_700_000_001_000_000, 1_000, &[("MESSAGE", "one\nwith a = sign"), ("PRIORITY", "6")]),
            What::Qmp(Qmp { event: "RESET".into(), ..Qmp::default() }),
            record(2, 1_600_000_000_000_000, 500, &[("MESSAGE", "three"), ("_SYSTEMD_UNIT", "a.service")]),
        ] {
            bus.push(what);
        }
        Journal::of(&Timeline::from(bus.events()))
    }

    fn options(words: &[&str]) -> Result<Vec<String>, Error> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        journal().with_boot_ids(&words)
    }

    #[test]
    fn a_boot_s_number_is_the_timeline_s() {
        let second = format!("--boot={}", IDS[1]);
        for words in [&["-b", "2"][..], &["-b2"], &["--boot=2"], &["--boot", "2"], &["-b"], &["-b", "0"], &["--boot"]] {
            assert_eq!(options(words).expect("translated"), [second.as_str()], "{words:?}");
        }
        let first = format!("--boot={}", IDS[0]);
        assert_eq!(options(&["-b", "-1", "-u", "a"]).expect("translated"), [first.as_str(), "-u", "a"]);
        assert_eq!(options(&["-b", "all"]).expect("left"), ["--boot=all"]);
        assert_eq!(options(&["-b", "-u", "a"]).expect("translated"), [second.as_str(), "-u", "a"]);
        assert_eq!(options(&["--", "-b"]).expect("left"), ["--", "-b"]);
        assert_eq!(options(&["-o", "json"]).expect("left"), ["-o", "json"]);
        for wanted in ["3", "-2"] {
            let error = options(&["-b", wanted]).expect_err("no such boot").to_string();
            assert!(error.contains("2 boots (1, 2)"), "{error}");
        }
    }

    #[test]
    fn records_are_exported_in_their_order_and_none_is_cut() {
        let mut bytes = Vec::new();
        journal().export(&mut bytes).expect("written");
        let text = String::from_utf8_lossy(&bytes);
        let entries: Vec<&str> = text.trim_end().split("\n\n").collect();
        assert_eq!(entries.len(), 3, "{text}");
        assert!(entries[0].contains("MESSAGE\n\u{11}\0\0\0\0\0\0\0one\nwith a = sign\n"), "{text:?}");
        assert!(entries[1].contains("\nMESSAGE=two\n") && entries[2].contains("\nMESSAGE=three\n"), "{text}");
        assert!(!text.contains("__SEQNUM"), "{text}");
    }

    /// As a person reads it.
    #[test]
    fn journalctl_reads_what_was_recorded() {
        if !Path::new(IMPORTER).exists() {
            eprintln!("skipped: no {IMPORTER} (apt-get install systemd-journal-remote)");
            return;
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = journal().import(dir.path()).expect("a journal");
        let read = |words: &[&str]| {
            let words = options(words).expect("translated");
            let mut command = Command::new("journalctl");
            let output =
                command.arg("--file").arg(&file).args(["-o", "cat", "-q"]).args(words).output().expect("it runs");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert_eq!(read(&[]), "one\nwith a = sign\ntwo\nthree\n");
        assert_eq!(read(&["-b", "2"]), "three\n");
        assert_eq!(read(&["--boot=1", "-u", "a.service"]), "two\n");
        assert_eq!(read(&["-p", "err"]), "two\n");
    }
}
