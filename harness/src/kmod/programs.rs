//! The programs of an image's base, taken from the build root with the libraries that they load.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::fcntl::OFlag;
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

use super::layer::{Entry, Files};
use super::pack::Base;
use super::{BuildRoot, Error};
use crate::within;

/// What a shell script of a driver image finds.
const SHELL: &[&str] = &["sh", "cat", "cp", "grep", "ls", "mkdir", "rm", "sed", "sleep"];
/// What a worker needs beside it.
const WORKER: &[&str] = &["modprobe", "find", "uname"];
/// Who may run them: container engines look a user's name up in the image.
const USERS: [(&str, &str); 2] = [("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("/etc/group", "root:x:0:\n")];
/// As distributions have them today.
const LINKS: [(&str, &str); 4] =
    [("/bin", "usr/bin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64"), ("/sbin", "usr/bin")];

/// Where a tree has its programs.
const PROGRAMS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// The files of a base.
pub(super) fn of(build_root: &BuildRoot, base: &Base) -> Result<Files, Error> {
    let (more, worker) = match base {
        Base::Scratch => return Ok(Files::new()),
        Base::Shell => (&[][..], None),
        Base::Worker(script) => (WORKER, Some(script)),
    };
    let tree = Tree { root: &build_root.programs, libraries: build_root.architecture.gnu_name() };
    let mut files: Files =
        LINKS.iter().map(|(link, target)| ((*link).to_owned(), Entry::Link((*target).to_owned()))).collect();
    files.extend(USERS.map(|(path, text)| (path.to_owned(), Entry::File(text.into()))));
    files.extend(tree.programs(SHELL.iter().chain(more))?);
    if let Some(script) = worker {
        files.insert("/usr/local/bin/worker".to_owned(), Entry::Program(script.clone()));
    }
    Ok(files)
}

/// The unpacked packages of a distribution; nothing in it is executed, it may be for another processor.
struct Tree<'t> {
    root: &'t Path,
    /// The directory of its libraries below `lib`.
    libraries: &'t str,
}

impl Tree<'_> {
    /// Programs by name, with all that they load.
    fn programs<'n>(&self, names: impl Iterator<Item = &'n &'n str>) -> Result<Files, Error> {
        let mut files = Files::new();
        let mut wanted = BTreeSet::new();
        let mut add = |at: String, contents: Vec<u8>, wanted: &mut BTreeSet<String>| {
            let loads = Loads::of(&contents).map_err(|error| Error::Content(format!("{at} of its base: {error}")))?;
            wanted.extend(loads.libraries);
            files.insert(at, Entry::Program(contents));
            Ok::<_, Error>(loads.interpreter)
        };
        let mut scripts = Files::new();
        for name in names {
            let mut name = (*name).to_owned();
            let mut contents = self.read(&PROGRAMS, &name)?;
            // Where coreutils is a single program, as in RHEL's images, each of its names is a script for it.
            if let Some(program) = program_of(&contents) {
                scripts.insert(format!("/usr/bin/{name}"), Entry::Program(contents));
                contents = self.read(&PROGRAMS, &program)?;
                name = program;
            }
            // What loads the libraries is named by its path, which is a link's into /usr.
            if let Some(interpreter) = add(format!("/usr/bin/{name}"), contents, &mut wanted)? {
                let contents = self.read(&["."], interpreter.trim_start_matches('/'))?;
                add(format!("/usr{interpreter}"), contents, &mut wanted)?;
            }
        }
        let debian = ["usr/lib", "lib"].map(|dir| format!("{dir}/{}", self.libraries));
        let mut done = BTreeSet::new();
        while let Some(name) = wanted.pop_first() {
            if !done.insert(name.clone()) {
                continue;
            }
            // Fedora's loader looks there only, and Debian's in /usr/lib too.
            match self.read(&["usr/lib64"], &name) {
                Ok(contents) => add(format!("/usr/lib64/{name}"), contents, &mut wanted)?,
                Err(_) => add(
                    format!("/usr/lib/{name}"),
                    self.read(&debian.each_ref().map(String::as_str), &name)?,
                    &mut wanted,
                )?,
            };
        }
        files.extend(scripts);
        Ok(files)
    }

    /// A file of the tree, in the first of the directories that has it.
    fn read(&self, directories: &[&str], name: &str) -> Result<Vec<u8>, Error> {
        let root = File::open(self.root).map_err(Error::io("open", self.root))?;
        let mut files = directories
            .iter()
            .filter_map(|dir| within::open(&root, &Path::new(dir).join(name), OFlag::O_RDONLY).ok().map(File::from));
        let mut file = files.next().ok_or_else(|| {
            let within = self.root.display();
            Error::Content(format!("{name} of its base is in none of {} of {within}", directories.join(", ")))
        })?;
        let mut contents = Vec::new();
        file.read_to_end(&mut contents).map_err(Error::io("read", &self.root.join(name)))?;
        Ok(contents)
    }
}

