//! Links: when each network interface carried, by NetworkManager's word.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::timeline::What;

use super::{Lane, LaneKind, Source, Span, State};

/// NetworkManager: `device (ens5): carrier: link connected`.
static CARRIER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"device \(([^)]+)\): carrier: link (connected|disconnected)").ok());

/// The kernel: `e1000 0000:00:05.0 ens5: renamed from eth0`.
static RENAMED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^(\S+) \S+ (\S+): renamed from ").ok());

pub(super) fn all(source: &Source<'_>) -> Vec<Lane> {
    let mut lanes: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for strip in source.boots {
        for (name, span) in of_boot(source, strip.number) {
            lanes.entry(name).or_default().push(span);
        }
    }
    let cards = cards(source);
    let lane = |(name, spans): (String, Vec<Span>)| Lane {
        kind: LaneKind::Link,
        group: None,
        name: cards.get(&name).map_or_else(|| name.clone(), |card| format!("{name} ({card})")),
        of: name,
        spans,
    };
    lanes.into_iter().map(lane).collect()
}

/// The scenario's names of the interfaces that are its network cards.
fn cards(source: &Source<'_>) -> BTreeMap<String, String> {
    let nics = source.timeline.facts().map(|facts| facts.nics.as_slice()).unwrap_or_default();
    let snapshots = source.timeline.events.iter().filter_map(|event| match &event.what {
        What::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    });
    let links = snapshots.flat_map(|snapshot| &snapshot.links);
    links
        .filter_map(|(name, link)| Some((name.clone(), nics.iter().find(|nic| nic.mac == link.mac)?.id.clone())))
        .collect()
}

fn of_boot(source: &Source<'_>, boot: u32) -> Vec<(String, Span)> {
    let (mut spans, mut open): (Vec<(String, Span)>, BTreeMap<String, Span>) = (Vec::new(), BTreeMap::new());
    let mut drivers: BTreeMap<String, String> = BTreeMap::new();
    for &(at, event) in source.events_of(boot) {
        match &event.what {
            What::Journal(record) if record.is_from_kernel() => {
                if let Some(found) = RENAMED.as_ref().and_then(|renamed| renamed.captures(record.message())) {
                    drivers.insert(found[2].to_owned(), found[1].to_owned());
                }
            }
            What::Journal(record) => {
                let Some(found) = CARRIER.as_ref().and_then(|carrier| carrier.captures(record.message())) else {
                    continue;
                };
                let name = found[1].to_owned();
                if &found[2] == "connected" {
                    let text = format!("{name} carries");
                    let span = Span {
                        boot,
                        from_us: at,
                        to_us: at,
                        state: State::Up,
                        text,
                        label: String::new(),
                        seq: Some(event.seq),
                    };
                    open.entry(name).or_insert(span);
                } else if let Some(span) = open.remove(&name) {
                    spans.push((name, Span { to_us: at, ..span }));
                }
            }
            // An interface goes with its driver, and nobody says so.
            What::ModuleFree(change) => {
                let (gone, stay): (BTreeMap<_, _>, _) =
                    open.into_iter().partition(|(name, _)| drivers.get(name) == Some(&change.module));
                open = stay;
                spans.extend(gone.into_iter().map(|(name, span)| (name, Span { to_us: at, ..span })));
            }
            _ => {}
        }
    }
    let end = source.end_of(boot);
    spans.extend(open.into_iter().map(|(name, span)| (name, Span { to_us: end.max(span.from_us), ..span })));
    spans
}
