//! Copying an image, byte for byte, into an OCI image layout: what a registry of the harness then serves.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use oci_spec::image::{
    Descriptor as OciDescriptor, ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder, SCHEMA_VERSION,
    Sha256Digest,
};
use sha2::{Digest, Sha256};

use super::{Descriptor, Error, Fault, Image, hex_of};

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// `sha256:…` of the manifest that the registry gives for the image.
    pub manifest_digest: String,
    /// Bytes of all blobs, as they are pulled.
    pub bytes: u64,
}

impl Image {
    /// Writes the manifest, the config and the layers into an empty directory. A layer is only copied, and not
    /// unpacked; its bytes are verified. What `docker save` wrote has no manifest and gets one.
    pub(crate) fn copy(&self, dir: &Path) -> Result<Copied, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Write { path, source }
        };
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
        for blob in self.layers.iter().chain([&self.config]) {
            let path = blobs.join(hex_of(&blob.digest)?);
            // The same layer may stand twice in an image.
            if !path.exists() {
                copy_blob(self.blobs.open(blob)?, blob, &path)?;
            }
        }
        let manifest = match &self.manifest {
            Some(bytes) => bytes.clone(),
            None => self.manifest_of_layers(&blobs)?,
        };
        let manifest_digest = super::digest(&manifest);
        let path = blobs.join(hex_of(&manifest_digest)?);
        fs::write(&path, &manifest).map_err(failed(&path))?;
        let media_type = media_type(&manifest);
        let descriptor = OciDescriptor::new(media_type, manifest.len() as u64, sha256(&manifest_digest)?);
        let made = |error: oci_spec::OciSpecError| Error::Layout { path: dir.to_owned(), reason: error.to_string() };
        let index = ImageIndexBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageIndex)
            .manifests(vec![descriptor])
            .build()
            .map_err(made)?;
        let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build().map_err(made)?;
        for (name, text) in [("index.json", json(&index)), ("oci-layout", json(&layout))] {
            let path = dir.join(name);
            text.and_then(|text| fs::write(&path, text)).map_err(failed(&path))?;
        }
        Ok(Copied { manifest_digest, bytes: self.size })
    }

    /// A manifest for layers that came without one.
    fn manifest_of_layers(&self, blobs: &Path) -> Result<Vec<u8>, Error> {
        let failed =
            |error: oci_spec::OciSpecError| Error::Layout { path: blobs.to_owned(), reason: error.to_string() };
        let layers = self.layers.iter().map(|layer| {
            let path = blobs.join(hex_of(&layer.digest)?);
            let mut start = Vec::new();
            let read = File::open(&path).and_then(|file| file.take(4).read_to_end(&mut start));
            read.map_err(|source| Error::Read { path, source })?;
            let media_type = match start.as_slice() {
                [0x1f, 0x8b, ..] => MediaType::ImageLayerGzip,
                [0x28, 0xb5, 0x2f, 0xfd] => MediaType::ImageLayerZstd,
                _ => MediaType::ImageLayer,
            };
            Ok(OciDescriptor::new(media_type, layer.size, sha256(&layer.digest)?))
        });
        let layers = layers.collect::<Result<Vec<_>, Error>>()?;
        let config = OciDescriptor::new(MediaType::ImageConfig, self.config.size, sha256(&self.config.digest)?);
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(layers)
            .build()
            .map_err(failed)?;
        json(&manifest).map_err(|source| Error::Write { path: blobs.to_owned(), source })
    }
}

/// What a manifest says that it is; OCI's kind need not say it.
fn media_type(manifest: &[u8]) -> MediaType {
    let parsed: serde_json::Value = serde_json::from_slice(manifest).unwrap_or_default();
    parsed["mediaType"].as_str().map_or(MediaType::ImageManifest, MediaType::from)
}

fn json(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

fn sha256(digest: &str) -> Result<Sha256Digest, Error> {
    let damaged = |reason: String| Error::Fault(Fault::Blob { digest: digest.to_owned(), reason });
    hex_of(digest)?.parse().map_err(|error: oci_spec::OciSpecError| damaged(error.to_string()))
}

/// Copies a blob; what is not as its descriptor says is refused, and no more of it is read.
fn copy_blob(blob: impl Read, descriptor: &Descriptor, path: &Path) -> Result<(), Error> {
    let damaged = |reason: String| Error::Fault(Fault::Blob { digest: descriptor.digest.clone(), reason });
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let mut file = File::create_new(path).map_err(failed)?;
    let (mut hash, mut length, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
    let mut blob = blob.take(descriptor.size + 1);
    loop {
        let read = blob.read(&mut buffer).map_err(|error| damaged(format!("can't be read: {error}")))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        length += read as u64;
        file.write_all(&buffer[..read]).map_err(failed)?;
    }
    if length != descriptor.size {
        return Err(damaged(format!("has not the {} bytes that what refers to it says", descriptor.size)));
    }
    let found = format!("sha256:{}", hex::encode(hash.finalize()));
    if found == descriptor.digest { Ok(()) } else { Err(damaged(format!("has the digest {found}"))) }
}
