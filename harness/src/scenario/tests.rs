use std::path::{Path as FsPath, PathBuf};

use super::*;

fn root() -> PathBuf {
    FsPath::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn one(path: &str, text: impl Into<std::sync::Arc<str>>) -> Scenario {
    Scenario::parse(FsPath::new(path), text).expect("good").pop().expect("a row")
}

/// The mistakes in a scenario's text, `line:column what`.
fn mistakes(text: &str) -> Vec<String> {
    match Scenario::parse(FsPath::new("pull/x.yaml"), text) {
        Ok(_) => vec![],
        Err(found) => found
            .mistakes
            .iter()
            .map(|m| format!("{}:{} {} | {}", m.line, m.column, m.message, m.help.clone().unwrap_or_default()))
            .collect(),
    }
}

const GOOD: &str = "\
description: d
registry:
  images:
    - {repository: quay.io/day1/day1-nic, modules: [day1_nic]}
machine-configs:
  - generate: {machine_config_name: 99-a, kernel_module_image: quay.io/day1/day1-nic}
boots:
  - ends: reboot
    by: pull
  - ends: ready
    expect:
      nic.driver: {nic: test, driver: day1_nic}
";

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is not in the scenario that the test changes");
    GOOD.replacen(from, to, 1)
}

#[test]
fn the_good_one_is_accepted_with_its_defaults() {
    let scenario = one("scenarios/pull/x.yaml", GOOD);
    assert_eq!(scenario.trial_name("debian-13"), "pull/x@debian-13");
    assert_eq!(scenario.spec.node.nics[1].model, NicModel::E1000);
    assert_eq!(scenario.spec.node.memory.as_mib(), 2048);
    assert_eq!(scenario.spec.registry.images[0].tags[0].fill("6.12.1_x"), "6.12.1_x");
    assert_eq!(scenario.spec.boots[0].deadline(), Seconds::new(300));
}

#[test]
fn a_start_is_one_of_three_and_needs_what_it_skips() {
    let with = |start: &str| changed("description: d\n", &format!("description: d\nstart: {start}\n"));
    for (text, start) in [("cold", Start::Cold), ("template", Start::Template), ("pulled", Start::Pulled)] {
        let scenario = one("scenarios/pull/x.yaml", with(text));
        assert_eq!(scenario.spec.start, start);
        assert_eq!(text.parse::<Start>(), Ok(start));
    }
    assert!(mistakes(&with("warm"))[0].starts_with("2:8 `warm` is not known here"), "{:?}", mistakes(&with("warm")));
    assert!("warm".parse::<Start>().is_err());
    let one_boot = with("pulled").replace("  - ends: reboot\n    by: pull\n", "");
    assert!(
        mistakes(&one_boot)[0].starts_with("2:8 there is no first boot to begin after"),
        "{:?}",
        mistakes(&one_boot)
    );
}

#[test]
fn every_scenario_of_the_project_is_good() {
    let listing = list(&root().join("scenarios")).expect("readable");
    let refused: String = listing.refused.iter().map(Mistakes::plain).collect();
    assert_eq!(refused, "");
    let names: Vec<String> = listing.scenarios.iter().map(Scenario::id).collect();
    assert!(names.contains(&"pull/pull-then-reboot".to_owned()), "{names:?}");
    assert!(names.len() >= 8, "{names:?}");
}

#[test]
fn five_mistakes_give_five_messages_with_their_places() {
    let path = root().join("harness/tests/scenarios/broken/five-mistakes.yaml");
    let found = Scenario::load(&path).expect_err("five mistakes");
    let places: Vec<_> = found.mistakes.iter().map(|m| (m.line, m.column)).collect();
    assert_eq!(places, [(3, 3), (8, 23), (11, 19), (21, 9), (24, 25)], "{}", found.plain());
    assert!(found.mistakes[0].help.as_deref().unwrap_or_default().contains("Did you mean `memory`?"));
    assert!(found.mistakes[4].help.as_deref().unwrap_or_default().contains("Did you mean `test`?"));
}

