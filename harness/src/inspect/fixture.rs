//! Images and kernels made by hand, for tests. Without a word of the crate: the command line's tests have it, too.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What an image or a layer has at a path.
#[derive(Clone)]
pub(crate) enum Item {
    File(Vec<u8>),
    Program(Vec<u8>),
    Link(String),
    HardLink(String),
}

/// The files of a layer, by their path without a leading slash.
pub(crate) type Items = BTreeMap<String, Item>;

/// A layer's archive.
pub(crate) fn archive(items: &Items) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, item) in items {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        match item {
            Item::File(bytes) | Item::Program(bytes) => {
                if matches!(item, Item::Program(_)) {
                    header.set_mode(0o755);
                }
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, path, bytes.as_slice()).expect("appended");
            }
            Item::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, path, target).expect("appended");
            }
            Item::HardLink(target) => {
                header.set_entry_type(tar::EntryType::Link);
                builder.append_link(&mut header, path, target).expect("appended");
            }
        }
    }
    builder.into_inner().expect("finished")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// What an image says of itself.
#[derive(Clone)]
pub(crate) struct About {
    pub(crate) architecture: String,
    pub(crate) user: Option<String>,
    pub(crate) tag: Option<String>,
    /// Stands in an index of platforms.
    pub(crate) indexed: bool,
    /// In the words of Docker.
    pub(crate) docker: bool,
}

impl Default for About {
    fn default() -> Self {
        Self { architecture: "amd64".into(), user: None, tag: None, indexed: false, docker: false }
    }
}

fn blob(dir: &Path, kind: &str, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    let path = dir.join("blobs/sha256").join(&digest["sha256:".len()..]);
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, bytes).expect("written");
    json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
}

fn config(about: &About, archives: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = archives.iter().map(|archive| digest(archive)).collect();
    let process = about.user.as_ref().map_or(json!({}), |user| json!({ "User": user }));
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    json!({ "architecture": about.architecture, "os": "linux", "config": process, "rootfs": rootfs })
        .to_string()
        .into_bytes()
}

