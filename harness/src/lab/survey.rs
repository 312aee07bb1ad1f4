//! Asking a node image that was not built here what is in it: it is booted once, with a config of the harness's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Error;
use crate::cache::Cache;
use crate::machine::{self, Acceleration, Begins, Disk, Firmware, Instruments, Keeps, Machine, Spec, disk_name};
use crate::node::{self, BootDisk, Facts, Kernel, NodeImage};
use crate::process;
use crate::timeline::{Bus, What};

const SCRIPT: &str = include_str!("guest/survey.sh");
/// What the boot loader is asked to add to the kernel's arguments; the script looks for it.
const ARGUMENT: &str = "day1.survey";
/// The archive has a few MiB for each kernel.
const DISK_MIB: u64 = 256;
/// From power-on to power-off, at reference speed.
const DEADLINE: Duration = Duration::from_secs(240);

/// What is in an image; it is booted where the cache does not know.
///
/// It runs an event loop of its own: don't call it in one. The machine dies with this thread.
pub fn survey(
    cache: &Cache,
    disk: &BootDisk,
    acceleration: &Acceleration,
    scratch: &Path,
    tell: &dyn Fn(&str),
) -> Result<NodeImage, Error> {
    node::survey(cache, disk, |dir| {
        tell(&format!("booting {} once to see what is in it", disk.name));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Loop)?;
        runtime.block_on(ask(disk, acceleration, scratch, dir))
    })
}

async fn ask(disk: &BootDisk, acceleration: &Acceleration, scratch: &Path, dir: &Path) -> Result<Facts, Error> {
    let kept = tempfile::Builder::new().prefix("survey-").tempdir_in(scratch);
    let kept = kept.map_err(|source| Error::Write { path: scratch.to_owned(), source })?;
    let survey = Disk { serial: "survey".into(), size_mib: DISK_MIB, iops: None, bytes_per_second: None };
    let spec = Spec {
        name: format!("day1-survey-{}", disk.name),
        cpus: 2,
        memory_mib: 2048,
        architecture: disk.architecture,
        accel: acceleration.accel,
        firmware: Firmware::plain(disk.architecture).map_err(machine::Error::from)?,
        image: disk.path.clone(),
        begins: Begins::Fresh,
        keeps: Keeps::Disks(kept.path().to_owned()),
        disks: vec![survey],
        nics: Vec::new(),
        forwards: Vec::new(),
        boot_arguments: vec![ARGUMENT.to_owned()],
        ignition: Some(config()),
        instruments: Instruments::None,
        delays: Vec::new(),
        scratch: scratch.to_owned(),
    };
    let bus = Bus::new(None);
    let machine = Machine::start(&spec, &bus, None).await?;
    let mut last_line = String::new();
    let deadline = DEADLINE.mul_f64(acceleration.deadline_factor());
    let ended =
        machine.wait_for("end of the boot in which it tells what is in it", deadline, |event| match &event.what {
            What::Qmp(qmp) => (qmp.event == "SHUTDOWN").then_some(()),
            What::Console(console) => {
                last_line.clone_from(&console.line);
                None
            }
            _ => None,
        });
    let ended = ended.await;
    machine.stop().await;
    let failed = |why: String| Error::Survey { image: disk.name.clone(), why, last_line: last_line.clone() };
    ended.map_err(|error| failed(error.to_string()))?;
    let archive = kept.path().join("survey.tar");
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-f", "qcow2", "-O", "raw"]).arg(kept.path().join(disk_name(1))).arg(&archive);
    process::output(&mut convert)?;
    let told = unpack(&archive, dir).map_err(|error| failed(format!("what it told can't be read: {error}")))?;
    facts(&told).map_err(failed)
}

/// The config of that one boot: the script, and a unit that runs it and ends the machine, however the script ends.
fn config() -> Vec<u8> {
    let unit = "[Unit]\n\
                Description=Tell the test harness what is in this node image\n\
                FailureAction=poweroff-immediate\n\
                SuccessAction=poweroff-immediate\n\
                [Service]\n\
                Type=oneshot\n\
                ExecStart=/bin/sh -x /etc/day1-survey.sh\n\
                StandardOutput=journal+console\n\
                StandardError=journal+console\n\
                [Install]\n\
                WantedBy=multi-user.target\n";
    let source = format!("data:;base64,{}", STANDARD.encode(SCRIPT));
    let config = json!({
        "ignition": { "version": "3.0.0" },
        "storage": { "files": [{ "path": "/etc/day1-survey.sh", "mode": 0o755, "contents": { "source": source } }] },
        "systemd": { "units": [{ "name": "day1-survey.service", "enabled": true, "contents": unit }] },
    });
    config.to_string().into_bytes()
}

