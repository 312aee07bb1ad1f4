//! Whether GitHub and Kubernetes would take the files: by their published schemas, which PyPI packages bring along.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{JOB, WORKFLOW};
use crate::command::run;

/// The validators, each at one version.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The oldest Kubernetes that has all of what the Job uses.
const KUBERNETES: &str = "1.33";

/// The command that validates a file.
type Validator<'v> = &'v dyn Fn(&Path) -> Command;

/// Validates both files, and shows that a wrong key in either would have been told.
pub fn validate(root: &Path) -> Result<()> {
    let programs = validators(root)?;
    let workflow = |file: &Path| {
        let mut command = Command::new(programs.join("check-jsonschema"));
        command.args(["--builtin-schema", "vendor.github-workflows"]).arg(file);
        command
    };
    let job = |file: &Path| {
        let mut command = Command::new(programs.join("kubernetes-validate"));
        command.args(["--strict", "--kubernetes-version", KUBERNETES]).arg(file);
        command
    };
    let validators: [(&str, Validator<'_>); 2] = [(WORKFLOW.0, &workflow), (JOB.0, &job)];
    for (file, validator) in validators {
        run(&mut validator(&root.join(file)))?;
        for (right, wrong) in MISTAKES.iter().filter(|(of, ..)| *of == file).map(|(_, right, wrong)| (right, wrong)) {
            refuses(&root.join(file), right, wrong, validator)?;
        }
    }
    Ok(())
}

/// Mistakes that a person makes: file, what is right, what is wrong.
const MISTAKES: [(&str, &str, &str); 4] = [
    (WORKFLOW.0, "timeout-minutes:", "timeout-minute:"),
    (WORKFLOW.0, "runs-on: ubuntu-24.04", "runs-on: 24"),
    (JOB.0, "backoffLimitPerIndex:", "backoffLimitPerIndexes:"),
    (JOB.0, "completionMode: Indexed", "completionMode: [Indexed]"),
];

/// A validator that lets a mistake pass validates nothing.
fn refuses(file: &Path, right: &str, wrong: &str, validator: Validator<'_>) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    if !text.contains(right) {
        bail!("{} has no {right:?}, which was to be mistaken for {wrong:?}", file.display());
    }
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let path = dir.path().join(file.file_name().unwrap_or_default());
    fs::write(&path, text.replacen(right, wrong, 1)).with_context(|| format!("cannot write {}", path.display()))?;
    let output = validator(&path).output().context("cannot start the validator")?;
    if output.status.success() {
        bail!("the schema of {} takes {wrong:?} in the place of {right:?}", file.display());
    }
    Ok(())
}

/// The directory of the validators' programs; they are installed below `target` where they are not yet.
fn validators(root: &Path) -> Result<PathBuf> {
    let dir = root.join("target/schemas");
    let installed = dir.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|there| there == REQUIREMENTS) {
        return Ok(dir.join("bin"));
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))
        .context("the validators need Python and its venv: apt-get install python3-venv")?;
    let wanted = dir.join("wanted.txt");
    fs::write(&wanted, REQUIREMENTS).with_context(|| format!("cannot write {}", wanted.display()))?;
    run(Command::new(dir.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&wanted))?;
    fs::rename(&wanted, &installed).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(dir.join("bin"))
}
