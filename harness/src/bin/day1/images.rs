//! `day1 images`: the node images that nodes boot from.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use day1_harness::cache::Cache;
use day1_harness::node::{
    self, Architecture, Catalogue, CoreosStream, Definition, DiskFile, Fingerprint, Import, Progress, Sha256Digest,
    Signature, Source,
};
use day1_harness::text::printable_lines;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::run::find_above;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 images list
  day1 images get fedora-coreos-stable
  day1 images import disk.qcow2 --name mine")]
pub struct Images {
    /// Directory with the node images' definitions [default: `vm-images`, here or above].
    #[arg(long, global = true, value_name = "DIR")]
    vm_images: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the node images that there are, and which of them are in the cache.
    #[command(after_long_help = "Examples:\n  day1 images list --json")]
    List {
        /// Print JSON: a list of objects with `name`, `kind`, `architecture`, `source`, `cached`, `release`, `disk`,
        /// `sizeBytes` and `kernels`.
        #[arg(long)]
        json: bool,
    },
    /// Bring node images into the cache: build or download them. A stream is asked for its current release.
    #[command(after_long_help = "Examples:\n  day1 images get debian-13 fedora-coreos-stable")]
    Get {
        /// Names of node images.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Build a node image from Debian packages anew, from today's packages.
    #[command(after_long_help = "Examples:\n  day1 images build debian-13")]
    Build {
        /// Name of a node image of the kind `debian`.
        name: String,
    },
    /// Remove node images from the cache; an imported one loses its name too.
    #[command(after_long_help = "Examples:\n  day1 images rm rhcos-mine")]
    Rm {
        /// Names of node images.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Give a node image of your own a name, and bring it into the cache.
    Import(Bring),
}

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 images import rhcos.qcow2.gz --name rhcos-mine
  day1 images import https://example.com/streams/stable.json --name mine --keys mine.asc \\
      --fingerprint 0123456789ABCDEF0123456789ABCDEF01234567")]
struct Bring {
    /// A disk's file, qcow2 or raw, compressed with xz, gzip or zstd or not; its checksum is pinned as it is now. Or the
    /// address of a stream's metadata, in the format of Fedora CoreOS.
    source: String,
    /// Its name from now on.
    #[arg(long)]
    name: String,
    /// The sha256 that the file must have.
    #[arg(long, value_name = "HEX", value_parser = Sha256Digest::new)]
    sha256: Option<Sha256Digest>,
    /// The processor that it is for: `x86_64` or `aarch64`.
    #[arg(long, value_name = "ARCH", default_value = "x86_64", value_parser = architecture)]
    architecture: Architecture,
    /// A stream's signing keys, armored.
    #[arg(long, value_name = "FILE", requires = "fingerprint")]
    keys: Option<PathBuf>,
    /// The fingerprint of one of the keys, whose signature counts (may be given several times).
    #[arg(long, value_name = "HEX", value_parser = Fingerprint::new, requires = "keys")]
    fingerprint: Vec<Fingerprint>,
    /// Take a stream's disk without a signature: only its checksum is compared.
    #[arg(long, conflicts_with = "keys")]
    unsigned: bool,
}

fn architecture(text: &str) -> Result<Architecture, String> {
    Architecture::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| "it is x86_64 or aarch64".into())
}

/// What a person is told of a failure, and the exit code.
struct Failure(String, u8);

impl From<node::Error> for Failure {
    fn from(error: node::Error) -> Self {
        Self(error.to_string(), if error.is_bad_input() { 2 } else { 3 })
    }
}

impl Images {
    pub fn perform(self, cache: Option<PathBuf>) -> ExitCode {
        match self.act(cache.as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure(message, code)) => {
                eprintln!("error: {}", printable_lines(&message));
                ExitCode::from(code)
            }
        }
    }

