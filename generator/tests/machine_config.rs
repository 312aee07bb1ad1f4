//! The MachineConfig itself: its bytes, what it refuses, and what reads it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use day1_generator::{BootModuleConfig, Day1Config, Error, Tag, produce_machine_config};
use proptest::prelude::*;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn full() -> Day1Config {
    Day1Config::builder("99-worker-day1-nic", "worker", "quay.io/vendor/driver", "day1_nic")
        .in_tree_modules_to_remove(["irdma", "e1000"])
        .firmware_files_path("/opt/firmware")
        .pull_secret_path("/etc/pull-secret.json")
        .reboot_limit(5)
        .load_timeout(Duration::from_secs(60))
        .pull_timeout(Duration::from_secs(300))
        .tag("6.12.41+deb13-amd64", "v1.2")
        .digest("6.12.42+deb13-amd64", DIGEST)
        .build()
        .unwrap()
}

/// The scripts are golden files already, so the snapshot has everything but their text.
fn readable(config: &Day1Config) -> String {
    use base64::Engine as _;
    let yaml = config.to_machine_config().unwrap();
    yaml.lines()
        .map(|line| match line.split_once("data:text/plain;charset=utf-8;base64,") {
            Some((before, data)) => {
                let text = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
                let text = String::from_utf8(text).unwrap();
                if text.starts_with("#!") || text.starts_with("# shellcheck") {
                    format!("{before}(script)\n")
                } else {
                    format!("{before}(text)\n{text}\n")
                }
            }
            None => format!("{line}\n"),
        })
        .collect()
}

#[test]
fn the_simple_call_gives_these_bytes() {
    let config = Day1Config::builder("99-day1", "worker", "quay.io/vendor/driver", "day1_nic").build().unwrap();
    assert_eq!(
        produce_machine_config("99-day1", "worker", "quay.io/vendor/driver", "day1_nic").unwrap(),
        config.to_machine_config().unwrap()
    );
    insta::assert_snapshot!(readable(&config));
}

#[test]
fn every_parameter_reaches_the_node() {
    insta::assert_snapshot!(readable(&full()));
}

#[test]
fn the_scripts_arrive_as_they_are_and_executable_but_not_writable_for_others() {
    use base64::Engine as _;
    let files = full().ignition().storage.unwrap().files.unwrap();
    for (path, text) in [
        (full().load_script_path(), include_str!("../src/scripts/load.sh")),
        (full().pull_script_path(), include_str!("../src/scripts/pull.sh")),
        (full().library_path(), include_str!("../src/scripts/library.sh")),
    ] {
        let file = files.iter().find(|file| file.path == path).unwrap();
        assert_eq!(file.mode, Some(0o755));
        let source = file.contents.as_ref().unwrap().source.as_ref().unwrap();
        let data = source.split_once("base64,").unwrap().1;
        assert_eq!(base64::engine::general_purpose::STANDARD.decode(data).unwrap(), text.as_bytes());
    }
}

#[test]
fn two_machine_configs_share_no_file_and_no_unit() {
    let one = full();
    let other = Day1Config::builder("99-worker-day1-aux", "worker", "quay.io/vendor/aux", "day1_aux").build().unwrap();
    let names = |config: &Day1Config| {
        let ignition = config.ignition();
        let files = ignition.storage.unwrap().files.unwrap().into_iter().map(|file| file.path);
        let units = ignition.systemd.unwrap().units.unwrap().into_iter().map(|unit| unit.name);
        files.chain(units).chain([config.run_directory(), config.state_directory()]).collect::<Vec<_>>()
    };
    assert!(names(&one).iter().all(|name| !names(&other).contains(name)));
}

#[test]
fn ignition_accepts_it() {
    let json = serde_json::to_vec(
        &serde_yaml::from_str::<serde_json::Value>(&full().to_machine_config().unwrap()).unwrap()["spec"]["config"],
    )
    .unwrap();
    let (config, warnings) = ignition_config::Config::parse_slice(&json).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(config, ignition_config::Config::V3_2(full().ignition()));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &json).unwrap();
    match std::process::Command::new("ignition-validate").arg(file.path()).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("ignition-validate is not installed (Debian package ignition): only the types were checked");
        }
        Err(error) => panic!("cannot run ignition-validate: {error}"),
    }
}

#[test]
fn long_names_fit_what_podman_allows() {
    let name = format!("99-{}", "long-name-".repeat(15) + "x");
    let config = Day1Config::builder(&name, "worker", "quay.io/v/d", "day1_nic").build().unwrap();
    let other = Day1Config::builder(format!("{name}y"), "worker", "quay.io/v/d", "day1_nic").build().unwrap();
    assert!(config.run_directory().len() + "/store".len() <= 50, "{}", config.run_directory());
    assert_ne!(config.run_directory(), other.run_directory());
    assert!(config.pull_unit().len() < 256);
}

