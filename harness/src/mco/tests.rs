//! Rendering worked out by hand, and what is refused.

use serde_json::{Value, json};

use super::*;

fn parse(text: &str) -> Vec<MachineConfig> {
    MachineConfig::parse(text, "test.yaml").expect("MachineConfigs")
}

fn refusal(text: &str) -> String {
    MachineConfig::parse(text, "test.yaml").expect_err("refused").to_string()
}

fn rendered_json(rendered: &Rendered) -> Value {
    serde_json::from_slice(&rendered.ignition_json).expect("JSON")
}

/// Ten MachineConfigs of a cluster with the pools worker and infra.
const CLUSTER: &str = r#"
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 99-worker-z, labels: {machineconfiguration.openshift.io/role: worker}}
spec:
  kernelArguments: [z, shared]
  config:
    ignition: {version: 3.2.0}
    storage:
      files:
      - {path: /etc/both, mode: 384, contents: {source: "data:,worker-z"}}
      - {path: /etc/plain, contents: {source: "data:,plain"}}
---
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 00-worker, labels: {machineconfiguration.openshift.io/role: worker}}
spec:
  kernelArguments: [first]
  config:
    ignition: {version: 3.0.0}
    storage:
      files:
      - {path: /etc/both, mode: 0644, contents: {source: "data:,worker-00"}}
      - {path: /etc/kept, overwrite: false}
    systemd:
      units:
      - {name: a.service, enabled: true, contents: "[Service]\nExecStart=/bin/one\n"}
---
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 01-infra, labels: {machineconfiguration.openshift.io/role: infra}}
spec:
  kernelArguments: [infra, shared]
  kernelType: default
  config:
    ignition: {version: 3.1.0}
    storage:
      files:
      - {path: /etc/both, contents: {source: "data:,infra"}}
---
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 50-worker-unit, labels: {machineconfiguration.openshift.io/role: worker}}
spec:
  config:
    ignition: {version: 3.2.0}
    systemd:
      units:
      - name: a.service
        contents: "[Service]\nExecStart=/bin/two\n"
        dropins: [{name: 10-x.conf, contents: "[Unit]\n"}]
      - {name: crio-wipe.service, mask: true}
---
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 51-infra-unit, labels: {machineconfiguration.openshift.io/role: infra}}
spec:
  config:
    ignition: {version: 3.2.0}
    systemd:
      units:
      - {name: a.service, enabled: false}
      - {name: b.service, contents: "[Service]\nExecStart=/bin/b\n"}
---
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 60-worker-realtime, labels: {machineconfiguration.openshift.io/role: worker}}
spec: {kernelType: realtime, extensions: [usbguard]}
---
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 61-infra-pages, labels: {machineconfiguration.openshift.io/role: infra}}
spec: {kernelType: 64k-pages, fips: true, extensions: [usbguard]}
---
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 70-worker-gzip, labels: {machineconfiguration.openshift.io/role: worker}}
spec:
  config:
    ignition: {version: 3.2.0}
    storage:
      files:
      - {path: /etc/plain, contents: {source: "data:;base64,H4sIAAAAAAAAAwMAAAAAAAAAAAA=", compression: gzip}}
---
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 80-infra-image, labels: {machineconfiguration.openshift.io/role: infra}}
spec: {osImageURL: "quay.io/os@sha256:1"}
---
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 00-master, labels: {machineconfiguration.openshift.io/role: master}}
spec: {kernelArguments: [master], config: {ignition: {version: 3.5.0}}}
"#;

#[test]
fn ten_machine_configs_make_the_worker_pool() {
    let rendered = render(&Pool::new("worker"), &parse(CLUSTER)).expect("rendered");
    assert_eq!(
        rendered.sources,
        ["00-worker", "50-worker-unit", "60-worker-realtime", "70-worker-gzip", "99-worker-z"]
    );
    assert_eq!(rendered.kernel_arguments, ["first", "z", "shared"]);
    assert_eq!(rendered.kernel_type, "realtime");
    assert!(!rendered.fips);
    assert_eq!(rendered.os_image_url, None);
    let expected = json!({
        "ignition": { "version": "3.2.0" },
        "storage": { "files": [
            { "path": "/etc/both", "mode": 384, "overwrite": true, "contents": { "source": "data:,worker-z" } },
            { "path": "/etc/kept", "overwrite": false },
            { "path": "/etc/plain", "overwrite": true, "contents": { "source": "data:,plain" } },
        ] },
        "systemd": { "units": [
            {
                "name": "a.service", "enabled": true, "contents": "[Service]\nExecStart=/bin/two\n",
                "dropins": [{ "name": "10-x.conf", "contents": "[Unit]\n" }],
            },
            { "name": "crio-wipe.service", "mask": true },
        ] },
    });
    assert_eq!(rendered_json(&rendered), expected);
    ignition_validate(&rendered.ignition_json);
}