#[test]
fn a_mistake_is_rendered_with_its_line() {
    let found =
        Scenario::parse(FsPath::new("pull/x.yaml"), changed("ends: ready", "ends: redy")).expect_err("a mistake");
    let mut shown = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
    handler.render_report(&mut shown, &found).expect("rendered");
    assert!(shown.contains("pull/x.yaml:10:11"), "{shown}");
    assert!(shown.contains("  - ends: redy"), "{shown}");
    assert!(shown.contains("Did you mean `ready`?"), "{shown}");
}

#[test]
fn what_follows_from_a_mistake_is_not_told() {
    // With its id refused the card is gone, so that `nic: test` would have nothing to refer to.
    let text = changed("registry:", "node:\n  nics: [{id: Test!, model: e1000}]\nregistry:");
    let found = mistakes(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("3:15 `Test!` is not a name"), "{found:?}");
}

#[test]
fn mistakes_in_a_list_keep_their_places() {
    let text = changed(
        "registry:",
        "node:\n  nics:\n    - {id: primary, model: e100}\n    - {id: test, model: e1000, colour: red}\n    - {model: igb}\nregistry:",
    );
    let found = mistakes(&text);
    let places: Vec<&str> = found.iter().map(|m| m.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["4:28", "5:32", "6:7"], "{found:?}");
}

