//! The file systems in a disk's partitions, read and changed without mounting them: by `debugfs`, which takes no
//! privileges.

use std::path::Path;
use std::process::Command;

use super::Error;
use crate::process;

/// Where e2fsprogs and fdisk have their programs; not in every user's `PATH`.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SECTOR: u64 = 512;

/// An ext4 file system in a partition.
pub(super) struct FileSystem<'d> {
    /// The directory of the disk, and of all files that are named.
    dir: &'d Path,
    /// As the programs of e2fsprogs take it.
    device: String,
}

impl<'d> FileSystem<'d> {
    /// That of the partition with a name.
    pub fn of_partition(dir: &'d Path, disk: &str, name: &str) -> Result<Self, Error> {
        let table = run(program(dir, "sfdisk").args(["--json", disk]))?;
        let table: serde_json::Value =
            serde_json::from_str(&table).map_err(|error| Error::Disk(format!("its partition table: {error}")))?;
        let partitions = table["partitiontable"]["partitions"].as_array().into_iter().flatten();
        let start = partitions.filter(|one| one["name"] == name).find_map(|one| one["start"].as_u64());
        let start = start.ok_or_else(|| Error::Disk(format!("it has no partition named {name}")))?;
        Ok(Self { dir, device: format!("{disk}?offset={}", start * SECTOR) })
    }

    /// Copies a file out of it.
    pub fn copy_out(&self, path: &str, to: &str) -> Result<(), Error> {
        self.debugfs(&[], &format!("dump \"{path}\" {to}\n"))?;
        self.is_there(path, to)
    }

    /// Copies a directory with all that is below it into another one.
    pub fn copy_tree_out(&self, path: &str, into: &str) -> Result<(), Error> {
        self.debugfs(&[], &format!("rdump \"{path}\" {into}\n"))?;
        let name = path.rsplit('/').next().unwrap_or(path);
        self.is_there(path, &format!("{into}/{name}"))
    }

    fn is_there(&self, path: &str, copy: &str) -> Result<(), Error> {
        match self.dir.join(copy).exists() {
            true => Ok(()),
            false => Err(Error::Disk(format!("it has no {path}"))),
        }
    }

    /// Changes it by commands of debugfs, and sees that it is sound afterwards.
    pub fn change(&self, commands: &str) -> Result<(), Error> {
        self.debugfs(&["-w"], commands)?;
        run(program(self.dir, "e2fsck").args(["-f", "-n", &self.device])).map(|_| ())
    }

    /// debugfs succeeds whatever its commands do, and tells of errors on its standard error.
    fn debugfs(&self, options: &[&str], commands: &str) -> Result<(), Error> {
        const COMMANDS: &str = "commands";
        let path = self.dir.join(COMMANDS);
        std::fs::write(&path, commands).map_err(Error::io("write", &path))?;
        let mut command = program(self.dir, "debugfs");
        command.args(options).args(["-f", COMMANDS, &self.device]);
        let start = |source| process::Error::Start { program: "debugfs".to_owned(), source };
        let output = process::die_with_parent(&mut command).output().map_err(start)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Its name and version come first. An ordinary user's copies are the user's own.
        let complaints = said
            .lines()
            .filter(|line| !line.starts_with("debugfs 1.") && !line.contains("while changing ownership of"));
        let complaints = complaints.collect::<Vec<_>>().join("\n");
        if output.status.success() && complaints.is_empty() {
            return Ok(());
        }
        let failed = process::Error::Failed {
            command: "debugfs".to_owned(),
            status: output.status,
            output: process::tail(&complaints, 20),
        };
        Err(failed.into())
    }
}

/// A program that runs in a directory.
pub(super) fn program(dir: &Path, name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(dir).env("PATH", SEARCH_PATH).env("LC_ALL", "C");
    command
}

pub(super) fn run(command: &mut Command) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&process::output(command)?).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A disk with one partition, `root`, whose file system has `/etc/name`; nothing on a host without e2fsprogs.
    fn disk(dir: &Path) -> Option<()> {
        let has = |name: &str| program(dir, name).arg("-V").output().is_ok();
        if !(has("mke2fs") && has("sfdisk")) {
            eprintln!("skipped: mke2fs or sfdisk is not installed");
            return None;
        }
        fs::create_dir_all(dir.join("tree/etc")).expect("created");
        fs::write(dir.join("tree/etc/name"), "node").expect("written");
        fs::File::create(dir.join("disk")).and_then(|file| file.set_len(8 << 20)).expect("created");
        let make = "echo 'label: gpt\nstart=2048, size=8192, name=root' | sfdisk --quiet disk && \
                    mke2fs -q -t ext4 -E offset=1048576 -d tree disk 4M";
        run(program(dir, "sh").args(["-c", make])).expect("a disk");
        Some(())
    }

    #[test]
    fn a_file_system_in_a_partition_is_read_and_changed_and_errors_are_told() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = dir.path();
        let Some(()) = disk(dir) else { return };
        assert!(
            FileSystem::of_partition(dir, "disk", "boot").is_err_and(|error| error.to_string().contains("named boot"))
        );
        let root = FileSystem::of_partition(dir, "disk", "root").expect("a partition");
        root.copy_tree_out("/etc", ".").expect("copied");
        assert_eq!(fs::read_to_string(dir.join("etc/name")).expect("read"), "node");
        fs::write(dir.join("new"), "other").expect("written");
        root.change("rm /etc/name\nwrite new /etc/name\n").expect("changed");
        root.copy_out("/etc/name", "out").expect("copied");
        assert_eq!(fs::read_to_string(dir.join("out")).expect("read"), "other");
        let told = root.copy_out("/etc/gone", "gone").expect_err("not there").to_string();
        assert!(told.contains("/etc/gone"), "{told}");
        let told = root.change("write absent /etc/absent\n").expect_err("no such file").to_string();
        assert!(told.contains("absent"), "{told}");
    }
}
