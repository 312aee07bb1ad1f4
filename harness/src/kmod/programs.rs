//! The programs of an image's base, taken from the build root with the libraries that they load.

use std::fs;
use std::path::Path;

use super::build::files_below;
use super::layer::{Entry, Files};
use super::pack::Base;
use super::{BuildRoot, Error, sandbox};

const SCRIPT: &str = include_str!("programs.sh");
/// What a shell script of a driver image finds.
const SHELL: &[&str] = &["sh", "cat", "cp", "grep", "ls", "mkdir", "rm", "sed", "sleep"];
/// What a worker needs beside it.
const WORKER: &[&str] = &["modprobe", "find", "uname"];
/// Who may run them: container engines look a user's name up in the image.
const USERS: [(&str, &str); 2] = [("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("/etc/group", "root:x:0:\n")];
/// As distributions have them today.
const LINKS: [(&str, &str); 4] =
    [("/bin", "usr/bin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64"), ("/sbin", "usr/bin")];

/// The files of a base; `beside` is a directory on the file system that may be written.
pub(super) fn of(build_root: &BuildRoot, beside: &Path, base: &Base) -> Result<Files, Error> {
    let (more, worker) = match base {
        Base::Scratch => return Ok(Files::new()),
        Base::Shell => (&[][..], None),
        Base::Worker(script) => (WORKER, Some(script)),
    };
    let stage = tempfile::Builder::new().prefix(".base-").tempdir_in(beside).map_err(Error::io("create", beside))?;
    let mut command = build_root.command(stage.path());
    command.args(["sh", "-c", SCRIPT, "programs.sh"]).args(SHELL.iter().chain(more));
    sandbox::run(command, &mut |_| ()).map_err(|error| Error::Content(format!("the programs of its base: {error}")))?;
    let mut files: Files =
        LINKS.iter().map(|(link, target)| ((*link).to_owned(), Entry::Link((*target).to_owned()))).collect();
    files.extend(USERS.map(|(path, text)| (path.to_owned(), Entry::File(text.into()))));
    for path in files_below(stage.path())? {
        let relative = path.strip_prefix(stage.path()).expect("it was found below it").to_string_lossy().into_owned();
        let contents = fs::read(&path).map_err(Error::io("read", &path))?;
        files.insert(format!("/usr/{relative}"), Entry::Program(contents));
    }
    if let Some(script) = worker {
        files.insert("/usr/local/bin/worker".to_owned(), Entry::Program(script.clone()));
    }
    Ok(files)
}
