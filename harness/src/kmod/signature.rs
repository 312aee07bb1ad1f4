//! The signature behind a module: who made it, and whether one of some certificates did.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, DecodePem, Encode};
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::name::Name;

use super::signer::DATA;

/// Ends a signed module; `struct module_signature` and the signature lie before it (include/linux/module_signature.h).
pub(super) const MAGIC: &[u8] = b"~Module signature appended~\n";
const TRAILER: usize = 12;
/// The `id_type` of `struct module_signature` for PKCS#7.
pub(super) const PKCS7: u8 = 2;

/// A signature behind a module. Whether a kernel trusts it is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// It is a PKCS#7 message, the only kind that today's kernels take.
    pub is_pkcs7: bool,
    /// Why no kernel can read it, or all refuse it, where that is so. One with `CONFIG_MODULE_SIG` then refuses the module,
    /// whether it enforces signatures or not: it forgives only that there is none, or that it can't judge one.
    pub broken: Option<String>,
    /// Its length in bytes.
    pub length: usize,
    /// The common name of the certificate's issuer, where the message tells it.
    pub signer: Option<String>,
    /// The certificate's serial number or its subject's key id, in hex with colons, where the message tells it.
    pub key: Option<String>,
    /// The hash algorithm, such as `sha512`.
    pub hash: Option<String>,
}

/// What some certificates say of a module's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It has none, or the end of one that was cut.
    Unsigned,
    /// One of the certificates made it; its subject.
    Valid(String),
    /// None of the certificates made it.
    OtherKey,
    /// The certificate with this subject is named, but it did not sign these bytes.
    Invalid(String),
    /// It can't be told here, and why.
    Unknown(String),
}

/// A certificate that a node trusts for modules.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    certificate: Certificate,
    der: Vec<u8>,
}

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustedKeyError {
    /// The file can't be read.
    #[error("cannot read the certificate {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no certificate.
    #[error(
        "{} is no X.509 certificate in PEM or DER ({reason}): give the public certificate, such as signing_key.x509",
        path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl TrustedKey {
    /// Reads a certificate in PEM or DER.
    pub fn read(path: &Path) -> Result<Self, TrustedKeyError> {
        let bytes = fs::read(path).map_err(|source| TrustedKeyError::Read { path: path.to_owned(), source })?;
        Self::parse(&bytes).map_err(|reason| TrustedKeyError::Content { path: path.to_owned(), reason })
    }

    /// The same of several files.
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>, TrustedKeyError> {
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The certificate in some bytes, in PEM or DER.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let parsed = if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            Certificate::from_pem(bytes.trim_ascii())
        } else {
            Certificate::from_der(bytes)
        };
        let with_der = parsed.and_then(|certificate| Ok(Self { der: certificate.to_der()?, certificate }));
        with_der.map_err(|error| error.to_string())
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whom it is for.
    pub fn subject(&self) -> String {
        common_name(&self.certificate.tbs_certificate.subject)
    }

    fn is_named_by(&self, sid: &SignerIdentifier) -> bool {
        let about = &self.certificate.tbs_certificate;
        match sid {
            SignerIdentifier::IssuerAndSerialNumber(named) => {
                named.issuer == about.issuer && named.serial_number == about.serial_number
            }
            SignerIdentifier::SubjectKeyIdentifier(named) => {
                about.get::<SubjectKeyIdentifier>().ok().flatten().is_some_and(|(_, own)| own.0 == named.0)
            }
        }
    }

    /// Whether its key signed `message`; an error says why that can't be told.
    fn signed(&self, message: &[u8], info: &SignerInfo) -> Result<bool, String> {
        let key = &self.certificate.tbs_certificate.subject_public_key_info;
        let hash = hash_name(&info.digest_alg.oid);
        let algorithm: &dyn signature::VerificationAlgorithm = match (key_kind(&key.algorithm.oid), hash.as_str()) {
            ("rsa", "sha1") => &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            ("rsa", "sha256") => &signature::RSA_PKCS1_2048_8192_SHA256,
            ("rsa", "sha384") => &signature::RSA_PKCS1_2048_8192_SHA384,
            ("rsa", "sha512") => &signature::RSA_PKCS1_2048_8192_SHA512,
            ("ec", "sha256") if is_curve(key, P256) => &signature::ECDSA_P256_SHA256_ASN1,
            ("ec", "sha384") if is_curve(key, P256) => &signature::ECDSA_P256_SHA384_ASN1,
            ("ec", "sha256") if is_curve(key, P384) => &signature::ECDSA_P384_SHA256_ASN1,
            ("ec", "sha384") if is_curve(key, P384) => &signature::ECDSA_P384_SHA384_ASN1,
            (kind, hash) => return Err(format!("signatures by {kind} keys with {hash} are not verified here")),
        };
        let bits = key.subject_public_key.as_bytes().ok_or("its key is no whole number of bytes")?;
        let key = signature::UnparsedPublicKey::new(algorithm, bits);
        Ok(key.verify(message, info.signature.as_bytes()).is_ok())
    }
}

const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// ML-DSA-44, 65 and 87.
const MLDSA: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17"),
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18"),
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19"),
];

