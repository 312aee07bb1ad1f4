//! Images that some nodes mind, and others don't.

use super::super::fixture::{Item, Items};
use super::case::{Broken, VERMAGIC};
use super::*;

/// What some nodes don't mind.
const DOUBTFUL: &[Broken] = &[
    ("another tag", |case| case.about.tag = Some("v1".to_owned()), "image.tag", &["its tag is v1", "6.12.48-amd64"]),
    (
        "modules for many kernels",
        |case| {
            case.layers.push(["a", "b"].map(|name| (format!("opt/lib/modules/{name}/x"), Item::File(vec![]))).into());
        },
        "image.layout",
        &["2 further kernels", "a, b"],
    ),
    (
        "another release, with CRCs",
        |case| {
            case.nic = case.nic.clone().with_info("vermagic", &VERMAGIC.replace(".48", ".47"));
        },
        "module.vermagic",
        &["built for 6.12.47-amd64"],
    ),
    (
        "a node's module by luck",
        |case| {
            case.change = Box::new(|items| drop(items.remove(&at("host"))));
        },
        "module.dependencies",
        &["ptp: nic uses its ptp_time"],
    ),
    (
        "a symbol that an in-tree module exports as well",
        |case| {
            case.core = case.core.clone().exports("mii_link", 7, true);
            let symvers = case.kernel.entry("Module.symvers").or_default();
            symvers.push_str("0x7\tmii_link\tdrivers/net/mii\tEXPORT_SYMBOL\t\n");
        },
        "module.symbols",
        &["not removed export", "nic_core: mii_link, which the in-tree mii exports", "modules to remove: mii"],
    ),
    (
        "a needed module that says it is the kernel's own",
        |case| case.core = case.core.clone().info("intree", "Y"),
        "module.intree",
        &["extra/nic_core.ko", "started again"],
    ),
    (
        "a softdep that is not there",
        |case| {
            case.nic = case.nic.clone().info("softdep", "pre: nic-helper");
        },
        "module.softdeps",
        &["nic wants nic_helper"],
    ),
    (
        "a softdep by a name that a module has to which nothing leads",
        |case| {
            case.nic = case.nic.clone().info("softdep", "pre: crypto-crc32c");
            case.kernel.entry("modules.alias").or_default().push_str("alias crypto-crc32[a-c] ptp\n");
        },
        "module.softdeps",
        &["nic wants crypto_crc32c: ptp has that name, and it is one of the node's own"],
    ),
    (
        "stale aliases",
        |case| {
            case.nic = case.nic.clone().info("alias", "pci:v00001234d*");
        },
        "index.fresh",
        &["modules.alias does not have pci:v00001234d*"],
    ),
    (
        "no index of aliases",
        |case| {
            case.change = Box::new(|items| drop(items.remove(&at("modules.alias.bin"))));
        },
        "index.present",
        &["modules.alias.bin"],
    ),
    (
        "a name that lies about compression",
        |case| case.suffix = ".ko.xz",
        "module.compression",
        &["not compressed", "xz"],
    ),
    (
        "zstd from a pipe",
        |case| zstd(case, false),
        "module.compression",
        &["extra/nic.ko.zst does not say how large", "since kmod 34", "not a pipe"],
    ),
    (
        "some firmware missing",
        |case| drop(case.kernel.insert("firmware.list", "x\n".to_owned())),
        "module.firmware",
        &["1 of the 2", "vendor/old.bin"],
    ),
    (
        "a firmware link that leaves",
        |case| {
            case.change =
                Box::new(|items| drop(items.insert("firmware/x".to_owned(), Item::Link("/etc/passwd".to_owned()))));
        },
        "module.firmware",
        &["/firmware/x -> /etc/passwd"],
    ),
    (
        "a firmware link that leads out of its directory",
        modules::firmware_outside,
        "module.firmware",
        &["lead out of it", "/firmware/vendor/nic.bin -> ../../data/nic.bin"],
    ),
    (
        "a name that no module has",
        |case| {
            case.request = Box::new(|request| {
                request.in_tree = Some(vec!["e1000-user".into(), "e1000".into(), "e1000-usr".into()])
            });
        },
        "in-tree.removal",
        &["e1000_usr; did you mean e1000_user?"],
    ),
    (
        "a holder that is not listed",
        |case| {
            case.request = Box::new(|request| request.in_tree = Some(vec!["e1000".into()]));
        },
        "in-tree.removal",
        &["e1000_user uses e1000"],
    ),
    (
        "an in-tree library of the same name",
        |case| {
            let dep = case.kernel.get("modules.dep").cloned().unwrap_or_default();
            case.kernel.insert("modules.dep", format!("{dep}kernel/lib/nic-core.ko.xz:\n"));
        },
        "in-tree.names",
        &["nic_core"],
    ),
    ("no shell", |_| (), "upstream.programs", &["there is no sh", "there is no cp"]),
    (
        "a shell without its loader",
        |case| {
            case.change =
                Box::new(|items| drop(items.insert("bin/sh".to_owned(), Item::Program(b"#!/lib/ld.so\n".to_vec()))));
        },
        "upstream.programs",
        &["/bin/sh needs /lib/ld.so"],
    ),
    ("another user", |case| case.about.user = Some("1001".to_owned()), "upstream.user", &["USER is 1001"]),
    (
        "much in /tmp",
        |case| {
            let noise = std::iter::repeat_with(|| 7).take(33 << 20).collect();
            case.layers.push(Items::from([("tmp/build".to_owned(), Item::File(noise))]));
        },
        "upstream.tmp",
        &["33 MiB in /tmp"],
    ),
    (
        "underscore for dash",
        |case| {
            case.request = Box::new(|request| request.in_tree = Some(vec!["e1000_user".into(), "e1000".into()]));
        },
        "upstream.removal",
        &["e1000_user, whose file is kernel/net/e1000-user.ko.xz"],
    ),
    ("unsigned", |_| (), "module.signature", &["not signed: nic_core and nic"]),
];

