//! The binary indexes of `depmod`, which are what `modprobe` reads (shared/index.h and libkmod/libkmod-index.c of kmod).

const MAGIC: u32 = 0xB007_F457;
/// The upper half of the version; the lower half may grow.
const MAJOR: u32 = 2;
const PREFIX: u32 = 0x8000_0000;
const VALUES: u32 = 0x4000_0000;
const CHILDREN: u32 = 0x2000_0000;
const OFFSET: u32 = 0x0fff_ffff;
/// Nodes below each other; a key has one for each character at most.
const DEPTH: usize = 1024;
const ENTRIES: usize = 1_000_000;
/// What an entry takes beside its texts.
const ENTRY: usize = 64;

/// The keys and values of an index, in the order of keys. More than `room` bytes are not taken for them: what many nodes
/// share comes out once for each.
pub(super) fn entries(bytes: &[u8], room: usize) -> Result<Vec<(String, String)>, String> {
    let mut reader = Reader { bytes, entries: Vec::new(), budget: ENTRIES, room, full: false };
    let word = |at| reader.word(at).ok_or_else(|| "it ends within its header".to_owned());
    let (magic, version, root) = (word(0)?, word(4)?, word(8)?);
    if magic != MAGIC || version >> 16 != MAJOR {
        return Err("it does not begin as an index of depmod".to_owned());
    }
    let mut key = Vec::new();
    match reader.node(root, &mut key, 0) {
        Some(()) => Ok(reader.entries),
        None if reader.full => Err(format!("its {} bytes become more than {room}", bytes.len())),
        None => Err("it is damaged: a part of it lies outside, or too deep".to_owned()),
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    entries: Vec<(String, String)>,
    /// Damaged indexes may lead in circles, and to one node on many ways.
    budget: usize,
    /// Bytes that entries may still take.
    room: usize,
    full: bool,
}

impl Reader<'_> {
    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    /// The text at a place, and the place behind its end.
    fn text(&self, at: usize) -> Option<(&[u8], usize)> {
        let rest = self.bytes.get(at..)?;
        let length = rest.iter().position(|byte| *byte == 0)?;
        Some((&rest[..length], at + length + 1))
    }

    fn node(&mut self, place: u32, key: &mut Vec<u8>, depth: usize) -> Option<()> {
        let mut at = (place & OFFSET) as usize;
        if at == 0 {
            return Some(());
        }
        self.budget = self.budget.checked_sub(1)?;
        if depth > DEPTH {
            return None;
        }
        let length = key.len();
        if place & PREFIX != 0 {
            let (prefix, end) = self.text(at)?;
            if prefix.len() > DEPTH {
                return None;
            }
            key.extend_from_slice(prefix);
            at = end;
        }
        let mut children = None;
        if place & CHILDREN != 0 {
            let (first, last) = (*self.bytes.get(at)?, *self.bytes.get(at + 1)?);
            let count = usize::from(last.checked_sub(first)?) + 1;
            children = Some((first, at + 2, count));
            at += 2 + 4 * count;
        }
        if place & VALUES != 0 {
            let count = self.word(at)?;
            at += 4;
            for _ in 0..count {
                self.budget = self.budget.checked_sub(1)?;
                // A priority is before each value.
                let (value, end) = self.text(at + 4)?;
                let value = String::from_utf8_lossy(value).into_owned();
                at = end;
                let key = String::from_utf8_lossy(key).into_owned();
                let Some(left) = self.room.checked_sub(ENTRY + key.len() + value.len()) else {
                    self.full = true;
                    return None;
                };
                self.room = left;
                self.entries.push((key, value));
            }
        }
        if let Some((first, start, count)) = children {
            for nth in 0..count {
                let child = self.word(start + 4 * nth)?;
                if child & OFFSET != 0 {
                    key.push(first.wrapping_add(nth as u8));
                    self.node(child, key, depth + 1)?;
                    key.pop();
                }
            }
        }
        key.truncate(length);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inspect::fixture::{index_file, index_file_that_shares};

    #[test]
    fn keys_and_values_come_back() {
        let list = [("e1000", "extra/e1000.ko:"), ("e1000e", "extra/e1000e.ko: extra/ptp.ko"), ("zz", "z.ko:")];
        let read = entries(&index_file(&list), 1 << 20).expect("an index");
        assert_eq!(read, list.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_no_index_is_refused() {
        assert!(entries(b"", 1 << 20).expect_err("empty").contains("header"));
        assert!(entries(b"extra/a.ko: extra/b.ko\n", 1 << 20).expect_err("text").contains("does not begin"));
        let whole = index_file(&[("a", "b")]);
        assert!(entries(&whole[..whole.len() - 3], 1 << 20).is_err());
        // The root is its own child.
        let mut circle = whole[..8].to_vec();
        circle.extend((CHILDREN | 12).to_be_bytes());
        circle.extend(*b"aa");
        circle.extend((CHILDREN | 12).to_be_bytes());
        assert!(entries(&circle, 1 << 20).expect_err("a circle").contains("damaged"));
    }

    #[test]
    fn what_many_nodes_share_is_no_more_than_there_is_room_for() {
        let bytes = index_file_that_shares(10_000);
        assert_eq!(entries(&bytes, 10 << 20).expect("an index").len(), 255);
        let told = entries(&bytes, 1 << 20).expect_err("too much");
        assert_eq!(told, format!("its {} bytes become more than 1048576", bytes.len()));
    }

    proptest! {
        #[test]
        fn damaged_indexes_never_panic(
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..10),
        ) {
            let mut bytes = index_file(&[("e1000", "extra/e1000.ko:"), ("e100", "x.ko:")]);
            for (index, value) in damage {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            let _ = entries(&bytes, 1 << 20);
        }
    }
}
