//! Images without a fault, and what is asked or missing beside them.

use std::fs;

use super::super::fixture::{self, About, Item, Items};
use super::case::{RELEASE, VERMAGIC};
use super::*;
use crate::kmod::fixture::Module;
use crate::kmod::stranger::Signer;

#[test]
fn a_good_image_has_no_error_wherever_it_lies() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut case = Case::good();
    for (name, about) in [
        ("plain", About::default()),
        ("indexed", About { indexed: true, ..About::default() }),
        ("docker", About { docker: true, ..About::default() }),
    ] {
        case.about = About { tag: Some(RELEASE.to_owned()), ..about };
        let layout = dir.path().join(name);
        let digest = case.layout(&layout);
        let archive = dir.path().join(format!("{name}.tar"));
        fixture::oci_archive(&layout, &archive);
        let saved = dir.path().join(format!("{name}-docker.tar"));
        fixture::docker_archive(&saved, &case.about, &case.archives(), &case.archives());
        let tag = || Some(RELEASE.to_owned());
        for (source, expected) in [
            (Source::OciDir { path: layout, tag: None }, Some(&digest)),
            (Source::OciArchive { path: archive, tag: tag() }, Some(&digest)),
            (Source::DockerArchive { path: saved, tag: None }, None),
        ] {
            let inspection = inspect(&case.request(source, dir.path())).unwrap_or_else(|error| panic!("{error}"));
            let report = describe(&inspection);
            assert!(inspection.is_good(), "{name}:\n{report}");
            assert_eq!(inspection.image.digest.as_ref(), expected);
            let names: Vec<&str> = inspection.modules.iter().map(|module| module.name.as_str()).collect();
            assert_eq!(names, ["nic_core", "nic"]);
            assert_eq!(inspection.modules[1].srcversion.as_deref(), Some("ABC"));
            assert_eq!(inspection.count(Outcome::NotChecked), 0, "{report}");
        }
    }
}

#[test]
fn a_copy_is_the_same_image_wherever_it_comes_from() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let case = Case { about: About { tag: Some(RELEASE.to_owned()), ..About::default() }, ..Case::good() };
    let layout = dir.path().join("layout");
    let digest = case.layout(&layout);
    let archive = dir.path().join("archive.tar");
    fixture::oci_archive(&layout, &archive);
    let saved = dir.path().join("saved.tar");
    fixture::docker_archive(&saved, &case.about, &case.archives(), &case.archives());
    for (name, source, expected) in [
        ("a", Source::OciDir { path: layout.clone(), tag: None }, Some(&digest)),
        ("b", Source::OciArchive { path: archive, tag: None }, Some(&digest)),
        ("c", Source::DockerArchive { path: saved, tag: None }, None),
    ] {
        let to = dir.path().join(name);
        fs::create_dir(&to).expect("made");
        let copied = copy(&source, None, "amd64", false, &to).expect("copied");
        assert!(expected.is_none_or(|digest| *digest == copied.manifest_digest), "{name}");
        let inspection = inspect(&case.request(Source::OciDir { path: to, tag: None }, dir.path())).expect("inspected");
        assert!(inspection.is_good(), "{name}:\n{}", describe(&inspection));
        assert_eq!(inspection.image.manifest_digest.as_ref(), Some(&copied.manifest_digest), "{name}");
        assert_eq!(inspection.image.compressed_bytes, Some(copied.bytes), "{name}");
    }
}

/// As Docker writes them from the containerd store, and with names that say nothing.
#[test]
fn docker_archives_may_have_compressed_layers() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let case = Case::good();
    let archive = case.archives().remove(0);
    let layout = dir.path().join("layout");
    case.layout(&layout);
    fixture::add_docker_manifest(&layout, &case.about);
    let containerd = dir.path().join("containerd.tar");
    fixture::oci_archive(&layout, &containerd);
    let renamed = dir.path().join("renamed.tar");
    fixture::docker_archive(&renamed, &case.about, std::slice::from_ref(&archive), &[fixture::gzip(&archive)]);
    for path in [containerd, renamed] {
        let source = Source::archive(&path).expect("an archive");
        assert!(matches!(source, Source::DockerArchive { .. }), "{source}");
        let inspection = inspect(&case.request(source.clone(), dir.path())).expect("inspected");
        assert!(inspection.is_good(), "{source}:\n{}", describe(&inspection));
        let to = tempfile::tempdir_in(dir.path()).expect("temporary directory");
        copy(&source, None, "amd64", false, to.path()).expect("copied");
        let copied = Source::OciDir { path: to.path().to_owned(), tag: None };
        let inspection = inspect(&case.request(copied, dir.path())).expect("inspected");
        assert!(inspection.is_good(), "{source}, copied:\n{}", describe(&inspection));
    }
    let other = dir.path().join("other.tar");
    fixture::docker_archive(&other, &case.about, std::slice::from_ref(&archive), &[fixture::gzip(b"other")]);
    let source = Source::DockerArchive { path: other, tag: None };
    let inspection = inspect(&case.request(source, dir.path())).expect("inspected");
    assert_eq!((inspection.findings[0].check.as_str(), inspection.is_good()), ("image.layers", false));
}

