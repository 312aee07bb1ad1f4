//! Writing an image as an OCI image layout directory.

use std::fs;
use std::path::Path;

use oci_spec::image::{
    Arch, Config, Descriptor, ImageConfigurationBuilder, ImageIndex, ImageIndexBuilder, ImageManifestBuilder,
    MediaType, OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder, Sha256Digest,
};
use oci_spec::{OciSpecError, image::SCHEMA_VERSION};

use super::Error;
use super::layer::{Layer, digest};
use super::pack::ImageConfig;
use crate::architecture::Architecture;

/// Writes an image with one layer, for a processor, into an existing directory; gives the digest of what a tag names. The same layer gives the
/// same bytes: nothing in the image tells when it was made.
pub(super) fn write(
    dir: &Path,
    layer: &Layer,
    about: &ImageConfig,
    architecture: Architecture,
) -> Result<String, Error> {
    let architecture = if about.other_architecture { architecture.other() } else { architecture };
    let architecture = Arch::from(architecture.debian_name());
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
    let layer_descriptor = blob(&blobs, MediaType::ImageLayerGzip, &layer.bytes)?;
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids(vec![layer.diff_id.clone()]).build()?;
    let mut process = Config::default();
    process.set_user(about.user.clone());
    process.set_entrypoint(about.entrypoint.clone());
    let config = ImageConfigurationBuilder::default()
        .architecture(architecture.clone())
        .os(Os::Linux)
        .config(process)
        .rootfs(rootfs)
        .build()?;
    let config = blob(&blobs, MediaType::ImageConfig, &json(&config)?)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(vec![layer_descriptor])
        .build()?;
    let mut manifest = blob(&blobs, MediaType::ImageManifest, &json(&manifest)?)?;
    let digest = manifest.digest().to_string();
    manifest.set_platform(Some(PlatformBuilder::default().architecture(architecture).os(Os::Linux).build()?));
    let index = json(&index_of(manifest)?)?;
    let (named, digest) = if !about.other_architecture {
        (index, digest)
    } else {
        // As builds for several publish it: the tag names an index of platforms.
        let index = blob(&blobs, MediaType::ImageIndex, &index)?;
        let digest = index.digest().to_string();
        (json(&index_of(index)?)?, digest)
    };
    write_file(&dir.join("index.json"), &named)?;
    let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
    write_file(&dir.join("oci-layout"), &json(&layout)?)?;
    Ok(digest)
}

fn index_of(manifest: Descriptor) -> Result<ImageIndex, Error> {
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![manifest])
        .build()?;
    Ok(index)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    Ok(serde_json::to_vec(value).map_err(OciSpecError::from)?)
}

fn blob(blobs: &Path, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor, Error> {
    let digest = digest(bytes);
    let hex = digest.trim_start_matches("sha256:");
    write_file(&blobs.join(hex), bytes)?;
    let digest: Sha256Digest = hex.parse()?;
    Ok(Descriptor::new(media_type, bytes.len() as u64, digest))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use oci_spec::image::{ImageConfiguration, ImageManifest};

    use super::super::layer;
    use super::*;

    #[test]
    fn every_digest_and_size_in_the_layout_is_that_of_its_blob() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let layer = layer::build(&[("/a/b".to_owned(), layer::Entry::File(b"x".to_vec()))].into()).expect("a layer");
        let manifest_digest =
            write(dir.path(), &layer, &ImageConfig::default(), Architecture::X86_64).expect("written");
        let blob = |descriptor: &Descriptor| {
            let bytes = fs::read(dir.path().join("blobs/sha256").join(descriptor.digest().digest())).expect("a blob");
            assert_eq!(descriptor.digest().to_string(), digest(&bytes));
            assert_eq!(descriptor.size(), bytes.len() as u64);
            bytes
        };
        let index = ImageIndex::from_file(dir.path().join("index.json")).expect("an index");
        assert_eq!(index.manifests()[0].digest().to_string(), manifest_digest);
        let manifest = ImageManifest::from_reader(blob(&index.manifests()[0]).as_slice()).expect("a manifest");
        let config = ImageConfiguration::from_reader(blob(manifest.config()).as_slice()).expect("a config");
        assert_eq!(blob(&manifest.layers()[0]), layer.bytes);
        assert_eq!(config.rootfs().diff_ids(), std::slice::from_ref(&layer.diff_id));
        assert_eq!((config.architecture(), config.os()), (&Arch::Amd64, &Os::Linux));
        let blobs = fs::read_dir(dir.path().join("blobs/sha256")).expect("listed").count();
        assert_eq!(blobs, 3, "nothing else lies among the blobs");
        let again = tempfile::tempdir().expect("temporary directory");
        assert_eq!(
            write(again.path(), &layer, &ImageConfig::default(), Architecture::X86_64).expect("written"),
            manifest_digest
        );
    }

    #[test]
    fn an_image_for_another_architecture_stands_in_an_index_of_platforms() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let layer = layer::build(&[("/a".to_owned(), layer::Entry::File(b"x".to_vec()))].into()).expect("a layer");
        let about = ImageConfig { other_architecture: true, user: Some("1001".to_owned()), entrypoint: None };
        let digest = write(dir.path(), &layer, &about, Architecture::X86_64).expect("written");
        let index = ImageIndex::from_file(dir.path().join("index.json")).expect("an index");
        assert_eq!(index.manifests()[0].digest().to_string(), digest);
        assert_eq!(index.manifests()[0].media_type(), &MediaType::ImageIndex);
        let nested = dir.path().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let nested = ImageIndex::from_file(nested).expect("an index");
        let platform = nested.manifests()[0].platform().as_ref().expect("a platform").clone();
        assert_eq!(platform.architecture(), &Arch::ARM64);
    }
}
