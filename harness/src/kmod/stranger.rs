//! One who signs modules with a key of their own, for tests.

use cms::signed_data::{SignedData, SignerInfo, SignerInfos};
use rcgen::SigningKey;
use x509_cert::attr::Attribute;
use x509_cert::der::Any;
use x509_cert::der::asn1::{ObjectIdentifier, OctetString, SetOfVec};
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
        self.sign_with(module, |_| ())
    }

    /// As `openssl cms -sign` makes it without `-noattr`: over attributes, of which one is the module's digest.
    pub(crate) fn sign_attributes(&self, module: &[u8]) -> Vec<u8> {
        self.sign_with(module, |data| change_signer(data, |info| info.signed_attrs = Some(content_type())))
    }

    /// The same, with an ML-DSA key by its name.
    pub(crate) fn sign_attributes_with_mldsa(&self, module: &[u8]) -> Vec<u8> {
        self.sign_with(module, |data| {
            change_signer(data, |info| {
                info.signed_attrs = Some(content_type());
                info.signature_algorithm.oid = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
            });
        })
    }

    /// As `openssl cms -sign -nodetach` makes it: with the signed bytes in it.
    pub(crate) fn sign_within(&self, module: &[u8]) -> Vec<u8> {
        self.sign_with(module, |data| {
            let bytes = OctetString::new(module).expect("a short module");
            data.encap_content_info.econtent = Some(Any::encode_from(&bytes).expect("encoded"));
        })
    }

    /// Over something that is not called data.
    pub(crate) fn sign_as_digest(&self, module: &[u8]) -> Vec<u8> {
        let digested = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.5");
        self.sign_with(module, |data| data.encap_content_info.econtent_type = digested)
    }

    fn sign_with(&self, module: &[u8], change: impl FnOnce(&mut SignedData)) -> Vec<u8> {
        let ecdsa = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
        let algorithm = AlgorithmIdentifierOwned { oid: ecdsa, parameters: None };
        let signature = self.key.sign(module).expect("signed");
        let mut data = signer::message(self.certificate.der(), algorithm, signature).expect("a message");
        change(&mut data);
        signer::attach(module.to_vec(), &data).expect("encoded")
    }
}

fn change_signer(data: &mut SignedData, change: impl FnOnce(&mut SignerInfo)) {
    let mut info = data.signer_infos.0.get(0).cloned().expect("a signer");
    change(&mut info);
    data.signer_infos = SignerInfos(SetOfVec::try_from(vec![info]).expect("one"));
}

/// The attribute that says what is signed.
fn content_type() -> SetOfVec<Attribute> {
    let values = SetOfVec::try_from(vec![Any::encode_from(&signer::DATA).expect("encoded")]).expect("one");
    let attribute = Attribute { oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3"), values };
    SetOfVec::try_from(vec![attribute]).expect("one")
}
