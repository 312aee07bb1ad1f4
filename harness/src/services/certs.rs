//! The certificates and the pull credentials that the services present to the guest.
//!
//! They are made once per cache, because they are part of rendered configs, which must keep their bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rcgen::{KeyUsagePurpose, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};

use crate::cache::{self, Cache};
use crate::services::{CONFIG_SERVER_ADDRESS, GATEWAY_ADDRESS, GATEWAY_NAME};

/// Changes when what an entry holds changes.
const FORMAT: &str = "v3";

/// One certificate authority, the two servers' certificates that it signed, and the pull credentials.
#[derive(Debug, Clone)]
pub struct Authority {
    ca_pem: String,
    gateway: BTreeMap<Certificate, Arc<ServerConfig>>,
    config_server: Arc<ServerConfig>,
    credentials: Credentials,
}

/// What the gateway's certificate is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certificate {
    /// It holds from 1970 to 2099.
    #[default]
    Good,
    /// It holds from 2024 on.
    Recent,
    /// It ended in 2001.
    Expired,
    /// It is for another address.
    OtherName,
    /// Another authority signed it.
    UnknownAuthority,
}

impl Certificate {
    const ALL: [Self; 5] = [Self::Good, Self::Recent, Self::Expired, Self::OtherName, Self::UnknownAuthority];

    /// The name of its files.
    fn name(self) -> &'static str {
        match self {
            Self::Good => "gateway",
            Self::Recent => "gateway-recent",
            Self::Expired => "gateway-expired",
            Self::OtherName => "gateway-other-name",
            Self::UnknownAuthority => "gateway-unknown-authority",
        }
    }

    fn params(self) -> CertificateParams {
        // An address for documentation (RFC 5737): nobody's.
        let mut params = match self {
            Self::OtherName => leaf_params("other host", "192.0.2.1"),
            _ => leaf_params("gateway", GATEWAY_ADDRESS),
        };
        match self {
            Self::Recent => params.not_before = rcgen::date_time_ymd(2024, 1, 1),
            Self::Expired => params.not_after = rcgen::date_time_ymd(2001, 1, 1),
            Self::Good | Self::OtherName | Self::UnknownAuthority => {}
        }
        params
    }
}

/// User and password of the gateway's basic auth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl Credentials {
    /// `user:password` in base64, as a pull secret's `auth` and an `Authorization` header have it.
    pub fn basic(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.user, self.password))
    }
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A file of the entry can't be written or read.
    #[error("cannot {what} {path}: {source}; `rm -r` the directory of that file to have it made anew")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate can't be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What the cache holds is no certificate or key of ours.
    #[error("the certificate authority in {dir} is unusable: {reason}; remove that directory to have it made anew")]
    Unusable {
        /// The cache's entry.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Authority {
    /// The cache's authority; made first where it is missing.
    pub fn open(cache: &Cache) -> Result<Self, Error> {
        let dir = cache.entry("ca", FORMAT, 1, make)?;
        Self::read(&dir)
    }

    /// The certificate of the authority, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The pull credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Credentials that the gateway refuses.
    pub fn wrong_credentials(&self) -> Credentials {
        Credentials { user: self.credentials.user.clone(), password: "wrong".to_owned() }
    }

    pub(super) fn gateway_tls(&self, certificate: Certificate) -> Arc<ServerConfig> {
        // All of them were read.
        Arc::clone(&self.gateway[&certificate])
    }

    pub(super) fn config_server_tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config_server)
    }

    fn read(dir: &Path) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Unusable { dir: dir.to_owned(), reason };
        let credentials = read(&dir.join("credentials"))?;
        let (user, password) = credentials
            .trim_end()
            .split_once(':')
            .ok_or_else(|| unusable("`credentials` is not `user:password`".to_owned()))?;
        Ok(Self {
            ca_pem: read(&dir.join("ca.crt"))?,
            gateway: Certificate::ALL
                .into_iter()
                .map(|certificate| Ok((certificate, server_config(dir, certificate.name()).map_err(unusable)?)))
                .collect::<Result<_, Error>>()?,
            config_server: server_config(dir, "config-server").map_err(unusable)?,
            credentials: Credentials { user: user.to_owned(), password: password.to_owned() },
        })
    }

    /// A TLS client's trust in this authority and in nothing else.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(self.ca_pem.as_bytes()).flatten());
        roots
    }
}

fn make(dir: &Path) -> Result<(), Error> {
    let ca_key = KeyPair::generate()?;
    let ca = ca_params();
    write(&dir.join("ca.crt"), 0o644, &ca.self_signed(&ca_key)?.pem())?;
    let issuer = Issuer::new(ca, ca_key);
    let stranger = Issuer::new(ca_params(), KeyPair::generate()?);
    for certificate in Certificate::ALL {
        let issuer = if certificate == Certificate::UnknownAuthority { &stranger } else { &issuer };
        sign(dir, certificate.name(), certificate.params(), issuer)?;
    }
    sign(dir, "config-server", leaf_params("config-server", CONFIG_SERVER_ADDRESS), &issuer)?;
    let path = dir.join("credentials");
    let random = super::socket::random_uuid().map_err(|source| Error::File {
        what: "make a password for",
        path: path.clone(),
        source,
    })?;
    write(&path, 0o600, &format!("day1:{}\n", random.replace('-', "")))
}

fn sign(dir: &Path, name: &str, params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<(), Error> {
    let key = KeyPair::generate()?;
    write(&dir.join(format!("{name}.crt")), 0o644, &params.signed_by(&key, issuer)?.pem())?;
    write(&dir.join(format!("{name}.key")), 0o600, &key.serialize_pem())
}

/// A guest's clock may be off: certificates hold from the epoch that an empty real-time clock shows.
fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = rcgen::date_time_ymd(2099, 12, 31);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn ca_params() -> CertificateParams {
    let mut params = params("day1 harness CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str, address: &str) -> CertificateParams {
    let mut params = params(&format!("day1 harness {name}"));
    let address: IpAddr = address.parse().expect("the guest-side addresses are constants");
    params.subject_alt_names = vec![SanType::IpAddress(address)];
    if name == "gateway" {
        let host = GATEWAY_NAME.try_into().expect("the gateway's name is a constant, in ASCII");
        params.subject_alt_names.push(SanType::DnsName(host));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn server_config(dir: &Path, name: &str) -> Result<Arc<ServerConfig>, String> {
    let chain = CertificateDer::pem_file_iter(dir.join(format!("{name}.crt")))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{name}.crt: {error}"))?;
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key")))
        .map_err(|error| format!("{name}.key: {error}"))?;
    // The provider is named because a process may hold more than one, and rustls then refuses to choose.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| format!("{name}: {error}"))?;
    Ok(Arc::new(config))
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), Error> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::File { what: "write", path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { what: "read", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_keeps_its_authority() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("cache");
        let first = Authority::open(&cache).expect("made");
        let second = Authority::open(&cache).expect("read");
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert_eq!(first.credentials(), second.credentials());
        assert_eq!(first.roots().len(), 1);
    }

    #[test]
    fn a_damaged_authority_is_told_with_its_place() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("cache");
        Authority::open(&cache).expect("made");
        let entry = cache.find("ca", FORMAT).expect("an entry");
        fs::write(entry.join("gateway.key"), "no key").expect("written");
        let error = Authority::open(&cache).expect_err("unusable");
        assert!(error.to_string().contains("gateway.key"), "{error}");
        assert!(error.to_string().contains(&*entry.to_string_lossy()), "{error}");
    }
}
