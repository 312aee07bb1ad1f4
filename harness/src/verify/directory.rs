//! The files of a verification, in the directory of its run's results.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Error, FAMILY, Member, file};
use crate::kmod::TrustedKey;

/// What a verification leaves in its directory, beside the run's own results.
pub mod files {
    /// The scenarios, to be run again with `day1 run --scenarios`.
    pub const SCENARIOS: &str = "scenarios";
    /// The MachineConfig, as it was given, or as the generator made it.
    pub const MACHINE_CONFIG: &str = "machine-config.yaml";
    /// The report for a person.
    pub const REPORT: &str = "report.txt";
    /// The report for programs.
    pub const REPORT_JSON: &str = "report.json";
}

/// The file of a certificate, counted from 1.
pub(super) fn trusted_key(number: usize) -> String {
    format!("{TRUSTED}{number}.der")
}

/// How the names of such files begin.
const TRUSTED: &str = "trusted-";

/// The first line of each scenario that a verification writes.
const WRITTEN: &str = "# Written by `day1 verify`, which writes it anew: a changed copy belongs elsewhere.\n";

/// Refuses to remove anything but what an earlier verification wrote.
fn only_ours(scenarios: &Path) -> Result<(), Error> {
    let paths = |dir: &Path| -> Result<Vec<PathBuf>, Error> {
        match fs::read_dir(dir) {
            Ok(entries) => entries.map(|entry| Ok(entry.map_err(file(dir))?.path())).collect(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(file(dir)(error)),
        }
    };
    let own = scenarios.join(FAMILY);
    let foreign =
        paths(&own)?.into_iter().find(|path| !fs::read(path).is_ok_and(|text| text.starts_with(WRITTEN.as_bytes())));
    if let Some(path) = foreign {
        return Err(Error::Occupied(path));
    }
    for path in paths(scenarios)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.strip_prefix(TRUSTED).and_then(|rest| rest.strip_suffix(".der"));
        let is_key = number.is_some_and(|number| number.parse::<usize>().is_ok());
        let is_ours = path == own || own.is_dir() && (name == files::MACHINE_CONFIG || is_key);
        if !is_ours {
            return Err(Error::Occupied(path));
        }
    }
    Ok(())
}

/// Writes the scenarios, the MachineConfig and the certificates, in the place of those of an earlier verification.
pub(super) fn write(dir: &Path, config: &str, keys: &[TrustedKey], family: &[Member]) -> Result<(), Error> {
    let scenarios = dir.join(files::SCENARIOS);
    let own = scenarios.join(FAMILY);
    only_ours(&scenarios)?;
    if scenarios.exists() {
        fs::remove_dir_all(&scenarios).map_err(file(&scenarios))?;
    }
    fs::create_dir_all(&own).map_err(file(&own))?;
    let path = scenarios.join(files::MACHINE_CONFIG);
    fs::write(&path, config).map_err(file(&path))?;
    for (number, key) in (1..).zip(keys) {
        let path = scenarios.join(trusted_key(number));
        fs::write(&path, key.der()).map_err(file(&path))?;
    }
    for member in family {
        let path = own.join(format!("{}.yaml", member.name));
        let text =
            serde_yaml::to_string(&member.scenario).map_err(|error| file(&path)(std::io::Error::other(error)))?;
        fs::write(&path, format!("{WRITTEN}{text}")).map_err(file(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A directory that two verifications after one another have written to.
    fn verified() -> (tempfile::TempDir, Member) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let member = Member { name: "loads", proves: String::new(), scenario: json!({"description": "x"}) };
        for _ in 0..2 {
            write(dir.path(), "kind: MachineConfig\n", &[], std::slice::from_ref(&member)).expect("written");
        }
        (dir, member)
    }

    #[test]
    fn nothing_but_what_a_verification_wrote_is_removed() {
        for foreign in ["vendor/mine.yaml", "vendor/deeper/mine.yaml", "pull/mine.yaml", "mine.yaml"] {
            let (dir, member) = verified();
            let path = dir.path().join(files::SCENARIOS).join(foreign);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(&path, "description: mine\n").expect("written");
            let error = write(dir.path(), "", &[], &[member]).expect_err(foreign);
            assert!(matches!(error, Error::Occupied(_)), "{error}");
            assert!(path.exists(), "{foreign}");
        }
        let (dir, member) = verified();
        fs::remove_dir_all(dir.path().join(files::SCENARIOS).join(FAMILY)).expect("removed");
        let error = write(dir.path(), "", &[], &[member]).expect_err("a MachineConfig that may be anybody's");
        assert!(matches!(error, Error::Occupied(_)), "{error}");
    }
}
