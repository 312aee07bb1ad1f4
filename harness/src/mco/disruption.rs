//! What a change does to a node besides its files: whether it is drained, whether it reboots, and what is done where it
//! does not.
//!
//! The rules are those of `pkg/daemon/update.go` (`calculatePostConfigChangeNodeDisruptionActionFromMCDiffs`,
//! `performPostConfigChangeNodeDisruptionAction`), `pkg/daemon/drain.go` (`isDrainRequiredForNodeDisruptionActions`) and
//! `pkg/controller/common/helpers.go` (`FindClosestFilePolicyPathMatch`).

use crate::process::quoted;
use crate::scenario::{DisruptionAction, NodeDisruptionPolicy};

/// What differs between two configs of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Files that are changed, added or removed.
    pub files: Vec<String>,
    /// Units that are.
    pub units: Vec<String>,
    /// Whether the SSH keys or the password of user `core` differ.
    pub ssh: bool,
    /// What of the operating system differs, such as `kernelArguments`.
    pub system: Vec<&'static str>,
}

/// What is done on a node after a change that needs no reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// systemd reads its units again.
    DaemonReload,
    /// A service is reloaded.
    Reload(String),
    /// A service is restarted.
    Restart(String),
}

impl After {
    /// As a command of a shell.
    pub fn command(&self) -> String {
        match self {
            Self::DaemonReload => "systemctl daemon-reload".to_owned(),
            Self::Reload(service) => format!("systemctl reload {}", quoted(service)),
            Self::Restart(service) => format!("systemctl restart {}", quoted(service)),
        }
    }
}

/// What a change does to a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disruption {
    /// Whether the node is drained before anything is written.
    pub drains: bool,
    /// Why it reboots; none where it does not.
    pub reboot: Option<String>,
    /// What is done where it does not, in this order.
    pub after: Vec<After>,
}

/// One step of a policy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step<'p> {
    None,
    Drain,
    Reload(&'p str),
    Restart(&'p str),
    DaemonReload,
    Reboot,
    /// Of registries.conf: CRI-O is reloaded. The MCO leaves the drain out where the file only gains mirrors for digests
    /// (`isSafeContainerRegistryConfChanges`); what it gains is not read here, so that it always drains.
    Special,
}

const CRIO: &str = "crio.service";

/// The policies that a cluster has by itself: `defaultClusterPolicies` in `pkg/apihelpers/apihelpers.go`, without those of
/// credential providers and the internal release image's registry.
const DEFAULTS: [(&str, &[Step<'static>]); 8] = [
    ("/var/lib/kubelet/config.json", &[Step::None]),
    ("/etc/machine-config-daemon/no-reboot/containers-gpg.pub", &[Step::Reload(CRIO)]),
    ("/etc/containers/policy.json", &[Step::Reload(CRIO)]),
    ("/etc/containers/registries.conf", &[Step::Special]),
    ("/etc/containers/registries.d", &[Step::Reload(CRIO)]),
    ("/etc/crio/policies", &[Step::Reload(CRIO)]),
    ("/etc/nmstate/openshift", &[Step::None]),
    (
        "/etc/pki/ca-trust/source/anchors/openshift-config-user-ca-bundle.crt",
        &[Step::Restart("coreos-update-ca-trust.service"), Step::Restart(CRIO)],
    ),
];

impl Disruption {
    /// What follows from what differs. One file or unit without a policy makes it a reboot, and so does anything of the
    /// operating system.
    pub fn of(differences: &Differences, policies: &NodeDisruptionPolicy) -> Self {
        if let Some(system) = differences.system.first() {
            return Self::reboot(format!("{system} differs"));
        }
        let mut steps = Vec::new();
        for path in &differences.files {
            let Some(found) = of_file(path, policies) else {
                return Self::reboot(format!("file {path} has no node disruption policy"));
            };
            steps.extend(found.into_iter().map(|step| (step, format!("file {path}"))));
        }
        for name in &differences.units {
            let Some(policy) = policies.units.iter().find(|policy| policy.name.as_str() == name) else {
                return Self::reboot(format!("unit {name} has no node disruption policy"));
            };
            steps.extend(policy.actions.iter().map(|action| (step(action), format!("unit {name}"))));
        }
        if differences.ssh {
            let actions = policies.sshkey.iter().flat_map(|policy| &policy.actions);
            steps.extend(actions.map(|action| (step(action), "SSH keys".to_owned())));
        }
        if let Some((_, whose)) = steps.iter().find(|(step, _)| *step == Step::Reboot) {
            return Self::reboot(format!("the node disruption policy of {whose} says so"));
        }
        let after = |step: &Step<'_>| match step {
            Step::None | Step::Drain | Step::Reboot => None,
            Step::Reload(service) => Some(After::Reload((*service).to_owned())),
            Step::Restart(service) => Some(After::Restart((*service).to_owned())),
            Step::DaemonReload => Some(After::DaemonReload),
            Step::Special => Some(After::Reload(CRIO.to_owned())),
        };
        Self {
            drains: steps.iter().any(|(step, _)| matches!(step, Step::Drain | Step::Special)),
            reboot: None,
            // What two policies ask for is done twice, as the daemon does it.
            after: steps.iter().filter_map(|(step, _)| after(step)).collect(),
        }
    }

    fn reboot(why: String) -> Self {
        Self { drains: true, reboot: Some(why), after: vec![] }
    }
}

/// The steps of the policy whose path is the file's, or the longest directory above it. The cluster's owner replaces a
/// policy of the MCO's own by one of the same path.
fn of_file<'p>(path: &str, policies: &'p NodeDisruptionPolicy) -> Option<Vec<Step<'p>>> {
    let is_about =
        |policy: &str| path.strip_prefix(policy).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let defaults = DEFAULTS.iter().map(|(path, steps)| (*path, steps.to_vec()));
    let own = policies.files.iter().map(|policy| (policy.path.as_str(), policy.actions.iter().map(step).collect()));
    // Of paths as long as each other the last one counts.
    let closest = defaults.chain(own).filter(|(policy, _)| is_about(policy)).max_by_key(|(policy, _)| policy.len());
    closest.map(|(_, steps)| steps)
}

