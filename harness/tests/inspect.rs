//! `day1 inspect` as a person calls it: references, credentials, output and exit codes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use day1_harness::services::push::push_layout;
use day1_harness::services::registry::{Registry, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[path = "../src/inspect/fixture.rs"]
#[allow(dead_code, reason = "the library's tests use the rest")]
mod fixture;
#[path = "../src/kmod/fixture.rs"]
#[allow(dead_code, reason = "the library's tests use the rest")]
mod modules;

use fixture::{About, Item, Items, Placed};

/// What no tag may hold is in it.
const RELEASE: &str = "6.12.48+deb13-amd64";
const TAG: &str = "6.12.48_deb13-amd64";
const LOGIN: &str = "vendor:a:secret";

fn day1(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_day1"));
    command.env("DAY1_CACHE", dir.join("cache")).env("HOME", dir).env_remove("XDG_RUNTIME_DIR");
    command.env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_CONFIG_HOME").env_remove("DOCKER_CONFIG");
    command.arg("inspect");
    command
}

/// Runs it; gives its exit code, standard output and standard error.
fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn items(license: &str) -> Items {
    let module = modules::Module::new("nic")
        .info("license", license)
        .info("vermagic", &format!("{RELEASE} SMP preempt mod_unload modversions "))
        .uses("module_layout", 1)
        .uses("printk", 2);
    let module = Placed { path: "extra/nic.ko".into(), bytes: module.build(), needs: vec![], aliases: vec![] };
    fixture::driver(RELEASE, &[module])
}

/// An image layout with the module `nic`; gives its digest.
fn layout(dir: &Path, license: &str) -> String {
    let archive = fixture::archive(&items(license));
    fixture::layout(dir, &About { indexed: true, ..About::default() }, &[(archive.clone(), fixture::gzip(&archive))])
}

fn kernel(dir: &Path) -> std::path::PathBuf {
    fixture::kernel(
        dir,
        RELEASE,
        &[
            ("modules.dep", "kernel/net/e1000.ko.xz:\n"),
            ("modules.alias", "alias pci:v1* e1000\n"),
            ("modules.builtin", "kernel/fs/ext4.ko\n"),
            ("config", "CONFIG_SMP=y\nCONFIG_PREEMPT_BUILD=y\nCONFIG_MODULE_UNLOAD=y\nCONFIG_MODVERSIONS=y\n"),
            (
                "Module.symvers",
                "0x1\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n0x2\tprintk\tvmlinux\tEXPORT_SYMBOL_GPL\t\n",
            ),
        ],
    )
}

#[test]
fn a_good_image_is_told_as_such_and_as_json() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let digest = layout(&dir.path().join("image"), "GPL");
    let image = format!("oci:{}", dir.path().join("image").display());
    let kernel = kernel(dir.path());
    let run = |more: &[&str]| outcome(day1(dir.path()).arg(&image).arg("--kernel-dir").arg(&kernel).args(more));
    let (code, report, errors) = run(&["--in-tree", "e1000"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{report}");
    for words in [digest.as_str(), "linux/amd64", "✓ module.symbols", "✓ in-tree.removal", "0 errors"] {
        assert!(report.contains(words), "{words}: {report}");
    }
    let (code, json, _) = run(&["--json"]);
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, value["version"].as_u64()), (0, Some(1)));
    assert_eq!(value["image"]["digest"], digest);
    assert_eq!(value["kernel"]["release"], RELEASE);
    assert_eq!(value["modules"][0]["name"], "nic");
}

#[test]
fn an_error_is_exit_code_1_with_reason_advice_and_source() {
    let dir = tempfile::tempdir().expect("temporary directory");
    layout(&dir.path().join("image"), "Proprietary");
    let image = format!("oci:{}", dir.path().join("image").display());
    let (code, report, _) = outcome(day1(dir.path()).arg(&image).arg("--kernel-dir").arg(kernel(dir.path())));
    assert_eq!(code, 1, "{report}");
    let lines: Vec<&str> = report.lines().skip_while(|line| !line.contains("✗ module.licence")).collect();
    assert!(lines.iter().any(|line| line.contains("nic uses printk")), "{report}");
    assert!(lines.iter().any(|line| line.contains("on the node: ")), "{report}");
    assert!(
        lines.iter().any(|line| line.contains("→ ")) && lines.iter().any(|line| line.contains("source: ")),
        "{report}"
    );
    assert!(report.contains("1 error,"), "{report}");
}

