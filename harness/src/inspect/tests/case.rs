//! An image, a kernel and a request that are good until something is changed.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::fixture::{self, About, Item, Items, Placed};
use super::*;
use crate::kmod::TrustedKey;
use crate::kmod::fixture::Module;
use crate::kmod::stranger::Signer;

pub(super) const RELEASE: &str = "6.12.48-amd64";
pub(super) const VERMAGIC: &str = "6.12.48-amd64 SMP preempt mod_unload modversions ";
pub(super) const DEVICE: &str = "pci:v00008086d0000100Esv*sd*bc*sc*i*";

/// An image, a kernel and a request; all is good until something is changed.
pub(super) struct Case {
    pub(super) nic: Module,
    pub(super) core: Module,
    /// Files of further layers.
    pub(super) layers: Vec<Items>,
    /// What is changed in the first layer.
    pub(super) change: Box<dyn Fn(&mut Items)>,
    /// What is changed in a layer's archive.
    pub(super) archive: Box<dyn Fn(Vec<u8>) -> Vec<u8>>,
    /// What is changed on disk.
    pub(super) disk: Box<dyn Fn(&Path)>,
    pub(super) about: About,
    pub(super) kernel: BTreeMap<&'static str, String>,
    pub(super) suffix: &'static str,
    pub(super) request: Box<dyn Fn(&mut Request)>,
}

impl Case {
    pub(super) fn good() -> Self {
        let module =
            |name| Module::new(name).info("vermagic", VERMAGIC).info("license", "GPL").uses("module_layout", 1);
        let nic = module("nic")
            .info("version", "1.2")
            .info("srcversion", "ABC")
            .info("depends", "nic_core")
            .info("alias", DEVICE)
            .info("firmware", "vendor/nic.bin")
            .info("firmware", "vendor/old.bin")
            .info("parmtype", "speed:int")
            .uses("printk", 2)
            .uses("ptp_time", 3)
            .uses("core_start", 9);
        let core = module("nic_core").uses("printk", 2).exports("core_start", 9, true);
        let kernel = [
            (
                "modules.dep",
                "kernel/net/e1000.ko.xz: kernel/ptp/ptp.ko.xz\nkernel/ptp/ptp.ko.xz:\nkernel/net/e1000-user.ko.xz: kernel/net/e1000.ko.xz\n",
            ),
            (
                "modules.alias",
                "alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000\nalias pci:v*d*sv*sd*bc01sc06i01* ahci\n",
            ),
            ("modules.builtin", "kernel/fs/ext4.ko\n"),
            ("modules.builtin.modinfo", "ext4.alias=fs-ext4\0"),
            ("config", "CONFIG_SMP=y\nCONFIG_PREEMPT_BUILD=y\nCONFIG_MODULE_UNLOAD=y\nCONFIG_MODVERSIONS=y\n"),
            (
                "Module.symvers",
                "0x1\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n0x2\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n\
                 0x3\tptp_time\tdrivers/ptp/ptp\tEXPORT_SYMBOL\t\n0x4\tgpl_one\tvmlinux\tEXPORT_SYMBOL_GPL\t\n\
                 0x5\tspaced\tvmlinux\tEXPORT_SYMBOL_GPL\tNETDEV_INTERNAL\n0x6\tfor_one\tvmlinux\tEXPORT_SYMBOL_GPL\tmodule:kvm\n",
            ),
            ("firmware.list", "vendor/old.bin.xz\n"),
        ];
        Self {
            nic,
            core,
            layers: Vec::new(),
            change: Box::new(|_| ()),
            archive: Box::new(|archive| archive),
            disk: Box::new(|_| ()),
            about: About { tag: Some(RELEASE.to_owned()), ..About::default() },
            kernel: kernel.into_iter().map(|(name, text)| (name, text.to_owned())).collect(),
            suffix: ".ko",
            request: Box::new(|_| ()),
        }
    }

