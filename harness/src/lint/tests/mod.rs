mod corpus;
mod rules;
mod whole;

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Report, Source, lint, text};

/// A unit with nothing wrong: it loads a module before the network.
const UNIT: &str = "\
[Unit]
Description=Loads the driver
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target
After=local-fs.target systemd-udev-trigger.service

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=120
ExecStart=/usr/local/bin/driver.sh

[Install]
WantedBy=multi-user.target
";

/// Its script.
const SCRIPT: &str = "#!/bin/bash\nset -euo pipefail\nmodprobe driver\n";

/// A MachineConfig of units and files, `(name, enabled, text)` and `(path, mode, text)`.
fn machine_config(name: &str, units: &[(&str, &str, &str)], files: &[(&str, &str, &str)]) -> String {
    let mut yaml = format!(
        "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  name: {name}\n  labels:\n    \
         machineconfiguration.openshift.io/role: worker\nspec:\n  config:\n    ignition:\n      version: 3.2.0\n"
    );
    if !units.is_empty() {
        yaml += "    systemd:\n      units:\n";
    }
    for (name, enabled, text) in units {
        let text: String =
            text.lines().map(|line| format!("            {line}").trim_end().to_owned() + "\n").collect();
        yaml += &format!("        - name: {name}\n          enabled: {enabled}\n          contents: |\n{text}");
    }
    if !files.is_empty() {
        yaml += "    storage:\n      files:\n";
    }
    for (path, mode, text) in files {
        let data = utf8_percent_encode(text, NON_ALPHANUMERIC);
        yaml += &format!(
            "        - path: {path}\n          mode: {mode}\n          overwrite: true\n          contents:\n            \
             source: data:,{data}\n"
        );
    }
    yaml
}

fn one(unit: &str, script: &str) -> String {
    machine_config(
        "99-worker-driver",
        &[("driver.service", "true", unit)],
        &[("/usr/local/bin/driver.sh", "0755", script)],
    )
}

/// The base with another text somewhere in it.
fn swapped(from: &str, to: &str) -> String {
    let base = one(UNIT, SCRIPT);
    assert!(base.contains(from), "{from}");
    base.replacen(from, to, 1)
}

/// The base with another text in the unit.
fn unit(from: &str, to: &str) -> String {
    assert!(UNIT.contains(from), "{from}");
    one(&UNIT.replacen(from, to, 1), SCRIPT)
}

/// The base with more in the unit's [Service].
fn service(more: &str) -> String {
    unit("\n[Install]", &format!("{more}\n\n[Install]"))
}

/// The base with this script, and `set` in front of it.
fn strict(script: &str) -> String {
    one(UNIT, &format!("#!/bin/bash\nset -euo pipefail\n{script}\n"))
}

/// The base with this script, and nothing in front of it.
fn loose(script: &str) -> String {
    one(UNIT, &format!("#!/bin/bash\n{script}\n"))
}

fn source(name: &str, text: &str) -> Source {
    Source { name: name.into(), text: text.into() }
}

fn report(texts: &[&str]) -> Report {
    let sources: Vec<Source> =
        texts.iter().enumerate().map(|(index, text)| source(&format!("{index}.yaml"), text)).collect();
    lint(&sources)
}

fn found(texts: &[&str]) -> BTreeSet<String> {
    report(texts).findings.into_iter().map(|finding| finding.rule).collect()
}

/// The places of a rule's findings, `line:column` and those inside of an encoded file.
fn places(yaml: &str, rule: &str) -> Vec<String> {
    let findings = report(&[yaml]).findings;
    let place = |finding: &super::Finding| match &finding.place.inside {
        Some(inside) => format!("{} {}:{}", inside.path, inside.line, inside.column),
        None => format!("{}:{}", finding.place.line, finding.place.column),
    };
    findings.iter().filter(|finding| finding.rule == rule).map(place).collect()
}

#[test]
fn the_base_of_the_cases_is_clean() {
    let base = one(UNIT, SCRIPT);
    assert_eq!(text(&report(&[&base]), false), "no errors, no warnings, no notes in 1 config of 1 file\n");
}

