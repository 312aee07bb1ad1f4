//! The archive that an initramfs is: cpio in its new ASCII format
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeMap;

const MAGIC: &[u8] = b"070701";
const END: &str = "TRAILER!!!";
/// The magic, and 13 numbers of eight hexadecimal digits.
const HEADER: usize = 6 + 13 * 8;

/// Places of numbers in a header.
const INODE: usize = 0;
const MODE: usize = 1;
const SIZE: usize = 6;
const NAME_SIZE: usize = 11;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// An initramfs's archive.
pub(super) struct Archive<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    name: &'a str,
    numbers: [u32; 13],
    contents: &'a [u8],
}

impl<'a> Archive<'a> {
    /// Reads it; the names in it are those below `/`, without a slash in front.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            let (entry, next) = entry(bytes, at).ok_or_else(|| format!("it is no cpio archive from byte {at} on"))?;
            at = next;
            if entry.name == END {
                break;
            }
            entries.push(entry);
        }
        match bytes[at..].iter().position(|byte| *byte != 0) {
            None => Ok(Self { entries }),
            Some(more) => Err(format!("something follows the archive, from byte {} on", at + more)),
        }
    }

    /// The regular files below a directory, by their path there.
    pub fn files<'s>(&'s self, directory: &'s str) -> impl Iterator<Item = (&'a str, &'a [u8])> + 's {
        let regular = self.entries.iter().filter(|entry| entry.numbers[MODE] & KIND == REGULAR);
        regular.filter_map(move |entry| {
            let path = plain(entry.name).strip_prefix(directory)?.strip_prefix('/')?;
            Some((path, entry.contents))
        })
    }

    /// The archive with other files below a directory that it has: those that are named, and none else.
    pub fn with_files(&self, directory: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
        let below = |name: &str| plain(name).strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        let mut made = Vec::new();
        for entry in self.entries.iter().filter(|entry| !below(entry.name)) {
            write(&mut made, entry.name, entry.numbers, entry.contents);
        }
        let mut inode = self.entries.iter().map(|entry| entry.numbers[INODE]).max().unwrap_or(0);
        let mut add = |name: &str, mode: u32, contents: &[u8]| {
            inode += 1;
            let mut numbers = [0; 13];
            (numbers[INODE], numbers[MODE], numbers[4]) = (inode, mode, 1);
            write(&mut made, name, numbers, contents);
        };
        let mut directories: Vec<&str> = files.keys().flat_map(|path| parents(path)).collect();
        directories.sort_unstable();
        directories.dedup();
        directories.iter().for_each(|path| add(&format!("{directory}/{path}"), DIRECTORY, b""));
        files.iter().for_each(|(path, contents)| add(&format!("{directory}/{path}"), FILE, contents));
        add(END, 0, b"");
        made
    }
}

fn plain(name: &str) -> &str {
    name.strip_prefix("./").unwrap_or(name)
}

/// The directories of a path, outermost first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// The entry at a place, and where the next one is.
fn entry(bytes: &[u8], at: usize) -> Option<(Entry<'_>, usize)> {
    let header = bytes.get(at..at + HEADER)?.strip_prefix(MAGIC)?;
    let mut numbers = [0; 13];
    for (number, digits) in numbers.iter_mut().zip(header.chunks_exact(8)) {
        *number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    let name_at = at + HEADER;
    let name_end = name_at.checked_add(numbers[NAME_SIZE] as usize)?;
    let name = bytes.get(name_at..name_end)?.strip_suffix(b"\0")?;
    let contents_at = name_end.next_multiple_of(4);
    let contents_end = contents_at.checked_add(numbers[SIZE] as usize)?;
    let contents = bytes.get(contents_at..contents_end)?;
    Some((Entry { name: std::str::from_utf8(name).ok()?, numbers, contents }, contents_end.next_multiple_of(4)))
}

fn write(archive: &mut Vec<u8>, name: &str, mut numbers: [u32; 13], contents: &[u8]) {
    // A single file of an initramfs is far from the 4 GiB that fit the format.
    numbers[SIZE] = u32::try_from(contents.len()).unwrap_or(u32::MAX);
    numbers[NAME_SIZE] = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
    archive.extend(MAGIC);
    for number in numbers {
        archive.extend(format!("{number:08X}").as_bytes());
    }
    archive.extend(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(contents);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(of: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        of.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn made() -> Vec<u8> {
        let one = Archive { entries: vec![] }.with_files("etc", &files(&[("name", "node")]));
        let one = Archive::read(&one).expect("an archive");
        one.with_files("usr/lib/modules/6.1", &files(&[("kernel/e1000.ko", "old"), ("modules.dep", "old\n")]))
    }

    #[test]
    fn the_files_of_a_directory_are_replaced_and_all_others_stay() {
        let made = made();
        let archive = Archive::read(&made).expect("an archive");
        let listed: Vec<_> = archive.files("usr/lib/modules/6.1").collect();
        assert_eq!(listed, [("kernel/e1000.ko", b"old".as_slice()), ("modules.dep", b"old\n")]);
        let changed = archive.with_files("usr/lib/modules/6.1", &files(&[("extra/day1_nic.ko", "new")]));
        let archive = Archive::read(&changed).expect("an archive");
        assert_eq!(
            archive.files("usr/lib/modules/6.1").collect::<Vec<_>>(),
            [("extra/day1_nic.ko", b"new".as_slice())]
        );
        assert_eq!(archive.files("etc").collect::<Vec<_>>(), [("name", b"node".as_slice())]);
        let names: Vec<&str> = archive.entries.iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["etc/name", "usr/lib/modules/6.1/extra", "usr/lib/modules/6.1/extra/day1_nic.ko"]);
    }

    #[test]
    fn what_is_no_archive_or_more_than_one_is_refused() {
        let refused = |bytes: &[u8]| Archive::read(bytes).map(|_| ()).expect_err("refused");
        let good = made();
        assert!(refused(b"").contains("byte 0"));
        assert!(refused(&good[..good.len() - 60]).contains("no cpio archive"));
        assert!(refused(&[good.as_slice(), b"\0\0", &good].concat()).contains("follows the archive"));
        assert!(Archive::read(&[good.as_slice(), &[0; 512]].concat()).is_ok());
    }
}
