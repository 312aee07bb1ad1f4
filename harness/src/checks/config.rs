//! `config.identical`: the node was served the rendered config, byte for byte; `config.modes`: nobody but root can
//! change what it puts there.

use crate::timeline::{Timeline, What};

use super::{Evidence, Finding};

const CHECK: &str = "config.identical";
const MODES: &str = "config.modes";

pub(super) fn identical(timeline: &Timeline) -> Finding {
    let rendered = timeline.facts().map(|facts| facts.rendered_sha256.as_str()).unwrap_or_default();
    if rendered.is_empty() {
        return Finding::inconclusive(CHECK, None, "the sha256 of the rendered config is not recorded");
    }
    let served = timeline.events.iter().filter_map(|event| match &event.what {
        What::ConfigServed(config) if config.status == 200 => Some((event, config)),
        _ => None,
    });
    let served: Vec<_> = served.collect();
    if let Some((event, other)) = served.iter().find(|(_, config)| config.sha256 != rendered) {
        let message = format!("the node was served another config than the rendered one: sha256 {}", other.sha256);
        return Finding::fail(CHECK, event.boot, message).seen([Evidence::new(event, format!("rendered: {rendered}"))]);
    }
    match served.first() {
        None => Finding::inconclusive(CHECK, None, "no config was served to the node"),
        Some((event, config)) => {
            let message = format!("the node was served the rendered config, byte for byte ({} bytes)", config.bytes);
            Finding::pass(CHECK, event.boot, message).seen([Evidence::new(event, format!("sha256 {rendered}"))])
        }
    }
}

/// No file of the MachineConfigs under test can be written by others than its owner; nothing for those without files.
pub(super) fn modes(timeline: &Timeline) -> Option<Finding> {
    const OTHERS_WRITE: u32 = 0o022;
    let files = &timeline.facts()?.files;
    if files.is_empty() {
        return None;
    }
    let open = files.iter().filter(|file| file.mode & OTHERS_WRITE != 0);
    let open: Vec<String> = open.map(|file| format!("{} ({:04o})", file.path, file.mode)).collect();
    if open.is_empty() {
        let message = format!("nobody but root can change the {} files of the MachineConfigs under test", files.len());
        return Some(Finding::pass(MODES, None, message));
    }
    let message = format!("everybody on the node can change {}", open.join(", "));
    let advice = "What root runs at each boot must be root's alone: 0755 for a script, which is 493 where JSON wants it decimal.";
    Some(Finding::fail(MODES, None, message).advise(advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::Node;

    #[test]
    fn other_bytes_fail_and_none_prove_nothing() {
        let mut node = Node::pulled_and_loaded();
        assert_eq!(identical(&node.timeline()).outcome, Outcome::Pass);
        node.facts().rendered_sha256 = "other".into();
        assert_eq!(identical(&node.timeline()).outcome, Outcome::Fail);
        node.facts().rendered_sha256.clear();
        assert_eq!(identical(&node.timeline()).outcome, Outcome::Inconclusive);
        let mut node = Node::pulled_and_loaded();
        node.boot(1).remove(|what| matches!(what, What::ConfigServed(_)));
        assert_eq!(identical(&node.timeline()).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_file_that_others_can_write_fails() {
        let mut node = Node::pulled_and_loaded();
        let judged = |node: &Node| modes(&node.timeline());
        assert_eq!(judged(&node).expect("a finding").outcome, Outcome::Pass);
        node.facts().files[0].mode = 0o777;
        let finding = judged(&node).expect("a finding");
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("load.sh (0777)"), "{finding:?}");
        node.facts().files.clear();
        assert_eq!(judged(&node), None);
    }
}