#[test]
fn a_custom_pool_wins_over_worker_whatever_the_names() {
    let rendered = render(&Pool::new("infra"), &parse(CLUSTER)).expect("rendered");
    assert_eq!(
        rendered.sources[5..],
        ["01-infra", "51-infra-unit", "61-infra-pages", "80-infra-image"],
        "the workers' come first"
    );
    assert_eq!(rendered.kernel_arguments, ["first", "z", "shared", "infra", "shared"], "doubles are kept");
    assert_eq!(rendered.kernel_type, "64k-pages", "the last one that is not the default");
    assert_eq!(rendered.extensions, ["usbguard", "usbguard"]);
    assert!(rendered.fips);
    assert_eq!(rendered.os_image_url.as_deref(), Some("quay.io/os@sha256:1"));
    let config = rendered_json(&rendered);
    let both = json!({ "path": "/etc/both", "mode": 384, "overwrite": true, "contents": { "source": "data:,infra" } });
    assert_eq!(config["storage"]["files"][0], both);
    let units = config["systemd"]["units"].as_array().expect("units");
    assert_eq!(units[0]["enabled"], json!(false));
    assert_eq!(units[0]["contents"], json!("[Service]\nExecStart=/bin/two\n"));
    assert_eq!(units[2]["name"], json!("b.service"));
    assert!(rendered.name.starts_with("rendered-infra-") && rendered.name.len() == "rendered-infra-".len() + 32);
    ignition_validate(&rendered.ignition_json);
}

#[test]
fn octal_modes_are_what_the_cluster_reads() {
    let spec = "spec:\n  config:\n    ignition: {version: 3.2.0}\n    storage:\n      files:\n      - path: /a\n        mode: 0644\n        contents: {source: \"data:,0644\"}\n      directories: [{path: /d, mode: 0755}]";
    let rendered = render(&Pool::new("worker"), &parse(&document(spec))).expect("rendered");
    let storage = &rendered_json(&rendered)["storage"];
    assert_eq!(storage["files"][0]["mode"], json!(0o644));
    assert_eq!(storage["files"][0]["contents"]["source"], json!("data:,0644"));
    assert_eq!(storage["directories"][0]["mode"], json!(0o755));
}

#[test]
fn a_quoted_mode_is_refused_and_an_octal_one_hides_no_other_mistake() {
    let refused = |mode: &str, more: &str| {
        let file =
            format!("      - path: /a\n        mode: {mode}\n        {more}\n        contents: {{source: \"data:,\"}}");
        refusal(&document(&format!(
            "spec:\n  config:\n    ignition: {{version: 3.2.0}}\n    storage:\n      files:\n{file}"
        )))
    };
    let quoted = refused("\"0755\"", "overwrite: true");
    assert_eq!(quoted, "test.yaml:12:15: the text `0755` stands where a whole number belongs; write it without quotes");
    let other = refused("0755", "overwrite: \"true\"");
    assert_eq!(
        other,
        "test.yaml:13:20: the text `true` stands where `true` or `false` belongs; write it without quotes"
    );
    assert!(refused("0755", "user: {id: true}").starts_with("test.yaml:13:20: `true` stands where a whole number"));
    let json = document("").replace("spec", "");
    let json: Value = serde_yaml::from_str(&json).expect("YAML");
    let mut json = json;
    json["spec"] = json!({ "config": { "ignition": { "version": "3.2.0" }, "storage": { "files": [{ "path": "/a", "mode": "0755" }] } } });
    assert!(refusal(&json.to_string()).contains("the text `0755` stands where a whole number belongs"));
}

#[test]
fn what_yaml_1_1_knows_is_read() {
    let spec = "spec:\n  fips: no\n  config:\n    ignition: {version: 3.2.0}\n    storage:\n      files:\n      - &a {path: /a, mode: 0o755, overwrite: yes, contents: {source: \"data:,a\"}}\n      - {<<: *a, path: /b, mode: 0x1a4}";
    let rendered = render(&Pool::new("worker"), &parse(&document(spec))).expect("rendered");
    let files = &rendered_json(&rendered)["storage"]["files"];
    let file = |path: &str, mode: u32| json!({ "path": path, "mode": mode, "overwrite": true, "contents": { "source": "data:,a" } });
    assert_eq!(*files, json!([file("/a", 0o755), file("/b", 0o644)]));
}