/// Unpacks the plain files of the archive, which a guest made that nobody vouches for; gives the text of `facts`.
fn unpack(archive: &Path, dir: &Path) -> std::io::Result<String> {
    let mut told = String::new();
    let mut archive = tar::Archive::new(fs::File::open(archive)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let plain: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let escapes = path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
        if escapes || !entry.header().entry_type().is_file() {
            continue;
        }
        if plain == Path::new("facts") {
            std::io::Read::read_to_string(&mut entry, &mut told)?;
            continue;
        }
        let to = dir.join(&plain);
        fs::create_dir_all(to.parent().unwrap_or(dir))?;
        std::io::copy(&mut entry, &mut fs::File::create(&to)?)?;
    }
    Ok(told)
}

/// Reads what the script told, `KEY VALUE` a line.
fn facts(told: &str) -> Result<Facts, String> {
    let values = |key: &str| -> Vec<&str> {
        told.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).collect()
    };
    let one = |key: &str| values(key).first().map(|value| (*value).to_owned());
    let suite = one("suite").unwrap_or_default();
    let kernels: Vec<Kernel> = values("kernel")
        .into_iter()
        .map(|release| Kernel { release: release.to_owned(), suite: suite.clone() })
        .collect();
    if kernels.is_empty() {
        return Err("it told nothing: the unit day1-survey.service failed or never ran".to_owned());
    }
    let versions: BTreeMap<String, String> = values("version")
        .into_iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(a, b)| (a.into(), b.into()))
        .collect();
    Ok(Facts {
        kernels,
        distribution: one("distribution").unwrap_or_default(),
        distribution_version: one("distribution_version").unwrap_or_default(),
        mirror: None,
        takes_boot_arguments: one("takes_boot_arguments").is_some(),
        versions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_told_becomes_its_facts() {
        let told = "kernel 6.12.1\nkernel 6.1.2\ndistribution fedora\ndistribution_version 42\nsuite \n\
                    version podman 5.4.2\nversion systemd 257\n";
        let read = facts(told).expect("facts");
        assert_eq!(read.kernels.iter().map(|one| one.release.as_str()).collect::<Vec<_>>(), ["6.12.1", "6.1.2"]);
        assert_eq!((read.distribution.as_str(), read.distribution_version.as_str()), ("fedora", "42"));
        assert_eq!(read.versions["podman"], "5.4.2");
        assert!(!read.takes_boot_arguments);
        assert!(facts(&format!("{told}takes_boot_arguments yes\n")).expect("facts").takes_boot_arguments);
        assert!(facts("").expect_err("nothing").contains("told nothing"));
    }

    #[test]
    fn a_guest_writes_into_no_other_directory() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let archive = dir.path().join("a.tar");
        let mut builder = tar::Builder::new(fs::File::create(&archive).expect("created"));
        let mut add = |path: &str, kind: tar::EntryType| {
            let mut header = tar::Header::new_gnu();
            let name = &mut header.as_gnu_mut().expect("a GNU header").name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(kind);
            header.set_size(1);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, b"x".as_slice()).expect("added");
        };
        add("./kernels/6.1/config", tar::EntryType::Regular);
        add("../outside", tar::EntryType::Regular);
        add("/kernels/absolute", tar::EntryType::Regular);
        add("kernels/link", tar::EntryType::Symlink);
        add("facts", tar::EntryType::Regular);
        builder.finish().expect("finished");
        let to = dir.path().join("to");
        fs::create_dir(&to).expect("created");
        assert_eq!(unpack(&archive, &to).expect("unpacked"), "x");
        assert!(to.join("kernels/6.1/config").is_file());
        assert!(!dir.path().join("outside").exists() && !to.join("outside").exists());
        assert!(!to.join("kernels/absolute").exists() && !to.join("kernels/link").exists());
    }

    #[test]
    fn the_script_passes_shellcheck() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lab/guest/survey.sh");
        if Command::new("shellcheck").arg("--version").output().is_err() {
            eprintln!("skipped: shellcheck is not installed");
            return;
        }
        process::output(Command::new("shellcheck").arg(path)).expect("a clean script");
    }
}
