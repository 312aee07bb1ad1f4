//! Images that are damaged, or made to harm who reads them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::fixture::{self, Item, Items};
use super::case::{Broken, expect_errors};
use super::*;
use crate::kmod::fixture::Module;

const BROKEN: &[Broken] = &[
    (
        "a blob with other bytes",
        |case| {
            case.disk = Box::new(|layout| {
                let largest = blobs(layout).pop().expect("a blob");
                let mut bytes = fs::read(&largest).expect("read");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&largest, bytes).expect("written");
            });
        },
        "image.blobs",
        &["has the digest sha256:"],
    ),
    (
        "a blob that was cut",
        |case| {
            case.disk = Box::new(|layout| {
                let largest = blobs(layout).pop().expect("a blob");
                let bytes = fs::read(&largest).expect("read");
                fs::write(&largest, &bytes[..bytes.len() - 9]).expect("written");
            });
        },
        "image.blobs",
        &["its manifest says"],
    ),
    (
        "a blob that is not there",
        |case| {
            case.disk = Box::new(|layout| fs::remove_file(blobs(layout).pop().expect("a blob")).expect("removed"));
        },
        "image.blobs",
        &["can't be opened"],
    ),
    (
        "a pipe in a blob's place",
        |case| {
            case.disk = Box::new(|layout| {
                let largest = blobs(layout).pop().expect("a blob");
                fs::remove_file(&largest).expect("removed");
                nix::unistd::mkfifo(&largest, nix::sys::stat::Mode::S_IRUSR).expect("made");
            });
        },
        "image.blobs",
        &["it is no regular file"],
    ),
    (
        "a layer that ends within a file",
        |case| {
            case.archive = Box::new(|archive| {
                let module = archive.windows(4).position(|bytes| bytes == b"\x7fELF").expect("a module");
                archive[..module + 100].to_vec()
            });
        },
        "image.layers",
        &["can't be unpacked"],
    ),
    (
        "a file larger than its own header can say",
        |case| case.archive = Box::new(|archive| with_stated_size(archive, 9 << 30)),
        "image.layers",
        &["a file of 9663676416 bytes; one above 8 GiB is not read here"],
    ),
    (
        "a file of two sizes",
        |case| case.archive = Box::new(|archive| with_stated_size(archive, 512)),
        "image.hostile",
        &["disagree about its size"],
    ),
    (
        "a path that leads out",
        |case| {
            case.archive = Box::new(|archive| renamed(archive, &at("extra/nic.ko"), "../../etc/nic.ko"));
        },
        "image.hostile",
        &["\"../../etc/nic.ko\" in it leads out of the image"],
    ),
    (
        "a hard link to nothing",
        |case| {
            case.change =
                Box::new(|items| drop(items.insert(at("extra/zz.ko"), Item::HardLink("etc/shadow".to_owned()))));
        },
        "image.layers",
        &["hard link to \"etc/shadow\""],
    ),
    (
        "a config for other layers",
        |case| {
            case.disk = Box::new(|layout| {
                rewrite_manifest(layout, |manifest| drop(manifest["layers"].as_array_mut().expect("layers").pop()))
            });
        },
        "image.blobs",
        &["is a config for 1 layers, and its manifest has 0"],
    ),
    (
        "too many entries",
        |case| {
            case.request = Box::new(|request| request.limits.entries = 5);
        },
        "image.hostile",
        &["more than 5 entries"],
    ),
    (
        "too many bytes",
        |case| {
            case.request = Box::new(|request| request.limits.bytes = 4096);
        },
        "image.hostile",
        &["more than 4096 bytes in its decompressed layers"],
    ),
    (
        "a module that is too large",
        |case| {
            case.request = Box::new(|request| request.limits.module = 100);
        },
        "module.format",
        &["at most 100"],
    ),
    (
        "a bomb",
        |case| {
            case.layers.push(Items::from([("zeros".to_owned(), Item::File(vec![0; 80 << 20]))]));
            case.request = Box::new(|request| request.limits.ratio = 100);
        },
        "image.hostile",
        &["more than 100 times its size"],
    ),
    (
        "modules that become too much",
        |case| {
            case.change = Box::new(|items| {
                let zeros = fixture::gzip(&vec![0; 1 << 20]);
                items.insert("opt/lib/modules/bomb.ko.gz".to_owned(), Item::File(zeros));
            });
            case.request = Box::new(|request| request.limits.modules = 1 << 19);
        },
        "image.hostile",
        &["more than 524288 bytes in its decompressed modules"],
    ),
    (
        "symbols that share one long name",
        |case| case.nic = case.nic.clone().uses_weak(&"x".repeat(1 << 20)).overlapping(10_000),
        "module.format",
        &["nic.ko: it uses or exports a symbol whose name has 1048576 bytes"],
    ),
    (
        "a name that is too long",
        |case| {
            case.change = Box::new(|items| drop(items.insert("x".repeat(300), Item::File(vec![]))));
        },
        "image.hostile",
        &["file name of more than 255 bytes"],
    ),
    (
        "a path that is too long",
        |case| {
            case.change = Box::new(|items| drop(items.insert("long-part/".repeat(500) + "x", Item::File(vec![]))));
        },
        "image.hostile",
        &["path of more than 4096 bytes"],
    ),
    (
        "directories that are too deep",
        |case| {
            case.change = Box::new(|items| drop(items.insert("d/".repeat(200) + "x", Item::File(vec![]))));
        },
        "image.hostile",
        &["more than 128 deep"],
    ),
    (
        "more words than are kept",
        |case| {
            case.request = Box::new(|request| request.limits.kept = 1000);
        },
        "image.hostile",
        &["more than 1000 bytes of names"],
    ),
    (
        "an index that becomes too much",
        |case| {
            case.change = Box::new(|items| {
                items.insert(at("modules.dep.bin"), Item::File(fixture::index_file_that_shares(10_000)));
            });
            case.request = Box::new(|request| request.limits.kept = 1 << 20);
        },
        "index.fresh",
        &["modules.dep.bin can't be read", "become more than"],
    ),
    (
        "a whiteout over the module",
        |case| {
            case.layers.push(Items::from([(at("extra/.wh.nic.ko"), Item::File(vec![]))]));
        },
        "image.module",
        &["no file of the module nic"],
    ),
    (
        "an opaque directory over the modules",
        |case| {
            case.layers.push(Items::from([("opt/lib/modules/.wh..wh..opq".to_owned(), Item::File(vec![]))]));
        },
        "image.layout",
        &["nothing below /opt/lib/modules"],
    ),
    (
        "an older module in an upper layer",
        |case| {
            let old = case.nic.clone().uses("printk", 0xbad).build();
            case.layers.push(Items::from([(at("extra/nic.ko"), Item::File(old))]));
        },
        "module.symbols",
        &["printk 0x00000bad"],
    ),
];

