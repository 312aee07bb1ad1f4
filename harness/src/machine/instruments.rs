//! What the harness brings into the guest: units and a script.
//!
//! The config under test stays byte-identical. systemd (256 or newer) makes the units from credentials over SMBIOS, in
//! the initramfs and in the real root (<https://systemd.io/CREDENTIALS/>, `systemd-debug-generator(8)`). Where it is
//! older they are files of an Ignition config of their own, and see the real root only.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use serde_json::{Value, json};

use super::delay::{self, Delay};

/// The virtio-serial ports, by the name that the guest sees.
pub(super) const JOURNAL_INITRAMFS: &str = "day1.journal-initramfs";
pub(super) const JOURNAL: &str = "day1.journal";
pub(super) const TRACE: &str = "day1.trace";
pub(super) const AGENT: &str = "day1.agent";
pub(super) const CLOCK: &str = "day1.clock";

/// How many that are.
pub(super) const PORTS: u32 = 5;

const SCRIPT: &str = include_str!("guest/instruments.sh");

/// The script among the credentials of the whole system, where systemd puts them.
const CREDENTIAL_PATH: &str = "/run/credentials/@system/day1.instruments";
/// The script as a file of the node.
const FILE_PATH: &str = "/etc/day1/instruments.sh";
const UNITS: &str = "/etc/systemd/system";

/// How the instruments come into a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruments {
    /// Not at all.
    None,
    /// As systemd credentials.
    Credentials,
    /// As files of [`config`], which the guest must be given.
    Config,
}

/// The oldest systemd that makes units from credentials.
const UNITS_FROM_CREDENTIALS: u32 = 256;

impl Instruments {
    /// Those that fit a systemd, by its version such as `257.13-1`.
    pub fn for_systemd(version: &str) -> Self {
        let major = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse::<u32>().ok());
        match major {
            Some(major) if major < UNITS_FROM_CREDENTIALS => Self::Config,
            _ => Self::Credentials,
        }
    }
}

struct Instrument {
    name: &'static str,
    arguments: &'static [&'static str],
    initramfs: bool,
    oneshot: bool,
    /// What its unit waits for or depends on, in `[Unit]`.
    more: &'static str,
}

const INSTRUMENTS: [Instrument; 7] = [
    Instrument {
        name: "journal-initramfs",
        arguments: &["journal", JOURNAL_INITRAMFS],
        initramfs: true,
        oneshot: false,
        // journalctl can't follow a journal whose directory does not exist yet.
        more: "After=systemd-journald.service\n",
    },
    Instrument { name: "trace-initramfs", arguments: &["trace-on"], initramfs: true, oneshot: true, more: "" },
    Instrument { name: "clock", arguments: &["clock", CLOCK], initramfs: true, oneshot: false, more: "" },
    Instrument { name: "journal", arguments: &["journal", JOURNAL], initramfs: false, oneshot: false, more: "" },
    Instrument {
        name: "journal-moved",
        arguments: &["journal-again"],
        initramfs: false,
        oneshot: true,
        // A file system that is mounted over /var hides the directory that journalctl watches.
        more: "After=systemd-journal-flush.service\n\
               ConditionPathIsMountPoint=|/var\n\
               ConditionPathIsMountPoint=|/var/log\n\
               ConditionPathIsMountPoint=|/var/log/journal\n",
    },
    Instrument { name: "trace", arguments: &["trace", TRACE], initramfs: false, oneshot: false, more: "" },
    Instrument { name: "agent", arguments: &["agent", AGENT], initramfs: false, oneshot: false, more: "" },
];

impl Instrument {
    fn unit_name(&self) -> String {
        format!("day1-instrument-{}.service", self.name)
    }

    /// The unit delays nothing of the guest's: it only runs early. In the real root it stays through isolation
    /// and until the final kill at shutdown, so that the last records still come out; in the initramfs it ends
    /// when the root is switched, and the real root's stream brings what it missed.
    fn unit(&self, script: &str) -> String {
        let Self { name, arguments, initramfs, oneshot, more } = self;
        let arguments = arguments.join(" ");
        let condition = if *initramfs { "" } else { "!" };
        let stays = if *initramfs { "no" } else { "yes" };
        let kind = if *oneshot { "oneshot" } else { "simple" };
        format!(
            "[Unit]\n\
             Description=Instrument of the test harness: {name}\n\
             DefaultDependencies=no\n\
             IgnoreOnIsolate={stays}\n\
             ConditionPathExists={condition}/etc/initrd-release\n\
             {more}\
             [Service]\n\
             Type={kind}\n\
             ExecStart=/bin/sh {script} {arguments}\n\
             StandardOutput=journal\n"
        )
    }
}