    fn act(self, cache: Option<&Path>) -> Result<(), Failure> {
        let bad = |message: String| Failure(message, 2);
        let vm_images = self.vm_images.map_or_else(|| find_above("vm-images"), Ok).map_err(bad)?;
        let cache = Cache::open(cache).map_err(|error| Failure(error.to_string(), 3))?;
        let imported = node::imported_dir(&cache);
        let catalogue = Catalogue::open(&vm_images, &cache).map_err(|error| bad(error.to_string()))?;
        let get = |name: &str| catalogue.get(name).map_err(|error| bad(error.to_string()));
        let progress = Shown::default();
        match self.action {
            Action::List { json } => list(&cache, &catalogue, json),
            Action::Get { names } => {
                let definitions = names.iter().map(|name| get(name)).collect::<Result<Vec<_>, _>>()?;
                for definition in definitions {
                    got(&cache, &node::update(&cache, definition, &progress)?)?;
                }
                Ok(())
            }
            Action::Build { name } => {
                let definition = get(&name)?;
                let Source::Debian(_) = definition.source else {
                    let kind = definition.source.kind();
                    return Err(bad(format!(
                        "{name} is of the kind {kind}, which is not built: `day1 images get {name}`"
                    )));
                };
                node::forget(&cache, definition)?;
                got(&cache, &node::ensure(&cache, definition, &progress)?)
            }
            Action::Rm { names } => {
                for definition in names.iter().map(|name| get(name)).collect::<Result<Vec<_>, _>>()? {
                    let name = &definition.name;
                    if definition.file.starts_with(&imported) {
                        node::remove_imported(&cache, definition)?;
                        say!("{name} is removed, and its name is free");
                    } else if node::forget(&cache, definition)? {
                        say!("{name} is removed; the next run that wants it makes it anew");
                    } else {
                        say!("{name} is not in the cache");
                    }
                }
                Ok(())
            }
            Action::Import(bring) => {
                if let Ok(own) = catalogue.get(&bring.name)
                    && !own.file.starts_with(&imported)
                {
                    let file = own.file.display();
                    return Err(bad(format!("the name {} can't be given to an image: {file} has it", bring.name)));
                }
                let disk = node::import(&cache, &bring.name, &bring.what()?, &progress)?;
                got(&cache, &disk)
            }
        }
    }
}

impl Bring {
    fn what(&self) -> Result<Import, Failure> {
        let bad = |message: String| Failure(message, 2);
        if self.source.starts_with("http://") || self.source.starts_with("https://") {
            if self.sha256.is_some() {
                return Err(bad("--sha256 is for a file; a stream has its own".into()));
            }
            let signature = match &self.keys {
                Some(keys) => Signature::Keys {
                    keys: keys
                        .canonicalize()
                        .map_err(|error| bad(format!("cannot find {}: {error}", keys.display())))?,
                    fingerprints: self.fingerprint.clone(),
                },
                None if self.unsigned => Signature::None,
                None => {
                    return Err(bad(
                        "who must have signed this stream's disks? Say --keys FILE and --fingerprint HEX, or --unsigned"
                            .into(),
                    ));
                }
            };
            return CoreosStream::new(&self.source, self.architecture, signature).map(Import::Stream).map_err(bad);
        }
        if self.keys.is_some() || self.unsigned {
            return Err(
                bad("--keys, --fingerprint and --unsigned are for streams; a file's checksum is pinned".into()),
            );
        }
        let file = DiskFile::pin(Path::new(&self.source), self.architecture)?;
        match &self.sha256 {
            Some(wanted) if *wanted != file.sha256 => Err(bad(format!(
                "{} has the sha256 {}, and {} is wanted: it was damaged on its way, or is another one",
                self.source,
                file.sha256.as_str(),
                wanted.as_str()
            ))),
            _ => Ok(Import::File(file)),
        }
    }
}

