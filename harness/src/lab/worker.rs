//! The images that a MachineConfig in upstream's shape names: its units have them in their environment.

/// A worker's image: what a MachineConfig's load unit runs to load the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkerImage {
    pub(super) repository: String,
    pub(super) tag: String,
}

/// The worker that a MachineConfig's text names by a tag. None where it names one by its digest: the stand-in has another.
pub(super) fn worker_image(text: &str) -> Option<WorkerImage> {
    let reference = variable(text, "WORKER_IMAGE")?;
    if reference.contains('@') {
        return None;
    }
    // A `:` before the last `/` is that of a port.
    let (repository, tag) = match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference.as_str(), "latest"),
    };
    Some(WorkerImage { repository: repository.to_owned(), tag: tag.to_owned() })
}

/// The repository of the driver's image that a MachineConfig's text names.
pub(super) fn driver_repository(text: &str) -> Option<String> {
    variable(text, "KERNEL_MODULE_IMAGE")
}

/// What the first unit that has this variable in its environment has it set to.
fn variable(text: &str, name: &str) -> Option<String> {
    let config = crate::mco::yaml::only_object(text).ok()?;
    let units = config.pointer("/spec/config/systemd/units")?.as_array()?;
    let lines = units.iter().filter_map(|unit| unit["contents"].as_str()).flat_map(str::lines);
    // Several assignments may stand on a line, each in quotes or not.
    lines.filter_map(|line| line.trim().strip_prefix("Environment=")).find_map(|words| {
        let words = words.split(|c: char| c.is_whitespace() || c == '"' || c == '\'');
        let value = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).find(|value| !value.is_empty());
        value.map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &str) -> String {
        format!(
            "spec: {{config: {{systemd: {{units: [{{name: a.service, contents: \"[Service]\\n{variables}\"}}]}}}}}}"
        )
    }

    #[test]
    fn the_worker_and_the_driver_s_image_are_read_from_the_units() {
        let text =
            config(r#"Environment=\"KERNEL_MODULE_IMAGE=quay.io/a/b\"\nEnvironment=\"WORKER_IMAGE=quay.io/c/d:v1\"\n"#);
        assert_eq!(driver_repository(&text).as_deref(), Some("quay.io/a/b"));
        assert_eq!(worker_image(&text), Some(WorkerImage { repository: "quay.io/c/d".into(), tag: "v1".into() }));
        assert_eq!(worker_image("spec: {}"), None);
    }

    #[test]
    fn a_port_is_no_tag_and_a_digest_can_t_be_stood_in_for() {
        let worker = |reference: &str| worker_image(&config(&format!("Environment=WORKER_IMAGE={reference}")));
        let latest = WorkerImage { repository: "r.test:5000/d".into(), tag: "latest".into() };
        assert_eq!(worker("r.test:5000/d"), Some(latest));
        assert_eq!(worker("quay.io/d@sha256:0123"), None);
        assert_eq!(worker(""), None);
        let second = worker_image(&config("Environment=A=1 'WORKER_IMAGE=quay.io/c/d:v1' B=2")).expect("a worker");
        assert_eq!(second.repository, "quay.io/c/d");
    }
}
