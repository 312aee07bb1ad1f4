//! What ran when: one lane for each phase, unit, module and link that matters.

mod links;
pub(super) mod modules;
mod units;

use std::collections::BTreeMap;

use crate::checks;
use crate::report::clock::{Clock, signed};
use crate::report::phases;
use crate::scenario::Scenario;
use crate::timeline::{Event, RegistryRequest, Timeline, What, message_id};

use super::{Lane, LaneKind, Order, Span, State, Strip};

pub(super) use modules::is_out_of_tree;

/// What every lane is made from.
pub(super) struct Source<'t> {
    timeline: &'t Timeline,
    clock: &'t Clock,
    boots: &'t [Strip],
    /// The events of each boot with their times, in the order of those.
    events: BTreeMap<u32, Vec<(i64, &'t Event)>>,
    /// When each boot's real root took over from the initramfs; the end of the boot where it never did.
    real_roots: BTreeMap<u32, i64>,
}

/// All lanes, from the top: phases, Ignition, the registry, units, modules, links.
pub(super) fn all(
    timeline: &Timeline,
    scenario: Option<&Scenario>,
    clock: &Clock,
    boots: &[Strip],
    orders: &[Order],
) -> Vec<Lane> {
    let source = Source::new(timeline, clock, boots);
    let mut lanes = phase_lanes(&source);
    lanes.push(units::ignition(&source));
    lanes.push(registry(&source));
    lanes.extend(units::all(&source, scenario, orders));
    lanes.extend(modules::all(&source, scenario));
    lanes.extend(links::all(&source));
    lanes.retain(|lane| !lane.spans.is_empty());
    lanes
}

impl<'t> Source<'t> {
    pub(super) fn new(timeline: &'t Timeline, clock: &'t Clock, boots: &'t [Strip]) -> Self {
        let (mut events, mut real_roots) = (BTreeMap::<u32, Vec<(i64, &Event)>>::new(), BTreeMap::new());
        for event in &timeline.events {
            events.entry(event.boot).or_default().push((clock.of_event(event), event));
        }
        for of_boot in events.values_mut() {
            of_boot.sort_by_key(|(at, event)| (*at, event.seq));
        }
        for strip in boots {
            let starts = phases::starts(timeline, strip.number);
            let system = starts.iter().find(|(name, _)| *name == phases::SYSTEM);
            let real_root = system.map_or(strip.to_us, |(_, event)| clock.of_event(event));
            real_roots.insert(strip.number, real_root);
        }
        Self { timeline, clock, boots, events, real_roots }
    }

    fn events_of(&self, boot: u32) -> &[(i64, &'t Event)] {
        self.events.get(&boot).map_or(&[], Vec::as_slice)
    }

    fn real_root_of(&self, boot: u32) -> i64 {
        self.real_roots.get(&boot).copied().unwrap_or(i64::MAX)
    }

    fn end_of(&self, boot: u32) -> i64 {
        self.boots.iter().find(|strip| strip.number == boot).map_or(0, |strip| strip.to_us)
    }
}

fn phase_lanes(source: &Source<'_>) -> Vec<Lane> {
    let all = [
        (phases::FIRMWARE, State::Firmware),
        (phases::BOOTLOADER, State::Bootloader),
        (phases::KERNEL, State::Kernel),
        (phases::INITRAMFS, State::Initramfs),
        (phases::SYSTEM, State::System),
        (phases::AFTER, State::Settled),
        (phases::SHUTDOWN, State::Shutdown),
    ];
    let name = |name: &str| if name == phases::AFTER { "settled".to_owned() } else { name.to_owned() };
    let lane = |(phase, _): &(&str, State)| Lane {
        kind: LaneKind::Phase,
        group: None,
        name: name(phase),
        of: (*phase).to_owned(),
        spans: Vec::new(),
    };
    let mut lanes: Vec<Lane> = all.iter().map(lane).collect();
    for strip in source.boots {
        let mut starts: Vec<_> = phases::starts(source.timeline, strip.number)
            .into_iter()
            .map(|(name, event)| (source.clock.of_event(event), name, event))
            .collect();
        if strip.taken_until_us.is_some() {
            // The template's, or the recording's, whose time nothing tells.
            starts.retain(|(_, name, _)| ![phases::FIRMWARE, phases::BOOTLOADER].contains(name));
        }
        starts.sort_by_key(|(at, ..)| *at);
        let ends: Vec<i64> = starts.iter().skip(1).map(|(at, ..)| *at).chain([strip.to_us]).collect();
        for ((from, phase, event), to) in starts.into_iter().zip(ends) {
            let Some(index) = all.iter().position(|(name, _)| *name == phase) else { continue };
            let text = format!("{} of boot {}", name(phase), strip.number);
            let seq = Some(event.seq);
            lanes[index].spans.push(Span {
                boot: strip.number,
                from_us: from,
                to_us: to,
                state: all[index].1,
                text,
                label: String::new(),
                seq,
            });
        }
    }
    lanes
}

/// The requests that the gateway answered.
fn registry(source: &Source<'_>) -> Lane {
    let requests = source.timeline.events.iter().filter_map(|event| match &event.what {
        What::Registry(request) => Some((event, request)),
        _ => None,
    });
    let spans = requests.map(|(event, request)| {
        let to_us = source.clock.of_event(event);
        let state = if is_answered(request) { State::Answered } else { State::Refused };
        let from_us = to_us - signed(request.took_us);
        Span {
            boot: event.boot,
            from_us,
            to_us,
            state,
            text: describe(request),
            label: String::new(),
            seq: Some(event.seq),
        }
    });
    Lane {
        kind: LaneKind::Registry,
        group: None,
        name: "registry".into(),
        of: "registry".into(),
        spans: spans.collect(),
    }
}

/// Whether a request got what it asked for; the first one, without a password, asks how to log in.
fn is_answered(request: &RegistryRequest) -> bool {
    request.complete && (request.status < 400 || (request.subject == "ping" && request.status == 401))
}

fn describe(request: &RegistryRequest) -> String {
    let reference = match request.reference.as_str() {
        "" => String::new(),
        digest if digest.starts_with("sha256:") => format!("@{}", digest.chars().take(19).collect::<String>()),
        tag => format!(":{tag}"),
    };
    let cut = if request.complete { "" } else { ", cut off" };
    let fault = if request.fault.is_empty() { String::new() } else { format!(" ({})", request.fault) };
    let RegistryRequest { method, subject, repository, status, .. } = request;
    format!("{method} {subject} {repository}{reference} → {status}{cut}{fault}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_if_all_of_it_came() {
        let request = |subject: &str, status, complete| RegistryRequest {
            subject: subject.into(),
            status,
            complete,
            ..RegistryRequest::default()
        };
        assert!(is_answered(&request("ping", 401, true)));
        assert!(is_answered(&request("blob", 200, true)));
        assert!(!is_answered(&request("blob", 200, false)));
        assert!(!is_answered(&request("manifest", 404, true)));
        assert!(!is_answered(&request("manifest", 401, true)));
    }
}
