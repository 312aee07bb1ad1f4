//! Reading one layer: its bytes are verified and its archive is followed while it streams; nothing is unpacked.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tar::{EntryType, PaxExtensions};

use super::Fault;
use super::limits::{Budget, Limits};
use super::manifest::Descriptor;
use super::tree::{Contents, Directory, File, Node, Tree};
use crate::inspect::module_file::{ModuleFile, module_name};
use crate::kmod::{Compression, TrustedKey};

/// The largest size that an entry's own header holds as octal digits.
const LARGEST_USTAR: u64 = 0o777_7777_7777;
const BUFFER: usize = 256 * 1024;
/// What of an executable file is looked at: where ELF files name their loader, and scripts their interpreter.
const HEAD: u64 = 4096;

/// What a layer is read with.
pub(super) struct Reading<'b> {
    pub(super) budget: &'b Budget<'b>,
    pub(super) keys: &'b [TrustedKey],
}

/// Hashes and counts what is read.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
    count: u64,
    /// Reading more is an error.
    limit: u64,
}

impl<R: Read> Hashed<R> {
    fn new(inner: R, limit: u64) -> Self {
        Self { inner, hasher: Sha256::new(), count: 0, limit }
    }

    fn digest(self) -> String {
        format!("sha256:{}", hex::encode(self.hasher.finalize()))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        if self.count > self.limit {
            return Err(io::Error::other(format!("it has more than its {} bytes", self.limit)));
        }
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Counts what comes out of a decoder against the budget.
struct Counted<'b, R> {
    inner: R,
    budget: &'b Budget<'b>,
    count: u64,
    compressed: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        let refused = |fault: Fault| io::Error::other(fault.to_string());
        self.budget.bytes(count as u64).map_err(refused)?;
        let ratio = self.budget.limits.ratio;
        if self.count > Limits::FREE_BYTES && self.count > self.compressed.saturating_mul(ratio) {
            let reason =
                format!("a layer of {} bytes decompresses to more than {ratio} times its size", self.compressed);
            return Err(refused(self.budget.refuse(reason)));
        }
        Ok(count)
    }
}

/// Reads the layer that `blob` gives. What it says of a wrong digest counts more than what is wrong with an archive that
/// nobody meant.
pub(super) fn read(
    blob: impl Read + Send,
    layer: &Descriptor,
    diff_id: Option<&str>,
    reading: &Reading<'_>,
) -> Result<Tree, Fault> {
    let mut hashed = Hashed::new(blob, layer.size);
    let outcome = read_archive(&mut hashed, layer, diff_id, reading);
    if let Some(refusal) = reading.budget.refusal() {
        return Err(refusal);
    }
    let rest = io::copy(&mut hashed, &mut io::sink());
    let count = hashed.count;
    let damaged = |reason: String| Fault::Blob { digest: layer.digest.clone(), reason };
    if let Err(error) = rest {
        return Err(damaged(format!("cannot be read to its end: {error}")));
    }
    if count != layer.size {
        return Err(damaged(format!("has {count} bytes, and its manifest says {}", layer.size)));
    }
    let digest = hashed.digest();
    if digest != layer.digest {
        return Err(damaged(format!("has the digest {digest}")));
    }
    outcome
}

fn read_archive(
    blob: &mut (impl Read + Send),
    layer: &Descriptor,
    diff_id: Option<&str>,
    reading: &Reading<'_>,
) -> Result<Tree, Fault> {
    let broken = |reason: String| Fault::Layer { digest: layer.digest.clone(), reason };
    let mut buffered = BufReader::with_capacity(BUFFER, blob);
    let magic = buffered.fill_buf().map_err(|error| broken(error.to_string()))?;
    let compression = Compression::of(magic);
    let decoder: Box<dyn Read + Send + '_> = match compression {
        Some(kind) => kind.decoder(buffered),
        None => Box::new(buffered),
    };
    // Of a plain layer, the digest is the same one.
    let diff_id = diff_id.filter(|id| *id != layer.digest);
    let counted = Counted { inner: decoder, budget: reading.budget, count: 0, compressed: layer.size };
    let Some(expected) = diff_id else {
        let mut counted = counted;
        let tree = entries(&mut counted, reading, &broken)?;
        io::copy(&mut counted, &mut io::sink()).map_err(|error| broken(error.to_string()))?;
        return Ok(tree);
    };
    let mut hashed = Hashed::new(counted, u64::MAX);
    let tree = entries(&mut hashed, reading, &broken)?;
    io::copy(&mut hashed, &mut io::sink()).map_err(|error| broken(error.to_string()))?;
    let actual = hashed.digest();
    if actual != expected {
        return Err(broken(format!("decompresses to {actual}, and the image's config says {expected}")));
    }
    Ok(tree)
}

/// What stands before an entry in headers of its own.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

