//! Building the Debian stand-in: the recipe's scripts make the tree and the disk inside namespaces of their
//! own, which vanish with all that is in them however the build ends; here the disk gets its boot sectors and
//! becomes a qcow2.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::super::{CACHE_KIND, DISK, Error, Facts, Kernel, Progress, write_facts};
use super::boot_sector::{self, SECTOR};
use super::{DIGEST, Debian, KernelArgument, KernelPackage, Package, host};
use crate::architecture::Architecture;
use crate::cache::{self, Cache};
use crate::process;

const PACKAGES: &str = "packages.txt";
const KERNELS: &str = "kernels.txt";
const RAW_DISK: &str = "disk.raw";
const LOG: &str = "build.log";

/// Where GRUB's core image lies: the BIOS boot partition of `disk.sh`.
const CORE_SECTOR: u64 = 2048;
const CORE_SECTORS: usize = 2048;

/// What precedes a step's text in the scripts' output.
const STEP: &str = "@step ";

/// Those of mmdebstrap's messages that tell a person something; between them lie tens of seconds.
const MESSAGES: [&str; 4] = ["running apt-get", "downloading", "extracting", "installing"];

/// The step that a line of output announces.
fn step_of(line: &str) -> Option<&str> {
    let message = || line.strip_prefix("I: ").filter(|text| MESSAGES.iter().any(|start| text.starts_with(start)));
    line.strip_prefix(STEP).or_else(message)
}

/// Fills the cache entry `dir`.
pub(in super::super) fn build(
    cache: &Cache,
    name: &str,
    debian: &Debian,
    key: &str,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let rootless = host::check(debian.architecture)?;
    // The programs of another processor's packages are emulated.
    let time = if debian.architecture.is_native() { "one to three minutes" } else { "ten to forty minutes" };
    progress.step(&format!("building node image {name} ({time}, once)"));
    let log = dir.join(LOG);
    let mut command = script(debian, dir, rootless);
    let outcome = run(&mut command, name, &log, progress)?;
    if !outcome.status.success() {
        return Err(failure(cache, name, key, &log, outcome));
    }
    if debian.architecture == Architecture::X86_64 {
        install_boot_loader(name, dir)?;
    }
    progress.step("converting the disk to qcow2");
    convert(name, dir)?;
    record(name, debian, key, dir)
}

/// The build script, in namespaces whose first process dies with this thread and takes everything along.
fn script(debian: &Debian, dir: &Path, rootless: bool) -> Command {
    let mut command = Command::new("unshare");
    if rootless {
        command.args(["--user", "--map-root-user", "--map-auto"]);
    }
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(debian.recipe.join("build.sh")).arg(dir);
    command.env("PATH", host::SEARCH_PATH).envs(variables(debian));
    command
}

fn variables(debian: &Debian) -> [(&'static str, String); 9] {
    let join = |words: &mut dyn Iterator<Item = &str>| words.collect::<Vec<_>>().join(" ");
    [
        ("DAY1_SUITE", debian.suite.as_str().to_owned()),
        ("DAY1_ARCHITECTURE", debian.architecture.debian_name().to_owned()),
        ("DAY1_MIRROR", debian.mirror.as_str().to_owned()),
        ("DAY1_KERNELS", join(&mut debian.kernels.iter().map(KernelPackage::as_str))),
        ("DAY1_PACKAGES", join(&mut debian.packages.iter().map(Package::as_str))),
        ("DAY1_ARGUMENTS", join(&mut debian.arguments.iter().map(KernelArgument::as_str))),
        ("DAY1_SIZE_MIB", debian.disk.size_mib.to_string()),
        ("DAY1_BOOT_MIB", debian.disk.boot_mib.to_string()),
        ("DAY1_ESP_MIB", debian.disk.esp_mib.to_string()),
    ]
}

struct Outcome {
    status: ExitStatus,
    step: String,
    output: String,
}

/// Runs the build to its end; its output goes to the log, its steps to the progress.
fn run(command: &mut Command, image: &str, log: &Path, progress: &dyn Progress) -> Result<Outcome, Error> {
    let program = |source| Error::Program { image: image.to_owned(), source };
    let mut file = File::create(log).map_err(Error::io("create", log))?;
    let start_error = |source| process::Error::Start { program: "unshare".to_owned(), source };
    let (reader, writer) = io::pipe().map_err(start_error).map_err(program)?;
    let errors = writer.try_clone().map_err(start_error).map_err(program)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(errors);
    let mut child = process::die_with_parent(command).spawn().map_err(start_error).map_err(program)?;
    // The command's own copies of the pipe's end would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut step = "starting".to_owned();
    let mut output = String::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.map_err(Error::io("read the build's output for", log))?;
        let line = String::from_utf8_lossy(&line);
        writeln!(file, "{line}").map_err(Error::io("write", log))?;
        if let Some(text) = step_of(&line) {
            step = text.to_owned();
            progress.step(text);
        } else {
            progress.line(&line);
        }
        output.push_str(&line);
        output.push('\n');
    }
    let status = child.wait().map_err(Error::io("wait for the build of", log))?;
    Ok(Outcome { status, step, output: process::tail(&output, 20) })
}

