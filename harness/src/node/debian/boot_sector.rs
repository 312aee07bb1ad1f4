//! GRUB's boot sectors for BIOS, made to find each other on a disk without `grub-install`, which would need
//! the disk as a block device.
//!
//! The offsets are those of GRUB's `boot.S` and `diskboot.S` (`GRUB_BOOT_MACHINE_*` in its
//! `include/grub/i386/pc/boot.h`; `struct grub_pc_bios_boot_blocklist` in `include/grub/offsets.h`'s
//! neighbourhood).

use std::ops::Range;

/// Bytes of a sector.
pub(super) const SECTOR: usize = 512;

/// `boot.img`: where the core image's first sector number is (64 bits, little-endian).
const KERNEL_SECTOR: Range<usize> = 0x5c..0x64;
/// `boot.img`: a jump that only floppies must keep; hard disks get two NOPs.
const DRIVE_CHECK: Range<usize> = 0x66..0x68;
/// The disk's signature and MBR partition table; the disk's own stay.
const PARTITION_TABLE: Range<usize> = 0x1b8..0x200;
/// First sector of the core image: where the rest of it is: sector (64 bits), count (16), segment (16).
const BLOCK_LIST: Range<usize> = 0x1f4..0x200;
/// Where the rest is loaded: 0x8200, right behind the first sector.
const SEGMENT: u16 = 0x820;
const NOP: u8 = 0x90;

/// What is wrong with the parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("boot.img has {0} bytes instead of {SECTOR}")]
    BootSize(usize),
    #[error("boot.img is no boot sector: it does not end with 55 aa")]
    Signature,
    #[error("core.img has {size} bytes; between {} and {most} fit its partition", SECTOR + 1)]
    CoreSize { size: usize, most: usize },
}

/// The disk's first sector: GRUB's code with the disk's own partition table, jumping to a core image that
/// starts at `core_sector`.
pub(super) fn first_sector(boot: &[u8], disk: &[u8; SECTOR], core_sector: u64) -> Result<[u8; SECTOR], Error> {
    let mut sector: [u8; SECTOR] = boot.try_into().map_err(|_| Error::BootSize(boot.len()))?;
    if sector[SECTOR - 2..] != [0x55, 0xaa] {
        return Err(Error::Signature);
    }
    sector[KERNEL_SECTOR].copy_from_slice(&core_sector.to_le_bytes());
    sector[DRIVE_CHECK].fill(NOP);
    sector[PARTITION_TABLE].copy_from_slice(&disk[PARTITION_TABLE]);
    Ok(sector)
}

/// The core image as it lies on the disk from `core_sector` on, in at most `sectors` sectors.
pub(super) fn core_image(core: &[u8], core_sector: u64, sectors: usize) -> Result<Vec<u8>, Error> {
    let used = core.len().div_ceil(SECTOR);
    let rest = u16::try_from(used.saturating_sub(1)).ok().filter(|rest| *rest > 0 && used <= sectors);
    let Some(rest) = rest else {
        return Err(Error::CoreSize { size: core.len(), most: sectors * SECTOR });
    };
    let mut image = core.to_vec();
    image.resize(used * SECTOR, 0);
    let list = &mut image[BLOCK_LIST];
    list[..8].copy_from_slice(&(core_sector + 1).to_le_bytes());
    list[8..10].copy_from_slice(&rest.to_le_bytes());
    list[10..].copy_from_slice(&SEGMENT.to_le_bytes());
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> Vec<u8> {
        let mut boot = vec![0x11; SECTOR];
        boot[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
        boot
    }

    #[test]
    fn the_first_sector_knows_the_core_image_and_keeps_the_partition_table() {
        let mut disk = [0x22; SECTOR];
        disk[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
        let sector = first_sector(&boot(), &disk, 0x0102_0304).expect("patched");
        assert_eq!(sector[0x5c..0x64], [4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(sector[0x64..0x66], [0x11, 0x11], "the drive number stays");
        assert_eq!(sector[0x66..0x68], [0x90, 0x90]);
        assert_eq!(sector[0x68..0x1b8], [0x11; 0x150]);
        assert_eq!(sector[0x1b8..], disk[0x1b8..]);
    }

    #[test]
    fn what_is_no_boot_sector_is_refused() {
        assert_eq!(first_sector(&[0; 100], &[0; SECTOR], 1), Err(Error::BootSize(100)));
        assert_eq!(first_sector(&[0; SECTOR], &[0; SECTOR], 1), Err(Error::Signature));
    }

    #[test]
    fn the_core_image_knows_where_the_rest_of_it_is() {
        let image = core_image(&[0x33; 3 * SECTOR + 1], 2048, 2048).expect("patched");
        assert_eq!(image.len(), 4 * SECTOR, "whole sectors");
        assert_eq!(image[0x1f4..0x200], [1, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0x20, 0x08]);
        assert_eq!(image[..0x1f4], [0x33; 0x1f4]);
        assert_eq!(image[3 * SECTOR + 1..], [0; SECTOR - 1]);
    }

    #[test]
    fn a_core_image_that_does_not_fit_is_refused() {
        assert!(core_image(&[0; 5 * SECTOR], 1, 5).is_ok());
        assert_eq!(
            core_image(&[0; 5 * SECTOR + 1], 1, 5),
            Err(Error::CoreSize { size: 5 * SECTOR + 1, most: 5 * SECTOR })
        );
        assert!(core_image(&[0; SECTOR], 1, 5).is_err(), "one sector has no rest to load");
    }
}
