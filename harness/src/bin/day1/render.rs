//! `day1 merge`: what the MCO makes of a pool's MachineConfigs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use day1_harness::mco::{self, MachineConfig, Pool};

use super::out;

#[derive(Args)]
#[command(after_long_help = "\
Give all MachineConfigs of the cluster: the pool takes those with its role, and a custom pool the workers' too.

Exit codes: 0 merged; 2 a file can't be read, or the MCO would refuse it.

Examples:
  day1 merge 00-worker.yaml 99-worker-driver.yaml
  day1 merge --pool infra --os-image quay.io/os:4.17 *.yaml
  day1 merge --pool infra --format ignition *.yaml >infra.ign")]
pub struct Merge {
    /// MachineConfigs in YAML or JSON, several documents a file if need be.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The MachineConfigPool.
    #[arg(long, value_name = "POOL", default_value = "worker")]
    pool: String,
    /// The image of the operating system that the cluster's release has.
    #[arg(long, value_name = "IMAGE")]
    os_image: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people, in YAML: files with their text.
    Text,
    /// The rendered MachineConfig, in JSON.
    MachineConfig,
    /// The Ignition config that a node boots, byte for byte.
    Ignition,
}

impl Merge {
    pub fn perform(self) -> ExitCode {
        let rendered = match self.render() {
            Ok(rendered) => rendered,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        };
        let text = match self.format {
            Format::Text => rendered.to_yaml().map_err(|error| error.to_string()),
            Format::MachineConfig => Ok(format!("{:#}\n", rendered.machine_config())),
            Format::Ignition => String::from_utf8(rendered.ignition_json).map_err(|error| error.to_string()),
        };
        out::report(text, ExitCode::SUCCESS)
    }

    fn render(&self) -> Result<mco::Rendered, mco::Error> {
        let mut configs = Vec::new();
        for file in &self.files {
            configs.extend(MachineConfig::read(file)?);
        }
        let pool = Pool::new(&self.pool);
        let pool = self.os_image.iter().fold(pool, |pool, image| pool.with_os_image(image));
        mco::render(&pool, &configs)
    }
}