fn entries(archive: impl Read, reading: &Reading<'_>, broken: &dyn Fn(String) -> Fault) -> Result<Tree, Fault> {
    let mut tree = Tree::default();
    let mut extended = Extended::default();
    let mut archive = tar::Archive::new(archive);
    // Raw: the crate would read a name of any length into memory.
    let entries = archive.entries().map_err(|error| broken(error.to_string()))?.raw(true);
    for entry in entries {
        let mut entry = entry.map_err(|error| broken(format!("its archive is damaged: {error}")))?;
        reading.budget.entry()?;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => extended.path = Some(long_name(&mut entry, reading, broken)?),
            EntryType::GNULongLink => extended.link = Some(long_name(&mut entry, reading, broken)?),
            EntryType::XHeader => pax(&mut entry, reading, broken, &mut extended)?,
            EntryType::XGlobalHeader => {}
            EntryType::GNUSparse => {
                return Err(broken("its archive has a sparse file, which is not read here".to_owned()));
            }
            _ => take(&mut entry, std::mem::take(&mut extended), reading, broken, &mut tree)?,
        }
    }
    Ok(tree)
}

fn long_name(entry: &mut impl Read, reading: &Reading<'_>, broken: &dyn Fn(String) -> Fault) -> Result<Vec<u8>, Fault> {
    let mut name = Vec::new();
    entry.take(Limits::PATH as u64 + 2).read_to_end(&mut name).map_err(|error| broken(error.to_string()))?;
    if name.last() == Some(&0) {
        name.pop();
    }
    if name.len() > Limits::PATH {
        return Err(reading.budget.refuse(format!("it has a path of more than {} bytes", Limits::PATH)));
    }
    Ok(name)
}