/// As btrfs wants `sha256`, and nfsd `crypto-md5`.
#[test]
fn softdeps_may_be_other_names_of_modules() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 3] = [
        ("built in", |case| {
            case.kernel.insert("modules.builtin.modinfo", "ext4.alias=crypto-md5\0".to_owned());
        }),
        ("the image's", |case| {
            case.core = case.core.clone().info("alias", "crypto-md[!4-]");
            case.change =
                Box::new(|items| edit(items, "modules.alias", "# Aliases\n", "alias crypto-md[!4-] nic_core\n"));
        }),
        ("by a link", |case| {
            case.change = Box::new(|items| {
                edit(items, "modules.alias", "# Aliases\n", "alias crypto-md5 ptp\n");
                let dep = "extra/nic_core.ko:\n";
                edit(items, "modules.dep", dep, &format!("{dep}host/kernel/ptp/ptp.ko.xz:\n"));
            });
        }),
    ];
    for (name, change) in changes {
        let mut case = Case::good();
        case.nic = case.nic.clone().info("softdep", "pre: crypto-md5");
        change(&mut case);
        expect(name, &case, Outcome::Ok, "module.softdeps", &["all 1 are found"]);
    }
}

/// The modules in one block each that is not compressed, with or without its size in the header.
fn zstd(case: &mut Case, sized: bool) {
    case.suffix = ".ko.zst";
    case.change = Box::new(move |items| {
        for (_, item) in items.iter_mut().filter(|(path, _)| path.ends_with(".ko.zst")) {
            let Item::File(bytes) = item else { panic!("no file") };
            let size = u32::try_from(bytes.len()).expect("a small file");
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
            if sized {
                frame.push(0xa0);
                frame.extend(size.to_le_bytes());
            } else {
                frame.extend([0, 0x50]);
            }
            frame.extend(&(size << 3 | 1).to_le_bytes()[..3]);
            frame.append(bytes);
            *bytes = frame;
        }
    });
}

#[test]
fn zstd_that_says_its_size_is_no_doubt() {
    let mut case = Case::good();
    zstd(&mut case, true);
    case.kernel
        .insert("modules.dep", "kernel/net/e1000.ko.zst: kernel/ptp/ptp.ko.xz\nkernel/ptp/ptp.ko.xz:\n".to_owned());
    expect("sized", &case, Outcome::Ok, "module.compression", &["compressed as the kernel's own"]);
}

#[test]
fn each_doubtful_image_is_warned_of() {
    for (name, change, check, words) in DOUBTFUL {
        let mut case = Case::good();
        change(&mut case);
        expect(name, &case, Outcome::Warning, check, words);
    }
}
