//! What a cluster's owner says of changes that need no reboot.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AbsolutePath, Path, UnitName};

/// A cluster's node disruption policies, as `spec.nodeDisruptionPolicy` of its MachineConfiguration has them (OpenShift 4.17
/// and later): what is done on a node in the place of a drain and a reboot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeDisruptionPolicy {
    /// Of files.
    pub files: Vec<FilePolicy>,
    /// Of units.
    pub units: Vec<UnitPolicy>,
    /// Of the SSH keys of user `core`; default: nothing is done.
    pub sshkey: Option<SshKeyPolicy>,
}

/// What is done where a file is changed, added or removed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilePolicy {
    /// The file, or a directory for all files below it. The longest path counts.
    pub path: AbsolutePath,
    /// What is done, in this order.
    pub actions: Vec<DisruptionAction>,
}

/// What is done where a unit is changed, added or removed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitPolicy {
    /// The unit.
    pub name: UnitName,
    /// What is done, in this order.
    pub actions: Vec<DisruptionAction>,
}

/// What is done where SSH keys are changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshKeyPolicy {
    /// What is done, in this order.
    pub actions: Vec<DisruptionAction>,
}

/// One thing that is done on a node after a change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "DisruptionActionForm")]
pub enum DisruptionAction {
    /// Nothing.
    None,
    /// The node is drained before the change.
    Drain,
    /// A service is reloaded.
    Reload(UnitName),
    /// A service is restarted.
    Restart(UnitName),
    /// systemd reads its units again.
    DaemonReload,
    /// The node is drained before, and reboots.
    Reboot,
}

impl NodeDisruptionPolicy {
    /// What the cluster's API refuses and no single value shows: the place, what is wrong, and what would be right.
    pub(super) fn mistakes(&self, at: &Path) -> Vec<(Path, String, &'static str)> {
        let files =
            self.files.iter().enumerate().map(|(index, policy)| {
                (at.key("files").index(index), "path", Some(policy.path.as_str()), &policy.actions)
            });
        let units =
            self.units.iter().enumerate().map(|(index, policy)| {
                (at.key("units").index(index), "name", Some(policy.name.as_str()), &policy.actions)
            });
        let keys = self.sshkey.iter().map(|policy| (at.key("sshkey"), "", None, &policy.actions));
        let (mut mistakes, mut seen) = (vec![], vec![]);
        for (place, key, name, actions) in files.chain(units).chain(keys) {
            if let Some(name) = name.filter(|name| seen.contains(&(key, *name))) {
                let message = format!("`{name}` has two policies");
                mistakes.push((place.key(key), message, "Write all its actions into one policy."));
            }
            seen.extend(name.map(|name| (key, name)));
            let actions_at = place.key("actions");
            match actions.iter().find(|action| matches!(action, DisruptionAction::None | DisruptionAction::Reboot)) {
                _ if actions.is_empty() => {
                    mistakes.push((
                        actions_at,
                        "a policy without an action".to_owned(),
                        "Write `{type: None}` for nothing.",
                    ));
                }
                Some(alone) if actions.len() > 1 => {
                    let message = format!("`{}` stands alone, and here are other actions beside it", alone.name());
                    mistakes.push((actions_at, message, "Keep one or the others."));
                }
                _ => {}
            }
        }
        mistakes
    }
}

impl DisruptionAction {
    /// As the cluster calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Drain => "Drain",
            Self::Reload(_) => "Reload",
            Self::Restart(_) => "Restart",
            Self::DaemonReload => "DaemonReload",
            Self::Reboot => "Reboot",
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DisruptionActionForm {
    /// What is done.
    #[serde(rename = "type")]
    kind: DisruptionKind,
    /// With `Reload`: what is reloaded.
    reload: Option<ServiceName>,
    /// With `Restart`: what is restarted.
    restart: Option<ServiceName>,
}

/// What is done on a node after a change.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
enum DisruptionKind {
    /// Nothing; stands alone.
    None,
    /// The node is drained before the change.
    Drain,
    /// A service is reloaded.
    Reload,
    /// A service is restarted.
    Restart,
    /// systemd reads its units again.
    DaemonReload,
    /// The node is drained before, and reboots; stands alone.
    Reboot,
}

/// The service of an action.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ServiceName {
    /// Its unit.
    service_name: UnitName,
}

