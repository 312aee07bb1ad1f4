//! Build roots from container images: the same module comes out of them as of Debian's packages, and nothing is left of
//! a container.
//!
//! All of it needs an engine, and the node image `debian-13` in the cache, whose kernel's headers are put into an image as
//! a toolkit has them. `cargo xtask ci` asks for it where an engine answers.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use day1_harness::architecture::Architecture;
use day1_harness::cache::Cache;
use day1_harness::kmod::{self, BuildRoot, BuiltModule, PackSpec};
use day1_harness::node::{self, Catalogue};
use day1_harness::toolkit::{self, DriverToolkit, FedoraKernel};

const DAY1: &str = env!("CARGO_BIN_EXE_day1");

/// Where a Fedora's package manager is, in the image.
const DNF: &str = r#"#!/bin/sh
# Stands for dnf: it "installs" the headers that are in the image already.
for package; do
    case $package in
    kernel-devel-6.12.*) mkdir -p /usr/src/kernels && ln -s /usr/src/linux-headers-@RELEASE@ "/usr/src/kernels/${package#kernel-devel-}" ;;
    kernel-devel-6.98.*) sleep 1000 ;;
    *6.99.*) echo "No match for argument: $package" && exit 1 ;;
    esac
done
"#;

fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().expect("docker is on the PATH");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "docker {words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// An image of Debian's build root; goes with the value.
struct Image {
    tag: String,
    debian: BuildRoot,
    cache: Cache,
}

impl Image {
    fn new(name: &str) -> Self {
        let cache = Cache::open(None).expect("the cache");
        let vm_images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm-images");
        let catalogue = Catalogue::open(&vm_images, &cache).expect("a catalogue");
        let disk = node::find(&cache, catalogue.get("debian-13").expect("defined")).expect("read");
        let disk = disk.expect("debian-13 is in the cache: `day1 images get debian-13`");
        let facts = node::known(&cache, &disk).expect("read").expect("known").facts;
        let mirror = facts.mirror.expect("a mirror");
        let distribution = kmod::Distribution::debian(Architecture::X86_64, &facts.kernels[0].suite, mirror);
        let debian = kmod::ensure_build_root(&cache, &distribution, &facts.kernels[0].release, &|_| ());
        let debian = debian.expect("Debian's build root");
        let beside = tempfile::tempdir().expect("temporary directory");
        let dnf = beside.path().join("usr/bin/dnf");
        std::fs::create_dir_all(dnf.parent().expect("a directory")).expect("made");
        std::fs::write(&dnf, DNF.replace("@RELEASE@", &debian.kernel_release)).expect("written");
        std::fs::set_permissions(&dnf, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let tag = format!("day1/toolkit-test-{}:{name}", std::process::id());
        let mut tar = Command::new("tar");
        tar.arg("--create")
            .arg("--directory")
            .arg(&debian.path)
            .arg(".")
            .arg("--directory")
            .arg(beside.path())
            .arg("usr/bin/dnf");
        let mut tar = tar.stdout(Stdio::piped()).spawn().expect("started");
        let mut import = Command::new("docker");
        import.args(["import", "-", &tag]).stdin(tar.stdout.take().expect("an output")).stdout(Stdio::null());
        assert!(import.status().expect("started").success() && tar.wait().expect("ended").success());
        Self { tag, debian, cache }
    }

    /// The driver, built in a root, in a cache of its own: nothing of another build passes for it.
    fn driver(root: &BuildRoot, dir: &Path) -> BuiltModule {
        let cache = Cache::open(Some(&dir.join("modules"))).expect("a cache");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm-images/kmods/day1_nic");
        let built = kmod::build_modules(&cache, root, &[source.as_path()], &|_| ()).expect("built");
        built.modules["day1_nic"].clone()
    }

    /// What a root builds is what Debian's builds, and can be packed with its `depmod`.
    fn assert_builds_the_same(&self, root: &BuildRoot) {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let (ours, debians) = (Self::driver(root, dirs[0].path()), Self::driver(&self.debian, dirs[1].path()));
        assert!(ours.info.srcversion.is_some() && ours.info.srcversion == debians.info.srcversion, "{:?}", ours.info);
        let vermagic = ours.info.vermagic.clone().expect("a version magic");
        assert!(vermagic.starts_with(&self.debian.kernel_release), "{vermagic}");
        assert_eq!(ours.info, debians.info);
        let spec = PackSpec { kernel_release: root.kernel_release.clone(), modules: vec![ours], ..PackSpec::default() };
        kmod::pack_image(root, &dirs[0].path().join("image"), &spec).expect("packed");
        let spec = PackSpec { base: kmod::Base::Worker(b"#!/bin/sh\n".to_vec()), ..spec };
        kmod::pack_image(root, &dirs[0].path().join("worker"), &spec).expect("packed with programs of the root");
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", &self.tag]).output();
    }
}

/// A cache that goes with the test.
fn cache() -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let cache = Cache::open(Some(dir.path())).expect("a cache");
    (dir, cache)
}