#[test]
fn a_damaged_layer_is_not_copied() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let case = Case::good();
    let layout = dir.path().join("layout");
    case.layout(&layout);
    let blobs = fs::read_dir(layout.join("blobs/sha256")).expect("listed").flatten().map(|entry| entry.path());
    let layer = blobs.max_by_key(|path| fs::metadata(path).expect("there").len()).expect("a layer");
    let mut bytes = fs::read(&layer).expect("read");
    bytes[100] ^= 1;
    fs::write(&layer, bytes).expect("written");
    let to = dir.path().join("to");
    fs::create_dir(&to).expect("made");
    let told = copy(&Source::OciDir { path: layout, tag: None }, None, "amd64", false, &to);
    assert!(told.expect_err("damaged").to_string().contains("has the digest"));
    assert!(!to.join("index.json").exists(), "no half copy passes for a whole one");
}

#[test]
fn layers_of_any_compression_are_read() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let case = Case::good();
    let archive = case.archives().remove(0);
    let zstd = ruzstd::encoding::compress_to_vec(archive.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    for (name, stored) in [("zstd", zstd), ("plain", archive.clone()), ("gzip", fixture::gzip(&archive))] {
        let layout = dir.path().join(name);
        fixture::layout(&layout, &case.about, &[(archive.clone(), stored)]);
        let inspection =
            inspect(&case.request(Source::OciDir { path: layout, tag: None }, dir.path())).expect("inspected");
        assert!(inspection.is_good(), "{name}:\n{}", describe(&inspection));
    }
}

/// As `zstd -t` and what unpacks layers refuse it, although what comes out may be right.
#[test]
fn zstd_s_own_checksum_counts() {
    let compress = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    for damaged in [false, true] {
        // The checksum is at the end.
        let compress = move |bytes: &[u8]| {
            let mut bytes = compress(bytes);
            *bytes.last_mut().expect("bytes") ^= u8::from(damaged);
            bytes
        };
        let mut case = Case { suffix: ".ko.zst", ..Case::good() };
        case.change = Box::new(move |items| {
            for (path, item) in items.iter_mut().filter(|(path, _)| path.ends_with(".ko.zst")) {
                let Item::File(bytes) = item else { panic!("{path} is no file") };
                *bytes = compress(bytes);
            }
        });
        let dir = tempfile::tempdir().expect("temporary directory");
        let archive = Case::good().archives().remove(0);
        fixture::layout(dir.path(), &case.about, &[(archive.clone(), compress(&archive))]);
        let source = Source::OciDir { path: dir.path().to_owned(), tag: None };
        let layer = inspect(&Case::good().request(source, dir.path())).expect("inspected");
        if damaged {
            expect("a module", &case, Outcome::Error, "module.format", &["nic.ko.zst", "does not match its checksum"]);
            let finding = &layer.findings[0];
            assert_eq!((finding.check.as_str(), finding.outcome), ("image.layers", Outcome::Error));
            assert!(finding.message.contains("does not match its checksum"), "{}", finding.message);
        } else {
            let module = case.inspect();
            assert!(module.is_good() && layer.is_good(), "{}{}", describe(&module), describe(&layer));
        }
    }
}