#[test]
fn a_kernel_of_the_cache_is_found_by_its_release_and_an_unknown_one_is_told() {
    let dir = tempfile::tempdir().expect("temporary directory");
    layout(&dir.path().join("image"), "GPL");
    let image = format!("oci:{}", dir.path().join("image").display());
    let run = |release: &str| outcome(day1(dir.path()).arg(&image).args(["--kernel", release]));
    let (code, report, _) = run(RELEASE);
    assert_eq!(code, 0, "{report}");
    assert!(
        report.contains("no node image in the cache tells of kernel") && report.contains("not checked"),
        "{report}"
    );
    let kernels = dir.path().join("cache/node-image/key/kernels");
    let known = kernel(&kernels);
    let (code, report, _) = run(RELEASE);
    assert_eq!(code, 0, "{report}");
    assert!(
        report.contains(&format!("known from {}", known.display())) && report.contains("✓ module.symbols"),
        "{report}"
    );
    let (code, report, _) = run("6.1.0");
    assert_eq!(code, 1, "{report}");
    assert!(report.contains("✗ image.layout") && report.contains(RELEASE), "{report}");
}

#[test]
fn bad_input_is_exit_code_2_with_what_would_be_right() {
    let dir = tempfile::tempdir().expect("temporary directory");
    layout(&dir.path().join("image"), "GPL");
    std::fs::write(dir.path().join("junk"), b"junk").expect("written");
    std::fs::write(dir.path().join("auth.json"), b"{").expect("written");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let image = format!("oci:{}", path("image"));
    let absent = path("absent");
    let junk = path("junk");
    let cases: [(Vec<&str>, &str); 15] = [
        (vec!["driver:1"], "it has no path after the registry's host"),
        (vec!["vendor/driver:1"], "its first part is no registry host"),
        (vec!["quay.io/vendor/driver"], "add one, or name the nodes' kernel with --kernel"),
        (vec![&image, "--module", "a/b"], "it is a path"),
        (vec![&image, "--in-tree", "e1000,x.ko"], "it is a file name"),
        (vec![&image, "--in-tree", "e1000-user,e1000,e1000_user"], "\"e1000_user\" twice"),
        (vec![&image, "--firmware", "relative"], "it is not absolute"),
        (vec![&image, "--arch", "x86"], "amd64"),
        (vec![&image, "--kernel-dir", &absent], "is no directory"),
        (vec![&image, "--kernel", "6.1", "--kernel-dir", &absent], "cannot be used with"),
        (vec![&image, "--trusted-key", &junk], "is no X.509 certificate"),
        (vec![&absent], "names no image"),
        (vec!["oci:/nowhere/at/all"], "there is no such directory"),
        (vec!["oci-archive:/nowhere.tar"], "cannot read /nowhere.tar"),
        (vec!["oci:x:y"], "there is no such directory"),
    ];
    for (arguments, words) in cases {
        let (code, report, errors) = outcome(day1(dir.path()).args(&arguments));
        assert_eq!((code, report.as_str()), (2, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{arguments:?}: {errors}");
    }
    for (source, words) in
        [("oci-archive", "no archive"), ("docker-archive", "no archive"), ("oci", "no such directory")]
    {
        let (code, _, errors) = outcome(day1(dir.path()).arg(format!("{source}:{junk}")));
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains(words), "{source}: {errors}");
    }
    let mut command = day1(dir.path());
    command.arg("127.0.0.1:1/a/b:c").env("REGISTRY_AUTH_FILE", path("auth.json"));
    let (code, _, errors) = outcome(&mut command);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("cannot take pull credentials from") && errors.contains("auth.json"), "{errors}");
}

/// A registry that wants a password, and what it was asked with.
struct Guarded {
    registry: Registry,
    address: String,
}

