//! One who signs modules with a key of their own, for tests.

use rcgen::SigningKey;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::signer;

/// One who signs modules.
pub(crate) struct Signer {
    key: rcgen::KeyPair,
    certificate: rcgen::Certificate,
}

impl Signer {
    /// With a new key, and a certificate for it with that common name.
    pub(crate) fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { key, certificate }
    }

    /// The certificate.
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The module with a signature behind it, as the kernel's sign-file makes it.
    pub(crate) fn sign(&self, module: &[u8]) -> Vec<u8> {
        let ecdsa = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
        let algorithm = AlgorithmIdentifierOwned { oid: ecdsa, parameters: None };
        let signature = self.key.sign(module).expect("signed");
        signer::append(module.to_vec(), self.certificate.der(), algorithm, signature).expect("encoded")
    }
}