/// The load script follows a relative link to the directory, and copies links within it.
#[test]
fn firmware_may_be_behind_links_that_stay() {
    let firmware: [fn(&mut Items, Item); 3] = [
        |items, file| {
            items.insert("fw/vendor/nic.bin".to_owned(), file);
            items.insert("firmware".to_owned(), Item::Link("fw".to_owned()));
        },
        |items, file| {
            items.insert("firmware/1.2/nic.bin".to_owned(), file);
            items.insert("firmware/vendor".to_owned(), Item::Link("1.2".to_owned()));
        },
        |items, file| {
            items.insert("firmware/vendor/nic-1.2.bin".to_owned(), file);
            items.insert("firmware/vendor/nic.bin".to_owned(), Item::Link("../vendor/nic-1.2.bin".to_owned()));
        },
    ];
    for (nth, place) in firmware.into_iter().enumerate() {
        let mut case = Case::good();
        case.change = Box::new(move |items| {
            let file = items.remove("firmware/vendor/nic.bin").expect("there");
            place(items, file);
        });
        expect(&format!("place {nth}"), &case, Outcome::Ok, "module.firmware", &["all 2 files"]);
        let told = describe(&case.inspect());
        assert!(!told.contains("links in the firmware directory"), "place {nth}:\n{told}");
    }
}

#[test]
fn a_real_time_kernel_known_by_its_config_has_either_word() {
    for preempt in ["preempt", "preempt_rt"] {
        let mut case = Case::good();
        let vermagic = VERMAGIC.replace("preempt", preempt);
        (case.nic, case.core) = (case.nic.with_info("vermagic", &vermagic), case.core.with_info("vermagic", &vermagic));
        case.kernel.entry("config").or_default().push_str("CONFIG_PREEMPT_RT=y\n");
        let inspection = case.inspect();
        assert!(inspection.is_good(), "{preempt}:\n{}", describe(&inspection));
    }
}

/// depmod lists what is needed first at the end of a line.
#[test]
fn modules_may_need_each_other_in_a_row() {
    let mut case = Case::good();
    case.core = case.core.uses("base_start", 7);
    case.change = Box::new(|items| {
        let base = Module::new("base").info("vermagic", VERMAGIC).info("license", "GPL");
        let base = base.uses("module_layout", 1).exports("base_start", 7, false).build();
        items.insert(at("extra/base.ko"), Item::File(base));
        modules::indexed(
            items,
            &[
                "extra/nic.ko: extra/nic_core.ko extra/base.ko host/kernel/ptp/ptp.ko.xz",
                "extra/nic_core.ko: extra/base.ko",
                "extra/base.ko:",
            ],
        );
    });
    let inspection = case.inspect();
    assert!(inspection.is_good(), "{}", describe(&inspection));
    let names: Vec<&str> = inspection.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["base", "nic_core", "nic"]);
}

/// Builds make a second name for a file by a hard link, and either may be the first.
#[test]
fn a_module_may_have_another_name_first() {
    for link in [Item::HardLink("a".to_owned()), Item::Link("../../../../../a".to_owned())] {
        let mut case = Case::good();
        case.change = Box::new(move |items| {
            let nic = items.insert(at("extra/nic.ko"), link.clone()).expect("there");
            items.insert("a".to_owned(), nic);
        });
        let inspection = case.inspect();
        assert!(inspection.is_good(), "{}", describe(&inspection));
        assert_eq!(inspection.modules.len(), 2);
    }
}

#[test]
fn a_layer_that_decompresses_to_something_else_is_found() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let case = Case::good();
    let archive = case.archives().remove(0);
    let layout = dir.path().join("layout");
    fixture::layout(&layout, &case.about, &[(b"other".to_vec(), fixture::gzip(&archive))]);
    let inspection = inspect(&case.request(Source::OciDir { path: layout, tag: None }, dir.path())).expect("inspected");
    let finding = &inspection.findings[0];
    assert_eq!((finding.check.as_str(), finding.outcome), ("image.layers", Outcome::Error));
    assert!(finding.message.contains("the image's config says"), "{}", finding.message);
}

#[test]
fn signatures_are_verified_by_the_trusted_keys() {
    let (ours, theirs) = (Signer::new("Vendor"), Signer::new("Other"));
    let signed = |case: &mut Case, signer: &Signer, damage: bool| {
        let mut nic = signer.sign(&case.nic.build());
        if damage {
            // In the names of sections, which nothing here reads twice.
            nic[9] ^= 1;
        }
        let core = signer.sign(&case.core.build());
        case.layers
            .push(Items::from([(at("extra/nic.ko"), Item::File(nic)), (at("extra/nic_core.ko"), Item::File(core))]));
    };
    let trusted = key(&ours);
    let mut good = Case::good();
    signed(&mut good, &ours, false);
    expect("no key", &good, Outcome::NotChecked, "module.signature", &["--trusted-key"]);
    let with_key = |case: &mut Case| {
        let trusted = trusted.clone();
        case.request = Box::new(move |request| request.trusted_keys = vec![trusted.clone()]);
    };
    with_key(&mut good);
    expect("good", &good, Outcome::Ok, "module.signature", &["nic: signed by Vendor, verified", "hash sha256"]);
    let mut other = Case::good();
    signed(&mut other, &theirs, false);
    with_key(&mut other);
    expect("other", &other, Outcome::Error, "module.signature", &["none of the trusted certificates", "signer Other"]);
    let mut damaged = Case::good();
    signed(&mut damaged, &ours, true);
    with_key(&mut damaged);
    expect("damaged", &damaged, Outcome::Error, "module.signature", &["not those that were signed"]);
}

