//! What an image may cost. Somebody else made it, and reading it must not fill this machine.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Fault;

/// The bounds of one inspection. An image beyond one of them is refused with [`Fault::Hostile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries of all layers together.
    pub entries: u64,
    /// Bytes of all layers together, decompressed.
    pub bytes: u64,
    /// How many times its compressed size a layer may have, once more than [`Limits::FREE_BYTES`] came out of it.
    pub ratio: u64,
    /// Bytes of one module file, decompressed. A larger one is told, and not read.
    pub module: u64,
    /// Bytes of all module files together, decompressed.
    pub modules: u64,
    /// Bytes of memory that is kept of the image: names, what modules say, indexes.
    pub kept: u64,
    /// Steps of comparing patterns of the image with those of the kernel, of a nanosecond or two each.
    pub steps: u64,
}

impl Limits {
    /// Decompressed bytes of a layer for which the ratio does not count.
    pub const FREE_BYTES: u64 = 64 << 20;
    /// Bytes of a path: `PATH_MAX` of Linux.
    pub const PATH: usize = 4096;
    /// Bytes of one file name: `NAME_MAX` of Linux.
    pub const NAME: usize = 255;
    /// Directories above a file.
    pub const DEPTH: usize = 128;
    /// Bytes of one extended header of an archive.
    pub const HEADER: u64 = 1 << 20;
    /// Bytes of one index file of `depmod`. Those of a whole distribution's kernel have a tenth of it.
    pub const INDEX: u64 = 32 << 20;
    /// Bytes of a manifest, an index or a config.
    pub const DOCUMENT: u64 = 8 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 32 << 30,
            ratio: 400,
            module: 128 << 20,
            modules: 4 << 30,
            kept: 512 << 20,
            steps: 500_000_000,
        }
    }
}

/// What was used up of the limits; layers are read side by side.
#[derive(Debug)]
pub(super) struct Budget<'l> {
    pub(super) limits: &'l Limits,
    entries: AtomicU64,
    bytes: AtomicU64,
    modules: AtomicU64,
    kept: AtomicU64,
    /// The first refusal: what a reader says of it is lost on the way up through decoder and archive.
    refusal: Mutex<Option<Fault>>,
}

impl<'l> Budget<'l> {
    pub(super) fn new(limits: &'l Limits) -> Self {
        let zero = AtomicU64::default;
        Self { limits, entries: zero(), bytes: zero(), modules: zero(), kept: zero(), refusal: Mutex::default() }
    }

    /// One more entry of an archive.
    pub(super) fn entry(&self) -> Result<(), Fault> {
        self.take(&self.entries, 1, self.limits.entries, "entries in its layers")
    }

    /// More bytes came out of a decoder.
    pub(super) fn bytes(&self, count: u64) -> Result<(), Fault> {
        self.take(&self.bytes, count, self.limits.bytes, "bytes in its decompressed layers")
    }

    /// More bytes came out of a compressed module.
    pub(super) fn module(&self, count: u64) -> Result<(), Fault> {
        self.take(&self.modules, count, self.limits.modules, "bytes in its decompressed modules")
    }

    /// More memory is kept.
    pub(super) fn keep(&self, count: usize) -> Result<(), Fault> {
        self.take(&self.kept, count as u64, self.limits.kept, "bytes of names, indexes and modules' own words")
    }

    /// The bytes of all layers so far.
    pub(super) fn total(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The memory that may still be kept.
    pub(super) fn room(&self) -> usize {
        usize::try_from(self.limits.kept.saturating_sub(self.kept.load(Ordering::Relaxed))).unwrap_or(usize::MAX)
    }

    fn take(&self, counter: &AtomicU64, count: u64, limit: u64, what: &str) -> Result<(), Fault> {
        if counter.fetch_add(count, Ordering::Relaxed).saturating_add(count) <= limit {
            return Ok(());
        }
        Err(self.refuse(format!("it has more than {limit} {what}")))
    }

    /// Remembers the first reason, and gives it.
    pub(super) fn refuse(&self, reason: String) -> Fault {
        let fault = Fault::Hostile { reason };
        let mut refusal = self.refusal.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        refusal.get_or_insert(fault).clone()
    }

    /// The first refusal, if there was one.
    pub(super) fn refusal(&self) -> Option<Fault> {
        self.refusal.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
