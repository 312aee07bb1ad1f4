//! The two units and the files of a Day-1 MachineConfig.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::Day1Config;

const LIBRARY: &str = include_str!("scripts/library.sh");
const LOAD: &str = include_str!("scripts/load.sh");
const PULL: &str = include_str!("scripts/pull.sh");

/// Time for the load unit to put the in-tree modules back, in seconds.
const ROLLBACK_TIME: u64 = 30;
/// How long the pull unit waits for the reboot that it asked for, in seconds. Above the MCO's 200 s for stopping
/// units.
const REBOOT_WAIT: u64 = 300;
/// Time for mounting and checking the pulled image and flushing it to the disk, in seconds.
const RECORD_TIME: u64 = 240;

/// A file of the MachineConfig.
pub(crate) struct NodeFile {
    pub(crate) path: String,
    pub(crate) mode: i64,
    pub(crate) contents: String,
}

/// Names on the node. All hold the MachineConfig's name, so that two MachineConfigs, even of different versions of
/// this generator, share nothing.
impl Day1Config {
    /// The unit that replaces the module before the network is configured.
    pub fn load_unit(&self) -> String {
        format!("{}-load-kernel-module.service", self.machine_config_name())
    }

    /// The unit that pulls the image and reboots.
    pub fn pull_unit(&self) -> String {
        format!("{}-pull-kernel-module-image.service", self.machine_config_name())
    }

    /// The script of the load unit.
    pub fn load_script_path(&self) -> String {
        format!("/usr/local/bin/{}-load-kernel-module.sh", self.machine_config_name())
    }

    /// The script of the pull unit.
    pub fn pull_script_path(&self) -> String {
        format!("/usr/local/bin/{}-pull-kernel-module-image.sh", self.machine_config_name())
    }

    /// What both scripts source.
    pub fn library_path(&self) -> String {
        format!("/usr/local/bin/{}-day1-library.sh", self.machine_config_name())
    }

    /// The parameters as the scripts read them.
    pub fn config_path(&self) -> String {
        format!("/etc/day1/{}/config", self.machine_config_name())
    }

    /// The count of reboots in a row without success; not there when the last load succeeded.
    pub fn reboot_counter_path(&self) -> String {
        format!("/etc/day1/{}/reboots", self.machine_config_name())
    }

    /// The image store and the records of verified images.
    pub fn state_directory(&self) -> String {
        format!("/var/lib/day1/{}", self.machine_config_name())
    }

    /// What lives until the next reboot.
    pub fn run_directory(&self) -> String {
        format!("/run/day1/{}", self.run_name())
    }

    /// The name below `/run/day1`: podman up to 5.0 refuses a runroot of more than 50 characters.
    fn run_name(&self) -> String {
        const MAX: usize = 50 - "/run/day1/".len() - "/store".len();
        let name = self.machine_config_name().as_str();
        if name.len() <= MAX {
            return name.to_owned();
        }
        let digest = Sha256::digest(name);
        let suffix: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{suffix}", &name[..MAX - suffix.len() - 1])
    }

    pub(crate) fn files(&self) -> Vec<NodeFile> {
        let script = |path, contents: &str| NodeFile { path, mode: 0o755, contents: contents.to_owned() };
        vec![
            NodeFile { path: self.config_path(), mode: 0o644, contents: self.shell_config() },
            script(self.library_path(), LIBRARY),
            script(self.load_script_path(), LOAD),
            script(self.pull_script_path(), PULL),
        ]
    }

