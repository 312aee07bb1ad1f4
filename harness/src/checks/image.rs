//! `image.pulled`, `image.not-pulled`, `image.refused`: what the node asked of the registry, as the gateway
//! before it recorded.

use std::collections::BTreeMap;

use crate::scenario::{ImageNotPulled, ImagePulled, ImageRefused};
use crate::timeline::{Event, RegistryRequest, Timeline, What};

use super::boot::Boot;
use super::{Evidence, Finding};

const PULLED: &str = "image.pulled";
const NOT_PULLED: &str = "image.not-pulled";
const REFUSED: &str = "image.refused";

type Request<'t> = (&'t Event, &'t RegistryRequest);

fn requests<'t>(boot: &Boot<'t>, repository: Option<&str>) -> Vec<Request<'t>> {
    let requests = boot.events.iter().filter_map(|event| match &event.what {
        What::Registry(request) => Some((*event, request)),
        _ => None,
    });
    requests.filter(|(_, request)| repository.is_none_or(|wanted| wanted == request.repository)).collect()
}

fn evidence((event, request): Request<'_>) -> Evidence {
    let cut = if request.complete { "" } else { ", cut" };
    Evidence::new(
        event,
        format!("{} {} → {} ({} bytes{cut})", request.method, request.path, request.status, request.bytes),
    )
}

/// The manifest and every blob that was asked for were served to their end.
pub(super) fn pulled(timeline: &Timeline, boot: &Boot<'_>, expected: &ImagePulled) -> Finding {
    let repository = expected.repository.as_str();
    let requests = requests(boot, Some(repository));
    let served = |subject: &str| -> Vec<Request<'_>> {
        let of_subject = requests.iter().filter(|(_, request)| request.subject == subject && request.method == "GET");
        of_subject.filter(|(_, request)| matches!(request.status, 200 | 206) && request.complete).copied().collect()
    };
    let (manifests, blobs) = (served("manifest"), served("blob"));
    let last = requests.last().map(|request| evidence(*request));
    let known: Vec<_> =
        boot.facts.into_iter().flat_map(|facts| &facts.images).filter(|image| image.repository == repository).collect();
    let is_known = |reference: &str| {
        known.is_empty()
            || known.iter().any(|image| image.digest == reference || image.tags.iter().any(|tag| tag == reference))
    };
    let wrong = match (requests.is_empty(), manifests.is_empty(), blobs.is_empty()) {
        (true, ..) => "was not asked for in this boot".to_owned(),
        (_, true, _) => "was asked for, but no manifest was served".to_owned(),
        _ if !manifests.iter().any(|(_, request)| is_known(&request.reference)) => {
            "was asked for by a name that none of the trial's images has".to_owned()
        }
        (_, _, true) => "was not pulled: its manifest was served, but no blob was asked for to its end".to_owned(),
        _ => match unfinished(&requests) {
            Some(blob) => format!("was pulled in part: blob {blob} was never served to its end"),
            None => {
                let bytes: u64 = blobs.iter().map(|(_, blob)| blob.bytes).sum();
                let message = format!("{repository} was pulled: {} blobs, {} KiB", blobs.len(), bytes.div_ceil(1024));
                return Finding::pass(PULLED, boot.number, message)
                    .seen(manifests.first().into_iter().chain(blobs.last()).map(|one| evidence(*one)));
            }
        },
    };
    let message = format!("{repository} {wrong}");
    not_yet(timeline, boot, PULLED, &message).unwrap_or_else(|| Finding::fail(PULLED, boot.number, message)).seen(last)
}

/// What has not happened in a boot that nobody followed to its end speaks against nobody.
fn not_yet(timeline: &Timeline, boot: &Boot<'_>, check: &str, message: &str) -> Option<Finding> {
    if boot.was_followed_to_its_end(timeline) {
        return None;
    }
    let message = format!("{message} so far, but the recording ends before the boot does");
    Some(Finding::inconclusive(check, boot.number, message))
}

/// A blob that was asked for, but never served whole.
fn unfinished<'t>(requests: &[Request<'t>]) -> Option<&'t str> {
    let mut whole = BTreeMap::<&str, bool>::new();
    for (_, request) in requests.iter().filter(|(_, request)| request.subject == "blob" && request.method == "GET") {
        let served = matches!(request.status, 200 | 206) && request.complete;
        *whole.entry(request.reference.as_str()).or_default() |= served;
    }
    whole.into_iter().find(|(_, whole)| !whole).map(|(blob, _)| blob)
}

/// No request at all. A gateway that recorded nothing in the whole trial may be deaf, and proves nothing.
pub(super) fn not_pulled(timeline: &Timeline, boot: &Boot<'_>, expected: &ImageNotPulled) -> Finding {
    let repository = expected.repository.as_ref().map(|repository| repository.as_str());
    let what = repository.unwrap_or("the registry");
    if let Some(request) = requests(boot, repository).first() {
        let message = format!("{what} was asked in this boot: {} {}", request.1.method, request.1.path);
        return Finding::fail(NOT_PULLED, boot.number, message).seen([evidence(*request)]);
    }
    let recorded = timeline.events.iter().find(|event| matches!(event.what, What::Registry(_)));
    let (Some(recorded), Some(settled)) = (recorded, boot.settled()) else {
        let message =
            format!("no request for {what} is recorded, but neither is any other, or the boot did not settle");
        return Finding::inconclusive(NOT_PULLED, boot.number, message);
    };
    let message = format!("{what} was asked for nothing");
    Finding::pass(NOT_PULLED, boot.number, message).seen([
        Evidence::new(settled, "the boot settled without a request"),
        Evidence::new(recorded, "the gateway records requests"),
    ])
}

