//! MachineConfigs in the way of OpenShift's own and of vendors: nothing false is said of them.

use super::*;

/// Nothing but these rules, each of which is right about the config.
fn only(yaml: &str, right: &[&str]) {
    let report = report(&[yaml]);
    let rules: BTreeSet<&str> = report.findings.iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(rules, right.iter().copied().collect(), "{}", text(&report, false));
}

#[test]
fn configuration_files() {
    let chrony = "pool 0.rhel.pool.ntp.org iburst\ndriftfile /var/lib/chrony/drift\nmakestep 1.0 3\nrtcsync\nlogdir /var/log/chrony\n";
    only(&machine_config("99-worker-chrony", &[], &[("/etc/chrony.conf", "0644", chrony)]), &[]);
    let sysctl = "net.ipv4.ip_forward = 1\nvm.max_map_count = 262144\n";
    only(&machine_config("98-worker-sysctl", &[], &[("/etc/sysctl.d/98-vendor.conf", "420", sysctl)]), &[]);
    let registries = "unqualified-search-registries = ['registry.access.redhat.com', 'docker.io']\n[[registry]]\nprefix = \"\"\nlocation = \"quay.io\"\n";
    only(
        &machine_config("99-worker-mirrors", &[], &[("/etc/containers/registries.conf.d/99.conf", "0644", registries)]),
        &[],
    );
    let modprobe = "install nouveau /bin/true\nblacklist nouveau\n";
    only(&machine_config("99-worker-modprobe", &[], &[("/etc/modprobe.d/nouveau.conf", "0644", modprobe)]), &[]);
}

#[test]
fn machine_configs_without_an_ignition_config() {
    let head = "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  labels:\n    \
                machineconfiguration.openshift.io/role: worker\n  name: 05-worker-kernelarg\n";
    only(&format!("{head}spec:\n  kernelArguments:\n    - selinux=0\n    - 'hugepagesz=1G'\n"), &[]);
    only(&format!("{head}spec:\n  kernelType: realtime\n  extensions: [usbguard]\n"), &[]);
    // What the MCO rendered has an owner and no role.
    let rendered = head.replace(
        "  labels:\n    machineconfiguration.openshift.io/role: worker\n  name: 05-worker-kernelarg\n",
        "  name: rendered-worker-0123\n",
    );
    only(&format!("{rendered}spec:\n  config:\n    ignition:\n      version: 3.4.0\n"), &[]);
    // As `oc get machineconfig -o yaml` writes it.
    let from_cluster = head.replace(
        "metadata:\n",
        "metadata:\n  annotations: {a: b}\n  creationTimestamp: \"2024-01-01T00:00:00Z\"\n  generation: 1\n  uid: a\n",
    );
    only(
        &format!(
            "{from_cluster}spec:\n  baseOSExtensionsContainerImage: \"\"\n  config:\n    ignition:\n      version: 3.4.0\n  \
                   extensions: null\n  fips: false\n  kernelArguments: null\n  kernelType: \"\"\n  osImageURL: \"\"\n"
        ),
        &[],
    );
}

#[test]
fn units_and_drop_ins_of_the_node_software() {
    let dropin = "    systemd:\n      units:\n        - name: kubelet.service\n          enabled: true\n          dropins:\n            \
                  - name: 20-nodenet.conf\n              contents: |\n                [Service]\n                \
                  Environment=\"KUBELET_NODE_IP=10.0.0.1\" \"KUBELET_LOG_LEVEL=2\"\n        - name: zincati.service\n          \
                  dropins:\n            - name: mco-disabled.conf\n              contents: |\n                [Unit]\n                \
                  ConditionPathExists=/enoent\n        - name: docker.socket\n          mask: true\n        - name: rpc-statd.service\n          \
                  enabled: true\n        - name: crio.service\n          dropins:\n            - name: 10-mco-profile-unix-socket.conf\n              \
                  contents: |\n                [Service]\n                Environment=\"ENABLE_PROFILE_UNIX_SOCKET=true\"\n";
    only(&(machine_config("01-worker-kubelet", &[], &[]) + dropin), &[]);

    let kubelet = "[Unit]\nDescription=Kubernetes Kubelet\nRequires=crio.service kubelet-dependencies.target\n\
                   After=kubelet-dependencies.target\nAfter=ostree-finalize-staged.service\n\n[Service]\nType=notify\n\
                   ExecStartPre=/bin/mkdir --parents /etc/kubernetes/manifests\nExecStartPre=-/usr/sbin/restorecon -ri /var/lib/kubelet/pod-resources /usr/local/bin/kubenswrapper\n\
                   Environment=\"KUBELET_LOG_LEVEL=2\"\nEnvironmentFile=/etc/os-release\nEnvironmentFile=-/etc/kubernetes/kubelet-env\n\n\
                   ExecStart=/usr/bin/kubenswrapper \\\n    /usr/bin/kubelet \\\n      --config=/etc/kubernetes/kubelet.conf \\\n      \
                   --node-labels=node-role.kubernetes.io/worker,node.openshift.io/os_id=${ID} \\\n      --v=${KUBELET_LOG_LEVEL}\n\n\
                   Restart=always\nRestartSec=10\n\n[Install]\nWantedBy=multi-user.target\n";
    only(&machine_config("01-worker-kubelet", &[("kubelet.service", "true", kubelet)], &[]), &[]);

    let dependencies = "[Unit]\nDescription=Dependencies necessary to run kubelet\n\
                        Documentation=https://github.com/openshift/machine-config-operator/\n\
                        Requires=basic.target network-online.target\nWants=NetworkManager-wait-online.service crio-wipe.service\n\
                        Wants=rpc-statd.service chrony-wait.service\nAfter=network-online.target\n";
    only(&machine_config("00-worker", &[("kubelet-dependencies.target", "true", dependencies)], &[]), &[]);
}

