//! Uncompressing a disk, by what its first bytes say that it is.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Error, LARGEST_DISK, Progress};
use crate::input::open_regular;

/// What is written at a time, or left out as zeros.
const PIECE: usize = 1 << 18;

/// Writes what is in `from` to `to`, which must not be there yet; compares it with a sha256.
pub(super) fn unpack(from: &Path, to: &Path, sha256: Option<&str>, progress: &dyn Progress) -> Result<(), Error> {
    let source = open_regular(from).map_err(Error::io("open", from))?;
    let mut source = BufReader::with_capacity(1 << 20, source);
    let damaged = |source: std::io::Error| Error::Disk {
        origin: from.display().to_string(),
        problem: format!("it can't be uncompressed: {source}"),
    };
    let mut reader = uncompressed(&mut source).map_err(damaged)?;
    let mut target = File::create_new(to).map_err(Error::io("create", to))?;
    let (mut hash, mut length, mut buffer) = (Sha256::new(), 0, Vec::with_capacity(PIECE));
    loop {
        buffer.clear();
        let read = reader.by_ref().take(PIECE as u64).read_to_end(&mut buffer).map_err(damaged)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        if length > LARGEST_DISK {
            let source = std::io::Error::other(format!("it becomes larger than {} GiB", LARGEST_DISK >> 30));
            return Err(damaged(source));
        }
        hash.update(&buffer);
        // Most of a raw disk is zeros, which take no room as a hole.
        if buffer.iter().all(|byte| *byte == 0) {
            target.seek_relative(read as i64).map_err(Error::io("write", to))?;
        } else {
            target.write_all(&buffer).map_err(Error::io("write", to))?;
        }
        progress.transferred(length, None);
    }
    target.set_len(length).map_err(Error::io("write", to))?;
    drop(reader);
    // A second zstd frame, for one: half a disk must not pass for a whole one.
    if !source.fill_buf().map_err(Error::io("read", from))?.is_empty() {
        let source = std::io::Error::other("something follows the end of the compressed disk");
        return Err(damaged(source));
    }
    let found = hex::encode(hash.finalize());
    match sha256 {
        Some(expected) if found != expected => {
            Err(Error::Checksum { what: "the uncompressed disk".to_owned(), expected: expected.to_owned(), found })
        }
        _ => Ok(()),
    }
}

fn uncompressed<'r>(source: &'r mut BufReader<File>) -> std::io::Result<Box<dyn Read + 'r>> {
    let start = source.fill_buf()?;
    Ok(if start.starts_with(b"\xfd7zXZ\0") {
        Box::new(lzma_rust2::XzReader::new(source, true))
    } else if start.starts_with(b"\x1f\x8b") {
        Box::new(flate2::bufread::MultiGzDecoder::new(source))
    } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
        Box::new(ruzstd::decoding::StreamingDecoder::new(source).map_err(std::io::Error::other)?)
    } else {
        Box::new(source)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// `a disk\n`, by `xz` and by `zstd`.
    const XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAGYSBkaXNrCgAAvurWjlF4KwAAAR8HFi64cx+2830BAAAAAARZWg==";
    const ZSTD: &str = "KLUv/QRYOQAAYSBkaXNrCuTWFyI=";

    fn unpacked(bytes: &[u8], sha256: Option<&str>) -> Result<Vec<u8>, Error> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, bytes).expect("written");
        unpack(&from, &to, sha256, &())?;
        Ok(fs::read(&to).expect("read"))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("finished")
    }

    #[test]
    fn zeros_take_no_room() {
        let mut disk = vec![0; 32 << 20];
        disk[5] = 1;
        disk[20 << 20] = 1;
        let dir = tempfile::tempdir().expect("temporary directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, gzip(&disk)).expect("written");
        unpack(&from, &to, Some(&hex::encode(Sha256::digest(&disk))), &()).expect("unpacked");
        assert!(fs::read(&to).expect("read") == disk, "a byte is another one");
        let room = fs::metadata(&to).expect("there").blocks() * 512;
        assert!(room <= 4 << 20, "{room} bytes");
    }

    #[test]
    fn what_is_compressed_is_told_by_its_first_bytes() {
        let of = |text: &str| STANDARD.decode(text).expect("base64");
        for bytes in [of(XZ), of(ZSTD), gzip(b"a disk\n"), b"a disk\n".to_vec()] {
            let disk = unpacked(&bytes, Some("245fc12d96df14899c9accc1343ac0308efe8bda0efd37b6044cf2032c83960d"));
            assert_eq!(disk.expect("unpacked"), b"a disk\n");
        }
    }

    #[test]
    fn a_torn_or_other_disk_is_refused() {
        let xz = STANDARD.decode(XZ).expect("base64");
        let zstd = STANDARD.decode(ZSTD).expect("base64");
        for bytes in [&xz[..xz.len() - 9], &gzip(b"a disk\n")[..20], &zstd[..zstd.len() - 3]] {
            let error = unpacked(bytes, None).expect_err("torn").to_string();
            assert!(error.contains("can't be uncompressed"), "{error}");
        }
        let error = unpacked(&[zstd.clone(), zstd].concat(), None).expect_err("two disks").to_string();
        assert!(error.contains("something follows"), "{error}");
        let error = unpacked(&xz, Some(&"0".repeat(64))).expect_err("another disk").to_string();
        assert!(error.contains("the uncompressed disk has the sha256"), "{error}");
    }
}