fn step(action: &DisruptionAction) -> Step<'_> {
    match action {
        DisruptionAction::None => Step::None,
        DisruptionAction::Drain => Step::Drain,
        DisruptionAction::Reload(service) => Step::Reload(service.as_str()),
        DisruptionAction::Restart(service) => Step::Restart(service.as_str()),
        DisruptionAction::DaemonReload => Step::DaemonReload,
        DisruptionAction::Reboot => Step::Reboot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(text: &str) -> NodeDisruptionPolicy {
        serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn files(paths: &[&str]) -> Differences {
        Differences { files: paths.iter().map(|path| (*path).to_owned()).collect(), ..Differences::default() }
    }

    fn units(names: &[&str]) -> Differences {
        Differences { units: names.iter().map(|name| (*name).to_owned()).collect(), ..Differences::default() }
    }

    fn why(disruption: Disruption) -> String {
        assert!(disruption.drains && disruption.after.is_empty(), "{disruption:?}");
        disruption.reboot.expect("a reboot")
    }

    const OWN: &str = "
files:
  - {path: /etc/a, actions: [{type: Restart, restart: {serviceName: a.service}}]}
  - {path: /etc/dir, actions: [{type: DaemonReload}, {type: Reload, reload: {serviceName: d.service}}]}
  - {path: /etc/dir/quiet, actions: [{type: None}]}
  - {path: /etc/drained, actions: [{type: Drain}]}
  - {path: /etc/hard, actions: [{type: Reboot}]}
units:
  - {name: a.service, actions: [{type: DaemonReload}, {type: Restart, restart: {serviceName: a.service}}]}
";

    #[test]
    fn what_has_no_policy_makes_it_a_reboot() {
        let own = policies(OWN);
        assert_eq!(
            why(Disruption::of(&files(&["/etc/a", "/etc/b"]), &own)),
            "file /etc/b has no node disruption policy"
        );
        let both = Differences { units: vec!["b.service".into()], ..files(&["/etc/a"]) };
        assert_eq!(why(Disruption::of(&both, &own)), "unit b.service has no node disruption policy");
        let system = Differences { system: vec!["kernelArguments"], ..files(&["/etc/a"]) };
        assert_eq!(why(Disruption::of(&system, &own)), "kernelArguments differs");
        assert_eq!(
            why(Disruption::of(&files(&["/etc/a", "/etc/hard"]), &own)),
            "the node disruption policy of file /etc/hard says so"
        );
    }

    #[test]
    fn what_policies_say_is_done_in_their_order() {
        let own = policies(OWN);
        let restart = || After::Restart("a.service".into());
        let done = |differences: &Differences| {
            let disruption = Disruption::of(differences, &own);
            assert_eq!(disruption.reboot, None);
            (disruption.drains, disruption.after)
        };
        assert_eq!(done(&files(&["/etc/a"])), (false, vec![restart()]));
        assert_eq!(done(&units(&["a.service"])), (false, vec![After::DaemonReload, restart()]));
        let both = Differences { units: vec!["a.service".into()], ..files(&["/etc/a"]) };
        assert_eq!(done(&both), (false, vec![restart(), After::DaemonReload, restart()]));
        assert_eq!(done(&files(&["/etc/a", "/etc/drained"])), (true, vec![restart()]));
        assert_eq!(done(&files(&[])), (false, vec![]));
        assert_eq!(restart().command(), "systemctl restart 'a.service'");
    }

    #[test]
    fn a_directory_stands_for_its_files_and_the_longest_path_counts() {
        let own = policies(OWN);
        let after = |path: &str| Disruption::of(&files(&[path]), &own);
        let of_directory = vec![After::DaemonReload, After::Reload("d.service".into())];
        assert_eq!(after("/etc/dir/x/y").after, of_directory);
        assert_eq!(after("/etc/dir/quiet").after, vec![]);
        assert_eq!(after("/etc/dir/quiet/x").after, vec![]);
        assert_eq!(after("/etc/dir/quieter").after, of_directory);
        assert!(after("/etc/director").reboot.is_some());
        assert!(after("/etc").reboot.is_some());
    }

    #[test]
    fn the_mco_has_policies_of_its_own() {
        let none = NodeDisruptionPolicy::default();
        let of = |path: &str| Disruption::of(&files(&[path]), &none);
        let reload = || vec![After::Reload("crio.service".into())];
        assert_eq!(of("/var/lib/kubelet/config.json"), Disruption::default());
        assert_eq!(of("/etc/containers/policy.json"), Disruption { after: reload(), ..Disruption::default() });
        assert_eq!(of("/etc/containers/registries.d/x.yaml").after, reload());
        assert_eq!(of("/etc/containers/registries.conf"), Disruption { drains: true, reboot: None, after: reload() });
        // Not the directory that is beside it.
        assert!(of("/etc/containers/registries.conf.d/x.conf").reboot.is_some());
        let ca = of("/etc/pki/ca-trust/source/anchors/openshift-config-user-ca-bundle.crt");
        assert_eq!(
            ca.after,
            [After::Restart("coreos-update-ca-trust.service".into()), After::Restart("crio.service".into())]
        );
        assert!(of("/etc/mco/proxy.env").reboot.is_some());
    }

    #[test]
    fn the_cluster_s_owner_replaces_a_policy_of_the_mco_s() {
        let own = policies("files: [{path: /etc/containers/registries.conf, actions: [{type: None}]}]");
        assert_eq!(Disruption::of(&files(&["/etc/containers/registries.conf"]), &own), Disruption::default());
        let own = policies("files: [{path: /var/lib/kubelet/config.json, actions: [{type: Reboot}]}]");
        assert!(Disruption::of(&files(&["/var/lib/kubelet/config.json"]), &own).reboot.is_some());
    }

    #[test]
    fn ssh_keys_need_nothing_unless_somebody_says_so() {
        let keys = Differences { ssh: true, ..Differences::default() };
        assert_eq!(Disruption::of(&keys, &NodeDisruptionPolicy::default()), Disruption::default());
        let own = policies("sshkey: {actions: [{type: Drain}]}");
        assert!(Disruption::of(&keys, &own).drains);
    }
}