/// Writes an OCI image layout with these layers, each as its archive and as it is stored. Gives the manifest's digest.
pub(crate) fn layout(dir: &Path, about: &About, layers: &[(Vec<u8>, Vec<u8>)]) -> String {
    let archives: Vec<Vec<u8>> = layers.iter().map(|(archive, _)| archive.clone()).collect();
    let (manifest_kind, config_kind) = if about.docker {
        ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.container.image.v1+json")
    } else {
        ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json")
    };
    let config = blob(dir, config_kind, &config(about, &archives));
    let layers: Vec<Value> =
        layers.iter().map(|(_, stored)| blob(dir, "application/vnd.oci.image.layer.v1.tar+gzip", stored)).collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": manifest_kind, "config": config, "layers": layers });
    let mut root = blob(dir, manifest_kind, manifest.to_string().as_bytes());
    if about.indexed {
        root["platform"] = json!({ "os": "linux", "architecture": about.architecture });
        let index = json!({ "schemaVersion": 2, "manifests": [root] });
        root = blob(dir, "application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
    }
    if let Some(tag) = &about.tag {
        root["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    }
    let digest = root["digest"].as_str().expect("a digest").to_owned();
    let index = json!({ "schemaVersion": 2, "manifests": [root] });
    fs::write(dir.join("index.json"), index.to_string()).expect("written");
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    digest
}

/// An archive of a directory.
pub(crate) fn oci_archive(dir: &Path, path: &Path) {
    let mut builder = tar::Builder::new(fs::File::create(path).expect("made"));
    builder.append_dir_all(".", dir).expect("appended");
    builder.finish().expect("finished");
}

/// What `docker save` writes: layers as plain archives, or as they are stored instead.
pub(crate) fn docker_archive(path: &Path, about: &About, archives: &[Vec<u8>], stored: &[Vec<u8>]) {
    let config = config(about, archives);
    let config_name = format!("{}.json", &digest(&config)["sha256:".len()..]);
    let names: Vec<String> = (0..archives.len()).map(|nth| format!("{nth}/layer.tar")).collect();
    let tags: Vec<&String> = about.tag.iter().collect();
    let manifest = json!([{ "Config": config_name, "RepoTags": tags, "Layers": names }]).to_string();
    let mut items = Items::new();
    items.insert(config_name, Item::File(config));
    items.insert("manifest.json".into(), Item::File(manifest.into_bytes()));
    items.extend(names.into_iter().zip(stored).map(|(name, layer)| (name, Item::File(layer.clone()))));
    fs::write(path, self::archive(&items)).expect("written");
}

/// Puts beside a layout what makes its archive one of `docker save`, as Docker writes it from the containerd store: the
/// layers stay as they are stored.
pub(crate) fn add_docker_manifest(dir: &Path, about: &About) {
    let read =
        |path: &str| -> Value { serde_json::from_slice(&fs::read(dir.join(path)).expect("read")).expect("JSON") };
    let path = |blob: &Value| blob["digest"].as_str().expect("a digest").replace("sha256:", "blobs/sha256/");
    let manifest = read(&path(&read("index.json")["manifests"][0]));
    let layers: Vec<String> = manifest["layers"].as_array().expect("layers").iter().map(path).collect();
    let tags: Vec<&String> = about.tag.iter().collect();
    let saved = json!([{ "Config": path(&manifest["config"]), "RepoTags": tags, "Layers": layers }]);
    fs::write(dir.join("manifest.json"), saved.to_string()).expect("written");
}

/// A module's place in an image.
pub(crate) struct Placed {
    /// Below the kernel's directory.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
    /// The paths of those that it needs.
    pub(crate) needs: Vec<String>,
    pub(crate) aliases: Vec<String>,
}

/// The directory of a kernel in an image, as depmod leaves it.
pub(crate) fn driver(release: &str, modules: &[Placed]) -> Items {
    let name = |path: &str| {
        let base = path.rsplit('/').next().unwrap_or(path);
        base.split(".ko").next().unwrap_or(base).replace('-', "_")
    };
    let at = |file: &str| format!("opt/lib/modules/{release}/{file}");
    let mut items = Items::new();
    let (mut dep, mut alias) = (String::new(), "# Aliases\n".to_owned());
    let mut binary = BTreeMap::new();
    for module in modules {
        let needs = module.needs.join(" ");
        let line = if needs.is_empty() { format!("{}:", module.path) } else { format!("{}: {needs}", module.path) };
        dep.push_str(&format!("{line}\n"));
        binary.insert(name(&module.path), line);
        for pattern in &module.aliases {
            alias.push_str(&format!("alias {pattern} {}\n", name(&module.path)));
        }
        items.insert(at(&module.path), Item::File(module.bytes.clone()));
    }
    let binary: Vec<(&str, &str)> = binary.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    for (file, bytes) in [
        ("modules.dep", dep.into_bytes()),
        ("modules.dep.bin", index_file(&binary)),
        ("modules.alias", alias.into_bytes()),
        ("modules.alias.bin", index_file(&[])),
        ("modules.symbols", b"# Symbols\n".to_vec()),
        ("modules.symbols.bin", index_file(&[])),
        ("modules.softdep", b"# Softdeps\n".to_vec()),
    ] {
        items.insert(at(file), Item::File(bytes));
    }
    items
}

/// An index of depmod: one node for each character of a key.
pub(crate) fn index_file(entries: &[(&str, &str)]) -> Vec<u8> {
    fn node(bytes: &mut Vec<u8>, entries: &[(&[u8], &str)]) -> u32 {
        let values: Vec<&str> = entries.iter().filter(|(key, _)| key.is_empty()).map(|(_, value)| *value).collect();
        let firsts: Vec<u8> = entries.iter().filter_map(|(key, _)| key.first().copied()).collect();
        let (first, last) = (firsts.iter().min().copied(), firsts.iter().max().copied());
        let mut children = Vec::new();
        if let (Some(first), Some(last)) = (first, last) {
            for byte in first..=last {
                let below: Vec<(&[u8], &str)> = entries
                    .iter()
                    .filter(|(key, _)| key.first() == Some(&byte))
                    .map(|(key, value)| (&key[1..], *value))
                    .collect();
                children.push(if below.is_empty() { 0 } else { node(bytes, &below) });
            }
        }
        let mut place = bytes.len() as u32;
        if let (Some(first), Some(last)) = (first, last) {
            place |= 0x2000_0000;
            bytes.extend([first, last]);
            bytes.extend(children.iter().flat_map(|child| child.to_be_bytes()));
        }
        if !values.is_empty() {
            place |= 0x4000_0000;
            bytes.extend((values.len() as u32).to_be_bytes());
            for value in values {
                bytes.extend(0_u32.to_be_bytes());
                bytes.extend(value.as_bytes());
                bytes.push(0);
            }
        }
        place
    }
    let mut bytes = vec![0; 12];
    let entries: Vec<(&[u8], &str)> = entries.iter().map(|(key, value)| (key.as_bytes(), *value)).collect();
    let root = node(&mut bytes, &entries);
    let header = [0xB007_F457_u32, 0x0002_0001, root];
    bytes.splice(..12, header.iter().flat_map(|word| word.to_be_bytes()));
    bytes
}

/// An index with one long value, and a node with 255 ways to it.
pub(crate) fn index_file_that_shares(length: usize) -> Vec<u8> {
    let words = |list: &[u32]| list.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let leaf = [words(&[1, 0]), vec![b'x'; length], vec![0]].concat();
    let root = 0x2000_0000 | (12 + leaf.len() as u32);
    let ways = words(&[0x4000_0000 | 12; 255]);
    [words(&[0xB007_F457, 0x0002_0001, root]), leaf, vec![1, 255], ways].concat()
}

/// A kernel's directory.
pub(crate) fn kernel(above: &Path, release: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = above.join(release);
    fs::create_dir_all(&dir).expect("made");
    for (name, text) in files {
        fs::write(dir.join(name), text).expect("written");
    }
    dir
}