#[test]
fn the_items_of_a_list_are_machine_configs() {
    let item = |name: &str, spec: &str| {
        let text = document(spec).replace("99-x", name);
        text.lines()
            .enumerate()
            .map(|(line, text)| format!("{} {text}\n", if line == 0 { "-" } else { " " }))
            .collect::<String>()
    };
    let list =
        |items: &str| format!("apiVersion: v1\nitems:\n{items}kind: List\nmetadata: {{resourceVersion: \"\"}}\n");
    let two = list(&(item("99-a", "spec: {fips: true}") + &item("99-b", "spec: {kernelArguments: [x]}")));
    let names = |text: &str| parse(text).into_iter().map(|config| config.name).collect::<Vec<_>>();
    assert_eq!(names(&two), ["99-a", "99-b"]);
    assert_eq!(names(&format!("{two}---\n{}", document("spec: {}"))), ["99-a", "99-b", "99-x"]);
    assert_eq!(names(&two.replace("kind: List", "kind: MachineConfigList")), ["99-a", "99-b"]);
    let json: Value = serde_yaml::from_str(&two).expect("YAML");
    assert_eq!(names(&format!("{json:#}")), ["99-a", "99-b"]);
    let wrong = list(&(item("99-a", "spec: {}") + &item("99-b", "spec:\n  fips: maybe")));
    assert!(refusal(&wrong).starts_with("test.yaml:15:11: the text `maybe`"), "{}", refusal(&wrong));
    assert!(refusal(&list(&item("99-a", "spec: {}").replace("MachineConfig", "Pod"))).contains("kind is \"Pod\""));
    assert!(refusal("kind: List\nitems: []\n").contains("holds no MachineConfig"));
}

#[test]
fn the_order_of_input_changes_nothing() {
    let mut configs = parse(CLUSTER);
    let first = render(&Pool::new("infra"), &configs).expect("rendered");
    configs.reverse();
    assert_eq!(render(&Pool::new("infra"), &configs).expect("rendered"), first);
    configs.retain(|config| config.name != "61-infra-pages");
    assert_ne!(render(&Pool::new("infra"), &configs).expect("rendered").name, first.name);
}

#[test]
fn an_empty_image_says_none() {
    let two = |second: &str| {
        let said = document("spec: {osImageURL: \"q/os:1\"}");
        parse(&format!("{said}---\n{}", document(&format!("spec: {{osImageURL: {second}}}")).replace("99-x", "99-y")))
    };
    let image = |pool: Pool, second| render(&pool, &two(second)).expect("rendered").os_image_url;
    assert_eq!(image(Pool::new("worker").with_os_image("q/os:0"), "\"\"").as_deref(), Some("q/os:1"));
    assert_eq!(image(Pool::new("worker"), "q/os:2").as_deref(), Some("q/os:2"));
    let none = parse(&document("spec: {osImageURL: \"\"}"));
    assert_eq!(render(&Pool::new("worker"), &none).expect("rendered").os_image_url, None);
    let pool = Pool::new("worker").with_os_image("q/os:0");
    let cluster = render(&pool, &none).expect("rendered");
    assert_eq!(cluster.os_image_url.as_deref(), Some("q/os:0"));
    assert_ne!(cluster.name, render(&Pool::new("worker"), &none).expect("rendered").name);
}

