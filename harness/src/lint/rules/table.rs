//! The table of the rules.

use super::{Level, Rule};

macro_rules! rules {
    ($($name:ident $level:ident $id:literal { $finds:literal, $why:literal, $help:literal, $source:literal })*) => {
        $(pub(in crate::lint) static $name: Rule =
            Rule { id: $id, level: Level::$level, finds: $finds, why: $why, help: $help, source: $source };)*
        /// Every rule, in the order of the page.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    // --- the file and the MachineConfig -------------------------------------------------------------------
    SYNTAX Error "syntax" {
        "The text is no YAML or JSON, or a key stands twice",
        "Nobody can read it.",
        "Mend the text at this place.",
        "YAML 1.2.2; RFC 8259"
    }
    NOTHING_TO_CHECK Error "nothing-to-check" {
        "The file has no MachineConfig and no Ignition config",
        "Nothing of it was checked, which must not look like a pass.",
        "Give a file with `kind: MachineConfig`, or an Ignition config; convert a Butane file with `butane` first.",
        "this program"
    }
    MACHINE_CONFIG Error "machine-config" {
        "The MachineConfig's own fields are wrong",
        "The cluster's API refuses it, or no pool uses it.",
        "Write apiVersion, kind, metadata.name, the role label and spec as the MachineConfig API has them.",
        "openshift/api, machineconfiguration/v1/types.go; Kubernetes, Object Names and IDs"
    }
    UNKNOWN_KEY Error "unknown-key" {
        "A key that the MachineConfig or this version of the Ignition spec does not have",
        "It is dropped without a word, and what it was to do is not done.",
        "Correct the key, or raise `ignition.version` to a spec that has it.",
        "coreos/ignition docs, Configuration Specification v3.x; machine-config-operator, pkg/controller/common/helpers.go"
    }
    SPEC_VERSION Error "spec-version" {
        "The MCO does not take this version of the Ignition spec, or this program can't read it",
        "The MachineConfig makes its pool degraded: nothing reaches any node.",
        "Use 3.2.0, which every supported node reads, or up to 3.5.0.",
        "machine-config-operator, pkg/controller/common/helpers.go, ParseAndConvertConfig"
    }
    OLD_SPEC Warning "old-spec" {
        "The Ignition config is of spec 2, which this program does not read",
        "The MCO converts 2.2.0 and older, and the nodes get it. Here the types and keys of the config were not checked, and it is not rendered together with others; a machine of this harness can't be given it.",
        "Convert it to 3.2.0 to have all of it checked.",
        "machine-config-operator, pkg/controller/common/helpers.go, IgnParseWrapper"
    }
    OLD_SPEC_KEY Note "old-spec-key" {
        "A key that is left of Ignition spec 2, with the value that spec 3 has anyway",
        "It is dropped, and nothing is missing.",
        "Remove it.",
        "coreos/ignition docs, Migrating Between Configuration Versions, From Version 2.3.0 to 3.0.0"
    }
    NO_ROLE Warning "no-role" {
        "The MachineConfig has no role label",
        "The pools of a cluster choose by that label, and a MachineConfig that no pool chooses reaches no node. In a ConfigMap for a NodePool (HyperShift) the label is set for it.",
        "Add `machineconfiguration.openshift.io/role: worker` to metadata.labels.",
        "machine-config-operator, docs/MachineConfigController.md; openshift/hypershift, hypershift-operator/controllers/nodepool/config.go"
    }
    IGNITION Error "ignition" {
        "A value of the Ignition config has the wrong type, or a required key is missing",
        "The MCO can't parse the config, and its pool becomes degraded.",
        "Write what the Ignition spec has there.",
        "coreos/ignition docs, Configuration Specification v3.x"
    }
    MCO_REFUSES Error "mco-refuses" {
        "The MCO refuses the MachineConfig, or can't render it together with the others",
        "The pool becomes degraded: nothing reaches any node.",
        "Do what the message says.",
        "machine-config-operator, pkg/controller/common/helpers.go, MergeMachineConfigs and ValidateMachineConfig"
    }
    UNRECONCILABLE Warning "unreconcilable" {
        "A part of the Ignition config that the MCO can't change on a node that already runs",
        "New nodes get it at their first boot; every node of the pool that runs already becomes degraded.",
        "Use files and units instead, or put it into the config of new nodes only.",
        "machine-config-operator, pkg/daemon/update.go and reconcile.go, reconcilable"
    }

    // --- files ----------------------------------------------------------------------------------------------
    DUPLICATE Error "duplicate" {
        "A path, unit or drop-in stands twice in one config",
        "Ignition refuses the config.",
        "Keep one of them.",
        "coreos/ignition docs, Operator Notes; config/v3_*/types, Validate"
    }
    FILE_PATH Error "file-path" {
        "A file's path is not absolute, or has `..`, `//` or a slash at its end",
        "Ignition refuses the config.",
        "Write the absolute path, with one slash between two names.",
        "coreos/ignition, config/util and v3_*/types/node.go, Validate"
    }
    READ_ONLY_PATH Error "read-only-path" {
        "A file is put where CoreOS is read-only",
        "/usr belongs to the image of the operating system, and / can't be written, so that no new directory can be made in it: writing the file fails, at the first boot or when the MCO applies it.",
        "Use /etc, /var or /usr/local (which is /var/usrlocal).",
        "Fedora CoreOS docs, Storage: immutable /, read only /usr"
    }
    VOLATILE_PATH Warning "volatile-path" {
        "A file is put where nothing outlives a boot",
        "It is gone after the next boot, and the MCO's daemon then reports `content mismatch` and the node as degraded.",
        "Use /etc or /var, or a tmpfiles.d entry that makes the file at each boot.",
        "machine-config-operator, pkg/daemon/on_disk_validation.go; file-hierarchy(7)"
    }
    MODE_REFUSED Error "mode-refused" {
        "A mode above 0777, or below 0",
        "The MCO refuses setuid, setgid and sticky bits.",
        "Use a mode of permission bits alone. JSON and Ignition have no octal numbers: 493 is 0755, 420 is 0644, 384 is 0600.",
        "machine-config-operator, pkg/controller/common/helpers.go, ValidateIgnition"
    }
    MODE_DECIMAL Error "mode-decimal" {
        "A mode that was meant as octal stands as a decimal number, or the other way round",
        "Ignition's modes are decimal numbers: `mode: 644` is octal 1204, and YAML's `0420` is 272, which is r---w----.",
        "Write the decimal number, or in YAML an octal one with a zero in front (0644).",
        "coreos/ignition docs, Configuration Specification v3.2.0, storage.files.mode"
    }
    WORLD_WRITABLE Error "world-writable" {
        "Everybody may write the file",
        "Any process on the node can change what root reads or runs at the next boot. KMM's own MachineConfig had its load script so (decimal 511).",
        "Use 0755 (493) for scripts and 0644 (420) or 0600 (384) for others.",
        "kernel-module-management, internal/mcfg/templates/ignition.gotmpl; chmod(1)"
    }
    NOT_EXECUTABLE Error "not-executable" {
        "A unit executes a file of this config that nobody may execute",
        "The unit fails with 203/EXEC at every boot.",
        "Give the file mode 0755 (493). Without a mode it gets 0644.",
        "systemd.exec(5), Process Exit Codes; coreos/ignition docs, storage.files.mode"
    }
    EXEC_LABEL Warning "exec-label" {
        "A unit executes a file in a directory from which SELinux lets systemd execute nothing",
        "Files get the label of their directory. CoreOS enforces SELinux, and its policy lets systemd execute programs (`bin_t`), but no data (`var_lib_t`, `user_home_t` and others): the unit fails with 203/EXEC (Permission denied).",
        "Put programs into /usr/local/bin.",
        "Fedora's selinux-policy, policy/modules/system/init.te; systemd.exec(5), Process Exit Codes"
    }
    NO_SHEBANG Error "no-shebang" {
        "A unit executes a text that does not begin with `#!`, or an empty file",
        "The kernel can't tell what is to run it: the unit fails with 203/EXEC (Exec format error).",
        "Begin the file with `#!/bin/bash`, as its very first bytes.",
        "execve(2), Interpreter scripts"
    }
    CARRIAGE_RETURN Error "carriage-return" {
        "The lines of a script end in CR LF",
        "The kernel looks for an interpreter whose name ends in a carriage return, and bash takes it for a part of each line's last word.",
        "Save the text with LF alone (`dos2unix`).",
        "execve(2), Interpreter scripts"
    }
    SOURCE_SCHEME Error "source-scheme" {
        "A file's contents are not in a `data:` URL",
        "The MCO's daemon takes contents only from `data:` URLs; with another one the nodes that run already become degraded.",
        "Put the contents in: `data:,` and the text URL-encoded, or `data:;base64,` and base64.",
        "machine-config-operator, pkg/controller/common/helpers.go, DecodeIgnitionFileContents"
    }
    DATA_URL Error "data-url" {
        "A `data:` URL can't be decoded",
        "Ignition and the MCO refuse the config.",
        "Encode the contents again: `base64 -w0 FILE` after `data:;base64,`.",
        "RFC 2397; vincent-petithory/dataurl"
    }
    COMPRESSION Error "compression" {
        "`compression` and the contents do not go together",
        "Ignition can't unpack the file, or writes packed bytes where text is expected.",
        "Set `compression: gzip` if, and only if, the contents are gzipped.",
        "coreos/ignition docs, Configuration Specification v3.2.0, storage.files.contents.compression"
    }
    HASH Error "hash" {
        "`verification.hash` is not the hash of the contents",
        "Ignition refuses the file, and the node does not come up.",
        "Write the hash of the contents after unpacking (`sha256-…`, `sha512-…`), or leave it out for a `data:` URL.",
        "coreos/ignition docs, Configuration Specification v3.2.0, storage.files.contents.verification"
    }
    OVERWRITE Note "overwrite" {
        "`overwrite` is false or missing, where that makes a difference",
        "Ignition by itself fails if the file is there already; the MCO adds `true` where the key is missing, and its daemon always overwrites.",
        "Set `overwrite: true`.",
        "coreos/ignition docs, storage.files.overwrite; machine-config-operator, pkg/controller/common/helpers.go, MergeMachineConfigs"
    }
    FILE_IS_UNIT Warning "file-is-unit" {
        "A file is written where one of the config's units or drop-ins is",
        "Both write /etc/systemd/system: one wins on a new node and perhaps the other when the MCO applies the config.",
        "Keep the unit and remove the file.",
        "machine-config-operator, pkg/daemon/file_writers.go"
    }

    // --- units ----------------------------------------------------------------------------------------------
    UNIT_NAME Error "unit-name" {
        "A unit's or drop-in's name is none",
        "Ignition refuses the config.",
        "A unit ends in .service, .mount, .target, …; a drop-in in .conf, without a directory.",
        "systemd.unit(5), Description; coreos/ignition, config/v3_*/types/unit.go"
    }
    UNIT_SYNTAX Error "unit-syntax" {
        "A line of a unit is no section, assignment or comment",
        "systemd ignores the line, or for a broken section header the whole unit.",
        "Write `[Section]`, `Key=value`, or a comment on a line of its own.",
        "systemd.syntax(7)"
    }
    LINE_CONTINUATION Warning "line-continuation" {
        "A backslash does not continue the line, or continues it into what was meant as something else",
        "With a space behind it the backslash continues nothing; at the end of a value it swallows the next line.",
        "Remove the spaces behind the backslash, or the backslash behind the last line.",
        "systemd.syntax(7)"
    }
    UNKNOWN_SECTION Error "unknown-section" {
        "A section that units of this type do not have",
        "systemd ignores all of it.",
        "Correct the name (upper and lower case matter), or begin it with `X-` if another program reads it.",
        "systemd.unit(5); systemd.syntax(7)"
    }
    UNKNOWN_DIRECTIVE Error "unknown-directive" {
        "A directive that this section does not have",
        "systemd ignores it; the journal of the boot has `Unknown key`.",
        "Correct the name (upper and lower case matter), or move it to its section.",
        "systemd.directives(7); `systemd --dump-configuration-items`"
    }
    NEW_DIRECTIVE Note "new-directive" {
        "A directive that systemd 252 does not have",
        "Nodes on RHEL 9 have systemd 252 and ignore it.",
        "Make sure that the unit is right without it too.",
        "`systemd --dump-configuration-items` of 252 and 257"
    }
    BAD_VALUE Error "bad-value" {
        "A directive's value is not one that it takes",
        "systemd ignores the line, and the default holds.",
        "Write one of the values that the manual has.",
        "systemd.service(5); systemd.exec(5); systemd.kill(5); systemd.time(7); systemd.unit(5), Specifiers"
    }
    SERVICE_REFUSED Error "service-refused" {
        "systemd refuses the unit as a whole",
        "The unit's load state is `bad-setting`: it never starts.",
        "Do what the message says.",
        "systemd.service(5), Options; systemd, src/core/service.c, mount.c and timer.c, service_verify, mount_verify and timer_verify"
    }
    EXEC_PATH Error "exec-path" {
        "A command is neither an absolute path nor a plain name",
        "systemd refuses the line.",
        "Write the absolute path, or the name alone of a program in /usr/bin, /usr/sbin or /usr/local.",
        "systemd.service(5), Command lines"
    }
    EXEC_QUOTING Error "exec-quoting" {
        "The quotes of a line do not match",
        "systemd ignores the line.",
        "Close the quote, or escape it with a backslash.",
        "systemd.syntax(7), Quoting"
    }
    SHELL_IN_EXEC Error "shell-in-exec" {
        "A command line uses the shell's operators, but no shell runs it",
        "`|`, `>`, `&&` and `$( )` are handed to the program as arguments.",
        "Use `/bin/bash -c '…'`, or better a script file.",
        "systemd.service(5), Command lines"
    }
    ENVIRONMENT Error "environment" {
        "A word of Environment= is no assignment",
        "systemd ignores the word; a value with spaces ends at the first one.",
        "Quote the whole assignment: Environment=\"KEY=a value\".",
        "systemd.exec(5), Environment="
    }
    NO_INSTALL Warning "no-install" {
        "The unit is enabled, but has no [Install] section with a target, or is a template without DefaultInstance=",
        "Enabling it does nothing, so nothing starts it at boot.",
        "Add `[Install]` and `WantedBy=multi-user.target`, or let another unit want it.",
        "systemd.unit(5), [Install] Section Options"
    }
    NOT_ENABLED Note "not-enabled" {
        "The unit has an [Install] section, but is not enabled, and no unit of the config starts it",
        "It is only started if somebody enables it, or the node's presets do.",
        "Set `enabled: true`.",
        "coreos/ignition docs, systemd.units.enabled"
    }
    UNKNOWN_TARGET Warning "unknown-target" {
        "The unit is installed into a target that neither systemd, nor CoreOS, nor the config has",
        "Nothing starts that target, so nothing starts the unit.",
        "Use multi-user.target, or add the target to the config.",
        "systemd.special(7)"
    }
    UNIT_MISSPELT Warning "unit-misspelt" {
        "A unit is named that nobody has, and that is nearly the name of a well-known one",
        "An ordering or requirement on a unit that isn't there means nothing (Requires= fails).",
        "Correct the name.",
        "systemd.special(7); systemd.unit(5)"
    }
    DEPENDENCY_NAME Error "dependency-name" {
        "A word in a list of units is no unit's name",
        "systemd drops the word (`Failed to add dependency …, ignoring: Invalid argument`): the order, requirement or installation is not there.",
        "Write the whole name with its suffix (`NetworkManager.service`), and blanks between two names, not commas.",
        "systemd.unit(5), Description; systemd, src/core/load-fragment.c, config_parse_unit_deps"
    }
    MASKED Warning "masked" {
        "A unit is masked that the node needs",
        "The mask stays as long as the MachineConfig does. crio-wipe.service, which KMM's own MachineConfig masks, empties the container storage after an unclean shutdown: without it damaged images stay for ever.",
        "Keep the unit; keep your images out of its reach in a store of their own (`podman --root`).",
        "cri-o, internal/criocli/wipe.go; kernel-module-management, internal/mcfg/templates/ignition.gotmpl"
    }
    EXEC_UNKNOWN Note "exec-unknown" {
        "A unit executes a file that the config does not bring",
        "Unless another MachineConfig or the operating system has it, the unit fails with 203/EXEC.",
        "Add the file, or lint it together with the MachineConfig that has it.",
        "systemd.exec(5), Process Exit Codes"
    }
    FAILURE_IGNORED Warning "failure-ignored" {
        "A failure is swallowed on purpose (`ExecStart=-`, `|| true`, `|| exit 0`, `|| echo`, `if …; then … else echo …`, SuccessExitStatus=1)",
        "The unit is green although what it is for did not happen, and nobody looks at a green unit.",
        "Let it fail, or handle the failure and say so.",
        "systemd.service(5), Command lines; bash(1), Lists"
    }

    // --- order ----------------------------------------------------------------------------------------------
    NETWORK_ONLINE Warning "network-online" {
        "network-online.target is ordered after but not wanted, or wanted but not ordered after",
        "After= alone waits for nothing when nobody starts the target: kubelet does on OpenShift, nobody on a plain CoreOS. Wants= alone does not wait.",
        "Write both `Wants=network-online.target` and `After=network-online.target`.",
        "systemd.special(7), network-online.target; coreos/fedora-coreos-tracker #1855"
    }
    PASSIVE_TARGET Warning "passive-target" {
        "A unit is ordered before a passive target that it does not want",
        "A passive target is started by those who want to be before it. If nobody does, the ordering is void, and it holds by luck.",
        "Add `Wants=` with the same target.",
        "systemd.special(7), Special Passive System Units, network-pre.target"
    }
    NOT_ORDERED Warning "not-ordered" {
        "DefaultDependencies=no, and no After= or mount that the start waits for",
        "The unit may start before the journal, the file systems and the devices are there, differently at each boot.",
        "Name what it needs: `After=local-fs.target systemd-tmpfiles-setup.service`, RequiresMountsFor=.",
        "systemd.service(5), Default Dependencies; bootup(7)"
    }
    MOUNT_DEPENDENCY Warning "mount-dependency" {
        "An early unit uses paths below /var without waiting for their mounts",
        "With DefaultDependencies=no nothing makes it wait. On CoreOS /usr/local, /opt, /home, /root, /srv and /mnt lie in /var too, which may be a disk of its own: then the script is not there (203/EXEC), or the images aren't.",
        "Add `RequiresMountsFor=` with those paths (by their name below /var), or `After=local-fs.target`.",
        "systemd.unit(5), RequiresMountsFor=; Fedora CoreOS docs, Storage"
    }
    PRIVATE_TMP_ORDER Warning "private-tmp-order" {
        "An early unit's order hangs on what PrivateTmp= adds silently",
        "systemd up to 259 orders units with PrivateTmp=yes after the mounts of /var/tmp and systemd-tmpfiles-setup.service; later ones don't with DefaultDependencies=no.",
        "Write the order out: `After=local-fs.target systemd-tmpfiles-setup.service`.",
        "systemd.exec(5), PrivateTmp=, Implicit Dependencies; systemd/systemd #39790"
    }
    UDEV_ORDER Warning "udev-order" {
        "A unit swaps kernel modules early, unordered with udev and systemd-modules-load",
        "Cold-plug may load the in-tree driver after the unit looked for it, so that both sides race for the device.",
        "Add `After=systemd-udev-trigger.service systemd-modules-load.service`, and settle udev before going on.",
        "systemd-udev-trigger.service(8); systemd-modules-load.service(8)"
    }
    DBUS_ORDER Warning "dbus-order" {
        "A unit runs containers before D-Bus is there",
        "crun makes their cgroups through the system bus, and dbus.socket comes after sysinit.target: `cannot open sd-bus`.",
        "Order it `After=dbus.socket`, use `--cgroup-manager cgroupfs`, or mount the image instead of running it.",
        "containers/crun, src/libcrun/cgroup-systemd.c; systemd/systemd #23763"
    }
    TYPE_SIMPLE Warning "type-simple" {
        "A unit that others wait for says nothing of when it is done (Type=simple)",
        "systemd goes on as soon as the process is forked: what is ordered after it starts while it still works.",
        "Use `Type=oneshot` (with RemainAfterExit=yes), or Type=notify.",
        "systemd.service(5), Type="
    }
    NOT_REMAINING Warning "not-remaining" {
        "Another unit is bound to this oneshot, which does not remain active",
        "When the command ends the unit is inactive again: BindsTo= stops the other unit, Requisite= never starts it.",
        "Add `RemainAfterExit=yes`.",
        "systemd.service(5), RemainAfterExit=; systemd.unit(5), BindsTo=, Requisite="
    }
    ORDER_VOID Warning "order-void" {
        "A unit is ordered relative to one of this config that is masked or that nothing starts",
        "After= and Before= only order what is started: the ordering is void.",
        "Enable the other unit, want it, or remove the ordering.",
        "systemd.unit(5), Before=, After="
    }
    REQUIRES_WITHOUT_AFTER Warning "requires-without-after" {
        "A unit requires another one of this config without an order between them",
        "Both start at the same time: the requirement is met before the other one has done anything.",
        "Add `After=` with the same unit.",
        "systemd.unit(5), Requires="
    }
    ORDER_CYCLE Error "order-cycle" {
        "The units' order goes round in a circle",
        "systemd breaks it by not starting one of them, which may be the unit or a part of the system.",
        "Take one of the orderings out. An early unit needs `DefaultDependencies=no`: otherwise it comes after basic.target.",
        "bootup(7); systemd.service(5), Default Dependencies"
    }

    // --- time and attempts -----------------------------------------------------------------------------------
    NO_RETRY Warning "no-retry" {
        "A unit needs the network once per boot and does not try again",
        "A registry or name server that is away for a minute costs the node its driver until the next boot.",
        "Add `Restart=on-failure` with `RestartSec=` and StartLimitIntervalSec=0, or try again in the script.",
        "systemd.service(5), Restart="
    }
    NO_TIMEOUT Warning "no-timeout" {
        "A oneshot that the boot waits for has no time limit",
        "TimeoutStartSec= is infinite for Type=oneshot: if it hangs, the network never starts and nobody can log in to see why, or kubelet never starts and the node is never Ready.",
        "Set `TimeoutStartSec=`, longer than the slowest good case.",
        "systemd.service(5), TimeoutStartSec=; systemd.target(5), Default Dependencies"
    }
    SHORT_TIMEOUT Warning "short-timeout" {
        "The time limit is short for what the unit does",
        "On a slow disk or line it is killed half-way. Containers that podman has started go on by themselves, and leave a half-done swap and their names behind.",
        "Give containers at least 90 s and a pull at least 300 s.",
        "systemd.service(5), TimeoutStartSec=; podman-run(1)"
    }

    // --- reboots ----------------------------------------------------------------------------------------------
    REBOOT_UNBOUNDED Warning "reboot-unbounded" {
        "A reboot is asked for at boot, and nothing that outlives it says that it was made",
        "If what the reboot is for does not come true (storage that is wiped or volatile), the node reboots for ever.",
        "Write a counter or marker to the disk before the reboot, and test it; or use a Condition.",
        "kernel-module-management, internal/mcfg/scripts/pull-image.sh; systemd.unit(5), Conditions and Asserts"
    }
    REBOOT_KUBELET Warning "reboot-kubelet" {
        "A reboot is asked for while kubelet may run",
        "The node is Ready, and workloads are started on it, when it goes down: no cordon, no drain, and the MCO may already be busy with the next node.",
        "Add `Before=kubelet-dependencies.target kubelet.service` to the unit, and keep it in its start until the reboot comes.",
        "machine-config-operator, templates/common/_base/units/machine-config-daemon-firstboot.service.yaml"
    }
    REBOOT_FIRSTBOOT Warning "reboot-firstboot" {
        "A reboot is asked for while the MCO's first boot may be at work",
        "On a new node machine-config-daemon-firstboot rebases the operating system, and reboots by itself: a reboot in the middle of it breaks the rebase.",
        "Add `After=machine-config-daemon-firstboot.service`.",
        "machine-config-operator #1366 and #1762"
    }

    // --- scripts ----------------------------------------------------------------------------------------------
    SCRIPT_SYNTAX Warning "script-syntax" {
        "A shell script can't be parsed, so its commands were not checked",
        "Either bash stops at the same place, or this program doesn't know what bash does.",
        "Try `bash -n` on it.",
        "bash(1)"
    }
    STATUS_HIDDEN Warning "status-hidden" {
        "A command that the script is for may fail without anybody noticing",
        "Without `set -e` the script goes on, and its last command decides: the unit ends as `success` with no driver loaded.",
        "Begin with `set -euo pipefail`, or handle each failure (`|| exit 1`).",
        "bash(1), The Set Builtin; systemd.service(5), SuccessExitStatus="
    }
    PIPELINE Warning "pipeline" {
        "A command's failure is lost in a pipe",
        "Without `pipefail` a pipe has the status of its last command.",
        "Add `set -o pipefail`.",
        "bash(1), Pipelines"
    }
    CHAIN Warning "chain" {
        "An inline script has `a && b; c`",
        "The status of `a && b` is lost, and c runs although they failed.",
        "Join all with `&&`, or begin the inline script with `set -e;`.",
        "bash(1), Lists; kernel-module-management, internal/mcfg/scripts/replace-kernel-module.sh"
    }
    PODMAN_WAIT Warning "podman-wait" {
        "`podman wait` prints the container's exit code, and nobody reads it",
        "Its own status is 0 whatever the container's is, and it prints 0 even for one that never ran.",
        "Test the code: `[ \"$(podman wait NAME)\" = 0 ]`, or use `podman run` without --detach.",
        "podman-wait(1); containers/podman, libpod/container_api.go, WaitForExit"
    }
    VARIABLE Warning "variable" {
        "A variable is used that nothing sets",
        "It is empty: what is done with it is done with nothing, or with everything.",
        "Correct the name, pass it with Environment=, or use `set -u` to be told.",
        "bash(1), The Set Builtin"
    }
    ENVIRONMENT_UNUSED Note "environment-unused" {
        "Environment= sets a variable that the unit's scripts do not use",
        "Either it is a leftover, or the script was meant to use it.",
        "Remove it, or use it.",
        "systemd.exec(5), Environment="
    }
    PRIVATE_MOUNTS Note "private-mounts" {
        "podman runs in a mount namespace of its unit's own",
        "What it mounts is not seen from outside: containers that outlive the unit can't be cleaned up from the host.",
        "Do without PrivateTmp=, PrivateMounts= and Protect…= in units that run podman.",
        "systemd.exec(5), Sandboxing; containers/podman #25581"
    }

    // --- image references -------------------------------------------------------------------------------------
    KERNEL_TAG Warning "kernel-tag" {
        "The kernel's release is used as a tag as it is",
        "No tag may hold the `+` of real-time, 64k and debug kernels (`…x86_64+rt`): invalid reference format, and nothing is ever pulled.",
        "Replace what no tag may hold: `${release//[^A-Za-z0-9_.-]/_}`, as Day-2 KMM does.",
        "opencontainers/distribution-spec, Pulling manifests; kernel-module-management, internal/kernel/kernel.go"
    }
    IMAGE_TAG_TWICE Error "image-tag-twice" {
        "A script appends a tag to a reference that has a tag or digest already",
        "`repository:tag:tag` is an invalid reference: nothing is ever pulled.",
        "Give the repository alone.",
        "distribution/reference, grammar; kernel-module-management, docs day1_limited_option.md"
    }

    // --- several MachineConfigs -------------------------------------------------------------------------------
    SAME_NAME Error "same-name" {
        "Two of the files hold a MachineConfig of the same name",
        "A cluster holds one of a name: the one that is applied later replaces the other.",
        "Give each a name of its own.",
        "Kubernetes, Object Names and IDs"
    }
    SAME_PATH Warning "same-path" {
        "Two MachineConfigs of a pool bring the same file or unit with other contents",
        "The later one by name wins, and the units of the other run with files that are not theirs.",
        "Put the MachineConfig's name into the paths and unit names.",
        "machine-config-operator, pkg/controller/common/helpers.go, MergeMachineConfigs"
    }
    SHARED_STATE Warning "shared-state" {
        "Units of two MachineConfigs use the same fixed names at run time",
        "They run in parallel: one's container, volume or state file is overwritten or removed by the other.",
        "Put the MachineConfig's name into the names of containers, volumes and files.",
        "kernel-module-management, internal/mcfg/scripts/replace-kernel-module.sh"
    }
}