    pub(super) fn items(&self) -> Items {
        let file = |name: &str| format!("extra/{name}{}", self.suffix);
        let placed = |name: &str, module: &Module, needs: Vec<String>, aliases: Vec<String>| Placed {
            path: file(name),
            bytes: module.build(),
            needs,
            aliases,
        };
        let needs = vec![file("nic_core"), "host/kernel/ptp/ptp.ko.xz".to_owned()];
        let modules =
            [placed("nic", &self.nic, needs, vec![DEVICE.to_owned()]), placed("nic_core", &self.core, vec![], vec![])];
        let mut items = fixture::driver(RELEASE, &modules);
        items.insert(at("host"), Item::Link(format!("/lib/modules/{RELEASE}")));
        items.insert("firmware/vendor/nic.bin".to_owned(), Item::File(b"fw".to_vec()));
        (self.change)(&mut items);
        items
    }

    pub(super) fn archives(&self) -> Vec<Vec<u8>> {
        std::iter::once(self.items())
            .chain(self.layers.clone())
            .map(|items| (self.archive)(fixture::archive(&items)))
            .collect()
    }

    pub(super) fn layout(&self, dir: &Path) -> String {
        let layers: Vec<_> =
            self.archives().into_iter().map(|archive| (archive.clone(), fixture::gzip(&archive))).collect();
        fixture::layout(dir, &self.about, &layers)
    }

    pub(super) fn request(&self, image: Source, dir: &Path) -> Request {
        let files: Vec<(&str, &str)> = self.kernel.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let mut request = Request {
            image,
            kernel: KernelChoice::Directory(fixture::kernel(&dir.join("kernels"), RELEASE, &files)),
            module: Some("nic".to_owned()),
            in_tree: Some(vec!["e1000-user".to_owned(), "e1000".to_owned()]),
            firmware: Some("/firmware".to_owned()),
            architecture: None,
            trusted_keys: Vec::new(),
            insecure: false,
            limits: Limits::default(),
        };
        (self.request)(&mut request);
        request
    }

    pub(super) fn inspect(&self) -> Inspection {
        let dir = tempfile::tempdir().expect("temporary directory");
        let layout = dir.path().join("layout");
        self.layout(&layout);
        (self.disk)(&layout);
        let request = self.request(Source::OciDir { path: layout, tag: None }, dir.path());
        inspect(&request).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A path of the kernel's directory in the image.
pub(super) fn at(file: &str) -> String {
    format!("opt/lib/modules/{RELEASE}/{file}")
}

fn text_of(items: &Items, path: &str) -> String {
    match &items[path] {
        Item::File(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => panic!("{path} is no file"),
    }
}

pub(super) fn edit(items: &mut Items, file: &str, from: &str, to: &str) {
    let text = text_of(items, &at(file));
    assert!(text.contains(from), "{file}: {text}");
    items.insert(at(file), Item::File(text.replace(from, to).into_bytes()));
}

#[track_caller]
pub(super) fn expect(name: &str, case: &Case, outcome: Outcome, check: &str, words: &[&str]) {
    let inspection = case.inspect();
    let report = describe(&inspection);
    let found = inspection.findings.iter().find(|finding| {
        let all = format!("{} {:?} {:?} {:?}", finding.message, finding.evidence, finding.why, finding.advice);
        finding.check == check && finding.outcome == outcome && words.iter().all(|word| all.contains(word))
    });
    let found = found.unwrap_or_else(|| panic!("{name}: no {outcome:?} {check} with {words:?} in:\n{report}"));
    if outcome == Outcome::Error {
        assert!(found.why.is_some() && found.advice.is_some() && found.source.is_some(), "{name}: {found:?}");
        // One fault, one reason: what follows from it is told as such, and nothing else is blamed.
        let others: Vec<_> =
            inspection.findings.iter().filter(|one| one.outcome == Outcome::Error && one.check != check).collect();
        assert!(others.is_empty(), "{name}: {others:#?}");
    }
}

/// A broken image: its name, what is changed, and the finding.
pub(super) type Broken = (&'static str, fn(&mut Case), &'static str, &'static [&'static str]);

/// Each of them is found.
pub(super) fn expect_errors(broken: &[Broken]) {
    for (name, change, check, words) in broken {
        let mut case = Case::good();
        change(&mut case);
        expect(name, &case, Outcome::Error, check, words);
    }
}

pub(super) fn key(signer: &Signer) -> TrustedKey {
    TrustedKey::parse(signer.pem().as_bytes()).expect("a certificate")
}
