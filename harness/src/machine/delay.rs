//! Units that take longer to start than they would.

use std::time::Duration;

use crate::timeline::delay_unit;

/// The directory in which systemd finds units that live until the next boot.
const RUNTIME: &str = "/run/systemd/system";

/// A unit that is held up before it starts: by another unit that it wants and waits for. Both enter beside the
/// config under test, so that its own files stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delay {
    /// The unit's name.
    pub unit: String,
    /// How long, in the guest's own time.
    pub by: Duration,
    /// The unit after which that time begins; none for as early as may be.
    pub after: Option<String>,
}

impl Delay {
    fn unit_text(&self) -> String {
        let Self { unit, by, after } = self;
        let after = after.as_ref().map(|after| format!("After={after}\n")).unwrap_or_default();
        format!(
            "[Unit]\n\
             Description=Hold up {unit}, as the test wants it\n\
             DefaultDependencies=no\n\
             ConditionPathExists=!/etc/initrd-release\n\
             {after}\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart=/bin/sleep {}\n",
            by.as_secs_f64()
        )
    }

    fn dropin_text(index: usize) -> String {
        let name = delay_unit(index);
        format!("[Unit]\nWants={name}\nAfter={name}\n")
    }
}

/// The credentials that bring the delays into each boot from power-on: name and content.
pub(super) fn credentials(delays: &[Delay]) -> Vec<(String, String)> {
    let each = delays.iter().enumerate().flat_map(|(index, delay)| {
        [
            (format!("systemd.extra-unit.{}", delay_unit(index)), delay.unit_text()),
            (format!("systemd.unit-dropin.{}~day1-{index}", delay.unit), Delay::dropin_text(index)),
        ]
    });
    each.collect()
}

/// The files that bring them into a boot that was forked in its initramfs, where the credentials are the template's.
pub(super) fn runtime_files(delays: &[Delay]) -> Vec<(String, String)> {
    files(RUNTIME, delays)
}

/// The same in a directory where systemd finds units.
pub(super) fn files(dir: &str, delays: &[Delay]) -> Vec<(String, String)> {
    let each = delays.iter().enumerate().flat_map(|(index, delay)| {
        [
            (format!("{dir}/{}", delay_unit(index)), delay.unit_text()),
            (format!("{dir}/{}.d/50-day1-{index}.conf", delay.unit), Delay::dropin_text(index)),
        ]
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delayed_unit_waits_for_one_that_runs_in_the_real_root_only() {
        let by = Duration::from_millis(1500);
        let delay = Delay { unit: "sysinit.target".into(), by, after: Some("local-fs.target".into()) };
        let files = runtime_files(std::slice::from_ref(&delay));
        assert_eq!(files[0].0, "/run/systemd/system/day1-delay-0.service");
        assert!(files[0].1.contains("ExecStart=/bin/sleep 1.5\n") && files[0].1.contains("After=local-fs.target\n"));
        assert!(files[0].1.contains("ConditionPathExists=!/etc/initrd-release\n"));
        assert_eq!(files[1].0, "/run/systemd/system/sysinit.target.d/50-day1-0.conf");
        assert!(files[1].1.contains("After=day1-delay-0.service"), "{}", files[1].1);
        let texts = |pairs: &[(String, String)]| pairs.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&credentials(&[delay])), texts(&files));
    }
}