#[test]
fn a_misspelt_key_is_not_missing_as_well_and_its_value_is_judged() {
    let found = mistakes(&changed("boots:", "boot:").replace("test", "tset"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("no key `boot`") && found[0].contains("`boots`"), "{found:?}");
    assert!(found[1].contains("no network card is called `tset`"), "{found:?}");
}

#[test]
fn each_wrong_value_is_told_with_what_would_be_right() {
    let cases = [
        ("ends: reboot", "ends: rebot", "Did you mean `reboot`?"),
        ("day1_nic]", "day1-nic.ko]", "calls it `day1_nic`"),
        ("quay.io/day1/day1-nic, m", "'quay.io/day1/day1-nic@sha256:00', m", "Name the repository only"),
        ("description: d", "description: d\nnode: {memory: 2GB}", "`2GiB`"),
        ("description: d", "description: d\nnode: {cpus: two}", "`two` stands where a whole number belongs"),
        ("description: d", "description: d\nnode: {files: [{path: etc/x, contents: ''}]}", "from `/`"),
        ("description: d", "description: d\nnode: {files: [{path: /x, mode: 644, contents: ''}]}", "octal"),
        ("by: pull", "by: puller", "Write a role"),
        ("by: pull", "deadline: 90", "`90s`"),
        (
            "nic.driver: {nic: test, driver: day1_nic}",
            "journal.says: {unit: load, matches: '('}",
            "not a regular expression",
        ),
        ("description: d\n", "", "Add `description: …`"),
    ];
    for (from, to, wanted) in cases {
        let found = mistakes(&changed(from, to));
        assert_eq!(found.len(), 1, "{to}: {found:?}");
        assert!(found[0].contains(wanted), "{to}: {found:?}");
    }
}

#[test]
fn each_wrong_reference_is_told() {
    let cases = [
        ("    by: pull\n", "    then: reboot\n", "leaves nothing to do"),
        ("ends: ready\n", "ends: reboot\n", "no boot follows"),
        ("  - ends: reboot\n    by: pull\n", "  - ends: ready\n", "nothing reboots this one"),
        ("ends: ready\n", "ends: ready\n    then: reboot\n", "no boot follows"),
        (
            "nic.driver: {nic: test, driver: day1_nic}",
            "module.replaced: {module: day1_nik}",
            "Did you mean `day1_nic`?",
        ),
        (
            "nic.driver: {nic: test, driver: day1_nic}",
            "module.replaced: {module: day1_nic, in-tree: [day1_nic]}",
            "present and gone",
        ),
        (
            "nic.driver: {nic: test, driver: day1_nic}",
            "image.pulled: {repository: quay.io/day1/day1-nik}",
            "Did you mean `quay.io/day1/day1-nic`?",
        ),
        (
            "nic.driver: {nic: test, driver: day1_nic}",
            "image.refused: {repository: quay.io/day1/day1-nic, status: 200}",
            "refuses nothing",
        ),
        ("description: d", "description: d\nwithout: [{check: journal.clean/opps, reason: r}]", "Did you mean `oops`?"),
        ("description: d", "description: d\nwithout: [{check: evidence, reason: r}]", "without evidence"),
        ("description: d", "description: d\nwithout: [{check: node.ready, reason: ''}]", "reason is empty"),
        ("  - generate:", "  - generate: {machine_config_name: 99-b}\n  - generate:", "`pull/99-b`, `pull/99-a`"),
        ("  - generate:", "  - file: mc.yaml\n    generate:", "both `generate` and `file`"),
        ("description: d", "description: d\nnode: {disks: [{id: var, size: 1GiB, throttle: {}}]}", "slows nothing"),
        ("description: d", "description: d\nnode: {layer: {}}", "this layer changes nothing"),
        ("ends: ready\n", "ends: never\n    then: reboot\n", "never settles"),
        ("  - ends: reboot\n    by: pull\n", "  - ends: never\n", "a boot follows on one that never ends"),
        (
            "nic.driver: {nic: test, driver: day1_nic}",
            "module.present: {module: day1_nic, origin: layered}",
            "no layered module",
        ),
        ("description: d", "description: d\nnode: {enrolled-keys: [vendor]}", "keys for a node without Secure Boot"),
        (
            "description: d",
            "description: d\nnode: {enrolled-certificates: [a.der]}",
            "keys for a node without Secure Boot",
        ),
        ("description: d", "description: d\ndescription: e", "stands twice"),
        ("description: d", "description: [d", "not YAML"),
    ];
    for (from, to, wanted) in cases {
        let found = mistakes(&changed(from, to));
        assert!(!found.is_empty() && found.iter().any(|m| m.contains(wanted)), "{to}: {found:?}");
    }
}

#[test]
fn expectations_may_be_one_or_a_list() {
    let text = changed(
        "nic.driver: {nic: test, driver: day1_nic}",
        "nic.driver: [{nic: test, driver: a}, {nic: primary, driver: b}]",
    );
    let scenario = one("pull/x.yaml", text);
    let each = scenario.spec.boots[1].expect.each();
    assert_eq!(each.len(), 2);
    assert_eq!(each[1].1.check(), "nic.driver");
}

#[test]
fn the_generators_parameters_are_decoded_with_places() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its decoding is under test")]
    struct Parameters {
        machine_config_name: String,
        kernel_module_image: Repository,
    }
    let text = changed("kernel_module_image: quay.io/day1/day1-nic", "kernel_module_imgae: 'quay.io/x:1'");
    let scenario = one("pull/x.yaml", text);
    let found = scenario.generator_config::<Parameters>(0).expect("generated").expect_err("two mistakes");
    let places: Vec<_> = found.mistakes.iter().map(|m| (m.line, m.column)).collect();
    assert_eq!(places, [(6, 43), (6, 64)], "{}", found.plain());
}

#[test]
fn a_named_file_must_be_there() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("pull");
    std::fs::create_dir(&path).expect("made");
    let path = path.join("x.yaml");
    std::fs::write(&path, "description: d\nmachine-configs: [{file: mc.yaml}]\nboots: [{ends: ready}]\n")
        .expect("written");
    let error = Scenario::load(&path).expect_err("mc.yaml is missing");
    assert!(error.plain().contains(":2:26: cannot read"), "{}", error.plain());
    std::fs::write(path.with_file_name("mc.yaml"), "apiVersion: v1\nkind: MachineConfig\n").expect("written");
    Scenario::load(&path).expect("good");
    let listing = list(dir.path()).expect("readable");
    assert_eq!((listing.scenarios.len(), listing.refused.len()), (1, 0), "the MachineConfig is no scenario");
}