impl TryFrom<DisruptionActionForm> for DisruptionAction {
    type Error = &'static str;

    fn try_from(form: DisruptionActionForm) -> Result<Self, Self::Error> {
        let name = |service: ServiceName| service.service_name;
        match (form.kind, form.reload.map(name), form.restart.map(name)) {
            (DisruptionKind::None, None, None) => Ok(Self::None),
            (DisruptionKind::Drain, None, None) => Ok(Self::Drain),
            (DisruptionKind::Reload, Some(service), None) => Ok(Self::Reload(service)),
            (DisruptionKind::Restart, None, Some(service)) => Ok(Self::Restart(service)),
            (DisruptionKind::DaemonReload, None, None) => Ok(Self::DaemonReload),
            (DisruptionKind::Reboot, None, None) => Ok(Self::Reboot),
            (DisruptionKind::Reload, ..) => {
                Err("it is not clear what is reloaded\nWrite `{type: Reload, reload: {serviceName: crio.service}}`.")
            }
            (DisruptionKind::Restart, ..) => {
                Err("it is not clear what is restarted\nWrite `{type: Restart, restart: {serviceName: x.service}}`.")
            }
            _ => Err("this type of action has no service\nLeave out `reload` and `restart`."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NodeDisruptionPolicy, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }

    #[test]
    fn what_a_cluster_has_is_read() {
        let text = "
files:
- path: /etc/my-file
  actions:
  - type: DaemonReload
  - {type: Reload, reload: {serviceName: my.service}}
units:
- {name: my.service, actions: [{type: Drain}, {type: Restart, restart: {serviceName: my.service}}]}
sshkey: {actions: [{type: None}]}
";
        let policy = read(text).expect("policies");
        let names = |actions: &[DisruptionAction]| actions.iter().map(DisruptionAction::name).collect::<Vec<_>>();
        assert_eq!(names(&policy.files[0].actions), ["DaemonReload", "Reload"]);
        assert_eq!(names(&policy.units[0].actions), ["Drain", "Restart"]);
        assert!(policy.sshkey.as_ref().is_some_and(|keys| keys.actions == [DisruptionAction::None]));
        assert_eq!(policy.mistakes(&Path::default()), vec![]);
    }

    #[test]
    fn an_action_has_the_service_that_it_is_about_and_no_other() {
        let refused =
            |action: &str| read(&format!("sshkey: {{actions: [{action}]}}")).expect_err("refused").to_string();
        assert!(refused("{type: Restart}").contains("what is restarted"));
        assert!(refused("{type: Restart, reload: {serviceName: x.service}}").contains("what is restarted"));
        assert!(refused("{type: Reload}").contains("what is reloaded"));
        assert!(refused("{type: None, reload: {serviceName: x.service}}").contains("has no service"));
        assert!(refused("{type: Restart, restart: {serviceName: x}}").contains("is not a unit's name"));
        assert!(refused("{type: Special}").contains("Special"));
    }

    #[test]
    fn what_the_cluster_s_api_refuses_is_told_with_its_place() {
        let told = |text: &str| -> Vec<String> {
            let mistakes = read(text).expect("policies").mistakes(&Path::default());
            mistakes.into_iter().map(|(place, message, _)| format!("{place}: {message}")).collect()
        };
        let twice = told("files: [{path: /a, actions: [{type: None}]}, {path: /a, actions: [{type: Drain}]}]");
        assert_eq!(twice, ["files[1] → path: `/a` has two policies"]);
        let alone = told("units: [{name: a.service, actions: [{type: Drain}, {type: Reboot}]}]");
        assert_eq!(alone, ["units[0] → actions: `Reboot` stands alone, and here are other actions beside it"]);
        assert_eq!(told("sshkey: {actions: []}"), ["sshkey → actions: a policy without an action"]);
    }
}