fn key_kind(oid: &ObjectIdentifier) -> &'static str {
    match oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" => "rsa",
        "1.2.840.10045.2.1" => "ec",
        _ => "unknown",
    }
}

fn is_curve(key: &x509_cert::spki::SubjectPublicKeyInfoOwned, curve: ObjectIdentifier) -> bool {
    let named = key.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    named == Some(curve)
}

fn hash_name(oid: &ObjectIdentifier) -> String {
    let oid = oid.to_string();
    let known = match oid.as_str() {
        "1.3.14.3.2.26" => "sha1",
        "2.16.840.1.101.3.4.2.4" => "sha224",
        "2.16.840.1.101.3.4.2.1" => "sha256",
        "2.16.840.1.101.3.4.2.2" => "sha384",
        "2.16.840.1.101.3.4.2.3" => "sha512",
        "2.16.840.1.101.3.4.2.8" => "sha3-256",
        "2.16.840.1.101.3.4.2.9" => "sha3-384",
        "2.16.840.1.101.3.4.2.10" => "sha3-512",
        _ => return oid,
    };
    known.to_owned()
}

/// The common name of a name, or else all of it.
fn common_name(name: &Name) -> String {
    const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
    let mut parts = name.0.iter().flat_map(|relative| relative.0.iter());
    let common = parts.rfind(|part| part.oid == COMMON_NAME);
    let text = common.map_or_else(|| name.to_string(), |part| String::from_utf8_lossy(part.value.value()).into_owned());
    // It is printed, and X.509 has 64 for a common name.
    text.chars().take(256).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The module's own bytes, and its signature with the trailer behind it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let before = bytes.strip_suffix(MAGIC)?;
    let (rest, trailer) = before.split_at_checked(before.len().checked_sub(TRAILER)?)?;
    let length = u32::from_be_bytes(trailer.get(8..12)?.try_into().ok()?);
    let (module, signature) = rest.split_at_checked(rest.len().checked_sub(usize::try_from(length).ok()?)?)?;
    Some((module, signature, trailer))
}

/// A PKCS#7 message.
fn signed_data(message: &[u8]) -> Result<SignedData, String> {
    let content = ContentInfo::from_der(message).map_err(|error| error.to_string())?;
    content.content.decode_as().map_err(|error| error.to_string())
}

/// The one who signed. The kernel takes any number of them, its build signs once.
fn signer(data: &SignedData) -> Result<&SignerInfo, String> {
    data.signer_infos.0.iter().next().ok_or_else(|| "it names nobody who signed".to_owned())
}

