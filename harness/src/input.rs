//! Files that a person names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a text that a person names. The MCO takes MachineConfigs of at most 1.5 MiB.
pub(crate) const TEXT: u64 = 16 << 20;

/// Opens a file. Opening a pipe that somebody put in its place would take for ever.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(path)
}

/// All of a file, up to `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    bounded(open_regular(path)?, limit)
}

/// All of a file of text, up to [`TEXT`] bytes.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, TEXT)?).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("it is no text: byte {byte} is not UTF-8"))
    })
}

/// All of a stream, up to `limit` bytes.
pub(crate) fn bounded(stream: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_no_text_is_refused_at_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRUSR).expect("made");
        fs::write(path("large"), vec![b'x'; 17 << 20]).expect("written");
        fs::write(path("latin"), b"caf\xe9").expect("written");
        fs::write(path("text"), "text").expect("written");
        let told = |path: &Path| read_text(path).expect_err("refused").to_string();
        assert_eq!(told(&path("pipe")), "it is no regular file");
        assert_eq!(told(Path::new("/dev/zero")), "it is no regular file");
        assert_eq!(told(&path("large")), "it has more than 16777216 bytes");
        assert_eq!(told(&path("latin")), "it is no text: byte 3 is not UTF-8");
        assert_eq!(read_text(&path("text")).expect("read"), "text");
    }
}