/// The error of a failed build. Its log is kept beside the entry, which is removed.
fn failure(cache: &Cache, name: &str, key: &str, log: &Path, outcome: Outcome) -> Error {
    let kept = cache.root().join(CACHE_KIND).join(format!("failed-{key}.log"));
    // Should this fail, the end of the log is in the error all the same.
    let _ = fs::rename(log, &kept);
    Error::Build {
        image: name.to_owned(),
        step: outcome.step,
        status: outcome.status,
        output: outcome.output,
        log: kept,
    }
}

/// GRUB for BIOS; for UEFI it is a file on the disk.
fn install_boot_loader(name: &str, dir: &Path) -> Result<(), Error> {
    let bad = |what: &'static str, problem: &dyn ToString| Error::Output {
        image: name.to_owned(),
        what,
        problem: problem.to_string(),
    };
    let disk = dir.join(RAW_DISK);
    let boot = take(&dir.join("boot.img"))?;
    let core = take(&dir.join("core.img"))?;
    let mut file = File::options().read(true).write(true).open(&disk).map_err(Error::io("open", &disk))?;
    let mut first = [0; SECTOR];
    file.read_exact(&mut first).map_err(Error::io("read", &disk))?;
    let first =
        boot_sector::first_sector(&boot, &first, CORE_SECTOR).map_err(|error| bad("GRUB's boot sector", &error))?;
    let core =
        boot_sector::core_image(&core, CORE_SECTOR, CORE_SECTORS).map_err(|error| bad("GRUB's core image", &error))?;
    let mut write = |at: u64, bytes: &[u8]| {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    };
    write(0, &first).and_then(|()| write(CORE_SECTOR * SECTOR as u64, &core)).map_err(Error::io("write", &disk))
}

/// Reads a file that only the build needs, and removes it.
fn take(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    fs::remove_file(path).map_err(Error::io("remove", path))?;
    Ok(bytes)
}

fn convert(name: &str, dir: &Path) -> Result<(), Error> {
    let (raw, disk) = (dir.join(RAW_DISK), dir.join(DISK));
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(&disk);
    process::output(&mut command).map_err(|source| Error::Program { image: name.to_owned(), source })?;
    fs::remove_file(&raw).map_err(Error::io("remove", &raw))?;
    // Nodes write to overlays; nothing may ever change the base under them.
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o444)).map_err(Error::io("protect", &disk))
}

