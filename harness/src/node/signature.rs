//! OpenPGP signatures of downloads, by keys whose fingerprints a definition pins.

use std::fs::{self, File};
use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};

use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey};
use pgp::types::KeyDetails;
use serde::{Deserialize, Serialize};

use super::Error;
use super::word::word;

/// A detached signature is some 600 bytes.
pub(super) const LIMIT: u64 = 64 * 1024;

/// Who must have signed a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// Nobody: only the stream's checksum is compared.
    None,
    /// One of these keys.
    Keys {
        /// A file with armored public keys.
        keys: PathBuf,
        /// The fingerprints of those in it that count.
        fingerprints: Vec<Fingerprint>,
    },
}

word!(
    /// The fingerprint of an OpenPGP key, version 4.
    Fingerprint,
    |text| {
        let digits = text.replace(' ', "");
        digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    },
    "a fingerprint: 40 hex digits, spaces between them don't count"
);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: PathBuf,
    fingerprints: Vec<Fingerprint>,
}

impl Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str("none"),
            Self::Keys { keys, fingerprints } => {
                Keys { keys: keys.clone(), fingerprints: fingerprints.clone() }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Signature;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`none`, or `keys` (a file) and `fingerprints`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Signature, E> {
                if text == "none" {
                    Ok(Signature::None)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Signature, A::Error> {
                let Keys { keys, fingerprints } = Keys::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                if fingerprints.is_empty() {
                    return Err(serde::de::Error::custom(
                        "no fingerprint is pinned, so nobody's signature would count",
                    ));
                }
                Ok(Signature::Keys { keys, fingerprints })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Signature {
    pub(super) fn beside(self, dir: &Path) -> Self {
        match self {
            Self::None => Self::None,
            Self::Keys { keys, fingerprints } => Self::Keys { keys: dir.join(keys), fingerprints },
        }
    }

    /// The keys whose fingerprints are pinned; none where nobody needs to have signed.
    pub(super) fn check(&self) -> Result<Vec<SignedPublicKey>, Error> {
        let Self::Keys { keys: path, fingerprints } = self else { return Ok(Vec::new()) };
        let bad = |problem: String| Error::Keys { path: path.clone(), problem };
        let text = fs::read(path).map_err(Error::io("read", path))?;
        let (keys, _) = SignedPublicKey::from_armor_many(Cursor::new(&text)).map_err(|error| bad(error.to_string()))?;
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|error| bad(error.to_string()))?;
        let pinned: Vec<String> =
            fingerprints.iter().map(|one| one.as_str().replace(' ', "").to_ascii_lowercase()).collect();
        let of = |key: &SignedPublicKey| hex::encode(key.fingerprint().as_bytes());
        if let Some(missing) = pinned.iter().find(|fingerprint| !keys.iter().any(|key| of(key) == **fingerprint)) {
            let known: Vec<String> = keys.iter().map(of).collect();
            return Err(bad(format!("it has no key with the fingerprint {missing}, only {}", known.join(", "))));
        }
        Ok(keys.into_iter().filter(|key| pinned.contains(&of(key))).collect())
    }
}

/// Whether one of the keys signed the file; gives its first user id and its fingerprint.
pub(super) fn verify(keys: &[SignedPublicKey], signature: &[u8], file: &Path) -> Result<String, String> {
    let parsed = if signature.starts_with(b"-----BEGIN") {
        DetachedSignature::from_armor_single(Cursor::new(signature)).map(|(signature, _)| signature)
    } else {
        DetachedSignature::from_bytes(Cursor::new(signature))
    };
    let signature = parsed.map_err(|error| format!("it is no OpenPGP signature: {error}"))?.signature;
    let mut why = Vec::new();
    for key in keys {
        let open =
            || File::open(file).map(BufReader::new).map_err(|error| format!("cannot read {}: {error}", file.display()));
        // A key signs by itself, or by a subkey that it vouches for.
        let mut outcomes = vec![signature.verify(&key.primary_key, open()?)];
        for subkey in key.public_subkeys.iter().filter(|subkey| subkey.verify_bindings(&key.primary_key).is_ok()) {
            outcomes.push(signature.verify(&subkey.key, open()?));
        }
        if outcomes.iter().any(Result::is_ok) {
            let user = key.details.users.first().map(|user| String::from_utf8_lossy(user.id.id()).into_owned());
            let fingerprint = hex::encode_upper(key.fingerprint().as_bytes());
            return Ok(format!("{} ({fingerprint})", user.unwrap_or_default()));
        }
        why.extend(outcomes.into_iter().filter_map(Result::err).map(|error| error.to_string()));
    }
    let issuers: Vec<String> =
        signature.issuer_fingerprint().iter().map(|one| hex::encode_upper(one.as_bytes())).collect();
    why.dedup();
    Err(format!(
        "none of the {} pinned keys made it; it says that it is by {}: {}",
        keys.len(),
        if issuers.is_empty() { "nobody".to_owned() } else { issuers.join(", ") },
        why.join("; ")
    ))
}
