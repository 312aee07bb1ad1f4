//! Keys that sign modules as a vendor does, with the kernel's `sign-file`.

use std::fs;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKey, KeySize};
use cms::cert::IssuerAndSerialNumber;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, SigningKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetString, SetOfVec};
use x509_cert::der::{Any, Decode, Encode};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::Error;
use super::signature::{MAGIC, PKCS7};
use crate::cache::Cache;

/// Changes when another key, or another certificate for it, is made.
const FORMAT: &str = "v1";
const KEY: &str = "key.der";
const CERTIFICATE: &str = "certificate.der";

/// What a signature of a module is over, by its name in PKCS#7.
pub(super) const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A key that signs modules, and the certificate by which a kernel knows it.
#[derive(Debug)]
pub struct ModuleKey {
    key: KeyPair,
    certificate: Vec<u8>,
}

impl ModuleKey {
    /// The cache's key of that name; made first where it is missing. Images that it signs keep their bytes.
    pub fn ensure(cache: &Cache, name: &str) -> Result<Self, Error> {
        let dir = cache.entry("module-key", &format!("{FORMAT}-{name}"), 1, |dir| {
            Self::new(&format!("day1 module key {name}"))?.write(dir)
        })?;
        let read = |file: &str| fs::read(dir.join(file)).map_err(Error::io("read", dir.join(file)));
        Ok(Self { key: rsa_key(read(KEY)?)?, certificate: read(CERTIFICATE)? })
    }

    /// A new key, with this common name. RSA: with other keys a kernel may have to load a module first, which it can't when it reads them.
    fn new(name: &str) -> Result<Self, Error> {
        let key = RsaKey::generate(KeySize::Rsa2048).and_then(|key| AsDer::<Pkcs8V1Der<'_>>::as_der(&key));
        let key = rsa_key(key.map_err(sign("make an RSA key"))?.as_ref().to_vec())?;
        let mut params = CertificateParams::default();
        // The kernel reads years from 1970 on.
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2099, 12, 31);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).map_err(sign("make a certificate"))?.der().to_vec();
        Ok(Self { key, certificate })
    }

    fn write(&self, dir: &Path) -> Result<(), Error> {
        for (name, bytes) in [(KEY, self.key.serialized_der()), (CERTIFICATE, &self.certificate)] {
            fs::write(dir.join(name), bytes).map_err(Error::io("write", dir.join(name)))?;
        }
        Ok(())
    }

    /// The certificate, in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The module with a signature behind it, as `sign-file` makes it.
    pub(super) fn sign(&self, module: Vec<u8>) -> Result<Vec<u8>, Error> {
        let signature = self.key.sign(&module).map_err(sign("sign a module"))?;
        let algorithm = AlgorithmIdentifierOwned { oid: RSA, parameters: Some(Any::null()) };
        append(module, &self.certificate, algorithm, signature).map_err(sign("put a signature behind a module"))
    }
}

/// Puts a signature over the sha256 of the module behind it.
fn append(
    module: Vec<u8>,
    certificate: &[u8],
    algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
) -> Result<Vec<u8>, x509_cert::der::Error> {
    attach(module, &message(certificate, algorithm, signature)?)
}

/// A signature by sha256 as the kernel takes it: without the signed bytes, attributes and the certificate.
pub(super) fn message(
    certificate: &[u8],
    algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
) -> Result<SignedData, x509_cert::der::Error> {
    let about = Certificate::from_der(certificate)?.tbs_certificate;
    let sha256 = AlgorithmIdentifierOwned { oid: SHA256, parameters: None };
    let info = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: about.issuer,
            serial_number: about.serial_number,
        }),
        digest_alg: sha256.clone(),
        signed_attrs: None,
        signature_algorithm: algorithm,
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    Ok(SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![sha256])?,
        encap_content_info: EncapsulatedContentInfo { econtent_type: DATA, econtent: None },
        certificates: None,
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![info])?),
    })
}

/// Puts a PKCS#7 message behind a module.
pub(super) fn attach(mut module: Vec<u8>, data: &SignedData) -> Result<Vec<u8>, x509_cert::der::Error> {
    let message = ContentInfo { content_type: SIGNED_DATA, content: Any::encode_from(data)? }.to_der()?;
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    module.extend(message);
    // `struct module_signature`: of PKCS#7 the kind and the length are told.
    module.extend([0, 0, PKCS7, 0, 0, 0, 0, 0]);
    module.extend(length.to_be_bytes());
    module.extend(MAGIC);
    Ok(module)
}

fn rsa_key(der: Vec<u8>) -> Result<KeyPair, Error> {
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_RSA_SHA256)
        .map_err(sign("use an RSA key"))
}

fn sign<E: ToString>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Sign { what, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::{Trust, TrustedKey, fixture, trust};
    use super::*;

    #[test]
    fn a_cache_keeps_its_keys_and_they_sign_alike() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("cache");
        let key = |name: &str| ModuleKey::ensure(&cache, name).expect("a key");
        let (vendor, again, stranger) = (key("vendor"), key("vendor"), key("stranger"));
        assert_eq!(vendor.certificate(), again.certificate());
        assert_ne!(vendor.certificate(), stranger.certificate());
        let signed = |key: &ModuleKey| key.sign(fixture::module()).expect("signed");
        assert_eq!(signed(&vendor), signed(&again));
        let trusted = [TrustedKey::parse(vendor.certificate()).expect("a certificate")];
        assert_eq!(trust(&signed(&vendor), &trusted), Trust::Valid("day1 module key vendor".to_owned()));
        assert_eq!(trust(&signed(&stranger), &trusted), Trust::OtherKey);
    }
}