#[test]
fn findings_point_into_units_and_into_encoded_scripts() {
    let yaml = unit("RemainAfterExit=yes", "RemainAfterExit=maybe");
    let line = yaml.lines().position(|line| line.contains("maybe")).expect("there") + 1;
    assert_eq!(places(&yaml, "bad-value"), [format!("{line}:29")]);
    assert_eq!(places(&loose("\n  modprobe driver\necho done"), "status-hidden"), ["/usr/local/bin/driver.sh 3:3"]);
    assert_eq!(places(&loose("x=$(\n  modprobe driver\n)\necho"), "status-hidden"), ["/usr/local/bin/driver.sh 3:3"]);
    let inline = unit("ExecStart=/usr/local/bin/driver.sh", "ExecStart=/bin/bash -c 'modprobe driver; echo done'");
    let line = inline.lines().position(|line| line.contains("bash -c")).expect("there") + 1;
    assert_eq!(places(&inline, "status-hidden"), [format!("{line}:23")]);
}

#[test]
fn services_that_systemd_refuses_are_told_each_by_its_reason() {
    let says = |service: &str| {
        let yaml = machine_config("99-worker-x", &[("x.service", "false", &format!("[Service]\n{service}\n"))], &[]);
        report(&[&yaml]).findings.into_iter().map(|finding| finding.message).collect::<Vec<_>>().join("; ")
    };
    assert!(says("Type=oneshot").contains("it has no ExecStart="));
    assert!(says("ExecStop=/bin/true").contains("needs RemainAfterExit=yes"));
    assert_eq!(says("ExecStop=/bin/true\nRemainAfterExit=yes"), "");
    assert!(says("ExecStart=/bin/true ; /bin/false").contains("more than one ExecStart="));
    assert_eq!(
        says("Type=oneshot\nExecStart=/bin/true ; -/usr/bin/find / -exec x ';'"),
        "x.service succeeds whatever `/usr/bin/find` ends with"
    );
    assert!(says("ExecStart=/bin/true\nType=dbus").contains("BusName="));
    assert_eq!(says("ExecStart=/bin/true \\x"), "");
}

#[test]
fn json_is_read_as_well_also_with_tabs() {
    let yaml = unit("Type=oneshot", "Type=onshot");
    let value: serde_json::Value = serde_yaml::from_str(&yaml.replace("0755", "493")).expect("YAML");
    let json = format!("{value:#}").replace("  ", "\t");
    let place = places(&json, "bad-value");
    let line = json.lines().position(|line| line.contains("onshot")).expect("there") + 1;
    let column = json.lines().nth(line - 1).expect("there").find("onshot").expect("there") + 1;
    assert_eq!(place, [format!("{line}:{column}")]);
}

#[test]
fn texts_of_other_systems_are_read_as_well() {
    let base = one(UNIT, SCRIPT);
    assert_eq!(found(&[&format!("\u{feff}{base}")]), BTreeSet::new());
    assert_eq!(found(&[&base.replace('\n', "\r\n")]), BTreeSet::new());
    let bad = unit("Type=oneshot", "Type=onshot");
    assert_eq!(places(&bad.replace('\n', "\r\n"), "bad-value"), places(&bad, "bad-value"));
}

#[test]
fn several_documents_and_lists_are_looked_at() {
    let bad = unit("Type=oneshot", "Type=onshot");
    let two = format!("{}---\nkind: ConfigMap\n---\n{bad}", one(UNIT, SCRIPT));
    let told = report(&[&two]);
    assert_eq!((told.configs, told.findings.len()), (2, 2), "{told:?}");
    let indented: String = bad.lines().map(|line| format!("    {line}\n")).collect();
    let list = format!("apiVersion: v1\nkind: List\nitems:\n  -\n{indented}");
    assert_eq!(found(&[&list]), ["bad-value".to_owned()].into());
    let clean = list.replace("onshot", "oneshot");
    assert_eq!(found(&[&clean]), BTreeSet::new());
    assert_eq!(found(&[&clean.replace("kind: List", "kind: MachineConfigList")]), BTreeSet::new());
    let json: serde_json::Value = serde_yaml::from_str(&clean.replace("0755", "493")).expect("YAML");
    assert_eq!(found(&[&json.to_string()]), BTreeSet::new());
    // What the MCO refuses has its place, too.
    let refused = clean.replace("    spec:\n", "    spec:\n      kernelType: fast\n");
    let line = refused.lines().position(|line| line.contains("fast")).expect("there") + 1;
    let told = report(&[&refused]).findings;
    assert!(told.len() == 1 && told[0].rule == "mco-refuses" && told[0].place.line == line, "{told:?}");
}

