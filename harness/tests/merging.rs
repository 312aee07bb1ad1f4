//! The worked example of docs/merging: ten MachineConfigs in two pools, merged by the library and by the program, held
//! against what is written down by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use day1_harness::mco::{MachineConfig, Pool, Rendered, render};
use serde_yaml::Value;

const POOLS: [&str; 2] = ["worker", "infra"];

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/merging").join(name)
}

fn cluster() -> Vec<MachineConfig> {
    let configs = MachineConfig::read(&example("cluster.yaml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(configs.len(), 10);
    configs
}

fn merged(pool: &str, configs: &[MachineConfig]) -> Rendered {
    render(&Pool::new(pool), configs).unwrap_or_else(|error| panic!("{error}"))
}

fn by_hand(pool: &str) -> Value {
    let text = std::fs::read_to_string(example(&format!("{pool}.yaml"))).expect("read");
    serde_yaml::from_str(&text).expect("YAML")
}

/// What is printed, without the name, which nobody works out by hand.
fn without_name(text: &str) -> Value {
    let mut printed: Value = serde_yaml::from_str(text).expect("YAML");
    let name = printed.as_mapping_mut().and_then(|page| page.remove("name"));
    assert!(name.is_some_and(|name| name.as_str().is_some_and(|name| name.starts_with("rendered-"))), "{text}");
    printed
}

fn day1(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_day1"))
        .arg("merge")
        .args(arguments)
        .arg(example("cluster.yaml"))
        .output()
        .expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_library_merges_as_by_hand() {
    for pool in POOLS {
        let text = merged(pool, &cluster()).to_yaml().expect("printed");
        assert_eq!(without_name(&text), by_hand(pool), "{pool}:\n{text}");
    }
}

#[test]
fn the_program_merges_as_by_hand() {
    for pool in POOLS {
        let (code, text, error) = day1(&["--pool", pool]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{pool}");
        assert_eq!(without_name(&text), by_hand(pool), "{pool}:\n{text}");
    }
}

#[test]
fn the_ignition_is_printed_byte_for_byte_and_is_in_the_machine_config() {
    let rendered = merged("infra", &cluster());
    let (_, ignition, _) = day1(&["--pool", "infra", "--format", "ignition"]);
    assert_eq!(ignition.as_bytes(), rendered.ignition_json);
    let (_, config, _) = day1(&["--pool", "infra", "--format", "machine-config"]);
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["spec"]["config"], serde_json::from_str::<serde_json::Value>(&ignition).expect("JSON"));
    assert_eq!(config["metadata"]["name"], rendered.name);
    let file = config["spec"]["config"]["storage"]["files"].as_array().expect("files");
    let policy = file.iter().find(|file| file["path"] == "/etc/containers/policy.json").expect("the file");
    assert_eq!(policy["contents"].get("compression"), None, "{policy}");
}

#[test]
fn a_name_is_that_of_what_it_holds() {
    let configs = cluster();
    let name = |pool: &str, configs: &[MachineConfig]| merged(pool, configs).name;
    // Of other bytes for the same MachineConfigs a node would think that it has another config.
    assert_eq!(name("worker", &configs), "rendered-worker-9e7ebb41bdb59b9f982388c9b4a7ca08");
    assert_eq!(name("infra", &configs), "rendered-infra-a755191954cca09b3810248262d8b055");
    let reversed: Vec<MachineConfig> = configs.iter().rev().cloned().collect();
    assert_eq!(name("infra", &reversed), name("infra", &configs));
    let text = std::fs::read_to_string(example("cluster.yaml")).expect("read");
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        MachineConfig::parse(&text.replace(from, to), "changed.yaml").unwrap_or_else(|error| panic!("{error}"))
    };
    // Whatever of them reaches a node, and only for the pools that it reaches.
    for (from, to) in [
        ("time.infra", "time.other"),
        ("hugepages=4", "hugepages=5"),
        ("64k-pages", "realtime"),
        ("usbguard, sysstat", "sysstat"),
        ("fips: true", "fips: false"),
        ("Nice=5", "Nice=6"),
    ] {
        let changed = changed(from, to);
        assert_ne!(name("infra", &changed), name("infra", &configs), "{from}");
        assert_eq!(name("worker", &changed), name("worker", &configs), "{from}");
    }
    let image = changed("worker-os:1", "worker-os:2");
    assert!(POOLS.iter().all(|pool| name(pool, &image) != name(pool, &configs)));
}

#[test]
fn the_cluster_s_own_image_is_for_pools_that_say_none() {
    let configs = cluster();
    let image = |configs: &[MachineConfig]| {
        let pool = Pool::new("worker").with_os_image("quay.io/release/os:4.17");
        render(&pool, configs).expect("rendered").os_image_url
    };
    assert_eq!(image(&configs).as_deref(), Some("quay.io/site/worker-os:1"));
    let without: Vec<MachineConfig> = configs.into_iter().filter(|config| config.name != "99-worker-site").collect();
    assert_eq!(image(&without).as_deref(), Some("quay.io/release/os:4.17"));
    let (_, text, _) = day1(&["--os-image", "quay.io/release/os:4.17"]);
    assert!(text.contains("worker-os:1"), "{text}");
}

#[test]
fn what_can_t_be_merged_is_told() {
    let (code, text, error) = day1(&["--pool", "master"]);
    assert_eq!((code, text.as_str()), (Some(2), ""));
    assert!(error.contains("no MachineConfig is for pool master"), "{error}");
    let output = Command::new(env!("CARGO_BIN_EXE_day1")).args(["merge", "/no/such.yaml"]).output().expect("started");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read the MachineConfig /no/such.yaml"));
}