fn build_error(change: impl FnOnce([&mut String; 4])) -> String {
    let [mut a, mut b, mut c, mut d] = ["99-day1", "worker", "quay.io/vendor/driver", "day1_nic"].map(str::to_owned);
    change([&mut a, &mut b, &mut c, &mut d]);
    produce_machine_config(&a, &b, &c, &d).unwrap_err().to_string()
}

#[test]
fn an_image_with_a_version_is_refused_with_the_repository_that_would_be_right() {
    for (image, part, right) in [
        ("quay.io/vendor/driver:v1", "tag", "quay.io/vendor/driver"),
        ("registry:5000/driver:v1", "tag", "registry:5000/driver"),
        (&format!("quay.io/vendor/driver@{DIGEST}"), "digest", "quay.io/vendor/driver"),
        (&format!("quay.io/vendor/driver:v1@{DIGEST}"), "digest", "quay.io/vendor/driver"),
    ] {
        let error = build_error(|[_, _, c, _]| *c = image.to_owned());
        assert!(error.contains(&format!("ends in a {part}: give the repository alone, {right:?}")), "{error}");
    }
}

#[test]
fn wrong_parameters_say_what_would_be_right() {
    for (error, says) in [
        (build_error(|[a, ..]| *a = "99_Day1".into()), "no RFC 1123 name (it has an upper-case letter)"),
        (build_error(|[a, ..]| *a = String::new()), "it is empty"),
        (build_error(|[a, ..]| *a = "x".repeat(201)), "at most 200"),
        (build_error(|[a, ..]| *a = "a..b".into()), "a part between dots"),
        (build_error(|[_, b, ..]| *b = "my pool".into()), "machine_config_pool_ref \"my pool\""),
        (build_error(|[_, _, c, _]| *c = "vendor/driver".into()), "such as \"quay.io/vendor/driver\""),
        (build_error(|[_, _, c, _]| *c = "quay.io/Vendor/driver".into()), "such as \"quay.io/vendor/driver\""),
        (build_error(|[_, _, c, _]| *c = "https://quay.io/vendor/driver".into()), "no image repository"),
        (build_error(|[_, _, c, _]| *c = "docker://quay.io/vendor/driver".into()), "no image repository"),
        (build_error(|[_, _, c, _]| *c = "quay.io".into()), "no path"),
        (build_error(|[_, _, c, _]| *c = "quay.io/a'b".into()), "grammar"),
        (build_error(|[_, _, c, _]| *c = "registry:+5/driver".into()), "no registry host"),
        (build_error(|[_, _, c, _]| *c = "https://quay.io/v/d:v1".into()), "such as \"quay.io/v/d\""),
        (build_error(|[_, _, c, _]| *c = "[::1]:5000/d".into()), "such as \"quay.io/vendor/driver\""),
        (build_error(|[_, _, c, _]| *c = "registry:99999/d:v1".into()), "no registry host"),
        (build_error(|[_, _, c, _]| *c = "a://".repeat(100_000)), "longer than 255"),
        (build_error(|[_, _, c, _]| *c = "@".into()), "such as \"quay.io/vendor/driver\""),
        (build_error(|[_, _, _, d]| *d = "day1-nic.ko.xz".into()), "such as \"day1-nic\""),
        (build_error(|[_, _, _, d]| *d = "/opt/e1000e.ko".into()), "such as \"e1000e\""),
        (build_error(|[_, _, _, d]| *d = "a b".into()), "no kernel module name"),
        (build_error(|[_, _, _, d]| *d = "x".repeat(56)), "it is too long"),
    ] {
        assert!(error.contains(says), "wanted {says:?} in {error}");
    }
}

#[test]
fn parameters_are_checked_against_each_other() {
    let builder = || Day1Config::builder("99-day1", "worker", "quay.io/vendor/driver", "day1_nic");
    assert_eq!(
        builder().in_tree_modules_to_remove(["i2c-dev", "i2c_dev"]).build().unwrap_err(),
        Error::DuplicateModule { module: "i2c_dev".into() }
    );
    assert_eq!(
        builder().tag("6.1", "v1").digest("6.1", DIGEST).build().unwrap_err(),
        Error::TagAndDigest { kernel: "6.1".into() }
    );
    for wrong in [
        builder().firmware_files_path("opt/firmware"),
        builder().firmware_files_path("/opt/../etc"),
        builder().firmware_files_path("/"),
        builder().firmware_files_path("//"),
        builder().firmware_files_path("/./"),
        builder().firmware_files_path("/opt/$(reboot)"),
        builder().reboot_limit(0),
        builder().load_timeout(Duration::from_secs(1)),
        builder().pull_timeout(Duration::from_secs(100_000)),
        builder().tag("6.1 x", "v1"),
        builder().tag("6.1", "-v1"),
        builder().digest("6.1", "sha256:12"),
    ] {
        assert!(wrong.clone().build().is_err(), "{wrong:?}");
    }
}

