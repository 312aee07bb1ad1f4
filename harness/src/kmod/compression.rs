//! The compressions that modules, lists of symbols and image layers come in.
//!
//! What is read may be hostile: the decoders are written in Rust, and none takes more memory than [`MEMORY_KIB`] for
//! its window. How much comes out is for the caller to limit.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::read::MultiGzDecoder;
use lzma_rust2::{CheckType, XzOptions, XzReader, XzWriter};
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

/// `bytes` as a `.xz` file that the kernel can read, too: its decoder knows only the CRC-32.
pub(super) fn xz(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut options = XzOptions::with_preset(1);
    options.set_check_sum_type(CheckType::Crc32);
    let mut encoder = XzWriter::new(Vec::new(), options)?;
    encoder.write_all(bytes)?;
    encoder.finish()
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
    /// The bytes that came out of the frame so far.
    count: u64,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(reader: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(u64::from(MEMORY_KIB) * 1024);
        Self { reader, decoder, in_frame: false, count: 0 }
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

    /// The decoder itself compares neither what came out with the checksum behind a frame, nor its length with the header's.
    fn verify_frame(&self) -> io::Result<()> {
        let stated = self.decoder.get_checksum_from_data();
        if stated.is_some() && stated != self.decoder.get_calculated_checksum() {
            return Err(io::Error::other("what comes out of it does not match its checksum"));
        }
        // 0 where the header states none.
        let size = self.decoder.content_size();
        if size != 0 && size != self.count {
            return Err(io::Error::other(format!("{} bytes come out of it, and its header says {size}", self.count)));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            if !self.in_frame {
                (self.in_frame, self.count) = (true, 0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.reader, strategy).map_err(io::Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            self.count += count as u64;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.verify_frame()?;
            self.in_frame = false;
        }
    }
}

#[cfg(test)]
mod tests {
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
            Compression::Xz => xz(bytes).expect("compressed"),
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
    fn what_does_not_match_its_checksum_is_refused() {
        // Too random to be compressed: its bytes lie in the file as they are.
        let noise: Vec<u8> = (0..4096_u32).map(|nth| (nth.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
        for kind in Compression::ALL {
            let bytes = compressed(kind, &noise);
            for at in [bytes.len() / 2, bytes.len() - 1] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert!(kind.decompress(&damaged, 1 << 20).is_err(), "{kind}, byte {at}");
            }
        }
        // The second of two frames, and a frame whose header states another length: 4 bytes in one block of 3.
        let mut second = compressed(Compression::Zstd, &noise);
        second.extend(compressed(Compression::Zstd, &noise));
        let last = second.len() - 1;
        second[last] ^= 1;
        let told = Compression::Zstd.decompress(&second, 1 << 20).expect_err("damaged").to_string();
        assert!(told.contains("does not match its checksum"), "{told}");
        let short = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 4, 0x19, 0, 0, b'a', b'b', b'c'];
        let told = Compression::Zstd.decompress(&short, 1 << 20).expect_err("short").to_string();
        assert!(told.contains("3 bytes come out of it, and its header says 4"), "{told}");
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