/// Why kernels refuse a message of this form behind a module, by whomever it is. `openssl cms -sign` makes such ones unless
/// it is told not to (`verify_pkcs7_message_sig` in certs/system_keyring.c, `pkcs7_verify` in
/// crypto/asymmetric_keys/pkcs7_verify.c).
fn refusal(data: &SignedData) -> Option<String> {
    let content = &data.encap_content_info;
    if content.econtent.is_some() {
        return Some(
            "the signed bytes are within it: the kernel says `PKCS#7 signature with non-detached data`".to_owned(),
        );
    }
    if content.econtent_type != DATA {
        return Some(format!(
            "it is over content of the kind {}, and a module's is over data (pkcs7-data)",
            content.econtent_type
        ));
    }
    // Since Linux 7.0 a kernel may take them by ML-DSA (CONFIG_PKCS7_WAIVE_AUTHATTRS_REJECTION_FOR_MLDSA).
    let over_attributes =
        |info: &SignerInfo| info.signed_attrs.is_some() && !MLDSA.contains(&info.signature_algorithm.oid);
    data.signer_infos.0.iter().any(over_attributes).then(|| {
        "it is over attributes, and not over the module: the kernel says `Invalid module sig (has authattrs)`"
            .to_owned()
    })
}

/// The signature behind a module; none where nothing says that there is one.
pub(super) fn read(bytes: &[u8]) -> Option<Signature> {
    let mut signature = Signature { is_pkcs7: true, broken: None, length: 0, signer: None, key: None, hash: None };
    let Some((_, message, trailer)) = split(bytes) else {
        signature.broken = Some("it is longer than what lies before its end".to_owned());
        return bytes.ends_with(MAGIC).then_some(signature);
    };
    // algo, hash, id_type, signer_len, key_id_len, three of padding, sig_len.
    let others = [&trailer[..2], &trailer[3..8]].concat();
    signature.is_pkcs7 = trailer[2] == PKCS7;
    signature.length = message.len();
    if signature.is_pkcs7 && others.iter().any(|byte| *byte != 0) {
        signature.broken = Some("its trailer has fields that a PKCS#7 signature leaves empty".to_owned());
        return Some(signature);
    }
    let data = signed_data(message);
    signature.broken = data.as_ref().ok().and_then(refusal);
    match data.as_ref().map_err(Clone::clone).and_then(signer) {
        Ok(info) => {
            let key = match &info.sid {
                SignerIdentifier::IssuerAndSerialNumber(named) => {
                    signature.signer = Some(common_name(&named.issuer));
                    named.serial_number.as_bytes()
                }
                SignerIdentifier::SubjectKeyIdentifier(named) => named.0.as_bytes(),
            };
            signature.key = Some(key.iter().take(64).map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"));
            signature.hash = Some(hash_name(&info.digest_alg.oid));
        }
        // The kernel's decoder takes indefinite lengths as well, and this one does not: nothing is known of those.
        Err(reason) if signature.is_pkcs7 && !message.starts_with(&[0x30, 0x80]) => {
            signature.broken = Some(format!("it is no PKCS#7 message: {reason}"));
        }
        Err(_) => {}
    }
    Some(signature)
}

/// Whether one of `keys` made the signature behind a module.
pub fn trust(bytes: &[u8], keys: &[TrustedKey]) -> Trust {
    let Some((module, message, _)) = split(bytes) else { return Trust::Unsigned };
    let no_message = |reason: String| Trust::Unknown(format!("the signature is no PKCS#7 message: {reason}"));
    let data = match signed_data(message) {
        Ok(data) => data,
        Err(reason) => return no_message(reason),
    };
    if let Some(reason) = refusal(&data) {
        return Trust::Unknown(format!("no kernel takes the signature: {reason}"));
    }
    let info = match signer(&data) {
        Ok(info) => info,
        Err(reason) => return no_message(reason),
    };
    let Some(key) = keys.iter().find(|key| key.is_named_by(&info.sid)) else { return Trust::OtherKey };
    // Today's sign-file signs the module itself; with attributes, their bytes are what is signed.
    if let Some(attributes) = &info.signed_attrs {
        let count = attributes.to_der().map_or(0, |der| der.len());
        return Trust::Unknown(format!("it signs {count} bytes of attributes, which is not verified here"));
    }
    match key.signed(module, info) {
        Ok(true) => Trust::Valid(key.subject()),
        Ok(false) => Trust::Invalid(key.subject()),
        Err(reason) => Trust::Unknown(reason),
    }
}

impl Signature {
    /// Whether it names the key that another one names. Whether that key made it is another matter.
    pub(crate) fn names_key_of(&self, other: &Self) -> bool {
        self.key.is_some() && self.key == other.key && self.signer == other.signer
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        write!(f, "signer {}, key {}, hash {}", text(&self.signer), text(&self.key), text(&self.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::stranger::Signer;
    use super::*;

    fn key(signer: &Signer) -> TrustedKey {
        TrustedKey::parse(signer.pem().as_bytes()).expect("a certificate")
    }

    #[test]
    fn a_torn_signature_is_broken() {
        let mut bytes = fixture::module();
        bytes.extend_from_slice(&[7; 20]);
        bytes.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 20]);
        bytes.extend_from_slice(MAGIC);
        let read_one = read(&bytes).expect("a signature");
        assert_eq!((read_one.is_pkcs7, read_one.length, read_one.signer), (true, 20, None));
        assert!(read_one.broken.is_some_and(|why| why.contains("PKCS#7")));
        assert!(matches!(trust(&bytes, &[]), Trust::Unknown(_)));
        let length = bytes.len() - MAGIC.len() - 4;
        bytes[length..length + 4].copy_from_slice(&[0xff; 4]);
        for torn in [&bytes[..], MAGIC] {
            assert!(read(torn).and_then(|torn| torn.broken).is_some_and(|why| why.contains("longer")));
        }
        assert_eq!(read(&fixture::module()), None);
    }

    #[test]
    fn who_signed_is_read_and_verified() {
        let (ours, theirs) = (Signer::new("Vendor Signing Key"), Signer::new("Another Key"));
        let signed = ours.sign(&fixture::module());
        let signature = read(&signed).expect("a signature");
        assert_eq!(signature.signer.as_deref(), Some("Vendor Signing Key"));
        assert_eq!((signature.hash.as_deref(), signature.broken.as_deref()), (Some("sha256"), None));
        assert!(signature.key.as_ref().is_some_and(|key| key.contains(':')), "{signature}");
        assert_eq!(trust(&signed, &[key(&theirs), key(&ours)]), Trust::Valid("Vendor Signing Key".to_owned()));
        assert_eq!(trust(&signed, &[key(&theirs)]), Trust::OtherKey);
        assert_eq!(trust(&fixture::module(), &[key(&ours)]), Trust::Unsigned);
        assert!(signature.names_key_of(&read(&ours.sign(b"another")).expect("a signature")));
        assert!(!signature.names_key_of(&read(&theirs.sign(&fixture::module())).expect("a signature")));
        let mut altered = signed;
        altered[70] ^= 1;
        assert_eq!(trust(&altered, &[key(&ours)]), Trust::Invalid("Vendor Signing Key".to_owned()));
    }

    #[test]
    fn forms_that_every_kernel_refuses_are_broken_whoever_signed() {
        let signer = Signer::new("Vendor");
        let module = fixture::module();
        for (signed, words) in [
            (signer.sign_attributes(&module), Some("has authattrs")),
            (signer.sign_within(&module), Some("non-detached data")),
            (signer.sign_as_digest(&module), Some("over data (pkcs7-data)")),
            (signer.sign_attributes_with_mldsa(&module), None),
            (signer.sign(&module), None),
        ] {
            let signature = read(&signed).expect("a signature");
            assert_eq!(signature.signer.as_deref(), Some("Vendor"));
            assert_eq!(signature.broken.is_some(), words.is_some(), "{words:?} {signature:?}");
            if let (Some(reason), Some(words)) = (signature.broken, words) {
                assert!(reason.contains(words), "{reason}");
                assert!(matches!(trust(&signed, &[key(&signer)]), Trust::Unknown(told) if told.contains(words)));
            }
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("key.pem");
        let told = || TrustedKey::read(&path).expect_err("no certificate").to_string();
        assert!(told().contains("cannot read the certificate"));
        for content in [&b"junk"[..], b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b""] {
            std::fs::write(&path, content).expect("written");
            assert!(told().contains("no X.509 certificate"), "{}", told());
        }
        std::fs::write(&path, Signer::new("x").pem()).expect("written");
        assert_eq!(TrustedKey::read(&path).expect("a certificate").subject(), "x");
    }
}