#[test]
fn firstboot_units() {
    // It waits for its images as long as it takes: no limit is what it means, and saying so is right.
    let pull = "[Unit]\nDescription=Machine Config Daemon Pull\n# Make sure it runs only on OSTree booted system\n\
                ConditionPathExists=/run/ostree-booted\n# This \"stamp file\" is unlinked when we complete\n\
                ConditionPathExists=/etc/ignition-machine-config-encapsulated.json\nWants=network-online.target\n\
                After=network-online.target\nWants=crio-wipe.service\nAfter=crio-wipe.service\n\n[Service]\nType=oneshot\n\
                RemainAfterExit=yes\nExecStart=/etc/machine-config-daemon/generate_secret.sh\n\
                ExecStart=/bin/sh -c \"while ! /usr/bin/podman pull --authfile=/var/lib/kubelet/config.json 'quay.io/x/y@sha256:00'; do sleep 1; done\"\n\n\
                [Install]\nRequiredBy=machine-config-daemon-firstboot.service\n";
    let firstboot = "[Unit]\nDescription=Machine Config Daemon Firstboot\nConditionPathExists=/run/ostree-booted\n\
                     ConditionPathExists=/etc/ignition-machine-config-encapsulated.json\nAfter=machine-config-daemon-pull.service\n\
                     Before=kubelet-dependencies.target\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                     ExecStartPre=/usr/bin/sed -i -e '/^enabled/d' /etc/yum.repos.d/x.repo\n\
                     ExecStart=/usr/bin/podman run --rm --privileged --net=host -v /:/rootfs --entrypoint machine-config-daemon 'quay.io/x/y@sha256:00' firstboot-complete-machineconfig --persist-nics\n\n\
                     [Install]\nRequiredBy=kubelet-dependencies.target\n";
    let script = "#!/bin/bash\nset -e -o pipefail\numask 0077\nsource /etc/os-release\njq -s '.[0]' /var/lib/kubelet/config.json > /tmp/x\n";
    let yaml = machine_config(
        "00-worker",
        &[
            ("machine-config-daemon-pull.service", "true", pull),
            ("machine-config-daemon-firstboot.service", "true", firstboot),
        ],
        &[("/etc/machine-config-daemon/generate_secret.sh", "493", script)],
    );
    only(&yaml, &["no-timeout"]);
}

#[test]
fn network_scripts() {
    let dispatcher = "#!/bin/bash\nset -eux -o pipefail\nif [[ \"$2\" != 'up' && \"$2\" != \"dhcp4-change\" ]]; then\n  exit 0\nfi\n\
                      interface=$1\nif [ \"${interface:-}\" == lo ]; then exit 0; fi\n\
                      while IFS= read -r line; do\n  echo \"$line\"\ndone < <(ip -o addr show \"$interface\")\n";
    let resolv = "[Unit]\nDescription=On-prem resolv prepender\nStartLimitIntervalSec=0\n\n[Service]\nType=oneshot\nRestart=on-failure\nRestartSec=10\n\
                  ExecStart=/usr/local/bin/resolv-prepender.sh\nEnvironmentFile=/run/resolv-prepender/env\n";
    let path = "[Unit]\nDescription=Watch it\n\n[Path]\nPathModified=/run/NetworkManager/resolv.conf\n\n[Install]\nWantedBy=multi-user.target\n";
    let yaml = machine_config(
        "00-worker-net",
        &[("on-prem-resolv-prepender.service", "false", resolv), ("on-prem-resolv-prepender.path", "true", path)],
        &[
            ("/etc/NetworkManager/dispatcher.d/30-resolv-prepender", "0755", dispatcher),
            (
                "/usr/local/bin/resolv-prepender.sh",
                "0755",
                "#!/bin/bash\nset -e\ncp /run/NetworkManager/resolv.conf /etc/resolv.tmp\n",
            ),
        ],
    );
    only(&yaml, &[]);

    let ovs = "[Unit]\nDescription=Configures OVS with proper host networking configuration\nRequires=openvswitch.service\n\
               Wants=NetworkManager-wait-online.service\nAfter=firstboot-osupdate.target\n\
               After=NetworkManager-wait-online.service openvswitch.service network.service nodeip-configuration.service nmstate.service\n\
               Before=kubelet-dependencies.target node-valid-hostname.service\n\n[Service]\nType=oneshot\nExecStart=/usr/local/bin/configure-ovs.sh OVNKubernetes\n\
               StandardOutput=journal+console\nStandardError=journal+console\n\n[Install]\nRequiredBy=kubelet-dependencies.target\n";
    let script = "#!/bin/bash\nset -ex\nif [ ! -z \"$EXTRA\" ]; then\n  nmcli c show || true\nfi\nfor x in $(ls /sys/class/net); do echo $x; done\n";
    let yaml = machine_config(
        "00-worker-ovs",
        &[("ovs-configuration.service", "true", ovs)],
        &[("/usr/local/bin/configure-ovs.sh", "0755", script)],
    );
    // network.service is long gone from these nodes, and nothing ends the script if it hangs.
    only(&yaml, &["no-timeout", "unit-misspelt"]);
}

