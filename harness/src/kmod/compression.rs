//! The compressions that modules, lists of symbols and image layers come in.
//!
//! What is read may be hostile: the decoders are written in Rust, and none takes more memory than [`MEMORY_KIB`] for
//! its window. How much comes out is for the caller to limit.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use serde::{Deserialize, Serialize};

/// The window that a decoder may ask for: what `zstd --long` and `xz -9` need, and no more.
const MEMORY_KIB: u32 = 192 * 1024;
const BUFFER: usize = 128 * 1024;

/// A compression, known by the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// `.gz`
    Gzip,
    /// `.xz`
    Xz,
    /// `.zst`
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Xz, Self::Zstd];

    /// The compression of a file that begins with `bytes`, of which six are enough; `None` if it has none of these.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| bytes.starts_with(kind.magic()))
    }

    /// The compression that a file's name speaks of.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| name.ends_with(kind.suffix()))
    }

    /// What the names of such files end with.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }

    fn magic(self) -> &'static [u8] {
        match self {
            Self::Gzip => b"\x1f\x8b",
            Self::Xz => b"\xfd7zXZ\0",
            Self::Zstd => b"\x28\xb5\x2f\xfd",
        }
    }

    /// What `reader` gives, decompressed. All members or frames are read to the end.
    pub fn decoder<'r>(self, reader: impl Read + Send + 'r) -> Box<dyn Read + Send + 'r> {
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, reader))),
            Self::Xz => Box::new(XzReader::new_mem_limit(BufReader::with_capacity(BUFFER, reader), true, MEMORY_KIB)),
            Self::Zstd => Box::new(ZstdFrames::new(BufReader::with_capacity(BUFFER, reader))),
        }
    }

    /// All of `bytes`, decompressed; an error where more than `limit` bytes come out.
    pub fn decompress(self, bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut decompressed = Vec::new();
        self.decoder(bytes).take(limit.saturating_add(1)).read_to_end(&mut decompressed)?;
        if decompressed.len() as u64 > limit {
            return Err(io::Error::other(format!("more than {limit} bytes come out of it")));
        }
        Ok(decompressed)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// Zstandard frames one after the other, as `zstd:chunked` layers have them; skippable ones are skipped.
struct ZstdFrames<R> {
    reader: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(reader: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(u64::from(MEMORY_KIB) * 1024);
        Self { reader, decoder, in_frame: false }
    }

    /// Begins the next frame; says whether there is one.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.reader.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.reader) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.reader.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            self.in_frame = true;
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.reader, strategy).map_err(io::Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.in_frame = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn compressed(kind: Compression, bytes: &[u8]) -> Vec<u8> {
        match kind {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes).expect("written");
                encoder.finish().expect("finished")
            }
            Compression::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(1);
                let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).expect("an encoder");
                encoder.write_all(bytes).expect("written");
                encoder.finish().expect("finished")
            }
            Compression::Zstd => compress_to_vec(bytes, CompressionLevel::Fastest),
        }
    }

    #[test]
    fn what_was_compressed_comes_back_also_in_two_parts() {
        let text = b"all the same ".repeat(50_000);
        for kind in Compression::ALL {
            let mut bytes = compressed(kind, &text);
            assert_eq!(Compression::of(&bytes), Some(kind));
            assert!(kind.decompress(&bytes, text.len() as u64).expect("decompressed") == text, "{kind}");
            bytes.extend(compressed(kind, b"and more"));
            let both = kind.decompress(&bytes, 1 << 20).expect("decompressed");
            assert!(both.ends_with(b"all the same and more"), "{kind}");
        }
    }

    #[test]
    fn skippable_frames_are_skipped() {
        let mut bytes = compressed(Compression::Zstd, b"one");
        bytes.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        bytes.extend(compressed(Compression::Zstd, b"two"));
        assert_eq!(Compression::Zstd.decompress(&bytes, 100).expect("decompressed"), b"onetwo");
        bytes.extend([0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1, 2, 3]);
        assert!(Compression::Zstd.decompress(&bytes, 100).is_err());
    }

    #[test]
    fn more_than_the_limit_and_less_than_all_are_refused() {
        let zeros = vec![0; 1 << 20];
        for kind in Compression::ALL {
            let bytes = compressed(kind, &zeros);
            let text = kind.decompress(&bytes, (1 << 20) - 1).expect_err("too much").to_string();
            assert!(text.contains("more than 1048575 bytes"), "{kind}: {text}");
            assert!(kind.decompress(&bytes[..bytes.len() - 3], 1 << 20).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused_before_it_is_made() {
        // A frame header with a window of 2 GiB.
        let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0, 0];
        assert!(Compression::Zstd.decompress(&window, 100).is_err());
    }

    proptest! {
        #[test]
        fn damaged_input_never_panics(
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        ) {
            for kind in Compression::ALL {
                let mut bytes = compressed(kind, &b"some text that repeats, some text that repeats".repeat(20));
                for (index, value) in &damage {
                    let at = index.index(bytes.len());
                    bytes[at] = *value;
                }
                let _ = kind.decompress(&bytes, 1 << 16);
            }
        }
    }
}