fn pax(
    entry: &mut impl Read,
    reading: &Reading<'_>,
    broken: &dyn Fn(String) -> Fault,
    extended: &mut Extended,
) -> Result<(), Fault> {
    let mut records = Vec::new();
    entry.take(Limits::HEADER + 1).read_to_end(&mut records).map_err(|error| broken(error.to_string()))?;
    if records.len() as u64 > Limits::HEADER {
        let reason = format!("its archive has an extended header of more than {} bytes", Limits::HEADER);
        return Err(reading.budget.refuse(reason));
    }
    for record in PaxExtensions::new(&records) {
        let record = record.map_err(|error| broken(format!("its archive has a damaged header: {error}")))?;
        match record.key_bytes() {
            b"path" => extended.path = Some(record.value_bytes().to_vec()),
            b"linkpath" => extended.link = Some(record.value_bytes().to_vec()),
            b"size" => extended.size = record.value().ok().and_then(|text| text.parse().ok()),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(broken("its archive has a sparse file, which is not read here".to_owned()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn take<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    extended: Extended,
    reading: &Reading<'_>,
    broken: &dyn Fn(String) -> Fault,
    tree: &mut Tree,
) -> Result<(), Fault> {
    let size = entry.size();
    // Readers that disagree about where an entry ends see different archives.
    if let Some(stated) = extended.size.filter(|stated| *stated > LARGEST_USTAR && size == 0) {
        // As Go's archiver writes it. Where the next entry begins, the reader of raw entries does not know then.
        return Err(broken(format!("its archive has a file of {stated} bytes; one above 8 GiB is not read here")));
    }
    if extended.size.is_some_and(|stated| stated != size) {
        return Err(reading.budget.refuse("a file's two headers in its archive disagree about its size".to_owned()));
    }
    let name = extended.path.unwrap_or_else(|| entry.path_bytes().into_owned());
    let text = String::from_utf8_lossy(&name).into_owned();
    let mut path = clean(&text, reading)?;
    reading.budget.keep(128 + text.len())?;
    let Some(base) = path.last().cloned() else { return Ok(()) };
    let refused = |what: &str| broken(format!("{text:?} {what}"));
    if base == ".wh..wh..opq" {
        path.pop();
        return if tree.make_opaque(&path) { Ok(()) } else { Err(refused("is in no directory")) };
    }
    if let Some(hidden) = base.strip_prefix(".wh.") {
        // Others with two prefixes are notes of the file system aufs.
        if !hidden.starts_with(".wh.") && !hidden.is_empty() {
            path.pop();
            path.push(hidden.to_owned());
            tree.put(&path, Node::Whiteout);
        }
        return Ok(());
    }
    let link = |extended: Option<Vec<u8>>, entry: &tar::Entry<'_, R>| {
        let bytes = extended.or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let node = match entry.header().entry_type() {
        EntryType::Directory => Node::Directory(Directory::default()),
        EntryType::Regular | EntryType::Continuous if text.ends_with('/') => Node::Directory(Directory::default()),
        EntryType::Regular | EntryType::Continuous => {
            let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
            let contents = contents(entry, &base, &path, executable, reading).map_err(|error| match error {
                Reason::Io(error) => broken(format!("{text:?} can't be read: {error}")),
                Reason::Fault(fault) => fault,
            })?;
            Node::File(Arc::new(File { size, executable, contents }))
        }
        EntryType::Symlink => {
            let target = link(extended.link, entry);
            reading.budget.keep(target.len())?;
            if target.is_empty() || target.len() > Limits::PATH {
                return Err(refused("is a symbolic link without a usable target"));
            }
            Node::Symlink(target)
        }
        EntryType::Link => {
            let target = link(extended.link, entry);
            match tree.own(&clean(&target, reading)?) {
                Some(node @ (Node::File(_) | Node::Symlink(_) | Node::Other)) => node.clone(),
                _ => return Err(refused(&format!("is a hard link to {target:?}, which its layer has no file at"))),
            }
        }
        _ => Node::Other,
    };
    if tree.put(&path, node) { Ok(()) } else { Err(refused("lies below something that is no directory")) }
}

/// The parts of an entry's path. One that leads out of the image is refused, as container engines do.
fn clean(text: &str, reading: &Reading<'_>) -> Result<Vec<String>, Fault> {
    let refuse = |what: String| Err(reading.budget.refuse(what));
    if text.len() > Limits::PATH {
        return refuse(format!("it has a path of more than {} bytes", Limits::PATH));
    }
    let mut parts: Vec<String> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return refuse(format!("the path {text:?} in it leads out of the image")),
            ".." => {}
            name if name.len() > Limits::NAME => {
                return refuse(format!("it has a file name of more than {} bytes", Limits::NAME));
            }
            name => parts.push(name.to_owned()),
        }
    }
    if parts.len() > Limits::DEPTH {
        return refuse(format!("it has directories in each other, more than {} deep", Limits::DEPTH));
    }
    Ok(parts)
}

enum Reason {
    Io(io::Error),
    Fault(Fault),
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads of a file what checks need.
fn contents<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    base: &str,
    path: &[String],
    executable: bool,
    reading: &Reading<'_>,
) -> Result<Contents, Reason> {
    let size = entry.size();
    if module_name(base).is_some() {
        let limit = reading.budget.limits.module;
        let module = if size > limit {
            ModuleFile::too_large(size, limit)
        } else {
            ModuleFile::read(&whole(entry, size)?, limit, reading.keys)
        };
        reading.budget.module(module.decompressed)?;
        reading.budget.keep(module.weight())?;
        return Ok(Contents::Module(Box::new(module)));
    }
    let is_index =
        base.starts_with("modules.") && path.len() > 2 && path[..path.len() - 1].iter().any(|part| part == "modules");
    if is_index && size <= Limits::INDEX {
        reading.budget.keep(usize::try_from(size).unwrap_or(usize::MAX))?;
        return Ok(Contents::Index(whole(entry, size)?));
    }
    let head = whole(entry, size.min(HEAD))?;
    // A link may give it a module's name.
    if is_relocatable(&head) && size <= reading.budget.limits.module {
        let rest = whole(entry, size - head.len() as u64)?;
        let module = ModuleFile::read(&[head, rest].concat(), size, reading.keys);
        if module.info.is_ok() {
            reading.budget.keep(module.weight())?;
            return Ok(Contents::Module(Box::new(module)));
        }
        return Ok(Contents::Unread);
    }
    if executable && let Some(interpreter) = interpreter(&head) {
        reading.budget.keep(interpreter.len())?;
        return Ok(Contents::Program { interpreter });
    }
    Ok(Contents::Unread)
}

fn whole(entry: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(size).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Whether an ELF file is to be linked yet, as modules and other object files are.
fn is_relocatable(head: &[u8]) -> bool {
    const RELOCATABLE: u16 = 1;
    let kind = match head.get(..6) {
        Some(b"\x7fELF\x02\x01") => head.get(16..18).map(|kind| u16::from_le_bytes([kind[0], kind[1]])),
        _ => None,
    };
    kind == Some(RELOCATABLE)
}

/// The loader that an ELF file names, or the interpreter of a script; none where it needs none.
fn interpreter(head: &[u8]) -> Option<String> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let word = line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
        return Some(String::from_utf8_lossy(word).into_owned());
    }
    const INTERP: u32 = 3;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let at = |range: std::ops::Range<usize>| head.get(range);
    let word = |offset: usize| Some(u64::from_le_bytes(at(offset..offset.checked_add(8)?)?.try_into().ok()?) as usize);
    let half = |offset: usize| Some(u16::from_le_bytes(at(offset..offset + 2)?.try_into().ok()?) as usize);
    let (start, size, count) = (word(32)?, half(54)?, half(56)?);
    for index in 0..count {
        let header = start.checked_add(index.checked_mul(size)?)?;
        let kind = at(header..header.checked_add(4)?)?;
        if kind == INTERP.to_le_bytes() {
            let (offset, length) = (word(header.checked_add(8)?)?, word(header.checked_add(32)?)?);
            let name = at(offset..offset.checked_add(length)?)?;
            return Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
        }
    }
    None
}