/// Modules of the kernel's package may be copied into an image as they are.
#[test]
fn the_kernel_s_own_key_is_trusted_and_what_it_signed_is_not_verified() {
    let (vendor, build) = (Signer::new("Vendor"), Signer::new("Build time autogenerated kernel key"));
    let image = |core: &Signer, keys: bool, own: fn(Module) -> Module| {
        let mut case = Case::good();
        let nic = Item::File(vendor.sign(&case.nic.build()));
        let core = Item::File(core.sign(&case.core.build()));
        case.layers.push(Items::from([(at("extra/nic.ko"), nic), (at("extra/nic_core.ko"), core)]));
        let own = own(Module::new("ptp").info("vermagic", VERMAGIC)).build();
        let own = build.sign(&own);
        let trusted = key(&vendor);
        case.request = Box::new(move |request| {
            request.trusted_keys = if keys { vec![trusted.clone()] } else { Vec::new() };
            let KernelChoice::Directory(dir) = &request.kernel else { panic!("a directory") };
            let path = dir.join("kernel/ptp/ptp.ko.xz");
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, &own).expect("written");
        });
        case
    };
    let in_tree = |module: Module| module.info("intree", "Y");
    let words = ["nic_core: the kernel's own key, which the nodes trust", "Key was rejected"];
    for keys in [false, true] {
        let case = image(&build, keys, in_tree);
        assert!(case.inspect().is_good(), "{}", describe(&case.inspect()));
        expect("by the kernel's", &case, Outcome::NotChecked, "module.signature", &words);
        expect("by the vendor's", &case, Outcome::Ok, "module.signature", &["nic: sign"]);
    }
    let other = Signer::new("Build time autogenerated kernel key");
    let words = ["nic_core: none of the trusted certificates made it"];
    expect("a namesake", &image(&other, true, in_tree), Outcome::Error, "module.signature", &words);
    expect("not its own", &image(&build, true, |module| module), Outcome::Error, "module.signature", &words);
}

#[test]
fn a_trailer_with_more_than_its_kind_has_is_damaged_to_kernels_that_read_it() {
    let damaged = |option: &str| {
        let mut case = Case::good();
        let mut nic = Signer::new("Vendor").sign(&case.nic.build());
        // `algo`, the first byte of struct module_signature, before the 28 bytes of the magic.
        let algo = nic.len() - 28 - 12;
        nic[algo] = 1;
        case.layers.push(Items::from([(at("extra/nic.ko"), Item::File(nic))]));
        case.kernel.entry("config").or_default().push_str(option);
        case
    };
    expect("read", &damaged("CONFIG_MODULE_SIG=y\n"), Outcome::Error, "module.signature", &["damaged", "leaves empty"]);
    expect("not read", &damaged(""), Outcome::Warning, "module.signature", &["damaged", "MODULE_SIG is not"]);
}

#[test]
fn symbols_of_modules_that_go_may_be_exported() {
    let mut case = Case::good();
    case.core = case.core.clone().exports("e1000_led", 7, false).exports("core_stop", 8, true);
    case.kernel.entry("Module.symvers").or_default().push_str(
        "0x7\te1000_led\tdrivers/net/e1000\tEXPORT_SYMBOL\t\n0x8\tcore_stop\tdrivers/net/nic-core\tEXPORT_SYMBOL_GPL\t\n",
    );
    expect("removed or replaced", &case, Outcome::Ok, "module.symbols", &["the kernel has all symbols"]);
}