/// Each request for the manifest was refused with the status.
pub(super) fn refused(timeline: &Timeline, boot: &Boot<'_>, expected: &ImageRefused) -> Finding {
    let repository = expected.repository.as_str();
    let manifests = requests(boot, Some(repository)).into_iter().filter(|(_, request)| request.subject == "manifest");
    let manifests: Vec<Request<'_>> = manifests.collect();
    let Some(first) = manifests.first() else {
        let message = format!("no manifest of {repository} was asked for in this boot");
        return not_yet(timeline, boot, REFUSED, &message)
            .unwrap_or_else(|| Finding::fail(REFUSED, boot.number, message));
    };
    if let Some(other) = manifests.iter().find(|(_, request)| request.status != expected.status) {
        let message = format!("{repository} was answered with {}, expected: {}", other.1.status, expected.status);
        return Finding::fail(REFUSED, boot.number, message).seen([evidence(*other)]);
    }
    let message = format!("{repository} was refused with {}, {} times", expected.status, manifests.len());
    Finding::pass(REFUSED, boot.number, message).seen([evidence(*first)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{Node, boot_of, expect};

    const IMAGE: &str = "{repository: quay.io/day1/day1-nic}";

    fn was_pulled(node: &Node, boot: u32) -> Finding {
        let timeline = node.timeline();
        pulled(&timeline, &boot_of(&timeline, boot), &expect(IMAGE))
    }

    fn was_not_pulled(node: &Node, boot: u32, text: &str) -> Finding {
        let timeline = node.timeline();
        not_pulled(&timeline, &boot_of(&timeline, boot), &expect(text))
    }

    #[test]
    fn a_whole_pull_passes_and_none_fails() {
        let node = Node::pulled_and_loaded();
        assert_eq!(was_pulled(&node, 1).message, "quay.io/day1/day1-nic was pulled: 2 blobs, 8 KiB");
        assert_eq!(was_pulled(&node, 2).outcome, Outcome::Fail);
    }

    #[test]
    fn a_recording_that_ends_before_the_pull_speaks_against_nobody() {
        let node = Node::pulled_and_loaded();
        let whole = node.timeline();
        let is_request = |event: &Event| matches!(event.what, What::Registry(_));
        let before = whole.events.iter().take_while(|event| !is_request(event)).cloned().collect::<Vec<_>>();
        let cut = Timeline::from(before);
        let finding = pulled(&cut, &boot_of(&cut, 1), &expect(IMAGE));
        assert_eq!(finding.outcome, Outcome::Inconclusive, "{finding:?}");
    }

    #[test]
    fn half_a_pull_fails() {
        let mut node = Node::pulled_and_loaded();
        node.boot(1).requests(|request| request.complete = request.reference != "sha256:layer");
        let finding = was_pulled(&node, 1);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("sha256:layer"), "{finding:?}");
        node.boot(1).requests(|request| request.complete = request.subject != "blob");
        assert_eq!(was_pulled(&node, 1).outcome, Outcome::Fail);
        node.boot(1).requests(|request| request.status = 404);
        assert!(was_pulled(&node, 1).message.contains("no manifest was served"));
        let mut node = Node::pulled_and_loaded();
        node.boot(1).requests(|request| request.reference = request.reference.replace("6.12", "9.9"));
        assert!(was_pulled(&node, 1).message.contains("by a name that none"));
    }

    #[test]
    fn a_blob_that_was_cut_and_asked_for_again_is_whole() {
        let mut node = Node::pulled_and_loaded();
        node.boot(1).request("blob", "sha256:layer", |request| request.complete = false);
        assert_eq!(was_pulled(&node, 1).outcome, Outcome::Pass);
    }

    #[test]
    fn silence_counts_where_the_gateway_is_known_to_listen() {
        let mut node = Node::pulled_and_loaded();
        assert_eq!(was_not_pulled(&node, 2, "{}").outcome, Outcome::Pass);
        assert_eq!(was_not_pulled(&node, 1, "{}").outcome, Outcome::Fail);
        assert_eq!(
            was_not_pulled(&node, 1, "{repository: quay.io/other/image}").outcome,
            Outcome::Inconclusive,
            "boot 1 did not settle"
        );
        node.boot(2).request("ping", "", |_| {});
        assert_eq!(was_not_pulled(&node, 2, "{}").outcome, Outcome::Fail);
        let mut deaf = Node::pulled_and_loaded();
        deaf.boot(1).remove_requests();
        assert_eq!(was_not_pulled(&deaf, 2, "{}").outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_refusal_is_told_by_its_status() {
        let mut node = Node::pulled_and_loaded();
        let judged = |node: &Node, boot| {
            let timeline = node.timeline();
            refused(&timeline, &boot_of(&timeline, boot), &expect("{repository: quay.io/day1/day1-nic, status: 404}"))
        };
        assert_eq!(judged(&node, 1).outcome, Outcome::Fail);
        assert_eq!(judged(&node, 2).outcome, Outcome::Fail);
        node.boot(1).requests(|request| request.status = 404);
        assert_eq!(judged(&node, 1).outcome, Outcome::Pass);
    }
}
