//! Driver images in the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{BuildRoot, Error, OciLayout, PackSpec, pack_image};
use crate::cache::{self, Cache};

/// Beside its filler.
const NEED_MIB: u64 = 64;
/// Changes when packing makes other bytes of the same content.
const FORMAT: &[u8] = b"day1 driver image 6";
const LAYOUT: &str = "layout";
const RECORD: &str = "image.json";

/// What an entry says of itself.
#[derive(Serialize, Deserialize)]
struct Record {
    manifest_digest: String,
    modules: BTreeMap<String, Option<String>>,
    bytes: u64,
}

/// The packed image from the cache; packed first where it is missing.
pub fn ensure_image(cache: &Cache, build_root: &BuildRoot, spec: &PackSpec) -> Result<OciLayout, Error> {
    let entry =
        cache.entry("driver-image", &key(build_root, spec)?, NEED_MIB + (spec.filler_bytes >> 20), |partial| {
            let packed = pack_image(build_root, &partial.join(LAYOUT), spec)?;
            let record =
                Record { manifest_digest: packed.manifest_digest, modules: packed.modules, bytes: packed.bytes };
            let path = partial.join(RECORD);
            let text = serde_json::to_vec(&record).map_err(std::io::Error::from).map_err(Error::io("encode", &path))?;
            fs::write(&path, text).map_err(Error::io("write", &path))
        })?;
    let record = read(&entry.join(RECORD))?;
    let Record { manifest_digest, modules, bytes } = record;
    Ok(OciLayout { dir: entry.join(LAYOUT), manifest_digest, modules, bytes })
}

fn read(path: &Path) -> Result<Record, Error> {
    let text = fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&text).map_err(std::io::Error::from).map_err(Error::io("read", path))
}

/// Over everything that shapes the image's bytes; the build root brings `depmod`.
fn key(build_root: &BuildRoot, spec: &PackSpec) -> Result<String, Error> {
    let mut parts: Vec<Vec<u8>> = vec![
        FORMAT.to_vec(),
        build_root.key.clone().into_bytes(),
        spec.kernel_release.clone().into_bytes(),
        format!("{:?} {:?} {} {:?}", spec.base, spec.variant, spec.filler_bytes, spec.config).into_bytes(),
    ];
    for module in &spec.modules {
        parts.push(module.path.file_name().unwrap_or_default().as_encoded_bytes().to_vec());
        parts.push(fs::read(&module.path).map_err(Error::io("read", &module.path))?);
    }
    for (path, module) in &spec.host_modules {
        parts.push(path.clone().into_bytes());
        parts.push(fs::read(&module.path).map_err(Error::io("read", &module.path))?);
    }
    for (path, contents) in &spec.files {
        parts.push(path.clone().into_bytes());
        parts.push(contents.clone());
    }
    Ok(cache::key(parts.iter().map(Vec::as_slice)))
}