#[test]
fn a_missing_scenario_names_the_nearest() {
    let error = Scenario::load(&root().join("scenarios/pull/pull-then-rebot.yaml")).expect_err("no such file");
    assert!(
        error.plain().contains("Did you mean") && error.plain().contains("pull-then-reboot.yaml"),
        "{}",
        error.plain()
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z:{}\\[\\],&*!|>'\"# \n\t0-9é]{0,80}") {
        let _ = Scenario::parse(FsPath::new("pull/x.yaml"), text);
    }
}

/// The good scenario with a part of its own behind it.
fn with(part: &str) -> String {
    format!("{GOOD}{part}")
}

#[test]
fn what_happens_must_be_able_to_happen() {
    let told = |part: &str| mistakes(&with(part)).join("\n");
    let late = told("happens:\n  - {when: {phase: settled}, boot: 3, do: power-cut}\n");
    assert!(late.contains("14:36 there is no such boot | Boots are counted from 1, and this scenario has 2"), "{late}");
    let nic = told("happens:\n  - {when: {phase: settled}, do: {link: {nic: tset, is: down}}}\n");
    assert!(nic.contains("no network card is called `tset` | Did you mean `test`?"), "{nic}");
    let unit = told("happens:\n  - {when: {unit: {name: laod, is: starting}}, do: power-cut}\n");
    assert!(unit.contains("`laod` names no unit"), "{unit}");
    let word = told("happens:\n  - {when: {phase: noon}, do: power-cut}\n");
    assert!(word.contains("`noon` is not known here"), "{word}");
    let pulled = told("start: pulled\nhappens:\n  - {when: {phase: settled}, do: power-cut}\n");
    assert!(pulled.contains("with `start: pulled` the first boot was before this trial"), "{pulled}");
    assert_eq!(told("happens:\n  - {when: {phase: settled}, boot: 2, after: 3s, do: [power-cut]}\n"), "");
    let after = told("happens:\n  - {when: {phase: settled}, after: soon, do: power-cut}\n");
    assert!(after.contains("`soon` is not a time"), "{after}");
    let clock = told("happens:\n  - {when: {phase: settled}, do: {clock: noon}}\n");
    assert!(clock.contains("`noon` is no moment"), "{clock}");
}

#[test]
fn boots_that_can_not_be_are_refused() {
    let told = |boots: &str| mistakes(&changed("  - ends: ready\n", boots)).join("\n");
    assert!(told("  - ends: cut\n  - ends: ready\n").contains("nothing cuts the power of this boot"));
    assert!(told("  - ends: ready\n    at-most: 0\n").contains("a node can't settle in no boot"));
    assert!(told("  - ends: ready\n    at-most: 4000000000\n").contains("bounds nothing"));
    let early = told("  - ends: ready\n    then: [reboot, collect-images]\n  - ends: ready\n");
    assert!(early.contains("`reboot` ends the boot, but more is to be done in it | Put it last."), "{early}");
    let middle =
        mistakes(&changed("  - ends: reboot\n    by: pull\n", "  - {ends: ready, at-most: 2, then: reboot}\n"));
    assert!(middle.join("\n").contains("only the last boot can stand for several"), "{middle:?}");
}