/// Tells what is there now.
fn got(cache: &Cache, disk: &node::BootDisk) -> Result<(), Failure> {
    let release = disk.release.as_ref().map(|release| format!(", release {release}")).unwrap_or_default();
    say!("{}{release}: {}", disk.name, disk.path.display());
    match node::known(cache, disk)? {
        Some(image) => {
            for kernel in image.facts.kernels {
                say!("  kernel {}", kernel.release);
            }
        }
        None => say!("  its kernels are found out when it boots first"),
    }
    Ok(())
}

/// One line of the list.
fn describe(cache: &Cache, definition: &Definition) -> Result<serde_json::Value, node::Error> {
    let disk = node::find(cache, definition)?;
    let known = disk.as_ref().map(|disk| node::known(cache, disk)).transpose()?.flatten();
    let (architecture, source) = match &definition.source {
        Source::Debian(debian) => {
            (debian.architecture, format!("{} {}", debian.mirror.as_str(), debian.suite.as_str()))
        }
        Source::CoreosStream(stream) => (stream.architecture, stream.stream.as_str().to_owned()),
        Source::File(file) => (file.architecture, file.path.display().to_string()),
    };
    let size = disk.as_ref().and_then(|disk| std::fs::metadata(&disk.path).ok()).map(|metadata| metadata.len());
    Ok(json!({
        "name": definition.name,
        "kind": definition.source.kind(),
        "architecture": architecture,
        "source": source,
        "cached": disk.is_some(),
        "release": disk.as_ref().and_then(|disk| disk.release.clone()),
        "disk": disk.as_ref().map(|disk| disk.path.display().to_string()),
        "sizeBytes": size,
        "kernels": known.map(|image| image.facts.kernels.into_iter().map(|one| one.release).collect::<Vec<_>>()),
    }))
}

fn list(cache: &Cache, catalogue: &Catalogue, as_json: bool) -> Result<(), Failure> {
    let all = catalogue.definitions().map(|one| describe(cache, one)).collect::<Result<Vec<_>, _>>()?;
    if as_json {
        say!("{:#}", serde_json::Value::from(all));
        return Ok(());
    }
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let width = all.iter().map(|one| text(&one["name"]).len()).max().unwrap_or(0);
    for one in &all {
        let there = match (&one["cached"], one["sizeBytes"].as_u64()) {
            (serde_json::Value::Bool(true), Some(size)) => format!("cached, {} MiB", size >> 20),
            _ => "not cached".to_owned(),
        };
        let release = one["release"].as_str().map(|release| format!(", release {release}")).unwrap_or_default();
        say!(
            "{:<width$}  {:<13}  {:<7}  {there}{release}  ({})",
            text(&one["name"]),
            text(&one["kind"]),
            text(&one["architecture"]),
            text(&one["source"])
        );
        for kernel in one["kernels"].as_array().into_iter().flatten() {
            say!("{:width$}  kernel {}", "", text(kernel));
        }
    }
    Ok(())
}

/// Steps as lines; bytes as a bar on a terminal, else as a line now and then.
#[derive(Default)]
struct Shown(Mutex<Transfer>);

#[derive(Default)]
struct Transfer {
    bar: Option<ProgressBar>,
    told: Option<Instant>,
}

/// Between two lines about a transfer, where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

impl Progress for Shown {
    fn step(&self, text: &str) {
        let mut transfer = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bar) = transfer.bar.take() {
            bar.finish_and_clear();
        }
        transfer.told = None;
        eprintln!("· {text}");
    }

    fn transferred(&self, bytes: u64, total: Option<u64>) {
        let mut transfer = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::io::stderr().is_terminal() {
            let bar = transfer.bar.get_or_insert_with(|| {
                let bar = ProgressBar::no_length();
                let template = "  {bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar
            });
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(bytes);
        } else if transfer.told.is_none_or(|told| told.elapsed() > EVERY) {
            transfer.told = Some(Instant::now());
            let of = total.map(|total| format!(" of {} MiB", total >> 20)).unwrap_or_default();
            eprintln!("  {} MiB{of}", bytes >> 20);
        }
    }
}