/// Changes the manifest, and what refers to it.
fn rewrite_manifest(layout: &Path, change: impl Fn(&mut serde_json::Value)) {
    let read = |path: &Path| serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON");
    let mut index: serde_json::Value = read(&layout.join("index.json"));
    let blob = |digest: &str| layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let mut manifest: serde_json::Value = read(&blob(index["manifests"][0]["digest"].as_str().expect("a digest")));
    change(&mut manifest);
    let bytes = manifest.to_string().into_bytes();
    let digest = fixture::digest(&bytes);
    index["manifests"][0]["size"] = bytes.len().into();
    fs::write(blob(&digest), bytes).expect("written");
    index["manifests"][0]["digest"] = digest.into();
    fs::write(layout.join("index.json"), index.to_string()).expect("written");
}

fn blobs(layout: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(layout.join("blobs/sha256"))
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort_by_key(|path| path.metadata().expect("about it").len());
    paths
}

/// The archive with another name in one of its headers, as no builder would write it.
fn renamed(mut archive: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let place = archive.windows(from.len()).position(|window| window == from.as_bytes()).expect("the entry");
    archive[place..place + 100].fill(0);
    archive[place..place + to.len()].copy_from_slice(to.as_bytes());
    archive[place + 148..place + 156].fill(b' ');
    let sum: u32 = archive[place..place + 512].iter().map(|byte| u32::from(*byte)).sum();
    archive[place + 148..place + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive
}

/// The archive behind a file that is empty by its own header, and has this size by an extended one.
fn with_stated_size(archive: Vec<u8>, size: u64) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("size", size.to_string().as_bytes())]).expect("appended");
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    builder.append_data(&mut header, "disk.img", io::empty()).expect("appended");
    let mut first = builder.into_inner().expect("finished");
    // Without the two blocks that end an archive.
    first.truncate(first.len() - 1024);
    first.extend(archive);
    first
}