impl Guarded {
    async fn start(dir: &Path) -> Self {
        let registry = Source::Embedded.start(dir).await.expect("a registry");
        let upstream = registry.base_url().trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address").to_string();
        let upstream = Arc::new(upstream);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = Arc::clone(&upstream);
                tokio::spawn(async move { guard(client, &upstream).await.unwrap_or_default() });
            }
        });
        Self { registry, address }
    }
}

/// Answers one request: with the registry's words to those who know the password.
async fn guard(mut client: TcpStream, upstream: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let knows = head.lines().any(|line| {
        line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("authorization") && value == format!("Basic {}", STANDARD.encode(LOGIN))
        })
    });
    if !knows {
        let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(answer.as_bytes()).await;
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).await?;
    tokio::io::copy(&mut server, &mut client).await?;
    client.shutdown().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_a_registry_is_read_with_the_credentials_of_an_auth_file() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    let digest = layout(&dir.join("image"), "GPL");
    let guarded = Guarded::start(dir).await;
    let tags = [TAG.to_owned()];
    push_layout(guarded.registry.base_url(), &dir.join("image"), "vendor/driver", &tags).await.expect("pushed");
    let image = format!("{}/vendor/driver", guarded.address);
    let auths = serde_json::json!({ "auths": { (image.clone()): { "auth": STANDARD.encode(LOGIN) } } });
    std::fs::write(dir.join("auth.json"), auths.to_string()).expect("written");
    let kernel = kernel(dir);
    let run = |image: String, auth: bool| {
        let mut command = day1(dir);
        command.arg(image).arg("--kernel-dir").arg(&kernel);
        if auth {
            command.env("REGISTRY_AUTH_FILE", dir.join("auth.json"));
        }
        tokio::task::spawn_blocking(move || outcome(&mut command))
    };
    for reference in [image.clone(), format!("{image}:{TAG}"), format!("{image}@{digest}")] {
        let (code, report, errors) = run(reference.clone(), true).await.expect("run");
        assert_eq!(code, 0, "{reference}: {errors}{report}");
        assert!(report.contains(&digest) && report.contains("✓ module.symbols"), "{report}");
    }
    let (_, report, _) = run(image.clone(), true).await.expect("run");
    assert!(report.starts_with(&format!("{image}:{TAG}\n")), "the tag is the kernel's: {report}");
    let (code, _, errors) = run(image.clone(), false).await.expect("run");
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("without credentials") && errors.contains("podman login"), "{errors}");
    let (code, _, errors) = run(format!("{image}:absent"), true).await.expect("run");
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("the registry has no image") && errors.contains(":absent"), "{errors}");
    guarded.registry.stop().await;
    let (code, _, errors) = run(image, true).await.expect("run");
    assert_eq!(code, 3, "the registry is gone: {errors}");
    assert!(errors.contains("cannot read"), "{errors}");
}

/// 600 MiB on the node, in layers that are read side by side. What is kept is names, and not content.
#[test]
fn a_large_image_takes_little_memory() {
    const LIMIT_KIB: u32 = 128 * 1024;
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut random = fastrand::Rng::with_seed(1);
    // A pattern that compresses well, so that the image is made quickly.
    let pattern: Vec<u8> = (0..64 * 1024).map(|_| random.u8(..)).collect();
    let filler = fixture::archive(&Items::from([("usr/lib/filler".to_owned(), Item::File(pattern.repeat(3200)))]));
    let filler = (filler.clone(), fixture::gzip(&filler));
    let driver = fixture::archive(&items("GPL"));
    let layers = [(driver.clone(), fixture::gzip(&driver)), filler.clone(), filler.clone(), filler];
    fixture::layout(&dir.path().join("image"), &About::default(), &layers);
    drop(layers);
    let image = format!("oci:{}", dir.path().join("image").display());
    // The kernel itself sees to it: what would be more is refused to the program, and ends it.
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -d {LIMIT_KIB} && exec \"$@\"")).arg("sh").arg(env!("CARGO_BIN_EXE_day1"));
    limited.args(["inspect", &image]);
    let (code, report, errors) = outcome(&mut limited);
    assert_eq!(code, 0, "{errors}{report}");
    assert!(report.contains("600 MiB on the node"), "{report}");
}
