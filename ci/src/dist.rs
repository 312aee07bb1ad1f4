//! What is handed out: an archive, and a Debian package.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, output, root, run};

/// The target whose C library can be linked statically without another toolchain.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Makes `target/dist/day1-VERSION-x86_64-linux.tar.gz`, the Debian package if it is wanted, and their checksums.
pub fn make(deb: bool) -> Result<()> {
    let dist = root().join("target/dist");
    let stage = dist.join("stage");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("cannot remove {}", dist.display()))?;
    }
    assemble(&build()?, &stage)?;
    try_out(&stage)?;
    let epoch = epoch()?;
    let version = env!("CARGO_PKG_VERSION");
    let archive = dist.join(format!("day1-{version}-x86_64-linux.tar.gz"));
    pack(&stage, &format!("day1-{version}"), &archive, &epoch)?;
    if deb {
        let mut package = cargo();
        package.args(["deb", "--package", "day1-harness", "--no-build", "--no-strip", "--target", TARGET, "--output"]);
        run(package.arg(&dist).env("SOURCE_DATE_EPOCH", &epoch))
            .context("the package needs cargo-deb: `cargo install cargo-deb --locked`")?;
    }
    let sums = "sha256sum -- day1* >SHA256SUMS && cat SHA256SUMS";
    run(Command::new("sh").args(["-c", sums]).current_dir(&dist))
}

/// The program, linked with everything that it needs.
fn build() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("there is no home directory")?;
    // Where it was built is nobody's business, and would be another one each time.
    let flags = format!(
        "-Ctarget-feature=+crt-static --remap-path-prefix={}=day1 --remap-path-prefix={}=cargo",
        root().display(),
        home.display()
    );
    let words = ["build", "--release", "--locked", "--package", "day1-harness", "--bin", "day1", "--target", TARGET];
    run(cargo().args(words).env("RUSTFLAGS", flags))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join(TARGET).join("release/day1"))
}

/// Puts everything into its place below `stage`, as it is found from `bin/day1`.
fn assemble(day1: &Path, stage: &Path) -> Result<()> {
    let share = stage.join("share");
    for dir in ["scenarios", "vm-images", "mutants"] {
        copy(&root().join(dir), &share.join("day1").join(dir))?;
    }
    for page in ["README.md", "LICENSE"] {
        copy(&root().join(page), &share.join("doc/day1").join(page))?;
    }
    let program = stage.join("bin/day1");
    copy(day1, &program)?;
    run(Command::new("strip").arg(&program))?;
    run(Command::new(&program).arg("man").arg(share.join("man/man1")))?;
    for (shell, path) in [
        ("bash", "bash-completion/completions/day1"),
        ("fish", "fish/vendor_completions.d/day1.fish"),
        ("zsh", "zsh/vendor-completions/_day1"),
    ] {
        let path = share.join(path);
        make_parent(&path)?;
        fs::write(&path, output(Command::new(&program).args(["completions", shell]))?)?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    let dir = path.parent().context("a path without a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// A file or a whole directory; what may be run stays so, and nothing else of its mode counts.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("cannot copy {} to {}", from.display(), to.display());
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(what)? {
            let entry = entry.with_context(what)?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    make_parent(to)?;
    fs::copy(from, to).with_context(what)?;
    let may_run = fs::metadata(from).with_context(what)?.permissions().mode() & 0o100 != 0;
    fs::set_permissions(to, fs::Permissions::from_mode(if may_run { 0o755 } else { 0o644 })).with_context(what)
}

/// It finds its scenarios by itself, wherever it is called.
fn try_out(stage: &Path) -> Result<()> {
    let mut list = Command::new(stage.join("bin/day1"));
    let words = ["run", "--list", "--node", "debian-13", "pull/pull-then-reboot"];
    let listed = output(list.args(words).current_dir("/").env_remove("DAY1_DATA"))?;
    ensure!(
        String::from_utf8_lossy(&listed).contains("pull/pull-then-reboot@debian-13: test"),
        "the assembled program does not find its scenarios: {}",
        String::from_utf8_lossy(&listed)
    );
    Ok(())
}

/// The time of all files: what `SOURCE_DATE_EPOCH` says, or the commit's.
fn epoch() -> Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let time = output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()))?;
    Ok(String::from_utf8_lossy(&time).trim().to_owned())
}

/// The same bytes for the same files: in order, of one time, of nobody.
fn pack(stage: &Path, name: &str, archive: &Path, epoch: &str) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]);
    // `--no-name` keeps gzip from writing a time.
    tar.args(["--use-compress-program=gzip --best --no-name", "--mode=go=rX,u+rw,a-s"]);
    tar.arg(format!("--mtime=@{epoch}")).arg(format!("--transform=s,^\\.,{name},"));
    run(tar.arg("--file").arg(archive).arg("--directory").arg(stage).arg("."))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::host;

    #[test]
    fn the_same_files_give_the_same_archive_whenever_they_were_made() {
        let dir = tempfile::tempdir().unwrap();
        let archive = |name: &str, order: [&str; 2]| {
            let stage = dir.path().join(name);
            for file in order {
                let path = stage.join(file);
                make_parent(&path).unwrap();
                fs::write(&path, file).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            let archive = dir.path().join(format!("{name}.tar.gz"));
            pack(&stage, "day1-1.2.3", &archive, "1700000000").unwrap();
            fs::read(archive).unwrap()
        };
        let first = archive("first", ["bin/day1", "share/b"]);
        assert_eq!(first, archive("second", ["share/b", "bin/day1"]));
        let list = output(Command::new("tar").args(["--list", "--file"]).arg(dir.path().join("first.tar.gz"))).unwrap();
        let list = String::from_utf8(list).unwrap();
        assert!(
            list.lines().all(|line| line.starts_with("day1-1.2.3/")) && list.contains("day1-1.2.3/bin/day1\n"),
            "{list}"
        );
    }

    #[test]
    fn what_may_be_run_stays_so() {
        let dir = tempfile::tempdir().unwrap();
        copy(&root().join("vm-images/debian"), dir.path()).unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("build.sh"), mode("packages")), (0o755, 0o644));
    }

    #[test]
    fn the_package_depends_on_each_tool_that_the_program_runs() {
        let manifest = fs::read_to_string(root().join("harness/Cargo.toml")).unwrap();
        let (_, section) = manifest.split_once("[package.metadata.deb]").unwrap();
        let (_, depends) = section.split_once("depends = \"").unwrap();
        let depends: BTreeSet<&str> = depends.split_once('"').unwrap().0.split(", ").collect();
        // One checks the scripts, in tests; the other is a part of every Debian.
        let is_needed = |package: &&str| !["shellcheck", "util-linux"].contains(package);
        let tools = host::tools().map(|(_, package)| package).filter(is_needed);
        assert_eq!(depends, tools.collect());
    }
}
