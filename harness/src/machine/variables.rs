//! The file in which EDK II keeps a machine's UEFI variables, as far as enrolling keys in it goes.
//!
//! Layout: a firmware volume's header (UEFI Platform Initialization, volume 3, 3.2.1), behind it the header of a variable
//! store and the variables, each of which begins at a multiple of four (MdeModulePkg/Include/Guid/VariableFormat.h).

/// `gEfiAuthenticatedVariableGuid`, as its bytes lie.
const STORE: [u8; 16] =
    [0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92];
/// `SHIM_LOCK_GUID`: 605dab50-e046-4300-abb6-3dd810dd8b23.
const SHIM: [u8; 16] = [0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43, 0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23];
/// `EFI_CERT_X509_GUID`: a5c059a1-94e4-4aa7-87b5-ab155c2bf072.
const X509: [u8; 16] = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];

/// The keys that shim trusts beside its own: what `mokutil --import` and a person at the console come to.
const MOK_LIST: &str = "MokList";

/// The header of a store: its kind, size, format, state, and 6 bytes of nothing.
const STORE_HEADER: usize = 28;
/// The header of a variable.
const VARIABLE_HEADER: usize = 60;
/// What a variable begins with.
const VARIABLE: [u8; 2] = [0xaa, 0x55];
/// A variable that counts.
const ADDED: u8 = 0x3f;
/// Kept, and seen by the boot loader only: with any other attributes shim throws the list away.
const NON_VOLATILE_BOOT_SERVICE: u32 = 3;

/// The file is not as EDK II makes it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadVariables {
    /// There is no variable store in it.
    #[error("it is no store of authenticated UEFI variables as EDK II makes it")]
    NoStore,
    /// There is no room.
    #[error("it has room for {room} bytes, and the keys take {needed}")]
    Full {
        /// Bytes that are free.
        room: usize,
        /// Bytes wanted.
        needed: usize,
    },
    /// Its machine's owner has enrolled keys before.
    #[error("it has a {MOK_LIST} already")]
    Enrolled,
}

/// Puts the certificates, in DER, among those that shim trusts.
pub(super) fn enrol(file: &mut [u8], certificates: &[Vec<u8>]) -> Result<(), BadVariables> {
    let list: Vec<u8> = certificates.iter().flat_map(|certificate| signature_list(certificate)).collect();
    let variable = variable(MOK_LIST, &list);
    let store = variables(file).ok_or(BadVariables::NoStore)?;
    let mut at = 0;
    while let Some(header) = store.get(at..at + VARIABLE_HEADER).filter(|header| header[..2] == VARIABLE) {
        let (name, data) = (number(&header[36..40]), number(&header[40..44]));
        let name_bytes = store.get(at + VARIABLE_HEADER..at + VARIABLE_HEADER + name).ok_or(BadVariables::NoStore)?;
        if header[2] == ADDED && header[44..60] == SHIM && name_bytes == utf16(MOK_LIST) {
            return Err(BadVariables::Enrolled);
        }
        at += (VARIABLE_HEADER + name + data).next_multiple_of(4);
    }
    let room = store.get_mut(at..).ok_or(BadVariables::NoStore)?;
    let (free, needed) = (room.len(), variable.len());
    room.get_mut(..needed).ok_or(BadVariables::Full { room: free, needed })?.copy_from_slice(&variable);
    Ok(())
}

/// The part of the file with the variables.
fn variables(file: &mut [u8]) -> Option<&mut [u8]> {
    (file.get(40..44)? == b"_FVH").then_some(())?;
    let header = usize::from(u16::from_le_bytes(file.get(48..50)?.try_into().ok()?));
    let store = file.get_mut(header..)?;
    (store.get(..16)? == STORE).then_some(())?;
    let size = number(store.get(16..20)?);
    store.get_mut(STORE_HEADER..size)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// `EFI_SIGNATURE_LIST` with one certificate, which shim owns (UEFI specification, 32.4.1).
fn signature_list(certificate: &[u8]) -> Vec<u8> {
    let signature = [&SHIM, certificate].concat();
    let whole = u32::try_from(signature.len() + 28).unwrap_or(u32::MAX).to_le_bytes();
    [&X509[..], &whole, &[0; 4], &length(&signature), &signature].concat()
}

fn variable(name: &str, data: &[u8]) -> Vec<u8> {
    let name = utf16(name);
    // Of the authentication, which it is without: a count, a time and a key's index.
    let not_authenticated = [0; 28];
    [
        &VARIABLE[..],
        &[ADDED, 0],
        &NON_VOLATILE_BOOT_SERVICE.to_le_bytes(),
        &not_authenticated,
        &length(&name),
        &length(data),
        &SHIM,
        &name,
        data,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 72;

    /// A store with one variable, of a name whose end is at no multiple of four.
    fn store(size: usize) -> Vec<u8> {
        let mut file = vec![0; HEADER];
        file[40..44].copy_from_slice(b"_FVH");
        file[48] = HEADER as u8;
        file.extend(STORE);
        file.extend((size as u32).to_le_bytes());
        file.extend([0x5a, 0xfe, 0, 0, 0, 0, 0, 0]);
        file.extend(variable("ab", b"data"));
        file.resize(file.len().next_multiple_of(4), 0xff);
        file.resize(HEADER + size, 0xff);
        file
    }

    #[test]
    fn keys_are_enrolled_behind_the_variables_that_are_there() {
        let before = store(1000);
        let mut after = before.clone();
        enrol(&mut after, &[b"one".to_vec(), b"three".to_vec()]).expect("enrolled");
        let at = HEADER + STORE_HEADER + (VARIABLE_HEADER + 6 + 4_usize).next_multiple_of(4);
        assert_eq!(after[..at], before[..at]);
        let header = &after[at..at + VARIABLE_HEADER];
        assert_eq!((&header[..4], &header[4..8]), (&[0xaa, 0x55, 0x3f, 0][..], &[3, 0, 0, 0][..]));
        let data = at + VARIABLE_HEADER + 16;
        assert_eq!(after[at + VARIABLE_HEADER..data], utf16("MokList"));
        let lists = [signature_list(b"one"), signature_list(b"three")].concat();
        assert_eq!((number(&header[36..40]), number(&header[40..44])), (16, lists.len()));
        assert_eq!(after[data..data + lists.len()], lists);
        assert_eq!((number(&lists[16..20]), number(&lists[24..28])), (28 + 16 + 3, 16 + 3));
        assert!(after[data + lists.len()..].iter().all(|byte| *byte == 0xff));
        assert_eq!(enrol(&mut after, &[b"more".to_vec()]), Err(BadVariables::Enrolled));
    }

    #[test]
    fn what_is_no_store_or_full_is_refused() {
        let mut full = store(200);
        assert!(matches!(enrol(&mut full, &[vec![0; 100]]), Err(BadVariables::Full { room: 100, .. })));
        for (at, byte) in [(40, b'x'), (HEADER, 0), (48, 255)] {
            let mut bad = store(1000);
            bad[at] = byte;
            assert_eq!(enrol(&mut bad, &[b"x".to_vec()]), Err(BadVariables::NoStore), "{at}");
        }
        assert_eq!(enrol(&mut [], &[]), Err(BadVariables::NoStore));
    }
}