#[test]
fn the_default_removes_a_module_of_the_same_name_and_an_empty_list_removes_nothing() {
    let yaml = "machine_config_name: 99-day1\nmachine_config_pool_ref: worker\nkernel_module_image: quay.io/v/d\nkernel_module_name: day1-nic\n";
    let removed = |yaml: &str| -> Vec<String> {
        let config: Day1Config = serde_yaml::from_str(yaml).unwrap();
        config.in_tree_modules_to_remove().iter().map(ToString::to_string).collect()
    };
    assert_eq!(removed(yaml), ["day1-nic"]);
    assert_eq!(removed(&format!("{yaml}in_tree_modules_to_remove: []\n")), [] as [String; 0]);
    assert_eq!(removed(&format!("{yaml}in_tree_modules_to_remove: [b, a]\n")), ["b", "a"]);
}

#[test]
fn yaml_gives_the_same_as_the_builder() {
    let yaml = format!(
        "machine_config_name: 99-worker-day1-nic\nmachine_config_pool_ref: worker\nkernel_module_image: quay.io/vendor/driver\n\
         kernel_module_name: day1_nic\nin_tree_modules_to_remove: [irdma, e1000]\nfirmware_files_path: /opt/firmware\n\
         pull_secret_path: /etc/pull-secret.json\nreboot_limit: 5\nload_timeout: 60\npull_timeout: 300\n\
         tags: {{6.12.41+deb13-amd64: v1.2}}\ndigests: {{6.12.42+deb13-amd64: '{DIGEST}'}}\n"
    );
    assert_eq!(serde_yaml::from_str::<Day1Config>(&yaml).unwrap(), full());
}

#[test]
fn yaml_errors_have_line_and_column() {
    let yaml = "machine_config_name: 99-day1\nmachine_config_pool_ref: worker\nkernel_module_image: quay.io/v/d:tag\nkernel_module_name: day1_nic\n";
    let error = serde_yaml::from_str::<Day1Config>(yaml).unwrap_err();
    assert_eq!(error.location().map(|at| (at.line(), at.column())), Some((3, 22)), "{error}");
    assert!(error.to_string().contains("give the repository alone"), "{error}");
    let range = format!("{}load_timeout: 1\n", yaml.replace(":tag", ""));
    let error = serde_yaml::from_str::<Day1Config>(&range).unwrap_err();
    assert_eq!(error.location().map(|at| (at.line(), at.column())), Some((5, 15)), "{error}");
    let unknown = yaml.replace(":tag", "") + "in_tree_module_to_remove: [a]\n";
    let error = serde_yaml::from_str::<Day1Config>(&unknown).unwrap_err();
    assert_eq!(error.location().map(|at| at.line()), Some(5), "{error}");
    assert!(error.to_string().contains("unknown field `in_tree_module_to_remove`"), "{error}");
}

const BOOT_MODULE_CONFIG: &str = "\
apiVersion: kmm.sigs.x-k8s.io/v1beta1
kind: BootModuleConfig
metadata:
  name: example
  namespace: openshift-kmm
spec:
  machineConfigName: 99-worker-day1-nic
  machineConfigPoolName: worker
  kernelModuleImage: quay.io/vendor/driver
  kernelModuleName: day1_nic
  inTreeModulesToRemove: [irdma, e1000]
  firmwareFilesPath: /opt/firmware
  workerImage: quay.io/vendor/worker:v1
status:
  conditions: []
";

#[test]
fn a_boot_module_config_becomes_parameters() {
    let read = BootModuleConfig::from_yaml(BOOT_MODULE_CONFIG).unwrap();
    assert_eq!(read.config.load_unit(), "99-worker-day1-nic-load-kernel-module.service");
    assert_eq!(read.config.in_tree_modules_to_remove(), full().in_tree_modules_to_remove());
    assert_eq!(read.config.firmware_files_path(), full().firmware_files_path());
    assert_eq!(read.warnings.len(), 1);
    assert!(read.warnings[0].contains("quay.io/vendor/worker:v1"), "{:?}", read.warnings);
}

