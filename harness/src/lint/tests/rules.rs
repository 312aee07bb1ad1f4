//! Each rule on a config where it alone finds something, and on one where it is right to say nothing.

use std::collections::BTreeSet;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::lint::ALL;

type Case = (&'static str, String, String);

fn early(after: &str, more: &str) -> String {
    let unit = UNIT.replacen("After=local-fs.target systemd-udev-trigger.service", after, 1);
    one(&unit.replacen("\n[Install]", &format!("{more}\n[Install]"), 1), "#!/bin/bash\ncat /sys/x\n")
}

/// The base beside a second unit.
fn two(first: &str, name: &str, enabled: &str, second: &str) -> String {
    let units = [("driver.service", "true", first), (name, enabled, second)];
    machine_config("99-worker-driver", &units, &[("/usr/local/bin/driver.sh", "0755", SCRIPT)])
}

pub(super) const LATE: &str =
    "[Service]\nType=oneshot\nExecStart=/usr/bin/true\n\n[Install]\nWantedBy=multi-user.target\n";

/// A unit that reboots, as it has to be.
fn rebooting(from: &str, to: &str) -> String {
    let unit = "[Unit]\nWants=network-online.target\nAfter=network-online.target machine-config-daemon-firstboot.service\n\
                Before=kubelet-dependencies.target\n\n[Service]\nType=oneshot\nTimeoutStartSec=600\n\
                ExecStart=/usr/local/bin/driver.sh\n\n[Install]\nWantedBy=multi-user.target\n";
    let script = "#!/bin/bash\nset -e\ndone=/var/lib/driver/done\n[ -e \"$done\" ] && exit 0\ntouch \"$done\"\nsystemctl reboot\n";
    assert!(unit.contains(from) || script.contains(from), "{from}");
    one(&unit.replacen(from, to, 1), &script.replacen(from, to, 1))
}

/// A unit that pulls, as it has to be.
fn pulling(script: &str, service: &str) -> String {
    let unit = format!(
        "[Unit]\nWants=network-online.target\nAfter=network-online.target\n\n[Service]\nType=oneshot\n{service}\n\
         ExecStart=/usr/local/bin/driver.sh\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    one(&unit, &format!("#!/bin/bash\nset -e\n{script}\n"))
}

fn file(path: &str, mode: &str, text: &str) -> String {
    machine_config("99-worker-file", &[], &[(path, mode, text)])
}

fn encoded(more: &str) -> String {
    file("/etc/x.conf", "420", "x").replace("data:,x\n", more)
}

/// Other keys of the Ignition config.
fn storage(more: &str) -> String {
    format!("{}{more}", machine_config("99-worker-x", &[], &[]))
}

pub(super) fn of_spec_2(filesystem: &str) -> String {
    let file = format!("overwrite: true\n          filesystem: {filesystem}");
    swapped("3.2.0", "2.2.0").replace("overwrite: true", &file).replace("enabled: true", "enable: true")
}

fn the_file() -> Vec<Case> {
    vec![
        ("syntax", "kind: [\n".into(), "# a comment\n".to_owned() + &one(UNIT, SCRIPT)),
        ("nothing-to-check", "kind: Deployment\n".into(), format!("kind: ConfigMap\n---\n{}", one(UNIT, SCRIPT))),
        (
            "machine-config",
            swapped("spec:\n", "spec:\n  kernelArguments: nosmt\n"),
            swapped("spec:\n", "spec:\n  kernelArguments: [nosmt]\n  fips:\n"),
        ),
        (
            "machine-config",
            swapped("role: worker\n", "role: worker\n    other: true\n"),
            swapped("role: worker\n", "role: worker\n    other: 'true'\n"),
        ),
        (
            "no-role",
            swapped("    machineconfiguration.openshift.io/role: worker\n", "    other: label\n"),
            swapped("role: worker", "role: infra"),
        ),
        ("old-spec", of_spec_2("root"), swapped("3.2.0", "3.0.0")),
        (
            "old-spec-key",
            swapped("overwrite: true", "overwrite: true\n          filesystem: root"),
            storage("    storage: {}\n"),
        ),
        ("old-spec-key", storage("    networkd: {}\n"), storage("    passwd: {}\n")),
        ("unknown-key", storage("    networkd:\n      units: [{name: a}]\n"), swapped("mode: 0755", "mode: 0493")),
        (
            "unknown-key",
            swapped("          enabled: true", "          enable: true\n          enabled: true"),
            swapped("spec:\n", "spec:\n  fips: false\n"),
        ),
        ("spec-version", swapped("3.2.0", "3.6.0"), swapped("3.2.0", "3.5.0")),
        ("ignition", swapped("overwrite: true", "overwrite: maybe"), swapped("overwrite: true", "\"overwrite\": true")),
        ("ignition", swapped("overwrite: true", "overwrite: 'true'"), swapped("overwrite: true", "overwrite: yes")),
        ("ignition", swapped("mode: 0755", "mode: \"0755\""), swapped("mode: 0755", "mode: 0o755")),
        (
            "ignition",
            swapped("path: /usr", "user: {id: '0'}\n          path: /usr"),
            swapped("mode: 0755", "mode: 0x1ed"),
        ),
        (
            "ignition",
            storage("    storage:\n      files:\n        - path: /etc/x\n          overwrite: true\n"),
            storage(
                "    storage:\n      files:\n        - path: /etc/x\n          overwrite: true\n          contents: {source: \"\"}\n",
            ),
        ),
        (
            "mco-refuses",
            swapped("spec:\n", "spec:\n  kernelType: fast\n"),
            swapped("spec:\n", "spec:\n  kernelType: realtime\n"),
        ),
        (
            "unreconcilable",
            storage("    storage:\n      directories:\n        - path: /var/x\n"),
            storage("    passwd:\n      users:\n        - name: core\n          sshAuthorizedKeys: [a]\n"),
        ),
    ]
}

fn the_files() -> Vec<Case> {
    let script = "          overwrite: true\n";
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"x").expect("packed");
    let gzip = format!("data:;base64,{}\n", STANDARD.encode(packed.finish().expect("packed")));
    let sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let hash = |sum: &str| format!("data:,x\n            verification:\n              hash: sha256-{sum}\n");
    vec![
        (
            "duplicate",
            file("/etc/x", "420", "a")
                + "        - path: /etc/x\n          mode: 420\n          contents: {source: \"data:,b\"}\n",
            file("/etc/x", "420", "a")
                + "        - path: /etc/y\n          mode: 420\n          contents: {source: \"data:,b\"}\n",
        ),
        ("file-path", file("/etc/../x", "420", "a"), file("/etc/..x", "420", "a")),
        ("file-path", file("/etc//x", "420", "a"), file("/etc/.x", "420", "a")),
        ("file-path", file("/etc/x/", "420", "a"), file("/etc/...", "420", "a")),
        ("read-only-path", file("/foo/x", "420", "a"), file("/srv/x", "420", "a")),
        ("read-only-path", file("/x", "420", "a"), file("/opt/x", "420", "a")),
        ("read-only-path", file("/usr/lib/x", "420", "a"), file("/usr/local/lib/x", "420", "a")),
        ("volatile-path", file("/run/x", "420", "a"), file("/var/run-x", "420", "a")),
        ("mode-refused", file("/etc/x", "04755", "a"), file("/etc/x", "0755", "a")),
        ("mode-decimal", file("/etc/x", "644", "a"), file("/etc/x", "420", "a")),
        ("mode-decimal", file("/etc/x", "0420", "a"), file("/etc/x", "0640", "a")),
        ("world-writable", file("/etc/x", "511", "a"), file("/etc/x", "493", "a")),
        ("not-executable", swapped("mode: 0755", "mode: 0644"), swapped("mode: 0755", "mode: 0700")),
        (
            "exec-label",
            one(UNIT, SCRIPT).replace("/usr/local/bin/", "/var/lib/driver/"),
            one(UNIT, SCRIPT).replace("/usr/local/bin/", "/var/usrlocal/bin/"),
        ),
        ("no-shebang", one(UNIT, "modprobe driver\n"), one(UNIT, "#!/usr/bin/env -S bash -e\nmodprobe driver\n")),
        (
            "no-shebang",
            one(UNIT, "").replace("source: data:,", "source: \"\""),
            one(UNIT, "#!/bin/bash\nmodprobe driver\n"),
        ),
        ("no-shebang", one(UNIT, ""), one(UNIT, "#!/usr/bin/python3\n")),
        ("carriage-return", one(UNIT, &SCRIPT.replace('\n', "\r\n")), one(UNIT, &format!("{SCRIPT}printf '\\r\\n'\n"))),
        ("source-scheme", encoded("https://example.com/x\n"), encoded("data:text/plain;charset=utf-8,x\n")),
        ("data-url", encoded("data:;base64,%%%\n"), encoded("data:;base64,eA==\n")),
        ("compression", encoded(&gzip), encoded(&format!("{gzip}            compression: gzip\n"))),
        ("hash", encoded(&hash(&sum.replace('2', "3"))), encoded(&hash(sum))),
        ("overwrite", swapped(script, "          overwrite: false\n"), swapped(script, "")),
        (
            "file-is-unit",
            one(UNIT, SCRIPT)
                + "        - path: /etc/systemd/system/driver.service\n          contents: {source: \"data:,b\"}\n",
            one(UNIT, SCRIPT)
                + "        - path: /etc/systemd/system/driver.service.d/a.conf\n          contents: {source: \"data:,%5BService%5D%0AUMask=0027\"}\n",
        ),
    ]
}

fn the_units() -> Vec<Case> {
    let timer = |lines: &str| {
        let timer = format!("[Timer]\n{lines}\n[Install]\nWantedBy=timers.target\n");
        two(&UNIT.replace("[Install]\nWantedBy=multi-user.target\n", ""), "driver.timer", "true", &timer)
    };
    let mount = |name: &str, place: &str| {
        let mount = format!("[Mount]\nWhat=/dev/sdb\nWhere={place}\n\n[Install]\nWantedBy=local-fs.target\n");
        machine_config("99-worker-x", &[(name, "true", &mount)], &[])
    };
    let template = |more: &str| {
        let text = UNIT.replace("/usr/local/bin/driver.sh", "/usr/bin/true") + more;
        machine_config("99-worker-x", &[("nic@.service", "true", &text)], &[])
    };
    let dropin = |name: &str| {
        machine_config("99-worker-x", &[], &[])
            + "    systemd:\n      units:\n        - name: kubelet.service\n          dropins:\n            - name: "
            + name
            + "\n              contents: |\n                [Service]\n                Environment=A=b\n"
    };
    // The unit in a file, which a link enables, with a drop-in in another file.
    let in_files = |text: &str| {
        let dropin = "[Service]\nTimeoutStartSec=60\n";
        let files = [
            ("/usr/local/bin/driver.sh", "0755", SCRIPT),
            ("/etc/systemd/system/driver.service", "0644", text),
            ("/etc/systemd/system/driver.service.d/10.conf", "0644", dropin),
        ];
        let link = "/etc/systemd/system/multi-user.target.wants/driver.service";
        let links = format!("      links:\n        - path: {link}\n          target: ../driver.service\n");
        // A plain Ignition config: the MCO can't change links on a node that runs.
        let config = machine_config("99-worker-x", &[], &files) + &links;
        config.split_once("  config:\n").expect("a config").1.lines().map(|line| format!("{}\n", &line[4..])).collect()
    };
    let masked =
        |name: &str| storage(&format!("    systemd:\n      units:\n        - name: {name}\n          mask: true\n"));
    let plain = |line: &str| {
        let text = UNIT.replace("/usr/local/bin/driver.sh", line);
        machine_config("99-worker-x", &[("driver.service", "true", &text)], &[])
    };
    vec![
        ("unit-name", dropin("10-a"), dropin("10-a.conf")),
        ("unknown-directive", in_files(&UNIT.replace("After=", "Aftr=x.service\nAfter=")), in_files(UNIT)),
        (
            "not-enabled",
            in_files(UNIT).replace("/multi-user.target.wants/driver", "/a.target.d/driver"),
            in_files(UNIT),
        ),
        (
            "unit-misspelt",
            mount("var-x.mount", "/var/x")
                .replace("[Mount]", "[Unit]\n            Requires=systemd-fsck@dev-sdb1.service\n            [Mount]"),
            mount("var-x.mount", "/var/x")
                .replace("[Mount]", "[Unit]\n            Requires=systemd-fsck@dev-sdb.service\n            [Mount]"),
        ),
        (
            "unit-syntax",
            unit("Type=oneshot", "Type=oneshot\nnothing"),
            unit("Type=oneshot", "Type=oneshot\n# nothing\n; nothing"),
        ),
        (
            "line-continuation",
            unit("Description=Loads the driver", "Description=Loads the driver\\\n\n"),
            unit("After=local-fs.target ", "After=local-fs.target \\\n  "),
        ),
        (
            "unknown-section",
            unit("[Install]", "[service]\nX=1\n\n[Install]"),
            unit("[Install]", "[X-Vendor]\nA=1\n\n[Install]"),
        ),
        ("unknown-directive", service("ExecStarts=/usr/bin/true"), service("X-Vendor=1\nStartLimitInterval=5")),
        ("new-directive", service("RestartSteps=5"), service("RestartSec=5")),
        (
            "bad-value",
            unit("RemainAfterExit=yes", "RemainAfterExit=maybe"),
            unit("RemainAfterExit=yes", "RemainAfterExit=ON"),
        ),
        ("bad-value", service("ExecStartPre=-/bin/echo %Q"), service("ExecStartPre=/bin/echo %%Q")),
        ("service-refused", service("ExecStartPre=/bin/echo %Q"), service("ExecStartPre=/bin/echo %% %b 5%")),
        ("bad-value", service("UMask=9"), service("UMask=0027")),
        ("bad-value", service("KillSignal=SIGFOO"), service("KillSignal=SIGRTMIN+3")),
        ("bad-value", service("LimitNOFILE=abc"), service("LimitNOFILE=1024:512K\nLimitCORE=infinity")),
        ("bad-value", service("Nice=99"), service("Nice=-5")),
        ("bad-value", service("RuntimeDirectory=/run/x"), service("RuntimeDirectory=x/y a..b x:z")),
        ("bad-value", service("RuntimeDirectory=x/../y"), service("StateDirectory=...")),
        (
            "bad-value",
            service("ReadWritePaths=var/x"),
            service("ReadWritePaths=-/var/x +/var/y \"/var/a b\" -'/var/c d'"),
        ),
        (
            "bad-value",
            unit("DefaultDependencies", "ConditionPathExists=!var/x\nDefaultDependencies"),
            unit("DefaultDependencies", "ConditionPathExists=|!/var/x\nDefaultDependencies"),
        ),
        ("bad-value", timer("OnBootSec=5min\nOnCalendar=whenever"), timer("OnBootSec=5min\nOnCalendar=daily")),
        ("service-refused", service("Restart=always"), service("Restart=on-failure")),
        ("service-refused", timer("Persistent=true"), timer("OnCalendar=Sun 03:00")),
        ("service-refused", timer("OnCalendar=daily\nOnBootSec="), timer("OnCalendar=\nOnBootSec=5min")),
        ("service-refused", mount("y.mount", "/var/x"), mount("var-x\\x2dy-.z.mount", "/var//x-y/.z/")),
        (
            "dependency-name",
            unit("After=local-fs.target", "After=NetworkManager local-fs.target"),
            unit("After=", "After=foo@%i.service "),
        ),
        (
            "dependency-name",
            unit("Before=network-pre.target", "Before=network-pre.target a.service,b.service"),
            unit("Before=", "Before=a.service b.service "),
        ),
        (
            "dependency-name",
            unit("WantedBy=multi-user.target", "WantedBy=multi-user.target rescue"),
            unit("WantedBy=", "WantedBy=rescue.target "),
        ),
        (
            "dependency-name",
            two(
                UNIT,
                "driver.timer",
                "true",
                "[Timer]\nOnBootSec=5min\nUnit=driver\n[Install]\nWantedBy=timers.target\n",
            ),
            two(
                UNIT,
                "driver.timer",
                "true",
                "[Timer]\nOnBootSec=5min\nUnit=driver.service\n[Install]\nWantedBy=timers.target\n",
            ),
        ),
        ("exec-path", plain("bin/driver"), plain("driver --load")),
        ("exec-quoting", service("ExecStartPre=/bin/echo 'a"), service("ExecStartPre=/bin/echo 'a b'")),
        (
            "shell-in-exec",
            service("ExecStartPre=/bin/echo a > /var/log/x"),
            service("ExecStartPre=/bin/sh -c 'echo a > /var/log/x'"),
        ),
        (
            "environment",
            service("Environment=LC_ALL=b c"),
            service("Environment=\"A=b c\" LC_ALL=C\nExecStartPost=/bin/echo $A"),
        ),
        (
            "no-install",
            unit("[Install]\nWantedBy=multi-user.target\n", ""),
            two(
                &UNIT.replace("[Install]\nWantedBy=multi-user.target\n", ""),
                "driver.timer",
                "true",
                "[Timer]\nOnBootSec=5min\n[Install]\nWantedBy=timers.target\n",
            ),
        ),
        ("no-install", template(""), template("DefaultInstance=a\n")),
        ("not-enabled", swapped("enabled: true", "enabled: false"), swapped("enabled: true", "enabled: true")),
        (
            "unknown-target",
            unit("WantedBy=multi-user.target", "WantedBy=multiuser.target"),
            unit("WantedBy=multi-user.target", "RequiredBy=kubelet-dependencies.target"),
        ),
        (
            "unit-misspelt",
            unit("After=local-fs.target", "After=local-fs.target NetworkManger.service"),
            unit("After=local-fs.target", "After=local-fs.target vendor-agent.service"),
        ),
        ("masked", masked("crio-wipe.service"), masked("vendor.service")),
        ("exec-unknown", plain("/usr/local/bin/other.sh"), plain("/usr/bin/other")),
        ("failure-ignored", service("SuccessExitStatus=1 2 3"), service("SuccessExitStatus=143 SIGKILL")),
        (
            "failure-ignored",
            strict("modprobe driver || echo failed >&2"),
            strict("modprobe driver || { echo failed; exit 1; }"),
        ),
        ("failure-ignored", strict("modprobe driver || exit 0"), strict("modprobe driver || exit 1")),
        (
            "failure-ignored",
            strict("if modprobe driver; then echo loaded; else echo failed; fi"),
            strict("if modprobe driver; then echo loaded; else echo failed; exit 1; fi"),
        ),
        (
            "failure-ignored",
            strict("if ! modprobe driver; then\n  echo failed\n  exit 0\nfi\ntouch /run/x"),
            strict("if ! modprobe driver; then\n  modprobe e1000\n  exit 1\nfi\ntouch /run/x"),
        ),
        (
            "failure-ignored",
            strict("if modprobe driver; then touch /run/x; else logger failed; exit 0; fi"),
            strict("for i in 1 2 3; do\n  if modprobe driver; then exit 0; else echo again; fi\ndone\nexit 1"),
        ),
        (
            "failure-ignored",
            strict("modprobe driver || true"),
            strict("modprobe -r old || true\npodman rm -f x || :\nmodprobe driver"),
        ),
    ]
}

fn the_order() -> Vec<Case> {
    let network = |lines: &str| {
        let unit = format!("[Unit]\n{lines}\n\n{LATE}");
        machine_config("99-worker-x", &[("x.service", "true", &unit)], &[])
    };
    let order = "After=local-fs.target systemd-udev-trigger.service";
    let run = "podman run --rm quay.io/v/d";
    let ordered =
        |after: &str, script: &str| one(&UNIT.replacen(order, after, 1), &format!("#!/bin/bash\nset -e\n{script}\n"));
    let bound = |first: &str| {
        two(first, "late.service", "true", &format!("[Unit]\nBindsTo=driver.service\nAfter=driver.service\n\n{LATE}"))
    };
    let after_other = |enabled: &str| {
        let unit = UNIT.replacen(order, &format!("{order} other.service"), 1);
        let other = if enabled == "true" { LATE } else { "[Service]\nType=oneshot\nExecStart=/usr/bin/true\n" };
        two(
            &unit,
            "other.service",
            enabled,
            &other.replace("[Service]", "[Unit]\nDefaultDependencies=no\nAfter=local-fs.target\n\n[Service]"),
        )
    };
    let not_ordered = |text: &str| {
        let unit = text.replacen("[Service]", "[Unit]\nDefaultDependencies=no\n\n[Service]", 1);
        machine_config("99-worker-x", &[("x.service", "true", &unit)], &[])
    };
    let before_kubelet = |script: &str| {
        let unit = "[Unit]\nBefore=kubelet.service\n\n[Service]\nExecStart=/usr/local/bin/driver.sh\n\n[Install]\n\
                    WantedBy=multi-user.target\n";
        one(unit, &format!("#!/bin/bash\nset -e\n{script}\n"))
    };
    let requires =
        |more: &str| two(UNIT, "late.service", "true", &format!("[Unit]\nRequires=driver.service\n{more}\n\n{LATE}"));
    vec![
        (
            "network-online",
            network("After=network-online.target"),
            network("After=network-online.target\nWants=network-online.target"),
        ),
        (
            "network-online",
            network("Wants=network-online.target"),
            machine_config(
                "99-worker-x",
                &[(
                    "x.target",
                    "true",
                    "[Unit]\nWants=network-online.target\n\n[Install]\nWantedBy=multi-user.target\n",
                )],
                &[],
            ),
        ),
        (
            "passive-target",
            unit("Wants=network-pre.target\n", ""),
            unit("Wants=network-pre.target", "Requires=network-pre.target"),
        ),
        ("not-ordered", not_ordered(LATE), early("After=sysinit.target", "")),
        (
            "not-ordered",
            not_ordered(LATE),
            not_ordered(&LATE.replace("WantedBy=multi-user.target", "WantedBy=shutdown.target reboot.target")),
        ),
        (
            "mount-dependency",
            early("After=systemd-udevd.service", ""),
            early("After=systemd-udevd.service\nRequiresMountsFor=/var/usrlocal/bin", ""),
        ),
        (
            "private-tmp-order",
            early("After=systemd-udevd.service", "PrivateTmp=yes\n"),
            early("After=local-fs.target", "PrivateTmp=yes\n"),
        ),
        (
            "udev-order",
            ordered("After=local-fs.target", "modprobe driver"),
            ordered("After=local-fs.target", "modprobe -n driver"),
        ),
        ("dbus-order", ordered(order, run), ordered(order, "podman --cgroup-manager cgroupfs run x")),
        ("type-simple", unit("Type=oneshot\n", ""), unit("Type=oneshot", "Type=notify")),
        ("type-simple", before_kubelet("modprobe driver"), before_kubelet("exec /usr/bin/vendor-daemon")),
        (
            "type-simple",
            before_kubelet("modprobe driver"),
            before_kubelet("exec podman run --cgroups=disabled -v /lib/modules:/lib/modules:ro x"),
        ),
        ("not-remaining", bound(&UNIT.replace("RemainAfterExit=yes\n", "")), bound(UNIT)),
        ("order-void", after_other("false"), after_other("true")),
        ("requires-without-after", requires(""), requires("After=driver.service")),
        (
            "order-cycle",
            unit(
                "DefaultDependencies=no\nWants=network-pre.target\nBefore=network-pre.target",
                "Before=sysinit.target",
            ),
            unit("Before=network-pre.target", "Before=network-pre.target sysinit.target"),
        ),
        (
            "order-cycle",
            network("Before=basic.target").replace("Type=", "TimeoutStartSec=60\n            Type="),
            network("After=multi-user.target x.service"),
        ),
        (
            "order-cycle",
            network("Before=sysinit.target")
                .replace("WantedBy=multi-user", "WantedBy=sysinit")
                .replace("Type=", "TimeoutStartSec=60\n            Type="),
            network("After=a.service").replace("WantedBy=multi-user", "WantedBy=sysinit"),
        ),
    ]
}

fn the_rest() -> Vec<Case> {
    let pull = "podman pull quay.io/v/d";
    let retry = "until podman pull quay.io/v/d; do sleep 5; done";
    let limit = "TimeoutStartSec=600";
    let tagged = |image: &str, tag: &str| {
        pulling(
            &format!("tag={tag}\nuntil podman pull \"$IMAGE:$tag\"; do sleep 5; done"),
            &format!("{limit}\nEnvironment=IMAGE={image}"),
        )
    };
    let safe = "$(uname -r | tr + _)";
    let required_by = |target: &str| {
        let unit = LATE.replace("WantedBy=multi-user.target", &format!("RequiredBy={target}"));
        machine_config("99-worker-x", &[("x.service", "true", &unit)], &[])
    };
    vec![
        ("no-retry", pulling(pull, limit), pulling(retry, limit)),
        ("no-timeout", unit("TimeoutStartSec=120\n", ""), unit("TimeoutStartSec=120", "TimeoutSec=2min")),
        ("no-timeout", required_by("kubelet-dependencies.target"), required_by("multi-user.target")),
        ("short-timeout", pulling(retry, "TimeoutStartSec=60"), pulling(retry, "TimeoutStartSec=5min")),
        ("reboot-unbounded", rebooting("touch \"$done\"", "touch /run/x"), rebooting("touch", "echo >")),
        (
            "reboot-kubelet",
            rebooting("Before=kubelet-dependencies.target\n", ""),
            rebooting("Before=kubelet-dependencies.target", "Before=kubelet.service"),
        ),
        (
            "reboot-firstboot",
            rebooting(" machine-config-daemon-firstboot.service", ""),
            rebooting("systemctl reboot", "# reboot\necho 'systemctl reboot'"),
        ),
        ("script-syntax", strict("if true; then"), strict("if true; then :; fi")),
        (
            "status-hidden",
            loose("modprobe driver\necho done"),
            loose("modprobe driver || exit 1\nmodprobe x\nif [ $? -ne 0 ]; then exit 1; fi\necho done"),
        ),
        (
            "status-hidden",
            loose("modprobe driver\nif [ $? -eq 0 ]; then\n  echo loaded\nelse\n  echo failed\nfi\ntouch /run/x"),
            loose(
                "modprobe driver\nif [ $? -eq 0 ]; then\n  echo loaded\nelse\n  echo failed\n  exit 1\nfi\ntouch /run/x",
            ),
        ),
        (
            "status-hidden",
            strict("set +e\nmodprobe driver\necho ok"),
            strict("set +e\nmodprobe driver\nstatus=$?\nset -e\nexit $status"),
        ),
        ("status-hidden", strict("modprobe driver &\necho ok"), strict("modprobe driver &\nwait $!")),
        ("pipeline", loose("modprobe driver | logger"), strict("modprobe driver | logger")),
        (
            "chain",
            pulling(
                "until podman pull x; do sleep 5; done\npodman run x /bin/sh -c 'mkdir /a && cp b /a; cp c /d'",
                limit,
            ),
            pulling(
                "until podman pull x; do sleep 5; done\npodman run x /bin/sh -c 'mkdir /a && cp b /a && cp c /d'",
                limit,
            ),
        ),
        ("podman-wait", strict("podman wait x"), strict("[ \"$(podman wait x)\" = 0 ]")),
        ("variable", strict("echo $dirver"), strict("driver=x\necho $driver ${other:-y} $PATH '$no'")),
        ("environment-unused", service("Environment=IMAGE=x"), service("Environment=HTTPS_PROXY=x")),
        (
            "private-mounts",
            pulling("podman run x", &format!("{limit}\nPrivateTmp=yes")),
            pulling("podman run x", &format!("{limit}\nPrivateTmp=no")),
        ),
        ("kernel-tag", tagged("quay.io/v/d", "$(uname -r)"), tagged("quay.io/v/d", safe)),
        ("image-tag-twice", tagged("quay.io/v/d:v1", safe), tagged("registry:5000/v/d", safe)),
    ]
}

fn cases() -> Vec<Case> {
    [the_file(), the_files(), the_units(), the_order(), the_rest()].concat()
}

#[test]
fn each_rule_finds_what_it_is_for_and_nothing_else() {
    let mut wrong = Vec::new();
    for (rule, bad, good) in cases() {
        let (bad_found, good_found) = (report(&[&bad]), report(&[&good]));
        let rules: BTreeSet<&str> = bad_found.findings.iter().map(|finding| finding.rule.as_str()).collect();
        if rules != BTreeSet::from([rule]) {
            wrong.push(format!("{rule}, which is to be found: {}", text(&bad_found, false)));
        }
        if !good_found.findings.is_empty() {
            wrong.push(format!("{rule}, which is not to be found: {}", text(&good_found, false)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn machine_configs_that_clash_are_told_when_they_come_together() {
    let script = "#!/bin/bash\nset -e\npodman --cgroup-manager cgroupfs run --name vendor-pod x\n";
    let of = |name: &str, unit: &str, script: &str| {
        machine_config(
            name,
            &[(&format!("{unit}.service"), "true", &UNIT.replace("driver.sh", &format!("{unit}.sh")))],
            &[(&format!("/usr/local/bin/{unit}.sh"), "0755", script)],
        )
    };
    let one = of("99-worker-a", "a", script);
    assert_eq!(found(&[&one, &of("99-worker-b", "b", &script.replace("vendor", "b"))]), BTreeSet::new());
    assert_eq!(found(&[&one, &of("99-worker-b", "b", script)]), ["shared-state".to_owned()].into());
    assert_eq!(found(&[&one, &one]), ["same-name".to_owned()].into());
    let same = of("99-worker-b", "a", &script.replace("vendor", "other"));
    assert_eq!(found(&[&one, &same]), ["same-path".to_owned()].into());
    // Another pool's MachineConfig never meets it.
    assert_eq!(found(&[&one, &same.replace("role: worker", "role: master")]), BTreeSet::new());
    assert_eq!(found(&[&one, &same.replace("role: worker", "role: infra")]), ["same-path".to_owned()].into());
}

#[test]
fn the_kernels_release_is_seen_in_each_spelling() {
    let limit = "TimeoutStartSec=600";
    for image in ["quay.io/v/d:$(uname -r)", "\"r:5000/v/d:`uname -r`\"", "quay.io/v/d:${kernel}"] {
        let script = format!("kernel=$(uname --kernel-release)\nuntil podman pull {image}; do sleep 1; done");
        assert_eq!(found(&[&pulling(&script, limit)]), ["kernel-tag".to_owned()].into(), "{image}");
    }
    let line = "ExecStartPre=/usr/bin/podman --root /x image mount quay.io/v/d:%v";
    assert_eq!(found(&[&service(line)]), ["kernel-tag".to_owned()].into());
    let harmless =
        "echo \"kernel: $(uname -r)\"\nkernel=$(uname -r)\npath=/lib/modules:$HOME\nx=\"a b/c:$kernel\"\nmodprobe x";
    assert_eq!(found(&[&strict(harmless)]), BTreeSet::new());
}

#[test]
fn every_rule_has_its_cases() {
    let together = ["same-name", "same-path", "shared-state"];
    let tested: BTreeSet<&str> = cases().iter().map(|(rule, ..)| *rule).chain(together).collect();
    let rules: BTreeSet<&str> = ALL.iter().map(|rule| rule.id).collect();
    assert_eq!(tested, rules);
    assert_eq!(rules.len(), ALL.len(), "ids are unique");
    for rule in ALL {
        assert!(!rule.finds.ends_with('.') && rule.why.ends_with('.') && rule.help.ends_with('.'), "{}", rule.id);
        assert!(rule.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", rule.id);
    }
}
