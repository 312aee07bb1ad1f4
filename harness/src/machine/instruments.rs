//! What the harness brings into the guest: units and a script, as systemd credentials over SMBIOS.
//!
//! The config under test stays byte-identical; systemd (256 or newer) reads the credentials in the
//! initramfs and in the real root, and makes the units from them
//! (<https://systemd.io/CREDENTIALS/>, `systemd-debug-generator(8)`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::delay::{self, Delay};

/// The virtio-serial ports, by the name that the guest sees.
pub(super) const JOURNAL_INITRAMFS: &str = "day1.journal-initramfs";
pub(super) const JOURNAL: &str = "day1.journal";
pub(super) const TRACE: &str = "day1.trace";
pub(super) const AGENT: &str = "day1.agent";
pub(super) const CLOCK: &str = "day1.clock";

const SCRIPT: &str = include_str!("guest/instruments.sh");

/// Where systemd puts the credentials of the whole system.
const SCRIPT_PATH: &str = "/run/credentials/@system/day1.instruments";

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
    fn unit(&self) -> String {
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
             ExecStart=/bin/sh {SCRIPT_PATH} {arguments}\n\
             StandardOutput=journal\n"
        )
    }
}

/// The SMBIOS type 11 strings that bring the instruments in, and the delays.
pub(super) fn smbios_strings(delays: &[Delay]) -> Vec<String> {
    let wants = INSTRUMENTS.iter().map(Instrument::unit_name).collect::<Vec<_>>().join(" ");
    let mut credentials = vec![
        ("day1.instruments".to_owned(), SCRIPT.to_owned()),
        ("systemd.unit-dropin.sysinit.target~day1".to_owned(), format!("[Unit]\nWants={wants}\n")),
    ];
    credentials.extend(INSTRUMENTS.iter().map(|one| (format!("systemd.extra-unit.{}", one.unit_name()), one.unit())));
    credentials.extend(delay::credentials(delays));
    credentials
        .into_iter()
        .map(|(name, content)| format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(content)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_runs_in_one_root_only_and_delays_nothing() {
        for one in &INSTRUMENTS {
            let unit = one.unit();
            assert_eq!(unit.contains("ConditionPathExists=!/etc/initrd-release"), !one.initramfs, "{unit}");
            assert!(!unit.contains("Before="), "{unit}");
        }
    }

    #[test]
    fn a_string_fits_into_an_smbios_structure() {
        for string in smbios_strings(&[]) {
            assert!(string.len() < 0xffff, "{} bytes", string.len());
        }
    }
}
