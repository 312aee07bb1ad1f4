//! The scripts of a generated MachineConfig, run against stubs of podman, modprobe and the rest.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod load;
mod pull;
mod stub_node;

use stub_node::StubNode;

#[test]
fn the_node_and_the_generator_agree_on_tags() {
    let node = StubNode::with(|builder| builder.tag("6.1", "v1").digest("6.2", format!("sha256:{}", "0".repeat(64))));
    let long = "5.".repeat(70);
    for kernel in
        ["5.14.0-427.18.1.el9_4.x86_64+rt", "6.12~rc1", "-a", ".a", "a b/c", "\u{e4}", "6.1", "6.2", long.as_str()]
    {
        assert_eq!(node.library_function("image_reference", kernel), node.config.image_reference(kernel), "{kernel}");
    }
}

#[test]
fn shellcheck_finds_nothing() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let scripts = std::fs::read_dir(root.join("generator/src/scripts")).unwrap();
    let stubs = std::fs::read_dir(root.join("generator/tests/node_scripts/stubs")).unwrap();
    let files = scripts.chain(stubs).map(|entry| entry.unwrap().path());
    match std::process::Command::new("shellcheck").arg("-x").args(files).current_dir(root).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => eprintln!("shellcheck is not installed: not run"),
        Err(error) => panic!("cannot run shellcheck: {error}"),
    }
}
