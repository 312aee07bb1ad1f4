//! Day-2 management: which pods a node is to run for a `Module`, as KMM's reconcilers decide it.

use std::collections::BTreeMap;

use super::member::Record;
use crate::process::quoted;
use crate::scenario::{DAY2_WORKER, DAY2_WORKER_TAG, Module, PodKind};

const SCRIPT: &str = include_str!("guest/worker.sh");

/// A pod of Day-2 management.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) kind: PodKind,
    pub(super) module: Module,
}

/// What a node is to do for a module, one pod after the other; none where it has what it is to have.
///
/// Without a version one pod takes out and loads. With one, the node's label decides; what is loaded of another version is
/// unloaded first, by a pod of its own.
pub(super) fn jobs(module: &Module, record: &Record) -> Vec<Job> {
    let name = module.name.as_str();
    let wanted = match &module.version {
        None => true,
        Some(version) => record.versions.get(name) == Some(version),
    };
    let has = record.loaded.get(name);
    if !wanted || has == Some(module) || record.gave_up.get(name) == Some(module) {
        return vec![];
    }
    let job = |kind, module: &Module| Job { kind, module: module.clone() };
    let unload = has.filter(|_| module.version.is_some()).map(|old| job(PodKind::Unload, old));
    unload.into_iter().chain([job(PodKind::Load, module)]).collect()
}

impl Job {
    /// The pod's name.
    pub(super) fn name(&self) -> String {
        let version = self.module.version.as_ref().map(|version| format!("-{version}")).unwrap_or_default();
        format!("{}-{}{version}", self.kind.as_str(), self.module.name)
    }

    pub(super) fn script(&self) -> String {
        let Module { image, module, in_tree_modules_to_remove: remove, .. } = &self.module;
        let mut config = format!("containerImage: {image}\nmodprobe:\n  dirName: /opt\n  moduleName: {module}\n");
        if !remove.is_empty() && self.kind == PodKind::Load {
            config.push_str("inTreeModulesToRemove:\n");
            config.extend(remove.iter().map(|name| format!("  - {name}\n")));
        }
        let variables = BTreeMap::from([
            ("VERB", self.kind.as_str().to_owned()),
            ("IMAGE", image.to_string()),
            ("WORKER", format!("{DAY2_WORKER}:{DAY2_WORKER_TAG}")),
            ("CONFIG", config),
            ("TAKES_OUT", self.module.takes_out.as_str().to_owned()),
        ]);
        let assign = variables.iter().map(|(name, value)| format!("{name}={}\n", quoted(value)));
        assign.chain([SCRIPT.to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(image: &str, version: Option<&str>) -> Module {
        let version = version.map(|version| format!(", version: '{version}'")).unwrap_or_default();
        let text = format!("{{name: nic, image: quay.io/day1/{image}, module: day1_nic{version}}}");
        let value: serde_json::Value = serde_yaml::from_str(&text).expect("YAML");
        serde_json::from_value(value).expect("a module")
    }

    fn kinds(jobs: &[Job]) -> Vec<(PodKind, &str)> {
        jobs.iter().map(|job| (job.kind, job.module.image.as_str())).collect()
    }

    #[test]
    fn without_a_version_one_pod_does_it_on_every_node() {
        let mut record = Record::default();
        let (old, new) = (module("old", None), module("new", None));
        assert_eq!(kinds(&jobs(&old, &record)), [(PodKind::Load, "quay.io/day1/old")]);
        record.loaded.insert("nic".into(), old.clone());
        assert_eq!(jobs(&old, &record), []);
        assert_eq!(kinds(&jobs(&new, &record)), [(PodKind::Load, "quay.io/day1/new")]);
    }

    #[test]
    fn with_a_version_the_label_decides_and_the_old_one_is_unloaded_first() {
        let mut record = Record::default();
        let (old, new) = (module("old", Some("1")), module("new", Some("2")));
        assert_eq!(jobs(&old, &record), []);
        record.versions.insert("nic".into(), "1".into());
        assert_eq!(kinds(&jobs(&old, &record)), [(PodKind::Load, "quay.io/day1/old")]);
        record.loaded.insert("nic".into(), old);
        assert_eq!(jobs(&new, &record), []);
        record.versions.insert("nic".into(), "2".into());
        assert_eq!(
            kinds(&jobs(&new, &record)),
            [(PodKind::Unload, "quay.io/day1/old"), (PodKind::Load, "quay.io/day1/new")]
        );
        record.gave_up.insert("nic".into(), new.clone());
        assert_eq!(jobs(&new, &record), []);
    }

    #[test]
    fn a_pod_s_script_passes_shellcheck_and_names_what_it_takes_out_only_where_it_loads() {
        let mut module = module("new", Some("2"));
        module.in_tree_modules_to_remove = serde_json::from_value(serde_json::json!(["e1000"])).expect("names");
        let job = |kind| Job { kind, module: module.clone() };
        assert_eq!(job(PodKind::Load).name(), "load-nic-2");
        assert!(job(PodKind::Load).script().contains("inTreeModulesToRemove:\n  - e1000\n"));
        assert!(!job(PodKind::Unload).script().contains("e1000"));
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), job(PodKind::Load).script()).expect("written");
        for path in
            [file.path(), std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lab/pool/guest/kubelet.sh"))]
        {
            let Ok(output) = std::process::Command::new("shellcheck").args(["-s", "bash"]).arg(path).output() else {
                eprintln!("skipped: shellcheck is not installed");
                return;
            };
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}