/// The name of the program that a script is for; nothing for a program.
fn program_of(contents: &[u8]) -> Option<String> {
    let first = contents.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(first).into_owned();
    Some(line.split_whitespace().next()?.rsplit('/').next()?.to_owned())
}

/// What an ELF file says that it needs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Loads {
    /// The path of what loads it.
    interpreter: Option<String>,
    /// Names of libraries.
    libraries: Vec<String>,
}

impl Loads {
    fn of(bytes: &[u8]) -> object::read::Result<Self> {
        let header = FileHeader64::<Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut loads = Self::default();
        for segment in header.program_headers(endian, bytes)? {
            if let Some(interpreter) = segment.interpreter(endian, bytes)? {
                loads.interpreter = Some(text(interpreter));
            }
        }
        let dynamic = header.sections(endian, bytes)?.dynamic_table(endian, bytes)?;
        for one in dynamic.iter().filter(|one| one.tag == DT_NEEDED) {
            loads.libraries.push(text(dynamic.string(one)?));
        }
        Ok(loads)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::architecture::Architecture;

    /// The host's own programs, which tests can rely on.
    fn host() -> Tree<'static> {
        Tree { root: Path::new("/"), libraries: Architecture::of_host().expect("known").gnu_name() }
    }

    #[test]
    fn a_program_comes_with_what_loads_it_and_with_libraries_of_libraries() {
        let files = host().programs([&"ls"].into_iter()).expect("files");
        let names: Vec<&str> = files.keys().map(|path| path.rsplit('/').next().expect("a name")).collect();
        assert!(files.contains_key("/usr/bin/ls") && names.contains(&"libc.so.6"), "{names:?}");
        assert!(names.iter().any(|name| name.starts_with("ld-linux")), "{names:?}");
        // Of libselinux, which ls loads.
        assert!(names.iter().any(|name| name.starts_with("libpcre2")), "{names:?}");
    }

    #[test]
    fn a_script_for_a_single_program_brings_that_program() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let bin = dir.path().join("usr/bin");
        fs::create_dir_all(&bin).expect("created");
        fs::write(bin.join("ls"), "#!/usr/bin/coreutils --coreutils-prog-shebang=ls\n").expect("written");
        let tree = Tree { root: dir.path(), libraries: "x" };
        let lacks = tree.programs([&"ls"].into_iter()).expect_err("no such program").to_string();
        assert!(lacks.contains("coreutils"), "{lacks}");
        assert_eq!(program_of(b"#!/usr/bin/coreutils --coreutils-prog-shebang=ls\n").as_deref(), Some("coreutils"));
        assert_eq!(program_of(b"\x7fELF"), None);
    }

    #[test]
    fn what_is_missing_is_told_and_a_link_does_not_lead_out_of_the_tree() {
        let told = host().programs([&"no-such-program"].into_iter()).expect_err("missing").to_string();
        assert!(told.contains("no-such-program") && told.contains("usr/bin"), "{told}");
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(dir.path().join("usr/bin")).expect("created");
        std::os::unix::fs::symlink("/bin/ls", dir.path().join("usr/bin/ls")).expect("linked");
        let tree = Tree { root: dir.path(), libraries: "x" };
        assert!(tree.programs([&"ls"].into_iter()).expect_err("outside").to_string().contains("ls of its base"));
        assert!(Loads::of(b"#!/bin/sh\n").is_err());
    }

    /// Debian 12 has its loader so.
    #[test]
    fn an_absolute_link_leads_to_the_tree_s_own_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for below in ["lib64", "lib/x"] {
            fs::create_dir_all(dir.path().join(below)).expect("created");
        }
        fs::write(dir.path().join("lib/x/ld.so"), "the tree's").expect("written");
        std::os::unix::fs::symlink("/lib/x/ld.so", dir.path().join("lib64/ld.so")).expect("linked");
        let tree = Tree { root: dir.path(), libraries: "x" };
        assert_eq!(tree.read(&["."], "lib64/ld.so").expect("read"), b"the tree's");
    }
}