/// The SMBIOS type 11 strings that bring the instruments in, and the delays, if that is how they come.
pub(super) fn smbios_strings(instruments: Instruments, delays: &[Delay]) -> Vec<String> {
    if instruments != Instruments::Credentials {
        return Vec::new();
    }
    let wants = INSTRUMENTS.iter().map(Instrument::unit_name).collect::<Vec<_>>().join(" ");
    let mut credentials = vec![
        ("day1.instruments".to_owned(), SCRIPT.to_owned()),
        ("systemd.unit-dropin.sysinit.target~day1".to_owned(), format!("[Unit]\nWants={wants}\n")),
    ];
    credentials.extend(
        INSTRUMENTS.iter().map(|one| (format!("systemd.extra-unit.{}", one.unit_name()), one.unit(CREDENTIAL_PATH))),
    );
    credentials.extend(delay::credentials(delays));
    credentials
        .into_iter()
        .map(|(name, content)| format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(content)))
        .collect()
}

/// The kernel's tracing must be on before anything loads a driver. Where it was not begun in the initramfs, udev waits for
/// it, some milliseconds.
const TRACE_ON: Instrument = Instrument {
    name: "trace-on",
    arguments: &["trace-on"],
    initramfs: false,
    oneshot: true,
    more: "Before=systemd-modules-load.service systemd-udev-trigger.service\n",
};

/// The Ignition config (spec 3.2.0) of [`Instruments::Config`], to be merged into the node's.
pub fn config(delays: &[Delay]) -> Value {
    let own = INSTRUMENTS.iter().filter(|one| !one.initramfs).chain([&TRACE_ON]);
    let mut wants = String::from("[Unit]\nWants=");
    let mut files = vec![(FILE_PATH.to_owned(), SCRIPT.to_owned())];
    for one in own {
        let _ = write!(wants, "{} ", one.unit_name());
        files.push((format!("{UNITS}/{}", one.unit_name()), one.unit(FILE_PATH)));
    }
    files.push((format!("{UNITS}/sysinit.target.d/50-day1.conf"), format!("{}\n", wants.trim_end())));
    files.extend(delay::files(UNITS, delays));
    let files = files.into_iter().map(|(path, text)| {
        let source = format!("data:;base64,{}", STANDARD.encode(text));
        json!({ "path": path, "mode": 0o644, "contents": { "source": source } })
    });
    json!({ "ignition": { "version": "3.2.0" }, "storage": { "files": files.collect::<Vec<_>>() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_runs_in_one_root_only_and_delays_nothing() {
        for one in &INSTRUMENTS {
            let unit = one.unit(CREDENTIAL_PATH);
            assert_eq!(unit.contains("ConditionPathExists=!/etc/initrd-release"), !one.initramfs, "{unit}");
            assert!(!unit.contains("Before="), "{unit}");
        }
    }

    #[test]
    fn an_old_systemd_gets_files() {
        let fitting =
            ["257.13-1~deb13u1", "256", "259.2", "255.4", "252-51.el9_6.2", "?"].map(Instruments::for_systemd);
        let (credentials, config) = (Instruments::Credentials, Instruments::Config);
        assert_eq!(fitting, [credentials, credentials, credentials, config, config, credentials]);
    }

    #[test]
    fn the_config_is_ignition_and_starts_each_unit_that_it_brings() {
        let delay = Delay { unit: "dbus.service".into(), ..Delay::default() };
        let text = config(&[delay]).to_string();
        ignition_config::Config::parse_str(&text).expect("valid Ignition");
        let config: Value = serde_json::from_str(&text).expect("JSON");
        let paths: Vec<&str> = config["storage"]["files"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|file| file["path"].as_str())
            .collect();
        let source = config["storage"]["files"].as_array().and_then(|files| {
            files.iter().find(|file| file["path"].as_str().is_some_and(|path| path.contains("sysinit.target.d")))
        });
        let source = source.and_then(|file| file["contents"]["source"].as_str()).expect("a drop-in");
        let wants = STANDARD.decode(source.trim_start_matches("data:;base64,")).expect("base64");
        let wants = String::from_utf8(wants).expect("text");
        for path in paths.iter().filter_map(|path| path.strip_prefix("/etc/systemd/system/day1-instrument-")) {
            assert!(wants.contains(path), "{path} in {wants}");
        }
        assert!(paths.contains(&"/etc/systemd/system/dbus.service.d/50-day1-0.conf"), "{paths:?}");
        assert!(!text.contains("clock"), "it is for forks only, and none is made");
    }

    #[test]
    fn a_string_fits_into_an_smbios_structure() {
        for string in smbios_strings(Instruments::Credentials, &[]) {
            assert!(string.len() < 0xffff, "{} bytes", string.len());
        }
    }
}