#[test]
fn a_fault_does_something_to_something() {
    let told = |fault: &str| {
        let from = "registry:\n";
        mistakes(&changed(from, &format!("registry:\n  faults:\n    - {{{fault}}}\n"))).join("\n")
    };
    assert!(told("on: blob").contains("this fault does nothing"));
    assert!(told("on: blob, first: 0, answer: 503").contains("this fault strikes nothing"));
    assert!(told("on: blob, answer: 200").contains("this answer refuses nothing"));
    assert!(told("on: blob, repository: quay.io/day1/other, answer: 503").contains("no repository is called"));
    assert!(told("on: blob, cut-at: 100%").contains("`100%` is not a share"));
    assert_eq!(told("on: manifest, skip: 1, first: 2, answer: 503, delay: 500ms"), "");
}

#[test]
fn expectations_that_can_not_hold_or_can_not_fail_are_refused() {
    let told = |expect: &str| mistakes(&changed("nic.driver: {nic: test, driver: day1_nic}", expect)).join("\n");
    assert!(told("unit.before: {unit: load, before: load}").contains("no unit is before itself"));
    let twice = told("unit.result: [{unit: load, result: success}, {unit: load, result: failed}]");
    assert!(twice.contains("`load` stands twice"), "{twice}");
    assert!(told("journal.says: {unit: load, matches: ''}").contains("an empty pattern matches everything"));
    let delays = "boots:\n";
    let delayed = mistakes(&changed(delays, "delays: [{unit: load, by: 1s}, {unit: load, by: 2s}]\nboots:\n"));
    assert!(delayed.join("\n").contains("`load` is delayed twice"), "{delayed:?}");
}

#[test]
fn two_scenarios_of_one_name_are_told() {
    let dir = tempfile::tempdir().expect("temporary directory");
    std::fs::create_dir(dir.path().join("pull")).expect("made");
    for name in ["x.yaml", "x.yml"] {
        std::fs::write(dir.path().join("pull").join(name), GOOD).expect("written");
    }
    let listing = list(dir.path()).expect("readable");
    assert_eq!(listing.scenarios.len(), 1);
    let told = listing.refused[0].plain();
    assert!(told.contains("x.yml:1:1: it is called pull/x") && told.contains("x.yaml is"), "{told}");
}

#[test]
fn a_boot_may_stand_for_several() {
    let scenario = one("pull/x.yaml", changed("  - ends: ready\n", "  - ends: ready\n    at-most: 3\n"));
    assert_eq!(scenario.spec.most_boots(), 4);
    assert_eq!(scenario.spec.boot(1).map(|boot| boot.ends), Some(Ends::Reboot));
    assert_eq!(scenario.spec.boot(4).map(|boot| boot.ends), Some(Ends::Ready));
    assert_eq!(scenario.spec.boot(5), None);
}

#[test]
fn a_change_names_one_place_and_one_thing() {
    let told = |patch: &str| {
        let from = "  - generate: {";
        let to = format!("  - patch: [{{{patch}}}]\n    generate: {{");
        mistakes(&changed(from, &to)).join("\n")
    };
    assert!(told("replace: a, with: b").contains("it is not clear what is to be changed"));
    assert!(told("unit: load, replace: a").contains("it is not clear what the change is"));
    assert!(told("unit: load, remove: true, enabled: false").contains("it is not clear what the change is"));
    assert_eq!(told("everywhere: a, with: b"), "");
    assert_eq!(told("file: x.sh, mode: '0777'"), "");
}

#[test]
fn five_mistakes_are_five_messages() {
    let text = "\
description: d
registry:
  images:
    - {repository: quay.io/day1/day1-nic, modules: [day1_nic], variant: wrong-vermagik}
  faults:
    - {on: manifest}
machine-configs:
  - generate: {machine_config_name: 99-a, kernel_module_image: quay.io/day1/day1-nic}
happens:
  - {when: {phase: settled}, do: power-cutt}
boots:
  - ends: reboot
    by: pul
  - ends: ready
    deadline: 90
";
    let told = mistakes(text);
    let places: Vec<&str> = told.iter().filter_map(|one| one.split(' ').next()).collect();
    assert_eq!(places, ["4:73", "6:7", "10:34", "13:9", "15:15"], "{told:#?}");
}
