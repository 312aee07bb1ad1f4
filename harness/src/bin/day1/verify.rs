//! `day1 verify`: a verdict on a vendor's driver.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use day1_generator::{AbsolutePath, ModuleName};
use day1_harness::inspect::Source;
use day1_harness::kmod::TrustedKey;
use day1_harness::runner::{self, Options};
use day1_harness::services::registry;
use day1_harness::text::printable_lines;
use day1_harness::toolkit::DriverToolkit;
use day1_harness::verify::{self, Request};

use super::out::report;
use super::run::{at_least_one, find_above};

#[derive(Args)]
#[command(after_long_help = "\
IMAGE is read and, if nothing is wrong with it, loaded the Day-1 way in real machines: by a MachineConfig of yours as it
is, or by a generated one. The report says what was proven, by which evidence, and what was not tested.

Exit codes: 0 everything passed; 1 something is wrong with the driver; 2 bad usage or bad input; 3 the harness's own
side failed or evidence is missing.

Examples:
  day1 verify --image quay.io/vendor/driver --module nic --in-tree e1000
  day1 verify --image oci:build/image --module nic --machine-config 99-worker-nic.yaml --node debian-13-kernels --kernel all")]
pub struct Verify {
    /// The driver image: quay.io/vendor/driver (the tag is each kernel's), with a tag or a digest, oci:DIR[:TAG],
    /// oci-archive:FILE[:TAG] or docker-archive:FILE[:TAG].
    #[arg(long)]
    image: String,
    /// The module that the nodes load.
    #[arg(long, value_name = "NAME")]
    module: ModuleName,
    /// In-tree modules that are removed, in this order, by commas [default: the module's own name].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    in_tree: Option<Vec<ModuleName>>,
    /// Directory of the firmware inside the image.
    #[arg(long, value_name = "DIR")]
    firmware: Option<AbsolutePath>,
    /// The MachineConfig that loads it, taken as it is [default: a generated one].
    #[arg(long, value_name = "FILE")]
    machine_config: Option<PathBuf>,
    /// Certificate, PEM or DER, that the nodes trust for modules (may be given several times).
    #[arg(long, value_name = "CERT")]
    trusted_key: Vec<PathBuf>,
    /// Verify on this node image (may be given several times); `day1 images list` shows all [default: as for `day1 run`].
    #[arg(long, value_name = "IMAGE")]
    node: Vec<String>,
    /// Verify for this kernel of the node images, by its release, or for `all` (may be given several times) [default: the
    /// one that each node image boots].
    #[arg(long, value_name = "RELEASE")]
    kernel: Vec<String>,
    /// The registry behind the gateway: `embedded`, or `container[=IMAGE]`.
    #[arg(long, value_name = "REGISTRY", default_value = "embedded")]
    registry: registry::Backend,
    /// What modules for a CoreOS kernel are built with, where a scenario of the family takes modules of its own: as for
    /// `day1 run`.
    #[arg(long, value_name = "IMAGE|FILE.tar", env = "DAY1_DRIVER_TOOLKIT")]
    driver_toolkit: Option<DriverToolkit>,
    /// How many machines at once, if the host's memory allows [default: as many as its cores carry].
    #[arg(long, value_name = "N", env = "DAY1_JOBS", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Where the report, the scenarios and all that was seen go.
    #[arg(long, value_name = "DIR", default_value = "target/day1-verify")]
    results: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Directory with the node images' definitions [default: `vm-images`, here or above].
    #[arg(long, value_name = "DIR")]
    vm_images: Option<PathBuf>,
}

impl Verify {
    pub fn perform(self, cache: Option<PathBuf>) -> ExitCode {
        let json = self.json;
        let request = match self.request(cache) {
            Ok(request) => request,
            Err(message) => {
                eprintln!("error: {}", printable_lines(&message));
                return ExitCode::from(2);
            }
        };
        let verification = match verify::verify(&request, &|step| eprintln!("· {step}")) {
            Ok(verification) => verification,
            Err(error) => {
                eprintln!("error: {}", printable_lines(&error.to_string()));
                return ExitCode::from(error.exit_code());
            }
        };
        let text = if json { serde_json::to_string_pretty(&verification) } else { Ok(verify::describe(&verification)) };
        eprintln!("report in {}", request.run.results.join(verify::files::REPORT).display());
        report(text.map(|text| text + "\n"), ExitCode::from(verification.exit_code()))
    }

    fn request(self, cache: Option<PathBuf>) -> Result<Request, String> {
        let name = |name: &ModuleName| name.to_string().replace('-', "_");
        let image = Source::parse(&self.image, &|path| path.exists()).map_err(|error| error.to_string())?;
        let here = std::env::current_dir().map_err(|error| format!("cannot tell the current directory: {error}"))?;
        let results = std::path::absolute(&self.results).map_err(|error| error.to_string())?;
        let vm_images = self.vm_images.map_or_else(|| find_above("vm-images"), Ok)?;
        let trusted_keys = TrustedKey::read_all(&self.trusted_key).map_err(|error| error.to_string())?;
        let nodes = runner::nodes(self.node, &vm_images, cache.as_deref(), self.driver_toolkit.as_ref());
        Ok(Request {
            image: image.beside(&here),
            module: name(&self.module),
            in_tree: self.in_tree.map(|names| names.iter().map(name).collect()),
            firmware: self.firmware.map(|path| path.to_string()),
            machine_config: self.machine_config,
            trusted_keys,
            run: Options {
                scenarios: results.join(verify::files::SCENARIOS),
                vm_images,
                nodes,
                kernels: self.kernel,
                filters: Vec::new(),
                label: None,
                all: true,
                mutants: None,
                machine_config: None,
                partition: None,
                start: None,
                retries: 0,
                flaky_ok: false,
                snoozes: None,
                keep: runner::Keep::Never,
                break_at: None,
                registry: self.registry,
                driver_toolkit: self.driver_toolkit,
                jobs: self.jobs,
                results,
                cache,
                day1: own_program()?,
            },
            quiet: self.json,
        })
    }
}

fn own_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find this program's own file: {error}"))
}