fn containers() -> Vec<String> {
    let all = docker(&["ps", "--all", "--filter", "name=day1-toolkit-", "--format", "{{.Names}}"]);
    all.lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs a container engine, and the node image debian-13 in the cache"]
fn a_saved_image_builds_the_same_module_as_debian_s_packages() {
    let image = Image::new("saved");
    let (dir, cache) = cache();
    let path: PathBuf = dir.path().join("toolkit.tar");
    docker(&["save", "--output", &path.to_string_lossy(), &image.tag]);
    let saved: DriverToolkit = path.to_string_lossy().parse().expect("a toolkit");
    let root = toolkit::named_root(&cache, &saved, Architecture::X86_64, &image.debian.kernel_release, &|_| ())
        .expect("a root");
    image.assert_builds_the_same(&root);
    let other = toolkit::named_root(&cache, &saved, Architecture::X86_64, "5.14.0-570.el9_6.x86_64", &|_| ());
    let text = other.expect_err("another kernel's").to_string();
    assert!(text.contains(&format!("only of {}", image.debian.kernel_release)), "{text}");
    assert!(image.cache.root() != cache.root());
}

#[test]
#[ignore = "needs a container engine, and the node image debian-13 in the cache"]
fn what_a_container_installed_builds_the_same_module_and_no_container_is_left() {
    let image = Image::new("installed");
    let (_dir, cache) = cache();
    let kernel = FedoraKernel::parse("6.12.0-1.fc41.x86_64").expect("a kernel");
    let steps = std::sync::Mutex::new(Vec::new());
    let tell = |step: &str| steps.lock().expect("not poisoned").push(step.to_owned());
    let root = toolkit::installed_root(&cache, Path::new(DAY1), &image.tag, &kernel, &tell).expect("a root");
    image.assert_builds_the_same(&root);
    let steps = steps.lock().expect("not poisoned").join("\n");
    assert!(steps.contains("installing gcc make") && steps.contains("kernel-devel-6.12.0-1.fc41.x86_64"), "{steps}");
    let again = toolkit::installed_root(&cache, Path::new(DAY1), "no/such/image", &kernel, &tell);
    assert!(again.is_err(), "another image is another root");
    let cached = toolkit::installed_root(&cache, Path::new("/nowhere"), &image.tag, &kernel, &|_| ());
    assert_eq!(cached.expect("from the cache"), root);

    let kernel = FedoraKernel::parse("6.99.0-1.fc41.x86_64").expect("a kernel");
    let failed = toolkit::installed_root(&cache, Path::new(DAY1), &image.tag, &kernel, &|_| ());
    let text = failed.expect_err("no such kernel").to_string();
    for part in ["exit code 1", "No match for argument: kernel-devel-6.99", "podman run", "--driver-toolkit"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    // The process that asked ends in the middle.
    let before = containers();
    let mut holder = Command::new(DAY1);
    holder.args(["install-toolkit", "--run", "test", &image.tag, "6.98.0-1.fc41.x86_64", "https://x/y.rpm"]);
    holder.arg(cache.root().join("root.tar")).arg("gcc").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut holder = holder.spawn().expect("started");
    let mut lifeline = holder.stdin.take().expect("an input");
    lifeline.write_all(b"x").expect("what is said there does not end it");
    let began = Instant::now();
    while containers().len() <= before.len() {
        assert!(began.elapsed() < Duration::from_secs(60), "no container within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(holder.try_wait().expect("asked").is_none(), "it waits for the container");
    drop(lifeline);
    assert!(holder.wait().expect("ended").success());
    assert_eq!(containers(), before);
}