#[test]
fn a_boot_module_config_may_have_nulls_and_a_byte_order_mark() {
    let text = BOOT_MODULE_CONFIG
        .replace("[irdma, e1000]", "null")
        .replace("firmwareFilesPath: /opt/firmware", "firmwareFilesPath: null")
        .replace("workerImage: quay.io/vendor/worker:v1", "workerImage: null");
    let read = BootModuleConfig::from_yaml(&format!("\u{feff}{text}")).unwrap();
    assert_eq!(read.config.in_tree_modules_to_remove().len(), 1);
    assert_eq!((read.config.firmware_files_path(), read.warnings.len()), (None, 0));
}

#[test]
fn a_boot_module_config_with_a_fault_says_where() {
    for (from, to, says) in [
        ("quay.io/vendor/driver\n", "quay.io/vendor/driver:v1\n", "at line 9 column"),
        ("kernelModuleName:", "kernelModule:", "unknown field `kernelModule`"),
        ("kind: BootModuleConfig", "kind: Module", "BootModuleConfig"),
        ("/v1beta1", "/v1alpha1", "kmm.sigs.x-k8s.io/v1beta1"),
        ("/opt/firmware", "opt/firmware", "it is not absolute"),
    ] {
        let error = BootModuleConfig::from_yaml(&BOOT_MODULE_CONFIG.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(says), "wanted {says:?} in {error}");
    }
}

proptest! {
    #[test]
    fn every_kernel_release_gives_a_tag_that_registries_take(release in ".{1,200}") {
        let tag = Tag::for_kernel(&release);
        prop_assert!(tag.as_str().parse::<Tag>().is_ok(), "{tag}");
    }

    #[test]
    fn a_release_that_is_a_tag_stays_as_it_is(release in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}") {
        prop_assert_eq!(Tag::for_kernel(&release).to_string(), release);
    }

    #[test]
    fn nothing_that_is_accepted_breaks_out_of_its_quotes(
        name in any::<String>(), image in any::<String>(), module in any::<String>(), path in any::<String>()
    ) {
        for value in [
            name.parse::<day1_generator::MachineConfigName>().map(|v| v.to_string()),
            image.parse::<day1_generator::ImageRepository>().map(|v| v.to_string()),
            module.parse::<day1_generator::ModuleName>().map(|v| v.to_string()),
            format!("/{path}").parse::<day1_generator::AbsolutePath>().map(|v| v.to_string()),
        ].into_iter().flatten() {
            prop_assert!(!value.contains(['\'', '\n', '%', '$', '\\', ' ']), "{value:?}");
        }
    }

    #[test]
    fn every_repository_in_the_grammar_is_accepted_and_no_version_of_it(
        host in "[a-z0-9]{1,8}(\\.[a-z]{2,5}){1,2}(:[1-9][0-9]{0,3})?",
        path in "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}(/[a-z0-9]{1,8}){0,2}",
        tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}",
    ) {
        let repository = format!("{host}/{path}");
        prop_assert!(repository.parse::<day1_generator::ImageRepository>().is_ok(), "{repository}");
        let tagged = format!("{repository}:{tag}").parse::<day1_generator::ImageRepository>();
        let refused = matches!(tagged, Err(Error::ImageWithVersion { part: "tag", .. }));
        prop_assert!(refused);
    }
}

#[test]
fn an_image_can_be_changed_without_a_reboot_by_this_policy() {
    let expected = "\
apiVersion: operator.openshift.io/v1
kind: MachineConfiguration
metadata:
  name: cluster
spec:
  nodeDisruptionPolicy:
    files:
    - actions:
      - restart:
          serviceName: 99-worker-day1-nic-pull-kernel-module-image.service
        type: Restart
      path: /etc/day1/99-worker-day1-nic/config
";
    assert_eq!(full().to_machine_configuration().unwrap(), expected);
    // Which is all that differs where the parameters do.
    let other = Day1Config::builder("99-worker-day1-nic", "worker", "quay.io/vendor/next", "day1_nic").build().unwrap();
    let files = |config: &Day1Config| config.ignition().storage.unwrap().files.unwrap();
    let differ: Vec<String> =
        files(&full()).into_iter().zip(files(&other)).filter(|(a, b)| a != b).map(|(a, _)| a.path).collect();
    assert_eq!(differ, ["/etc/day1/99-worker-day1-nic/config"]);
    let image =
        Day1Config::builder("99-worker-day1-nic", "worker", "quay.io/vendor/driver", "day1_nic").build().unwrap();
    assert_eq!(image.ignition().systemd, other.ignition().systemd);
}