#[test]
fn the_version_is_the_oldest_that_has_every_key() {
    let rendered = render(&Pool::new("master"), &parse(CLUSTER)).expect("rendered");
    assert_eq!(rendered.version.to_string(), "3.2.0", "3.5.0 was asked for, but nothing of it used");
    assert_eq!(rendered.ignition_json, br#"{"ignition":{"version":"3.2.0"}}"#);
    let spec = "spec: {config: {ignition: {version: 3.5.0}, kernelArguments: {shouldExist: [quiet]}}}";
    let rendered = render(&Pool::new("worker"), &parse(&document(spec))).expect("rendered");
    assert_eq!(rendered.version.to_string(), "3.3.0", "Ignition has kernel arguments since 3.3.0");
    let expected = br#"{"ignition":{"version":"3.3.0"},"kernelArguments":{"shouldExist":["quiet"]}}"#;
    assert_eq!(rendered.ignition_json, expected);
}

#[test]
fn pools_that_cannot_be_rendered_are_refused() {
    let error =
        |pool: &str, configs: &[MachineConfig]| render(&Pool::new(pool), configs).expect_err("refused").to_string();
    let mut configs = parse(CLUSTER);
    assert!(error("infra", &configs[9..]).contains("worker or infra"));
    configs.push(configs[0].clone());
    assert!(error("worker", &configs).contains("two MachineConfigs are named 99-worker-z"));
    let devel = document("spec: {kernelType: realtime, extensions: [kernel-devel]}");
    assert!(error("worker", &parse(&devel)).contains("kernel-devel"));
    let files = format!("[{{path: /a, contents: {{source: \"data:,{}\"}}}}]", "x".repeat(SIZE_LIMIT));
    let large = document(&format!("spec: {{config: {{ignition: {{version: 3.2.0}}, storage: {{files: {files}}}}}}}"));
    assert!(error("worker", &parse(&large)).contains("refuses more than 1572864"));
}

fn document(spec: &str) -> String {
    format!(
        "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  name: 99-x\n  labels: {{machineconfiguration.openshift.io/role: worker}}\n{spec}\n"
    )
}

#[test]
fn errors_have_their_place() {
    let spec =
        "spec:\n  config:\n    ignition: {version: 3.2.0}\n    storage:\n      files:\n      - {path: /a, mode: high}";
    let error = refusal(&document(spec));
    assert!(error.starts_with("test.yaml:11:"), "{error}");
    assert!(error.contains("the text `high` stands where a whole number belongs"), "{error}");
    assert!(
        refusal(&document("spec:\n  kernelArgs: [a]"))
            .starts_with("test.yaml:7:3: there is no key `kernelArgs` here; did")
    );
    let old = refusal(&document("spec:\n  config:\n    ignition:\n      version: 2.2.0"));
    assert!(old.starts_with("test.yaml:9:16: ") && old.contains("convert the config to 3.2.0"), "{old}");
    assert!(refusal(&document("spec: {kernelType: fast}")).contains("realtime"));
    assert!(refusal(&document("spec: {extensions: [emacs]}")).contains("usbguard"));
    let second = format!("{}---\n{}", document("spec: {}"), document("spec: {x: 1}"));
    assert!(refusal(&second).starts_with("test.yaml:13:"), "{}", refusal(&second));
    let json = "{\n \"apiVersion\": \"machineconfiguration.openshift.io/v1\",\n\t\"kind\": \"Pod\",\n \"spec\": {}\n}";
    let error = refusal(json);
    assert!(error.starts_with("test.yaml:3:") && error.contains("kind is \"Pod\""), "{error}");
    assert!(refusal("").contains("holds no MachineConfig"));
    assert!(refusal("---\n---\n").contains("holds no MachineConfig"));
    assert!(refusal("a: [").starts_with("test.yaml:"));
}

#[test]
fn names_and_labels_are_asked_for() {
    let good = document("spec: {}");
    assert!(refusal(&good.replace("99-x", "99_X")).contains("RFC 1123"));
    assert!(refusal(&good.replace("openshift.io/role", "openshift.io/rolle")).contains("lacks the label"));
    let mode = "spec: {config: {ignition: {version: 3.2.0}, storage: {files: [{path: /a, mode: 2541}]}}}";
    let error = refusal(&document(mode));
    assert!(error.contains("MachineConfig 99-x (test.yaml)") && error.contains("octal 4755"), "{error}");
}

#[test]
fn a_file_is_read_and_a_missing_one_is_told() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("mc.yaml");
    let error = MachineConfig::read(&path).expect_err("missing").to_string();
    assert!(error.contains("mc.yaml"), "{error}");
    std::fs::write(&path, document("spec: {}")).expect("written");
    assert_eq!(MachineConfig::read(&path).expect("read")[0].name, "99-x");
}

fn prerequisites<'a>(repositories: &'a [String], files: &'a [File], units: &'a [Unit]) -> Prerequisites<'a> {
    let ca_pem = "-----BEGIN CERTIFICATE-----\n";
    let pull_secret = PullSecret::Auth("dTpw".to_owned());
    Prerequisites {
        role: "worker",
        registry: "10.0.2.100",
        ca_pem,
        pull_secret,
        proxy: ProxyEnv::None,
        repositories,
        files,
        units,
    }
}

fn contents(config: &Value, path: &str) -> (String, Value) {
    use base64::Engine;
    let files = config["storage"]["files"].as_array().expect("files");
    let file = files.iter().find(|file| file["path"] == path).expect("the file");
    let source = file["contents"]["source"].as_str().expect("a source");
    let text = source.strip_prefix("data:;base64,").expect("base64");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    (String::from_utf8(bytes).expect("text"), file["mode"].clone())
}

