//! `day1 inspect`: a driver image, checked without a VM.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use day1_generator::{AbsolutePath, KernelRelease, ModuleName};
use day1_harness::cache::Cache;
use day1_harness::inspect::{self, Inspection, KernelChoice, Limits, Request, Source};
use day1_harness::kmod::TrustedKey;
use day1_harness::text::printable_lines;

use super::out::report;

#[derive(Args)]
#[command(after_long_help = "\
IMAGE is a reference such as quay.io/vendor/driver:TAG, by digest, or without a tag, which is the kernel's then;
or oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:TAG]. Nothing of it is unpacked or run.

Exit codes: 0 no error (there may be warnings); 1 an error was found; 2 bad usage or bad input; 3 the registry failed.

Examples:
  day1 inspect quay.io/vendor/driver --kernel 6.12.48+deb13-amd64 --module nic --in-tree e1000
  day1 inspect oci:build/image --kernel-dir node/lib/modules/5.14.0-427.13.1.el9_4.x86_64")]
pub struct Inspect {
    /// The image.
    image: String,
    /// The nodes' kernel release; a node image in the cache tells of it.
    #[arg(long, value_name = "RELEASE", conflicts_with = "kernel_dir")]
    kernel: Option<KernelRelease>,
    /// A copy of the nodes' /lib/modules/RELEASE.
    #[arg(long, value_name = "DIR")]
    kernel_dir: Option<PathBuf>,
    /// The module that the nodes load [default: the only one in the image].
    #[arg(long, value_name = "NAME")]
    module: Option<ModuleName>,
    /// In-tree modules that are removed, in this order, by commas [default: the module's own name].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    in_tree: Option<Vec<String>>,
    /// Directory of the firmware inside the image.
    #[arg(long, value_name = "DIR")]
    firmware: Option<AbsolutePath>,
    /// The nodes' machine [default: as the kernel release says, or amd64].
    #[arg(long, value_name = "ARCH", value_parser = ["amd64", "arm64"])]
    arch: Option<String>,
    /// Certificate, PEM or DER, that the nodes trust for modules (may be given several times).
    #[arg(long, value_name = "CERT")]
    trusted_key: Vec<PathBuf>,
    /// Speak plain http to the registry; one on this machine needs no leave.
    #[arg(long)]
    insecure: bool,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub fn perform(self, cache: Option<&Path>) -> ExitCode {
        let json = self.json;
        let request = match self.request(cache) {
            Ok(request) => request,
            Err(message) => {
                eprintln!("error: {}", printable_lines(&message));
                return ExitCode::from(2);
            }
        };
        let inspection = match inspect::inspect(&request) {
            Ok(inspection) => inspection,
            Err(error) => {
                eprintln!("error: {}", printable_lines(&error.to_string()));
                return ExitCode::from(if error.is_ours() { 3 } else { 2 });
            }
        };
        let code = if inspection.is_good() { ExitCode::SUCCESS } else { ExitCode::from(1) };
        report(text(&inspection, json), code)
    }

    fn request(self, cache: Option<&Path>) -> Result<Request, String> {
        let image = Source::parse(&self.image, &|path| path.exists()).map_err(|error| error.to_string())?;
        Ok(Request {
            image,
            kernel: match (self.kernel, self.kernel_dir) {
                (_, Some(dir)) => KernelChoice::Directory(dir),
                (Some(release), None) => {
                    let cache = Cache::open(cache).map_err(|error| error.to_string())?;
                    KernelChoice::Release { release: release.to_string(), cache: Some(cache.root().to_owned()) }
                }
                (None, None) => KernelChoice::Unknown,
            },
            module: self.module.map(|name| name.to_string()),
            in_tree: self.in_tree.map(module_names).transpose()?,
            firmware: self.firmware.map(|path| path.to_string()),
            architecture: self.arch,
            trusted_keys: TrustedKey::read_all(&self.trusted_key).map_err(|error| error.to_string())?,
            insecure: self.insecure,
            limits: Limits::default(),
        })
    }
}

/// As `day1 generate` takes a list of modules to remove.
fn module_names(given: Vec<String>) -> Result<Vec<String>, String> {
    let mut names: Vec<ModuleName> = Vec::new();
    for name in given.iter().filter(|name| !name.is_empty()) {
        let name = name.parse::<ModuleName>().map_err(|error| error.to_string())?;
        let known = name.sysfs_name();
        if names.iter().any(|earlier| earlier.sysfs_name() == known) {
            return Err(format!(
                "--in-tree names {known:?} twice ('-' and '_' are the same to the kernel): list it once, after the modules that use it"
            ));
        }
        names.push(name);
    }
    Ok(names.iter().map(ToString::to_string).collect())
}

fn text(inspection: &Inspection, json: bool) -> serde_json::Result<String> {
    if json { Ok(serde_json::to_string_pretty(inspection)? + "\n") } else { Ok(inspect::describe(inspection)) }
}