/// Writes down what was built.
fn record(name: &str, debian: &Debian, key: &str, dir: &Path) -> Result<(), Error> {
    let read = |name: &str| {
        let path = dir.join(name);
        fs::read_to_string(&path).map_err(Error::io("read", &path))
    };
    let listed = read(KERNELS)?;
    let packages = read(PACKAGES)?;
    let kernels: Option<Vec<Kernel>> = listed.lines().map(kernel).collect();
    let kernels = kernels.filter(|kernels| kernels.len() == debian.kernels.len());
    let kernels = kernels.ok_or_else(|| Error::Output {
        image: name.to_owned(),
        what: KERNELS,
        problem: format!("it is not one `RELEASE SUITE` for each kernel of the definition: {listed:?}"),
    })?;
    // Two builds of the same packages differ in their file systems, and what was forked from a node of one must not go
    // on with the disk of the other.
    let digest = cache::key([key.as_bytes(), packages.as_bytes(), cache::file_digest(&dir.join(DISK))?.as_bytes()]);
    let path = dir.join(DIGEST);
    fs::write(&path, digest).map_err(Error::io("write", &path))?;
    let version = |package: &str| {
        let line = packages.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix(' '))?;
        Some((package.to_owned(), line.split(' ').next()?.to_owned()))
    };
    let facts = Facts {
        kernels,
        distribution: "debian".to_owned(),
        distribution_version: debian.suite.as_str().to_owned(),
        mirror: Some(debian.mirror.as_str().to_owned()),
        takes_boot_arguments: true,
        versions: ["systemd", "podman", "network-manager", "ignition"].into_iter().filter_map(version).collect(),
    };
    write_facts(dir, &facts)
}

/// A line of the build's list of kernels.
fn kernel(line: &str) -> Option<Kernel> {
    let (release, suite) = line.split_once(' ')?;
    Some(Kernel { release: release.to_owned(), suite: suite.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Mutex;

    use super::*;
    use crate::node::{Catalogue, Source};

    fn vm_images() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm-images")
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn step(&self, text: &str) {
            self.0.lock().expect("not poisoned").push(format!("step {text}"));
        }

        fn line(&self, text: &str) {
            self.0.lock().expect("not poisoned").push(format!("line {text}"));
        }
    }

    #[test]
    fn a_build_s_steps_are_heard_and_its_failure_is_told() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo @step one; echo two >&2; exit 3"]);
        let heard = Heard::default();
        let outcome = run(&mut command, "x", &log, &heard).expect("run");
        assert_eq!(outcome.status.code(), Some(3));
        assert_eq!(outcome.step, "one");
        assert_eq!(outcome.output, "@step one\ntwo");
        assert_eq!(*heard.0.lock().expect("not poisoned"), ["step one", "line two"]);
        assert_eq!(fs::read_to_string(&log).expect("log"), "@step one\ntwo\n");
    }

    #[test]
    fn steps_are_the_scripts_and_mmdebstrap_s() {
        assert_eq!(step_of("@step making the disk"), Some("making the disk"));
        assert_eq!(step_of("I: downloading packages with apt..."), Some("downloading packages with apt..."));
        assert_eq!(step_of("I: running --customize-hook in shell: x"), None);
        assert_eq!(step_of("making"), None);
    }

    #[test]
    fn the_scripts_of_the_recipe_pass_shellcheck() {
        if Command::new("shellcheck").arg("--version").output().is_err() {
            eprintln!("skipped: shellcheck is not installed (apt-get install shellcheck)");
            return;
        }
        let scripts = scripts(&vm_images().join("debian"));
        assert!(scripts.len() >= 6, "{scripts:?}");
        let output = Command::new("shellcheck").args(&scripts).output().expect("shellcheck runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// All files that begin with a shell's `#!`; each must be executable.
    fn scripts(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).expect("listed") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                found.extend(scripts(&path));
            } else if fs::read(&path).expect("read").starts_with(b"#!/bin/") {
                let mode = fs::metadata(&path).expect("metadata").permissions().mode();
                assert_eq!(mode & 0o111, 0o111, "{} is executable", path.display());
                found.push(path);
            }
        }
        found
    }

    #[test]
    fn every_variable_that_the_scripts_want_is_set() {
        let catalogue = Catalogue::load(&vm_images(), None).expect("catalogue");
        let Source::Debian(debian) = &catalogue.get("debian-13").expect("defined").source else { panic!("no Debian") };
        let set: Vec<_> = variables(debian).iter().map(|(name, _)| *name).collect();
        let mut wanted: Vec<String> = Vec::new();
        for script in scripts(&debian.recipe) {
            let text = fs::read_to_string(&script).expect("text");
            let names = text.split("DAY1_").skip(1);
            wanted.extend(names.map(|rest| rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect()));
        }
        assert!(!wanted.is_empty());
        for name in wanted {
            assert!(set.contains(&format!("DAY1_{name}").as_str()), "DAY1_{name}");
        }
    }
}