    /// The parameters in bash. No value can hold a quote: see [`crate::names`].
    fn shell_config(&self) -> String {
        let mut text = format!("# Day-1 parameters of MachineConfig {}\n", self.machine_config_name());
        let firmware = self.firmware_files_path().map_or("", |path| path.as_str());
        for (key, value) in [
            ("MACHINE_CONFIG", self.machine_config_name().as_str()),
            ("LIBRARY", &self.library_path()),
            ("LOAD_UNIT", &self.load_unit()),
            ("PULL_UNIT", &self.pull_unit()),
            ("RUN_NAME", &self.run_name()),
            ("KERNEL_MODULE_IMAGE", self.kernel_module_image().as_str()),
            ("KERNEL_MODULE_NAME", self.kernel_module_name().as_str()),
            ("FIRMWARE_FILES_PATH", firmware.trim_end_matches('/')),
            ("PULL_SECRET_PATH", self.pull_secret_path().as_str()),
            ("REBOOT_LIMIT", &self.reboot_limit().to_string()),
            ("LOAD_TIMEOUT", &self.load_timeout().as_secs().to_string()),
            ("PULL_TIMEOUT", &self.pull_timeout().as_secs().to_string()),
            ("REBOOT_WAIT", &REBOOT_WAIT.to_string()),
        ] {
            writeln!(text, "{key}='{value}'").expect("writing to a string");
        }
        let modules: Vec<_> = self.in_tree_modules_to_remove().iter().map(|module| format!("'{module}'")).collect();
        writeln!(text, "IN_TREE_MODULES_TO_REMOVE=({})", modules.join(" ")).expect("writing to a string");
        text.push_str("declare -A IMAGE_PINS=(");
        for (kernel, version) in self.image_pins() {
            write!(text, "['{kernel}']='{version}' ").expect("writing to a string");
        }
        format!("{})\n", text.trim_end())
    }

    pub(crate) fn units(&self) -> [(String, String); 2] {
        [(self.load_unit(), self.load_unit_text()), (self.pull_unit(), self.pull_unit_text())]
    }

    fn load_unit_text(&self) -> String {
        let (script, config, state) = (self.load_script_path(), self.config_path(), self.state_directory());
        let timeout = self.load_timeout().as_secs() + ROLLBACK_TIME;
        format!(
            "\
[Unit]
Description=Load kernel module {module} before the network (Day-1, {name})
DefaultDependencies=no
# A passive target: without Wants= the ordering before it would be void.
Wants=network-pre.target
Before=network-pre.target NetworkManager.service
After=local-fs.target systemd-tmpfiles-setup.service systemd-modules-load.service systemd-udev-trigger.service
# Also for a /var that local-fs.target does not wait for (nofail, automount). /usr/local is in /var on CoreOS.
RequiresMountsFor=/usr/local/bin /var/usrlocal/bin /var/lib/firmware {state}
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec={timeout}
TimeoutStopSec=15
ExecCondition={script} condition {config}
ExecStart={script} load {config}
ExecStopPost=-{script} recover {config}

[Install]
WantedBy=multi-user.target
",
            module = self.kernel_module_name(),
            name = self.machine_config_name(),
        )
    }

    fn pull_unit_text(&self) -> String {
        // A whole round: pull, wait for another MachineConfig's pull, record, wait for the reboot.
        let timeout = 2 * self.pull_timeout().as_secs() + RECORD_TIME + REBOOT_WAIT;
        format!(
            "\
[Unit]
Description=Pull the image of kernel module {module} and reboot into it (Day-1, {name})
Wants=network-online.target
After=network-online.target {load_unit}
# The MCO's first boot rebases the operating system and reboots by itself.
After=machine-config-daemon-pull.service machine-config-daemon-firstboot.service
# No reboot under a kubelet that runs already.
Before=kubelet-dependencies.target kubelet.service crio.service
RequiresMountsFor=/usr/local/bin /var/usrlocal/bin {state}

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec={timeout}
EnvironmentFile=-/etc/mco/proxy.env
ExecStart={script} {config}

[Install]
WantedBy=multi-user.target
",
            module = self.kernel_module_name(),
            name = self.machine_config_name(),
            load_unit = self.load_unit(),
            state = self.state_directory(),
            script = self.pull_script_path(),
            config = self.config_path(),
        )
    }
}
