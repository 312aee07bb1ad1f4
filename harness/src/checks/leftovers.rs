//! `node.leftovers`: what the units under test leave behind on a settled node.

use super::boot::Boot;
use super::{Evidence, Finding};

const CHECK: &str = "node.leftovers";

/// Networks of containers: bridges, numbered, and the host's ends of their pairs (`veth` and a number, in hexadecimal
/// from netavark's CNI predecessor).
fn is_network(name: &str) -> bool {
    let rest = |kind: &str, is: fn(&char) -> bool| {
        name.strip_prefix(kind).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|one| is(&one)))
    };
    ["podman", "cni-podman", "cni"].into_iter().any(|bridge| rest(bridge, char::is_ascii_digit))
        || rest("veth", char::is_ascii_hexdigit)
}

/// No container, volume, mounted image or container network on a node that settled: whatever loaded the driver is done.
pub(super) fn leftovers(boot: &Boot<'_>) -> Finding {
    let number = boot.number;
    let Some((event, snapshot)) = boot.snapshot() else {
        return Finding::inconclusive(CHECK, number, "no snapshot of this boot: nothing tells what was left behind");
    };
    // An older recording has no mounts at all; a node always has some.
    if snapshot.mounts.is_empty() {
        return Finding::inconclusive(
            CHECK,
            number,
            "the snapshot holds no mounts: nothing tells what was left behind",
        );
    }
    let named = |what: &str, names: Vec<&String>| {
        let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    };
    let images = snapshot.mounts.iter().filter(|path| is_image_mount(path)).collect();
    let left: Vec<String> = [
        named("containers", snapshot.containers.iter().collect()),
        named("volumes", snapshot.volumes.iter().collect()),
        named("mounted images", images),
        named("networks of containers", snapshot.links.keys().filter(|name| is_network(name)).collect()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if left.is_empty() {
        return Finding::pass(CHECK, number, "nothing is left behind: no container, volume, mounted image or network");
    }
    let advice = "What a unit cut short leaves stands in the way of its next run; clean up in `ExecStopPost=`, or start no containers.";
    let evidence = left.iter().map(|left| Evidence::new(event, left.clone())).collect::<Vec<_>>();
    Finding::fail(CHECK, number, format!("left behind: {}", left.join("; "))).seen(evidence).advise(advice)
}

/// A layer that containers/storage has mounted, in whichever store.
fn is_image_mount(path: &str) -> bool {
    path.contains("/overlay/") && path.ends_with("/merged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{Node, boot_of};
    use crate::timeline::Link;

    fn judged(node: &Node) -> Finding {
        let timeline = node.timeline();
        leftovers(&boot_of(&timeline, 2))
    }

    #[test]
    fn a_clean_node_passes_and_each_kind_of_leftover_fails() {
        assert_eq!(judged(&Node::pulled_and_loaded()).outcome, Outcome::Pass);
        let leave: [fn(&mut crate::timeline::Snapshot); 4] = [
            |snapshot| snapshot.containers.push("left".into()),
            |snapshot| snapshot.volumes.push("left".into()),
            |snapshot| snapshot.mounts.push("/var/lib/day1/left/storage/overlay/1/merged".into()),
            |snapshot| drop(snapshot.links.insert("podman0".into(), Link::default())),
        ];
        for leave in leave {
            let mut node = Node::pulled_and_loaded();
            leave(node.ready(2).snapshot);
            let finding = judged(&node);
            assert!(finding.outcome == Outcome::Fail && finding.message.contains("left behind"), "{finding:?}");
        }
    }

    #[test]
    fn networks_are_told_by_their_names() {
        assert!(["podman0", "cni-podman1", "cni0", "veth0", "vethd3ad"].into_iter().all(is_network));
        assert!(["ens3", "podman", "vethernet0", "cnic0", "veth"].into_iter().all(|name| !is_network(name)));
    }

    #[test]
    fn without_evidence_it_is_inconclusive() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).snapshot.mounts.clear();
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
        node.boot(2).remove_snapshot();
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
    }
}