#[test]
fn each_broken_image_is_found_with_its_reason() {
    expect_errors(BROKEN);
}

/// Nothing is said of these but that they end, in little time and memory.
#[test]
fn links_that_lead_everywhere_do_not_hang() {
    let mut case = Case::good();
    case.change = Box::new(|items| {
        for nth in 0..40 {
            items.insert(at(&format!("l{nth}")), Item::Link(".".to_owned()));
            items.insert(at(&format!("d{nth}/x")), Item::File(vec![]));
            items.insert(at(&format!("d{nth}/up")), Item::Link("../d0".to_owned()));
            items.insert(at(&format!("d0/to{nth}")), Item::Link(format!("../d{nth}")));
        }
    });
    assert_eq!(case.inspect().modules.len(), 2);
    expect("everywhere", &case, Outcome::NotChecked, "image.links", &["too much"]);
}

#[test]
fn patterns_that_take_too_long_to_compare_are_told() {
    let mut case = Case::good();
    for nth in 0..500 {
        case.nic = case.nic.info("alias", &format!("pci:*{nth}*0*0*0*0*0*0*0*0"));
    }
    case.request = Box::new(|request| request.limits.steps = 1000);
    expect("all", &case, Outcome::NotChecked, "in-tree.aliases", &["501 patterns take too long to compare"]);
    case.nic = case.nic.info("firmware", "*a*a*a*b");
    case.kernel.insert("firmware.list", "x\n".repeat(2000));
    case.request = Box::new(|request| request.limits.steps = 10);
    expect("firmware", &case, Outcome::NotChecked, "module.firmware", &["3 names that it gives take too long"]);
    case.request = Box::new(|_| ());
    let inspection = case.inspect();
    let told = |finding: &&Finding| finding.check == "in-tree.aliases" && finding.outcome == Outcome::NotChecked;
    assert_eq!(inspection.findings.iter().find(told), None);
}

/// What claims everything is told with some of the drivers that it meets, each once.
#[test]
fn a_module_that_claims_everything_is_told_in_few_words() {
    let mut case = Case::good();
    case.nic = case.nic.info("alias", "pci:*").info("alias", "pci:*").info("alias", "pci:v*");
    let aliases: Vec<String> = (0..2000).map(|nth| format!("alias pci:v{nth:08X}d* driver{}\n", nth / 2)).collect();
    case.kernel.insert("modules.alias", aliases.concat());
    let inspection = case.inspect();
    let finding = inspection.findings.iter().find(|one| one.check == "in-tree.aliases").expect("a finding");
    assert_eq!((finding.outcome, finding.evidence.len()), (Outcome::Error, 9));
    assert_eq!(finding.evidence[0], "driver0 claims pci:v00000000d*, and 1 more");
    assert!(finding.advice.as_ref().is_some_and(|advice| advice.ends_with(" and 992 more")), "{finding:?}");
}

#[test]
fn a_row_of_modules_without_end_is_cut() {
    let mut case = Case::good();
    case.change = Box::new(|items| {
        for nth in 0..3000 {
            let module = Module::new(&format!("m{nth}")).info("depends", &format!("m{}", nth + 1));
            items.insert(at(&format!("extra/m{nth}.ko")), Item::File(module.build()));
        }
    });
    case.request = Box::new(|request| request.module = Some("m0".to_owned()));
    assert_eq!(case.inspect().modules.len(), 100);
}