#[test]
fn units_of_vendors() {
    let disk = "[Unit]\nDescription=Make File System on /dev/sdb\nDefaultDependencies=no\nBindsTo=dev-sdb.device\n\
                After=dev-sdb.device var.mount\nBefore=systemd-fsck@dev-sdb.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                ExecStart=/usr/lib/systemd/systemd-makefs xfs /dev/sdb\nTimeoutSec=0\n\n[Install]\nWantedBy=var-lib-containers.mount\n";
    let mount = "[Unit]\nDescription=Mount /dev/sdb\nBefore=local-fs.target\nRequires=mkfs-sdb.service\nAfter=mkfs-sdb.service\n\n\
                 [Mount]\nWhat=/dev/sdb\nWhere=/var/lib/containers\nType=xfs\nOptions=defaults,prjquota\n\n[Install]\nWantedBy=local-fs.target\n";
    let units = [("mkfs-sdb.service", "true", disk), ("var-lib-containers.mount", "true", mount)];
    only(&machine_config("98-var-lib-containers", &units, &[]), &[]);

    let swap = "[Unit]\nDescription=Huge pages\nDefaultDependencies=no\nBefore=dev-hugepages.mount\nConditionPathExists=/sys/devices/system/node\n\
                ConditionKernelCommandLine=hugepagesz=1G\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                ExecStart=/etc/hugepages-reserve.sh\n\n[Install]\nWantedBy=sysinit.target\n";
    let script = "#!/bin/sh\nnodes_path=/sys/devices/system/node/\nif [ ! -d $nodes_path ]; then\n  echo \"no $nodes_path\"\n  exit 1\nfi\n\
                  reserve_pages()\n{\n  echo $1 > $nodes_path/$2/hugepages/hugepages-1048576kB/nr_hugepages\n}\nreserve_pages 4 node0\n";
    let yaml = machine_config(
        "50-hugepages",
        &[("hugepages.service", "true", swap)],
        &[("/etc/hugepages-reserve.sh", "0755", script)],
    );
    only(&yaml, &["not-ordered"]);

    let timer = "[Timer]\nOnCalendar=Sun 03:00\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n";
    let reboot = "[Unit]\nDescription=Weekly reboot\n\n[Service]\nType=oneshot\nExecStart=/usr/bin/systemctl reboot\n";
    let units = [("weekly.timer", "true", timer), ("weekly.service", "false", reboot)];
    only(&machine_config("99-worker-weekly", &units, &[]), &[]);

    let agent = "[Unit]\nDescription=Vendor agent\nAfter=network-online.target\nWants=network-online.target\n\n[Service]\n\
                 ExecStartPre=-/usr/bin/podman rm -f agent\nExecStart=/usr/bin/podman run --name agent --rm quay.io/vendor/agent:1.2 --format '{{.Name}}' --date=%%Y\n\
                 ExecStop=/usr/bin/podman stop agent\nRestart=always\n\n[Install]\nWantedBy=multi-user.target\n";
    only(&machine_config("99-worker-agent", &[("agent.service", "true", agent)], &[]), &[]);
}

#[test]
fn a_plain_ignition_config() {
    let ignition = "{\"ignition\":{\"version\":\"3.4.0\",\"config\":{\"merge\":[{\"source\":\"https://api-int:22623/config/worker\"}]},\
                    \"security\":{\"tls\":{\"certificateAuthorities\":[{\"source\":\"data:,x\"}]}}},\
                    \"storage\":{\"links\":[{\"path\":\"/etc/localtime\",\"target\":\"../usr/share/zoneinfo/UTC\"}]}}";
    only(ignition, &[]);
}
