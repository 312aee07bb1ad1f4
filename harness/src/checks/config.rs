//! `config.identical`: the node was served the rendered config, byte for byte.

use crate::timeline::{Timeline, What};

use super::{Evidence, Finding};

const CHECK: &str = "config.identical";

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
}