#[test]
fn reboots_are_seen_where_they_hide() {
    let reboots = ["reboot-firstboot", "reboot-kubelet", "reboot-unbounded"].map(str::to_owned);
    let early = "DefaultDependencies=no";
    for line in ["FailureAction=reboot", "SuccessAction=reboot-force", "OnFailure=reboot.target", "Wants=reboot.target"]
    {
        assert_eq!(found(&[&unit(early, &format!("{line}\n{early}"))]), reboots.clone().into(), "{line}");
    }
    for line in [
        "nsenter -t 1 -m -- systemctl reboot",
        "trap reboot EXIT",
        "eval reboot",
        "eval \"systemctl reboot $verb\"",
        "echo b > /proc/sysrq-trigger",
        "sudo -u root reboot",
    ] {
        let script = strict(&format!("verb=--force\n{line}"));
        assert_eq!(found(&[&script]), reboots.clone().into(), "{line}");
    }
    for line in ["trap 'rm -f /run/x' EXIT", "eval \"echo reboot\"", "echo 1 > /proc/sys/kernel/sysrq", "trap - EXIT"] {
        assert_eq!(found(&[&strict(line)]), BTreeSet::new(), "{line}");
    }
}

#[test]
fn many_units_with_a_long_script_take_no_time() {
    let script: String =
        (0..1000).map(|index| format!("podman --cgroup-manager cgroupfs run --name c{index} x\n")).collect();
    let script = format!("#!/bin/bash\nset -e\n{script}");
    let of = |config: &str, letter: char| {
        let names: Vec<String> = (0..60).map(|index| format!("{letter}{index}.service")).collect();
        let units: Vec<_> = names.iter().map(|name| (name.as_str(), "true", UNIT)).collect();
        machine_config(config, &units, &[("/usr/local/bin/driver.sh", "0755", &script)])
    };
    let started = std::time::Instant::now();
    let told = report(&[&of("99-worker-a", 'a'), &of("99-worker-b", 'b')]).findings;
    assert!(told.iter().all(|finding| finding.rule == "shared-state" && finding.message.len() < 300));
    assert_eq!(told.len(), 60);
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

/// The report of the MachineConfig in KMM's shape, whose faults are known.
#[test]
fn the_faults_of_the_upstream_machine_config_are_found() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../mutants/upstream/99-worker-upstream.yaml");
    let upstream = std::fs::read_to_string(path).expect("the mutant's MachineConfig");
    let report = lint(&[source("99-worker-upstream.yaml", &upstream)]);
    let rules: BTreeSet<&str> = report.findings.iter().map(|finding| finding.rule.as_str()).collect();
    for (fault, rule) in [
        ("every failure ends with 0", "status-hidden"),
        ("podman wait prints 0 for a worker that never ran", "podman-wait"),
        ("reboots without end", "reboot-unbounded"),
        ("reboots under kubelet", "reboot-kubelet"),
        ("reboots in the MCO's first boot", "reboot-firstboot"),
        ("crio-wipe is masked", "masked"),
        ("a `+` in the tag", "kernel-tag"),
        ("network-online.target is not wanted", "network-online"),
        ("one attempt a boot", "no-retry"),
        ("the order rests on PrivateTmp", "private-tmp-order"),
        ("podman before D-Bus", "dbus-order"),
        ("60 s for everything", "short-timeout"),
        ("no order with udev", "udev-order"),
        ("the chain of the init container", "chain"),
        ("a script of root that everybody may change", "world-writable"),
        ("the variable that nothing sets", "variable"),
        ("the variable that nothing uses", "environment-unused"),
        ("podman in a mount namespace", "private-mounts"),
    ] {
        assert!(rules.contains(rule), "{fault}: {rule} is not in {rules:?}");
    }
    insta::assert_snapshot!(text(&report, false));
    let other = upstream.replace("name: 99-worker-upstream\n", "name: 99-worker-other\n");
    let other = other.replace("99-worker-upstream-re", "99-worker-other-re").replace("upstream-pull", "other-pull");
    let both = lint(&[source("a.yaml", &upstream), source("b.yaml", &other)]);
    assert!(both.findings.iter().any(|finding| finding.rule == "shared-state"), "two of them clash");
    let tagged = upstream.replace("MODULE_IMAGE=quay.io/day1/day1-nic\"", "MODULE_IMAGE=quay.io/day1/day1-nic:v1\"");
    assert_ne!(tagged, upstream);
    assert!(lint(&[source("a.yaml", &tagged)]).findings.iter().any(|finding| finding.rule == "image-tag-twice"));
}