#[test]
fn a_signature_of_a_form_that_no_kernel_takes_is_found_with_any_key() {
    type Sign = fn(&Signer, &[u8]) -> Vec<u8>;
    let signer = Signer::new("Vendor");
    let signed = |sign: Sign| {
        let mut case = Case::good();
        let core = Item::File(signer.sign(&case.core.build()));
        let nic = Item::File(sign(&signer, &case.nic.build()));
        case.layers.push(Items::from([(at("extra/nic.ko"), nic), (at("extra/nic_core.ko"), core)]));
        case.kernel.entry("config").or_default().push_str("CONFIG_MODULE_SIG=y\n");
        case
    };
    let forms: [(Sign, &str); 2] = [
        (Signer::sign_attributes, "nic: it is over attributes"),
        (Signer::sign_within, "nic: the signed bytes are within it"),
    ];
    for (sign, words) in forms {
        let mut case = signed(sign);
        expect("no key", &case, Outcome::Error, "module.signature", &[words, "-noattr"]);
        let trusted = key(&signer);
        case.request = Box::new(move |request| request.trusted_keys = vec![trusted.clone()]);
        expect("its key", &case, Outcome::Error, "module.signature", &[words, "no node loads the module"]);
    }
    let mldsa = signed(Signer::sign_attributes_with_mldsa);
    expect("ML-DSA", &mldsa, Outcome::Ok, "module.signature", &["nic: signer Vendor"]);
}

#[test]
fn without_a_kernel_what_needs_one_is_told_as_not_checked() {
    let mut case = Case::good();
    case.request = Box::new(|request| request.kernel = KernelChoice::Unknown);
    let inspection = case.inspect();
    assert!(inspection.is_good(), "{}", describe(&inspection));
    assert_eq!(inspection.kernel.release.as_deref(), Some(RELEASE));
    for check in [
        "module.vermagic",
        "module.symbols",
        "module.namespaces",
        "module.dependencies",
        "module.firmware",
        "in-tree.removal",
        "in-tree.names",
        "in-tree.aliases",
    ] {
        expect("no kernel", &case, Outcome::NotChecked, check, &["no kernel is given"]);
    }
}

/// Each list of the kernel that is taken away turns the checks that need it into `not checked`, and none into `ok`.
#[test]
fn a_list_that_the_kernel_lacks_is_missed_by_the_checks_that_need_it() {
    let needs: [(&str, &[&str]); 6] = [
        ("Module.symvers", &["module.symbols", "module.namespaces"]),
        ("modules.dep", &["in-tree.removal", "in-tree.names", "upstream.removal"]),
        ("modules.alias", &["in-tree.aliases"]),
        ("config", &["module.vermagic"]),
        ("firmware.list", &["module.firmware"]),
        ("modules.builtin", &[]),
    ];
    for (list, checks) in needs {
        let mut case = Case::good();
        case.kernel.remove(list);
        let inspection = case.inspect();
        for check in checks {
            expect(list, &case, Outcome::NotChecked, check, &["because"]);
        }
        assert!(inspection.is_good(), "{list}:\n{}", describe(&inspection));
    }
}

#[test]
fn several_modules_and_several_kernels_ask_for_a_name() {
    let mut case = Case::good();
    case.request = Box::new(|request| request.module = None);
    let dir = tempfile::tempdir().expect("temporary directory");
    let layout = dir.path().join("layout");
    case.layout(&layout);
    let source = Source::OciDir { path: layout.clone(), tag: None };
    let told = inspect(&case.request(source.clone(), dir.path())).expect_err("several").to_string();
    assert!(told.contains("--module: nic, nic_core"), "{told}");
    case.layers.push(Items::from([("opt/lib/modules/6.1.0/x".to_owned(), Item::File(vec![]))]));
    case.about.tag = None;
    fs::remove_dir_all(&layout).expect("removed");
    case.layout(&layout);
    case.request = Box::new(|request| request.kernel = KernelChoice::Unknown);
    let told = inspect(&case.request(source, dir.path())).expect_err("several").to_string();
    assert!(told.contains("--kernel: 6.1.0, 6.12.48-amd64"), "{told}");
}

#[test]
fn the_json_form_is_stable() {
    let inspection = Case::good().inspect();
    let value = serde_json::to_value(&inspection).expect("JSON");
    assert_eq!(value["version"], 1);
    assert_eq!(value["image"]["platform"], serde_json::json!({ "os": "linux", "architecture": "amd64" }));
    assert_eq!(value["modules"][1]["path"], format!("/{}", at("extra/nic.ko")));
    let first = &value["findings"][0];
    assert_eq!((first["check"].as_str(), first["outcome"].as_str()), (Some("image.platform"), Some("ok")));
    assert_eq!(serde_json::from_value::<Inspection>(value).expect("read back"), inspection);
}