#[test]
fn the_base_configuration_is_what_the_mco_provides() {
    let repositories = ["quay.io/vendor/driver".to_owned(), "quay.io/a/b".to_owned(), "quay.io/a/b".to_owned()];
    let base = prerequisites(&repositories, &[], &[]).machine_config().expect("a MachineConfig");
    assert_eq!((base.name.as_str(), base.role.as_str()), (PREREQUISITES_NAME, "worker"));
    let rendered = render(&Pool::new("worker"), &[base]).expect("rendered");
    ignition_validate(&rendered.ignition_json);
    let config = rendered_json(&rendered);
    let (proxy, _) = contents(&config, "/etc/mco/proxy.env");
    assert!(proxy.lines().all(|line| line.starts_with('#')));
    let (secret, mode) = contents(&config, "/var/lib/kubelet/config.json");
    assert_eq!(secret, r#"{"auths":{"10.0.2.100":{"auth":"dTpw"},"quay.io":{"auth":"dTpw"}}}"#);
    assert_eq!(mode, json!(0o600));
    assert!(contents(&config, "/etc/containers/certs.d/10.0.2.100/ca.crt").0.starts_with("-----BEGIN"));
    let (mirrors, _) = contents(&config, "/etc/containers/registries.conf.d/50-day1-mirrors.conf");
    let expected = r#"[[registry]]
prefix = ""
location = "quay.io/a/b"
blocked = true

[[registry.mirror]]
location = "10.0.2.100/quay.io/a/b"

[[registry]]
prefix = ""
location = "quay.io/vendor/driver"
blocked = true

[[registry.mirror]]
location = "10.0.2.100/quay.io/vendor/driver"
"#;
    assert_eq!(mirrors, expected);
}

#[test]
fn a_scenario_adds_files_and_units_over_the_base() {
    let files = [
        File { path: "/etc/mco/proxy.env".into(), mode: 0o600, contents: b"HTTP_PROXY=http://p\n".to_vec() },
        File { path: "/etc/x".into(), mode: 0o755, contents: b"x".to_vec() },
    ];
    let dropins = vec![("10-x.conf".to_owned(), "[Unit]\n".to_owned())];
    let units = [
        Unit { name: "a.service".into(), contents: Some("[Unit]\n".into()), enabled: Some(true), ..Unit::default() },
        Unit { name: "b.service".into(), mask: true, dropins, ..Unit::default() },
    ];
    let base = prerequisites(&[], &files, &units);
    assert_eq!(base.to_json(), base.to_json());
    let rendered = render(&Pool::new("worker"), &[base.machine_config().expect("a MachineConfig")]).expect("rendered");
    ignition_validate(&rendered.ignition_json);
    let config = rendered_json(&rendered);
    assert_eq!(contents(&config, "/etc/mco/proxy.env"), ("HTTP_PROXY=http://p\n".to_owned(), json!(0o600)));
    assert_eq!(contents(&config, "/etc/x").1, json!(0o755));
    assert_eq!(config["systemd"]["units"][0]["name"], json!("kubelet-dependencies.target"));
    assert_eq!(config["systemd"]["units"][1], json!({ "name": "a.service", "contents": "[Unit]\n", "enabled": true }));
    assert_eq!(config["systemd"]["units"][2]["mask"], json!(true));
    let masked = [Unit { name: "kubelet-dependencies.target".into(), mask: true, ..Unit::default() }];
    let base = prerequisites(&[], &[], &masked).machine_config().expect("a MachineConfig");
    let config = rendered_json(&render(&Pool::new("worker"), &[base]).expect("rendered"));
    let units = config["systemd"]["units"].as_array().expect("units");
    assert!(units.len() == 1 && units[0]["mask"] == json!(true), "{units:?}");
    let bad = [Unit { name: "nounit".into(), ..Unit::default() }];
    let error = prerequisites(&[], &[], &bad).machine_config().expect_err("refused").to_string();
    assert!(error.contains("the node's base configuration") && error.contains("nounit"), "{error}");
}

#[test]
fn the_pull_secret_and_the_proxys_file_may_not_exist() {
    let made = |pull_secret| {
        let mut made = prerequisites(&[], &[], &[]);
        made.pull_secret = pull_secret;
        made.to_json()
    };
    let others = made(PullSecret::OfOthers);
    assert!(others.contains("/var/lib/kubelet/config.json") && !others.contains("dTpw"), "{others}");
    assert!(!made(PullSecret::NoFile).contains("/var/lib/kubelet/config.json"));
    let mut proxied = prerequisites(&[], &[], &[]);
    proxied.proxy = ProxyEnv::NoFile;
    assert!(!proxied.to_json().contains("/etc/mco/proxy.env"));
}