#[test]
fn what_the_generator_makes_has_neither_errors_nor_warnings() {
    use day1_generator::Day1Config;
    let base = || Day1Config::builder("99-worker-day1-nic", "worker", "quay.io/vendor/driver", "day1_nic");
    let digest = format!("sha256:{}", "0".repeat(64));
    let long = format!("99-{}", "long-name-".repeat(12) + "x");
    let variants = [
        base(),
        base().in_tree_modules_to_remove(["irdma", "e1000"]).firmware_files_path("/opt/firmware"),
        base().in_tree_modules_to_remove(Vec::<String>::new()).reboot_limit(1),
        base().pull_secret_path("/etc/pull-secret.json").tag("6.12.41+deb13-amd64", "v1.2").digest("6.12.42", digest),
        base().load_timeout(std::time::Duration::from_secs(60)).pull_timeout(std::time::Duration::from_secs(120)),
        Day1Config::builder(&long, "infra", "registry.example:5000/a/b", "m"),
    ];
    let mut texts = Vec::new();
    for variant in variants {
        texts.push(variant.build().expect("parameters").to_machine_config().expect("a MachineConfig"));
    }
    for yaml in &texts {
        let report = report(&[yaml]);
        assert_eq!(text(&report, false), "no errors, no warnings, no notes in 1 config of 1 file\n");
    }
    // Two of them on one node share nothing.
    let other = Day1Config::builder("99-worker-day1-aux", "worker", "quay.io/vendor/aux", "day1_aux");
    let other = other.build().expect("parameters").to_machine_config().expect("a MachineConfig");
    assert_eq!(found(&[&texts[0], &other]), BTreeSet::new());
}

#[test]
fn the_page_of_the_rules_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lint.md");
    let page = std::fs::read_to_string(path).expect("docs/lint.md");
    let rules = page.split_once("## Rules\n").expect("a heading `## Rules`").1;
    assert_eq!(rules, super::page(), "renew what follows `## Rules` with `day1 lint --rules`");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_taken(text in "([a-z{}\\[\\]:&*!|>'\"# \n\t-]|kind: MachineConfig\n|spec: |[^a]){0,40}") {
        let _ = report(&[&text]);
    }

    #[test]
    fn any_script_is_taken(script in "([a-z $(){};&|<>'\"`\\\\\n]|if |fi\n|\\$\\(|<<E\n|\\[\\[ | \\]\\]|podman pull |é){0,40}") {
        let _ = report(&[&one(UNIT, &format!("#!/bin/bash\n{script}"))]);
    }

    #[test]
    fn any_unit_is_taken(unit in "([A-Za-z=\\[\\]%\\\\'\" \n]|ExecStart=|After=|-1|é|=-|\\[Service\\]\n){0,40}") {
        let _ = report(&[&one(&unit, SCRIPT)]);
    }
}

#[test]
fn files_that_grow_when_read_do_no_harm() {
    let aliases: String = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, index| {
        let before = index - 1;
        text + &format!("a{index}: &a{index} [*a{before}, *a{before}]\n")
    });
    assert_eq!(found(&[&aliases]), ["syntax".to_owned()].into());
    assert_eq!(found(&[&"[".repeat(5000)]), ["syntax".to_owned()].into());
    assert_eq!(found(&[&("- ".repeat(5000) + "x")]), ["syntax".to_owned()].into());
    for deep in [
        format!("echo {}x{}", "$(echo ".repeat(2000), ")".repeat(2000)),
        format!("{}:{}", "if true; then ".repeat(2000), "; fi".repeat(2000)),
        format!("{}:{}", "case x in\nx)\n".repeat(2000), "\n;;\nesac".repeat(2000)),
        format!("[[ {} a ]]", "! ".repeat(20_000)),
        format!("echo {}", "\"$(".repeat(300)),
    ] {
        assert_eq!(found(&[&loose(&deep)]), ["script-syntax".to_owned()].into());
    }
    // As deep as it may be, and long.
    for fine in [
        format!("{}:{}", "if true; then ".repeat(450), "; fi".repeat(450)),
        format!("{}:{}", "case x in\nx)\n".repeat(450), "\n;;\nesac".repeat(450)),
        format!("[[ {} a ]]", "! ".repeat(450)),
        format!("echo {}x{}", "$(echo ".repeat(200), ")".repeat(200)),
        "a; ".repeat(20_000),
    ] {
        assert_eq!(found(&[&loose(&fine)]), BTreeSet::new());
    }
    assert_eq!(found(&[&loose(&format!("echo {}", "$abc ".repeat(20_000)))]), ["variable".to_owned()].into());
    let lines = "nothing\n".repeat(20_000);
    assert_eq!(found(&[&one(&format!("{UNIT}{lines}"), SCRIPT)]), ["unit-syntax".to_owned()].into());
}
