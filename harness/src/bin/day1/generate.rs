//! `day1 generate`: the MachineConfig, from flags or from a BootModuleConfig.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use day1_generator::{BootModuleConfig, Day1Config, Error};

use super::out::print;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 generate --machine-config 99-nic --machine-config-pool worker --image quay.io/vendor/driver --kernel-module nic
  day1 generate -f boot-module-config.yaml
  day1 generate -f boot-module-config.yaml --node-disruption-policy")]
pub struct Generate {
    /// Read the parameters from a BootModuleConfig.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["machine_config", "machine_config_pool", "image", "kernel_module"])]
    file: Option<PathBuf>,
    /// Name of the MachineConfig.
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    machine_config: Option<String>,
    /// Name of the MachineConfigPool.
    #[arg(long, value_name = "POOL", required_unless_present = "file")]
    machine_config_pool: Option<String>,
    /// Repository of the driver image, without a tag: each node pulls the tag of its kernel.
    #[arg(long, value_name = "REPOSITORY", required_unless_present = "file")]
    image: Option<String>,
    /// Name of the out-of-tree module.
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    kernel_module: Option<String>,
    #[command(flatten)]
    more: More,
    /// Print the policy instead by which a change of the image needs no reboot (OpenShift 4.17 and later): a
    /// MachineConfiguration, whose nodeDisruptionPolicy goes beside what the cluster's has.
    #[arg(long)]
    node_disruption_policy: bool,
    /// Write here instead of to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args)]
struct More {
    /// In-tree modules to remove, in this order, by commas [default: the module's own name].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "file")]
    in_tree_modules_to_remove: Option<Vec<String>>,
    /// Directory of the firmware inside the image.
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    firmware_files_path: Option<String>,
    /// Pull secret on the node [default: /var/lib/kubelet/config.json].
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pull_secret_path: Option<String>,
    /// Reboots in a row that may be made to get the module loaded [default: 3].
    #[arg(long, value_name = "N", conflicts_with = "file")]
    reboot_limit: Option<u64>,
    /// Seconds that the load may hold up the boot [default: 90].
    #[arg(long, value_name = "SECONDS", conflicts_with = "file")]
    load_timeout: Option<u64>,
    /// Seconds that the pull may take with all its attempts [default: 600].
    #[arg(long, value_name = "SECONDS", conflicts_with = "file")]
    pull_timeout: Option<u64>,
    /// Another tag for the nodes with one kernel release (may be given several times).
    #[arg(long, value_name = "KERNEL=TAG", value_parser = pair, conflicts_with = "file")]
    tag: Vec<(String, String)>,
    /// Pin the image of the nodes with one kernel release (may be given several times).
    #[arg(long, value_name = "KERNEL=sha256:…", value_parser = pair, conflicts_with = "file")]
    digest: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (kernel, value) = text.split_once('=').ok_or("write KERNEL=VALUE, such as 6.12.48+deb13-amd64=v1.2")?;
    Ok((kernel.to_owned(), value.to_owned()))
}

impl Generate {
    pub fn perform(self) -> ExitCode {
        let output = self.output.clone();
        let text = match self.text() {
            Ok(text) => text,
            Err(message) => {
                eprintln!("error: {message}");
                return ExitCode::from(2);
            }
        };
        let Some(path) = &output else { return print(&text, ExitCode::SUCCESS) };
        match std::fs::write(path, text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: cannot write {}: {error}", path.display());
                ExitCode::from(2)
            }
        }
    }

    fn text(self) -> Result<String, String> {
        let policy = self.node_disruption_policy;
        let config = match &self.file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                let read =
                    BootModuleConfig::from_yaml(&text).map_err(|error| format!("{}: {error}", path.display()))?;
                for warning in &read.warnings {
                    eprintln!("warning: {}: {warning}", path.display());
                }
                read.config
            }
            None => self.config_of_flags().map_err(|error| error.to_string())?,
        };
        let text = if policy { config.to_machine_configuration() } else { config.to_machine_config() };
        text.map_err(|error| error.to_string())
    }

    fn config_of_flags(self) -> Result<Day1Config, Error> {
        let text = Option::unwrap_or_default;
        let mut builder = Day1Config::builder(
            text(self.machine_config),
            text(self.machine_config_pool),
            text(self.image),
            text(self.kernel_module),
        );
        let more = self.more;
        if let Some(modules) = more.in_tree_modules_to_remove {
            builder = builder.in_tree_modules_to_remove(modules.into_iter().filter(|name| !name.is_empty()));
        }
        if let Some(path) = more.firmware_files_path {
            builder = builder.firmware_files_path(path);
        }
        if let Some(path) = more.pull_secret_path {
            builder = builder.pull_secret_path(path);
        }
        if let Some(limit) = more.reboot_limit {
            builder = builder.reboot_limit(limit);
        }
        if let Some(seconds) = more.load_timeout {
            builder = builder.load_timeout(Duration::from_secs(seconds));
        }
        if let Some(seconds) = more.pull_timeout {
            builder = builder.pull_timeout(Duration::from_secs(seconds));
        }
        for (kernel, tag) in more.tag {
            builder = builder.tag(kernel, tag);
        }
        for (kernel, digest) in more.digest {
            builder = builder.digest(kernel, digest);
        }
        builder.build()
    }
}
